//! Conditions during which a fault strikes.

use std::time::Duration;

use diesel_async::AsyncMysqlConnection;

use crate::mysql;
use crate::proxy::Mode;
use crate::random::Random;
use crate::world::{PLAIN, SEVERAL, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    MysqlAway,
    MysqlLocked,
    /// Locks the rows of two coupons, needed by almost every batch.
    CouponsLocked,
    /// For a single instance.
    CutOffFromMysql,
    CutOffFromRedis,
    /// Every message to Redis takes 20 ms, every message to MySQL 50 ms.
    Slow,
}

/// The database lock of a condition, released on drop.
pub struct HeldLock(Option<AsyncMysqlConnection>);

impl Lasting {
    pub async fn begin(self, world: &mut World, random: &mut Random, target: usize) -> HeldLock {
        let url = world.mariadb.root_url();
        let mut held = None;
        match self {
            Self::MysqlAway => world.mariadb.process.kill(),
            Self::MysqlLocked => held = Some(mysql::hold_lock(&url, "FLUSH TABLES WITH READ LOCK").await),
            Self::CouponsLocked => {
                let ids = format!("{PLAIN}, {SEVERAL}");
                let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id IN ({ids}) FOR UPDATE");
                held = Some(mysql::hold_lock(&url, &sql).await);
            }
            Self::CutOffFromMysql => world.instances[target].mysql.set(Mode::BlackHole),
            Self::CutOffFromRedis => world.instances[target].redis.set(Mode::BlackHole),
            Self::Slow => {
                for instance in &world.instances {
                    instance.redis.set(Mode::Delay(Duration::from_millis(20)));
                    instance.mysql.set(Mode::Delay(Duration::from_millis(50)));
                }
            }
        }
        tokio::time::sleep(random.millis(200, 2_000)).await;
        HeldLock(held)
    }

    pub async fn end(self, world: &mut World, target: usize, held: HeldLock) {
        drop(held.0);
        match self {
            Self::MysqlAway => world.mariadb.restart().await,
            Self::MysqlLocked | Self::CouponsLocked => {}
            Self::CutOffFromMysql => world.instances[target].mysql.set(Mode::Pass),
            Self::CutOffFromRedis => world.instances[target].redis.set(Mode::Pass),
            Self::Slow => {
                for instance in &world.instances {
                    instance.redis.set(Mode::Pass);
                    instance.mysql.set(Mode::Pass);
                }
            }
        }
    }
}
