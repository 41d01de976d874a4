//! MySQL dead, locked, read-only, or hanging up in the middle of transactions.

use super::redis::flush;
use crate::mysql;
use crate::random::Random;
use crate::world::{COUPONS, PLAIN, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlFault {
    /// `kill -9`, then a restart within 4 s.
    Restart,
    HangUp,
    /// Kills only connections with an open transaction, again and again.
    HangUpInTransactions,
    ReadOnly,
    Lock,
    /// Locks a row that every batch needs, sometimes for longer than a batch waits.
    LockCoupon,
    Deadlocks,
    /// A replica takes over behind the same address. Open connections to the earlier primary survive, which is read-only.
    Switchover,
    /// Redis is flushed as soon as the address leads to the new primary. So Redis is loaded from MySQL.
    SwitchoverAndFlush,
}

impl MysqlFault {
    pub async fn strike(self, world: &mut World, random: &mut Random) {
        let url = world.mariadb.root_url();
        match self {
            Self::Restart => {
                world.mariadb.process.kill();
                tokio::time::sleep(random.millis(0, 4_000)).await;
                world.mariadb.restart().await;
            }
            Self::HangUp => mysql::kill_connections(&url, mysql::ConnectionSet::All).await,
            Self::HangUpInTransactions => {
                for _ in 0..30 {
                    mysql::kill_connections(&url, mysql::ConnectionSet::InTransactions).await;
                    tokio::time::sleep(random.millis(1, 40)).await;
                }
            }
            Self::ReadOnly => {
                mysql::execute(&url, "SET GLOBAL read_only = 1").await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                mysql::execute(&url, "SET GLOBAL read_only = 0").await;
            }
            Self::Lock => {
                let lock = mysql::hold_lock(&url, "FLUSH TABLES WITH READ LOCK").await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                drop(lock);
            }
            Self::LockCoupon => {
                let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id = {PLAIN} FOR UPDATE");
                let lock = mysql::hold_lock(&url, &sql).await;
                tokio::time::sleep(random.millis(1_000, 12_000)).await;
                drop(lock);
            }
            Self::Switchover => world.switch_mysql(random.millis(0, 1_500)).await,
            Self::SwitchoverAndFlush => {
                world.switch_mysql(random.millis(0, 1_500)).await;
                flush(world).await;
            }
            Self::Deadlocks => {
                for _ in 0..10 {
                    mysql::deadlock(&url, &COUPONS).await;
                }
            }
        }
    }
}
