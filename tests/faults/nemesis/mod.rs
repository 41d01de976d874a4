//! The faults. A fault breaks a part of the system and mends it again.
//!
//! When `strike` returns, the fault is over and all parts are mended. From then on the program must recover without
//! help. Only wrong clocks, edited rows and archived coupons stay, and sales must go on with them. Faults stay within the promises of
//! docs/RELIABILITY.md: Redis loses its memory only after MySQL has stored the claims of dead instances.
//! [`Fault::Unpromised`] and [`Fault::EverythingLost`] are the only exceptions. The checker excuses the claims lost by them.

mod app;
mod change;
mod clock;
mod cluster;
mod lasting;
mod mysql;
mod network;
mod owner;
mod rebuild;
mod redis;
mod release;
mod rows;
mod twins;
mod unpromised;
mod went_back;

use crate::random::Random;
use crate::world::World;

pub use app::AppFault;
pub use change::SalerChange;
pub use clock::ClockFault;
pub use cluster::ClusterFault;
pub use lasting::Lasting;
pub use mysql::MysqlFault;
pub use network::{NetworkFault, Server};
pub use owner::OwnerFault;
pub use rebuild::Trigger;
pub use redis::RedisFault;
pub use release::ReleaseFault;
pub use rows::RowFault;
pub use unpromised::Frozen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    App(AppFault),
    Redis(RedisFault),
    Mysql(MysqlFault),
    /// Breaks the network between an instance and a server.
    Network(Server, NetworkFault),
    Change(SalerChange),
    Clock(ClockFault),
    Rows(RowFault),
    /// The rebuilding instance dies at the crash point.
    Rebuild(&'static str, Trigger),
    /// The rebuilding instance stops at the first crash point and is overtaken. It goes on when the overtaking instance
    /// has reached the second crash point.
    Overtaken(&'static str, &'static str),
    /// An instance was taken for dead. It wakes up when the rebuilding instance has reached the crash point.
    Woken(&'static str),
    /// Redis loses its memory while an instance with unstored claims is frozen and taken for dead. Claims known only to
    /// Redis and to the frozen instance may be lost. All other promises hold.
    Unpromised(Frozen),
    /// All instances die and Redis loses its memory while MySQL stores nothing. Claims that MySQL lacks may be lost,
    /// except those that were answered as stored.
    EverythingLost,
    /// An instance that must not use this Redis starts.
    Owner(OwnerFault),
    /// MySQL goes back to an earlier state, and an operator repairs it from Redis.
    WentBack,
    /// An upgrade, a roll-back, or raising the format.
    Release(ReleaseFault),
    /// One of two twins is frozen, and the other dies, while Redis loses its memory.
    Twins,
    /// A server among several of its kind dies, or is cut off, or a slot moves.
    Cluster(ClusterFault),
    /// Runs the fault while the first condition lasts.
    During(Lasting, &'static Fault),
}

impl Fault {
    /// Prepares the fault, breaks and mends, and records begin and end in the history.
    pub async fn strike(self, world: &mut World, random: &mut Random) {
        self.prepare(world).await;
        let number = world.note_fault_begins(format!("{self:?}"));
        self.break_and_mend(world, random).await;
        world.note_fault_ends(number);
    }

    async fn prepare(self, world: &mut World) {
        let struck = if let Self::During(_, inner) = self { *inner } else { self };
        match struck {
            Self::Redis(fault) if fault.loses_memory() => world.wait_until_loss_is_covered().await,
            Self::Cluster(fault) if fault.loses_memory() => world.wait_until_loss_is_covered().await,
            Self::Owner(fault) if fault.loses_memory() => world.wait_until_loss_is_covered().await,
            Self::Mysql(MysqlFault::SwitchoverAndFlush) => world.wait_until_loss_is_covered().await,
            Self::Rebuild(point, _) => rebuild::arm(world, point).await,
            Self::Unpromised(frozen) => frozen.prepare(world).await,
            Self::EverythingLost | Self::Twins => world.wait_until_loss_is_covered().await,
            _ => {}
        }
    }

    async fn break_and_mend(self, world: &mut World, random: &mut Random) {
        // The instance to strike, for faults of a single instance.
        let target = random.index(world.instances.len());
        match self {
            Self::App(fault) => fault.strike(world, random, target).await,
            Self::Redis(fault) => fault.strike(world, random, target).await,
            Self::Mysql(fault) => fault.strike(world, random).await,
            Self::Network(server, fault) => fault.strike(world, random, (target, server)).await,
            Self::Rows(fault) => fault.strike(world).await,
            Self::Clock(fault) => fault.strike(world, random, target).await,
            Self::Change(change) => change.strike(world, random, target).await,
            Self::Rebuild(point, trigger) => trigger.strike(world, point).await,
            Self::Overtaken(first, second) => rebuild::overtake(world, first, second).await,
            Self::Woken(point) => rebuild::wake_into(world, point).await,
            Self::Unpromised(frozen) => frozen.strike(world, random).await,
            Self::EverythingLost => unpromised::lose_everything(world, random).await,
            Self::Release(fault) => fault.strike(world, random).await,
            Self::Owner(fault) => fault.strike(world, random).await,
            Self::WentBack => went_back::strike(world, random).await,
            Self::Twins => twins::strike(world, random, target).await,
            Self::Cluster(fault) => fault.strike(world, random, target).await,
            Self::During(lasting, fault) => {
                let held = lasting.begin(world, random, target).await;
                Box::pin(fault.break_and_mend(world, random)).await;
                lasting.end(world, target, held).await;
            }
        }
    }
}
