//! Reading the table `claims`.

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::sql_types::{Bigint, Integer, Nullable, TinyInt, Unsigned, Varchar};
use diesel_async::RunQueryDsl;
use futures_util::{Stream, TryStreamExt};

use super::{Connection, Db, DbError};
use crate::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, Nth, Seq, UserId};

/// Which claims are read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    All,
    /// Of these coupons; at least one.
    Of(&'a [CouponId]),
    /// Of a coupon, with a higher seq.
    Above(CouponId, Seq),
}

#[derive(QueryableByName)]
struct Row {
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

/// Claims that one statement of [`meeting`] or [`of_units`] asks for: MariaDB weighs its keys for so many values only
/// (`optimizer_max_sel_args`, 16,000), and a claim has five.
const MEETING_MAX: usize = 1_000;

const COLUMNS: &str = "coupon_id, seq, user_id, nth, activity_id, claimed_at";

/// The stored claim. Its entry is gone from the outbox, and its epoch with it: the entry has the claim's time, and the epoch is 0.
impl From<Row> for Claim {
    fn from(row: Row) -> Self {
        Self {
            coupon: CouponId(row.coupon_id),
            user: UserId(row.user_id),
            entry: EntryId { ms: row.claimed_at, counter: 0 },
            seq: row.seq,
            activity: ActivityId(row.activity_id),
            epoch: Epoch(0),
            nth: row.nth,
        }
    }
}

/// Stored claims as a stream, by coupon and seq, which takes the connection for as long as it lasts.
///
/// # Errors
/// As MySQL's; reading changes nothing.
pub async fn stream<'a>(
    connection: &'a mut Connection,
    which: Which<'_>,
) -> QueryResult<impl Stream<Item = QueryResult<Claim>> + Unpin + use<'a>> {
    let matching = match which {
        Which::All => "TRUE".to_owned(),
        Which::Of(coupons) => format!("coupon_id IN ({})", list(coupons)),
        Which::Above(coupon, seq) => format!("coupon_id = {coupon} AND seq > {seq}"),
    };
    let sql = format!("SELECT {COLUMNS} FROM claims WHERE {matching} ORDER BY coupon_id, seq");
    let rows = diesel::sql_query(sql).load_stream::<Row>(connection).await?;
    Ok(rows.map_ok(Claim::from))
}

/// The users of a coupon's stored claims, in no order, one more than `count` at most.
///
/// # Errors
/// As MySQL's; reading changes nothing.
pub async fn holders<'a>(
    connection: &'a mut Connection,
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

/// Stored claims that have the unit of one of `claims`, or its user's hold; whether they are the same is not looked at. A row
/// may come twice.
///
/// # Errors
/// As MySQL's; reading changes nothing.
pub async fn meeting(connection: &mut Connection, claims: &[Claim]) -> QueryResult<Vec<Claim>> {
    let mut found = Vec::new();
    for claims in claims.chunks(MEETING_MAX) {
        let holds = claims.iter().map(|claim| format!("({},{},{})", claim.user, claim.coupon, claim.nth));
        let by_hold = format!("SELECT {COLUMNS} FROM claims WHERE (user_id, coupon_id, nth) IN ({})", list(holds));
        found.extend(read(connection, &format!("{} UNION {by_hold}", by_unit(claims))).await?);
    }
    Ok(found)
}

/// Stored claims that have the unit of one of `claims`.
///
/// # Errors
/// As MySQL's; reading changes nothing.
pub async fn of_units(connection: &mut Connection, claims: &[Claim]) -> QueryResult<Vec<Claim>> {
    let mut found = Vec::new();
    for claims in claims.chunks(MEETING_MAX) {
        found.extend(read(connection, &by_unit(claims)).await?);
    }
    Ok(found)
}

fn by_unit(claims: &[Claim]) -> String {
    let units = claims.iter().map(|claim| format!("({},{})", claim.coupon, claim.seq));
    format!("SELECT {COLUMNS} FROM claims WHERE (coupon_id, seq) IN ({})", list(units))
}

async fn read(connection: &mut Connection, sql: &str) -> QueryResult<impl Iterator<Item = Claim> + use<>> {
    Ok(diesel::sql_query(sql).load::<Row>(connection).await?.into_iter().map(Claim::from))
}

/// Items with commas between them, for `IN`.
pub(super) fn list(items: impl IntoIterator<Item: ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// Who holds a unit, for its saler. Times in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub username: String,
    pub seq: Seq,
    pub nth: Nth,
    pub claimed_at_ms: u64,
    pub activity: ActivityId,
    pub redeemed_at_ms: Option<u64>,
}

/// Up to `count` claims of a coupon by seq, from the one after `after`, and none above `up_to`.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
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
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT username, seq, nth, claimed_at, activity_id, redeemed_at FROM claims JOIN users ON users.id = user_id \
         WHERE coupon_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
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
    };
    Ok(rows.into_iter().map(holding).collect())
}
