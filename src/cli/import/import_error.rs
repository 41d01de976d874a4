//! The reasons why an import ends early.

use crate::app::StartError;
use crate::mysql::import::TakeError;
use crate::mysql::instances::DEAD_AFTER;
use crate::mysql::migrate::MigrateError;
use crate::mysql::{DbError, MysqlAddressError};

/// The reason for a failed import. Imported rows stay, and another run continues from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the Go system's database could not be read")]
    Source(#[source] DbError),
    #[error("--from cannot be used")]
    SourceUrl(#[source] MysqlAddressError),
    #[error("COUPONRUSH_MYSQL_URL cannot be used")]
    TargetUrl(#[source] MysqlAddressError),
    #[error("the database of this service could not be used")]
    Target(#[source] DbError),
    #[error("the database to import is not the Go system's, because it has no table coupons with a column coupon_name")]
    NotTheGoSystem,
    #[error("the Go system's tables are in the database of this service. Give couponrush a separate database")]
    SameDatabase,
    #[error(
        "the instance {instance} of the service is running on this database, or was killed in the last {} s. \
         Stop all instances, then import again",
        DEAD_AFTER.as_secs()
    )]
    ServiceAlive { instance: String },
    #[error("the database of this service could not be migrated")]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("a password hash could not be wrapped")]
    Wrap(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the report file could not be written")]
    Report(#[source] std::io::Error),
}

impl From<TakeError> for ImportError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::ServiceAlive { instance } => Self::ServiceAlive { instance },
            TakeError::Db(error) => Self::Target(error),
        }
    }
}
