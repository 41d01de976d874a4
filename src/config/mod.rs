//! The settings of the program with units, defaults and ranges. `bounds.rs` has the fixed limits, and
//! `commands.rs` the arguments of all commands but `serve`, `stores.rs` the addresses of the stores, `admission.rs` the limits,
//! `quotas.rs` those of a merchant.
//!
//! Only `main`, `cli` and `app` read this module. They hand the values on. A flag overrides its environment variable.
//! `secret_files.rs` lets every secret come from a file.

mod admission;
mod bounds;
mod commands;
mod quotas;
mod secret_files;
mod stores;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::domain::{Durability, Format};

pub use admission::{AdminOn, AdmissionArgs, Merchants, Profile, TrustedProxies};
pub use bounds::*;
pub use commands::{
    AdminCommand, AdoptArgs, AuditArgs, ImportArgs, PoisonedCommand, SeedArgs, ShardsCommand, SizeArgs, UnreadCommand,
};
pub use quotas::QuotaArgs;
pub use stores::{CertificateFiles, EtcdArgs, MysqlArgs, RedisArgs};

/// The number of CPU cores, at least 1.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Password hashes of users that are computed at the same time: one core stays free for claims.
pub fn hash_threads() -> NonZeroUsize {
    NonZeroUsize::new(cores().get() - 1).unwrap_or(NonZeroUsize::MIN)
}

/// A flash-sale coupon server that survives crashes without losing or overselling a claim.
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
    /// Migrate the database to the version of this program.
    Migrate {
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Create an admin, or set the password of a user.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Create salers, coupons and customers for load tests. The coupons can be claimed when the command returns. The
    /// service may run meanwhile.
    Seed(SeedArgs),
    /// Import users and coupons from the MySQL database of the Go system. A repeated import continues, or changes
    /// nothing.
    ///
    /// Stop the Go system and every instance of the service first. No rows are imported while an instance runs. The
    /// service may start again as soon as all rows are imported. Password hashes are wrapped last, 15 ms of one core
    /// for each. A user cannot log in before the hash is wrapped.
    ///
    /// A row that cannot be imported is refused and listed with the reason. The import continues and exits with 0. The
    /// summary counts the refused rows. A user is identified by id and name in the Go system's database. The database
    /// is identified by the host name, port and database that its server reports.
    Import(ImportArgs),
    /// Check the invariants over Redis and MySQL, and print the violations. Exits with 0 only if every invariant holds.
    Audit(AuditArgs),
    /// List the claims that could not be stored, or acknowledge them. An acknowledged claim is no violation any more.
    #[command(subcommand)]
    Poisoned(PoisonedCommand),
    /// List the entries of the outbox that could not be read, or drop them.
    #[command(subcommand)]
    Unread(UnreadCommand),
    /// List the shards, or add some. A shard is a set of coupons with a Redis primary, an outbox and limits of its own.
    #[command(subcommand)]
    Shards(ShardsCommand),
    /// Raise the format of the data in Redis to the newest that this release knows, after every instance was upgraded.
    /// Afterwards the previous release does not start any more. The shard is loaded again, which takes seconds.
    RaiseFormat(MysqlArgs),
    /// Give the Redis prefix of another installation to the installation of this database. Forgets all data under the
    /// prefix, also claims that the MySQL of the other installation does not have yet.
    ///
    /// Every start refuses a Redis that was loaded from another database. Type this command if this database shall use
    /// that Redis from now on. Stop all instances of the other installation first. The command says what it will
    /// forget, and asks.
    Adopt(AdoptArgs),
    /// Give a copied database an installation id of its own. A copy has the id of the original, and must not use its
    /// Redis.
    ///
    /// Stop every instance that uses the copy first. Redis is not changed. The copy needs a Redis or a prefix of its own.
    NewInstallation {
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Print how many servers a sale needs, and which part breaks first. Needs no server.
    Size(SizeArgs),
    /// Print the OpenAPI document of the HTTP interface, as `GET /openapi.json` returns it.
    Openapi,
}

#[derive(Debug, Args, Clone)]
pub struct TokenArgs {
    /// Secret that signs session tokens, at least 32 bytes, used as given. Several secrets are separated by commas. The
    /// first signs and all verify, so a secret can be changed during a sale.
    #[arg(long, env = "COUPONRUSH_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: String,
    /// Secret that signs claim tokens, at least 32 bytes. Several secrets are separated by commas, as in
    /// COUPONRUSH_JWT_SECRET. Default: derived from COUPONRUSH_JWT_SECRET.
    #[arg(long, env = "COUPONRUSH_CLAIM_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub claim_secret: Option<String>,
    /// Secret with which a program of yours signs tickets, for sales with `ticket` -1. At least 32 bytes. Several secrets are
    /// separated by commas, and all verify. Default: off.
    #[arg(long, env = "COUPONRUSH_TICKET_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub ticket_secret: Option<String>,
    /// Lifetime of a session token in seconds, 60 to 31536000.
    #[arg(long, env = "COUPONRUSH_TOKEN_SECONDS", default_value_t = 86_400, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(60..=i64::from(TOKEN_SECONDS_MAX)))]
    pub token_seconds: u32,
}

#[derive(Debug, Args, Clone)]
pub struct PasswordArgs {
    /// The least number of characters of a new password, 1 to 64. New passwords of admins have at least 12. Existing
    /// passwords go on working.
    #[arg(long, env = "COUPONRUSH_PASSWORD_MIN", default_value_t = 6, value_name = "CHARACTERS",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub password_min: u8,
}

#[derive(Debug, Args, Clone)]
pub struct ServeArgs {
    /// Listen address for users. Port 0 picks a free port.
    #[arg(long, env = "COUPONRUSH_HTTP_ADDR", default_value = "127.0.0.1:20080", value_name = "ADDRESS:PORT")]
    pub http_addr: SocketAddr,
    /// PEM file with the certificate of this server and those of authorities in between. Users are then served by HTTPS
    /// only. Default: HTTP, for a proxy in front.
    #[arg(long, env = "COUPONRUSH_HTTP_CERT", value_name = "FILE")]
    pub http_cert: Option<PathBuf>,
    /// PEM file with the private key of COUPONRUSH_HTTP_CERT.
    #[arg(long, env = "COUPONRUSH_HTTP_KEY", value_name = "FILE")]
    pub http_key: Option<PathBuf>,
    /// Listen address for operators: /metrics, /healthz and /readyz.
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
    #[command(flatten)]
    pub passwords: PasswordArgs,
    /// Secret for the signed form of `/sec/kill`, by which customers claim without a token. At least 32 bytes. Several
    /// secrets are separated by commas. Weaker than tokens, because a signature key never expires and survives a
    /// logout. Default: off.
    #[arg(long, env = "COUPONRUSH_SIGN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub sign_secret: Option<String>,
    /// Claims that are not yet stored in MySQL, 1000 to 10000000. Bounds the ledger's channel and the outbox. Above the
    /// bound an attempt is answered 503 and nothing happens. About 50 bytes of memory each.
    #[arg(long, env = "COUPONRUSH_BACKLOG_MAX", default_value_t = 1_000_000, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub backlog_max: u32,
    /// Attempts that wait for Redis at the same time, 1 to 100000. A slow Redis lowers the limit automatically. Above
    /// the limit an attempt is answered 503 and nothing happens.
    #[arg(long, env = "COUPONRUSH_IN_FLIGHT_MAX", default_value_t = 20_000, value_name = "ATTEMPTS",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight_max: u32,
    /// When a claim is answered: `granted`, as soon as Redis has granted it, or `stored`, after MySQL has committed it. A
    /// request may ask for `stored` by the header `Claim-Wait: stored`.
    #[arg(long, env = "COUPONRUSH_ANSWER_WHEN", default_value = "granted", value_name = "granted|stored")]
    pub answer_when: Durability,
    /// Attempts that may wait for MySQL's commit at the same time, 1 to 100000. Above the limit an attempt that wants to
    /// wait is answered 503 and nothing happens. About 4 kB of memory each.
    #[arg(long, env = "COUPONRUSH_WAITING_MAX", default_value_t = 20_000, value_name = "ATTEMPTS",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub waiting_max: u32,
    /// Shards of a new database, 1 to 64. A shard is a set of coupons with a Redis primary, an outbox and limits of its own.
    /// The number of an existing database changes only by `couponrush shards add`.
    #[arg(long, env = "COUPONRUSH_SHARDS", default_value_t = 1, value_name = "SHARDS",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub shards: u8,
    #[command(flatten)]
    pub quotas: QuotaArgs,
    /// Days for which the audit trail is kept, 1 to 3650.
    #[arg(long, env = "COUPONRUSH_AUDIT_DAYS", default_value_t = 90, value_name = "DAYS",
          value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub audit_days: u32,
    /// Seconds after which a coupon that cannot be claimed any more leaves Redis, 60 to 315360000, or 0 for never. A coupon
    /// cannot be claimed when it is sold out, or when its activities are over or not in force. MySQL keeps it.
    #[arg(long, env = "COUPONRUSH_ARCHIVE_AFTER", default_value_t = 604_800, value_name = "SECONDS",
          value_parser = archive_after)]
    pub archive_after: u32,
    /// Concurrent viewers of live units (`/sec/events`), 0 to 90000. Above the limit a new viewer is answered 503.
    /// About 10 kB of memory each.
    #[arg(long, env = "COUPONRUSH_VIEWERS_MAX", default_value_t = 10_000, value_name = "VIEWERS",
          value_parser = clap::value_parser!(u32).range(0..=90_000))]
    pub viewers_max: u32,
    /// Seconds to wait for Redis and MySQL at the start, 0 to 3600. Then the program exits with 1.
    #[arg(long, env = "COUPONRUSH_START_WAIT", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub start_wait: u32,
    /// Seconds from a stop signal to the closing of the port for users, 0 to 300. Meanwhile /readyz answers 503, so that
    /// a load balancer sends no more users, and the port still serves. A second signal ends the wait.
    #[arg(long, env = "COUPONRUSH_DRAIN_SECONDS", default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(0..=300))]
    pub drain_seconds: u32,
    /// Threads that serve requests, 1 to 256. Default: one per core.
    #[arg(long, env = "COUPONRUSH_WORKERS", value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    #[command(flatten)]
    pub admission: AdmissionArgs,
    /// Do not migrate the database at the start. The database must already have the version of this program.
    #[arg(long)]
    pub no_migrate: bool,
    /// Formats of the data in Redis that this process knows. With `previous`, it works like the release before, and
    /// refuses a database with a raised format. For rehearsing an upgrade.
    #[arg(long, value_enum, default_value_t = KnownFormat::Newest)]
    pub format: KnownFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KnownFormat {
    Newest,
    Previous,
}

impl ServeArgs {
    /// The highest format that the process knows.
    pub const fn known_format(&self) -> Format {
        match self.format {
            KnownFormat::Newest => Format::NEWEST,
            KnownFormat::Previous => Format::PREVIOUS,
        }
    }
}

fn archive_after(text: &str) -> Result<u32, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| *seconds == 0 || (60..=ARCHIVE_AFTER_MAX).contains(seconds));
    seconds.ok_or("must be 0, or 60 to 315360000")
}

/// The reason why there is no command to run.
#[derive(Debug)]
pub enum NoCommand {
    /// A setting is wrong or missing, as one sentence without its value.
    Setting(String),
    /// The command line is wrong, or asks for the help or the version.
    Usage(clap::Error),
}

/// Reads the command line, the environment and the files of secrets.
///
/// # Errors
/// Returns [`NoCommand`]. The help and the version need no valid setting.
pub fn parse() -> Result<(Cli, Vec<String>), NoCommand> {
    let (mut command, bad_file) = secret_files::read_files(Cli::command(), std::env::args_os().skip(1));
    let parsed = command.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, secret_files::shown_secrets(&command, &matches)))
    });
    match (parsed.map_err(|error| (bad_setting(&error), error)), bad_file) {
        (Err((None, error)), _) => Err(NoCommand::Usage(error)),
        (_, Some(sentence)) | (Err((Some(sentence), _)), None) => Err(NoCommand::Setting(sentence)),
        (Ok(parsed), None) => Ok(parsed),
    }
}

/// Describes a wrong or missing setting in one sentence, without its value. Returns `None` if the error is not about a
/// setting, for example for `--help`.
fn bad_setting(error: &clap::Error) -> Option<String> {
    let names = || match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(argument) => variable(argument),
        ContextValue::Strings(arguments) => {
            let names: Option<Vec<String>> = arguments.iter().map(|argument| variable(argument)).collect();
            names.map(|names| names.join(", "))
        }
        _ => None,
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument => Some(format!("{}: required but not set", names()?)),
        ErrorKind::ValueValidation => Some(format!("{}: {}", names()?, std::error::Error::source(error)?)),
        ErrorKind::InvalidUtf8 => {
            let settings = std::env::vars_os().filter(|(_, value)| value.to_str().is_none());
            let mut names = settings.filter_map(|(name, _)| name.into_string().ok());
            names.find(|name| name.starts_with("COUPONRUSH_")).map(|name| format!("{name}: not UTF-8"))
        }
        _ => None,
    }
}

/// Finds the environment variable of an argument by its clap name, such as `--jwt-secret <SECRET>`.
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
