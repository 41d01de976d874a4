//! One rebuild of the shard, by the instance that has put its token into `live`.
//!
//! Every write checks the token, in Redis by script and in MySQL by the row's epoch and token, so that of two rebuilds at
//! most one goes on. All of it goes over one connection that never reconnects: if it breaks, recovery starts again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::beats::Silence;
use super::{REBUILD, Recovery, RecoveryError, WAIT};
use crate::domain::{Claim, Epoch};
use crate::mysql as db;
use crate::mysql::DbConnection;
use crate::mysql::claims::{self, StoreOutcome};
use crate::mysql::shards::{self, ShardRow, ShardToken};
use crate::redis::{Connection, DoneEntry, Head, OutboxEntry, broken, live_key, load};

/// `live` expires after this unless the rebuild renews it.
const TOKEN_LASTS: Duration = Duration::from_secs(10);
const TOKEN_RENEWED_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether everybody has let go of the old epoch.
const DRAINED_POLL: Duration = Duration::from_millis(50);
/// Claims of one transaction of the drain.
const DRAIN_BATCH: usize = 1_000;
/// How long one transaction of the drain, or the next row of a long reading, may take.
pub(super) const STATEMENT_WAIT: Duration = Duration::from_secs(10);

/// A rebuild under way.
pub(super) struct Rebuild<'a> {
    pub(super) recovery: &'a Recovery,
    pub(super) connection: Connection,
    /// What `live` holds meanwhile.
    pub(super) marker: String,
    token: String,
}

impl Recovery {
    /// Rebuilds the shard, unless another instance is first.
    pub(super) async fn rebuild(&self, row: &ShardRow, found: &str) -> Result<(), RecoveryError> {
        let connection = Connection::open(&self.redis.config).await?;
        let token = format!("{:032x}", rand::random::<u128>());
        let rebuild = Rebuild { recovery: self, connection, marker: format!("{REBUILD}{token}"), token };
        if !rebuild.take_live(found, &rebuild.marker, Some(TOKEN_LASTS)).await? {
            return Ok(());
        }
        let started = Instant::now();
        log::warn!(
            "recovery: loading Redis from MySQL; `live` held {found:?}, the last loading was {}:{}",
            row.run_id,
            row.epoch
        );
        // Once `live` is written there is no token any more to renew: where both are ready, it is done.
        let result = tokio::select! {
            biased;
            result = rebuild.run(found) => result,
            result = rebuild.renew() => result,
        };
        if let Err(error) = result {
            // So that the next attempt need not wait until the token expires.
            let _ = rebuild.take_live(&rebuild.marker, &rebuild.marker, Some(Duration::from_millis(1))).await;
            return Err(error);
        }
        let (coupons, claims) = self.progress.loaded();
        self.progress.rebuilds.fetch_add(1, Ordering::Relaxed);
        log::info!(
            "recovery: done in {:.2} s; {coupons} coupons and {claims} claims loaded",
            started.elapsed().as_secs_f64()
        );
        // Look at once, instead of in a second, whether it may be sold from.
        self.gate.doubt(crate::claim::Doubt::NotLoaded);
        Ok(())
    }
}

impl Rebuild<'_> {
    async fn run(&self, found: &str) -> Result<(), RecoveryError> {
        let recovery = self.recovery;
        let (db, shard) = (&recovery.db, recovery.identity.shard);
        // Read again: what was compared may be older than the token.
        let row = shards::read(db, shard).await?;
        let last_live = format!("{}:{}", row.run_id, row.epoch);
        let next = Epoch(row.epoch.0.max(epoch_of(found)) + 1);
        let was = ShardToken { epoch: row.epoch, token: &row.token };
        // Noted as nothing where it is not to be relied on, so that a later attempt does not rely on it either.
        let noted = if recovery.is_lost(row.epoch) { "" } else { found };
        self.own(shards::begin(db, shard, was, &self.token, next, noted).await?)?;
        let noted = shards::read(db, shard).await?.found_live;
        crate::base::crash::point("rebuild-begun");

        self.wait_until_drained(next).await?;
        // Drained before the epoch is raised: an instance that was not waited for, and wakes up, finds its claims late from
        // then on, and the outbox may be the only other place that knows of them. Redis could lose that before it is read.
        let contradicted = self.drain_outbox(row.epoch).await?;
        crate::base::crash::point("rebuild-drained");
        let held = ShardToken { epoch: row.epoch, token: &self.token };
        self.own(shards::raise_epoch(db, shard, held, next).await?)?;
        let held = ShardToken { epoch: next, token: &self.token };
        crate::base::crash::point("rebuild-raised");

        recovery.progress.coupons.store(0, Ordering::Relaxed);
        recovery.progress.claims.store(0, Ordering::Relaxed);
        // What the last loading left, less what was lost at its end: with the outbox drained, a subset of MySQL. Unless a
        // claim was poisoned, which Redis has and MySQL never will.
        let subset =
            found == last_live && noted.as_deref() == Some(found) && !contradicted && !recovery.is_lost(row.epoch);
        if !subset {
            self.own(shards::forget_found(db, shard, held).await?)?;
            self.own(load::forget_keys(&self.connection, recovery.keys(), &self.marker, WAIT).await?)?;
            crate::base::crash::point("rebuild-forgotten");
        }
        self.load().await?;
        crate::base::crash::point("rebuild-loaded");

        self.own(shards::finish(db, shard, held, self.connection.run_id()).await?)?;
        crate::base::crash::point("rebuild-finished");
        let live = format!("{}:{next}", self.connection.run_id());
        let taken = self.take_live(&self.marker, &live, None).await?;
        self.own(taken)
    }

    /// Ends this rebuild where another has taken it over.
    pub(super) fn own(&self, still: bool) -> Result<(), RecoveryError> {
        if still { Ok(()) } else { Err(RecoveryError::Overtaken) }
    }

    /// Replaces the value `from` of the key `live`. The new value expires after `ttl`, or never.
    async fn take_live(&self, from: &str, to: &str, ttl: Option<Duration>) -> Result<bool, RecoveryError> {
        Ok(live_key::replace(&self.connection, self.recovery.keys(), from, to, ttl, WAIT).await?)
    }

    /// Keeps the token from expiring; returns only with an error.
    async fn renew(&self) -> Result<(), RecoveryError> {
        loop {
            tokio::time::sleep(TOKEN_RENEWED_EVERY).await;
            if !self.take_live(&self.marker, &self.marker, Some(TOKEN_LASTS)).await? {
                return Err(RecoveryError::Overtaken);
            }
            let (coupons, claims) = self.recovery.progress.loaded();
            log::info!("recovery: {coupons} coupons and {claims} claims loaded so far");
        }
    }

    /// Waits until no instance has an attempt in flight or a claim that MySQL lacks.
    async fn wait_until_drained(&self, next: Epoch) -> Result<(), RecoveryError> {
        let recovery = self.recovery;
        while !recovery.is_drained() {
            recovery.beat().await?;
            tokio::time::sleep(DRAINED_POLL * 4).await;
        }
        recovery.progress.acknowledged.store(next.0, Ordering::SeqCst);
        let (mut waiting, mut silence) = (Vec::new(), Silence::default());
        loop {
            let behind = recovery.awaited(&self.connection, &mut silence, next).await?;
            if behind.is_empty() {
                return Ok(());
            }
            if behind != waiting {
                log::info!("recovery: waiting for what these instances hold: {behind:?}");
                waiting = behind;
            }
            recovery.beat().await?;
            tokio::time::sleep(DRAINED_POLL * 4).await;
        }
    }

    /// Stores everything the outbox has, under `epoch`, which the row still has. `true`: some of it contradicts what MySQL
    /// has.
    async fn drain_outbox(&self, epoch: Epoch) -> Result<bool, RecoveryError> {
        let mut mysql = self.recovery.db.connect_alone().await?;
        within("drain outbox", claims::prepare(&mut mysql)).await?;
        let (mut drained, mut contradicted) = (0, false);
        loop {
            let head = self.recovery.redis.outbox.head(
                &self.connection,
                &self.marker,
                epoch,
                Duration::ZERO,
                None,
                DRAIN_BATCH,
            );
            let entries = match head.await? {
                Head::Entries { entries, .. } => entries,
                Head::NotMine => {
                    // The sweeper before us still has its short lock.
                    tokio::time::sleep(DRAINED_POLL).await;
                    continue;
                }
                Head::NotLoaded => return Err(RecoveryError::Overtaken),
            };
            if entries.is_empty() {
                if drained > 0 {
                    log::info!("recovery: {drained} claims from the outbox");
                }
                return Ok(contradicted);
            }
            let claims = crate::redis::claims(&entries);
            contradicted |= self.store(&mut mysql, epoch, &claims).await?;
            for (entry, text) in broken(&entries) {
                log::error!("recovery: ALARM: outbox entry {entry} is not a claim: {text:?}");
                within("drain outbox", claims::poison(&mut mysql, entry, text, "not a claim")).await?;
            }
            let done: Vec<DoneEntry> = entries.iter().map(OutboxEntry::done).collect();
            self.own(self.recovery.redis.outbox.delete(&self.connection, &self.marker, &done).await?)?;
            drained += done.iter().map(|(_, claims)| claims).sum::<usize>();
        }
    }

    async fn store(&self, mysql: &mut DbConnection, epoch: Epoch, claims: &[Claim]) -> Result<bool, RecoveryError> {
        if claims.is_empty() {
            return Ok(false);
        }
        match within("drain outbox", claims::store(mysql, self.recovery.identity.shard, epoch, claims)).await? {
            StoreOutcome::Done(outcome) => {
                for claim in &outcome.poisoned {
                    log::error!("recovery: ALARM: claim {} poisoned, poisoned_claims says why: {claim:?}", claim.entry);
                }
                Ok(!outcome.poisoned.is_empty())
            }
            StoreOutcome::Late => Err(RecoveryError::Overtaken),
        }
    }
}

/// MySQL may be frozen or cut off; a rebuild that waited for ever would keep its token for ever.
pub(super) async fn within<T>(
    operation: &'static str,
    statement: impl Future<Output = db::QueryResult<T>>,
) -> Result<T, RecoveryError> {
    Ok(db::within(operation, STATEMENT_WAIT, statement).await?)
}

/// The epoch in a value of `live`; 0 where it names none.
fn epoch_of(live: &str) -> u32 {
    live.rsplit_once(':').and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(0)
}
