//! Open coupons of all merchants, and the units of these coupons.
//!
//! MySQL counts every five seconds, and each instance adds its own new coupons. No creation locks the rows of other merchants. The
//! price is that several instances may pass a total by the coupons of five seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every};
use crate::domain::OpenOffer;
use crate::mysql::{Db, archive};

const READ_EVERY: Duration = Duration::from_secs(5);

pub struct OpenOffers {
    db: Db,
    /// `None` before the first read.
    known: Mutex<Option<OpenOffer>>,
}

impl OpenOffers {
    pub fn new(db: Db) -> Self {
        Self { db, known: Mutex::default() }
    }

    /// The open coupons of all merchants and their units, or `None` before the first read.
    pub fn known(&self) -> Option<OpenOffer> {
        *self.lock()
    }

    /// Adds coupons and units that this instance has created.
    pub(super) fn add(&self, coupons: u64, units: u64) {
        if let Some(known) = &mut *self.lock() {
            known.coupons += coupons;
            known.units += units;
        }
    }

    /// Reads the totals until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let outage = Outage::new("open coupons: counting");
        every(READ_EVERY, &stop, || async {
            if let Some(known) = outage.note(archive::count_open(&self.db).await) {
                *self.lock() = Some(known);
            }
        })
        .await;
    }

    /// A poisoned lock is used anyway: the value is replaced as a whole.
    fn lock(&self) -> MutexGuard<'_, Option<OpenOffer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
