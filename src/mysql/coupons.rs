//! The table `coupons`.

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::{coupons, users};
use super::unreadable::COUPONS;
use super::{Db, DbError, Transaction, UnreadableRow, archive, new_ids};
use crate::domain::{
    Amount, Author, Coupon, CouponId, CouponName, Description, FaceValue, QuotaCheck, QuotaReached, ShardId,
    StoredUnits, User, UserId, UserName,
};

#[derive(Debug, Clone)]
pub struct NewCoupon {
    pub name: CouponName,
    pub amount: Amount,
    pub face_value: FaceValue,
    pub description: Description,
    pub scheduled: bool,
}

/// A coupon with the columns that only MySQL has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCoupon {
    pub coupon: Coupon,
    /// Units without a row in `claims`.
    pub left_count: i64,
    /// The highest revision known to be in Redis. 0 if none.
    pub published_revision: u64,
    /// Redis may lack claims of the coupon: from archiving until all claims are back in Redis.
    pub unloaded: bool,
}

impl StoredCoupon {
    /// The units by `left_count`. A fault may have made it negative, or larger than the amount.
    pub fn units(&self) -> StoredUnits {
        let not_negative = |count: i64| u64::try_from(count).unwrap_or(0);
        let claims = i64::from(self.coupon.amount.get()) - self.left_count;
        StoredUnits { left: not_negative(self.left_count), claims: not_negative(claims) }
    }
}

/// Consecutive coupons by id.
#[derive(Debug, Clone)]
pub struct CouponPage {
    /// The readable coupons of the page.
    pub coupons: Vec<StoredCoupon>,
    /// The last coupon of the page, readable or not. `None` after the last page.
    pub last: Option<CouponId>,
}

/// The reason for not creating a coupon. Nothing has happened, unless the [`DbError`] leaves the outcome unknown.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    #[error("the saler already has a coupon of this name")]
    NameTaken,
    #[error("the saler has reached a limit of open coupons")]
    Quota(QuotaReached),
    #[error(transparent)]
    Db(#[from] DbError),
}

pub(super) type CouponRow =
    (u64, u64, Option<String>, String, u32, i32, u32, String, bool, u64, u64, u64, (bool, bool, bool));

/// The user is joined from the left, so that a coupon without its user is found, and is unreadable.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn columns() -> _ {
    (
        coupons::id,
        coupons::saler_id,
        users::username.nullable(),
        coupons::name,
        coupons::amount,
        coupons::left_count,
        coupons::face_value,
        coupons::description,
        coupons::scheduled,
        coupons::revision,
        coupons::published_revision,
        coupons::activity_revision,
        (coupons::archived, coupons::unloaded, coupons::withheld),
    )
}

/// Adds a coupon of `saler` to a shard, within the saler's `quotas`.
///
/// # Errors
/// Returns an [`InsertError`]. If a [`DbError`] leaves the outcome unknown, the repair publishes an inserted coupon.
pub async fn insert(
    db: &Db,
    shard: ShardId,
    saler: &User,
    new: &NewCoupon,
    quotas: &QuotaCheck,
    by: Author<'_>,
) -> Result<Coupon, InsertError> {
    let mut tx = new_ids::begin(db).await?;
    let (id, withheld) = match insert_within(db, &mut tx, shard, saler, new, quotas, by).await {
        Ok(inserted) => inserted,
        Err(error) => {
            tx.roll_back().await;
            return Err(error);
        }
    };
    tx.commit().await?;
    let NewCoupon { name, amount, face_value, description, scheduled } = new.clone();
    let (saler_id, saler) = (saler.id, saler.name.clone());
    Ok(Coupon {
        id,
        saler_id,
        saler,
        name,
        amount,
        face_value,
        description,
        scheduled,
        revision: 1,
        activity_revision: 0,
        archived: false,
        withheld,
    })
}

/// Returns the id, and whether the coupon is withheld.
async fn insert_within(
    db: &Db,
    tx: &mut Transaction<'_>,
    shard: ShardId,
    saler: &User,
    new: &NewCoupon,
    quotas: &QuotaCheck,
    by: Author<'_>,
) -> Result<(CouponId, bool), InsertError> {
    // Coupons of a saler are added one at a time, so the limit is exact.
    let (open, is_withheld) = archive::lock_open(db, tx, saler.id).await?;
    let connection = tx.connection();
    let of_saler = coupons::table.filter(coupons::saler_id.eq(saler.id.0));
    let same_name = of_saler.filter(coupons::name.eq(new.name.as_str())).select(count_star());
    let same_name: i64 = db.within("find coupon", same_name.first(connection)).await.map_err(DbError::before_commit)?;
    if same_name > 0 {
        return Err(InsertError::NameTaken);
    }
    quotas.check_coupon(open, new.amount.get().into()).map_err(InsertError::Quota)?;
    let row = (
        coupons::saler_id.eq(saler.id.0),
        coupons::name.eq(new.name.as_str()),
        coupons::amount.eq(new.amount.get()),
        coupons::left_count.eq(left_count(new.amount)),
        coupons::face_value.eq(new.face_value.get()),
        coupons::description.eq(new.description.as_str()),
        coupons::scheduled.eq(new.scheduled),
        coupons::shard.eq(shard.name()),
        coupons::withheld.eq(is_withheld),
        by.stored().map(|name| coupons::changed_by.eq(name)),
    );
    let insert = diesel::insert_into(coupons::table).values(row);
    db.within("insert coupon", insert.execute(connection)).await.map_err(DbError::before_commit)?;
    let last = diesel::select(sql::<Unsigned<Bigint>>("LAST_INSERT_ID()"));
    let id: u64 = db.within("read id", last.first(connection)).await.map_err(DbError::before_commit)?;
    Ok((CouponId(id), is_withheld))
}

/// The id of the saler's coupon with this name, or `None`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_id(db: &Db, saler: UserId, name: &CouponName) -> Result<Option<CouponId>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table
        .filter(coupons::saler_id.eq(saler.0))
        .filter(coupons::name.eq(name.as_str()))
        .select(coupons::id);
    let id: Option<u64> = db.within("find coupon", async { query.first(&mut connection).await.optional() }).await?;
    Ok(id.map(CouponId))
}

/// Reads a coupon and locks its row until the end of the transaction.
pub(crate) async fn lock(db: &Db, tx: &mut Transaction<'_>, id: CouponId) -> Result<Option<StoredCoupon>, DbError> {
    let query = coupons::table.left_join(users::table).filter(coupons::id.eq(id.0)).select(columns()).for_update();
    let row = db.within("lock coupon", async { query.first(tx.connection()).await.optional() }).await;
    let row: Option<CouponRow> = row.map_err(DbError::before_commit)?;
    row.map(stored).transpose().map_err(|row| db.unreadable_error(row).before_commit())
}

/// Locks the shard's row shared, as the ledger does. A rebuild and this transaction exclude each other.
pub(crate) async fn share_shard(db: &Db, tx: &mut Transaction<'_>, shard: &str) -> Result<(), DbError> {
    let query = diesel::sql_query("SELECT epoch FROM shards WHERE shard = ? LOCK IN SHARE MODE").bind::<Text, _>(shard);
    db.within("share shard", query.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}

/// Writes the facts, the revision and the author of a coupon. `left_count` changes with the amount.
pub(crate) async fn update(
    db: &Db,
    tx: &mut Transaction<'_>,
    from: &StoredCoupon,
    to: &Coupon,
    by: Author<'_>,
) -> Result<(), DbError> {
    let grown = left_count(to.amount) - left_count(from.coupon.amount);
    let update = diesel::update(coupons::table.find(to.id.0)).set((
        coupons::amount.eq(to.amount.get()),
        coupons::left_count.eq(coupons::left_count + grown),
        coupons::description.eq(to.description.as_str()),
        coupons::scheduled.eq(to.scheduled),
        coupons::revision.eq(to.revision),
        coupons::activity_revision.eq(to.activity_revision),
        coupons::archived.eq(to.archived),
        coupons::unloaded.eq(from.unloaded || to.archived),
        by.stored().map(|name| coupons::changed_by.eq(name)),
    ));
    db.within("update coupon", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    let touch = diesel::sql_query(
        "UPDATE coupons SET changed_at = NOW(3), \
         first_archived_at = IF(archived, COALESCE(first_archived_at, NOW(3)), first_archived_at) WHERE id = ?",
    )
    .bind::<Unsigned<Bigint>, _>(to.id.0);
    db.within("update coupon", touch.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}

/// Records that Redis has a revision.
///
/// # Errors
/// Returns a [`DbError`]. The repair publishes unnoted revisions again.
pub async fn set_published(db: &Db, id: CouponId, revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = coupons::table.find(id.0).filter(coupons::published_revision.lt(revision));
    let update = diesel::update(row).set(coupons::published_revision.eq(revision));
    db.within("note published", update.execute(&mut connection)).await?;
    Ok(())
}

/// Up to `count` coupons of a shard with changes that Redis may lack for more than a second, ordered by id, after the
/// coupon `after`. Without the coupons of [`archive::lagging`].
///
/// # Errors
/// Returns a [`DbError`].
pub async fn lagging(db: &Db, shard: ShardId, after: CouponId, count: i64) -> Result<Vec<CouponId>, DbError> {
    let mut connection = db.connect().await?;
    // A change in the future: MySQL's clock was set back since.
    let late = sql::<Bool>("lags AND (changed_at < NOW(3) - INTERVAL 1 SECOND OR changed_at > NOW(3))");
    let query = coupons::table
        .filter(late)
        .filter(coupons::unloaded.eq(false))
        .filter(coupons::shard.eq(shard.name()))
        .filter(coupons::id.gt(after.0))
        .order(coupons::id)
        .select(coupons::id)
        .limit(count);
    let ids: Vec<u64> = db.within("find lagging coupons", query.load(&mut connection)).await?;
    Ok(ids.into_iter().map(CouponId).collect())
}

/// Up to `count` coupons of a shard, or of all shards for `None`, ordered by id, after the coupon `after`. Unreadable rows
/// are skipped.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn page(db: &Db, shard: Option<ShardId>, after: CouponId, count: i64) -> Result<CouponPage, DbError> {
    let (rows, last) = read_page(db, shard, after, count).await?;
    Ok(CouponPage { coupons: db.unreadable().skip(rows), last })
}

/// The rows of [`page`], and the last id.
pub(super) async fn read_page(
    db: &Db,
    shard: Option<ShardId>,
    after: CouponId,
    count: i64,
) -> Result<(Vec<Result<StoredCoupon, UnreadableRow>>, Option<CouponId>), DbError> {
    let mut connection = db.connect().await?;
    let mut query = coupons::table
        .left_join(users::table)
        .filter(coupons::id.gt(after.0))
        .order(coupons::id)
        .limit(count)
        .select(columns())
        .into_boxed();
    if let Some(shard) = shard {
        query = query.filter(coupons::shard.eq(shard.name()));
    }
    let rows: Vec<CouponRow> = db.within("read coupons", query.load(&mut connection)).await?;
    let last = rows.last().map(|row| CouponId(row.0));
    Ok((rows.into_iter().map(stored).collect(), last))
}

/// The coupon with this id, or `None`.
///
/// # Errors
/// Returns a [`DbError`]. [`DbError::UnreadableRow`] if the coupon exists and its row cannot be read.
pub async fn find(db: &Db, id: CouponId) -> Result<Option<StoredCoupon>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.left_join(users::table).filter(coupons::id.eq(id.0)).select(columns());
    let row: Option<CouponRow> =
        db.within("find coupon", async { query.first(&mut connection).await.optional() }).await?;
    row.map(stored).transpose().map_err(|row| db.unreadable_error(row))
}

/// The rows of `ids` that cannot be read.
pub(super) async fn unreadable_of(db: &Db, ids: &[u64]) -> Result<Vec<UnreadableRow>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.left_join(users::table).filter(coupons::id.eq_any(ids)).select(columns());
    let rows: Vec<CouponRow> = db.within("read coupons", query.load(&mut connection)).await?;
    Ok(rows.into_iter().filter_map(|row| stored(row).err()).collect())
}

/// The shard of a coupon, or `None` if the coupon does not exist. A coupon keeps its shard.
///
/// # Errors
/// Returns a [`DbError`]. [`DbError::Unreadable`] if the row names a shard that no program makes.
pub async fn find_shard(db: &Db, id: CouponId) -> Result<Option<ShardId>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.find(id.0).select(coupons::shard);
    let name: Option<String> = db.within("find shard", async { query.first(&mut connection).await.optional() }).await?;
    let unreadable = |name| DbError::Unreadable { operation: "find shard", what: name };
    name.map(|name| ShardId::parse(&name).ok_or_else(|| unreadable(name))).transpose()
}

/// The saler of a coupon, or `None` if the coupon does not exist.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_saler(db: &Db, id: CouponId) -> Result<Option<UserId>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.find(id.0).select(coupons::saler_id);
    let saler: Option<u64> = db.within("find saler", async { query.first(&mut connection).await.optional() }).await?;
    Ok(saler.map(UserId))
}

/// The highest stored seq of every coupon from `first` to `last` with at least one claim.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn highest_seqs(db: &Db, first: CouponId, last: CouponId) -> Result<Vec<(CouponId, u32)>, DbError> {
    #[derive(QueryableByName)]
    struct Highest {
        #[diesel(sql_type = Unsigned<Bigint>)]
        coupon_id: u64,
        #[diesel(sql_type = Unsigned<Integer>)]
        seq: u32,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT coupon_id, MAX(seq) AS seq FROM claims WHERE coupon_id BETWEEN ? AND ? GROUP BY coupon_id",
    )
    .bind::<Unsigned<Bigint>, _>(first.0)
    .bind::<Unsigned<Bigint>, _>(last.0);
    let rows: Vec<Highest> = db.within("read highest seqs", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|row| (CouponId(row.coupon_id), row.seq)).collect())
}

fn left_count(amount: Amount) -> i32 {
    i32::try_from(amount.get()).expect("an amount is at most 10,000,000")
}

pub(super) fn stored(row: CouponRow) -> Result<StoredCoupon, UnreadableRow> {
    let (
        id,
        saler_id,
        saler,
        name,
        amount,
        left_count,
        face_value,
        description,
        scheduled,
        revision,
        published,
        of,
        (archived, unloaded, withheld),
    ) = row;
    let path = saler.as_ref().map(|saler| format!("{saler}/{name}"));
    let unreadable = |column| UnreadableRow { table: COUPONS, id, column, path: path.clone() };
    Ok(StoredCoupon {
        coupon: Coupon {
            id: CouponId(id),
            saler_id: UserId(saler_id),
            saler: UserName::parse(saler.unwrap_or_default()).map_err(|_| unreadable("saler"))?,
            name: CouponName::parse(name).map_err(|_| unreadable("name"))?,
            amount: Amount::new(amount.into()).ok_or_else(|| unreadable("amount"))?,
            face_value: FaceValue::new(face_value.into()).ok_or_else(|| unreadable("face_value"))?,
            description: Description::new(description).ok_or_else(|| unreadable("description"))?,
            scheduled,
            revision,
            activity_revision: of,
            archived,
            withheld,
        },
        left_count: left_count.into(),
        published_revision: published,
        unloaded,
    })
}
