//! The reasons why the program does not start.

use std::io;
use std::net::SocketAddr;

use crate::auth::{HashError, SecretsError};
use crate::base::{TlsError, TooOld};
use crate::mysql::formats::FormatError;
use crate::mysql::migrate::MigrateError;
use crate::mysql::{DbError, MysqlAddressError};
use crate::redis::KvError;
use crate::redis::rights::MissingRight;

/// The reason for a failed start, as a sentence for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(
        "COUPONRUSH_REDIS_URL must be redis://:password@host:port/db, redis+unix:///path, redis-cluster://host:port,host:port \
         or redis-sentinel://host:port,host:port/name, or the same with rediss for TLS ({0})"
    )]
    RedisUrl(String),
    #[error(
        "COUPONRUSH_MYSQL_URL must be mysql://user:password@host:port/database, or the same with ?require_ssl=true for TLS"
    )]
    MysqlUrl(#[source] MysqlAddressError),
    #[error(
        "COUPONRUSH_ETCD_ENDPOINTS must be a list of http://host:port, or of https://host:port, separated by commas"
    )]
    EtcdEndpoints,
    #[error("COUPONRUSH_ETCD_USER must be name:password")]
    EtcdUser,
    #[error(
        "COUPONRUSH_PROFILE is public, so COUPONRUSH_TRUSTED_PROXIES must be set; `none` says that users connect directly"
    )]
    ProxiesUnknown,
    /// A sentence about a setting.
    #[error("{0}; the public profile needs a random secret")]
    WeakSecret(String),
    #[error("COUPONRUSH_HTTP_CERT and COUPONRUSH_HTTP_KEY cannot be used")]
    HttpCertificate(#[source] TlsError),
    /// The begin of the names of the settings, and the reason.
    #[error("the certificates of {0}_CA, {0}_CERT and {0}_KEY cannot be used")]
    Certificates(&'static str, #[source] TlsError),
    #[error("{0}_CA, {0}_CERT or {0}_KEY is set, but the address of the store does not ask for TLS")]
    CertificatesUnused(&'static str),
    #[error("cannot listen on {1} ({0})")]
    Bind(&'static str, SocketAddr, #[source] io::Error),
    #[error(transparent)]
    TooOld(#[from] TooOld),
    #[error("MySQL could not be reached at COUPONRUSH_MYSQL_URL")]
    Mysql(#[source] DbError),
    #[error("Redis could not be reached at COUPONRUSH_REDIS_URL")]
    Redis(#[source] KvError),
    #[error("the database could not be migrated to the version of this program")]
    Migrate(#[source] MigrateError),
    #[error("MySQL denies the program a right, deploy/mysql/grants.sql lists the rights of its user")]
    MysqlRights(#[source] DbError),
    #[error("Redis denies the program a right, deploy/redis/couponrush.acl lists the rights of its user")]
    RedisRights(#[from] MissingRight),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the database has no installation id yet; type `couponrush migrate`")]
    NoInstallation,
    #[error("{0}")]
    Foreign(String),
    #[error("activities could not be read from MySQL")]
    Activities(#[source] DbError),
    #[error("revoked tokens could not be read from MySQL")]
    Revocations(#[source] DbError),
    #[error("limits, switches and blocks could not be read from MySQL")]
    Admission(#[source] DbError),
    #[error("passwords could not be hashed")]
    Passwords(#[source] HashError),
}

impl StartError {
    /// The reason of a MySQL that gave no connection.
    pub(super) fn no_mysql(error: DbError) -> Self {
        match error {
            DbError::TooOld(too_old) => Self::TooOld(too_old),
            error => Self::Mysql(error),
        }
    }

    /// The reason of a Redis that gave no connection.
    pub(super) fn no_redis(error: KvError) -> Self {
        match error {
            KvError::TooOld(too_old) => Self::TooOld(too_old),
            error => Self::Redis(error),
        }
    }

    /// Whether waiting for the store cannot help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::TooOld(_))
    }
}
