//! The activities of every coupon, in this instance's memory.
//!
//! Always what MySQL has, or had: [`Activities::watch`] asks it every second for what has changed, and
//! [`Activities::refresh`] at once, when Redis says that a coupon's activities are not the ones we know. MySQL away, the last
//! table stays in force. A coupon's revision only ever goes up here, whatever order the answers come in.
//!
//! Readers never wait: the table is replaced as a whole, and changes are rare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::db::{Db, DbError, activities};
use crate::domain::{Activity, CouponId, Schedule};

/// How often MySQL is asked what has changed.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Transactions that began this long before a poll are committed by it, or never.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
/// Coupons whose activities are read at once.
const PAGE: i64 = 1_000;
/// How long nobody asks again after MySQL has failed to answer.
const FAILED_PAUSE: Duration = Duration::from_millis(200);

type Table = HashMap<CouponId, Arc<Schedule>>;

/// The table of activities.
pub struct Activities {
    db: Db,
    table: ArcSwap<Table>,
    /// Whoever reads from MySQL holds it, so that of many who miss a change one asks; when that failed last.
    reading: Mutex<Option<Instant>>,
    /// When MySQL was last asked for all that has changed, and answered.
    complete_at: ArcSwap<Option<Instant>>,
}

impl Activities {
    /// An empty table.
    pub fn new(db: Db) -> Self {
        Self { db, table: ArcSwap::default(), reading: Mutex::default(), complete_at: ArcSwap::default() }
    }

    /// What is known of a coupon's activities; `None` where it has none.
    pub fn of(&self, coupon: CouponId) -> Option<Arc<Schedule>> {
        self.table.load().get(&coupon).cloned()
    }

    /// All that is known, in no order.
    pub fn all(&self) -> Vec<Arc<Schedule>> {
        self.table.load().values().cloned().collect()
    }

    /// Coupons that have activities.
    pub fn count(&self) -> usize {
        self.table.load().len()
    }

    /// The highest revision of any coupon's activities; 0: there are none.
    pub fn revision(&self) -> u64 {
        self.table.load().values().map(|schedule| schedule.revision).max().unwrap_or(0)
    }

    /// How long ago the table was complete; `None`: never.
    pub fn age(&self) -> Option<Duration> {
        self.complete_at.load().map(|at| at.elapsed())
    }

    /// Reads every activity.
    ///
    /// # Errors
    /// [`DbError`]; what is known stays.
    pub async fn load(&self) -> Result<(), DbError> {
        let mut failed_at = self.reading.lock().await;
        let began = Instant::now();
        let mut after = CouponId(0);
        loop {
            let page = activities::schedules(&self.db, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.coupon;
            self.learn(page);
        }
        *failed_at = None;
        self.complete_at.store(Arc::new(Some(began)));
        Ok(())
    }

    /// Reads a coupon's activities, unless somebody has read later ones than `known` meanwhile.
    ///
    /// # Errors
    /// [`DbError`], or `None` where MySQL failed to answer a moment ago; what is known stays.
    pub async fn refresh(&self, coupon: CouponId, known: u64) -> Result<(), Option<DbError>> {
        let mut failed_at = self.reading.lock().await;
        if self.of(coupon).is_some_and(|schedule| schedule.revision > known) {
            return Ok(());
        }
        if failed_at.is_some_and(|at| at.elapsed() < FAILED_PAUSE) {
            return Err(None);
        }
        match activities::schedule(&self.db, coupon).await {
            Ok(schedule) => {
                *failed_at = None;
                self.learn(schedule);
                Ok(())
            }
            Err(error) => {
                *failed_at = Some(Instant::now());
                Err(Some(error))
            }
        }
    }

    /// Reads a coupon's activities and replaces by them what is known of the same revision, also what [`Activities::hold`] has put there.
    ///
    /// # Errors
    /// [`DbError`]; what is known stays.
    pub async fn reload(&self, coupon: CouponId) -> Result<(), DbError> {
        let _reading = self.reading.lock().await;
        self.replace(activities::schedule(&self.db, coupon).await?, |known, read| known <= read);
        Ok(())
    }

    /// Puts an activity in force that MySQL does not have yet, because it is away; gives whether its coupon is known and has
    /// room for it. It holds until later activities of the coupon are read.
    pub fn hold(&self, activity: &Activity) -> bool {
        let held = |table: &Table| table.get(&activity.coupon)?.with(activity).map(Arc::new);
        let mut done = false;
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            if let Some(schedule) = held(&table) {
                table.insert(activity.coupon, schedule);
                done = true;
            }
            table
        });
        done
    }

    /// Keeps the table current until `stop`. While MySQL is away, the last activities that are known stay in force.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let outage = Outage::new("activities: reading");
        every(POLL_EVERY, &stop, || async {
            outage.note(self.poll().await);
        })
        .await;
    }

    /// Reads what has changed since the table was last complete.
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

    /// Puts schedules in the place of those whose revision they outdo.
    fn replace(&self, schedules: impl IntoIterator<Item = Schedule>, outdone: impl Fn(u64, u64) -> bool) {
        let read: Vec<Arc<Schedule>> = schedules.into_iter().map(Arc::new).collect();
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
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
