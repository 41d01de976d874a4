//! Builds the program and runs it until it is stopped: the order of starting and stopping, in one place.
//!
//! Start: bind, connect, migrate ([`Application::build`]); then the background tasks, the operators' listener, and, once the
//! gate has opened for the first time, the users' ([`Application::run_until_stopped`]).
//!
//! Stop: the listeners finish their requests, then the ledger its claims, each with a deadline, then the other tasks end.
//! What the ledger leaves is in the outbox. Nothing in Redis is ever flushed.

mod assembly;
mod parts;
mod serving;
mod stopping;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::activities::Activities;
use crate::api::Shared;
use crate::auth::{
    ClaimTokens, HashError, Passwords, RevocationLimits, Revocations, SecretsError, SignedForm, UserTokens,
};
use crate::config::{self, ServeArgs};
use crate::db::migrate::{MigrateError, migrate};
use crate::db::{Db, DbError, instances};
use crate::durability;
use crate::etcd::Etcd;
use crate::gate::{Admission, Reason};
use crate::kv::{KvError, Link, LinkConfig, Pool};
use crate::ledger::Handed;
use crate::ledger::Persister;
use crate::mirroring::Mirroring;
use crate::recovery::Recovery;
use serving::{bind, serve, serve_ops, until_open};
use stopping::drain;

pub use parts::{open_db, open_etcd, passwords, redis_pool, signers};

/// The only shard there is.
pub const SHARD: &str = "s0";

/// Why the program does not start, in a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("COUPONRUSH_REDIS_URL: it must be redis://:password@host:port/db or redis+unix:///path ({0})")]
    RedisUrl(String),
    #[error("COUPONRUSH_MYSQL_URL: it must be mysql://user:password@host:port/database")]
    MysqlUrl,
    #[error("COUPONRUSH_ETCD_ENDPOINTS: each must be http://host:port")]
    EtcdEndpoints,
    #[error("{0}: cannot listen on {1}")]
    Bind(&'static str, SocketAddr, #[source] io::Error),
    #[error("MySQL cannot be reached (COUPONRUSH_MYSQL_URL)")]
    Mysql(#[source] DbError),
    #[error("Redis cannot be reached (COUPONRUSH_REDIS_URL)")]
    Redis(#[source] KvError),
    #[error("the database cannot be brought to this version")]
    Migrate(#[source] MigrateError),
    #[error("activities cannot be read")]
    Activities(#[source] DbError),
    #[error("revoked tokens cannot be read")]
    Revocations(#[source] DbError),
    #[error("limits, switches and blocks cannot be read")]
    Admission(#[source] DbError),
    #[error("passwords cannot be hashed")]
    Passwords(#[source] HashError),
}

/// Why the program ended other than by being stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("serving failed")]
    Serve(#[source] io::Error),
    #[error("a background task failed")]
    Task(#[source] JoinError),
}

/// The program, connected and bound, not yet accepting.
pub struct Application {
    shared: web::Data<Shared>,
    link: Arc<Link>,
    redis: LinkConfig,
    recovery: Recovery,
    mirroring: Option<Mirroring>,
    persister: Persister,
    channel: Receiver<Handed>,
    instance: (String, String),
    listener: TcpListener,
    ops_listener: TcpListener,
    workers: usize,
}

/// What is there once everything outside the program has been found in order.
struct Ground {
    redis: LinkConfig,
    pool: Pool,
    db: Db,
    etcd: Option<Etcd>,
    listener: TcpListener,
    ops_listener: TcpListener,
    tokens: UserTokens,
    claim_tokens: ClaimTokens,
    signed_form: Option<SignedForm>,
    activities: Arc<Activities>,
    revocations: Revocations,
    passwords: Passwords,
    admission: Admission,
    /// What is unsafe about Redis and MySQL.
    warnings: Vec<String>,
}

impl Application {
    /// Validates everything, binds, waits for Redis and MySQL, and migrates.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(args: &ServeArgs) -> Result<Self, StartError> {
        let (tokens, claim_tokens) = signers(&args.tokens)?;
        let signed_form = parts::signed_form(args.sign_secret.as_deref())?;
        let redis = LinkConfig::new(&args.redis.redis_url).map_err(StartError::RedisUrl)?;
        let db = open_db(&args.mysql.mysql_url)?;
        let etcd = open_etcd(&args.etcd).await?;
        let listener = bind("COUPONRUSH_HTTP_ADDR", args.http_addr)?;
        let ops_listener = bind("COUPONRUSH_OPS_ADDR", args.ops_addr)?;

        let deadline = Instant::now() + Duration::from_secs(args.start_wait.into());
        wait_for("MySQL", deadline, || db.ping()).await.map_err(StartError::Mysql)?;
        let pool = redis_pool(&redis);
        let redis_answers = wait_for("Redis", deadline, || pool.get());
        redis_answers.await.map_err(StartError::Redis)?;
        if !args.no_migrate {
            for name in migrate(&db).await.map_err(StartError::Migrate)? {
                log::info!("migrated: {name}");
            }
        }

        let warnings = durability::check(&pool, &db).await;
        for warning in &warnings {
            log::warn!("UNSAFE: {warning}");
        }
        let limits =
            RevocationLimits { revoked_max: config::REVOKED_MAX, token_seconds: args.tokens.token_seconds.into() };
        let activities = Arc::new(Activities::new(db.clone()));
        activities.load().await.map_err(StartError::Activities)?;
        let revocations = Revocations::new(db.clone(), limits);
        revocations.load(crate::now_seconds()).await.map_err(StartError::Revocations)?;
        let passwords = passwords(config::cores())?;
        let admission = parts::admission(&args.admission, &db).await.map_err(StartError::Admission)?;
        let ground = Ground {
            redis,
            pool,
            db,
            etcd,
            listener,
            ops_listener,
            tokens,
            claim_tokens,
            signed_form,
            activities,
            revocations,
            passwords,
            admission,
            warnings,
        };
        Ok(assembly::assemble(args, ground))
    }

    /// Where users are served.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where operators are.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops_listener.local_addr()
    }

    /// What the handlers share.
    pub fn shared(&self) -> web::Data<Shared> {
        self.shared.clone()
    }

    /// Serves until `stop`, then stops in order.
    ///
    /// # Errors
    /// [`RunError`]: the program ended by itself.
    pub async fn run_until_stopped(self, stop: CancellationToken) -> Result<(), RunError> {
        // Cancelled when everything that hands claims over has stopped; and when the claims are stored too.
        let (intake_over, all_over) = (CancellationToken::new(), CancellationToken::new());
        let abandon = self.persister.abandon().clone();
        let mut persister = tokio::spawn(self.persister.run(self.channel, intake_over.clone()));

        let mut tasks = JoinSet::new();
        let (link, over) = (Arc::clone(&self.link), all_over.clone());
        tasks.spawn(async move { link.keep(over).await });
        tasks.spawn(self.recovery.run(all_over.clone()));
        if let Some(mirroring) = self.mirroring {
            tasks.spawn(mirroring.run(all_over.clone()));
        }
        tasks.spawn(self.shared.publishing.clone().repair(all_over.clone()));
        let refusals = Arc::clone(&self.shared.claiming.refusals);
        tasks.spawn(refusals.watch(self.shared.pool.clone(), all_over.clone()));
        // Its viewers leave before the requests are waited for.
        let events = Arc::clone(&self.shared.events);
        tasks.spawn(events.watch(self.shared.pool.clone(), stop.clone(), all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.claiming.activities).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.health).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.revocations).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.admission.settings).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.admission.blacklist).watch(all_over.clone()));

        let ops = serve_ops(self.ops_listener, self.shared.clone(), all_over.clone()).map_err(RunError::Serve)?;
        let ops = tokio::spawn(ops);
        let gate = Arc::clone(&self.shared.claiming.gate);
        let served = async {
            until_open(&gate, &stop).await;
            let address = self.listener.local_addr().map_err(RunError::Serve)?;
            log::info!("serving users on http://{address}");
            let (shared, over) = (self.shared.clone(), all_over.clone());
            let server = serve(self.listener, shared, self.redis, self.workers, stop.clone(), over);
            server.map_err(RunError::Serve)?.await.map_err(RunError::Serve)
        };
        let result = tokio::select! {
            result = served => result,
            Some(ended) = tasks.join_next() => Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
            // Without it nothing is stored; what is answered is in the outbox.
            ended = &mut persister => return Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
        };
        log::info!("stopping: storing what the ledger has");
        intake_over.cancel();
        drain(persister, &abandon, &self.shared).await.map_err(RunError::Task)?;

        gate.close(Reason::Stopping);
        let (instance, process) = &self.instance;
        if let Err(error) = instances::leave(&self.shared.db, instance, process).await {
            log::warn!("stopping: this instance's row stays behind: {error}");
        }
        all_over.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(RunError::Task)?;
        }
        let _ = ops.await;
        log::info!("stopped");
        result
    }
}

fn unexpected_end() -> RunError {
    RunError::Serve(io::Error::other("a background task ended by itself"))
}

/// Tries until it works or the deadline has passed; says once that it waits.
async fn wait_for<T, E: std::error::Error + 'static, F: Future<Output = Result<T, E>>>(
    what: &str,
    deadline: Instant,
    attempt: impl Fn() -> F,
) -> Result<T, E> {
    let mut said = false;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(error) if !said => {
                log::warn!("waiting for {what}: {}", crate::error_chain(&error));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
