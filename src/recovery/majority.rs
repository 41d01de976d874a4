//! The server that a majority names, and the lease.
//!
//! An old primary may go on after a replica was promoted, cut off together with this process. The lease stops this
//! process in time: every attempt compares the end of the lease. A round extends the lease when MySQL has taken its beat
//! and everything agrees with the row, which is read after the beat. A majority extends the lease when it names the
//! server of that loading. Both count from the sending of the question. `tests/model/lease` shows why each rule is needed.
//!
//! A single address has no majority and no lease.

use std::time::{Duration, Instant};

use super::standing::Standing;
use super::{COMPARE_EVERY, Recovery, Round};
use crate::claim::{ClosedReason, Doubt, LEASE};
use crate::mysql::shards::ShardRow;
use crate::redis::{Connection, Named, WriteRefusal};

/// The age up to which the shards of a process share an answer of the majority.
const SHARED_FOR: Duration = Duration::from_millis(250);

impl Recovery {
    /// Asks the majority every second, forever.
    pub(super) async fn watch_majority(&self) {
        if !self.redis.config.has_majority() {
            return std::future::pending().await;
        }
        loop {
            let began = Instant::now();
            let heard = self.redis.config.ask_majority(SHARED_FOR).await;
            // Shards that shared a question ask again at the same time, and share the next one.
            let sent = heard.as_ref().map_or(began, |(_, sent)| *sent);
            if let Some((named, sent)) = heard {
                self.hear(named, sent);
            }
            self.close_without_lease();
            tokio::time::sleep_until((sent + COMPARE_EVERY).into()).await;
        }
    }

    /// Handles an answer of the majority. The question was sent at `sent`.
    fn hear(&self, named: Named, sent: Instant) {
        self.majority.note(named, sent);
        let Ok(connection) = self.redis.link.connection() else { return };
        match self.standing(&connection) {
            Standing::Named => {
                if self.gate.live().is_ok_and(|live| live.run_id == connection.run_id()) {
                    self.gate.extend_lease(sent);
                }
            }
            Standing::Moving => self.close_for_move(),
            Standing::Other => self.leave(&connection),
            Standing::Unknown => {}
        }
    }

    pub(super) fn standing(&self, connection: &Connection) -> Standing {
        if !self.redis.config.has_majority() {
            return Standing::Named;
        }
        self.majority.standing(connection)
    }

    /// Whether a round may compare the server of `connection`. If not, returns the result of the round.
    pub(super) fn may_compare(&self, connection: &Connection) -> Result<(), Round> {
        match self.standing(connection) {
            Standing::Named => Ok(()),
            // An open gate stays open while MySQL extends the lease.
            Standing::Unknown if self.gate.live().is_ok() => Ok(()),
            Standing::Unknown => Err(Round::Watching),
            Standing::Moving => {
                self.close_for_move();
                Err(Round::Compared)
            }
            Standing::Other => {
                self.leave(connection);
                Err(Round::Compared)
            }
        }
    }

    /// Says once why the data of a loaded Redis is loaded again.
    pub(super) fn log_loss(&self, row: &ShardRow) {
        if self.majority.has_moved(row.epoch) {
            log::warn!("recovery: the slot of the shard was moved; rebuilding the shard from nothing");
        } else {
            log::error!("recovery: ALARM: Redis has lost a coupon or holds a wrong claim; rebuilding the shard");
        }
    }

    /// Gives up the connection to a server that the majority does not name.
    pub(super) fn leave(&self, connection: &Connection) {
        if self.gate.live().is_ok() {
            log::warn!("recovery: the majority does not name {} any more", connection.peer());
        }
        connection.give_up();
        self.stop_selling(ClosedReason::Recovering);
        self.gate.doubt(Doubt::NotLoaded);
    }

    /// Closes the gate while the slot of the shard moves. Nothing is swept, deleted or rebuilt meanwhile. The next
    /// rebuild loads the shard from nothing.
    pub(super) fn close_for_move(&self) {
        self.majority.note_move();
        let reason = ClosedReason::Refusing(WriteRefusal::Moving);
        if self.gate.live().err() != Some(reason) {
            log::warn!("recovery: the slot of the shard moves; selling stops until the shard is loaded again");
        }
        self.stop_selling(reason);
    }

    /// Closes the gate if the lease is over.
    pub(super) fn close_without_lease(&self) {
        if self.gate.live().is_ok() && self.gate.is_lease_over() {
            log::error!(
                "recovery: ALARM: neither MySQL nor a majority has answered for {} s; selling stops, because another \
                 Redis primary may have the shard",
                LEASE.as_secs()
            );
            self.stop_selling(ClosedReason::CutOff);
        }
    }
}
