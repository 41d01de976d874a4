//! The parts and tasks that exist once for each shard.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::parts::redis_pool;
use crate::base::{crash, every};
use crate::claim::{
    ArchivedCoupons, Batches, ClaimFigures, Claiming, ClosedReason, ConditionChecks, Gate, Handed, Ledger,
    MissingCoupons, Persister, PersisterSettings, Refusals, Shard, Shards, Waiters,
};
use crate::config;
use crate::domain::ShardId;
use crate::http::Shared;
use crate::memory::Activities;
use crate::mysql::instances::Process;
use crate::mysql::ledgers::Fence;
use crate::mysql::shard_statements::ShardStatements;
use crate::mysql::{DbPools, shards};
use crate::recovery::{Identity, Recovery, RedisParts};
use crate::redis::{Keys, Link, LinkConfig, Outbox, Ownership, Stock, beats};
use crate::sales::{ArchiveFigures, Archiving, Publishing, Scheduling};

/// Period of looking for shards that were added.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Limits of each shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardLimits {
    pub(super) backlog_max: u32,
    pub(super) in_flight_max: u32,
    pub(super) archive_after: Duration,
}

/// Everything that shards are made of.
pub(super) struct ShardMaker {
    pub(super) limits: ShardLimits,
    pub(super) dbs: DbPools,
    pub(super) statements: Arc<ShardStatements>,
    pub(super) redis: LinkConfig,
    pub(super) redis_prefix: String,
    pub(super) process: Process,
    pub(super) ownership: Arc<Ownership>,
    pub(super) activities: Arc<Activities>,
    pub(super) archived: Arc<ArchivedCoupons>,
    pub(super) conditions: Arc<ConditionChecks>,
    pub(super) figures: Arc<ClaimFigures>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) batches: Arc<Batches>,
}

/// The parts of a shard that do not run yet.
pub(super) struct NewShard {
    shard: Arc<Shard>,
    recovery: Recovery,
    persister: Persister,
    channel: Receiver<Handed>,
}

impl NewShard {
    pub(super) fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }
}

impl ShardMaker {
    pub(super) fn make(&self, id: ShardId) -> NewShard {
        self.statements.add_shard();
        let fits = |number: u32| usize::try_from(number).expect("a u32 fits");
        let keys = Keys::new(&self.redis_prefix, id);
        let beats = beats::BeatWriter::new(&keys, &self.process.id, self.ownership.installation());
        let redis = self.redis.clone().for_shard(id.name()).with_beat(beats.clone());
        let (waiters, batches) = (Arc::clone(&self.waiters), Arc::clone(&self.batches));
        let (ledger, channel) = Ledger::new(fits(self.limits.backlog_max), waiters, batches);
        let gate = Gate::new(fits(self.limits.in_flight_max));
        let gate = Arc::new(if redis.has_majority() { gate.with_lease() } else { gate });
        let claiming = self.claiming(gate, Stock::new(keys.clone(), self.limits.backlog_max), ledger);
        let shard = Arc::new(Shard {
            id,
            claiming,
            pool: redis_pool(&redis),
            link: Arc::new(Link::new(redis.clone())),
            redis,
            outbox: Outbox::new(keys, self.process.id.clone(), config::KV_WAIT),
            progress: Arc::default(),
        });
        let fence = Arc::new(Fence::new(id.name(), self.process.id.clone()));
        let recovery = self.recovery(&shard, beats, Arc::clone(&fence));
        NewShard { recovery, persister: self.persister(&shard, fence), channel, shard }
    }

    fn claiming(&self, gate: Arc<Gate>, stock: Stock, ledger: Ledger) -> Claiming {
        let db = self.dbs.users.clone();
        let refusals = Refusals::new(db.clone(), stock.clone(), Arc::clone(&gate), Arc::clone(&self.activities));
        Claiming {
            refusals: Arc::new(refusals),
            missing: Arc::new(MissingCoupons::new(self.dbs.control.clone(), Arc::clone(&gate))),
            gate,
            activities: Arc::clone(&self.activities),
            archived: Arc::clone(&self.archived),
            conditions: Arc::clone(&self.conditions),
            ledger,
            stock,
            figures: Arc::clone(&self.figures),
            db,
            wait: config::CLAIM_WAIT,
        }
    }

    fn recovery(&self, shard: &Shard, beats: beats::BeatWriter, fence: Arc<Fence>) -> Recovery {
        let redis = RedisParts {
            config: shard.redis.clone(),
            beats,
            link: Arc::clone(&shard.link),
            pool: shard.pool.clone(),
            stock: shard.claiming.stock.clone(),
            outbox: shard.outbox.clone(),
        };
        let identity =
            Identity { shard: shard.id, process: self.process.clone(), ownership: Arc::clone(&self.ownership) };
        let (gate, ledger) = (Arc::clone(&shard.claiming.gate), shard.claiming.ledger.clone());
        let statements = Arc::clone(&self.statements);
        Recovery::new(identity, statements, redis, gate, ledger, fence, Arc::clone(&shard.progress))
    }

    fn persister(&self, shard: &Shard, fence: Arc<Fence>) -> Persister {
        let settings = PersisterSettings {
            shard: shard.id,
            batch_max: crash::batch_max(config::BATCH_CLAIMS_MAX),
            linger_max: config::BATCH_LINGER_MAX,
            store_wait: config::STORE_WAIT,
            pauses: config::STORE_PAUSES,
            sweep_every: config::SWEEP_EVERY,
            sweep_age: config::SWEEP_AGE,
            sweep_batches_max: config::SWEEP_BATCHES_MAX,
        };
        let (statements, outbox) = (Arc::clone(&self.statements), shard.outbox.clone());
        Persister::new(statements, shard.pool.clone(), outbox, fence, &shard.claiming.ledger, settings)
    }
}

/// The running tasks of all shards.
pub(super) struct RunningShards {
    pub(super) maker: ShardMaker,
    shards: Arc<Shards>,
    publishing: Publishing,
    admin_scheduling: Scheduling,
    archive_figures: Arc<ArchiveFigures>,
    /// Cancelled when no more claims can reach the ledgers.
    intake_over: CancellationToken,
    /// Cancelled when all claims are stored.
    all_over: CancellationToken,
    pub(super) tasks: JoinSet<()>,
    pub(super) persisters: Vec<RunningPersister>,
}

pub(super) struct RunningPersister {
    pub(super) shard: Arc<Shard>,
    pub(super) task: JoinHandle<usize>,
    pub(super) abandon: CancellationToken,
}

impl RunningShards {
    /// No task runs yet. `intake_over` is cancelled when no more claims can reach the ledgers, and `all_over` when all
    /// claims are stored.
    pub(super) fn new(
        maker: ShardMaker,
        shared: &Shared,
        intake_over: CancellationToken,
        all_over: CancellationToken,
    ) -> Self {
        Self {
            maker,
            shards: Arc::clone(&shared.selling.shards),
            publishing: shared.offering.publishing.clone(),
            admin_scheduling: shared.offering.admin_scheduling.clone(),
            archive_figures: Arc::clone(&shared.operating.archive),
            intake_over,
            all_over,
            tasks: JoinSet::new(),
            persisters: Vec::new(),
        }
    }

    /// Starts the tasks of a shard.
    pub(super) fn start(&mut self, new: NewShard) {
        let NewShard { shard, recovery, persister, channel } = new;
        let (tasks, over) = (&mut self.tasks, &self.all_over);
        let (link, end) = (Arc::clone(&shard.link), over.clone());
        tasks.spawn(async move { link.keep(end).await });
        tasks.spawn(recovery.run(over.clone()));
        let statements = &self.maker.statements;
        tasks.spawn(self.publishing.clone().repair(Arc::clone(&shard), Arc::clone(statements), over.clone()));
        let (age, figures) = (self.maker.limits.archive_after, Arc::clone(&self.archive_figures));
        let (scheduling, statements) = (&self.admin_scheduling, Arc::clone(statements));
        let archiving = Archiving::new(scheduling, Arc::clone(&shard), statements, age, figures);
        tasks.spawn(archiving.run(over.clone()));
        tasks.spawn(Arc::clone(&shard.claiming.refusals).watch(shard.pool.clone(), over.clone()));
        let abandon = persister.abandon().clone();
        let task = tokio::spawn(persister.run(channel, self.intake_over.clone()));
        self.persisters.push(RunningPersister { shard, task, abandon });
    }

    /// Starts the shard `id`, if it follows the known ones.
    pub(super) fn start_added(&mut self, id: ShardId) {
        if id.number() == self.shards.count() {
            log::info!("shard {id} was added");
            let new = self.maker.make(id);
            self.shards.add(Arc::clone(new.shard()));
            self.start(new);
        }
    }

    /// Reads the shards of the database every second, until `all_over`, and sends those that are not known.
    pub(super) fn look_for_added(&mut self) -> mpsc::Receiver<ShardId> {
        let (sender, added) = mpsc::channel(1);
        let (db, known, over) = (self.maker.dbs.control.clone(), Arc::clone(&self.shards), self.all_over.clone());
        self.tasks.spawn(async move {
            every(READ_EVERY, &over, || async {
                // While MySQL is away, no shard can be added.
                for id in shards::all(&db).await.unwrap_or_default().into_iter().skip(known.count()) {
                    let _ = sender.send(id).await;
                }
            })
            .await;
        });
        added
    }

    /// Closes all gates, because the process stops.
    pub(super) fn close(&self) {
        for shard in self.shards.all().iter() {
            shard.claiming.gate.close(ClosedReason::Stopping);
        }
    }

    /// Deletes the beats in Redis. Another process would watch them for three seconds. Without them, a restart opens at
    /// once.
    pub(super) async fn forget_beats(&self) {
        for shard in self.shards.all().iter() {
            if let Ok(calls) = shard.pool.get().await {
                let keys = shard.claiming.stock.keys();
                let _ = beats::forget(&calls, keys, &self.maker.process.id, config::KV_WAIT).await;
            }
        }
    }

    /// Waits until a task ends that should not.
    pub(super) async fn ended(&mut self) -> Option<JoinError> {
        let persisters = self.persisters.iter_mut().map(|running| &mut running.task);
        tokio::select! {
            Some(ended) = self.tasks.join_next() => ended.err(),
            (ended, ..) = futures_util::future::select_all(persisters) => ended.err(),
        }
    }
}
