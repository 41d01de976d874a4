//! The state of handlers, in parts. A handler names the type of each part in its signature.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;

use super::answer_counts::Answers;
use super::error::{ApiError, read_failed};
use super::exports::Exports;
use super::list_cache::ListCache;
use super::sec::SaleCache;
use super::shared_reads::SharedReads;
use crate::admission::Admission;
use crate::auth::{ClaimTokens, FactorKeys, Passwords, SignedForm, Tickets, UserMarks, UserTokens};
use crate::claim::{
    ArchivedCoupons, ClaimFigures, ConditionChecks, Directory, Doubt, KnownCoupons, Links, ShardLink, Shards,
};
use crate::domain::{CouponId, Durability, Kind, Networks, Origins, PasswordMin};
use crate::memory::{
    Activities, AdminNames, ArchivedClaims, ClosedShards, KnownNetworks, KnownUsers, MerchantKeys, Revocations,
};
use crate::mysql::DbPools;
use crate::ops::{Health, RowCheck, Trail, Withholding};
use crate::redis::{Connection, KvError, Live};
use crate::sales::{ArchiveFigures, Events, Publishing, Scheduling};

/// All parts that are common to the workers of a process.
#[derive(Clone)]
pub struct Shared {
    pub edge: web::Data<Edge>,
    pub accounts: web::Data<Accounts>,
    pub selling: web::Data<Selling>,
    pub offering: web::Data<Offering>,
    pub operating: web::Data<Operating>,
    pub dbs: web::Data<DbPools>,
}

/// Admission, body limits, proxies and counts of answers, for every request.
pub struct Edge {
    pub admission: Admission,
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Host` are trusted.
    pub trusted_proxies: Networks,
    /// Other sites whose pages may send changes.
    pub allowed_origins: Origins,
    pub body: BodyLimits,
    pub answers: Answers,
    /// Every answer of a service that is about to stop closes its connection.
    pub health: Arc<Health>,
}

#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub bytes_max: usize,
    pub wait: Duration,
}

/// Users, passwords, tokens and revocations.
pub struct Accounts {
    pub users: KnownUsers,
    pub admins: Arc<AdminNames>,
    /// Networks from which users have logged in.
    pub networks: Arc<KnownNetworks>,
    /// The least length of new passwords.
    pub password_min: PasswordMin,
    /// Whether common passwords of new merchants are refused.
    pub refuses_common: bool,
    pub passwords: Passwords,
    /// Hashes admins' passwords, however many users wait for a hash.
    pub admin_passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    pub tickets: Tickets,
    pub devices: UserMarks,
    /// Links that set a password.
    pub links: UserMarks,
    /// Whether new merchants sell only after an admin's approval.
    pub salers_need_approval: bool,
    /// Encrypts the secrets of second factors.
    pub factors: FactorKeys,
    /// The signed form of `/sec/kill`, or `None` without a secret for it.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub keys: Arc<MerchantKeys>,
}

/// Claims, and reads of coupons and sales.
pub struct Selling {
    pub shards: Arc<Shards>,
    pub activities: Arc<Activities>,
    pub archived: Arc<ArchivedCoupons>,
    pub conditions: Arc<ConditionChecks>,
    /// Counts of attempts at all shards.
    pub figures: Arc<ClaimFigures>,
    /// What is certain when a claim is answered, unless the request asks for more.
    pub answer_when: Durability,
    pub directory: Directory,
    /// Timeout of a read from Redis.
    pub kv_wait: Duration,
    pub sales: SaleCache,
    /// Cached answers of lists, used while lists are switched off.
    pub lists: ListCache,
    /// Claims on customers' lists that Redis lacks.
    pub archived_claims: ArchivedClaims,
    /// Lists of shards that are closed while others are open.
    pub closed_shards: ClosedShards,
    pub events: Arc<Events>,
}

/// Creation, change and export of coupons and activities, for merchants.
pub struct Offering {
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    /// The same with connections of the control plane.
    pub admin_scheduling: Scheduling,
    /// A permit for each simultaneous export.
    pub exports: Arc<Exports>,
}

/// Health and name of this instance, and rows that need an operator.
pub struct Operating {
    pub health: Arc<Health>,
    pub rows: Arc<RowCheck>,
    pub archive: Arc<ArchiveFigures>,
    pub trail: Arc<Trail>,
    pub withholding: Withholding,
    /// The name of this instance, made of host and address.
    pub instance: String,
}

/// The state of a single worker thread.
pub struct Worker {
    /// The worker's own connections to Redis.
    pub links: Links,
    pub known: KnownCoupons,
    pub reads: SharedReads,
    /// Held while units of several products are read.
    pub reading_units: tokio::sync::Mutex<()>,
}

impl Shared {
    /// Gives the parts to the handlers of a listener.
    pub fn register(&self, config: &mut web::ServiceConfig) {
        let Self { edge, accounts, selling, offering, operating, dbs } = self.clone();
        config.app_data(edge).app_data(accounts).app_data(selling).app_data(offering).app_data(operating).app_data(dbs);
    }
}

impl Accounts {
    /// The hasher for a user of this kind.
    pub const fn passwords_of(&self, kind: Kind) -> &Passwords {
        match kind {
            Kind::Admin => &self.admin_passwords,
            Kind::Customer | Kind::Saler | Kind::Staff => &self.passwords,
        }
    }
}

impl Offering {
    /// Scheduling for a user of this kind.
    pub const fn scheduling_of(&self, kind: Kind) -> &Scheduling {
        match kind {
            Kind::Admin => &self.admin_scheduling,
            Kind::Customer | Kind::Saler | Kind::Staff => &self.scheduling,
        }
    }
}

impl Selling {
    /// The shard of a product, or `None` if no such product exists. 503 if a shard that may have the product is closed.
    pub async fn shard_of(&self, worker: &Worker, product: CouponId) -> Result<Option<Rc<ShardLink>>, ApiError> {
        Ok(self.directory.shard_of(&worker.known, &worker.links, product).await?)
    }
}

/// The connection and the `live` value for a read of a shard. 503 if one is missing.
pub fn reading(link: &ShardLink) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
    link.reading().ok_or_else(ApiError::unavailable)
}

/// The value of a read of a shard. 503 during a recovery, never an empty list.
pub fn loaded<T>(link: &ShardLink, read: Result<Option<T>, KvError>) -> Result<T, ApiError> {
    match read {
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            link.shard.claiming.gate.doubt(Doubt::NotLoaded);
            Err(ApiError::unavailable())
        }
        Err(error) => Err(read_failed(&error)),
    }
}

impl Worker {
    /// The clock of Redis, in ms since 1970. The clock decides windows of sales. 503 without a connection.
    pub fn server_ms(&self) -> Result<u64, ApiError> {
        self.links.server_ms().map_err(|_| ApiError::unavailable())
    }
}
