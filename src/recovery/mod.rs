//! Keeps the shard's data in Redis equal to MySQL and the outbox.
//!
//! A round compares the `run_id` of Redis, the key `live`, and the shard's row in MySQL. Rounds run every second, and
//! at once after a doubt reported to the gate. If all three agree, the gate opens for that loading. Otherwise the gate
//! closes and one instance rebuilds the shard. A start needs no special case, because a Redis that was never loaded
//! does not agree with the row.
//!
//! Recovery controls the gate and the ledger. Neither knows recovery.

mod beats;
mod choice;
mod load;
mod majority;
mod owner;
mod rebuild;
mod right;
mod selling;
mod standing;
mod watch;
mod went_back;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::claim::{ClosedReason, Gate, Ledger, RebuildProgress};
use crate::domain::{Epoch, ShardId};
use crate::mysql::instances::Process;
use crate::mysql::ledgers::{Fence, FenceRefusal};
use crate::mysql::shard_statements::{ShardStatements, SharedDbError};
use crate::mysql::shards::ShardRow;
use crate::mysql::{Db, DbError, instances};
use crate::redis::beats::BeatWriter;
use crate::redis::live_key::{LiveAndOwner, Taker};
use crate::redis::{Connection, Keys, KvError, Link, LinkConfig, Live, Outbox, Ownership, Pool, Stock, live_key};
use choice::{Choice, Dispute};
use right::{OwnerState, Right};
use standing::{MajoritySeen, Standing};

/// Pause between two rounds without a doubt.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// Pause between two rounds before the first use of the shard.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// Timeout of a call to Redis.
const WAIT: Duration = Duration::from_secs(2);
/// Longest wait of a round for a connection that is being replaced.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);
/// Prefix of the value of `live` during a rebuild.
const REBUILD: &str = "rebuild:";

/// Keeps the gate open while Redis holds the recorded loading, and rebuilds the shard otherwise.
pub struct Recovery {
    identity: Identity,
    db: Db,
    statements: Arc<ShardStatements>,
    redis: RedisParts,
    gate: Arc<Gate>,
    ledger: Ledger,
    fence: Arc<Fence>,
    progress: Arc<RebuildProgress>,
    dispute: Dispute,
    majority: MajoritySeen,
    owner: Mutex<OwnerState>,
    /// The number of the last beat that was sent to MySQL.
    beat_number: AtomicU64,
}

#[derive(Debug, Clone)]
pub struct Identity {
    pub shard: ShardId,
    pub process: Process,
    pub ownership: Arc<Ownership>,
}

pub struct RedisParts {
    /// The address. Every rebuild opens a connection that never reconnects.
    pub config: LinkConfig,
    /// Writes the number of the last beat in MySQL into the beats in Redis.
    pub beats: BeatWriter,
    /// The connection for comparisons and beats.
    pub link: Arc<Link>,
    /// The connections of all other work. Recovery tells the pool which process to follow.
    pub pool: Pool,
    pub stock: Stock,
    pub outbox: Outbox,
}

/// What a round has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Compared,
    /// The shard was rebuilt, and has to be compared at once.
    Rebuilt,
    /// Whether Redis may be used is not known yet.
    Watching,
}

/// The reason for a failed round. The next round starts within a second.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    SharedDb(#[from] SharedDbError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("another instance or another server has taken over the rebuild")]
    Overtaken,
    #[error("the outbox is not stored: {0}")]
    Unfenced(FenceRefusal),
    #[error("MySQL lacks commits that Redis knows")]
    MysqlWentBack,
}

impl Recovery {
    pub fn new(
        identity: Identity,
        statements: Arc<ShardStatements>,
        redis: RedisParts,
        gate: Arc<Gate>,
        ledger: Ledger,
        fence: Arc<Fence>,
        progress: Arc<RebuildProgress>,
    ) -> Self {
        let db = statements.db().clone();
        let (dispute, majority) = (Dispute::default(), MajoritySeen::default());
        let (owner, beat_number) = (Mutex::default(), AtomicU64::new(0));
        Self { identity, db, statements, redis, gate, ledger, fence, progress, dispute, majority, owner, beat_number }
    }

    /// Runs rounds, and deletes rows of dead instances until `stop`. Closes the gate at the end.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.rounds(stop) => {}
            () = self.bury_the_dead() => {}
            () = self.watch_majority() => {}
        }
        self.gate.close(ClosedReason::Stopping);
    }

    async fn rounds(&self, stop: CancellationToken) {
        // At a start the link is still connecting. A round without a connection would cost a second.
        self.redis.link.connected(WAIT).await;
        let mut failing = String::new();
        let mut doubt_heard = Instant::now();
        loop {
            let mut period = COMPARE_EVERY;
            tokio::select! {
                result = self.round() => match result {
                    // The next round opens the gate.
                    Ok(Round::Rebuilt) => continue,
                    Ok(round) => {
                        failing.clear();
                        if round == Round::Watching {
                            period = WATCH_EVERY;
                        }
                    }
                    Err(error) => {
                        let text = error.to_string();
                        if text != failing {
                            log::warn!("recovery: round failed, trying again: {text}");
                            failing = text;
                        }
                    }
                },
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep_until(self.statements.next_round(period).into()) => {}
                // Every attempt can report a doubt, so at most one round a second starts for a doubt.
                () = self.gate.doubted(), if doubt_heard.elapsed() >= COMPARE_EVERY => doubt_heard = Instant::now(),
                () = stop.cancelled() => break,
            }
        }
    }

    /// Compares once, then opens the gate, or closes the gate and rebuilds.
    ///
    /// # Errors
    /// [`RecoveryError`]. The gate is closed if Redis holds another loading or refuses writes, if Redis is unreachable
    /// during a rebuild, or if the rebuild of this round failed. Otherwise the gate is unchanged.
    async fn round(&self) -> Result<Round, RecoveryError> {
        let seen = self.look().await;
        self.close_without_lease();
        // A single address may lead to the process of that worker by now, while this connection survives at the earlier one.
        if let (true, Ok((connection, _))) = (self.gate.take_other_process(), &seen)
            && connection.named().is_none()
        {
            connection.give_up();
        }
        // Closed before the query to MySQL. MySQL may be unreachable, and nothing may be sold meanwhile.
        match (&seen, self.gate.live()) {
            (Ok((connection, found)), Ok(known))
                if known.as_str() != found.live || known.run_id != connection.run_id() =>
            {
                self.close(ClosedReason::Recovering);
            }
            (Ok((connection, _)), Ok(_)) => self.close_for(connection.write_refusal()),
            (Err(error), _) => self.close_for(error.write_refusal()),
            (Ok(_), Err(_)) => {}
        }
        // The beat comes before the read. A process that changes the row only while no instance is alive either sees
        // this beat, or has committed before the read. The beat does not depend on Redis: an instance without Redis is
        // alive and may hold claims.
        let reached = seen.as_ref().ok().map(|(connection, _)| Arc::clone(connection));
        let beat_sent = Instant::now();
        let row = self.beat(reached.as_deref()).await?;
        self.majority.note_epoch(&row);
        if seen.is_err() && !row.is_live {
            self.close(ClosedReason::Recovering);
        }
        if self.acknowledge(&row) {
            self.beat(reached.as_deref()).await?;
        }
        let (connection, found) = seen?;
        match self.right(&connection, &row, &found).await? {
            Right::Granted => self.compare_and_repair(&row, &connection, &found, beat_sent).await,
            Right::Pending => Ok(Round::Watching),
            Right::Foreign(sentence) => {
                self.close_for_foreign(&sentence);
                Ok(Round::Compared)
            }
        }
    }

    /// The part of a round for a Redis that belongs to this installation. `row` was read after the beat that was sent at
    /// `beat_sent`.
    async fn compare_and_repair(
        &self,
        row: &ShardRow,
        connection: &Connection,
        found: &LiveAndOwner,
        beat_sent: Instant,
    ) -> Result<Round, RecoveryError> {
        if let Err(round) = self.may_compare(connection) {
            return Ok(round);
        }
        if self.mysql_went_back(connection).await? {
            self.close_for_mysql().await?;
            return Ok(Round::Compared);
        }
        // The majority may have named another server meanwhile.
        if let Err(round) = self.may_compare(connection) {
            return Ok(round);
        }
        let refusal = connection.write_refusal();
        if let Some(live) = compare(row, &found.live, connection.run_id()) {
            if !self.is_lost(row.epoch) {
                if !self.own(connection, found).await? {
                    return Ok(Round::Watching);
                }
                // The row was read after the beat. MySQL alone proves nothing: an instance that was cut off beats again
                // before it has seen the row of the next loading.
                self.gate.extend_lease(beat_sent);
                self.sell(connection, live, row.format, refusal);
                return Ok(Round::Compared);
            }
            self.log_loss(row);
        }
        self.close(ClosedReason::Recovering);
        self.close_for(refusal);
        if refusal.is_some() || self.standing(connection) != Standing::Named {
            return Ok(Round::Compared);
        }
        if found.live.starts_with(REBUILD) {
            let token = Taker { marker: &found.live, installation: self.identity.ownership.installation() };
            live_key::bound_token(connection, self.keys(), token, WAIT).await?;
            return Ok(Round::Compared);
        }
        match self.choose(row, connection).await? {
            Choice::Ours if self.rebuild(row, connection, &found.live).await? => return Ok(Round::Rebuilt),
            Choice::Ours => {}
            // The address may lead to the other process by now.
            Choice::Open => connection.give_up(),
            Choice::Theirs => {
                connection.give_up();
                self.close(ClosedReason::TwoPrimaries);
            }
        }
        Ok(Round::Compared)
    }

    /// Whether the process of `connection` has the shard. Where a majority names the process, the instances need no
    /// choice.
    async fn choose(&self, row: &ShardRow, connection: &Connection) -> Result<Choice, DbError> {
        if self.redis.config.has_majority() {
            return Ok(Choice::Ours);
        }
        let reports = instances::redis_reports(&self.db, self.identity.shard).await?;
        Ok(self.dispute.choose(&reports, row, connection.run_id()))
    }

    /// Acknowledges an epoch once this process has no attempt in flight and no unstored claim of earlier epochs.
    /// Returns whether the acknowledged epoch has changed.
    fn acknowledge(&self, row: &ShardRow) -> bool {
        let epoch = if row.is_live {
            row.epoch
        } else if self.gate.live().is_err() && self.is_drained() {
            row.next_epoch
        } else {
            return false;
        };
        self.progress.acknowledged.swap(epoch.0, Ordering::SeqCst) != epoch.0
    }

    fn is_drained(&self) -> bool {
        self.gate.in_flight() == 0 && self.ledger.is_drained()
    }

    /// Whether the data of Redis is known to be wrong, or to have been moved, in the loading `epoch` or a later one.
    fn is_lost(&self, epoch: Epoch) -> bool {
        let lost = self.gate.lost().max(self.ledger.state().contradicted());
        lost >= epoch.max(Epoch(1)) || self.majority.has_moved(epoch)
    }

    fn keys(&self) -> &Keys {
        self.redis.stock.keys()
    }

    /// The connection to Redis, just probed, and the values of `live` and `owner`.
    async fn look(&self) -> Result<(Arc<Connection>, LiveAndOwner), KvError> {
        // The link may be replacing its connection.
        self.redis.link.connected(RECONNECT_WAIT).await;
        let connection = self.redis.link.connection()?;
        connection.probe().await?;
        let found = live_key::read_with_owner(&connection, self.keys(), WAIT).await?;
        Ok((connection, found))
    }
}

/// The recorded loading, or `None` if Redis holds another loading or none. `found` is empty for a missing key `live`.
fn compare(row: &ShardRow, found: &str, run_id: &str) -> Option<Live> {
    let live = Live::new(run_id, row.epoch);
    // A rebuild raises the format.
    let has_format = row.format == row.wanted_format;
    (row.is_live && has_format && row.run_id == run_id && live.as_str() == found).then_some(live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Format;

    fn row(run_id: &str, epoch: u32, is_live: bool) -> ShardRow {
        let (run_id, epoch) = (run_id.to_owned(), Epoch(epoch));
        ShardRow {
            epoch,
            run_id,
            previous_run_id: String::new(),
            redis_address: String::new(),
            is_live,
            token: String::new(),
            next_epoch: epoch,
            found_live: None,
            format: Format::PREVIOUS,
            wanted_format: Format::PREVIOUS,
        }
    }

    #[test]
    fn a_shard_counts_as_loaded_only_in_the_recorded_process_and_epoch() {
        let loaded = |row: ShardRow, found, run_id| compare(&row, found, run_id).is_some();
        assert!(loaded(row("a", 3, true), "a:3", "a"));
        assert!(!loaded(row("a", 3, false), "a:3", "a"), "a rebuild is recorded in the row");
        assert!(!loaded(row("a", 3, true), "a:3", "b"), "Redis has restarted with its data");
        assert!(!loaded(row("a", 3, true), "", "a"), "Redis was flushed");
        assert!(!loaded(row("a", 3, true), "a:2", "a"), "Redis went back in time");
        assert!(!loaded(row("a", 4, true), "a:3", "a"), "another rebuild has raised the epoch");
        assert!(!loaded(row("a", 3, true), "rebuild:x", "a"), "a rebuild has written its token");
        assert!(!loaded(row("", 0, false), "", "a"), "Redis was never loaded");
        let raised = ShardRow { wanted_format: Format::NEWEST, ..row("a", 3, true) };
        assert!(!loaded(raised, "a:3", "a"), "an operator has asked for another format");
    }
}
