//! The table `claims`, and the transaction that stores each claim exactly once.
//!
//! Statements are texts with integers only, so a batch costs one round trip without parameters. MySQL refuses a row for its
//! content only if somebody has changed the tables, for example by a foreign key or a trigger. `INSERT IGNORE` is never used, because it stores unreadable values as 0 and reports success.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bigint, Text, Unsigned, Varchar};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::ledgers::{Fence, FenceRefusal, Fenced};
use super::{DbConnection, claim_rows};
use crate::domain::{Claim, CouponId, EntryId, Epoch, Nth, Seq, UserId};

#[derive(Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Every claim is in `claims` or in `poisoned_claims`.
    Done(StoredBatch),
    /// The shard has left the claims' epoch and is not live yet, or the shard's row is behind that epoch. The
    /// transaction had no effect. Repeat the batch when the shard is live and the rebuild's stored rows are known.
    Late,
    /// MySQL lacks the row of this process in `ledgers`, or commits of this process. The transaction had no effect. Repeat
    /// the batch when recovery has compared MySQL with Redis, or when an operator has repaired MySQL.
    Unfenced(FenceRefusal),
    /// MySQL refuses a claim of the batch because of its data, for this reason. The transaction had no effect. Halve the
    /// batch until the claim is alone, and poison it.
    Refused(String),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct StoredBatch {
    /// Rows added by this batch.
    pub inserted: usize,
    /// Claims that already had a row.
    pub known: usize,
    /// Claims that contradict a row, because Redis went back in time.
    pub poisoned: Vec<Claim>,
}

/// The parts of a batch that are not stored yet. A part that MySQL refuses because of its data is halved, until the refused
/// claim is alone.
pub struct BatchParts<'a>(Vec<&'a [Claim]>);

impl<'a> BatchParts<'a> {
    /// The whole batch as a single part. No part for an empty batch.
    pub fn of(claims: &'a [Claim]) -> Self {
        Self(if claims.is_empty() { Vec::new() } else { vec![claims] })
    }

    /// Takes the next part. Parts come in the order of their claims, and are never empty.
    pub fn take(&mut self) -> Option<&'a [Claim]> {
        self.0.pop()
    }

    /// Puts the halves of a part of at least two claims in its place.
    pub fn halve(&mut self, part: &'a [Claim]) {
        let (first, second) = part.split_at(part.len() / 2);
        self.0.extend([second, first]);
    }
}

/// Conditions of a failed statement that are searched for its error.
const CONDITIONS_MAX: usize = 8;
/// MySQL closes an idle connection of [`store`] after this time.
pub const IDLE_WAIT: Duration = Duration::from_secs(10);

/// Prepares a connection for [`store`]. A client frozen before `COMMIT` must not hold a hot row for hours.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn prepare(connection: &mut DbConnection) -> QueryResult<()> {
    connection.batch_execute(&format!("SET SESSION wait_timeout = {}", IDLE_WAIT.as_secs())).await
}

/// Stores claims, lowers `left_count` by the number of added rows, and commits. At least one claim is given, and all
/// were granted in `epoch`. Repeating a batch is harmless. After a lost reply to `COMMIT` the caller repeats the batch.
/// Waits while another batch of this process is stored.
///
/// # Errors
/// Returns the error of MySQL. The transaction may be open or committed. Close the connection and repeat the batch.
pub async fn store(
    connection: &mut DbConnection,
    fence: &Fence,
    epoch: Epoch,
    claims: &[Claim],
) -> QueryResult<StoreOutcome> {
    let mut numbers = fence.lock().await;
    let stored = match fence.begin(&mut numbers, connection, epoch).await? {
        Fenced::Passed { epoch: current, state } => {
            store_within(connection, Epoch(current), &state, epoch, claims).await
        }
        Fenced::Refused(refusal) => Ok(StoreOutcome::Unfenced(refusal)),
    };
    if let Err(error) = &stored
        && let Some(reason) = refusal_of_data(connection, error).await
    {
        connection.batch_execute("ROLLBACK").await?;
        return Ok(StoreOutcome::Refused(reason));
    }
    match &stored {
        Ok(StoreOutcome::Done(_)) => fence.commit(&mut numbers),
        Ok(_) => connection.batch_execute("ROLLBACK").await?,
        Err(_) => {}
    }
    stored
}

/// Stores claims of `epoch` and commits. `current` and `state` are of the shard's row, which is locked.
async fn store_within(
    connection: &mut DbConnection,
    current: Epoch,
    state: &str,
    epoch: Epoch,
    claims: &[Claim],
) -> QueryResult<StoreOutcome> {
    let late = current != epoch;
    if late && (state != "live" || current < epoch) {
        return Ok(StoreOutcome::Late);
    }

    let mut sorted = claims.to_vec();
    sorted.sort_unstable_by_key(|claim| (claim.coupon, claim.seq, claim.entry));
    // The update also locks the coupons in the order of their ids. Every coupon has a single writer at a time, and
    // batches cannot deadlock.
    let asked = counts(&sorted);
    change_left_counts(connection, '-', &asked).await?;

    crate::base::crash::point("before-insert");
    let mut outcome = StoredBatch::default();
    let added = if !late && insert(connection, &sorted).await? {
        sorted
    } else {
        let sorted = classify(connection, sorted, &mut outcome).await?;
        let (new, stale) = if late { (Vec::new(), sorted) } else { (sorted, Vec::new()) };
        outcome.poisoned.extend(stale);
        if !new.is_empty() && !insert(connection, &new).await? {
            // The coupons are locked, so no other transaction can have added a row meanwhile. Somebody has added a
            // unique key to the table.
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
    crate::base::crash::point("before-commit");
    connection.batch_execute("COMMIT").await?;
    crate::base::crash::point("after-commit");
    Ok(StoreOutcome::Done(outcome))
}

/// Stores an unreadable outbox entry or an unstorable claim in `poisoned_claims`.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn poison(connection: &mut DbConnection, entry: EntryId, claim: &str, reason: &str) -> QueryResult<()> {
    // Cut to the length of the columns. A row that does not fit would be refused forever.
    let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(255).collect::<String>();
    diesel::sql_query(
        "INSERT INTO poisoned_claims (entry, claim, reason) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE id = id",
    )
    .bind::<Varchar, _>(entry.to_string())
    .bind::<Varchar, _>(cut(claim))
    .bind::<Varchar, _>(cut(reason))
    .execute(connection)
    .await?;
    Ok(())
}

/// The reason if MySQL has refused the last statement because of its data, or `None` if a retry may succeed. The driver
/// hides the number of the error, so the connection is asked for it. A lost connection does not answer.
async fn refusal_of_data(connection: &mut DbConnection, error: &Error) -> Option<String> {
    #[derive(QueryableByName)]
    struct Condition {
        #[diesel(sql_type = Unsigned<Bigint>)]
        number: u64,
        #[diesel(sql_type = Text)]
        state: String,
        #[diesel(sql_type = Text)]
        message: String,
    }
    let message = match error {
        Error::RollbackTransaction => return Some("a unique key refuses the claim".to_owned()),
        Error::DatabaseError(_, information) => information.message(),
        _ => return None,
    };
    // Warnings may stand before the error, and the place in a trigger behind it. All conditions are read into variables
    // first, because any other statement forgets them. A number above the last condition is an error.
    let mut conditions = 0;
    while conditions < CONDITIONS_MAX {
        let n = conditions + 1;
        let read = format!(
            "GET DIAGNOSTICS CONDITION {n} @number{n} = MYSQL_ERRNO, @state{n} = RETURNED_SQLSTATE, \
             @message{n} = MESSAGE_TEXT"
        );
        if connection.batch_execute(&read).await.is_err() {
            break;
        }
        conditions = n;
    }
    for n in 1..=conditions {
        let query =
            format!("SELECT CAST(@number{n} AS UNSIGNED) AS number, @state{n} AS state, @message{n} AS message");
        let found: Condition = diesel::sql_query(query).get_result(connection).await.ok()?;
        if found.message == message {
            let is_of_data = is_of_data(found.number, &found.state);
            return is_of_data.then(|| format!("MySQL refuses it: error {}: {message}", found.number));
        }
    }
    None
}

/// Whether an error blames the values of a row. Errors of the server, of locks and of the connection do not.
fn is_of_data(number: u64, state: &str) -> bool {
    // Classes of SQLSTATE: data exception (such as out of range), integrity constraint, and signal of a trigger. Some
    // errors of values have a general state: truncated, incorrect value, no partition, and a check constraint of MySQL.
    ["22", "23", "45"].iter().any(|class| state.starts_with(class)) || matches!(number, 1265 | 1366 | 1526 | 3819)
}

/// Inserts the claims. Returns `false` if a row exists already. In this case no row was added. Parsing is a third of
/// MySQL's cost of a row. If every claim has the default `nth` of 1 and no activity, both columns are left out and a
/// tenth of the cost is saved.
async fn insert(connection: &mut DbConnection, claims: &[Claim]) -> QueryResult<bool> {
    let by_default = claims.iter().all(|claim| claim.nth == 1 && claim.activity.0 == 0);
    let further = if by_default { "" } else { ", nth, activity_id" };
    let mut sql = format!("INSERT INTO claims (coupon_id, seq, user_id, claimed_at{further}) VALUES ").into_bytes();
    sql.reserve(claims.len() * 64);
    let mut digits = itoa::Buffer::new();
    for claim in claims {
        let Claim { coupon, seq, user, nth, activity, .. } = *claim;
        let numbers = [coupon.0, seq.into(), user.0, claim.claimed_at_ms, nth.into(), activity.0.into()];
        let written = if by_default { &numbers[..4] } else { &numbers[..] };
        for (place, number) in written.iter().enumerate() {
            sql.push(if place == 0 { b'(' } else { b',' });
            sql.extend_from_slice(digits.format(*number).as_bytes());
        }
        sql.extend_from_slice(b"),");
    }
    sql.pop();
    let sql = String::from_utf8(sql).expect("the statement is built from ASCII");
    match connection.batch_execute(&sql).await {
        Ok(()) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error),
    }
}

type Unit = (CouponId, Seq);
type Hold = (UserId, CouponId, Nth);

/// Returns the new claims. Known and poisoned claims are added to `outcome`.
async fn classify(
    connection: &mut DbConnection,
    claims: Vec<Claim>,
    outcome: &mut StoredBatch,
) -> QueryResult<Vec<Claim>> {
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

fn counts(claims: &[Claim]) -> BTreeMap<CouponId, usize> {
    let mut counts = BTreeMap::new();
    for claim in claims {
        *counts.entry(claim.coupon).or_default() += 1;
    }
    counts
}

/// Adds the counts to the coupons' `left_count`, or subtracts the counts, in a single statement. A batch of many
/// coupons has few claims of each, so a statement per coupon would dominate the cost. `INTERVAL` is a binary search,
/// and `ELT` an array access.
async fn change_left_counts(
    connection: &mut DbConnection,
    sign: char,
    counts: &BTreeMap<CouponId, usize>,
) -> QueryResult<()> {
    let ids = claim_rows::list(counts.keys());
    let counts = claim_rows::list(counts.values());
    let change = format!("ELT(INTERVAL(id, {ids}), {counts})");
    let update = format!("UPDATE coupons SET left_count = left_count {sign} {change} WHERE id IN ({ids})");
    connection.batch_execute(&update).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_values_blame_the_data() {
        // Out of range, foreign key, check (MariaDB and MySQL), signal, incorrect value.
        for (number, state) in
            [(1264, "22003"), (1452, "23000"), (4025, "23000"), (3819, "HY000"), (1644, "45000"), (1366, "HY000")]
        {
            assert!(is_of_data(number, state), "{number}");
        }
        // Lock wait, deadlock, read-only, no default value, disk full, killed, server gone, shutdown, unknown command.
        for (number, state) in [
            (1205, "HY000"),
            (1213, "40001"),
            (1290, "HY000"),
            (1792, "25006"),
            (1364, "HY000"),
            (1021, "HY000"),
            (1317, "70100"),
            (2006, "HY000"),
            (1053, "08S01"),
            (1047, "08S01"),
        ] {
            assert!(!is_of_data(number, state), "{number}");
        }
    }
}
