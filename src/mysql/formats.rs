//! The format of a shard, and raising it.
//!
//! A constraint on `instances` refuses rows of releases that do not know the format. An instance opens its gate, and
//! rebuilds, only after its row was written. So a release without the format, also a frozen process of it that wakes up,
//! can neither read nor replace data of the format.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::{instances, shards};
use super::{Db, DbConnection, DbError};
use crate::domain::Format;

/// Sets the constraint. Its name is in the log of every process that it refuses.
const REFUSE_OTHERS: &str =
    "ALTER TABLE instances ADD CONSTRAINT this_release_does_not_know_format_2 CHECK (format >= 2)";
const CONSTRAINTS: &str = "(SELECT COUNT(*) FROM information_schema.table_constraints \
    WHERE constraint_schema = DATABASE() AND constraint_name = 'this_release_does_not_know_format_2')";
const REFUSING: &str = "refuse instances without the format";

/// The outcome of [`raise`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaiseOutcome {
    /// The next rebuild raises the format. Instances rebuild within a second.
    Asked,
    /// The shard has the format.
    Known,
    /// These instances do not know the format. Nothing has changed.
    Refused(Vec<String>),
}

/// The reason why a process must not work with a shard.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the format of the data could not be read from MySQL")]
    Db(#[source] DbError),
    #[error(
        "this release knows data up to format {known}, but `couponrush raise-format` has raised the database to format \
         {raised}: start a release that knows it"
    )]
    Unknown { raised: Format, known: Format },
}

/// Checks that a process that knows formats up to `known` may work with a shard.
///
/// # Errors
/// Returns a [`FormatError`].
pub async fn check_known(db: &Db, shard: &str, known: Format) -> Result<(), FormatError> {
    let row = super::shards::read(db, shard).await.map_err(FormatError::Db)?;
    let raised = row.format.max(row.wanted_format);
    if raised > known { Err(FormatError::Unknown { raised, known }) } else { Ok(()) }
}

/// Lets the next rebuild raise a shard to [`Format::NEWEST`], unless an instance is registered that does not know it.
///
/// # Errors
/// Returns a [`DbError`]. The constraint may be set. Repeating the call is safe, and completes it.
pub async fn raise(db: &Db, shard: &str) -> Result<RaiseOutcome, DbError> {
    if super::shards::read(db, shard).await?.format >= Format::NEWEST {
        return Ok(RaiseOutcome::Known);
    }
    let mut connection = db.connect().await?;
    let without = refuse_others(db, &mut connection).await?;
    if !without.is_empty() {
        return Ok(RaiseOutcome::Refused(without));
    }
    let want = diesel::update(shards::table.find(shard)).set(shards::wanted_format.eq(Format::NEWEST.0));
    db.within("raise format", want.execute(&mut connection)).await?;
    Ok(RaiseOutcome::Asked)
}

/// Gives the newest format to shards that were never loaded, while no instance without the format is registered.
pub(super) async fn start_at_newest(db: &Db) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let is_new = shards::epoch.eq(0).and(shards::wanted_format.lt(Format::NEWEST.0));
    let any_new = diesel::select(diesel::dsl::exists(shards::table.filter(is_new)));
    if !db.within("find new shards", any_new.get_result::<bool>(&mut connection)).await?
        || !refuse_others(db, &mut connection).await?.is_empty()
    {
        return Ok(());
    }
    let newest = (shards::format.eq(Format::NEWEST.0), shards::wanted_format.eq(Format::NEWEST.0));
    let update = diesel::update(shards::table.filter(is_new)).set(newest);
    db.within("set format", update.execute(&mut connection)).await?;
    Ok(())
}

/// Sets the constraint, unless an instance is registered that does not know the format. Returns the names of these
/// instances. The constraint comes before the check, because an instance that registers in between would not be seen.
async fn refuse_others(db: &Db, connection: &mut DbConnection) -> Result<Vec<String>, DbError> {
    let set = if is_refusing(db, connection).await? {
        Ok(())
    } else {
        // MySQL refuses the constraint while a row violates it.
        db.within(REFUSING, diesel::sql_query(REFUSE_OTHERS).execute(connection)).await.map(drop)
    };
    let label = diesel::dsl::sql::<Varchar>("IF(label = '', instance, label)");
    let without = instances::table.filter(instances::format.lt(Format::NEWEST.0)).select(label);
    let names: Vec<String> = db.within("read instances", without.load(connection)).await?;
    if names.is_empty() {
        set?;
        if !is_refusing(db, connection).await? {
            let what = "MySQL 8.0.16 or later is needed, earlier servers ignore CHECK".to_owned();
            return Err(DbError::Unreadable { operation: REFUSING, what });
        }
    }
    Ok(names)
}

async fn is_refusing(db: &Db, connection: &mut DbConnection) -> Result<bool, DbError> {
    let constraints = diesel::select(diesel::dsl::sql::<Bigint>(CONSTRAINTS));
    Ok(db.within("read constraints", constraints.get_result::<i64>(connection)).await? > 0)
}
