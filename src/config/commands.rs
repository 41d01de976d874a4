//! The arguments of all commands but `serve`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{MysqlArgs, PasswordArgs, RedisArgs, TokenArgs};

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Create an admin. The password is read from the first line of standard input.
    Create {
        /// Name of the admin.
        name: String,
        #[command(flatten)]
        passwords: PasswordArgs,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Set the password of a user of any kind. The password is read from the first line of standard input. Earlier
    /// tokens of the user stop working.
    Password {
        /// Name of the user.
        name: String,
        #[command(flatten)]
        passwords: PasswordArgs,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// End the second factor of a user who has lost the telephone and the recovery codes. The next login needs the password
    /// alone. Earlier tokens of the user stop working.
    EndFactor {
        /// Name of the user.
        name: String,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum PoisonedCommand {
    /// List the poisoned claims that nobody has acknowledged, oldest first.
    List {
        /// List acknowledged claims, too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Acknowledge poisoned claims after their customers were dealt with.
    Acknowledge {
        /// Ids of the list, or `all`.
        #[arg(required = true, value_name = "ID|all")]
        claims: Vec<String>,
        /// Name of the operator, up to 64 characters.
        #[arg(long, value_name = "NAME")]
        by: String,
        #[command(flatten)]
        mysql: MysqlArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum UnreadCommand {
    /// List the entries, oldest first.
    List {
        #[command(flatten)]
        redis: RedisArgs,
    },
    /// Drop entries. Claims in them are lost unless they were stored in another way.
    Drop {
        /// Ids of the list, or `all`.
        #[arg(required = true, value_name = "ID|all")]
        entries: Vec<String>,
        #[command(flatten)]
        redis: RedisArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum ShardsCommand {
    /// List the shards with their states and open coupons.
    List {
        #[command(flatten)]
        mysql: MysqlArgs,
    },
    /// Add shards. Instances may run meanwhile. Existing coupons stay where they are.
    Add {
        /// Number of shards to add, 1 to 63.
        #[arg(default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=63))]
        count: u8,
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
    /// Number of salers, 0 to 100000.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub salers: u32,
    /// Coupons of each saler, 0 to 1000000.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub coupons: u32,
    /// Units of each coupon, 1 to 10000000.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub amount: u32,
    /// Number of customers, 0 to 10000000.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub customers: u32,
    /// Directory for tokens.txt (one customer's token per line) and coupons.txt (saler/name per line).
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args, Clone)]
pub struct ImportArgs {
    #[command(flatten)]
    pub mysql: MysqlArgs,
    /// URL of the Go system's database, `mysql://user:password@host:port/database`. Only read, never written.
    #[arg(long, hide_env_values = true, env = "COUPONRUSH_IMPORT_URL", value_name = "URL")]
    pub from: String,
    /// File for the full report, one line for every refused row and every coupon with a wrong amount. Default: the
    /// first 20 of each are shown.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args, Clone)]
pub struct AdoptArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub mysql: MysqlArgs,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args, Clone)]
pub struct AuditArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub mysql: MysqlArgs,
    /// Write coupons and claims to MySQL that only Redis has. After a MySQL that went back in time, this opens the sale again.
    #[arg(long)]
    pub repair: bool,
    /// With --repair: open the sale even if MySQL refuses some of them, which are then lost.
    #[arg(long, requires = "repair")]
    pub accept_losses: bool,
}

#[derive(Debug, Args, Clone)]
pub struct SizeArgs {
    /// Attempts to claim at the peak, over all instances, 1 to 1000000.
    #[arg(long, value_name = "N")]
    pub attempts_per_second: u64,
    /// Units for sale, 1 to 1000000000.
    #[arg(long, value_name = "N")]
    pub claims: u64,
    /// Customers who log in and wait for the start, 1 to 1000000000.
    #[arg(long, value_name = "N")]
    pub users: u64,
    /// Coupons that are sold at the same time and asked for equally often, 1 to 100000.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub coupons: u64,
    /// A cost.json that `scripts/cost` has written on your machine. Default: the costs in docs/benchmarks.
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,
}
