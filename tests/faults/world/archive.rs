//! Archives coupons and brings them back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::World;
use crate::history::{Change, Coupon, Outcome};

/// How long a change of `archived` may be refused, and the pause before it is repeated.
const ARCHIVE_WAIT: Duration = Duration::from_secs(60);
const ARCHIVE_PAUSE: Duration = Duration::from_millis(200);

impl World {
    /// Archives a coupon or brings it back, through an instance, and records the outcome. Returns whether the change is in
    /// force.
    pub async fn archive(&mut self, instance: usize, coupon: Coupon, archived: bool) -> bool {
        self.archived.insert(coupon);
        let body = json!({"archived": archived});
        let is_done = self.change(instance, coupon, Change::Archived(archived), &body).await == Outcome::Done;
        if is_done && !archived {
            self.archived.remove(&coupon);
        }
        is_done
    }

    /// Archives coupons or brings them back, and repeats each change until it is in force, by turns through all instances.
    pub async fn archive_all(&mut self, coupons: &[Coupon], archived: bool) {
        for coupon in coupons {
            let deadline = Instant::now() + ARCHIVE_WAIT;
            for instance in (0..self.instances.len()).cycle() {
                if self.archive(instance, *coupon, archived).await {
                    break;
                }
                assert!(Instant::now() < deadline, "I10: coupon {coupon} does not become archived: {archived}");
                tokio::time::sleep(ARCHIVE_PAUSE).await;
            }
        }
    }
}
