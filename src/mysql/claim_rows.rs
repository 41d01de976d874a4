//! Reads from the table `claims`.

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::sql_types::{Bigint, Integer, Nullable, TinyInt, Unsigned, Varchar};
use diesel_async::RunQueryDsl;
use futures_util::{Stream, TryStreamExt};

use super::{Db, DbConnection, DbError};
use crate::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, HeldClaim, Nth, Seq, ShardId, UserId};

/// The claims to read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Claims that Redis must have: those of coupons that are neither archived nor coming back.
    LoadedIn(ShardId),
    /// Claims of the given coupons, at least one.
    Of(&'a [CouponId]),
    /// Claims of a coupon with a higher seq.
    Above(CouponId, Seq),
}

#[derive(QueryableByName)]
struct ClaimRow {
    #[diesel(sql_type = Unsigned<Bigint>)]
    coupon_id: u64,
    #[diesel(sql_type = Unsigned<Integer>)]
    seq: u32,
    #[diesel(sql_type = Unsigned<Bigint>)]
    user_id: u64,
    #[diesel(sql_type = Unsigned<TinyInt>)]
    nth: u8,
    #[diesel(sql_type = Unsigned<Integer>)]
    activity_id: u32,
    #[diesel(sql_type = Unsigned<Bigint>)]
    claimed_at: u64,
}

/// Claims per statement of [`meeting`] and [`of_units`]. A claim has five values, and MariaDB uses its keys only for up
/// to 16,000 values (`optimizer_max_sel_args`).
const MEETING_MAX: usize = 1_000;

const COLUMNS: &str = "coupon_id, seq, user_id, nth, activity_id, claimed_at";

/// Converts a row. The outbox entry and the epoch are not stored. The entry gets the claim's time, and the epoch is 0.
impl From<ClaimRow> for Claim {
    fn from(row: ClaimRow) -> Self {
        Self {
            coupon: CouponId(row.coupon_id),
            user: UserId(row.user_id),
            entry: EntryId { ms: row.claimed_at, counter: 0 },
            seq: row.seq,
            activity: ActivityId(row.activity_id),
            epoch: Epoch(0),
            nth: row.nth,
            claimed_at_ms: row.claimed_at,
        }
    }
}

/// Streams stored claims by coupon and seq. The stream occupies the connection until its end.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn stream<'a>(
    connection: &'a mut DbConnection,
    which: Which<'_>,
) -> QueryResult<impl Stream<Item = QueryResult<Claim>> + Unpin + use<'a>> {
    let matching = match which {
        Which::LoadedIn(shard) => {
            format!("coupon_id IN (SELECT id FROM coupons WHERE unloaded = FALSE AND shard = '{shard}')")
        }
        Which::Of(coupons) => format!("coupon_id IN ({})", list(coupons)),
        Which::Above(coupon, seq) => format!("coupon_id = {coupon} AND seq > {seq}"),
    };
    let sql = format!("SELECT {COLUMNS} FROM claims WHERE {matching} ORDER BY coupon_id, seq");
    let rows = diesel::sql_query(sql).load_stream::<ClaimRow>(connection).await?;
    Ok(rows.map_ok(Claim::from))
}

/// Streams the users of a coupon's stored claims in no order, at most `count` + 1.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn holders<'a>(
    connection: &'a mut DbConnection,
    coupon: CouponId,
    count: usize,
) -> QueryResult<impl Stream<Item = QueryResult<UserId>> + Unpin + use<'a>> {
    #[derive(QueryableByName)]
    struct Holder {
        #[diesel(sql_type = Unsigned<Bigint>)]
        user_id: u64,
    }
    let sql = format!("SELECT user_id FROM claims WHERE coupon_id = {coupon} LIMIT {}", count + 1);
    let rows = diesel::sql_query(sql).load_stream::<Holder>(connection).await?;
    Ok(rows.map_ok(|row| UserId(row.user_id)))
}

/// Stored claims with the unit, or user, coupon and nth, of a given claim. The caller compares. A row may come twice.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn meeting(connection: &mut DbConnection, claims: &[Claim]) -> QueryResult<Vec<Claim>> {
    let mut found = Vec::new();
    for claims in claims.chunks(MEETING_MAX) {
        let holds = claims.iter().map(|claim| format!("({},{},{})", claim.user, claim.coupon, claim.nth));
        let by_hold = format!("SELECT {COLUMNS} FROM claims WHERE (user_id, coupon_id, nth) IN ({})", list(holds));
        found.extend(read(connection, &format!("{} UNION {by_hold}", by_unit(claims))).await?);
    }
    Ok(found)
}

/// Stored claims with the unit of any given claim.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn of_units(connection: &mut DbConnection, claims: &[Claim]) -> QueryResult<Vec<Claim>> {
    let mut found = Vec::new();
    for claims in claims.chunks(MEETING_MAX) {
        found.extend(read(connection, &by_unit(claims)).await?);
    }
    Ok(found)
}

/// The stored claim with the unit of `claim`, or `None` if the unit is not stored.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_unit(db: &Db, claim: Claim) -> Result<Option<Claim>, DbError> {
    let mut connection = db.connect().await?;
    let rows = db.within("read a claim", of_units(&mut connection, &[claim])).await?;
    Ok(rows.into_iter().next())
}

/// The stored claims of a coupon by a user, in the order of nth.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_holder(db: &Db, user: UserId, coupon: CouponId) -> Result<Vec<Claim>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM claims WHERE user_id = {user} AND coupon_id = {coupon} ORDER BY nth");
    let mut connection = db.connect().await?;
    Ok(db.within("read claims", read(&mut connection, &sql)).await?.collect())
}

/// A user's stored claims of coupons that were ever archived, the newest first, at most `count`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_holder_in_archive(db: &Db, user: UserId, count: usize) -> Result<Vec<HeldClaim>, DbError> {
    held_where(db, user, "first_archived_at IS NOT NULL", count).await
}

/// The claims of a user in the coupons of a shard, the latest `count`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_holder_in_shard(
    db: &Db,
    shard: ShardId,
    user: UserId,
    count: usize,
) -> Result<Vec<HeldClaim>, DbError> {
    held_where(db, user, &format!("shard = '{shard}'"), count).await
}

async fn held_where(db: &Db, user: UserId, coupons: &str, count: usize) -> Result<Vec<HeldClaim>, DbError> {
    let sql = format!(
        "SELECT claims.{} FROM claims JOIN coupons ON coupons.id = coupon_id \
         WHERE user_id = {user} AND {coupons} ORDER BY claimed_at DESC LIMIT {count}",
        COLUMNS.replace(", ", ", claims.")
    );
    let mut connection = db.connect().await?;
    let rows = db.within("read claims of a user", read(&mut connection, &sql)).await?;
    let held = |Claim { coupon, nth, claimed_at_ms, entry, .. }| HeldClaim { coupon, nth, claimed_at_ms, entry };
    Ok(rows.map(held).collect())
}

/// Whether a coupon was ever archived.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn any_in_archive(db: &Db) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Archived {
        #[diesel(sql_type = Unsigned<Bigint>)]
        #[expect(dead_code, reason = "only the number of rows counts")]
        id: u64,
    }
    let query = diesel::sql_query("SELECT id FROM coupons WHERE first_archived_at IS NOT NULL LIMIT 1");
    let mut connection = db.connect().await?;
    let rows: Vec<Archived> = db.within("look for archived coupons", query.load(&mut connection)).await?;
    Ok(!rows.is_empty())
}

fn by_unit(claims: &[Claim]) -> String {
    let units = claims.iter().map(|claim| format!("({},{})", claim.coupon, claim.seq));
    format!("SELECT {COLUMNS} FROM claims WHERE (coupon_id, seq) IN ({})", list(units))
}

async fn read(connection: &mut DbConnection, sql: &str) -> QueryResult<impl Iterator<Item = Claim> + use<>> {
    Ok(diesel::sql_query(sql).load::<ClaimRow>(connection).await?.into_iter().map(Claim::from))
}

/// Joins items with commas, for `IN`.
pub(super) fn list(items: impl IntoIterator<Item: ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// A holder of a unit, as shown to the saler. Times are in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub username: String,
    pub seq: Seq,
    pub nth: Nth,
    pub claimed_at_ms: u64,
    pub activity: ActivityId,
    pub redeemed_at_ms: Option<u64>,
    /// The name of the user who redeemed the claim.
    pub redeemed_by: Option<String>,
}

/// Up to `count` claims of a coupon by seq, after `after` and not above `up_to`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn holdings(
    db: &Db,
    coupon: CouponId,
    after: Seq,
    count: u64,
    up_to: Option<u64>,
) -> Result<Vec<Holding>, DbError> {
    #[derive(QueryableByName)]
    struct HoldingRow {
        #[diesel(sql_type = Varchar)]
        username: String,
        #[diesel(sql_type = Unsigned<Integer>)]
        seq: u32,
        #[diesel(sql_type = Unsigned<TinyInt>)]
        nth: u8,
        #[diesel(sql_type = Unsigned<Bigint>)]
        claimed_at: u64,
        #[diesel(sql_type = Unsigned<Integer>)]
        activity_id: u32,
        #[diesel(sql_type = Nullable<Unsigned<Bigint>>)]
        redeemed_at: Option<u64>,
        #[diesel(sql_type = Nullable<Varchar>)]
        redeemed_by: Option<String>,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT username, seq, nth, claimed_at, activity_id, redeemed_at, redeemed_by FROM claims \
         JOIN users ON users.id = user_id WHERE coupon_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
    )
    .bind::<Unsigned<Bigint>, _>(coupon.0)
    .bind::<Unsigned<Integer>, _>(after)
    .bind::<Unsigned<Bigint>, _>(up_to.unwrap_or(u64::MAX))
    .bind::<Unsigned<Bigint>, _>(count);
    let rows: Vec<HoldingRow> = db.within("read claims", query.load(&mut connection)).await?;
    let holding = |row: HoldingRow| Holding {
        username: row.username,
        seq: row.seq,
        nth: row.nth,
        claimed_at_ms: row.claimed_at,
        activity: ActivityId(row.activity_id),
        redeemed_at_ms: row.redeemed_at,
        redeemed_by: row.redeemed_by,
    };
    Ok(rows.into_iter().map(holding).collect())
}
