//! The table `users`.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::users;
use super::{Db, DbConnection, DbError, new_ids, revoked_tokens, saler_skeletons};
use crate::domain::{Kind, Mandate, Rights, Skeleton, User, UserId, UserName};

/// A user with the data needed for a login.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: User,
    /// Empty if the user cannot log in yet.
    pub password_hash: String,
    /// Tokens of a lower generation are refused.
    pub token_generation: u32,
    /// Of staff. `None` for other users, and for staff who have ended.
    pub mandate: Option<Mandate>,
}

type UserRow = (u64, String, String, String, u32, Option<u64>, u8);

/// The columns of a [`UserRow`].
#[diesel::dsl::auto_type(no_type_alias)]
fn columns() -> _ {
    (
        users::id,
        users::username,
        users::kind,
        users::password_hash,
        users::token_generation,
        users::acts_for,
        users::rights,
    )
}

/// Adds a user, who may have to wait for approval. Of a saler also the skeleton of the name, in one transaction.
///
/// # Errors
/// Returns [`DbError::Duplicate`] if the name or a saler's skeleton is taken.
pub async fn insert(
    db: &Db,
    name: &UserName,
    kind: Kind,
    password_hash: &str,
    awaits_approval: bool,
) -> Result<(), DbError> {
    let row = (
        users::username.eq(name.as_str()),
        users::kind.eq(kind.as_str()),
        users::password_hash.eq(password_hash),
        users::awaits_approval.eq(awaits_approval),
        users::sales_withheld.eq(awaits_approval),
    );
    let insert = diesel::insert_into(users::table).values(row);
    if kind != Kind::Saler {
        let mut connection = new_ids::connect(db).await?;
        return db.within("insert user", insert.execute(&mut connection)).await.map(drop);
    }
    let mut tx = new_ids::begin(db).await?;
    let inserted = db.within("insert user", insert.execute(tx.connection())).await.map_err(DbError::before_commit);
    let entered = match inserted {
        Ok(_) => saler_skeletons::insert(db, &mut tx, name, &Skeleton::of(name)).await,
        Err(error) => Err(error),
    };
    match entered {
        Ok(()) => tx.commit().await,
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

/// The account with this name, as it was sent or else in normalization form C. `None` for an erased user, too.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_by_name(db: &Db, name: &UserName) -> Result<Option<Account>, DbError> {
    let mut connection = db.connect().await?;
    for name in std::iter::once(name.clone()).chain(name.normalized()) {
        let query =
            users::table.filter(users::username.eq(name.as_str())).filter(users::erased_at.is_null()).select(columns());
        let row: Option<UserRow> =
            db.within("find user", async { query.first(&mut connection).await.optional() }).await?;
        if let Some(row) = row {
            return account(db, &mut connection, row).await.map(Some);
        }
    }
    Ok(None)
}

/// The account with this id. `None` for an erased user, too.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_by_id(db: &Db, id: UserId) -> Result<Option<Account>, DbError> {
    let mut connection = db.connect().await?;
    let query = users::table.find(id.0).filter(users::erased_at.is_null()).select(columns());
    let row: Option<UserRow> = db.within("find user", async { query.first(&mut connection).await.optional() }).await?;
    match row {
        Some(row) => account(db, &mut connection, row).await.map(Some),
        None => Ok(None),
    }
}

/// The last user who registered before `seconds` (since 1970), or 0 if there was none. Ids rise with the time of
/// registration, so a bisection over ids needs no index of times: 30 short reads for a billion users.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn last_before(db: &Db, seconds: u64) -> Result<UserId, DbError> {
    let mut connection = db.connect().await?;
    let last = users::table.select(diesel::dsl::max(users::id));
    let last: Option<u64> = db.within("find last user", last.first(&mut connection)).await?;
    // Users up to `before` registered in time, and those above `last` too late.
    let (mut before, mut last) = (0, last.unwrap_or(0));
    while before < last {
        let middle = before + (last - before).div_ceil(2);
        let is_before = sql::<Bool>("created_at < FROM_UNIXTIME(").bind::<Unsigned<Bigint>, _>(seconds).sql(")");
        let query = users::table.filter(users::id.gt(before)).filter(users::id.le(middle));
        let query = query.order(users::id.desc()).limit(1).select((users::id, is_before));
        let found: Option<(u64, bool)> =
            db.within("find last user", async { query.first(&mut connection).await.optional() }).await?;
        match found {
            Some((id, true)) => before = id.max(middle),
            Some((id, false)) => last = id - 1,
            // No user has such an id.
            None => before = middle,
        }
    }
    Ok(UserId(before))
}

/// The names of up to `rows_max` admins, the oldest first.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn names_of_admins(db: &Db, rows_max: u32) -> Result<Vec<String>, DbError> {
    let mut connection = db.connect().await?;
    let of_kind = users::table.filter(users::kind.eq(Kind::Admin.as_str()));
    let query = of_kind.order(users::id).limit(rows_max.into()).select(users::username);
    db.within("read names of admins", query.load(&mut connection)).await
}

/// Replaces the stored hash `from`. Returns `false` if another hash is stored. The password and tokens stay valid.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn replace_hash(db: &Db, id: UserId, from: &str, to: &str) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let row = users::table.filter(users::id.eq(id.0)).filter(users::password_hash.eq(from));
    let update = diesel::update(row).set(users::password_hash.eq(to));
    db.within("replace password hash", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Sets a password hash and revokes the user's tokens in one transaction. `from` is the hash that must be stored, or `None`
/// for any. Returns the generation of the user's future tokens, or `None` if the user does not exist or another hash is
/// stored. `expires_at` is the expiry of the last revoked token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn set_hash(
    db: &Db,
    id: UserId,
    from: Option<&str>,
    to: &str,
    expires_at: u64,
) -> Result<Option<u32>, DbError> {
    let mut transaction = db.begin().await?;
    // Locks the row first, so that of two changes from the same hash the second one finds another hash.
    let row = users::table.find(id.0).select(users::password_hash).for_update();
    let stored = async { row.first::<String>(transaction.connection()).await.optional() };
    let stored = db.within("lock user", stored).await?;
    if stored.is_none() || from.is_some_and(|from| stored.as_deref() != Some(from)) {
        return Ok(None);
    }
    let generation = revoked_tokens::raise_generation(db, &mut transaction, id, expires_at).await?;
    let update = diesel::update(users::table.find(id.0)).set(users::password_hash.eq(to));
    db.within("set password hash", update.execute(transaction.connection())).await?;
    transaction.commit().await?;
    Ok(generation)
}

async fn account(db: &Db, connection: &mut DbConnection, row: UserRow) -> Result<Account, DbError> {
    let user = user(&row)?;
    let (.., password_hash, token_generation, acts_for, rights) = row;
    let mandate = match (user.kind, acts_for, Rights::from_bits(rights)) {
        (Kind::Staff, Some(saler), Some(rights)) => {
            let query = users::table.find(saler).select(columns());
            let saler: UserRow = db.within("find user", query.first(connection)).await?;
            Some(Mandate { saler: self::user(&saler)?, rights })
        }
        _ => None,
    };
    Ok(Account { user, password_hash, token_generation, mandate })
}

fn user((id, name, kind, ..): &UserRow) -> Result<User, DbError> {
    let unreadable = |what: String| DbError::Unreadable { operation: "find user", what };
    let kind = Kind::parse(kind).ok_or_else(|| unreadable(format!("user {id}: kind")))?;
    let name = UserName::parse(name.clone()).map_err(|error| unreadable(format!("user {id}: {error}")))?;
    Ok(User { id: UserId(*id), name, kind })
}
