//! What goes wrong for as long as something else does.

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
    /// Rows that every batch needs.
    CouponsLocked,
    /// Of one instance.
    CutOffFromMysql,
    CutOffFromRedis,
    /// Everything takes its time.
    Slow,
}

/// What keeps it lasting.
pub struct Held(Option<AsyncMysqlConnection>);

impl Lasting {
    pub async fn begin(self, world: &mut World, random: &mut Random, one: usize) -> Held {
        let url = world.mariadb.root_url();
        let mut held = None;
        match self {
            Self::MysqlAway => world.mariadb.process.kill(),
            Self::MysqlLocked => held = Some(mysql::hold(&url, "FLUSH TABLES WITH READ LOCK").await),
            Self::CouponsLocked => {
                let ids = format!("{PLAIN}, {SEVERAL}");
                let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id IN ({ids}) FOR UPDATE");
                held = Some(mysql::hold(&url, &sql).await);
            }
            Self::CutOffFromMysql => world.instances[one].mysql.set(Mode::BlackHole),
            Self::CutOffFromRedis => world.instances[one].redis.set(Mode::BlackHole),
            Self::Slow => {
                for instance in &world.instances {
                    instance.redis.set(Mode::Delay(Duration::from_millis(20)));
                    instance.mysql.set(Mode::Delay(Duration::from_millis(50)));
                }
            }
        }
        tokio::time::sleep(random.millis(200, 2_000)).await;
        Held(held)
    }

    pub async fn end(self, world: &mut World, one: usize, held: Held) {
        drop(held.0);
        match self {
            Self::MysqlAway => world.mariadb.restart().await,
            Self::MysqlLocked | Self::CouponsLocked => {}
            Self::CutOffFromMysql => world.instances[one].mysql.set(Mode::Pass),
            Self::CutOffFromRedis => world.instances[one].redis.set(Mode::Pass),
            Self::Slow => {
                for instance in &world.instances {
                    instance.redis.set(Mode::Pass);
                    instance.mysql.set(Mode::Pass);
                }
            }
        }
    }
}
