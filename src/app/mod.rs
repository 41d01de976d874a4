//! Builds the program and runs it until it is stopped. The order of starting and stopping is defined here.
//!
//! [`Application::build`] binds, connects and migrates. [`Application::run_until_stopped`] starts the background tasks
//! and the operators' listener. The users' listener follows when the gate has opened for the first time.
//!
//! A stop has the reverse order. The listeners finish their requests, the ledger stores its claims, and the remaining
//! tasks end. Requests and ledger have a deadline each. Claims that the ledger could not store remain in the outbox.
//! Nothing in Redis is ever flushed.

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

use crate::admission::Admission;
use crate::auth::{ClaimTokens, HashError, Passwords, SecretsError, SignedForm, UserTokens};
use crate::claim::{ClosedReason, Handed, Persister};
use crate::config::{self, ServeArgs};
use crate::etcd::Etcd;
use crate::http::Shared;
use crate::memory::{Activities, RevocationLimits, Revocations};
use crate::mysql::migrate::{MigrateError, migrate};
use crate::mysql::{Db, DbError, instances};
use crate::ops::durability;
use crate::recovery::Recovery;
use crate::redis::{KvError, Link, LinkConfig, Pool};
use crate::sales::Mirroring;
use serving::{bind, serve, serve_ops, until_open};
use stopping::drain;

pub use parts::{open_db, open_etcd, passwords, redis_pool, signers};

/// The name of the only shard.
pub const SHARD: &str = "s0";

/// The reason for a failed start, as a sentence for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("COUPONRUSH_REDIS_URL must be redis://:password@host:port/db or redis+unix:///path ({0})")]
    RedisUrl(String),
    #[error("COUPONRUSH_MYSQL_URL must be mysql://user:password@host:port/database")]
    MysqlUrl,
    #[error("COUPONRUSH_ETCD_ENDPOINTS must be a list of http://host:port, separated by commas")]
    EtcdEndpoints,
    #[error("cannot listen on {1} ({0})")]
    Bind(&'static str, SocketAddr, #[source] io::Error),
    #[error("MySQL could not be reached at COUPONRUSH_MYSQL_URL")]
    Mysql(#[source] DbError),
    #[error("Redis could not be reached at COUPONRUSH_REDIS_URL")]
    Redis(#[source] KvError),
    #[error("the database could not be migrated to the version of this program")]
    Migrate(#[source] MigrateError),
    #[error("activities could not be read from MySQL")]
    Activities(#[source] DbError),
    #[error("revoked tokens could not be read from MySQL")]
    Revocations(#[source] DbError),
    #[error("limits, switches and blocks could not be read from MySQL")]
    Admission(#[source] DbError),
    #[error("passwords could not be hashed")]
    Passwords(#[source] HashError),
}

/// The reason for an end without a stop signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the HTTP server failed")]
    Serve(#[source] io::Error),
    #[error("a background task failed")]
    Task(#[source] JoinError),
}

/// The program, connected and bound, but not accepting connections yet.
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

/// The configuration and connections of a checked environment.
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
    /// Unsafe settings of Redis and MySQL, a sentence for each.
    warnings: Vec<String>,
}

impl Application {
    /// Validates the settings, binds both ports, waits for Redis and MySQL, and migrates the database.
    ///
    /// # Errors
    /// Returns a [`StartError`] for the first step that fails.
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
        revocations.load(crate::base::now_seconds()).await.map_err(StartError::Revocations)?;
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

    /// The bound address of the users' listener.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The bound address of the operators' listener.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops_listener.local_addr()
    }

    /// The state shared by all handlers.
    pub fn shared(&self) -> web::Data<Shared> {
        self.shared.clone()
    }

    /// Serves until `stop` is cancelled, then stops in order.
    ///
    /// # Errors
    /// Returns a [`RunError`] if the program ended without a stop signal.
    pub async fn run_until_stopped(self, stop: CancellationToken) -> Result<(), RunError> {
        // `intake_over` is cancelled when no more claims can reach the ledger. `all_over` is cancelled when the claims
        // are stored, too.
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
        // The viewers' streams end before the open requests are waited for.
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
            // Without the persister no claim is stored. Answered claims are safe in the outbox.
            ended = &mut persister => return Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
        };
        log::info!("stopping: storing the claims of the ledger");
        intake_over.cancel();
        drain(persister, &abandon, &self.shared).await.map_err(RunError::Task)?;

        gate.close(ClosedReason::Stopping);
        let (instance, process) = &self.instance;
        if let Err(error) = instances::leave(&self.shared.db, instance, process).await {
            log::warn!("stopping: the row of this instance could not be removed from MySQL: {error}");
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
    RunError::Serve(io::Error::other("a background task ended unexpectedly"))
}

/// Repeats `attempt` until it succeeds or the deadline has passed. The first failure is logged.
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
                log::warn!("waiting for {what}: {}", crate::base::error_chain(&error));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
