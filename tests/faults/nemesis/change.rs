//! Changes by salers, also changes cut short by a crash.

use couponrush::base::now_seconds;

use super::app::CRASH_WAIT;
use crate::history::{Coupon, Sale};
use crate::random::Random;
use crate::world::{PLAIN, QUOTA, SEVERAL, World};

const ARCHIVED: [Coupon; 2] = [PLAIN, SEVERAL];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SalerChange {
    Raise,
    Lower,
    /// Lowers the amount below the claimed units. The program must refuse.
    LowerTooFar,
    /// Closes a sale and opens it again.
    Window,
    /// The instance handling the change dies at the crash point.
    RaiseAndCrashAt(&'static str),
    LowerAndCrashAt(&'static str),
    /// Archives two coupons during the sale. They stay archived while further faults strike.
    Archive,
    BringBack,
    /// The instance that archives a coupon dies at the crash point, and so do the others.
    ArchiveAndCrashAt(&'static str),
}

impl SalerChange {
    pub async fn strike(self, world: &mut World, random: &mut Random, target: usize) {
        let by = 1 + u32::try_from(random.below(60)).expect("the number is small");
        let (raised, lowered) = (world.amount + by, world.amount.saturating_sub(by).max(1));
        match self {
            Self::Raise => world.change_amount(target, raised).await,
            Self::Lower => world.change_amount(target, lowered).await,
            Self::LowerTooFar => world.change_amount(target, 1).await,
            Self::RaiseAndCrashAt(point) => cut_short(world, target, (point, raised)).await,
            Self::LowerAndCrashAt(point) => cut_short(world, target, (point, lowered)).await,
            Self::Archive => world.archive_all(&ARCHIVED, true).await,
            Self::BringBack => world.archive_all(&ARCHIVED, false).await,
            Self::ArchiveAndCrashAt(point) => {
                restart_all(world, Some(&format!("{point}:1")));
                world.wait_until_ready().await;
                world.archive(target, SEVERAL, true).await;
                assert!(world.any_ends_within(CRASH_WAIT).await, "no instance passes {point}");
                restart_all(world, None);
            }
            Self::Window => {
                let (open, now) = (world.sale, now_seconds());
                for closed in
                    [Sale { end: now - 1, ..open }, Sale { start: now + 6, ..open }, Sale { end: now + 9, ..open }]
                {
                    world.change_sale(QUOTA, closed).await;
                    tokio::time::sleep(random.millis(500, 1_500)).await;
                }
                world.change_sale(QUOTA, open).await;
            }
        }
    }
}

fn restart_all(world: &mut World, crash_at: Option<&str>) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, crash_at);
    }
}

async fn cut_short(world: &mut World, target: usize, (point, amount): (&str, u32)) {
    world.kill(target);
    world.revive(target, Some(&format!("{point}:1")));
    world.wait_until_ready().await;
    world.change_amount(target, amount).await;
    assert!(world.ends_within(target, CRASH_WAIT).await, "instance {target} does not pass {point}");
    world.revive(target, None);
}
