//! The table `poisoned_claims`: claims and outbox entries that could not be stored. `claims.rs` adds the rows.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Nullable, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::claim_rows::list;
use super::{Db, DbError};
use crate::domain::Epoch;

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct PoisonedClaim {
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub id: u64,
    /// The id of the outbox entry.
    #[diesel(sql_type = Text)]
    pub entry: String,
    /// `coupon:user:seq:nth:activity:epoch`, or the text of an entry that is not a claim.
    #[diesel(sql_type = Text)]
    pub claim: String,
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// A date and time, in the time zone of MySQL.
    #[diesel(sql_type = Text)]
    pub poisoned_at: String,
    /// The operator and the time in UTC, or `None` if nobody has acknowledged the claim.
    #[diesel(sql_type = Nullable<Text>)]
    pub acknowledged: Option<String>,
}

/// Which claims to acknowledge.
#[derive(Debug, Clone, Copy)]
pub enum Acknowledged<'a> {
    All,
    /// Claims with these ids.
    Ids(&'a [u64]),
}

/// Up to `count` poisoned claims after the id `after`, oldest first. Without `with_acknowledged`, only claims that nobody
/// has acknowledged.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn page(db: &Db, with_acknowledged: bool, after: u64, count: u32) -> Result<Vec<PoisonedClaim>, DbError> {
    let mut connection = db.connect().await?;
    let matching = if with_acknowledged { "" } else { "AND acknowledged_at IS NULL" };
    let query = diesel::sql_query(format!(
        "SELECT id, entry, claim, reason, CAST(poisoned_at AS CHAR) AS poisoned_at, \
         CONCAT(acknowledged_by, ', ', acknowledged_at) AS acknowledged \
         FROM poisoned_claims WHERE id > {after} {matching} ORDER BY id LIMIT {count}"
    ));
    db.within("list poisoned claims", query.load(&mut connection)).await
}

/// Marks claims as acknowledged by an operator. Returns the number of claims that nobody had acknowledged before.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn acknowledge(db: &Db, claims: Acknowledged<'_>, by: &str) -> Result<usize, DbError> {
    let matching = match claims {
        Acknowledged::All => "TRUE".to_owned(),
        Acknowledged::Ids([]) => return Ok(0),
        Acknowledged::Ids(ids) => format!("id IN ({})", list(ids)),
    };
    let mut connection = db.connect().await?;
    let update = diesel::sql_query(format!(
        "UPDATE poisoned_claims SET acknowledged_at = UTC_TIMESTAMP(3), acknowledged_by = ? \
         WHERE acknowledged_at IS NULL AND {matching}"
    ))
    .bind::<Text, _>(by);
    db.within("acknowledge poisoned claims", update.execute(&mut connection)).await
}

/// The number of claims that somebody has acknowledged, and the number of all others.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn counts(db: &Db) -> Result<(u64, u64), DbError> {
    #[derive(QueryableByName)]
    struct Counts {
        #[diesel(sql_type = Unsigned<Bigint>)]
        acknowledged: u64,
        #[diesel(sql_type = Unsigned<Bigint>)]
        open: u64,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT CAST(COUNT(acknowledged_at) AS UNSIGNED) AS acknowledged, \
         CAST(COUNT(*) - COUNT(acknowledged_at) AS UNSIGNED) AS open FROM poisoned_claims",
    );
    let Counts { acknowledged, open } = db.within("count poisoned claims", query.get_result(&mut connection)).await?;
    Ok((acknowledged, open))
}

/// Whether a claim of `epoch` was poisoned. Redis may then have a claim that MySQL lacks.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn has_claim_of(db: &Db, epoch: Epoch) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bigint)]
        found: i64,
    }
    let mut connection = db.connect().await?;
    // The epoch is the sixth part of a claim's text. A time may follow.
    let query = "SELECT EXISTS (SELECT 1 FROM poisoned_claims \
                 WHERE SUBSTRING_INDEX(SUBSTRING_INDEX(claim, ':', 6), ':', -1) = ?) AS found";
    let query = diesel::sql_query(query).bind::<Text, _>(epoch.to_string());
    let found: Found = db.within("find poisoned claims", query.get_result(&mut connection)).await?;
    Ok(found.found > 0)
}
