//! What handlers work with: the state that all workers share, and what each worker thread has for itself.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;

use super::answer_counts::Answers;
use super::error::ApiError;
use super::list_cache::ListCache;
use super::sec::SaleCache;
use super::shared_reads::SharedReads;
use crate::admission::Admission;
use crate::auth::{ClaimTokens, Passwords, SignedForm, UserTokens};
use crate::claim::{Claiming, Directory, KnownCoupons};
use crate::domain::Networks;
use crate::memory::Revocations;
use crate::mysql::Db;
use crate::ops::Health;
use crate::redis::{Connection, Link, Live, Pool};
use crate::sales::{Events, Publishing, Scheduling};

/// Limits of a request body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub bytes_max: usize,
    pub wait: Duration,
}

/// The state shared by all workers.
pub struct Shared {
    pub db: Db,
    pub claiming: Claiming,
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    pub directory: Directory,
    pub passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    /// The signed form of `/sec/kill`, or `None` without a secret for it.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub health: Arc<Health>,
    pub body: BodyLimits,
    /// Connections to Redis for all work except claims and lists.
    pub pool: Pool,
    /// Timeout of a read from Redis.
    pub kv_wait: Duration,
    pub saler_coupons_max: u32,
    pub sales: SaleCache,
    pub events: Arc<Events>,
    /// A permit for each simultaneous export.
    pub exports: Arc<Semaphore>,
    pub admission: Admission,
    /// Peers whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Networks,
    /// Cached answers of lists, used while lists are switched off.
    pub lists: ListCache,
    pub answers: Answers,
    /// The name of this instance, made of host and address.
    pub instance: String,
}

/// The state of a worker thread.
pub struct Worker {
    pub shared: web::Data<Shared>,
    /// The worker's own connection to Redis.
    pub link: Arc<Link>,
    pub known: KnownCoupons,
    pub reads: SharedReads,
}

impl Shared {
    /// Returns the worker's connection and the `live` value for a read from Redis. Fails with 503 if one of both is
    /// missing.
    pub fn reading(&self, link: &Link) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        let live = self.claiming.gate.live().map_err(|_| ApiError::unavailable())?;
        Ok((connection, live))
    }

    /// The clock of Redis, in ms since 1970. It decides what is on sale.
    pub fn server_ms(&self, link: &Link) -> Result<u64, ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        Ok(connection.server_ms())
    }
}
