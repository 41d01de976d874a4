//! Every setting of the program, with its unit, default and bounds, and every other bound by name.
//!
//! Read by `main` and `app` alone, which hand the values on. A flag wins over its environment variable.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::domain::Networks;

/// Claims of one ledger transaction at most: more than a thousand, because each of its coupons' rows is updated once.
pub const BATCH_CLAIMS_MAX: usize = 4_000;
/// How long the ledger waits for a fuller batch at most; otherwise as long as the last one took.
pub const BATCH_LINGER_MAX: Duration = Duration::from_millis(20);
/// Connections of users at once per worker, and such that wait to be accepted.
pub const CONNECTIONS_MAX: usize = 100_000;
pub const CONNECTIONS_WAITING_MAX: i32 = 4_096;
/// How long a connection may be idle: longer than a person thinks between two clicks.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a transaction of the ledger may take, and the pause before it is repeated: the first and the last.
pub const STORE_WAIT: Duration = Duration::from_secs(10);
pub const STORE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// The sweep of the outbox: how often, how old an entry must be, and how many batches in a row.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
pub const SWEEP_AGE: Duration = Duration::from_secs(2);
pub const SWEEP_BATCHES_MAX: usize = 20;
/// Exports of claims that run at once.
pub const EXPORTS_MAX: usize = 4;
/// Revoked tokens that are remembered.
pub const REVOKED_MAX: usize = 1_000_000;
/// How long a claim waits for Redis before its outcome is unknown.
pub const CLAIM_WAIT: Duration = Duration::from_millis(150);
/// How long any other call to Redis may take.
pub const KV_WAIT: Duration = Duration::from_secs(1);
/// Pooled connections to Redis, for all work but claims, lists and recovery.
pub const REDIS_CONNECTIONS_MAX: usize = 8;
/// How long a caller waits for a pooled connection, for a new one to be made, and for the proof that a used one works.
pub const REDIS_CONNECTION_WAIT: Duration = Duration::from_secs(1);
pub const REDIS_CREATE_WAIT: Duration = Duration::from_secs(1);
pub const REDIS_RECYCLE_WAIT: Duration = Duration::from_millis(250);
/// How long a worker waits for its connection to Redis before it accepts users without one.
pub const WORKER_CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Connections to MySQL for everything but the ledger.
pub const DB_CONNECTIONS_MAX: usize = 16;
/// How long a request waits for a connection to MySQL, and then for a statement.
pub const DB_CONNECTION_WAIT: Duration = Duration::from_secs(2);
pub const DB_STATEMENT_WAIT: Duration = Duration::from_secs(10);
/// Logins and registrations that wait for a password hash at once, and for how long.
pub const HASH_QUEUE_MAX: usize = 4_000;
pub const HASH_WAIT: Duration = Duration::from_secs(30);
/// Passwords that are recognised without a hash, and for how long after the last one was computed.
pub const VERIFIED_PASSWORDS_MAX: u64 = 100_000;
pub const VERIFIED_PASSWORD_AGE: Duration = Duration::from_secs(600);
/// How long a user's token may be configured to last.
pub const TOKEN_SECONDS_MAX: u32 = 31_536_000;
/// Revocations of tokens that have not expired yet; about 150 bytes of memory each.
pub const REVOKED_TOKENS_MAX: usize = 1_000_000;
/// Users who are remembered, by their names and by their ids.
pub const KNOWN_USERS_MAX: u64 = 200_000;
/// How long answers about what is on sale are shared, and of how many products.
pub const SALES_LIST_AGE: Duration = Duration::from_secs(1);
pub const SALES_PRODUCT_AGE: Duration = Duration::from_millis(200);
pub const SALES_PRODUCTS_MAX: u64 = 10_000;
/// Products whose live units are shown at once.
pub const EVENT_PRODUCTS_MAX: usize = 1_000;
/// Users, addresses, names and offences of the last minute that are counted at once, of each kind; about 50 bytes of memory each.
pub const RATE_KEYS_MAX: usize = 900_000;
/// Blocks of users and addresses that hold; about 60 bytes of memory each.
pub const BLOCKS_MAX: usize = 100_000;
/// Offenders that are blocked and that MySQL does not have yet.
pub const OFFENDERS_WAITING_MAX: usize = 1_000;
/// Lists that are answered from memory while lists are switched off, and for how long.
pub const LISTS_CACHED_BYTES_MAX: u64 = 32 * 1024 * 1024;
pub const LISTS_CACHED_AGE: Duration = Duration::from_secs(1);
/// A request's body.
pub const BODY_BYTES_MAX: usize = 4 * 1024;
pub const BODY_WAIT: Duration = Duration::from_secs(5);
/// Rows that an import reads, and stores in one transaction, at once.
pub const IMPORT_BATCH_ROWS: u32 = 1_000;
/// Password hashes that an import stores in one transaction: what is computed again after a kill.
pub const IMPORT_BATCH_HASHES: u32 = 200;
/// Refused rows and gaps that an import shows on the terminal; its report file has all.
pub const IMPORT_SHOWN_MAX: usize = 20;
/// How long an import waits for a connection, and for a statement.
pub const IMPORT_CONNECTION_WAIT: Duration = Duration::from_secs(10);
pub const IMPORT_STATEMENT_WAIT: Duration = Duration::from_secs(60);
/// How long connecting to etcd may take, and each call.
pub const ETCD_WAIT: Duration = Duration::from_secs(2);
/// Keys below etcd's prefix, and bytes of one value; with more keys than that etcd is not followed, a longer value is bad.
pub const ETCD_KEYS_MAX: usize = 16_384;
pub const ETCD_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Activities that are put into etcd: so many fewer that it can still be followed if some seconds' puts come on top.
pub const ETCD_ACTIVITIES_MAX: usize = 10_000;
/// How long a stop waits for requests, and then for the ledger.
pub const STOP_REQUESTS_WAIT: Duration = Duration::from_secs(10);
pub const STOP_LEDGER_WAIT: Duration = Duration::from_secs(20);

/// The machine's cores.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A flash-sale coupon server: nothing lost, nothing oversold, whatever dies.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve(Box<ServeArgs>),
    /// Bring the database to this version.
    Migrate {
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Make an admin, or give anybody a new password.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Make salers, coupons and customers for load tests, claimable when it returns, also while the service runs.
    Seed(SeedArgs),
    /// Take users and coupons over from the Go system's MySQL. Running it again continues, or changes nothing.
    ///
    /// Stop the Go system and every instance of the service first: rows are not taken over while one of them runs. The
    /// service may be started as soon as the rows are there; until his password's hash has been wrapped, which takes 15 ms
    /// of one core each and comes last, a user cannot log in.
    ///
    /// Rows that cannot be taken over are refused by name, with the reason, and the rest goes on: exit 0, and the
    /// summary says how many. A user is known again by his id and name in that database, and the database by what its
    /// server calls itself (host name, port, database).
    Import(ImportArgs),
    /// Check the invariants over Redis and MySQL and print what was found. Exit 0 only where they hold.
    Audit(AuditArgs),
    /// Print the OpenAPI document of the interface, as `GET /openapi.json` answers it.
    Openapi,
}

#[derive(Debug, Args, Clone)]
pub struct MysqlArgs {
    /// MySQL or MariaDB, as `mysql://user:password@host:port/database`.
    #[arg(long, env = "COUPONRUSH_MYSQL_URL", hide_env_values = true, value_name = "URL")]
    pub mysql_url: String,
}

#[derive(Debug, Args, Clone)]
pub struct RedisArgs {
    /// Redis, as `redis://:password@host:port/db` (password and db may be absent) or `redis+unix:///path`.
    #[arg(long, env = "COUPONRUSH_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: String,
    /// What every Redis key begins with.
    #[arg(long, env = "COUPONRUSH_REDIS_PREFIX", default_value = "cr:", value_name = "TEXT")]
    pub redis_prefix: String,
}

#[derive(Debug, Args, Clone)]
pub struct EtcdArgs {
    /// etcd, as `http://host:port`; several members, comma-separated. Empty: none, and activities come from MySQL alone.
    #[arg(long, env = "COUPONRUSH_ETCD_ENDPOINTS", default_value = "", value_name = "URLS")]
    pub etcd_endpoints: String,
    /// What every etcd key begins with; not empty.
    #[arg(long, env = "COUPONRUSH_ETCD_PREFIX", default_value = "/couponrush/", value_name = "TEXT",
          value_parser = not_empty)]
    pub etcd_prefix: String,
}

#[derive(Debug, Args, Clone)]
pub struct TokenArgs {
    /// Signs users' tokens: at least 32 bytes, taken as they stand. Several, comma-separated: the first signs, all
    /// verify, so that a secret can be changed during a sale.
    #[arg(long, env = "COUPONRUSH_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: String,
    /// Signs claim tokens: at least 32 bytes, several as above. Default: derived from the JWT secrets.
    #[arg(long, env = "COUPONRUSH_CLAIM_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub claim_secret: Option<String>,
    /// How long a user's token lasts, in seconds, 60 to 31536000.
    #[arg(long, env = "COUPONRUSH_TOKEN_SECONDS", default_value_t = 86_400, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(60..=i64::from(TOKEN_SECONDS_MAX)))]
    pub token_seconds: u32,
}

#[derive(Debug, Args, Clone)]
pub struct ServeArgs {
    /// Where users are served; port 0 takes a free one.
    #[arg(long, env = "COUPONRUSH_HTTP_ADDR", default_value = "127.0.0.1:20080", value_name = "ADDRESS:PORT")]
    pub http_addr: SocketAddr,
    /// Where operators find /metrics, /healthz and /readyz.
    #[arg(long, env = "COUPONRUSH_OPS_ADDR", default_value = "127.0.0.1:20081", value_name = "ADDRESS:PORT")]
    pub ops_addr: SocketAddr,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub mysql: MysqlArgs,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    #[command(flatten)]
    pub tokens: TokenArgs,
    /// Lets customers buy by the signed form of `/sec/kill` instead of a token: at least 32 bytes, several as above. Weaker
    /// than a token: what it gives out never ends, and no logout takes it back. Default: off.
    #[arg(long, env = "COUPONRUSH_SIGN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub sign_secret: Option<String>,
    /// Claims that MySQL may not have yet, 1000 to 10000000: the length of the channel and of the outbox. Above it
    /// attempts are answered 503 and nothing happens. About 50 bytes of memory each.
    #[arg(long, env = "COUPONRUSH_BACKLOG_MAX", default_value_t = 1_000_000, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub backlog_max: u32,
    /// Attempts that may wait for Redis at once, 1 to 100000; where Redis is slow, fewer are let in. Above it attempts are
    /// answered 503 and nothing happens.
    #[arg(long, env = "COUPONRUSH_IN_FLIGHT_MAX", default_value_t = 20_000, value_name = "ATTEMPTS",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight_max: u32,
    /// Coupons one saler may have, 1 to 1000000.
    #[arg(long, env = "COUPONRUSH_SALER_COUPONS_MAX", default_value_t = 10_000, value_name = "COUPONS",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub saler_coupons_max: u32,
    /// Viewers of live units (`/sec/events`) at once, 0 to 90000. Above it new ones are answered 503. About 10 kB of memory
    /// each.
    #[arg(long, env = "COUPONRUSH_VIEWERS_MAX", default_value_t = 10_000, value_name = "VIEWERS",
          value_parser = clap::value_parser!(u32).range(0..=90_000))]
    pub viewers_max: u32,
    /// How long Redis and MySQL are waited for at the start, in seconds, 0 to 3600; then the program exits with 1.
    #[arg(long, env = "COUPONRUSH_START_WAIT", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub start_wait: u32,
    /// Threads that serve requests, 1 to 256. Default: one per core.
    #[arg(long, env = "COUPONRUSH_WORKERS", value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    #[command(flatten)]
    pub admission: AdmissionArgs,
    /// Do not migrate the database at the start; it must be of this version.
    #[arg(long)]
    pub no_migrate: bool,
}

#[derive(Debug, Args, Clone)]
pub struct AdmissionArgs {
    /// Claims of a user in a second, 0 (no limit) to 1000000, until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_USER_PER_SECOND", default_value_t = 20, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub user_per_second: u32,
    /// Claims of a user in a minute, 0 (no limit) to 1000000, until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_USER_PER_MINUTE", default_value_t = 300, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub user_per_minute: u32,
    /// Claims from an address in a second, 0 (no limit) to 1000000, until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_IP_PER_SECOND", default_value_t = 0, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_per_second: u32,
    /// Claims from an address in a minute, 0 (no limit) to 1000000, until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_IP_PER_MINUTE", default_value_t = 0, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_per_minute: u32,
    /// Failed logins of a name in a minute, 0 (no limit) to 1000000; then even the right password is answered 429
    /// until the minute is over.
    #[arg(long, env = "COUPONRUSH_FAILED_LOGINS_PER_MINUTE", default_value_t = 10, value_name = "LOGINS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub failed_logins_per_minute: u32,
    /// Failed logins from an address in a minute, 0 (no limit) to 1000000; likewise.
    #[arg(long, env = "COUPONRUSH_IP_FAILED_LOGINS_PER_MINUTE", default_value_t = 100, value_name = "LOGINS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_failed_logins_per_minute: u32,
    /// Registrations from an address in a minute, 0 (no limit) to 1000000. Each costs 15 ms of a core.
    #[arg(long, env = "COUPONRUSH_REGISTRATIONS_PER_MINUTE", default_value_t = 6_000, value_name = "USERS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub registrations_per_minute: u32,
    /// Addresses and networks (10.0.0.0/8) of the proxies before the service, comma-separated. Only from these is
    /// X-Forwarded-For believed. Default: none.
    #[arg(
        long,
        env = "COUPONRUSH_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        value_name = "NETWORKS"
    )]
    pub trusted_proxies: Networks,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an admin; the password is the first line of standard input.
    Create {
        /// The admin's name.
        name: String,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Give a user of any kind a new password, the first line of standard input; earlier tokens stop working.
    Password {
        /// The user's name.
        name: String,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
}

#[derive(Debug, Args, Clone)]
pub struct SeedArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub mysql: MysqlArgs,
    #[command(flatten)]
    pub tokens: TokenArgs,
    /// Salers to make.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub salers: u32,
    /// Coupons of each saler.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub coupons: u32,
    /// Units of each coupon, 1 to 10000000.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub amount: u32,
    /// Customers to make.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub customers: u32,
    /// Where tokens.txt (a customer's token a line) and coupons.txt (saler/name a line) are written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args, Clone)]
pub struct ImportArgs {
    #[command(flatten)]
    pub mysql: MysqlArgs,
    /// The database to take over, as `mysql://user:password@host:port/database`. It is only read.
    #[arg(long, hide_env_values = true, env = "COUPONRUSH_IMPORT_URL", value_name = "URL")]
    pub from: String,
    /// Where every refused row and every coupon that did not add up is written, a line each. Default: only the first 20 of
    /// each are shown.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args, Clone)]
pub struct AuditArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub mysql: MysqlArgs,
    /// Write back to MySQL what only Redis has.
    #[arg(long)]
    pub repair: bool,
}

/// A text with at least one character.
fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it must not be empty") } else { Ok(text.to_owned()) }
}

/// What is wrong with which setting, in a sentence that never shows its value; `None` where it is not a setting that
/// is wrong, or none is (`--help`).
pub fn bad_setting(error: &clap::Error) -> Option<String> {
    let names = || match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(argument) => variable(argument),
        ContextValue::Strings(arguments) => {
            let names: Option<Vec<String>> = arguments.iter().map(|argument| variable(argument)).collect();
            names.map(|names| names.join(", "))
        }
        _ => None,
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument => Some(format!("{}: required, but not set", names()?)),
        ErrorKind::ValueValidation => Some(format!("{}: {}", names()?, std::error::Error::source(error)?)),
        ErrorKind::InvalidUtf8 => {
            let settings = std::env::vars_os().filter(|(_, value)| value.to_str().is_none());
            let mut names = settings.filter_map(|(name, _)| name.into_string().ok());
            names.find(|name| name.starts_with("COUPONRUSH_")).map(|name| format!("{name}: not UTF-8"))
        }
        _ => None,
    }
}

/// The environment variable of an argument that clap calls `shown`, such as `--jwt-secret <SECRET>`.
fn variable(shown: &str) -> Option<String> {
    fn find(command: &clap::Command, shown: &str) -> Option<String> {
        let argument = command.get_arguments().find(|argument| argument.to_string() == shown);
        let name = argument.and_then(clap::Arg::get_env).and_then(|name| name.to_str());
        name.map(str::to_owned).or_else(|| command.get_subcommands().find_map(|command| find(command, shown)))
    }
    let mut command = Cli::command();
    command.build();
    find(&command, shown)
}
