//! `couponrush raise-format`: raises the format of the data in Redis after an upgrade.

use std::time::{Duration, Instant};

use crate::app::{StartError, open_db};
use crate::config::MysqlArgs;
use crate::domain::{Format, ShardId};
use crate::mysql::formats::{self, RaiseOutcome};
use crate::mysql::{DbError, shards};

/// How long to wait for the rebuild that raises the format.
const REBUILD_WAIT: Duration = Duration::from_secs(60);
/// Pause between two looks at the shard.
const POLL: Duration = Duration::from_millis(250);

/// The reason for a failed command.
#[derive(Debug, thiserror::Error)]
pub enum RaiseFormatError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(
        "these instances do not know format {format}: {instances}. Stop them. The row of a dead instance goes within \
         20 seconds while another instance runs"
    )]
    Instances { format: Format, instances: String },
    #[error(
        "format {0} is asked for, but no instance has loaded the shard within {wait} s. The next instance that starts \
         loads it",
        wait = REBUILD_WAIT.as_secs()
    )]
    NotLoaded(Format),
}

/// Asks for the newest format, and waits for the rebuild that raises it.
///
/// # Errors
/// Returns a [`RaiseFormatError`]. Repeating the command is safe.
pub async fn run(args: &MysqlArgs) -> Result<(), RaiseFormatError> {
    let (db, format) = (open_db(args)?, Format::NEWEST);
    match formats::raise(&db, ShardId::FIRST.name()).await? {
        RaiseOutcome::Known => {
            println!("the data has format {format} already");
            return Ok(());
        }
        RaiseOutcome::Refused(instances) => {
            return Err(RaiseFormatError::Instances { format, instances: instances.join(", ") });
        }
        RaiseOutcome::Asked => println!("waiting for the instances, which load the shard again"),
    }
    let began = Instant::now();
    while shards::read(&db, ShardId::FIRST.name()).await?.format < format {
        if began.elapsed() > REBUILD_WAIT {
            return Err(RaiseFormatError::NotLoaded(format));
        }
        tokio::time::sleep(POLL).await;
    }
    println!("the data has format {format}; releases without it do not start any more");
    Ok(())
}
