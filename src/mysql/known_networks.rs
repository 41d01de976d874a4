//! The table `known_networks`: networks from which users have logged in.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

use super::schema::{known_networks, users};
use super::{Db, DbError, UnsignedBigint};
use crate::domain::{Address, UserId, UserName};

/// Rows of a user. The latest ones stay.
pub const NETWORKS_OF_USER_MAX: u64 = 8;
/// A row is written at most once in this time, because a user may log in every minute.
const WRITTEN_EVERY_SECONDS: u64 = 86_400;

/// A login of a user from a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenNetwork {
    pub user: UserId,
    pub network: Address,
    /// In seconds since 1970.
    pub seen_at: u64,
}

/// The networks from which the user called `name` has logged in since `since`, in seconds since 1970. Nothing for an unknown
/// name. Rows that this program cannot have written are skipped.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_name(db: &Db, name: &UserName, since: u64) -> Result<Vec<Address>, DbError> {
    let mut connection = db.connect().await?;
    let query = known_networks::table
        .inner_join(users::table)
        .filter(users::username.eq(name.as_str()))
        .filter(known_networks::seen_at.ge(since))
        .select(known_networks::network);
    let rows: Vec<String> = db.within("read known networks", query.load(&mut connection)).await?;
    Ok(rows.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Stores logins, at least one. Of each of these users, only the latest [`NETWORKS_OF_USER_MAX`] rows stay, and none of a user who was
/// erased since.
///
/// # Errors
/// Returns a [`DbError`]. Storing again is safe.
pub async fn note(db: &Db, seen: &[SeenNetwork]) -> Result<(), DbError> {
    // MySQL does not write a row whose values stay.
    let places = vec!["(?, ?, ?)"; seen.len()].join(", ");
    let mut insert = diesel::sql_query(format!(
        "INSERT INTO known_networks (user_id, network, seen_at) VALUES {places} ON DUPLICATE KEY UPDATE \
         seen_at = IF(VALUES(seen_at) >= seen_at + {WRITTEN_EVERY_SECONDS}, VALUES(seen_at), seen_at)"
    ))
    .into_boxed();
    for SeenNetwork { user, network, seen_at } in seen {
        insert = insert
            .bind::<UnsignedBigint, _>(user.0)
            .bind::<Text, _>(network.to_string())
            .bind::<UnsignedBigint, _>(seen_at);
    }
    let ids: Vec<String> = seen.iter().map(|seen| seen.user.to_string()).collect();
    let ids = ids.join(", ");
    let prune = diesel::sql_query(format!(
        "DELETE known_networks FROM known_networks JOIN ( \
             SELECT user_id, network, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY seen_at DESC, network) AS place \
             FROM known_networks WHERE user_id IN ({ids}) \
         ) AS ordered USING (user_id, network) WHERE place > {NETWORKS_OF_USER_MAX}"
    ));
    let forget = diesel::sql_query(format!(
        "DELETE known_networks FROM known_networks JOIN users ON users.id = user_id \
         WHERE user_id IN ({ids}) AND erased_at IS NOT NULL"
    ));
    let mut connection = db.connect().await?;
    db.within("write known networks", insert.execute(&mut connection)).await?;
    db.within("drop known networks", prune.execute(&mut connection)).await?;
    db.within("forget known networks", forget.execute(&mut connection)).await?;
    Ok(())
}

/// Deletes up to `rows_max` rows that were seen before `before`, in seconds since 1970. Returns the number of deleted rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn delete_before(db: &Db, before: u64, rows_max: u32) -> Result<usize, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query("DELETE FROM known_networks WHERE seen_at < ? LIMIT ?")
        .bind::<UnsignedBigint, _>(before)
        .bind::<UnsignedBigint, _>(u64::from(rows_max));
    db.within("delete known networks", delete.execute(&mut connection)).await
}
