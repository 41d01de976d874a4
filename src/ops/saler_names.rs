//! Enters salers whose skeletons are missing: those of earlier releases, and imported ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::UserId;
use crate::mysql::{Db, DbError, saler_skeletons};

/// An older release may run beside this one and register salers.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// After an error the pass goes on from the last page.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Users before the last one of a pass that the next pass reads again. A user's transaction may commit after the pass, but
/// not after so many later users.
const READ_AGAIN: u64 = 100_000;

pub struct SalerNames {
    db: Db,
    /// The last user read.
    after: AtomicU64,
}

impl SalerNames {
    pub fn new(db: Db) -> Self {
        Self { db, after: AtomicU64::new(0) }
    }

    /// Reads all users at the start, and the later ones every hour, until `stop`. Every instance does this: a pass over
    /// entered salers only reads.
    pub async fn watch(self, stop: CancellationToken) {
        let outage = Outage::new("names: entering the skeletons of salers' names");
        every(LOOK_EVERY, &stop, || async {
            while outage.note(self.enter().await).is_none() {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        })
        .await;
    }

    /// Enters the salers that are missing, and goes on behind the last pass. An error leaves the pages before it.
    ///
    /// # Errors
    /// Returns a [`DbError`].
    pub async fn enter(&self) -> Result<(), DbError> {
        let (mut entered, mut alike) = (0, 0);
        while let Some(page) = saler_skeletons::enter_page(&self.db, UserId(self.after.load(Ordering::Relaxed))).await?
        {
            self.after.store(page.last.0, Ordering::Relaxed);
            entered += page.entered;
            alike += page.alike;
        }
        let end = self.after.load(Ordering::Relaxed);
        self.after.store(end.saturating_sub(READ_AGAIN), Ordering::Relaxed);
        if entered > 0 {
            log::info!(
                "names: entered {entered} salers; {alike} look like an earlier saler and go on without an entry"
            );
        }
        Ok(())
    }
}
