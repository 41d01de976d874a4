//! The table `claims`: the one transaction that stores them, exactly once.
//!
//! Every statement is made of integers only, so it is written out as text: one round trip, no parameters, and no row that
//! MySQL could refuse for its content. Never `INSERT IGNORE`, which stores what it cannot read as 0 and says ok.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Integer, Unsigned, Varchar};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::{Connection, claim_rows};
use crate::domain::{Claim, CouponId, EntryId, Epoch, Nth, Seq, UserId};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// Every claim is in `claims`, or in `poisoned_claims`.
    Done(Outcome),
    /// The shard has been rebuilt since these claims were made, or is being rebuilt: nothing has happened. What the
    /// rebuild stored is known once the shard is live again.
    Late,
}

/// How the claims of a stored batch ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that this batch added.
    pub inserted: usize,
    /// Claims that were rows already.
    pub known: usize,
    /// Claims that contradict a row: Redis went back in time.
    pub poisoned: Vec<Claim>,
}

/// How long MySQL keeps a connection of [`store`] that says nothing.
pub const IDLE_WAIT: Duration = Duration::from_secs(10);

/// Prepares a connection for [`store`]: a client frozen before `COMMIT` must not hold a hot row for hours.
///
/// # Errors
/// As MySQL's.
pub async fn prepare(connection: &mut Connection) -> QueryResult<()> {
    connection.batch_execute(&format!("SET SESSION wait_timeout = {}", IDLE_WAIT.as_secs())).await
}

/// Stores claims that were all made in `epoch`, at least one, lowers `left_count` by the rows added, and commits.
///
/// Repeating it is harmless; a lost answer to `COMMIT` is handled so.
///
/// # Errors
/// As MySQL's; the transaction may be open or committed: the connection must be closed and the batch repeated.
pub async fn store(connection: &mut Connection, shard: &str, epoch: Epoch, claims: &[Claim]) -> QueryResult<Stored> {
    connection.batch_execute("START TRANSACTION").await?;
    let row = shard_row(connection, shard).await?;
    let late = row.epoch != epoch.0;
    if late && (row.state != "live" || row.epoch < epoch.0) {
        connection.batch_execute("ROLLBACK").await?;
        return Ok(Stored::Late);
    }

    let mut sorted = claims.to_vec();
    sorted.sort_unstable_by_key(|claim| (claim.coupon, claim.seq, claim.entry));
    // Also locks the coupons in the order of their ids: one writer a coupon, and no two batches wait for each other.
    let asked = counts(&sorted);
    change_left_counts(connection, '-', &asked).await?;

    crate::crash::point("before-insert");
    let mut outcome = Outcome::default();
    let added = if !late && insert(connection, &sorted).await? {
        sorted
    } else {
        let sorted = classify(connection, sorted, &mut outcome).await?;
        let (new, stale) = if late { (Vec::new(), sorted) } else { (sorted, Vec::new()) };
        outcome.poisoned.extend(stale);
        if !new.is_empty() && !insert(connection, &new).await? {
            // Its coupons are locked, so nobody else can have added one of these rows meanwhile.
            return Err(Error::RollbackTransaction);
        }
        new
    };
    outcome.inserted = added.len();
    if added.len() < claims.len() {
        let mut refused = asked;
        for (coupon, count) in counts(&added) {
            refused.entry(coupon).and_modify(|asked| *asked -= count);
        }
        change_left_counts(connection, '+', &refused).await?;
    }
    let reason = if late { "late: made before the shard was rebuilt" } else { "contradicts a stored claim" };
    for claim in &outcome.poisoned {
        poison(connection, claim.entry, &claim.to_text(), reason).await?;
    }
    crate::crash::point("before-commit");
    connection.batch_execute("COMMIT").await?;
    crate::crash::point("after-commit");
    Ok(Stored::Done(outcome))
}

/// Notes an outbox entry that is not a claim, or a claim that cannot be stored.
///
/// # Errors
/// As MySQL's.
pub async fn poison(connection: &mut Connection, entry: EntryId, claim: &str, reason: &str) -> QueryResult<()> {
    let claim: String = claim.chars().filter(|c| !c.is_control()).take(255).collect();
    diesel::sql_query(
        "INSERT INTO poisoned_claims (entry, claim, reason) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE id = id",
    )
    .bind::<Varchar, _>(entry.to_string())
    .bind::<Varchar, _>(claim)
    .bind::<Varchar, _>(reason)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct ShardRow {
    #[diesel(sql_type = Unsigned<Integer>)]
    epoch: u32,
    #[diesel(sql_type = Varchar)]
    state: String,
}

/// Reads the shard's row and holds it shared: a rebuild that raises the epoch waits for this transaction.
async fn shard_row(connection: &mut Connection, shard: &str) -> QueryResult<ShardRow> {
    diesel::sql_query("SELECT epoch, state FROM shards WHERE shard = ? LOCK IN SHARE MODE")
        .bind::<Varchar, _>(shard)
        .get_result(connection)
        .await
}

/// `false`: some row exists already, and none was added.
///
/// Parsing is a third of what a row costs MySQL. Where every claim is its user's first and of no activity, as the columns'
/// defaults say, neither is written: a tenth less.
async fn insert(connection: &mut Connection, claims: &[Claim]) -> QueryResult<bool> {
    let by_default = claims.iter().all(|claim| claim.nth == 1 && claim.activity.0 == 0);
    let further = if by_default { "" } else { ", nth, activity_id" };
    let mut sql = Vec::with_capacity(96 + claims.len() * 64);
    sql.extend_from_slice(
        format!("INSERT INTO claims (coupon_id, seq, user_id, claimed_at{further}) VALUES ").as_bytes(),
    );
    let mut digits = itoa::Buffer::new();
    for claim in claims {
        let Claim { coupon, seq, user, nth, activity, .. } = *claim;
        let numbers = [coupon.0, seq.into(), user.0, claim.claimed_at_ms(), nth.into(), activity.0.into()];
        let written = if by_default { &numbers[..4] } else { &numbers[..] };
        for (place, number) in written.iter().enumerate() {
            sql.push(if place == 0 { b'(' } else { b',' });
            sql.extend_from_slice(digits.format(*number).as_bytes());
        }
        sql.extend_from_slice(b"),");
    }
    sql.pop();
    let sql = String::from_utf8(sql).expect("it was put together from ASCII");
    match connection.batch_execute(&sql).await {
        Ok(()) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error),
    }
}

type Unit = (CouponId, Seq);
type Hold = (UserId, CouponId, Nth);

/// Gives back the claims that are new; the others are counted in `outcome`.
async fn classify(connection: &mut Connection, claims: Vec<Claim>, outcome: &mut Outcome) -> QueryResult<Vec<Claim>> {
    let rows = claim_rows::meeting(connection, &claims).await?;
    let mut by_unit: HashMap<Unit, Hold> = HashMap::new();
    let mut held: HashSet<Hold> = HashSet::new();
    for stored in rows {
        let hold = (stored.user, stored.coupon, stored.nth);
        by_unit.insert((stored.coupon, stored.seq), hold);
        held.insert(hold);
    }
    let mut new = Vec::new();
    for claim in claims {
        let hold = (claim.user, claim.coupon, claim.nth);
        match by_unit.get(&(claim.coupon, claim.seq)) {
            Some(stored) if *stored == hold => outcome.known += 1,
            None if !held.contains(&hold) => {
                by_unit.insert((claim.coupon, claim.seq), hold);
                held.insert(hold);
                new.push(claim);
            }
            _ => outcome.poisoned.push(claim),
        }
    }
    Ok(new)
}

/// How many claims there are of each coupon.
fn counts(claims: &[Claim]) -> BTreeMap<CouponId, usize> {
    let mut counts = BTreeMap::new();
    for claim in claims {
        *counts.entry(claim.coupon).or_default() += 1;
    }
    counts
}

/// Adds to each coupon's `left_count`, or takes from it, by one statement: a batch of many coupons has one or two claims of
/// each, and a statement a coupon would take longer than all else. `INTERVAL` is a binary search, `ELT` an array.
async fn change_left_counts(
    connection: &mut Connection,
    sign: char,
    counts: &BTreeMap<CouponId, usize>,
) -> QueryResult<()> {
    let ids = claim_rows::list(counts.keys());
    let counts = claim_rows::list(counts.values());
    let change = format!("ELT(INTERVAL(id, {ids}), {counts})");
    connection
        .batch_execute(&format!("UPDATE coupons SET left_count = left_count {sign} {change} WHERE id IN ({ids})"))
        .await
}
