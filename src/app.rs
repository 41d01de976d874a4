//! Builds the program and runs it until it is stopped: the order of starting and stopping, in one place.
//!
//! Start: bind, connect, migrate ([`Application::build`]); then the background tasks, the operators' listener, and, once the
//! gate has opened for the first time, the users' ([`Application::run_until_stopped`]).
//!
//! Stop: the listeners finish their requests, then the ledger its claims, each with a deadline, then the other tasks end.
//! What the ledger leaves is in the outbox. Nothing in Redis is ever flushed.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::{self, BodyLimits, Shared};
use crate::auth::{
    ClaimTokens, HashError, PasswordLimits, Passwords, RevocationLimits, Revocations, Secrets, SecretsError, UserTokens,
};
use crate::claiming::Claiming;
use crate::config::{self, ServeArgs, TokenArgs};
use crate::db::migrate::{MigrateError, migrate};
use crate::db::{Db, DbError, Limits, instances};
use crate::directory::Directory;
use crate::domain::Claim;
use crate::gate::{Gate, Reason};
use crate::health::Health;
use crate::kv::{Connection, Keys, KvError, Link, LinkConfig};
use crate::ledger::{Ledger, Outbox, Persister, Settings};
use crate::publishing::Publishing;
use crate::recovery::{Progress, Recovery};
use crate::stock::Stock;

/// The only shard there is.
pub const SHARD: &str = "s0";

/// Why the program does not start, in a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("COUPONRUSH_REDIS_URL: {0}")]
    RedisUrl(String),
    #[error("COUPONRUSH_MYSQL_URL: it must be mysql://user:password@host:port/database")]
    MysqlUrl,
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    #[error("MySQL cannot be reached (COUPONRUSH_MYSQL_URL)")]
    Mysql(#[source] DbError),
    #[error("Redis cannot be reached (COUPONRUSH_REDIS_URL)")]
    Redis(#[source] KvError),
    #[error("the database cannot be brought to this version")]
    Migrate(#[source] MigrateError),
    #[error("revoked tokens cannot be read")]
    Revocations(#[source] DbError),
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
    persister: Persister,
    channel: Receiver<Claim>,
    instance: (String, String),
    listener: TcpListener,
    ops_listener: TcpListener,
    workers: usize,
}

/// The signers of users' tokens and of claim tokens.
///
/// # Errors
/// [`SecretsError`], a sentence that names the setting.
pub fn signers(args: &TokenArgs) -> Result<(UserTokens, ClaimTokens), SecretsError> {
    let secrets = Secrets::parse("COUPONRUSH_JWT_SECRET", &args.jwt_secret)?;
    let claim_secrets = match &args.claim_secret {
        Some(text) => Secrets::parse("COUPONRUSH_CLAIM_SECRET", text)?,
        None => secrets.for_claims(),
    };
    Ok((UserTokens::new(&secrets, args.token_seconds.into()), ClaimTokens::new(&claim_secrets)))
}

/// The pool for a command or the service.
///
/// # Errors
/// [`StartError::MysqlUrl`].
pub fn open_db(url: &str) -> Result<Db, StartError> {
    let named =
        url.strip_prefix("mysql://").and_then(|rest| rest.split_once('/')).is_some_and(|(_, name)| !name.is_empty());
    let limits = Limits {
        connections_max: config::DB_CONNECTIONS_MAX,
        connection_wait: config::DB_CONNECTION_WAIT,
        statement_wait: config::DB_STATEMENT_WAIT,
    };
    if named { Db::new(url, limits).map_err(|_| StartError::MysqlUrl) } else { Err(StartError::MysqlUrl) }
}

impl Application {
    /// Validates everything, binds, waits for Redis and MySQL, and migrates.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(args: &ServeArgs) -> Result<Self, StartError> {
        let (tokens, claim_tokens) = signers(&args.tokens)?;
        let redis = LinkConfig::new(&args.redis.redis_url).map_err(StartError::RedisUrl)?;
        let db = open_db(&args.mysql.mysql_url)?;
        let listener = bind(args.http_addr)?;
        let ops_listener = bind(args.ops_addr)?;

        let deadline = Instant::now() + Duration::from_secs(args.start_wait.into());
        wait_for("MySQL", deadline, || db.ping()).await.map_err(StartError::Mysql)?;
        wait_for("Redis", deadline, || Connection::open(&redis)).await.map_err(StartError::Redis)?;
        if !args.no_migrate {
            for name in migrate(&db).await.map_err(StartError::Migrate)? {
                log::info!("migrated: {name}");
            }
        }

        let keys = Keys::new(&args.redis.redis_prefix);
        let stock = Stock::new(keys.clone(), args.backlog_max);
        let gate = Arc::new(Gate::new(config::IN_FLIGHT_MAX));
        let link = Arc::new(Link::new(redis.clone()));
        let backlog_max = usize::try_from(args.backlog_max).expect("a u32 fits");
        let (ledger, channel) = Ledger::new(backlog_max);
        let process = format!("{:032x}", rand::random::<u128>());
        let instance = instance_name(&listener, args.http_addr);
        let outbox = Outbox::new(keys, process.clone(), config::KV_WAIT);
        let progress = Arc::new(Progress::default());

        let health =
            Health::new(db.clone(), Arc::clone(&link), Arc::clone(&gate), ledger.clone(), Arc::clone(&progress));
        let revocations = Revocations::new(
            db.clone(),
            RevocationLimits { revoked_max: config::REVOKED_MAX, token_seconds: args.tokens.token_seconds.into() },
        );
        revocations.load(api::now_seconds()).await.map_err(StartError::Revocations)?;
        let persister = Persister {
            db: db.clone(),
            link: Arc::clone(&link),
            outbox: outbox.clone(),
            state: Arc::clone(ledger.state()),
            settings: ledger_settings(instance.clone()),
            abandon: CancellationToken::new(),
            connection: None,
            late: Vec::new(),
        };
        let recovery = Recovery {
            db: db.clone(),
            link: Arc::clone(&link),
            redis: redis.clone(),
            stock: stock.clone(),
            outbox,
            gate: Arc::clone(&gate),
            ledger: ledger.clone(),
            shard: SHARD,
            instance: instance.clone(),
            process: process.clone(),
            progress,
        };
        let shared = Shared {
            claiming: Claiming { gate: Arc::clone(&gate), ledger, stock: stock.clone(), wait: config::CLAIM_WAIT },
            publishing: Publishing {
                db: db.clone(),
                stock: stock.clone(),
                gate: Arc::clone(&gate),
                shard: SHARD,
                wait: config::KV_WAIT,
            },
            directory: Directory::new(db.clone(), stock, gate, config::NAMES_MAX),
            db,
            passwords: passwords(config::cores())?,
            tokens,
            claim_tokens,
            revocations: Arc::new(revocations),
            health: Arc::new(health),
            body: BodyLimits { bytes_max: config::BODY_BYTES_MAX, wait: config::BODY_WAIT },
            kv_wait: config::KV_WAIT,
            saler_coupons_max: args.saler_coupons_max,
            exports: Arc::new(Semaphore::new(config::EXPORTS_MAX)),
        };
        let workers = args.workers.map_or_else(|| config::cores().get(), usize::from);
        let shared = web::Data::new(shared);
        let instance = (instance, process);
        Ok(Self { shared, link, redis, recovery, persister, channel, instance, listener, ops_listener, workers })
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
        let abandon = self.persister.abandon.clone();
        let mut persister = tokio::spawn(self.persister.run(self.channel, intake_over.clone()));

        let mut tasks = JoinSet::new();
        let (link, over) = (Arc::clone(&self.link), all_over.clone());
        tasks.spawn(async move { link.keep(over).await });
        tasks.spawn(self.recovery.run(all_over.clone()));
        tasks.spawn(self.shared.publishing.clone().repair(Arc::clone(&self.link), all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.health).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.revocations).watch(all_over.clone()));

        let ops = serve_ops(self.ops_listener, self.shared.clone(), all_over.clone()).map_err(RunError::Serve)?;
        let ops = tokio::spawn(ops);
        let gate = Arc::clone(&self.shared.claiming.gate);
        let served = async {
            until_open(&gate, &stop).await;
            let address = self.listener.local_addr().map_err(RunError::Serve)?;
            log::info!("serving users on http://{address}");
            let server = serve(self.listener, self.shared.clone(), self.redis, self.workers, stop.clone());
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
        drain(persister, &abandon, &self.shared, &self.link).await.map_err(RunError::Task)?;

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

async fn until_open(gate: &Gate, stop: &CancellationToken) {
    let mut said = Instant::now();
    while gate.live().is_err() && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if said.elapsed() > Duration::from_secs(5) {
            log::info!("not serving yet: Redis is being compared with MySQL");
            said = Instant::now();
        }
    }
}

/// Waits for the ledger: up to its deadline where the outbox holds what is left, otherwise as long as it takes.
async fn drain(
    persister: JoinHandle<usize>,
    abandon: &CancellationToken,
    shared: &Shared,
    link: &Link,
) -> Result<(), JoinError> {
    tokio::pin!(persister);
    loop {
        tokio::select! {
            left = &mut persister => {
                match left? {
                    0 => log::info!("stopping: the ledger has stored everything"),
                    left => log::warn!("stopping: {left} claims are left in the outbox; the next sweep or start stores them"),
                }
                return Ok(());
            }
            () = tokio::time::sleep(config::STOP_LEDGER_WAIT) => {
                if outbox_holds_them(shared, link).await {
                    abandon.cancel();
                } else {
                    log::warn!(
                        "stopping: Redis no longer holds the claims that are left; waiting for MySQL to take {} of them",
                        shared.claiming.ledger.unsettled()
                    );
                }
            }
        }
    }
}

/// Whether Redis is still the loading that the claims which are left were made in.
async fn outbox_holds_them(shared: &Shared, link: &Link) -> bool {
    let (Ok(live), Ok(connection)) = (shared.claiming.gate.live(), link.connection()) else { return false };
    let key = shared.claiming.stock.keys().live();
    let value = connection.call(redis::cmd("GET").arg(key), config::KV_WAIT).await;
    let value: Option<String> = value.ok().and_then(|value| redis::from_redis_value(value).ok()).flatten();
    value.as_deref() == Some(live.as_str())
}

fn serve(
    listener: TcpListener,
    shared: web::Data<Shared>,
    redis: LinkConfig,
    workers: usize,
    stop: CancellationToken,
) -> io::Result<actix_web::dev::Server> {
    let over = stop.clone();
    let server = HttpServer::new(move || {
        // Once in each worker thread: a connection to Redis that is driven there.
        let link = Arc::new(Link::new(redis.clone()));
        let (kept, over) = (Arc::clone(&link), over.clone());
        actix_web::rt::spawn(async move { kept.keep(over).await });
        let connecting = Arc::clone(&link);
        App::new()
            .app_data(shared.clone())
            .app_data(web::Data::from(link))
            // This worker accepts nobody before it can ask Redis.
            .data_factory(move || {
                let connecting = Arc::clone(&connecting);
                async move {
                    connecting.connected(config::KV_WAIT).await;
                    Ok::<_, std::convert::Infallible>(())
                }
            })
            .configure(api::routes)
            .wrap(from_fn(api::finish))
    });
    Ok(server
        .workers(workers)
        .max_connections(config::CONNECTIONS_MAX)
        .client_request_timeout(config::BODY_WAIT)
        .shutdown_timeout(config::STOP_REQUESTS_WAIT.as_secs())
        .shutdown_signal(stop.cancelled_owned())
        .listen(listener)?
        .run())
}

fn serve_ops(
    listener: TcpListener,
    shared: web::Data<Shared>,
    stop: CancellationToken,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).configure(api::ops_routes).wrap(from_fn(api::finish))
    });
    Ok(server
        .workers(1)
        .client_request_timeout(config::BODY_WAIT)
        .shutdown_timeout(1)
        .shutdown_signal(stop.cancelled_owned())
        .listen(listener)?
        .run())
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(config::CONNECTIONS_WAITING_MAX)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error| StartError::Bind(address, error))
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
                log::warn!("waiting for {what}: {error}");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// `instances` names a process by where it can be found: its host and its address there.
fn instance_name(listener: &TcpListener, asked: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = listener.local_addr().unwrap_or(asked);
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(200).collect();
    format!("{host}/{address}")
}

fn ledger_settings(instance: String) -> Settings {
    Settings {
        shard: SHARD,
        instance,
        batch_max: config::BATCH_CLAIMS_MAX,
        store_wait: config::STORE_WAIT,
        pauses: config::STORE_PAUSES,
        sweep_every: config::SWEEP_EVERY,
        sweep_age: config::SWEEP_AGE,
        sweep_batches_max: config::SWEEP_BATCHES_MAX,
    }
}

/// Hashes passwords, `parallel` at once.
///
/// # Errors
/// [`StartError::Passwords`].
pub fn passwords(parallel: NonZeroUsize) -> Result<Passwords, StartError> {
    let limits = PasswordLimits {
        queue_max: config::HASH_QUEUE_MAX,
        wait: config::HASH_WAIT,
        verified_max: config::VERIFIED_PASSWORDS_MAX,
        verified_age: config::VERIFIED_PASSWORD_AGE,
    };
    Passwords::new(limits, parallel).map_err(StartError::Passwords)
}
