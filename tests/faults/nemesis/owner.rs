//! Instances of another database, and of a copied one, start with the Redis of the run.

use std::path::Path;
use std::process::Command;

use crate::instance::program;
use crate::mysql;
use crate::ports::free_address;
use crate::random::Random;
use crate::servers::{MariaDb, Process, SECRET};
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerFault {
    /// An instance of another database starts with this Redis.
    Foreign,
    /// The instance starts while Redis loses its memory.
    ForeignAndFlush,
    /// An instance starts with a copy of the database, made while MySQL was stopped.
    Copy,
    /// The instance starts while Redis loses its memory.
    CopyAndFlush,
}

impl OwnerFault {
    pub const fn loses_memory(self) -> bool {
        matches!(self, Self::ForeignAndFlush | Self::CopyAndFlush)
    }

    pub async fn strike(self, world: &mut World, random: &mut Random) {
        match self {
            Self::Foreign | Self::ForeignAndFlush => {
                mysql::execute(&world.mariadb.root_url(), "CREATE DATABASE IF NOT EXISTS foreign_database").await;
                let url = world.mariadb.root_url().replace("/couponrush", "/foreign_database");
                self.require_refusal(world, random, &url, "foreign").await;
            }
            Self::Copy | Self::CopyAndFlush => {
                world.mariadb.process.kill();
                let copy = world.mariadb.copy();
                world.mariadb.restart().await;
                // The instances connect again meanwhile, or a moment later.
                let mut other = MariaDb::start(world.folder(), "mariadb-of-the-copy").await;
                other.process.kill();
                other.replace_data(&copy);
                other.restart().await;
                self.require_refusal(world, random, &other.url(other.port), "copy").await;
            }
        }
    }

    /// Starts an instance that must end by itself.
    async fn require_refusal(self, world: &mut World, random: &mut Random, mysql_url: &str, name: &str) {
        let redis_url = world.redis.url(world.redis.port);
        let mut process = serving(&world.folder().join(format!("{name}.log")), redis_url, mysql_url.to_owned());
        process.start(&[]);
        if self.loses_memory() {
            tokio::time::sleep(random.millis(0, 2_000)).await;
            super::redis::flush(world).await;
        }
        process.wait_for_end().await;
    }
}

fn serving(log: &Path, redis_url: String, mysql_url: String) -> Process {
    Process::new(log.to_owned(), move || {
        let mut command = Command::new(program());
        command.arg("serve").args(["--http-addr", &free_address().to_string()]);
        command.args(["--ops-addr", &free_address().to_string(), "--jwt-secret", SECRET]);
        command.args(["--redis-url", &redis_url, "--mysql-url", &mysql_url, "--workers", "2"]);
        command
    })
}
