//! The activities of all coupons, in this instance's memory.
//!
//! The table holds a current or earlier state of MySQL. [`Activities::watch`] polls MySQL for changes every second, and
//! reads all rows every 30 s, because a row may be edited by hand without a new revision. [`Activities::refresh`] reads
//! at once when Redis reports another revision of a coupon's activities. The revision of a coupon never goes down,
//! whatever the order of replies. Readers never wait. A rare change replaces the whole table.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::{Activity, CouponId, Schedule};
use crate::mysql::{Db, DbError, DbPools, activities, archive};

const POLL_EVERY: Duration = Duration::from_secs(1);
/// Maximum age of a read of all rows. An edit by hand takes effect within this time and the duration of a read.
const READ_ALL_EVERY: Duration = Duration::from_secs(30);
/// Maximum age of an open transaction. The poll reads changes this far back, since one may commit late.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
/// Coupons per page.
const PAGE: i64 = 1_000;
/// Pause after the start of a failed read of a coupon, in which `refresh` does not ask MySQL for this coupon.
const FAILED_PAUSE: Duration = Duration::from_millis(200);
/// Coupons that attempts read from MySQL at the same time. Attempts at further changed coupons wait for their turn.
const READS_MAX: usize = 4;
/// Coupons that attempts wait for, or failed to read a moment ago.
const READ_COUPONS_MAX: usize = 1_000;

type ActivityTable = HashMap<CouponId, Known>;

/// The start of the last read if it failed. Locked during a read, so many attempts at a coupon cause a single query.
type CouponRead = tokio::sync::Mutex<Option<Instant>>;

#[derive(Debug, Clone)]
struct Known {
    schedule: Arc<Schedule>,
    /// Put in force before MySQL could store it.
    is_held: bool,
}

pub struct Activities {
    /// Attempts read with users' connections. The single task of [`Activities::watch`] reads with the control plane's.
    dbs: DbPools,
    table: ArcSwap<ActivityTable>,
    reads: Mutex<HashMap<CouponId, Arc<CouponRead>>>,
    reading: Semaphore,
    /// Start of the last read of all changes.
    complete_at: ArcSwap<Option<Instant>>,
    /// Start of the last read of all rows.
    all_read_at: ArcSwap<Option<Instant>>,
}

impl Activities {
    /// An empty table.
    pub fn new(dbs: DbPools) -> Self {
        Self {
            dbs,
            table: ArcSwap::default(),
            reads: Mutex::default(),
            reading: Semaphore::new(READS_MAX),
            complete_at: ArcSwap::default(),
            all_read_at: ArcSwap::default(),
        }
    }

    /// The activities of a coupon, or `None` if it never had one. A coupon without rows has an empty schedule.
    pub fn of(&self, coupon: CouponId) -> Option<Arc<Schedule>> {
        self.table.load().get(&coupon).map(|known| Arc::clone(&known.schedule))
    }

    /// All schedules, in no order.
    pub fn all(&self) -> Vec<Arc<Schedule>> {
        self.table.load().values().map(|known| Arc::clone(&known.schedule)).collect()
    }

    /// Number of coupons with activities.
    pub fn count(&self) -> usize {
        self.table.load().len()
    }

    /// The highest revision of any coupon's activities, or 0 for an empty table.
    pub fn revision(&self) -> u64 {
        self.table.load().values().map(|known| known.schedule.revision).max().unwrap_or(0)
    }

    /// Time since the table was last complete, or `None` before the first read.
    pub fn age(&self) -> Option<Duration> {
        self.complete_at.load().map(|at| at.elapsed())
    }

    /// Reads all activities, also those edited without a new revision.
    ///
    /// # Errors
    /// [`DbError`]. The pages read before are in force.
    pub async fn load(&self) -> Result<(), DbError> {
        let (began, before) = (Instant::now(), self.table.load_full());
        let (mut after, mut found) = (CouponId(0), HashSet::new());
        loop {
            let page = activities::schedules(&self.dbs.control, after, PAGE).await?;
            let Some(last) = page.last else { break };
            after = last;
            found.extend(page.schedules.iter().map(|schedule| schedule.coupon));
            let is_outdone = |known: &Known, read: &Schedule| match known.is_held {
                true => known.schedule.revision < read.revision,
                false => known.schedule.revision <= read.revision,
            };
            self.replace(page.schedules, is_outdone);
        }
        self.remove_missing(&before, &found).await?;
        self.complete_at.store(Arc::new(Some(began)));
        self.all_read_at.store(Arc::new(Some(began)));
        Ok(())
    }

    /// Reads a coupon's activities for an attempt, unless a revision above `known` was read meanwhile. A call that is
    /// dropped before its end counts as a failed read.
    ///
    /// # Errors
    /// [`DbError`], or `None` if MySQL failed within the last 200 ms or if attempts wait for too many other coupons.
    /// The table stays.
    pub async fn refresh(&self, coupon: CouponId, known: u64) -> Result<(), Option<DbError>> {
        let is_read = || self.of(coupon).is_some_and(|schedule| schedule.revision > known);
        if is_read() {
            return Ok(());
        }
        let read = self.read_of(coupon).ok_or(None)?;
        let mut failed_at = read.lock().await;
        if is_read() {
            return Ok(());
        }
        if failed_at.is_some_and(|at| at.elapsed() < FAILED_PAUSE) {
            return Err(None);
        }
        *failed_at = Some(Instant::now());
        let _turn = self.reading.acquire().await.expect("this semaphore is never closed");
        let result = activities::schedule(&self.dbs.users, coupon).await;
        *failed_at = result.is_err().then(Instant::now);
        self.learn(result.map_err(Some)?);
        self.reads().remove(&coupon);
        Ok(())
    }

    /// Reads a coupon's activities with a connection of `db`. Replaces an entry of the same or an earlier revision, also
    /// of [`Activities::hold`].
    ///
    /// # Errors
    /// [`DbError`]. The table stays.
    pub async fn reload(&self, db: &Db, coupon: CouponId) -> Result<(), DbError> {
        self.replace(activities::schedule(db, coupon).await?, |known, read| known.schedule.revision <= read.revision);
        Ok(())
    }

    /// Puts an activity in force that MySQL cannot store yet. Returns whether its coupon is known and has room for the
    /// activity. The entry stays until a later revision of the coupon is read.
    pub fn hold(&self, activity: &Activity) -> bool {
        let held = |table: &ActivityTable| table.get(&activity.coupon)?.schedule.with(activity).map(Arc::new);
        let mut done = false;
        self.table.rcu(|table| {
            let mut table = ActivityTable::clone(table);
            if let Some(schedule) = held(&table) {
                table.insert(activity.coupon, Known { schedule, is_held: true });
                done = true;
            }
            table
        });
        done
    }

    /// Polls until `stop`. While MySQL is away, the last table stays in force.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let outage = Outage::new("activities: reading");
        every(POLL_EVERY, &stop, || async {
            outage.note(self.poll().await);
        })
        .await;
    }

    /// Reads all changes since the table was last complete, or all rows.
    async fn poll(&self) -> Result<(), DbError> {
        if self.all_read_at.load().is_none_or(|at| at.elapsed() >= READ_ALL_EVERY) {
            return self.load().await;
        }
        let (began, age) = (Instant::now(), self.age().unwrap_or_default());
        for (coupon, revision) in activities::changed(&self.dbs.control, age + COMMIT_WITHIN).await? {
            if self.of(coupon).is_none_or(|known| known.revision < revision) {
                self.learn(activities::schedule(&self.dbs.control, coupon).await?);
            }
        }
        self.complete_at.store(Arc::new(Some(began)));
        Ok(())
    }

    /// The read of a coupon, or `None` if attempts wait for too many other coupons.
    fn read_of(&self, coupon: CouponId) -> Option<Arc<CouponRead>> {
        let mut reads = self.reads();
        if reads.len() >= READ_COUPONS_MAX && !reads.contains_key(&coupon) {
            reads.retain(|_, read| Arc::strong_count(read) > 1);
            if reads.len() >= READ_COUPONS_MAX {
                return None;
            }
        }
        Some(Arc::clone(reads.entry(coupon).or_default()))
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<CouponId, Arc<CouponRead>>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, schedules: impl IntoIterator<Item = Schedule>) {
        self.replace(schedules, |known, read| known.schedule.revision < read.revision);
    }

    /// Inserts schedules. A different entry is replaced if `is_outdone(known, read)` holds. An unchanged table is kept,
    /// because replacing it costs time for every coupon.
    fn replace(&self, schedules: impl IntoIterator<Item = Schedule>, is_outdone: impl Fn(&Known, &Schedule) -> bool) {
        let is_news = |table: &ActivityTable, read: &Schedule| match table.get(&read.coupon) {
            Some(known) => is_outdone(known, read) && (known.is_held || *known.schedule != *read),
            None => true,
        };
        let table = self.table.load();
        let read: Vec<Arc<Schedule>> =
            schedules.into_iter().filter(|read| is_news(&table, read)).map(Arc::new).collect();
        if read.is_empty() {
            return;
        }
        self.table.rcu(|table| {
            let mut table = ActivityTable::clone(table);
            for schedule in &read {
                if is_news(&table, schedule) {
                    table.insert(schedule.coupon, Known { schedule: Arc::clone(schedule), is_held: false });
                }
            }
            table
        });
    }

    /// Removes the schedules of archived coupons that were in the table `before` a read of all rows and were not `found`.
    /// Empties those of other coupons: their rows were deleted by hand, and attempts at a scheduled coupon without an entry
    /// would ask MySQL. An entry that has changed since is kept.
    async fn remove_missing(&self, before: &ActivityTable, found: &HashSet<CouponId>) -> Result<(), DbError> {
        let gone = before.iter().filter(|(coupon, known)| !found.contains(*coupon) && !known.is_held);
        let mut gone: Vec<&Arc<Schedule>> = gone.map(|(_, known)| &known.schedule).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let ids: Vec<CouponId> = gone.iter().map(|schedule| schedule.coupon).collect();
        let archived = archive::archived_of(&self.dbs.control, &ids).await?;
        let archived: HashSet<CouponId> = archived.into_iter().collect();
        gone.retain(|was| archived.contains(&was.coupon) || !was.activities().is_empty());
        if gone.is_empty() {
            return Ok(());
        }
        self.table.rcu(|table| {
            let mut table = ActivityTable::clone(table);
            for was in &gone {
                let emptied = || was.emptied();
                let known = table.get_mut(&was.coupon).filter(|known| Arc::ptr_eq(&known.schedule, was));
                if archived.contains(&was.coupon) && known.is_some() {
                    table.remove(&was.coupon);
                } else if let Some(known) = known {
                    *known = Known { schedule: Arc::new(emptied()), is_held: false };
                }
            }
            table
        });
        Ok(())
    }
}
