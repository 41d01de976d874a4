//! Creates and changes activities through the service's scheduling, without HTTP.

use couponrush::domain::{
    Activity, ActivityId, ActivityName, Author, Conditions, CouponId, Kind, Rate, Status, Terms, User, UserId,
    UserName, Window,
};
use couponrush::sales::ScheduleError;

use super::{Instance, now_seconds};

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
    pub async fn schedule(&self, coupon: CouponId, terms: &Terms) -> Result<ActivityId, ScheduleError> {
        self.shared
            .offering
            .scheduling
            .create(&admin(), Author::Named("root"), coupon, terms, &Conditions::default())
            .await
    }

    /// Changes an activity.
    pub async fn reschedule(&self, id: ActivityId, change: impl FnOnce(&mut Terms)) -> Result<(), ScheduleError> {
        let changed = |activity: &Activity| {
            let mut terms = activity.terms.clone();
            change(&mut terms);
            Ok::<_, ScheduleError>((terms, activity.conditions))
        };
        self.shared.offering.scheduling.update(&admin(), Author::Named("root"), id, changed).await
    }
}

fn admin() -> User {
    let name = UserName::parse("root".to_owned()).expect("a name");
    User { id: UserId(u64::MAX), name, kind: Kind::Admin }
}
