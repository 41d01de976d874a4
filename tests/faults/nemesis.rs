//! What can be broken, and how each is broken and mended again.
//!
//! A fault is over when its `strike` returns: what it broke is mended, and the program has to find back by itself. What is
//! promised to nobody (docs/FAULTS.md) is not done: nothing that loses Redis' memory before MySQL has what dead instances
//! knew.

use std::time::Duration;

use couponrush::now_seconds;

use crate::history::{Coupon, Sale};
use crate::mysql;
use crate::proxy::{Mode, Side};
use crate::random::Random;
use crate::world::{COUPONS, PLAIN, QUOTA, SEVERAL, World};

/// How long an instance may take to reach the point it dies at.
const CRASH_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillApp,
    KillEveryApp,
    /// Dies at a named point that claims pass.
    CrashApp(&'static str),
    /// Every instance is to die at a step of a rebuild; `true`: after Redis was emptied.
    CrashRebuild(&'static str, Loss),
    /// Dies in the middle of a change of an amount.
    CrashChange(&'static str, Amount),
    FreezeApp,
    /// For so long that it is taken for dead, while Redis restarts with its data.
    FreezeAppLong,
    RestartRedis,
    EmptyRedis,
    OlderRedis,
    TruncateRedis,
    FlushRedis,
    /// Lost again while it is being loaded.
    FlushRedisTwice,
    /// While an instance is frozen for less than the time after which it is taken for dead.
    FlushRedisAndFreezeApp,
    /// And then there is no memory to load it into.
    FlushRedisAndRunOut,
    /// While claims that were answered wait for a lock in MySQL.
    FlushRedisAndLockCoupon,
    /// An instance is frozen, taken for dead and its claims are stored; then Redis is lost, and then it wakes up.
    FreezeAppThenFlushRedis,
    /// While an instance is cut off from MySQL, which only its beats in Redis tell.
    FlushRedisAndCutOff,
    FreezeRedis,
    ForgetScripts,
    OutOfMemory,
    KillEverything,
    KillMysqlConnections,
    /// In the middle of transactions only.
    KillTransactions,
    RestartMysql,
    ReadOnlyMysql,
    LockMysql,
    LockCoupon,
    Deadlocks,
    Proxy(Server, Trouble),
    Amount(Amount),
    MoveWindow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Nothing,
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Raised,
    Lowered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Redis,
    Mysql,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Resets,
    BlackHole,
    LongBlackHole,
    Delays,
    CutRequests,
    CutAnswers,
}

impl Fault {
    /// Breaks it, and mends it again.
    pub async fn strike(self, world: &mut World, random: &mut Random) {
        let one = random.index(world.instances.len());
        let number = match self {
            Self::EmptyRedis
            | Self::OlderRedis
            | Self::TruncateRedis
            | Self::FlushRedis
            | Self::FlushRedisTwice
            | Self::FlushRedisAndFreezeApp
            | Self::FlushRedisAndRunOut
            | Self::FlushRedisAndLockCoupon
            | Self::FlushRedisAndCutOff => {
                world.ready_for_a_loss().await;
                world.broken(format!("{self:?}"))
            }
            // These mend what they break on their way before they strike.
            Self::CrashRebuild(..) => 0,
            _ => world.broken(format!("{self:?}")),
        };
        match self {
            Self::KillApp | Self::KillEveryApp | Self::CrashApp(_) | Self::FreezeApp | Self::FreezeAppLong => {
                self.strike_app(world, random, one).await;
            }
            Self::CrashRebuild(point, loss) => return crash_rebuild(self, world, point, loss).await,
            Self::CrashChange(point, amount) => crash_change(world, random, one, (point, amount)).await,
            Self::KillMysqlConnections
            | Self::KillTransactions
            | Self::RestartMysql
            | Self::ReadOnlyMysql
            | Self::LockMysql
            | Self::LockCoupon
            | Self::Deadlocks => self.strike_mysql(world, random).await,
            Self::Proxy(server, trouble) => proxy(world, random, one, (server, trouble)).await,
            Self::Amount(amount) => change_amount(world, random, one, amount).await,
            Self::MoveWindow => move_window(world, random).await,
            _ => self.strike_redis(world, random, one).await,
        }
        world.mended(number);
    }

    async fn strike_app(self, world: &mut World, random: &mut Random, one: usize) {
        match self {
            Self::KillEveryApp => {
                for instance in 0..world.instances.len() {
                    world.kill(instance);
                }
                for instance in 0..world.instances.len() {
                    world.revive(instance, None);
                }
            }
            Self::CrashApp(point) => {
                world.kill(one);
                // Few transactions, many claims.
                let nth = if point == "after-script" { 20 + random.below(100) } else { 2 + random.below(20) };
                world.revive(one, Some(&format!("{point}:{nth}")));
                assert!(world.dies(one, CRASH_WAIT).await, "instance {one} does not pass {point}");
                world.revive(one, None);
            }
            Self::FreezeApp | Self::FreezeAppLong => {
                world.instances[one].process.freeze();
                if self == Self::FreezeAppLong {
                    tokio::time::sleep(Duration::from_secs(12)).await;
                    world.redis.process.kill();
                    world.redis.restart().await;
                }
                tokio::time::sleep(random.millis(500, 6_000)).await;
                world.instances[one].process.thaw();
            }
            _ => {
                world.kill(one);
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.revive(one, None);
            }
        }
    }

    async fn strike_redis(self, world: &mut World, random: &mut Random, one: usize) {
        match self {
            Self::RestartRedis => restart_redis(world, random, |_| {}).await,
            Self::EmptyRedis => restart_redis(world, random, |world| world.redis.replace_data(None)).await,
            Self::TruncateRedis => {
                let bytes = 1 + random.below(3_000);
                restart_redis(world, random, |world| world.redis.truncate(bytes)).await;
            }
            Self::OlderRedis => {
                let copy = world.redis.copy();
                tokio::time::sleep(random.millis(300, 2_000)).await;
                restart_redis(world, random, |world| world.redis.replace_data(Some(&copy))).await;
            }
            Self::FlushRedis => flush(world).await,
            Self::FlushRedisTwice => {
                flush(world).await;
                tokio::time::sleep(random.millis(0, 400)).await;
                flush(world).await;
            }
            Self::FlushRedisAndFreezeApp => {
                world.instances[one].process.freeze();
                tokio::time::sleep(random.millis(0, 500)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(1_000, 5_000)).await;
                world.instances[one].process.thaw();
            }
            Self::FlushRedisAndLockCoupon => {
                let sql =
                    format!("START TRANSACTION; SELECT id FROM coupons WHERE id IN ({PLAIN}, {SEVERAL}) FOR UPDATE");
                let lock = mysql::hold(&world.mariadb.root_url(), &sql).await;
                tokio::time::sleep(random.millis(300, 1_500)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                drop(lock);
            }
            Self::FreezeAppThenFlushRedis => {
                world.freeze_for_long(one).await;
                flush(world).await;
                tokio::time::sleep(random.millis(2_000, 5_000)).await;
                world.instances[one].process.thaw();
            }
            Self::FlushRedisAndCutOff => {
                world.instances[one].mysql.set(Mode::BlackHole);
                tokio::time::sleep(random.millis(500, 2_000)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(11_000, 15_000)).await;
                world.instances[one].mysql.set(Mode::Pass);
            }
            Self::FreezeRedis => {
                world.redis.process.freeze();
                tokio::time::sleep(random.millis(300, 5_000)).await;
                world.redis.process.thaw();
            }
            Self::ForgetScripts => {
                for _ in 0..5 {
                    world.redis.call::<()>(redis::cmd("SCRIPT").arg("FLUSH")).await;
                    tokio::time::sleep(random.millis(20, 200)).await;
                }
            }
            Self::OutOfMemory => run_out(world, random).await,
            Self::FlushRedisAndRunOut => {
                flush(world).await;
                run_out(world, random).await;
            }
            Self::KillEverything => {
                for instance in 0..world.instances.len() {
                    world.kill(instance);
                }
                world.redis.process.kill();
                world.mariadb.process.kill();
                world.mariadb.restart().await;
                world.redis.restart().await;
                for instance in 0..world.instances.len() {
                    world.revive(instance, None);
                }
            }
            other => unreachable!("{other:?} is no fault of Redis"),
        }
    }

    async fn strike_mysql(self, world: &mut World, random: &mut Random) {
        let url = world.mariadb.root_url();
        match self {
            Self::KillMysqlConnections => mysql::kill_connections(&url, false).await,
            Self::KillTransactions => {
                for _ in 0..30 {
                    mysql::kill_connections(&url, true).await;
                    tokio::time::sleep(random.millis(1, 40)).await;
                }
            }
            Self::RestartMysql => {
                world.mariadb.process.kill();
                tokio::time::sleep(random.millis(0, 4_000)).await;
                world.mariadb.restart().await;
            }
            Self::ReadOnlyMysql => {
                mysql::execute(&url, "SET GLOBAL read_only = 1").await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                mysql::execute(&url, "SET GLOBAL read_only = 0").await;
            }
            Self::LockMysql => {
                let lock = mysql::hold(&url, "FLUSH TABLES WITH READ LOCK").await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                drop(lock);
            }
            Self::LockCoupon => {
                let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id = {PLAIN} FOR UPDATE");
                let lock = mysql::hold(&url, &sql).await;
                tokio::time::sleep(random.millis(1_000, 12_000)).await;
                drop(lock);
            }
            Self::Deadlocks => {
                for _ in 0..10 {
                    mysql::deadlock(&url, &COUPONS).await;
                }
            }
            other => unreachable!("{other:?} is no fault of MySQL"),
        }
    }
}

async fn flush(world: &World) {
    world.redis.call::<()>(&redis::cmd("FLUSHALL")).await;
}

async fn run_out(world: &World, random: &mut Random) {
    let limit = |limit| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit).clone();
    world.redis.call::<()>(&limit("1mb")).await;
    tokio::time::sleep(random.millis(500, 3_000)).await;
    world.redis.call::<()>(&limit("0")).await;
}

async fn restart_redis(world: &mut World, random: &mut Random, meanwhile: impl FnOnce(&mut World)) {
    world.redis.process.kill();
    meanwhile(world);
    tokio::time::sleep(random.millis(0, 1_500)).await;
    world.redis.restart().await;
}

/// All instances are to die at the point; at least one does, and the others may finish what it began.
async fn crash_rebuild(fault: Fault, world: &mut World, point: &str, loss: Loss) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, None);
        world.ready().await;
    }
    // The start itself may pass the point: Redis has not changed, so it does not.
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, Some(&format!("{point}:1")));
        world.ready().await;
    }
    world.ready_for_a_loss().await;
    let number = world.broken(format!("{fault:?}"));
    match loss {
        Loss::Everything => flush(world).await,
        Loss::Nothing => {
            world.redis.process.kill();
            world.redis.restart().await;
        }
    }
    assert!(world.one_dies(CRASH_WAIT).await, "nobody passes {point}");
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, None);
    }
    world.mended(number);
}

async fn crash_change(world: &mut World, random: &mut Random, one: usize, (point, amount): (&str, Amount)) {
    world.kill(one);
    world.revive(one, Some(&format!("{point}:1")));
    world.ready().await;
    change_amount(world, random, one, amount).await;
    assert!(world.dies(one, CRASH_WAIT).await, "instance {one} does not pass {point}");
    world.revive(one, None);
}

async fn change_amount(world: &mut World, random: &mut Random, one: usize, amount: Amount) {
    let by = 1 + u32::try_from(random.below(60)).expect("below a u32");
    let to = match amount {
        Amount::Raised => world.amount + by,
        Amount::Lowered => world.amount.saturating_sub(by).max(1),
    };
    world.change_amount(one, to).await;
}

/// Closes the sale for a while, or moves its end near, and opens it again.
async fn move_window(world: &mut World, random: &mut Random) {
    let (open, now) = (world.sale, now_seconds());
    let closed = match random.below(3) {
        0 => Sale { start: now + 2, ..open },
        1 => Sale { end: now - 1, ..open },
        _ => Sale { end: now + 2, ..open },
    };
    let coupon: Coupon = QUOTA;
    world.change_sale(coupon, closed).await;
    tokio::time::sleep(random.millis(500, 3_000)).await;
    world.change_sale(coupon, open).await;
}

async fn proxy(world: &mut World, random: &mut Random, one: usize, (server, trouble): (Server, Trouble)) {
    let instance = &world.instances[one];
    let proxies = match server {
        Server::Redis => vec![&instance.redis],
        Server::Mysql => vec![&instance.mysql],
        Server::Both => vec![&instance.redis, &instance.mysql],
    };
    let rounds = if matches!(trouble, Trouble::BlackHole | Trouble::LongBlackHole | Trouble::Delays) { 1 } else { 8 };
    for _ in 0..rounds {
        for proxy in &proxies {
            match trouble {
                Trouble::Resets => proxy.set(Mode::Reset),
                Trouble::BlackHole | Trouble::LongBlackHole => proxy.set(Mode::BlackHole),
                Trouble::Delays => proxy.set(Mode::Delay(random.millis(20, 400))),
                Trouble::CutRequests => {
                    proxy.cut_after(Side::Client, i64::try_from(random.below(4_000)).expect("small"))
                }
                Trouble::CutAnswers => {
                    proxy.cut_after(Side::Server, i64::try_from(random.below(2_000)).expect("small"))
                }
            }
        }
        let hold = match trouble {
            Trouble::Resets => random.millis(1, 100),
            Trouble::CutRequests | Trouble::CutAnswers => random.millis(50, 500),
            Trouble::LongBlackHole => random.millis(11_000, 14_000),
            _ => random.millis(200, 3_000),
        };
        tokio::time::sleep(hold).await;
        for proxy in &proxies {
            proxy.set(Mode::Pass);
        }
    }
}
