//! `couponrush seed`: creates salers, coupons and customers for load tests.
//!
//! Seeded users have no password. Their tokens are in a file that only its owner can read. A random tag in names separates
//! runs.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::owner::{self, OwnerError};
use crate::app::{StartError, open_db, redis_config, redis_pool, redis_pool_of, signers};
use crate::auth::UserTokens;
use crate::base::now_seconds;
use crate::config::{self, SeedArgs};
use crate::domain::{CouponId, Kind, ShardId, UserName};
use crate::mysql::coupons::{self, CouponPage, StoredCoupon};
use crate::mysql::migrate::migrate;
use crate::mysql::seed::{SeedUser, insert_coupons, insert_users};
use crate::mysql::{Db, DbError, shards};
use crate::redis::{Keys, KvError, LinkConfig, Live, Pool, Presence, Published, Stock};

/// Rows in a statement.
const BATCH: u32 = 5_000;
/// Coupons published in a batch.
const PUBLISHED: i64 = 500;
/// The stored form of no password. Nobody logs in with it.
const NO_PASSWORD: &str = "";

/// The mode of the written files.
const OWNER_ONLY: u32 = 0o600;

/// The reason for a failed run. Rows created before the failure stay.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the coupons could not be published to Redis")]
    Kv(#[from] KvError),
    #[error("Redis is being loaded, and the coupons can be claimed only afterwards")]
    Recovering,
    #[error("{0} could not be written")]
    Write(String, #[source] io::Error),
}

/// Creates the rows described by `args` and writes `tokens.txt` and `coupons.txt`.
///
/// # Errors
/// Returns a [`SeedError`].
pub async fn run(args: &SeedArgs) -> Result<(), SeedError> {
    let tokens = signers(&args.tokens).map_err(StartError::Secrets)?.sessions;
    let redis = redis_config(&args.redis)?;
    let db = open_db(&args.mysql)?;
    db.ping().await.map_err(StartError::Mysql)?;
    redis_pool(&redis).get().await.map_err(StartError::Redis)?;
    migrate(&db).await.map_err(StartError::Migrate)?;
    owner::check(&db, &redis, &args.redis.redis_prefix).await?;
    std::fs::create_dir_all(&args.out).map_err(|error| SeedError::Write(args.out.display().to_string(), error))?;

    let tag = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
    seed_coupons(args, &db, &redis, &tag).await?;
    seed_customers(args, &db, &tokens, &tag).await?;
    println!("Seeded users have no password. `couponrush admin password NAME` gives one to a user.");
    Ok(())
}

async fn seed_coupons(args: &SeedArgs, db: &Db, redis: &LinkConfig, tag: &str) -> Result<(), SeedError> {
    let mut file = create(&args.out, "coupons.txt")?;
    let failed = |error| SeedError::Write("coupons.txt".to_owned(), error);
    let progress = bar("coupons", u64::from(args.salers) * u64::from(args.coupons));
    let salers = users("saler", tag, 1..args.salers + 1, Kind::Saler);
    let shards = shards::all(db).await?;
    let mut last_before = None;
    for batch in salers.chunks(BATCH as usize) {
        for (number, saler) in insert_users(db, batch, NO_PASSWORD).await?.into_iter().enumerate() {
            let shard = shards[number % shards.len()];
            for first in (1..=args.coupons).step_by(BATCH as usize) {
                let last = args.coupons.min(first + BATCH - 1);
                let names: Vec<String> = (first..=last).map(|n| format!("coupon-{n}")).collect();
                let first_id = insert_coupons(db, shard, saler.id, &names, args.amount).await?;
                last_before.get_or_insert(CouponId(first_id.0 - 1));
                for name in &names {
                    writeln!(file, "{}/{name}", saler.name).map_err(failed)?;
                }
                progress.inc(names.len() as u64);
            }
        }
    }
    file.flush().map_err(failed)?;
    progress.finish();
    if let Some(after) = last_before {
        for shard in shards {
            publish(args, db, &redis_pool_of(redis, shard), shard, after).await?;
        }
    }
    Ok(())
}

/// Publishes the coupons of a shard after `after` if Redis is loaded. A Redis that was never loaded gets the coupons at the first
/// start of the service.
async fn publish(args: &SeedArgs, db: &Db, pool: &Pool, shard: ShardId, mut after: CouponId) -> Result<(), SeedError> {
    let row = shards::read(db, shard.name()).await?;
    if row.run_id.is_empty() {
        println!("Redis was never loaded. The coupons can be claimed when the service has started.");
        return Ok(());
    }
    // The first connection tells which process the pool leads to.
    pool.get().await?;
    let live = Live::new(&pool.run_id(), row.epoch);
    if !row.is_live || row.run_id != live.run_id {
        return Err(SeedError::Recovering);
    }
    let stock = Stock::new(Keys::new(&args.redis.redis_prefix, shard), 0);
    loop {
        let CouponPage { coupons: page, last } = coupons::page(db, Some(shard), after, PUBLISHED).await?;
        let Some(last) = last else { return Ok(()) };
        after = last;
        let wait = config::KV_WAIT * 5;
        let unpublished: Vec<&StoredCoupon> = page.iter().filter(|stored| stored.published_revision == 0).collect();
        if unpublished.is_empty() {
            continue;
        }
        let calls = pool.get().await?;
        let coupons = unpublished.into_iter().map(|stored| (&stored.coupon, stored.units()));
        let presence = Presence::MayBeNew;
        for published in stock.publish_all(&calls, live.as_str(), coupons, presence, wait, wait).await? {
            match published {
                Published::Done | Published::Older { .. } => {}
                Published::NotLoaded
                | Published::Missing
                | Published::Archived
                | Published::Unstored
                | Published::TooLate
                | Published::BelowClaimed => return Err(SeedError::Recovering),
            }
        }
        crate::mysql::seed::set_published(db, page.iter().map(|stored| stored.coupon.id)).await?;
    }
}

async fn seed_customers(args: &SeedArgs, db: &Db, tokens: &UserTokens, tag: &str) -> Result<(), SeedError> {
    let mut file = create(&args.out, "tokens.txt")?;
    let failed = |error| SeedError::Write("tokens.txt".to_owned(), error);
    let progress = bar("customers", args.customers.into());
    let now = now_seconds();
    for first in (1..=args.customers).step_by(BATCH as usize) {
        let last = args.customers.min(first + BATCH - 1);
        let batch = users("customer", tag, first..last + 1, Kind::Customer);
        for customer in insert_users(db, &batch, NO_PASSWORD).await? {
            writeln!(file, "{}", tokens.issue(&customer, 0, now)).map_err(failed)?;
        }
        progress.inc(batch.len() as u64);
    }
    file.flush().map_err(failed)?;
    progress.finish();
    Ok(())
}

fn users(what: &str, tag: &str, numbers: std::ops::Range<u32>, kind: Kind) -> Vec<SeedUser> {
    let name = |n| UserName::parse(format!("{what}-{tag}-{n}")).expect("letters, digits and hyphens make a valid name");
    numbers.map(|n| SeedUser { name: name(n), kind }).collect()
}

fn create(dir: &Path, name: &str) -> Result<BufWriter<File>, SeedError> {
    let path = dir.join(name);
    // Tokens are as good as passwords. An existing file may have been readable to all.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&path);
    let file = file.and_then(|file| file.set_permissions(Permissions::from_mode(OWNER_ONLY)).map(|()| file));
    file.map(BufWriter::new).map_err(|error| SeedError::Write(path.display().to_string(), error))
}

/// A progress bar on a terminal. Elsewhere only the last line is printed.
fn bar(what: &'static str, count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>10} {bar:30} {human_pos}/{human_len} {elapsed} ({per_sec})")
        .expect("the template is a constant");
    let bar = ProgressBar::new(count).with_style(style).with_prefix(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
