//! The activities of all coupons, in this instance's memory.
//!
//! The table holds a current or earlier state of MySQL. [`Activities::watch`] polls MySQL for changes every second.
//! [`Activities::refresh`] reads at once when Redis reports another revision of a coupon's activities. The revision of
//! a coupon never goes down, whatever the order of replies. Readers never wait. A rare change replaces the whole table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::{Activity, CouponId, Schedule};
use crate::mysql::{Db, DbError, activities};

const POLL_EVERY: Duration = Duration::from_secs(1);
/// Maximum age of an open transaction. The poll reads changes this far back, since one may commit late.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
/// Coupons per page.
const PAGE: i64 = 1_000;
/// Pause after a failed read, in which `refresh` does not ask MySQL.
const FAILED_PAUSE: Duration = Duration::from_millis(200);

type ActivityTable = HashMap<CouponId, Arc<Schedule>>;

pub struct Activities {
    db: Db,
    table: ArcSwap<ActivityTable>,
    /// Held during reads from MySQL, so many stale claims cause a single query. The value is the last failure's time.
    reading: Mutex<Option<Instant>>,
    /// Start of the last complete read.
    complete_at: ArcSwap<Option<Instant>>,
}

impl Activities {
    /// An empty table.
    pub fn new(db: Db) -> Self {
        Self { db, table: ArcSwap::default(), reading: Mutex::default(), complete_at: ArcSwap::default() }
    }

    /// The activities of a coupon, or `None` if it has none.
    pub fn of(&self, coupon: CouponId) -> Option<Arc<Schedule>> {
        self.table.load().get(&coupon).cloned()
    }

    /// All schedules, in no order.
    pub fn all(&self) -> Vec<Arc<Schedule>> {
        self.table.load().values().cloned().collect()
    }

    /// Number of coupons with activities.
    pub fn count(&self) -> usize {
        self.table.load().len()
    }

    /// The highest revision of any coupon's activities, or 0 for an empty table.
    pub fn revision(&self) -> u64 {
        self.table.load().values().map(|schedule| schedule.revision).max().unwrap_or(0)
    }

    /// Time since the table was last complete, or `None` before the first read.
    pub fn age(&self) -> Option<Duration> {
        self.complete_at.load().map(|at| at.elapsed())
    }

    /// Reads all activities.
    ///
    /// # Errors
    /// [`DbError`]. The table stays.
    pub async fn load(&self) -> Result<(), DbError> {
        let mut failed_at = self.reading.lock().await;
        let began = Instant::now();
        let mut after = CouponId(0);
        loop {
            let page = activities::schedules(&self.db, after, PAGE).await?;
            let Some(last) = page.last else { break };
            after = last;
            self.learn(page.schedules);
        }
        *failed_at = None;
        self.complete_at.store(Arc::new(Some(began)));
        Ok(())
    }

    /// Reads a coupon's activities, unless a revision above `known` was read meanwhile.
    ///
    /// # Errors
    /// [`DbError`], or `None` if MySQL failed within the last 200 ms. The table stays.
    pub async fn refresh(&self, coupon: CouponId, known: u64) -> Result<(), Option<DbError>> {
        let mut failed_at = self.reading.lock().await;
        if self.of(coupon).is_some_and(|schedule| schedule.revision > known) {
            return Ok(());
        }
        if failed_at.is_some_and(|at| at.elapsed() < FAILED_PAUSE) {
            return Err(None);
        }
        let read = activities::schedule(&self.db, coupon).await;
        *failed_at = read.is_err().then(Instant::now);
        self.learn(read.map_err(Some)?);
        Ok(())
    }

    /// Reads a coupon's activities. Replaces an entry of the same or an earlier revision, also of [`Activities::hold`].
    ///
    /// # Errors
    /// [`DbError`]. The table stays.
    pub async fn reload(&self, coupon: CouponId) -> Result<(), DbError> {
        let _reading = self.reading.lock().await;
        self.replace(activities::schedule(&self.db, coupon).await?, |known, read| known <= read);
        Ok(())
    }

    /// Puts an activity in force that MySQL cannot store yet. Returns whether its coupon is known and has room for the
    /// activity. The entry stays until a later revision of the coupon is read.
    pub fn hold(&self, activity: &Activity) -> bool {
        let held = |table: &ActivityTable| table.get(&activity.coupon)?.with(activity).map(Arc::new);
        let mut done = false;
        self.table.rcu(|table| {
            let mut table = ActivityTable::clone(table);
            if let Some(schedule) = held(&table) {
                table.insert(activity.coupon, schedule);
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

    /// Reads all changes since the table was last complete.
    async fn poll(&self) -> Result<(), DbError> {
        let Some(complete_at) = **self.complete_at.load() else { return self.load().await };
        let began = Instant::now();
        for (coupon, revision) in activities::changed(&self.db, complete_at.elapsed() + COMMIT_WITHIN).await? {
            if self.of(coupon).is_none_or(|known| known.revision < revision) {
                self.learn(activities::schedule(&self.db, coupon).await?);
            }
        }
        self.complete_at.store(Arc::new(Some(began)));
        Ok(())
    }

    fn learn(&self, schedules: impl IntoIterator<Item = Schedule>) {
        self.replace(schedules, |known, read| known < read);
    }

    /// Inserts schedules. An existing entry is replaced if `outdone(known, read)` holds for the revisions.
    fn replace(&self, schedules: impl IntoIterator<Item = Schedule>, outdone: impl Fn(u64, u64) -> bool) {
        let read: Vec<Arc<Schedule>> = schedules.into_iter().map(Arc::new).collect();
        self.table.rcu(|table| {
            let mut table = ActivityTable::clone(table);
            for schedule in &read {
                let known = table.entry(schedule.coupon).or_insert_with(|| Arc::clone(schedule));
                if outdone(known.revision, schedule.revision) {
                    *known = Arc::clone(schedule);
                }
            }
            table
        });
    }
}
