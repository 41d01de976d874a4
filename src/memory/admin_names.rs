//! Names of admins, so that the first login of an admin at an instance does not wait for users' connections to MySQL.
//!
//! The names are read at the start and every second. While MySQL is away, the last names stay.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::mysql::{Db, DbError, users};

const READ_EVERY: Duration = Duration::from_secs(1);
/// Names in memory. Admins beyond this number use the connections of users for their logins.
const ADMINS_MAX: u32 = 1_000;

pub struct AdminNames {
    db: Db,
    names: ArcSwap<HashSet<String>>,
    outage: Outage,
}

impl AdminNames {
    /// Empty until [`AdminNames::load`].
    pub fn new(db: Db) -> Self {
        Self { db, names: ArcSwap::default(), outage: Outage::new("admins: reading") }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.load().contains(name)
    }

    /// Reads the names.
    ///
    /// # Errors
    /// [`DbError`]. The last names stay.
    pub async fn load(&self) -> Result<(), DbError> {
        let names = users::names_of_admins(&self.db, ADMINS_MAX).await?;
        self.names.store(Arc::new(names.into_iter().collect()));
        Ok(())
    }

    /// Reads the names every second until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every(READ_EVERY, &stop, || async {
            self.outage.note(self.load().await);
        })
        .await;
    }
}
