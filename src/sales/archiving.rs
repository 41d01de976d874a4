//! Archives coupons that cannot be claimed any more, and brings coupons back.
//!
//! MySQL decides, and Redis follows by revision. An archived coupon grants no claims, gets a tombstone in Redis when MySQL
//! has all its claims, and its claims and activities are deleted. A coupon that comes back is marked as loading. Its claims
//! are read afterwards and loaded, and its amount is written last. `tests/model/archive/` checks this protocol. A step that
//! was interrupted leaves a lagging row that is `unloaded`, and the next round repeats the step.
//!
//! The process that sweeps the outbox does this work for all instances. The lock of the sweeper saves work and protects
//! nothing: the scripts compare revisions and loadings.

use std::collections::HashSet;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::PublishError;
use super::archived_change::unknown;
use super::reached::{Reached, live_of};
use super::{Publishing, Scheduling};
use crate::base::{Outage, every};
use crate::claim::Shard;
use crate::domain::{Coupon, CouponId, ShardId};
use crate::mysql::archive::Finished;
use crate::mysql::claim_rows::{self, Which};
use crate::mysql::coupons::{self, StoredCoupon};
use crate::mysql::shard_statements::ShardStatements;
use crate::mysql::{self as db, DbConnection, DbError, QueryError, Transaction, activities, archive};
use crate::redis::archive::{Loading, Return};
use crate::redis::load::{self, ClaimChunk};
use crate::redis::{Live, PooledCalls, Presence, Published};

/// Period of rounds.
const ROUND_EVERY: Duration = Duration::from_millis(500);
/// Period of looking for finished coupons, and the maximum number of coupons archived then.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const FINISHED_MAX: i64 = 100;
/// Coupons that are read and counted as waiting, and coupons archived or brought back at the same time.
const WAITING_MAX: i64 = 100;
const AT_ONCE: usize = 4;
/// Scripts per pipeline, each with up to 200 claims. Attempts at other coupons wait for a pipeline, a millisecond or two.
const PIPELINE: usize = 4;
/// Timeout of the next row of a streaming read.
const ROW_WAIT: Duration = Duration::from_secs(10);

/// The task that archives coupons of a shard and brings them back.
pub struct Archiving {
    publishing: Publishing,
    shard: Arc<Shard>,
    statements: Arc<ShardStatements>,
    /// Coupons that cannot be claimed are archived after this time. `None` archives none by itself.
    age: Option<Duration>,
    figures: Arc<ArchiveFigures>,
}

/// Counts since the start of this process.
#[derive(Debug)]
pub struct ArchiveFigures {
    archived: AtomicU64,
    returned: AtomicU64,
    /// Coupons of each shard that lagged in the last round of this process.
    waiting: [AtomicUsize; ShardId::MAX],
}

impl Default for ArchiveFigures {
    fn default() -> Self {
        Self {
            archived: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            waiting: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }
}

impl ArchiveFigures {
    /// Coupons that were archived, and coupons that came back, by this process.
    pub fn counts(&self) -> (u64, u64) {
        (self.archived.load(Ordering::Relaxed), self.returned.load(Ordering::Relaxed))
    }

    /// Coupons that wait to be archived or to come back, at most 100 of a shard. A process counts the shards whose outbox it
    /// sweeps.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.load(Ordering::Relaxed)).sum()
    }

    fn set_waiting(&self, shard: ShardId, coupons: usize) {
        self.waiting[shard.number()].store(coupons, Ordering::Relaxed);
    }
}

impl Archiving {
    /// `age` is the time after which a coupon that cannot be claimed is archived, 0 for never. Works with the connections of
    /// `scheduling`. `figures` are of all shards.
    pub fn new(
        scheduling: &Scheduling,
        shard: Arc<Shard>,
        statements: Arc<ShardStatements>,
        age: Duration,
        figures: Arc<ArchiveFigures>,
    ) -> Self {
        let (publishing, age) = (scheduling.publishing.clone(), Some(age).filter(|age| !age.is_zero()));
        Self { publishing, shard, statements, age, figures }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let outage = Outage::new("archiving: looking for finished coupons");
        let looking = every(LOOK_EVERY, &stop, || async {
            if let Some(age) = self.age
                && self.is_mine().await
            {
                outage.note(self.archive_finished(age).await);
            }
        });
        tokio::join!(looking, stop.run_until_cancelled(self.move_coupons()));
    }

    /// Brings Redis to the rows that lag, a few at a time. A large coupon takes minutes, and others do not wait for it.
    async fn move_coupons(&self) {
        let outage = Outage::new("archiving: archiving coupons or bringing them back");
        let (mut moves, mut moving, mut last) = (FuturesUnordered::new(), HashSet::new(), CouponId(0));
        let mut rounds = tokio::time::interval(ROUND_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((coupon, result)) = moves.next() => {
                    moving.remove(&coupon);
                    outage.note(result);
                }
                _ = rounds.tick() => {
                    let Some(coupons) = outage.note(self.lagging(last).await) else { continue };
                    self.figures.set_waiting(self.shard.id, coupons.len());
                    let free = AT_ONCE.saturating_sub(moving.len());
                    let next: Vec<CouponId> = coupons.into_iter().filter(|id| !moving.contains(id)).take(free).collect();
                    for coupon in next {
                        last = coupon;
                        moving.insert(coupon);
                        moves.push(async move { (coupon, self.bring_about(coupon).await) });
                    }
                }
            }
        }
    }

    /// The coupons to work on, those behind `last` first. So a coupon that fails does not keep the others.
    async fn lagging(&self, last: CouponId) -> Result<Vec<CouponId>, PublishError> {
        if !self.statements.has_lagging_coupons(self.shard.id).await? || !self.is_mine().await {
            return Ok(Vec::new());
        }
        Ok(archive::lagging(&self.publishing.db, self.shard.id, last, WAITING_MAX).await?)
    }

    /// Whether the shard is loaded with the newest format, and this process sweeps the outbox.
    async fn is_mine(&self) -> bool {
        if live_of(&self.shard).is_err() || !self.shard.claiming.ledger.state().has_newest_format() {
            return false;
        }
        let Ok(calls) = self.shard.pool.get().await else { return false };
        self.shard.outbox.is_sweeper(&calls).await.unwrap_or(false)
    }

    async fn archive_finished(&self, age: Duration) -> Result<(), PublishError> {
        let finished = Finished { now: self.calls().await?.server_ms() / 1_000, age };
        for coupon in archive::finished(&self.publishing.db, self.shard.id, finished, FINISHED_MAX).await? {
            self.publishing.archive_finished(coupon, finished).await?;
        }
        Ok(())
    }

    /// Brings Redis to the row of a coupon. The row still lags if claims wait in the outbox, or if it has changed meanwhile.
    async fn bring_about(&self, id: CouponId) -> Result<(), PublishError> {
        let (reached, publishing) = (self.reached()?, &self.publishing);
        let mut tx = publishing.db.begin().await?;
        let stored = coupons::lock(&publishing.db, &mut tx, id).await?;
        let lags = |stored: &StoredCoupon| stored.unloaded && stored.published_revision < stored.coupon.revision;
        let Some(stored) = stored.filter(lags) else {
            tx.roll_back().await;
            return Ok(());
        };
        if stored.coupon.archived {
            return self.archive(&reached, tx, &stored).await;
        }
        tx.roll_back().await;
        self.bring_back(&reached, &stored.coupon).await
    }

    /// Writes the tombstone, and deletes claims and activities.
    async fn archive(&self, reached: &Reached, tx: Transaction<'_>, stored: &StoredCoupon) -> Result<(), PublishError> {
        let (publishing, coupon) = (&self.publishing, &stored.coupon);
        let (outcome, previous) = publishing.write_tombstone(reached, tx, stored).await?;
        match outcome {
            Published::Done => {}
            // The coupon is closed. Its claims reach MySQL within a second, or are poisoned, and an alarm says so.
            Published::Unstored => return Ok(()),
            Published::Older { revision } => return publishing.raise_above(coupon.id, revision).await,
            refused => return Err(reached.refused(coupon.id, refused)),
        }
        crate::base::crash::point("archive-tombstone");
        // The claims were deleted after an earlier tombstone if Redis is known to have had it.
        let is_deleted = previous.is_some_and(|revision| revision <= stored.published_revision);
        if !is_deleted {
            if !self.delete_claims(&reached.live, coupon).await? {
                return Ok(());
            }
            self.figures.archived.fetch_add(1, Ordering::Relaxed);
            log::info!("archiving: coupon {} is archived", coupon.id);
        }
        publishing.note(coupon).await;
        Ok(())
    }

    /// Returns `false` if the coupon is not archived any more.
    async fn delete_claims(&self, live: &Live, coupon: &Coupon) -> Result<bool, PublishError> {
        let publishing = &self.publishing;
        let (stock, wait) = (&self.shard.claiming.stock, publishing.wait);
        let mut connection = publishing.db.connect_alone().await?;
        let mut batches = pin!(stream_batches(&mut connection, coupon.id).await?);
        while let Some(chunks) = next_batch(&mut batches).await? {
            let calls = self.calls().await?;
            let deleted = stock.delete_archived(&calls, live.as_str(), coupon, &chunks, &[], wait).await;
            if !deleted.map_err(unknown)? {
                return Ok(false);
            }
        }
        let sold = activities::sold(&publishing.db, &[coupon.id]).await?;
        let ids: Vec<_> = sold.into_iter().map(|(id, _)| id).collect();
        let calls = self.calls().await?;
        stock.delete_archived(&calls, live.as_str(), coupon, &[], &ids, wait).await.map_err(unknown)
    }

    /// Loads the claims of a coupon that is not archived any more, and puts it on sale. Another loading or a tombstone may
    /// overtake it.
    async fn bring_back(&self, reached: &Reached, coupon: &Coupon) -> Result<(), PublishError> {
        let (publishing, live) = (&self.publishing, &reached.live);
        let (stock, wait, loading) = (&self.shard.claiming.stock, publishing.wait, Loading::new(coupon));
        let began = {
            let calls = self.calls().await?;
            stock.begin_return(&calls, live.as_str(), &loading, wait).await.map_err(unknown)?
        };
        let published = match began {
            Return::Loading => {
                if !self.load_claims(live, coupon, &loading).await? {
                    return Ok(());
                }
                let sold = activities::sold(&publishing.db, &[coupon.id]).await?;
                let calls = self.calls().await?;
                stock.end_return(&calls, live.as_str(), &loading, coupon, &sold, wait).await.map_err(unknown)?
            }
            Return::OnSale => publishing.send(reached, coupon, Presence::MustBeHere).await.map_err(unknown)?,
            Return::Refused(refused) => refused,
        };
        match published {
            Published::Done => {
                self.shard.claiming.refusals.forget(coupon.id);
                archive::set_loaded(&publishing.db, coupon.id, coupon.revision).await?;
                if began == Return::Loading {
                    self.figures.returned.fetch_add(1, Ordering::Relaxed);
                    log::info!("archiving: coupon {} came back", coupon.id);
                }
                Ok(())
            }
            Published::Older { revision } => publishing.raise_above(coupon.id, revision).await,
            Published::Archived => Ok(()),
            refused => Err(reached.refused(coupon.id, refused)),
        }
    }

    /// Returns `false` if another loading or a tombstone has the coupon.
    async fn load_claims(&self, live: &Live, coupon: &Coupon, loading: &Loading) -> Result<bool, PublishError> {
        let publishing = &self.publishing;
        let mut connection = publishing.db.connect_alone().await?;
        let mut batches = pin!(stream_batches(&mut connection, coupon.id).await?);
        while let Some(chunks) = next_batch(&mut batches).await? {
            let (calls, stock) = (self.calls().await?, &self.shard.claiming.stock);
            let loaded = stock.load_returning(&calls, live.as_str(), loading, &chunks, publishing.wait).await;
            if !loaded.map_err(unknown)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn reached(&self) -> Result<Reached, PublishError> {
        Ok(Reached { shard: Arc::clone(&self.shard), live: live_of(&self.shard)? })
    }

    async fn calls(&self) -> Result<PooledCalls, PublishError> {
        self.shard.pool.get().await.map_err(|_| PublishError::Unavailable(None))
    }
}

/// The claims of a coupon, in pipelines.
async fn stream_batches(
    connection: &mut DbConnection,
    coupon: CouponId,
) -> Result<impl Stream<Item = Result<Vec<ClaimChunk>, QueryError>>, DbError> {
    let claims = db::within("read claims", ROW_WAIT, claim_rows::stream(connection, Which::Of(&[coupon]))).await?;
    Ok(load::chunks(claims, 0).try_chunks(PIPELINE).map_err(|error| error.1))
}

async fn next_batch(
    batches: &mut Pin<&mut impl Stream<Item = Result<Vec<ClaimChunk>, QueryError>>>,
) -> Result<Option<Vec<ClaimChunk>>, DbError> {
    db::within("read claims", ROW_WAIT, batches.try_next()).await
}
