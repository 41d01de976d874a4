//! The start: validates the settings, binds, waits for the stores, and migrates. Nothing runs before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assembly::{self, Application, Ground};
use super::parts::{self, open_etcd, open_pools, passwords, redis_config, redis_pool, redis_pool_of, signers};
use super::servers::bind;
use super::start_error::StartError;
use crate::config::{self, Profile, ServeArgs};
use crate::domain::ShardId;
use crate::memory::{Activities, Limits};
use crate::mysql::Db;
use crate::mysql::formats;
use crate::mysql::installation;
use crate::mysql::migrate::migrate_for;
use crate::mysql::rights as mysql_rights;
use crate::mysql::shards;
use crate::ops::durability;
use crate::redis::rights as redis_rights;
use crate::redis::{Keys, LinkConfig};

const OPEN_PROFILE: &str = "open profile: strangers may reach this service, and COUPONRUSH_PROFILE is not public";

impl Application {
    /// Validates the settings, binds both ports, waits for Redis and MySQL, and migrates the database.
    ///
    /// # Errors
    /// Returns a [`StartError`] for the first step that fails.
    pub async fn build(args: &ServeArgs) -> Result<Self, StartError> {
        let signers = signers(&args.tokens)?;
        let signed_form = parts::signed_form(args.sign_secret.as_deref())?;
        let weak_secrets = check_profile(args)?;
        let redis = redis_config(&args.redis)?;
        let dbs = open_pools(&args.mysql)?;
        let db = &dbs.control;
        let etcd = open_etcd(&args.etcd).await?;
        let http_tls = parts::http_tls(args)?;
        let listener = bind("COUPONRUSH_HTTP_ADDR", args.http_addr)?;
        let ops_listener = bind("COUPONRUSH_OPS_ADDR", args.ops_addr)?;

        let deadline = Instant::now() + Duration::from_secs(args.start_wait.into());
        if let Some(etcd) = &etcd {
            etcd.refuse_old(config::ETCD_START_WAIT).await?;
        }
        wait_for("MySQL", deadline, async || db.ping().await.map_err(StartError::no_mysql)).await?;
        let pool = redis_pool(&redis);
        let calls = wait_for("Redis", deadline, async || pool.get().await.map_err(StartError::no_redis)).await?;
        let keys = Keys::new(&args.redis.redis_prefix, ShardId::FIRST);
        redis_rights::check(&calls, &keys, config::KV_WAIT).await?;
        drop(calls);
        if !args.no_migrate {
            for name in migrate_for(db, args.known_format()).await.map_err(StartError::Migrate)? {
                log::info!("migrated: {name}");
            }
        }
        formats::check_known(db, ShardId::FIRST.name(), args.known_format()).await?;
        shards::start_with(db, args.shards.into()).await.map_err(StartError::Mysql)?;
        let shards = shards::all(db).await.map_err(StartError::Mysql)?;
        let installation = installation::id(db).await.map_err(StartError::Mysql)?;
        if installation.is_empty() {
            return Err(StartError::NoInstallation);
        }
        mysql_rights::check(db).await.map_err(StartError::MysqlRights)?;

        let mut warnings = unsafe_settings(&redis, &shards, db).await;
        let activities = Arc::new(Activities::new(dbs.clone()));
        activities.load().await.map_err(StartError::Activities)?;
        let revocations = parts::revocations(&dbs).await.map_err(StartError::Revocations)?;
        let keys = parts::merchant_keys(&dbs).await.map_err(StartError::Mysql)?;
        let admins = parts::admin_names(db).await.map_err(StartError::Mysql)?;
        let admission = parts::admission(&args.admission, db).await.map_err(StartError::Admission)?;
        warnings.extend(weak_secrets);
        warnings.extend(unsafe_profile(args, &admission.settings.limits()));
        warnings.iter().for_each(|warning| log::warn!("UNSAFE: {warning}"));
        let ground = Ground {
            redis,
            dbs,
            shards,
            installation,
            etcd,
            listener,
            http_tls,
            ops_listener,
            signers,
            signed_form,
            activities,
            revocations,
            keys,
            admins,
            passwords: passwords(config::hash_threads())?,
            admin_passwords: passwords(config::ADMIN_HASHES_MAX)?,
            admission,
            warnings,
        };
        Ok(assembly::assemble(args, ground))
    }
}

/// A sentence for each secret that is easy to guess.
///
/// # Errors
/// The public profile needs random secrets, and wants to know whether proxies are in front.
fn check_profile(args: &ServeArgs) -> Result<Vec<String>, StartError> {
    let weak = parts::weak_secrets(args)?;
    match (args.admission.profile, weak.first()) {
        (Profile::Public, _) if !args.admission.trusted_proxies.is_set => Err(StartError::ProxiesUnknown),
        (Profile::Public, Some(sentence)) => Err(StartError::WeakSecret(sentence.clone())),
        (Profile::Public | Profile::Open, _) => Ok(weak),
    }
}

/// Unsafe settings of Redis and MySQL, a sentence for each.
async fn unsafe_settings(redis: &LinkConfig, shards: &[ShardId], db: &Db) -> Vec<String> {
    // In a cluster each shard may be on another server.
    let servers = if redis.is_cluster() { shards } else { &[ShardId::FIRST] };
    let pools: Vec<_> = servers.iter().map(|shard| redis_pool_of(redis, *shard)).collect();
    durability::check(&pools, db).await
}

/// What strangers may do that the public profile would not let them do, as a sentence.
fn unsafe_profile(args: &ServeArgs, limits: &Limits) -> Option<String> {
    let weak = limits.weaker_than(&Limits::public());
    match args.admission.profile {
        Profile::Open => {
            let is_reachable = !args.http_addr.ip().is_loopback() || args.admission.trusted_proxies.is_set;
            is_reachable.then(|| OPEN_PROFILE.to_owned())
        }
        Profile::Public if weak.is_empty() => None,
        Profile::Public => Some(format!("weak limits: {} admit more than the public profile does", weak.join(", "))),
    }
}

/// Retries `attempt` every 250 ms until success, a final error or the deadline. Logs the first failure.
async fn wait_for<T>(
    what: &str,
    deadline: Instant,
    attempt: impl AsyncFn() -> Result<T, StartError>,
) -> Result<T, StartError> {
    let mut said = false;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if error.is_final() || Instant::now() >= deadline => return Err(error),
            Err(error) if !said => {
                log::warn!("waiting for {what}: {}", crate::base::error_chain(&error));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
