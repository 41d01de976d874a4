//! Withholds the sales of salers who may not sell, and releases them again.
//!
//! A change by an admin is brought about at once. The task finishes changes of an instance that died, and releases sales when a block
//! ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every, now_seconds};
use crate::domain::UserId;
use crate::mysql::{Db, DbError, standing};

const SETTLE_EVERY: Duration = Duration::from_secs(2);
/// Salers per round, of each kind.
const SALERS_MAX: u32 = 100;

#[derive(Clone)]
pub struct Withholding {
    db: Db,
}

impl Withholding {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Withholds or releases the sales of `user` as approval and blocks demand. The repair of lagging coupons, on every instance,
    /// publishes the coupons within about a second.
    ///
    /// # Errors
    /// [`DbError`]. The task repeats the change.
    pub async fn settle(&self, user: UserId) -> Result<(), DbError> {
        if let Some(withheld) = standing::settle(&self.db, user, now_seconds()).await? {
            log::info!("sales of user {user} are {}", if withheld { "withheld" } else { "released" });
        }
        Ok(())
    }

    /// Looks for unsettled salers every two seconds until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        let outage = Outage::new("sales of salers who may not sell: settling");
        every(SETTLE_EVERY, &stop, || async {
            outage.note(self.settle_all().await);
        })
        .await;
    }

    async fn settle_all(&self) -> Result<(), DbError> {
        for user in standing::unsettled(&self.db, now_seconds(), SALERS_MAX).await? {
            self.settle(user).await?;
        }
        Ok(())
    }
}
