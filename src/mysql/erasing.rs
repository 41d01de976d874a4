//! Erasing accounts, and the personal data of a user.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, TinyInt, Unsigned};
use diesel_async::RunQueryDsl;
use sha2::{Digest, Sha256};

use super::schema::{coupons, freed_names, known_networks, users};
use super::{Db, DbError, Transaction, UnsignedBigint, merchant_keys, revoked_tokens, staff};
use crate::domain::{ERASED, Kind, User, UserName};

/// What [`erase`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasing {
    /// The generation of the user's tokens, none of which counts any more.
    Done { generation: u32 },
    /// A saler has a coupon that is not archived. Nothing has changed.
    OpenCoupons,
    /// The stored password hash is another one, or the user was erased before. Nothing has changed.
    Changed,
}

/// A claim as its holder may read it.
#[derive(Debug, QueryableByName)]
pub struct OwnClaim {
    #[diesel(sql_type = Text)]
    pub saler: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Unsigned<diesel::sql_types::Integer>)]
    pub seq: u32,
    #[diesel(sql_type = Unsigned<TinyInt>)]
    pub nth: u8,
    /// Milliseconds since 1970.
    #[diesel(sql_type = UnsignedBigint)]
    pub claimed_at: u64,
    /// Milliseconds since 1970.
    #[diesel(sql_type = Nullable<UnsignedBigint>)]
    pub redeemed_at: Option<u64>,
}

/// Erases a user: the password, the known networks and the sessions go. The name goes, too, unless it is that of a saler with
/// coupons, which their holders still see. Staff and keys of a saler end. Claims stay. `from` is the password hash that must be stored, and `expires_at` the
/// expiry of the user's last token. `now` is in seconds since 1970.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, the user may be erased.
pub async fn erase(db: &Db, user: &User, from: &str, expires_at: u64, now: u64) -> Result<Erasing, DbError> {
    let mut tx = db.begin().await?;
    match erase_within(db, &mut tx, user, from, expires_at, now).await {
        Ok(done @ Erasing::Done { .. }) => tx.commit().await.map(|()| done),
        Ok(refused) => {
            tx.roll_back().await;
            Ok(refused)
        }
        Err(error) => {
            tx.roll_back().await;
            Err(error.before_commit())
        }
    }
}

async fn erase_within(
    db: &Db,
    tx: &mut Transaction<'_>,
    user: &User,
    from: &str,
    expires_at: u64,
    now: u64,
) -> Result<Erasing, DbError> {
    let row = users::table.find(user.id.0).filter(users::erased_at.is_null()).select(users::password_hash).for_update();
    let stored = async { row.first::<String>(tx.connection()).await.optional() };
    if db.within("lock user", stored).await?.as_deref() != Some(from) {
        return Ok(Erasing::Changed);
    }
    let mut keeps_name = false;
    if user.kind == Kind::Saler {
        let all = coupons::table.filter(coupons::saler_id.eq(user.id.0)).select(coupons::archived);
        let archived: Vec<bool> = db.within("read coupons", all.distinct().load(tx.connection())).await?;
        if archived.contains(&false) {
            return Ok(Erasing::OpenCoupons);
        }
        keeps_name = !archived.is_empty();
        staff::end_all(db, tx, user.id, expires_at).await?;
        merchant_keys::end_all(db, tx, user.id, now).await?;
    }
    let Some(generation) = revoked_tokens::raise_generation(db, tx, user.id, expires_at).await? else {
        return Ok(Erasing::Changed);
    };
    let connection = tx.connection();
    let networks = diesel::delete(known_networks::table.filter(known_networks::user_id.eq(user.id.0)));
    db.within("forget networks", networks.execute(connection)).await?;
    let row = users::table.find(user.id.0);
    let erase = diesel::update(row).set((users::password_hash.eq(""), users::erased_at.eq(now)));
    db.within("erase user", erase.execute(connection)).await?;
    if !keeps_name {
        let hash = name_hash(&user.name);
        let freed = diesel::insert_into(freed_names::table).values(freed_names::name_hash.eq(hash.as_slice()));
        db.within("keep freed name", freed.execute(connection)).await?;
        let rename = diesel::update(row).set(users::username.eq(format!("{ERASED}{}", user.id)));
        db.within("erase name", rename.execute(connection)).await?;
    }
    Ok(Erasing::Done { generation })
}

/// Whether the name was that of an erased user.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn is_freed(db: &Db, name: &UserName) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let hash = name_hash(name);
    let found = freed_names::table.find(hash.as_slice()).select(freed_names::name_hash);
    let found: Option<Vec<u8>> =
        db.within("find freed name", async { found.first(&mut connection).await.optional() }).await?;
    Ok(found.is_some())
}

/// The hash under which a freed name is kept, so that the table names nobody.
fn name_hash(name: &UserName) -> [u8; 32] {
    Sha256::new().chain_update("couponrush freed name\0").chain_update(name.as_str()).finalize().into()
}

/// Up to `count` claims of a user, those of the newest coupons first.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn claims_of(db: &Db, user: &User, count: u32) -> Result<Vec<OwnClaim>, DbError> {
    let query = diesel::sql_query(
        "SELECT users.username AS saler, coupons.name, seq, nth, claimed_at, redeemed_at FROM \
         (SELECT * FROM claims WHERE user_id = ? ORDER BY coupon_id DESC, nth LIMIT ?) AS own \
         JOIN coupons ON coupons.id = own.coupon_id JOIN users ON users.id = coupons.saler_id \
         ORDER BY own.coupon_id DESC, nth",
    )
    .bind::<UnsignedBigint, _>(user.id.0)
    .bind::<UnsignedBigint, _>(u64::from(count));
    let mut connection = db.connect().await?;
    db.within("read own claims", query.load(&mut connection)).await
}

/// The networks from which a user has logged in lately, with the time in seconds since 1970.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn networks_of(db: &Db, user: &User) -> Result<Vec<(String, u64)>, DbError> {
    let query = known_networks::table.filter(known_networks::user_id.eq(user.id.0));
    let query = query.select((known_networks::network, known_networks::seen_at)).order(known_networks::seen_at.desc());
    let mut connection = db.connect().await?;
    db.within("read own networks", query.load(&mut connection)).await
}
