//! The network between one instance and a server.

use crate::proxy::{Mode, Side};
use crate::random::Random;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Redis,
    Mysql,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    Resets,
    /// Data is held back and arrives when the fault ends.
    BlackHole,
    /// Like `BlackHole` for over 10 s, so that the instance is taken for dead.
    LongBlackHole,
    Delays,
    /// Connections break in the middle of a request or an answer.
    CutRequests,
    CutAnswers,
}

impl NetworkFault {
    pub async fn strike(self, world: &World, random: &mut Random, (target, server): (usize, Server)) {
        let instance = &world.instances[target];
        let proxies = match server {
            Server::Redis => vec![&instance.redis],
            Server::Mysql => vec![&instance.mysql],
            Server::Both => vec![&instance.redis, &instance.mysql],
        };
        let rounds = match self {
            Self::BlackHole | Self::LongBlackHole | Self::Delays => 1,
            Self::Resets | Self::CutRequests | Self::CutAnswers => 8,
        };
        for _ in 0..rounds {
            for proxy in &proxies {
                let bytes = i64::try_from(random.below(3_000)).expect("the number is small");
                match self {
                    Self::Resets => proxy.set(Mode::Reset),
                    Self::BlackHole | Self::LongBlackHole => proxy.set(Mode::BlackHole),
                    Self::Delays => proxy.set(Mode::Delay(random.millis(20, 400))),
                    Self::CutRequests => proxy.cut_after(Side::Client, bytes),
                    Self::CutAnswers => proxy.cut_after(Side::Server, bytes),
                }
            }
            let hold = match self {
                Self::Resets => random.millis(1, 100),
                Self::CutRequests | Self::CutAnswers => random.millis(50, 500),
                Self::BlackHole | Self::Delays => random.millis(200, 3_000),
                Self::LongBlackHole => random.millis(11_000, 14_000),
            };
            tokio::time::sleep(hold).await;
            for proxy in &proxies {
                proxy.set(Mode::Pass);
            }
        }
    }
}
