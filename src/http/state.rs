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

/// What all workers share.
pub struct Shared {
    pub db: Db,
    pub claiming: Claiming,
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    pub directory: Directory,
    pub passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    /// Where the operator has given a secret for it.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub health: Arc<Health>,
    pub body: BodyLimits,
    /// Connections to Redis for all work but claims and lists.
    pub pool: Pool,
    /// How long a read of Redis may take.
    pub kv_wait: Duration,
    pub saler_coupons_max: u32,
    pub sales: SaleCache,
    pub events: Arc<Events>,
    /// A permit for each export that may run at once.
    pub exports: Arc<Semaphore>,
    pub admission: Admission,
    /// Only from these is `X-Forwarded-For` believed.
    pub trusted_proxies: Networks,
    /// What lists answer while they are switched off.
    pub lists: ListCache,
    pub answers: Answers,
    /// Which instance this is: its host and address.
    pub instance: String,
}

/// What one worker thread has, and what it shares.
pub struct Worker {
    pub shared: web::Data<Shared>,
    /// Its own connection to Redis.
    pub link: Arc<Link>,
    pub known: KnownCoupons,
    pub reads: SharedReads,
}

impl Shared {
    /// What a read of Redis needs: this worker's connection and the loading that it must be of.
    pub fn reading(&self, link: &Link) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        let live = self.claiming.gate.live().map_err(|_| ApiError::unavailable())?;
        Ok((connection, live))
    }

    /// The clock that decides what is on sale: Redis', in ms since 1970.
    pub fn server_ms(&self, link: &Link) -> Result<u64, ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        Ok(connection.server_ms())
    }
}
