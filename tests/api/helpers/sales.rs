//! Creates and changes activities through the service's scheduling, without HTTP.

use std::sync::Arc;
use std::time::Duration;

use couponrush::domain::{
    ActivityId, ActivityName, CouponId, Kind, Rate, Status, Terms, User, UserId, UserName, Window,
};
use couponrush::kv::{Link, LinkConfig};
use couponrush::scheduling::ScheduleError;
use tokio_util::sync::CancellationToken;

use super::{Instance, Stores, now_seconds};

/// Terms of an activity from `from` to `to`, in seconds from now, without any other limits.
pub fn terms(from: i64, to: i64) -> Terms {
    let at = |offset: i64| now_seconds().checked_add_signed(offset).expect("a moment after 1970");
    Terms {
        name: ActivityName::parse("a sale of a test".to_owned()).expect("a name"),
        window: Window::new(at(from), at(to)).expect("a window"),
        total: 0,
        status: Status::Normal,
        speed: 0,
        buy_limit: 1,
        buy_rate: Rate::ALL,
    }
}

impl Instance {
    /// Creates an activity of a coupon.
    pub async fn schedule(
        &self,
        stores: &Stores,
        coupon: CouponId,
        terms: &Terms,
    ) -> Result<ActivityId, ScheduleError> {
        let (link, stop) = link(stores).await;
        let made = self.shared.scheduling.create(&link, &admin(), coupon, terms).await;
        stop.cancel();
        made
    }

    /// Changes an activity.
    pub async fn reschedule(
        &self,
        stores: &Stores,
        id: ActivityId,
        change: impl FnOnce(&mut Terms),
    ) -> Result<(), ScheduleError> {
        let (link, stop) = link(stores).await;
        let changed = |terms: &Terms| {
            let mut terms = terms.clone();
            change(&mut terms);
            Ok::<_, ScheduleError>(terms)
        };
        let result = self.shared.scheduling.update(&link, &admin(), id, changed).await;
        stop.cancel();
        result
    }
}

fn admin() -> User {
    let name = UserName::parse("root".to_owned()).expect("a name");
    User { id: UserId(u64::MAX), name, kind: Kind::Admin }
}

/// A separate link to Redis. Cancelling the token ends it.
pub async fn link(stores: &Stores) -> (Arc<Link>, CancellationToken) {
    let config = LinkConfig::new(&stores.redis_url).expect("the URL is valid");
    let (link, stop) = (Arc::new(Link::new(config)), CancellationToken::new());
    let (kept, stopped) = (Arc::clone(&link), stop.clone());
    tokio::spawn(async move { kept.keep(stopped).await });
    link.connected(Duration::from_secs(5)).await;
    (link, stop)
}
