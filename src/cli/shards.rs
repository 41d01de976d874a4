//! `couponrush shards`: lists the shards of the database, and adds some.

use crate::app::{StartError, open_db};
use crate::config::{MysqlArgs, ShardsCommand};
use crate::domain::ShardId;
use crate::mysql::DbError;
use crate::mysql::shards::{self, Added, OpenCoupons};

/// The reason for a failed command. Nothing has changed, unless MySQL did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(
        "a release that knows only one shard may run; `couponrush raise-format` first, after every instance was upgraded"
    )]
    OldFormat,
    #[error("a database has at most {} shards", ShardId::MAX)]
    TooMany,
}

/// Lists or adds shards.
///
/// # Errors
/// Returns a [`ShardsError`].
pub async fn run(command: ShardsCommand) -> Result<(), ShardsError> {
    match command {
        ShardsCommand::List { mysql } => list(&mysql).await,
        ShardsCommand::Add { count, mysql } => add(&mysql, count.into()).await,
    }
}

async fn list(mysql: &MysqlArgs) -> Result<(), ShardsError> {
    let db = open_db(mysql)?;
    for OpenCoupons { shard, coupons, is_known } in shards::open_coupons(&db).await? {
        let row = shards::read(&db, shard.name()).await?;
        let state = match (row.is_live, is_known) {
            (false, _) => "is being loaded",
            (true, false) => "is loaded, and gets no coupons before all instances know it",
            (true, true) => "is loaded",
        };
        let address = if row.redis_address.is_empty() { "an unknown address" } else { &row.redis_address };
        println!("{shard} {state}, epoch {}, {coupons} open coupons, Redis at {address}", row.epoch);
    }
    Ok(())
}

async fn add(mysql: &MysqlArgs, count: usize) -> Result<(), ShardsError> {
    let db = open_db(mysql)?;
    match shards::add(&db, count).await? {
        Added::Done { first, last } if first == last => println!("{first} was added"),
        Added::Done { first, last } => println!("{first} to {last} were added"),
        Added::OldFormat => return Err(ShardsError::OldFormat),
        Added::TooMany => return Err(ShardsError::TooMany),
    }
    println!("running instances load it within seconds, and new coupons go to the shard with the fewest open coupons");
    Ok(())
}
