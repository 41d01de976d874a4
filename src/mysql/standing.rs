//! Who may sell: approvals of salers in the table `users`, and their coupons, which follow.
//!
//! A saler may not sell while he awaits approval, or while an admin blocks him. Then `sales_withheld` is set, and `withheld` of each
//! of his coupons. A withheld coupon has a new revision, so the repair of lagging coupons publishes it.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::users;
use super::{Db, DbError, Transaction, UnsignedBigint};
use crate::domain::{Kind, UserId, UserName};

/// An account as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountStanding {
    pub id: UserId,
    pub name: String,
    pub kind: Kind,
    pub approval: Approval,
    /// Whether coupons of a saler are not sold.
    pub sales_withheld: bool,
    /// Seconds since 1970.
    pub registered_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// A saler whom no admin was asked about, or a user of another kind.
    None,
    Awaited,
    Given,
}

#[derive(QueryableByName)]
struct StandingRow {
    #[diesel(sql_type = UnsignedBigint)]
    id: u64,
    #[diesel(sql_type = Text)]
    username: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    approved: bool,
    #[diesel(sql_type = Bool)]
    awaits_approval: bool,
    #[diesel(sql_type = Bool)]
    sales_withheld: bool,
    #[diesel(sql_type = UnsignedBigint)]
    registered_at: u64,
}

const COLUMNS: &str = "SELECT id, username, kind, approved, awaits_approval, sales_withheld, \
    CAST(UNIX_TIMESTAMP(created_at) AS UNSIGNED) AS registered_at FROM users";

/// An admin's block of the user `users.id` that is in force. Binds the time in seconds since 1970.
const BLOCKED: &str = "EXISTS (SELECT 1 FROM blocks WHERE blocks.kind = 'user' \
    AND value = CAST(users.id AS CHAR(20) CHARACTER SET ascii) AND reason = 'admin' AND (ends_at IS NULL OR ends_at > ?))";

/// How far back [`unsettled`] looks for new blocks, in hours. Blocks that are older were settled, or come from a release that did
/// not withhold sales.
const RECENT_HOURS: u32 = 1;

/// The account with this name, as it was sent or else in normalization form C, or `None`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find(db: &Db, name: &UserName) -> Result<Option<AccountStanding>, DbError> {
    for name in std::iter::once(name.clone()).chain(name.normalized()) {
        let query = diesel::sql_query(format!("{COLUMNS} WHERE username = ?")).bind::<Text, _>(name.as_str());
        let mut connection = db.connect().await?;
        let rows: Vec<StandingRow> = db.within("find account", query.load(&mut connection)).await?;
        if let Some(row) = rows.into_iter().next() {
            return standing(row).map(Some);
        }
    }
    Ok(None)
}

/// Up to `count` salers who await approval, the oldest first, after the user `after`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn awaiting(db: &Db, after: UserId, count: u32) -> Result<Vec<AccountStanding>, DbError> {
    let mut connection = db.connect().await?;
    let text = format!("{COLUMNS} WHERE sales_withheld AND awaits_approval AND id > ? ORDER BY id LIMIT ?");
    let query = diesel::sql_query(text).bind::<UnsignedBigint, _>(after.0).bind::<UnsignedBigint, _>(u64::from(count));
    let rows: Vec<StandingRow> = db.within("list awaiting salers", query.load(&mut connection)).await?;
    rows.into_iter().map(standing).collect()
}

/// Approves a saler, or takes the approval back. The next [`settle`] withholds or releases the sales.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, writing again is safe.
pub async fn approve(db: &Db, user: UserId, approved: bool) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let saler = users::table.filter(users::id.eq(user.0)).filter(users::kind.eq(Kind::Saler.as_str()));
    let update = diesel::update(saler).set((users::approved.eq(approved), users::awaits_approval.eq(!approved)));
    db.within("approve saler", update.execute(&mut connection)).await.map(drop)
}

/// Withholds or releases the sales of a user, if they are not as they should be at `now` (seconds since 1970). Returns whether they
/// are withheld now, or `None` if nothing had to change.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, a repeated call is safe.
pub async fn settle(db: &Db, user: UserId, now: u64) -> Result<Option<bool>, DbError> {
    let mut tx = db.begin().await?;
    let result = settle_within(db, &mut tx, user, now).await;
    match result {
        Ok(Some(withheld)) => tx.commit().await.map(|()| Some(withheld)),
        Ok(None) => {
            tx.roll_back().await;
            Ok(None)
        }
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

async fn settle_within(db: &Db, tx: &mut Transaction<'_>, user: UserId, now: u64) -> Result<Option<bool>, DbError> {
    // The lock of the row excludes new coupons of the saler.
    let row =
        users::table.find(user.0).select((users::kind, users::awaits_approval, users::sales_withheld)).for_update();
    let row = db.within("lock saler", async { row.first(tx.connection()).await.optional() }).await;
    let row: Option<(String, bool, bool)> = row.map_err(DbError::before_commit)?;
    let Some((_, awaits, was_withheld)) = row.filter(|(kind, ..)| kind == Kind::Saler.as_str()) else {
        return Ok(None);
    };
    let is_blocked = diesel::sql_query(format!("SELECT id AS user_id FROM users WHERE id = ? AND {BLOCKED}"))
        .bind::<UnsignedBigint, _>(user.0)
        .bind::<UnsignedBigint, _>(now);
    let blocked: Vec<FoundSaler> =
        db.within("find block", is_blocked.load(tx.connection())).await.map_err(DbError::before_commit)?;
    let withheld = awaits || !blocked.is_empty();
    if withheld == was_withheld {
        return Ok(None);
    }
    let update = diesel::update(users::table.find(user.0)).set(users::sales_withheld.eq(withheld));
    db.within("withhold sales", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    // The repair takes rows that are older than a second. MySQL assigns from left to right. An archived coupon is not
    // published, so its revision stays.
    let coupons = diesel::sql_query(
        "UPDATE coupons SET withheld = ?, activity_revision = IF(archived OR activity_revision = 0, activity_revision, revision + 1), \
         changed_at = IF(archived, changed_at, NOW(3) - INTERVAL 2 SECOND), revision = IF(archived, revision, revision + 1) \
         WHERE saler_id = ?",
    )
    .bind::<Bool, _>(withheld)
    .bind::<UnsignedBigint, _>(user.0);
    db.within("withhold coupons", coupons.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    // Makes all instances read the activities again.
    let touch = diesel::sql_query(
        "UPDATE activities JOIN coupons ON coupons.id = activities.coupon_id SET activities.changed_at = NOW(3) \
         WHERE coupons.saler_id = ?",
    )
    .bind::<UnsignedBigint, _>(user.0);
    db.within("touch activities", touch.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(Some(withheld))
}

/// Up to `count` salers whose sales are withheld without need, and as many whose sales go on despite a recent block.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn unsettled(db: &Db, now: u64, count: u32) -> Result<Vec<UserId>, DbError> {
    let mut connection = db.connect().await?;
    let needless = format!(
        "SELECT id AS user_id FROM users WHERE sales_withheld AND NOT awaits_approval AND NOT {BLOCKED} LIMIT ?"
    );
    let needless =
        diesel::sql_query(needless).bind::<UnsignedBigint, _>(now).bind::<UnsignedBigint, _>(u64::from(count));
    let mut rows: Vec<FoundSaler> = db.within("find withheld sales", needless.load(&mut connection)).await?;
    let missing = diesel::sql_query(
        "SELECT users.id AS user_id FROM blocks JOIN users ON users.id = CAST(value AS UNSIGNED) \
         WHERE blocks.kind = 'user' AND reason = 'admin' AND changed_at >= UTC_TIMESTAMP(3) - INTERVAL ? HOUR \
         AND (ends_at IS NULL OR ends_at > ?) AND users.kind = 'saler' AND NOT sales_withheld LIMIT ?",
    )
    .bind::<Unsigned<diesel::sql_types::Integer>, _>(RECENT_HOURS)
    .bind::<UnsignedBigint, _>(now)
    .bind::<UnsignedBigint, _>(u64::from(count));
    rows.extend::<Vec<FoundSaler>>(db.within("find blocked salers", missing.load(&mut connection)).await?);
    Ok(rows.into_iter().map(|row| UserId(row.user_id)).collect())
}

#[derive(QueryableByName)]
struct FoundSaler {
    #[diesel(sql_type = UnsignedBigint)]
    user_id: u64,
}

fn standing(row: StandingRow) -> Result<AccountStanding, DbError> {
    let unreadable = || DbError::Unreadable { operation: "find account", what: format!("user {}: kind", row.id) };
    let kind = Kind::parse(&row.kind).ok_or_else(unreadable)?;
    let approval = match (row.approved, row.awaits_approval) {
        (_, true) => Approval::Awaited,
        (true, false) => Approval::Given,
        (false, false) => Approval::None,
    };
    Ok(AccountStanding {
        id: UserId(row.id),
        name: row.username,
        kind,
        approval,
        sales_withheld: row.sales_withheld,
        registered_at: row.registered_at,
    })
}
