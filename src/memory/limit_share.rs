//! The part of every limit that this instance admits. Limits hold over all instances, because each counts only its own
//! requests and admits its part.
//!
//! The number of serving instances is read from MySQL twice a second. While MySQL is away, the last number stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::RateShare;
use crate::mysql::{Db, DbError, instances};

const READ_EVERY: Duration = Duration::from_millis(500);

pub struct LimitShare {
    db: Db,
    share: RateShare,
    serving: AtomicU32,
    outage: Outage,
}

impl LimitShare {
    /// This instance admits whole limits until [`LimitShare::watch`] has read the number of instances.
    pub fn new(db: Db, share: RateShare) -> Self {
        Self { db, share, serving: AtomicU32::new(1), outage: Outage::new("limits: counting instances") }
    }

    /// The part of `limit` of this instance. 0 means no limit.
    pub fn of(&self, limit: u32) -> u32 {
        self.share.of(limit, self.serving.load(Ordering::Relaxed))
    }

    /// The number of serving instances when they were last counted, at least 1.
    pub fn serving(&self) -> u32 {
        self.serving.load(Ordering::Relaxed)
    }

    /// Counts the instances.
    ///
    /// # Errors
    /// [`DbError`]. The last number stays.
    pub async fn load(&self) -> Result<(), DbError> {
        let serving = instances::serving(&self.db).await?;
        self.serving.store(serving.max(1), Ordering::Relaxed);
        Ok(())
    }

    /// Counts the instances twice a second until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every(READ_EVERY, &stop, || async {
            self.outage.note(self.load().await);
        })
        .await;
    }
}
