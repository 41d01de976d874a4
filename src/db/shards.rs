//! The table `shards`: which Redis process holds which loading of a shard, and who rebuilds it.
//!
//! A rebuild goes through [`begin`], [`raise_epoch`], perhaps [`forget_found`], and [`finish`]. Each names the epoch and the
//! token as they must be, so that of two rebuilds at most one goes on: `Ok(false)` ends the other.

use diesel::mysql::Mysql;
use diesel::prelude::*;
use diesel::sql_types::Varchar;
use diesel_async::RunQueryDsl;

use super::schema::shards;
use super::{Db, DbError};
use crate::domain::Epoch;

const LIVE: &str = "live";

/// A shard's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub epoch: Epoch,
    /// The Redis process that was loaded last; empty: none ever.
    pub run_id: String,
    /// Nobody rebuilds it.
    pub is_live: bool,
    /// Of the rebuild under way, or of the last.
    pub token: String,
    /// What the rebuild under way raises `epoch` to.
    pub next_epoch: Epoch,
    /// What the key `live` held when the rebuild under way began; empty: nothing.
    pub found_live: Option<String>,
}

/// The epoch and the token that a rebuild's step relies on.
#[derive(Debug, Clone, Copy)]
pub struct Holding<'a> {
    pub epoch: Epoch,
    pub token: &'a str,
}

/// The shard's row.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn read(db: &Db, shard: &str) -> Result<Shard, DbError> {
    let mut connection = db.connect().await?;
    let query = shards::table.find(shard).select((
        shards::epoch,
        shards::run_id,
        shards::state,
        shards::token,
        shards::next_epoch,
        shards::found_live,
    ));
    let row: (u32, String, String, String, u32, Option<String>) =
        db.within("read shard", query.first(&mut connection)).await?;
    let (epoch, run_id, state, token, next_epoch, found_live) = row;
    let (epoch, next_epoch) = (Epoch(epoch), Epoch(next_epoch));
    Ok(Shard { epoch, run_id, is_live: state == LIVE, token, next_epoch, found_live })
}

/// Begins a rebuild under `token` that will raise the epoch to `next`, and notes what `live` held, unless a rebuild that
/// did not end has noted it already.
///
/// # Errors
/// [`DbError`]; it may have happened.
pub async fn begin(
    db: &Db,
    shard: &str,
    was: Holding<'_>,
    token: &str,
    next: Epoch,
    found_live: &str,
) -> Result<bool, DbError> {
    // MySQL assigns from left to right: what is read is written last.
    let set = "found_live = IF(state = 'recovering' AND found_live IS NOT NULL, found_live, ?), state = 'recovering', \
               token = ?, next_epoch = ?";
    update(db, shard, was, "begin rebuild", set, &[found_live, token, &next.to_string()]).await
}

/// Raises the epoch. It waits for the batches of the old one that are being stored; later ones are late.
///
/// # Errors
/// [`DbError`]; it may have happened.
pub async fn raise_epoch(db: &Db, shard: &str, was: Holding<'_>, next: Epoch) -> Result<bool, DbError> {
    update(db, shard, was, "raise epoch", "epoch = ?", &[&next.to_string()]).await
}

/// Forgets what `live` held, before the shard's keys are: a rebuild that starts again must not take an emptied Redis for
/// one that has everything.
///
/// # Errors
/// [`DbError`]; it may have happened.
pub async fn forget_found(db: &Db, shard: &str, was: Holding<'_>) -> Result<bool, DbError> {
    update(db, shard, was, "forget found", "found_live = ''", &[]).await
}

/// Declares the shard loaded into the Redis process `run_id`.
///
/// # Errors
/// [`DbError`]; it may have happened.
pub async fn finish(db: &Db, shard: &str, was: Holding<'_>, run_id: &str) -> Result<bool, DbError> {
    let set = "run_id = ?, state = 'live', found_live = NULL";
    update(db, shard, was, "finish rebuild", set, &[run_id]).await
}

/// Changes the row where it is as it `was`. Every step changes something in it, so that a row found is a row changed.
async fn update(
    db: &Db,
    shard: &str,
    was: Holding<'_>,
    operation: &'static str,
    set: &str,
    values: &[&str],
) -> Result<bool, DbError> {
    let epoch = was.epoch.to_string();
    let sql = format!("UPDATE shards SET {set} WHERE shard = ? AND epoch = ? AND token = ?");
    let mut statement = diesel::sql_query(sql).into_boxed::<Mysql>();
    for value in values.iter().chain(&[shard, &epoch, was.token]) {
        statement = statement.bind::<Varchar, _>(*value);
    }
    let mut connection = db.connect().await?;
    db.within(operation, statement.execute(&mut connection)).await.map(|rows| rows == 1)
}
