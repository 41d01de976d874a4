//! What can be broken, and how each is broken and mended again.
//!
//! A fault is over when its `strike` returns: what it broke is mended, and the program has to find back by itself. What is
//! promised to nobody (docs/RELIABILITY.md) is not done: Redis loses its memory only once MySQL has what dead instances knew.
//! [`Fault::Unpromised`] alone does it, and the checker knows.

mod app;
mod change;
mod lasting;
mod mysql;
mod network;
mod rebuild;
mod redis;
mod unpromised;

use crate::random::Random;
use crate::world::World;

pub use app::App;
pub use change::Change;
pub use lasting::Lasting;
pub use mysql::Mysql;
pub use network::{Server, Trouble};
pub use rebuild::Trigger;
pub use redis::Redis;
pub use unpromised::Frozen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    App(App),
    Redis(Redis),
    Mysql(Mysql),
    /// Between one instance and a server.
    Network(Server, Trouble),
    Change(Change),
    /// Whoever rebuilds dies at the point.
    Rebuild(&'static str, Trigger),
    /// Whoever rebuilds is overtaken by another at the one point, and wakes up when that one has come to the other.
    Overtaken(&'static str, &'static str),
    /// An instance wakes up while another that took it for dead has come to the point of its rebuild.
    Woken(&'static str),
    /// Redis loses its memory while an instance is frozen that holds claims, and the others take it for dead: what only those
    /// two knew is promised to nobody. Everything else is.
    Unpromised(Frozen),
    /// One while another lasts.
    During(Lasting, &'static Fault),
}

impl Fault {
    /// Breaks it, and mends it again.
    pub async fn strike(self, world: &mut World, random: &mut Random) {
        self.prepare(world).await;
        let number = world.broken(format!("{self:?}"));
        self.break_and_mend(world, random).await;
        world.mended(number);
    }

    async fn prepare(self, world: &mut World) {
        let struck = if let Self::During(_, inner) = self { *inner } else { self };
        match struck {
            Self::Redis(fault) if fault.loses_memory() => world.ready_for_a_loss().await,
            Self::Rebuild(point, _) => rebuild::arm(world, point).await,
            Self::Unpromised(frozen) => frozen.prepare(world).await,
            _ => {}
        }
    }

    async fn break_and_mend(self, world: &mut World, random: &mut Random) {
        // Which instance it meets, where it meets one.
        let one = random.index(world.instances.len());
        match self {
            Self::App(fault) => fault.strike(world, random, one).await,
            Self::Redis(fault) => fault.strike(world, random, one).await,
            Self::Mysql(fault) => fault.strike(world, random).await,
            Self::Network(server, trouble) => trouble.strike(world, random, (one, server)).await,
            Self::Change(change) => change.strike(world, random, one).await,
            Self::Rebuild(point, trigger) => trigger.strike(world, point).await,
            Self::Overtaken(first, second) => rebuild::overtake(world, first, second).await,
            Self::Woken(point) => rebuild::wake_into(world, point).await,
            Self::Unpromised(frozen) => frozen.strike(world, random).await,
            Self::During(lasting, fault) => {
                let held = lasting.begin(world, random, one).await;
                Box::pin(fault.break_and_mend(world, random)).await;
                lasting.end(world, one, held).await;
            }
        }
    }
}
