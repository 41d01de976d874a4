//! Bulk inserts for load tests.

use std::fmt::Write;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Unsigned};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::schema::{coupons, users};
use super::{Db, DbError, new_ids};
use crate::domain::{CouponId, Kind, ShardId, User, UserId, UserName};

/// A new user. The name must need no quoting in SQL. Seeded names are letters, digits and hyphens.
#[derive(Debug, Clone)]
pub struct SeedUser {
    pub name: UserName,
    pub kind: Kind,
}

/// Adds users with the same password hash in a single statement.
///
/// # Errors
/// Returns a [`DbError`]. Either the whole batch is stored, or no row.
pub async fn insert_users(db: &Db, batch: &[SeedUser], hash: &str) -> Result<Vec<User>, DbError> {
    let mut connection = new_ids::connect(db).await?;
    let rows: Vec<_> = batch
        .iter()
        .map(|new| {
            (users::username.eq(new.name.as_str()), users::kind.eq(new.kind.as_str()), users::password_hash.eq(hash))
        })
        .collect();
    db.within("insert users", diesel::insert_into(users::table).values(rows).execute(&mut connection)).await?;
    let names = batch.iter().map(|new| new.name.as_str());
    let query = users::table.filter(users::username.eq_any(names)).select((users::username, users::id));
    let ids: Vec<(String, u64)> = db.within("read ids", query.load(&mut connection)).await?;
    let ids: std::collections::HashMap<String, u64> = ids.into_iter().collect();
    let user = |new: &SeedUser| {
        let id = ids.get(new.name.as_str()).copied();
        let missing = || DbError::Unreadable { operation: "read ids", what: new.name.to_string() };
        id.map(|id| User { id: UserId(id), name: new.name.clone(), kind: new.kind }).ok_or_else(missing)
    };
    batch.iter().map(user).collect()
}

/// Adds coupons of a saler to a shard in a single statement. Returns the id of the first coupon.
///
/// # Errors
/// Returns a [`DbError`]. Either the whole batch is stored, or no row.
pub async fn insert_coupons(
    db: &Db,
    shard: ShardId,
    saler: UserId,
    names: &[String],
    amount: u32,
) -> Result<CouponId, DbError> {
    let mut connection = new_ids::connect(db).await?;
    let left = i32::try_from(amount).unwrap_or(i32::MAX);
    let rows: Vec<_> = names
        .iter()
        .map(|name| {
            (
                coupons::saler_id.eq(saler.0),
                coupons::name.eq(name),
                coupons::amount.eq(amount),
                coupons::left_count.eq(left),
                coupons::face_value.eq(10),
                coupons::description.eq("seeded"),
                coupons::shard.eq(shard.name()),
            )
        })
        .collect();
    db.within("insert coupons", diesel::insert_into(coupons::table).values(rows).execute(&mut connection)).await?;
    let first = diesel::select(sql::<Unsigned<Bigint>>("LAST_INSERT_ID()"));
    db.within("read id", first.first(&mut connection)).await.map(CouponId)
}

/// Records that Redis has the first revision of the coupons.
///
/// # Errors
/// Returns a [`DbError`]. The repair publishes unnoted revisions again.
pub async fn set_published(db: &Db, ids: impl Iterator<Item = CouponId>) -> Result<(), DbError> {
    let mut list = String::from("0");
    for id in ids {
        let _ = write!(list, ",{id}");
    }
    let mut connection = db.connect().await?;
    let update = format!("UPDATE coupons SET published_revision = 1 WHERE published_revision = 0 AND id IN ({list})");
    db.within("note published", connection.batch_execute(&update)).await
}
