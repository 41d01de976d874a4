//! Statements for all shards of a process, once a second.
//!
//! MySQL needs about the same time for a statement about one shard or twenty, and a beat is a commit. The shards therefore
//! begin their rounds at the same moments, and send one statement together. A read may also be used again for a short time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::instances::{self, Instance, InstanceState, Process};
use super::shards::{self, ShardRow};
use super::{Db, DbError, archive, ledgers};
use crate::base::Joined;
use crate::domain::{Commits, ShardId};

/// Time that a statement waits for the other shards.
const GATHER: Duration = Duration::from_millis(10);
/// Ages up to which a reading is used again.
const INSTANCES_AGE: Duration = Duration::from_millis(900);
const LAGGING_AGE: Duration = Duration::from_millis(400);

/// The error of a statement, shared by the shards.
pub type SharedDbError = Arc<DbError>;

/// The statements of a process for all its shards.
pub struct ShardStatements {
    db: Db,
    process: Process,
    began: Instant,
    /// The number of shards that ask.
    shards: AtomicUsize,
    beats: Arc<Joined<(ShardId, InstanceState), ShardRow, DbError>>,
    ledgers: Arc<Joined<ShardId, Commits, DbError>>,
    others: Recent<[Instance]>,
    lagging: Recent<[String]>,
}

/// The last reading, and the time at which the reading began.
struct Recent<T: ?Sized> {
    last: Mutex<Option<(Instant, Arc<T>)>>,
}

impl ShardStatements {
    pub fn new(db: Db, process: Process) -> Self {
        let (began, shards) = (Instant::now(), AtomicUsize::new(0));
        let (beats, ledgers) = (Arc::default(), Arc::default());
        let (others, lagging) = (Recent { last: Mutex::default() }, Recent { last: Mutex::default() });
        Self { db, process, began, shards, beats, ledgers, others, lagging }
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Notes that one more shard asks.
    pub fn add_shard(&self) {
        self.shards.fetch_add(1, Ordering::Relaxed);
    }

    /// The next of the moments, `period` apart, at which all shards begin a round.
    pub fn next_round(&self, period: Duration) -> Instant {
        let passed = self.began.elapsed();
        let over = Duration::from_nanos((passed.as_nanos() % period.as_nanos()).try_into().unwrap_or(0));
        self.began + passed + (period - over)
    }

    /// Writes a beat for `shard`, and afterwards reads the shard's row.
    ///
    /// # Errors
    /// The error of the statements. The beat may have been written.
    pub async fn beat(&self, shard: ShardId, state: InstanceState) -> Result<ShardRow, SharedDbError> {
        let (db, process) = (self.db.clone(), self.process.clone());
        let send = move |states: Vec<(ShardId, InstanceState)>| async move {
            instances::beat(&db, &process, &states).await?;
            let names: Vec<&str> = states.iter().map(|(shard, _)| shard.name()).collect();
            let rows = shards::read_each(&db, &names).await?.into_iter().zip(names);
            let found = |(row, name): (Option<ShardRow>, &str)| row.ok_or_else(|| shards::missing(name));
            rows.map(found).collect()
        };
        self.beats.ask((shard, state), self.gather(), send).await.unwrap_or_else(ended)
    }

    /// Like [`ledgers::read`].
    ///
    /// # Errors
    /// The error of the statement. Reading changes nothing.
    pub async fn ledgers(&self, shard: ShardId) -> Result<Commits, SharedDbError> {
        let db = self.db.clone();
        let send = move |shards: Vec<ShardId>| async move {
            let names: Vec<&str> = shards.iter().map(|shard| shard.name()).collect();
            ledgers::read_each(&db, &names).await
        };
        self.ledgers.ask(shard, self.gather(), send).await.unwrap_or_else(ended)
    }

    /// All other instances of a shard, and the time of the reading, less than a second ago.
    ///
    /// # Errors
    /// Returns a [`DbError`].
    pub async fn others(&self, shard: ShardId) -> Result<(Vec<Instance>, Instant), DbError> {
        let read = async { Ok(instances::others(&self.db, &self.process.id).await?.into()) };
        let (at, all) = self.others.get(INSTANCES_AGE, read).await?;
        Ok((all.iter().filter(|instance| instance.shard == shard.name()).cloned().collect(), at))
    }

    /// Whether Redis may lack changes of coupons of a shard, by a reading of the last half second.
    ///
    /// # Errors
    /// Returns a [`DbError`].
    pub async fn has_lagging_coupons(&self, shard: ShardId) -> Result<bool, DbError> {
        let read = async { Ok(archive::lagging_shards(&self.db).await?.into()) };
        let (_, shards) = self.lagging.get(LAGGING_AGE, read).await?;
        Ok(shards.iter().any(|name| name == shard.name()))
    }

    fn gather(&self) -> Duration {
        if self.shards.load(Ordering::Relaxed) > 1 { GATHER } else { Duration::ZERO }
    }
}

impl<T: ?Sized> Recent<T> {
    /// The last reading, or a new reading if the last is older than `age`. Other callers wait meanwhile.
    async fn get(
        &self,
        age: Duration,
        read: impl Future<Output = Result<Arc<T>, DbError>>,
    ) -> Result<(Instant, Arc<T>), DbError> {
        let mut last = self.last.lock().await;
        if let Some((at, known)) = &*last
            && at.elapsed() < age
        {
            return Ok((*at, Arc::clone(known)));
        }
        let at = Instant::now();
        let read = read.await?;
        *last = Some((at, Arc::clone(&read)));
        Ok((at, read))
    }
}

/// The result where the runtime has ended before the statement was answered.
fn ended<T>() -> Result<T, SharedDbError> {
    Err(Arc::new(DbError::Unreachable("the process stops".into())))
}
