//! Writes back what a MySQL that went back in time has lost: coupons, by the copy in Redis, and the rows of `ledgers`.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Nullable, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::{coupons, users};
use super::{Db, DbError, Transaction};
use crate::domain::{Commits, PublishedCoupon, ShardId};

/// What [`coupon`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoredCoupon {
    /// MySQL has this revision or a later one.
    Known,
    /// The row was added or brought up to the copy. The service publishes it again.
    Restored,
    /// The row is missing, and so is its saler.
    NoSaler,
}

/// Adds or updates the row of a coupon of a shard whose revision in Redis is above that of MySQL. The row gets the next revision, so
/// that MySQL publishes it with the activities that MySQL has.
///
/// # Errors
/// Returns a [`DbError`]. The row may be restored. A unique key refuses a coupon whose name was given to another one.
pub async fn coupon(db: &Db, shard: ShardId, copy: &PublishedCoupon) -> Result<RestoredCoupon, DbError> {
    let mut tx = db.begin().await?;
    let restored = coupon_within(db, &mut tx, shard, copy).await;
    match restored {
        Ok(RestoredCoupon::Restored) => tx.commit().await?,
        _ => tx.roll_back().await,
    }
    restored
}

async fn coupon_within(
    db: &Db,
    tx: &mut Transaction<'_>,
    shard: ShardId,
    copy: &PublishedCoupon,
) -> Result<RestoredCoupon, DbError> {
    let connection = tx.connection();
    let revision = coupons::table.find(copy.id.0).select(coupons::revision).for_update();
    let revision: Option<u64> = db.within("lock coupon", async { revision.first(connection).await.optional() }).await?;
    if revision.is_some_and(|revision| revision >= copy.revision) {
        return Ok(RestoredCoupon::Known);
    }
    if revision.is_none() {
        let saler = users::table.filter(users::username.eq(&copy.saler)).select(users::id);
        let saler: Option<u64> = db.within("find saler", async { saler.first(connection).await.optional() }).await?;
        let Some(saler) = saler else { return Ok(RestoredCoupon::NoSaler) };
        let row = (coupons::id.eq(copy.id.0), coupons::saler_id.eq(saler), coupons::name.eq(&copy.name));
        let empty = (coupons::amount.eq(0), coupons::left_count.eq(0), coupons::face_value.eq(0));
        let insert = diesel::insert_into(coupons::table).values((
            row,
            empty,
            coupons::description.eq(""),
            coupons::shard.eq(shard.name()),
        ));
        db.within("restore coupon", insert.execute(connection)).await?;
    }
    // MySQL assigns from left to right. `left_count` depends on the old amount and is therefore assigned first. A withheld
    // coupon keeps `scheduled`, because Redis has every withheld coupon as a scheduled one.
    let update = diesel::sql_query(
        "UPDATE coupons SET left_count = left_count + CAST(? AS SIGNED) - CAST(amount AS SIGNED), amount = ?, \
         face_value = ?, description = ?, scheduled = IF(withheld, scheduled, ?), revision = ? + 1, changed_at = NOW(3), \
         archived = ?, unloaded = ?, first_archived_at = IF(unloaded, COALESCE(first_archived_at, NOW(3)), first_archived_at) \
         WHERE id = ?",
    )
    .bind::<Unsigned<Integer>, _>(copy.amount)
    .bind::<Unsigned<Integer>, _>(copy.amount)
    .bind::<Unsigned<Integer>, _>(copy.face_value)
    .bind::<Varchar, _>(&copy.description)
    .bind::<Bool, _>(copy.scheduled)
    .bind::<Unsigned<Bigint>, _>(copy.revision)
    .bind::<Bool, _>(copy.archived)
    .bind::<Bool, _>(copy.unloaded)
    .bind::<Unsigned<Bigint>, _>(copy.id.0);
    db.within("restore coupon", update.execute(connection)).await?;
    Ok(RestoredCoupon::Restored)
}

/// Brings the rows of `ledgers` up to the numbers of Redis, and marks the shard as loaded under the higher of both epochs.
/// This ends the alarm, so all claims must be written back before. `run_id` is the process whose loading Redis holds, or
/// `None` if Redis has to be loaded again.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn ledgers(db: &Db, shard: &str, redis: &Commits, run_id: Option<&str>) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    let raised = diesel::sql_query("UPDATE ledgers SET epoch = GREATEST(epoch, ?) WHERE shard = ?")
        .bind::<Unsigned<Integer>, _>(redis.epoch.0)
        .bind::<Varchar, _>(shard);
    db.within("restore ledgers", raised.execute(tx.connection())).await?;
    for (process, counter) in &redis.counters {
        let row = diesel::sql_query(
            "INSERT INTO ledgers (shard, process, epoch, counter) VALUES (?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE counter = GREATEST(counter, VALUES(counter))",
        )
        .bind::<Varchar, _>(shard)
        .bind::<Varchar, _>(process)
        .bind::<Unsigned<Integer>, _>(redis.epoch.0)
        .bind::<Unsigned<Bigint>, _>(*counter);
        db.within("restore ledgers", row.execute(tx.connection())).await?;
    }
    let live = diesel::sql_query(
        "UPDATE shards SET epoch = GREATEST(epoch, ?), run_id = COALESCE(?, run_id), state = 'live', \
         found_live = NULL WHERE shard = ?",
    )
    .bind::<Unsigned<Integer>, _>(redis.epoch.0)
    .bind::<Nullable<Varchar>, _>(run_id)
    .bind::<Varchar, _>(shard);
    db.within("restore shard", live.execute(tx.connection())).await?;
    tx.commit().await
}
