//! The server that a majority names, and the lease.
//!
//! An old primary may go on after a replica was promoted, cut off together with this process. The lease stops this
//! process in time: every attempt compares the end of the lease. MySQL extends the lease when it takes a beat and the row
//! still has the loading of the gate. A majority extends the lease when it names the server of that loading. Both count
//! from the sending of the question. `tests/model/lease` shows why each rule is needed.
//!
//! A single address has no majority and no lease.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{COMPARE_EVERY, Recovery};
use crate::claim::{ClosedReason, Doubt};
use crate::domain::Epoch;
use crate::mysql::shards::ShardRow;
use crate::redis::{Connection, Named, WriteRefusal};

/// How long an answer of the majority is good for opening the gate. The majority is asked every second.
const ANSWER_AGE: Duration = Duration::from_secs(3);

/// What the majority says about the server of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The majority names the server, or there is a single address.
    Named,
    /// The majority names the server, and the slot of the shard leaves it.
    Moving,
    /// The majority names another server.
    Other,
    /// No majority has answered for [`ANSWER_AGE`].
    Unknown,
}

/// The last answer of the majority, and whether the slot of the shard was seen to move.
#[derive(Debug, Default)]
pub(super) struct MajoritySeen {
    last: Mutex<Option<(Instant, Named)>>,
    /// Set when the slot moves, until a round has noted the epoch.
    is_moving: AtomicBool,
    /// The last epoch in which the slot was seen to move, 0 for none.
    moved_in: AtomicU32,
}

impl MajoritySeen {
    /// Notes the epoch in which the slot was seen to move. Keys may have stayed behind, so the data of this epoch is
    /// not trusted any more.
    pub(super) fn note_epoch(&self, row: &ShardRow) {
        if self.is_moving.swap(false, Ordering::SeqCst) {
            self.moved_in.fetch_max(row.epoch.0.max(1), Ordering::SeqCst);
        }
    }

    /// Whether the slot moved in `epoch` or a later one.
    pub(super) fn has_moved(&self, epoch: Epoch) -> bool {
        self.moved_in.load(Ordering::SeqCst) >= epoch.0.max(1)
    }
}

impl Recovery {
    /// Asks the majority every second, forever.
    pub(super) async fn watch_majority(&self) {
        if !self.redis.config.has_majority() {
            return std::future::pending().await;
        }
        loop {
            let sent = Instant::now();
            if let Some(named) = self.redis.config.ask_majority().await {
                self.hear(named, sent);
            }
            self.close_without_lease();
            tokio::time::sleep_until((sent + COMPARE_EVERY).into()).await;
        }
    }

    /// Handles an answer of the majority. The question was sent at `sent`.
    fn hear(&self, named: Named, sent: Instant) {
        *self.majority.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((sent, named));
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
        let last = self.majority.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((sent, named)) if sent.elapsed() < ANSWER_AGE => standing(named, connection.named()),
            _ => Standing::Unknown,
        }
    }

    /// Gives up the connection to a server that the majority does not name.
    pub(super) fn leave(&self, connection: &Connection) {
        if self.gate.live().is_ok() {
            log::warn!("recovery: the majority does not name {} any more", connection.peer());
        }
        connection.give_up();
        self.close(ClosedReason::Recovering);
        self.gate.doubt(Doubt::NotLoaded);
    }

    /// Closes the gate while the slot of the shard moves. Nothing is swept, deleted or rebuilt meanwhile. The next
    /// rebuild loads the shard from nothing.
    pub(super) fn close_for_move(&self) {
        self.majority.is_moving.store(true, Ordering::SeqCst);
        let reason = ClosedReason::Refusing(WriteRefusal::Moving);
        if self.gate.live().err() != Some(reason) {
            log::warn!("recovery: the slot of the shard moves; selling stops until the shard is loaded again");
        }
        self.close(reason);
    }

    /// Closes the gate if the lease is over.
    pub(super) fn close_without_lease(&self) {
        if self.gate.live().is_ok() && self.gate.is_lease_over() {
            log::error!(
                "recovery: ALARM: neither MySQL nor a majority has answered for {} s; selling stops, because another \
                 Redis primary may have the shard",
                Duration::as_secs(&crate::claim::LEASE)
            );
            self.close(ClosedReason::CutOff);
        }
    }

    /// Extends the lease after MySQL has taken a beat that was sent at `sent`, if `row` was read afterwards and still has
    /// the loading of the gate.
    pub(super) fn extend_lease_by_row(&self, row: &ShardRow, sent: Instant) {
        let is_same = |run_id: &str, epoch| row.is_live && row.run_id == run_id && row.epoch == epoch;
        if self.gate.live().is_ok_and(|live| is_same(&live.run_id, live.epoch)) {
            self.gate.extend_lease(sent);
        }
    }
}

/// What `named` says about a connection that was made to the server `made_to`.
fn standing(named: &Named, made_to: Option<&Named>) -> Standing {
    if made_to.is_none_or(|made_to| made_to.server != named.server) {
        Standing::Other
    } else if named.is_moving {
        Standing::Moving
    } else {
        Standing::Named
    }
}
