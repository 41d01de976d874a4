//! What salers change meanwhile, and changes that are cut short.

use couponrush::now_seconds;

use super::app::CRASH_WAIT;
use crate::history::Sale;
use crate::random::Random;
use crate::world::{QUOTA, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Raise,
    Lower,
    /// Below what is claimed, which is refused.
    LowerTooFar,
    /// A sale is closed and opened again.
    Window,
    /// The instance that is told dies at the point.
    RaiseAndCrashAt(&'static str),
    LowerAndCrashAt(&'static str),
}

impl Change {
    pub async fn strike(self, world: &mut World, random: &mut Random, one: usize) {
        let by = 1 + u32::try_from(random.below(60)).expect("it is small");
        let (raised, lowered) = (world.amount + by, world.amount.saturating_sub(by).max(1));
        match self {
            Self::Raise => world.change_amount(one, raised).await,
            Self::Lower => world.change_amount(one, lowered).await,
            Self::LowerTooFar => world.change_amount(one, 1).await,
            Self::RaiseAndCrashAt(point) => cut_short(world, one, (point, raised)).await,
            Self::LowerAndCrashAt(point) => cut_short(world, one, (point, lowered)).await,
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

async fn cut_short(world: &mut World, one: usize, (point, amount): (&str, u32)) {
    world.kill(one);
    world.revive(one, Some(&format!("{point}:1")));
    world.ready().await;
    world.change_amount(one, amount).await;
    assert!(world.dies(one, CRASH_WAIT).await, "instance {one} does not pass {point}");
    world.revive(one, None);
}
