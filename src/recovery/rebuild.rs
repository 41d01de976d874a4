//! A rebuild of the shard, by the instance whose token is in the key `live`.
//!
//! Every write checks the token. Scripts compare the key `live`, and statements compare the epoch and the token of the
//! shard's row. At most one of two rebuilds can therefore continue. A rebuild uses one connection to Redis that never
//! reconnects. After a loss of the connection, recovery starts again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::standing::Standing;
use super::{REBUILD, Recovery, RecoveryError, WAIT};
use crate::domain::{Claim, EntryId, Epoch, Format};
use crate::mysql as db;
use crate::mysql::DbConnection;
use crate::mysql::claims::{self, BatchParts, StoreOutcome};
use crate::mysql::instances::BeatLog;
use crate::mysql::poisoned;
use crate::mysql::shards::{self, Raised, ShardRow, ShardToken};
use crate::redis::live_key::{self, TOKEN_TTL, Taker};
use crate::redis::{Connection, Head, Live, ReadTo, broken, load, split_unreadable, unread};

/// How often the rebuild renews its token in `live`.
const TOKEN_RENEWED_EVERY: Duration = Duration::from_secs(2);
/// Pause before the outbox is read again while another sweeper holds the lock. Four times as long between two checks of
/// acknowledgements.
const DRAINED_POLL: Duration = Duration::from_millis(50);
/// Maximum claims per transaction of the drain.
const DRAIN_BATCH: usize = 1_000;
/// Timeout of a transaction of the drain, and of the next row of a streaming read.
pub(super) const STATEMENT_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Rebuild<'a> {
    pub(super) recovery: &'a Recovery,
    pub(super) connection: Connection,
    /// The value of `live` during the rebuild.
    pub(super) marker: String,
    token: String,
}

impl Recovery {
    /// Rebuilds the shard in the process of `compared`, where `live` has the value `found`. Returns `false` without any
    /// change if another instance has replaced that value, or if the address leads to another process.
    pub(super) async fn rebuild(
        &self,
        row: &ShardRow,
        compared: &Connection,
        found: &str,
    ) -> Result<bool, RecoveryError> {
        let connection = Connection::open(&self.redis.config).await?;
        if connection.run_id() != compared.run_id() {
            // A replica or an earlier primary can hold the same `live`, so that process has to be compared first. Where a
            // majority names the server, it was asked again for this connection.
            compared.give_up();
            return Ok(false);
        }
        if connection.named().is_some_and(|named| named.is_moving) {
            self.close_for_move();
            return Ok(false);
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let rebuild = Rebuild { recovery: self, connection, marker: format!("{REBUILD}{token}"), token };
        let Some(origin) = rebuild.take_live(found, TOKEN_TTL).await? else {
            return Ok(false);
        };
        let started = Instant::now();
        log::warn!(
            "recovery: loading Redis from MySQL; `live` was {found:?}, the last loading was {}:{}",
            row.run_id,
            row.epoch
        );
        // The last step replaces the token, and renewing then fails. `biased` polls the rebuild first, so a finished
        // rebuild wins over a failed renewal.
        let result = tokio::select! {
            biased;
            result = rebuild.run(found, &origin) => result,
            result = rebuild.renew() => result,
        };
        if let Err(error) = result {
            // Expires the token at once. The next attempt would otherwise wait for the TTL.
            let _ = rebuild.take_live(&rebuild.marker, Duration::from_millis(1)).await;
            return Err(error);
        }
        let (coupons, claims) = self.progress.loaded();
        self.progress.rebuilds.fetch_add(1, Ordering::Relaxed);
        log::info!(
            "recovery: done in {:.2} s; {coupons} coupons and {claims} claims loaded",
            started.elapsed().as_secs_f64()
        );
        Ok(true)
    }
}

impl Rebuild<'_> {
    /// Rebuilds. `found` is the earlier value of `live`, and `origin` the loading before unfinished rebuilds.
    async fn run(&self, found: &str, origin: &str) -> Result<(), RecoveryError> {
        let recovery = self.recovery;
        let (db, shard) = (&recovery.db, recovery.identity.shard.name());
        // The row is read again, because the compared row may be older than the token.
        let row = shards::read(db, shard).await?;
        let last_live = format!("{}:{}", row.run_id, row.epoch);
        let next = Epoch(row.epoch.0.max(Live::epoch_of(found)) + 1);
        let was = ShardToken { epoch: row.epoch, token: &row.token };
        // Data of another loading and wrong data are noted as an empty value. No later attempt then keeps the data.
        let noted = if found == last_live && !self.is_from_nothing(&row) { found } else { "" };
        self.check_token(shards::begin(db, shard, was, &self.token, next, noted).await?)?;
        let noted = shards::read(db, shard).await?.found_live;
        crate::base::crash::point("rebuild-begun");

        self.wait_until_drained(next).await?;
        // The outbox is drained before the epoch is raised. An instance that counted as dead may wake up with claims.
        // After the new epoch its claims are late. The outbox may be the only other copy, and Redis could lose it
        // meanwhile.
        let any_poisoned = self.drain_outbox(row.epoch, row.format).await?;
        crate::base::crash::point("rebuild-drained");
        // Whether the data in Redis is a subset of MySQL and may be kept. The data must be of the last loading, changed
        // only by unfinished rebuilds. With the drained outbox, MySQL then has all claims of Redis, except poisoned ones
        // and those in entries that cannot be read. The unit of such a claim would become a hole and be sold again, while
        // Redis still had its holder.
        let of_last_loading = noted.is_some_and(|noted| !noted.is_empty() && noted == origin);
        let subset = of_last_loading
            && !any_poisoned
            && !self.is_from_nothing(&row)
            && !poisoned::has_claim_of(db, row.epoch).await?
            && !unread::has_entry_of(&self.connection, recovery.keys(), row.epoch, WAIT).await?;
        let held = ShardToken { epoch: row.epoch, token: &self.token };
        if !subset {
            // Before the epoch is raised, because a later attempt looks only for poisoned claims of its own epoch.
            self.check_token(shards::forget_found(db, shard, held).await?)?;
        }
        // With the token in `live`, only this rebuild raises counters in Redis.
        let commits = live_key::commits(&self.connection, recovery.keys(), WAIT).await?;
        let commits = match shards::raise_epoch(db, shard, held, next, &commits).await? {
            Raised::Done(commits) => commits,
            Raised::Overtaken => return Err(RecoveryError::Overtaken),
            Raised::WentBack => return Err(RecoveryError::MysqlWentBack),
        };
        let held = ShardToken { epoch: next, token: &self.token };
        crate::base::crash::point("rebuild-raised");

        recovery.progress.coupons.store(0, Ordering::Relaxed);
        recovery.progress.claims.store(0, Ordering::Relaxed);
        if !subset {
            self.check_token(load::forget_keys(&self.connection, recovery.keys(), &self.marker, WAIT).await?)?;
            crate::base::crash::point("rebuild-forgotten");
        }
        self.load().await?;
        crate::base::crash::point("rebuild-loaded");

        self.check_token(shards::finish(db, shard, held, self.connection.run_id(), self.connection.peer()).await?)?;
        crate::base::crash::point("rebuild-finished");
        let live = format!("{}:{next}", self.connection.run_id());
        let keys = recovery.keys();
        self.check_token(live_key::finish(&self.connection, keys, self.taker(), &live, &commits, WAIT).await?)
    }

    /// Whether all keys are deleted and loaded again, because the data is known to be wrong. A slot of a cluster may have
    /// been moved here without some of its keys, so the data of another process is not trusted in a cluster.
    fn is_from_nothing(&self, row: &ShardRow) -> bool {
        let may_be_moved = self.recovery.redis.config.is_cluster() && row.run_id != self.connection.run_id();
        self.recovery.is_lost(row.epoch) || may_be_moved
    }

    /// Ends this rebuild with an error if another rebuild has replaced the token.
    pub(super) fn check_token(&self, is_ours: bool) -> Result<(), RecoveryError> {
        if is_ours { Ok(()) } else { Err(RecoveryError::Overtaken) }
    }

    /// Replaces the value `from` of the key `live` by the token of this rebuild. Returns the loading before unfinished
    /// rebuilds, or `None` if `live` has another value or Redis another owner.
    async fn take_live(&self, from: &str, ttl: Duration) -> Result<Option<String>, RecoveryError> {
        Ok(live_key::replace(&self.connection, self.recovery.keys(), from, self.taker(), ttl, WAIT).await?)
    }

    fn taker(&self) -> Taker<'_> {
        Taker { marker: &self.marker, installation: self.recovery.identity.ownership.installation() }
    }

    /// Renews the token before its TTL ends. Returns only with an error.
    async fn renew(&self) -> Result<(), RecoveryError> {
        loop {
            tokio::time::sleep(TOKEN_RENEWED_EVERY).await;
            // Another server may have been named, or the slot may move.
            let standing = self.recovery.standing(&self.connection);
            let is_left = matches!(standing, Standing::Other | Standing::Moving);
            if is_left || self.take_live(&self.marker, TOKEN_TTL).await?.is_none() {
                return Err(RecoveryError::Overtaken);
            }
            let (coupons, claims) = self.recovery.progress.loaded();
            log::info!("recovery: {coupons} coupons and {claims} claims loaded so far");
        }
    }

    /// Waits until no living instance has an attempt in flight or an unstored claim of epochs below `next`.
    async fn wait_until_drained(&self, next: Epoch) -> Result<(), RecoveryError> {
        let recovery = self.recovery;
        while !recovery.is_drained() {
            self.check_mysql().await?;
            recovery.beat(Some(&self.connection)).await?;
            tokio::time::sleep(DRAINED_POLL * 4).await;
        }
        recovery.progress.acknowledged.store(next.0, Ordering::SeqCst);
        let (mut waiting, mut log) = (Vec::new(), BeatLog::default());
        loop {
            let behind = recovery.awaited(&self.connection, &mut log, next).await?;
            if behind.is_empty() {
                return Ok(());
            }
            self.check_mysql().await?;
            if behind != waiting {
                log::info!("recovery: waiting for what these instances hold: {behind:?}");
                waiting = behind;
            }
            recovery.beat(Some(&self.connection)).await?;
            tokio::time::sleep(DRAINED_POLL * 4).await;
        }
    }

    /// Ends a rebuild that waits for claims which MySQL does not take, because it has gone back in time.
    async fn check_mysql(&self) -> Result<(), RecoveryError> {
        let went_back = self.recovery.mysql_went_back(&self.connection).await?;
        if went_back { Err(RecoveryError::MysqlWentBack) } else { Ok(()) }
    }

    /// Stores all claims of the outbox under `epoch`, the epoch of the shard's row. Returns whether a claim was poisoned,
    /// so that Redis has a claim that MySQL lacks.
    async fn drain_outbox(&self, epoch: Epoch, format: Format) -> Result<bool, RecoveryError> {
        let mut mysql = self.connect().await?;
        let outbox = &self.recovery.redis.outbox;
        let (mut drained, mut any_poisoned) = (0, false);
        loop {
            let head = outbox.head(&self.connection, &self.marker, epoch, ReadTo::End, DRAIN_BATCH);
            let entries = match head.await? {
                Head::Entries { entries, .. } => entries,
                Head::NotMine => {
                    // Another process holds the sweeper's lock for up to three seconds.
                    tokio::time::sleep(DRAINED_POLL).await;
                    continue;
                }
                Head::NotLoaded => return Err(RecoveryError::Overtaken),
            };
            if entries.is_empty() {
                if drained > 0 {
                    log::info!("recovery: {drained} claims stored from the outbox");
                }
                return Ok(any_poisoned);
            }
            let claims = crate::redis::claims(&entries);
            any_poisoned |= self.store(&mut mysql, epoch, &claims).await?;
            let (mut unread, mut done) = split_unreadable(&entries);
            for (entry, text) in broken(&entries) {
                log::error!("recovery: ALARM: outbox entry {entry} cannot be read: {text:?}");
                if format < Format::NEWEST {
                    self.poison(&mut mysql, entry, text, "not a claim").await?;
                }
            }
            if format < Format::NEWEST {
                done.append(&mut unread);
            }
            self.check_token(outbox.move_unread(&self.connection, &self.marker, epoch, &unread).await?)?;
            let committed = self.recovery.fence.committed();
            self.check_token(outbox.delete(&self.connection, &self.marker, committed, &done).await?)?;
            drained += claims.len();
        }
    }

    /// Stores claims in parts, as the ledger does: a refused part, or one that timed out, is halved. Returns whether a
    /// claim was poisoned.
    async fn store(&self, mysql: &mut DbConnection, epoch: Epoch, claims: &[Claim]) -> Result<bool, RecoveryError> {
        let (mut parts, mut any_poisoned) = (BatchParts::of(claims), false);
        while let Some(part) = parts.take() {
            let fence = &self.recovery.fence;
            match within("drain outbox", claims::store(mysql, fence, epoch, part)).await {
                Ok(StoreOutcome::Done(outcome)) => {
                    for claim in &outcome.poisoned {
                        let entry = claim.entry;
                        log::error!("recovery: ALARM: claim {entry} poisoned, poisoned_claims says why: {claim:?}");
                    }
                    self.recovery.ledger.state().count_poisoned(outcome.poisoned.len());
                    any_poisoned |= !outcome.poisoned.is_empty();
                    continue;
                }
                Ok(StoreOutcome::Late) => return Err(RecoveryError::Overtaken),
                Ok(StoreOutcome::Unfenced(refusal)) => return Err(RecoveryError::Unfenced(refusal)),
                Ok(StoreOutcome::Refused(reason)) => {
                    if let [claim] = part {
                        log::error!("recovery: ALARM: claim {} poisoned, {reason}: {claim:?}", claim.entry);
                        self.poison(mysql, claim.entry, &claim.to_text(), &reason).await?;
                        any_poisoned = true;
                        continue;
                    }
                }
                Err(RecoveryError::Db(db::DbError::TimedOut { .. })) if part.len() > 1 => {
                    *mysql = self.connect().await?;
                }
                Err(error) => return Err(error),
            }
            parts.halve(part);
        }
        Ok(any_poisoned)
    }

    async fn poison(
        &self,
        mysql: &mut DbConnection,
        entry: EntryId,
        text: &str,
        reason: &str,
    ) -> Result<(), RecoveryError> {
        within("drain outbox", claims::poison(mysql, entry, text, reason)).await?;
        self.recovery.ledger.state().count_poisoned(1);
        Ok(())
    }

    async fn connect(&self) -> Result<DbConnection, RecoveryError> {
        let mut mysql = self.recovery.db.connect_alone().await?;
        within("drain outbox", claims::prepare(&mut mysql)).await?;
        Ok(mysql)
    }
}

/// Runs `statement` with the timeout [`STATEMENT_WAIT`]. A rebuild without a timeout would keep its token forever if
/// MySQL is frozen or unreachable.
pub(super) async fn within<T>(
    operation: &'static str,
    statement: impl Future<Output = db::QueryResult<T>>,
) -> Result<T, RecoveryError> {
    Ok(db::within(operation, STATEMENT_WAIT, statement).await?)
}
