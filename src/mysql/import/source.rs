//! Reads the tables of the Go system.
//!
//! The data is not trusted. The server converts every column from whatever type it has, and every column except the id
//! may be NULL. Rows are read in pages by id, which bounds memory and needs no open cursor. Nothing is written.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::SourceId;
use crate::mysql::{Db, DbError};

/// A row of `users`.
#[derive(Debug, Clone, QueryableByName)]
pub struct SourceUser {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub username: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub password: Option<String>,
}

/// A row of `coupons`. A saler's row is an offered coupon, a customer's row is a claim.
#[derive(Debug, Clone, QueryableByName)]
pub struct SourceCoupon {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub username: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub coupon_name: Option<String>,
    #[diesel(sql_type = Nullable<Double>)]
    pub amount: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub left_count: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub stock: Option<f64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
}

impl SourceUser {
    pub const fn id(&self) -> SourceId {
        SourceId(self.id)
    }
}

impl SourceCoupon {
    pub const fn id(&self) -> SourceId {
        SourceId(self.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTable {
    Users,
    Coupons,
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Returns the database's name as the server reports it, `host:port/database`, for any address of the connection.
///
/// # Errors
/// Returns a [`DbError`], as all functions here do.
pub async fn name(from: &Db) -> Result<String, DbError> {
    const NAME: &str = "SELECT CONVERT(CONCAT(@@hostname, ':', @@port, '/', DATABASE()) USING utf8mb4) AS name";
    let mut connection = from.connect().await?;
    let row: NameRow = from.within("read database name", diesel::sql_query(NAME).get_result(&mut connection)).await?;
    Ok(row.name)
}

/// Whether the database has the Go system's tables. Our tables have the same names and different columns.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn is_go_system(db: &Db) -> Result<bool, DbError> {
    const COLUMN: &str = "SELECT COUNT(*) AS number FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = 'coupons' AND column_name = 'coupon_name'";
    let mut connection = db.connect().await?;
    let row: NumberRow = db.within("find tables", diesel::sql_query(COLUMN).get_result(&mut connection)).await?;
    Ok(row.number > 0)
}

/// The number of rows in a table.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn count(from: &Db, table: SourceTable) -> Result<u64, DbError> {
    let query = match table {
        SourceTable::Users => "SELECT COUNT(*) AS number FROM users",
        SourceTable::Coupons => "SELECT COUNT(*) AS number FROM coupons",
    };
    let mut connection = from.connect().await?;
    let row: NumberRow = from.within("count rows", diesel::sql_query(query).get_result(&mut connection)).await?;
    Ok(u64::try_from(row.number).unwrap_or(0))
}

const USERS: &str = "SELECT CAST(id AS SIGNED) AS id, CONVERT(username USING utf8mb4) AS username, \
    CONVERT(kind USING utf8mb4) AS kind, CONVERT(password USING utf8mb4) AS password FROM users";

/// Up to `rows_max` users with an id above `after`, ordered by id.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn users_after(from: &Db, after: SourceId, rows_max: u32) -> Result<Vec<SourceUser>, DbError> {
    let query = diesel::sql_query(format!("{USERS} WHERE id > ? ORDER BY id LIMIT ?"))
        .bind::<BigInt, _>(after.0)
        .bind::<BigInt, _>(i64::from(rows_max));
    let mut connection = from.connect().await?;
    from.within("read users", query.load(&mut connection)).await
}

/// Up to `rows_max` coupons with an id above `after`, ordered by id. Numbers are read as `DOUBLE`, for any column type.
/// Numbers without an exact `DOUBLE` are far outside our bounds.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn coupons_after(from: &Db, after: SourceId, rows_max: u32) -> Result<Vec<SourceCoupon>, DbError> {
    const COUPONS: &str = "SELECT CAST(id AS SIGNED) AS id, CONVERT(username USING utf8mb4) AS username, \
        CONVERT(coupon_name USING utf8mb4) AS coupon_name, amount + 0e0 AS amount, `left` + 0e0 AS left_count, \
        stock + 0e0 AS stock, CONVERT(description USING utf8mb4) AS description \
        FROM coupons WHERE id > ? ORDER BY id LIMIT ?";
    let mut connection = from.connect().await?;
    let query = diesel::sql_query(COUPONS).bind::<BigInt, _>(after.0).bind::<BigInt, _>(i64::from(rows_max));
    from.within("read coupons", query.load(&mut connection)).await
}

/// The users with these ids. Deleted users are missing from the result.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn users(from: &Db, ids: &[SourceId]) -> Result<Vec<SourceUser>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let query = diesel::sql_query(format!("{USERS} WHERE id IN ({ids})"));
    let mut connection = from.connect().await?;
    from.within("read users", query.load(&mut connection)).await
}

/// The user named `username` by the server's own collation, which for example treats `ALICE` as `alice`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_user(from: &Db, username: &str) -> Result<Option<SourceUser>, DbError> {
    let query = diesel::sql_query(format!("{USERS} WHERE username = ? ORDER BY id LIMIT 1"))
        .bind::<Text, _>(username.to_owned());
    let mut connection = from.connect().await?;
    from.within("find user", async { query.get_result(&mut connection).await.optional() }).await
}
