//! Looks for rows that need an operator: unreadable rows, before a rebuild needs them, and poisoned claims.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::CouponId;
use crate::mysql::{Db, DbError, coupons, poisoned, row_scan};

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Coupons per page, and pages in a round. A million coupons take 17 minutes.
const PAGE: i64 = 1_000;
const PAGES: usize = 5;

pub struct RowCheck {
    db: Db,
    /// The last coupon read, 0 before the first.
    after: AtomicU64,
    /// Poisoned claims that nobody has acknowledged, `None` before the first read.
    poisoned: Mutex<Option<u64>>,
}

impl RowCheck {
    pub fn new(db: Db) -> Self {
        Self { db, after: AtomicU64::new(0), poisoned: Mutex::default() }
    }

    /// Poisoned claims of all instances that nobody has acknowledged, or `None` before the first read.
    pub fn poisoned(&self) -> Option<u64> {
        *self.poisoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads some pages of coupons every 5 s until `stop`, and reads unreadable rows again. Activities are not read here,
    /// because the table of activities in memory reads all of them.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let outage = Outage::new("rows: looking for unreadable rows and poisoned claims");
        every(LOOK_EVERY, &stop, || async {
            outage.note(self.look().await);
        })
        .await;
    }

    async fn look(&self) -> Result<(), DbError> {
        let (_, open) = poisoned::counts(&self.db).await?;
        *self.poisoned.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        row_scan::recheck(&self.db).await?;
        for _ in 0..PAGES {
            let page = coupons::page(&self.db, None, CouponId(self.after.load(Ordering::Relaxed)), PAGE).await?;
            self.after.store(page.last.map_or(0, |last| last.0), Ordering::Relaxed);
            if page.last.is_none() {
                break;
            }
        }
        Ok(())
    }
}
