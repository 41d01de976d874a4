//! The table `activities`.

use std::time::Duration;

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Nullable, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::{activities, coupons, users};
use super::unreadable::{ACTIVITIES, COUPONS};
use super::{Db, DbConnection, DbError, Transaction, UnreadableRow, claim_rows};
use crate::domain::{
    Activity, ActivityId, ActivityName, Author, Conditions, CouponId, CouponName, PageStart, Rate, RegisteredBefore,
    Schedule, Status, Terms, TicketRule, UserId, UserName, Window,
};

/// An activity with the columns that only MySQL has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredActivity {
    pub activity: Activity,
    pub revision: u64,
    /// The revision of the etcd write that carries the current row. 0 if etcd lacks the row.
    pub etcd_revision: u64,
}

pub(super) type ActivityRow = (u32, u64, String, u64, u64, u32, u8, u32, u8, f64, u64, u64, u64, u64, u16, i8);

/// An activity with the coupon's saler, name and activity revision, whether the saler is approved, and whether the coupon is
/// withheld.
type ScheduleRow = (ActivityRow, Option<String>, String, u64, Option<bool>, bool);

/// Schedules of consecutive coupons by id.
#[derive(Debug, Clone)]
pub struct SchedulePage {
    /// The schedules of the coupons that can be read.
    pub schedules: Vec<Schedule>,
    /// The last coupon of the page, readable or not. `None` after the last page.
    pub last: Option<CouponId>,
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = activities)]
struct ActivityColumns<'a> {
    name: &'a str,
    start_time: u64,
    end_time: u64,
    total: u32,
    status: u8,
    speed: u32,
    buy_limit: u8,
    buy_rate: f64,
}

impl<'a> ActivityColumns<'a> {
    fn of(terms: &'a Terms) -> Self {
        Self {
            name: terms.name.as_str(),
            start_time: terms.window.start(),
            end_time: terms.window.end(),
            total: terms.total,
            status: terms.status.number(),
            speed: terms.speed,
            buy_limit: terms.buy_limit,
            buy_rate: terms.buy_rate.share(),
        }
    }
}

/// Adds an activity to a coupon whose row is locked. Without an `id`, MySQL issues the next id, so the transaction must
/// come from [`new_ids::begin`](super::new_ids::begin). An `id` comes from etcd, where it names the same activity for
/// ever. It may even be the id of an activity that MySQL has lost.
pub(crate) async fn insert(
    db: &Db,
    tx: &mut Transaction<'_>,
    coupon: CouponId,
    terms: &Terms,
    id: Option<ActivityId>,
    etcd_revision: u64,
    by: Author<'_>,
) -> Result<ActivityId, DbError> {
    let connection = tx.connection();
    let row = (
        id.map(|id| activities::id.eq(id.0)),
        activities::coupon_id.eq(coupon.0),
        ActivityColumns::of(terms),
        activities::etcd_revision.eq(etcd_revision),
    );
    let insert = diesel::insert_into(activities::table).values(row);
    db.within("insert activity", insert.execute(connection)).await.map_err(DbError::before_commit)?;
    let last = diesel::select(sql::<Unsigned<Bigint>>("LAST_INSERT_ID()"));
    let last: u64 = db.within("read id", last.first(connection)).await.map_err(DbError::before_commit)?;
    let too_large = |_| DbError::Unreadable { operation: "read id", what: last.to_string() };
    let made = u32::try_from(last).map_err(too_large).map_err(DbError::before_commit)?;
    let id = id.unwrap_or(ActivityId(made));
    touch(db, tx, id, by).await?;
    Ok(id)
}

/// Replaces the terms of an activity. The row of its coupon is locked.
pub(crate) async fn update(
    db: &Db,
    tx: &mut Transaction<'_>,
    id: ActivityId,
    terms: &Terms,
    etcd_revision: u64,
    by: Author<'_>,
) -> Result<(), DbError> {
    let update = diesel::update(activities::table.find(id.0)).set((
        ActivityColumns::of(terms),
        activities::revision.eq(activities::revision + 1),
        activities::etcd_revision.eq(etcd_revision),
    ));
    db.within("update activity", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    touch(db, tx, id, by).await
}

/// Writes the time and the author of a change. The column `changed_by` is not in `schema.rs`, whose tables have 16 columns at
/// most.
async fn touch(db: &Db, tx: &mut Transaction<'_>, id: ActivityId, by: Author<'_>) -> Result<(), DbError> {
    let touch = diesel::sql_query(
        "UPDATE activities SET changed_at = NOW(3), changed_by = COALESCE(?, changed_by) WHERE id = ?",
    )
    .bind::<Nullable<Text>, _>(by.stored())
    .bind::<Unsigned<Integer>, _>(id.0);
    db.within("update activity", touch.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}

/// Replaces the conditions of an activity. The row of its coupon is locked, and [`update`] or [`insert`] has raised the
/// revision in the same transaction.
pub(crate) async fn set_conditions(
    db: &Db,
    tx: &mut Transaction<'_>,
    id: ActivityId,
    conditions: &Conditions,
) -> Result<(), DbError> {
    let (seconds, last_user) =
        conditions.registered.map_or((0, 0), |registered| (registered.seconds, registered.last_user.0));
    let update = diesel::update(activities::table.find(id.0)).set((
        activities::registered_before.eq(seconds),
        activities::last_user_id.eq(last_user),
        activities::network_winners.eq(conditions.network_winners),
        activities::ticket.eq(TicketRule::number(conditions.ticket)),
    ));
    db.within("set conditions", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}

/// The activities of a coupon whose row is locked. An unreadable activity is skipped. It is not in force, so it
/// excludes no other activity.
pub(crate) async fn of_coupon(
    db: &Db,
    tx: &mut Transaction<'_>,
    coupon: CouponId,
) -> Result<Vec<StoredActivity>, DbError> {
    let query = activities::table.filter(activities::coupon_id.eq(coupon.0)).order(activities::id);
    let rows = db.within("read activities", query.load(tx.connection())).await;
    let rows: Vec<ActivityRow> = rows.map_err(DbError::before_commit)?;
    Ok(db.unreadable().skip(rows.into_iter().map(stored)))
}

/// Locks the saler until the transaction ends, and counts the saler's activities that end after `now` (seconds since 1970).
pub(crate) async fn lock_coming(db: &Db, tx: &mut Transaction<'_>, saler: UserId, now: u64) -> Result<u64, DbError> {
    let lock = users::table.find(saler.0).select(users::id).for_update();
    let _: u64 = db.within("lock saler", lock.first(tx.connection())).await.map_err(DbError::before_commit)?;
    let coming = activities::table.inner_join(coupons::table).filter(coupons::saler_id.eq(saler.0));
    let coming = coming.filter(activities::end_time.gt(now)).select(count_star());
    let count: i64 =
        db.within("count activities", coming.first(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Counts activities that end after `now` (seconds since 1970) of all salers who may not sell, up to `count`.
pub(crate) async fn coming_of_withheld(
    db: &Db,
    tx: &mut Transaction<'_>,
    now: u64,
    count: u32,
) -> Result<u64, DbError> {
    // The few such salers come first, by their index.
    let query = diesel::sql_query(
        "SELECT CAST(COUNT(*) AS UNSIGNED) AS count FROM (SELECT STRAIGHT_JOIN activities.id FROM users \
         JOIN coupons ON coupons.saler_id = users.id JOIN activities ON activities.coupon_id = coupons.id \
         WHERE users.sales_withheld AND end_time > ? LIMIT ?) AS coming",
    )
    .bind::<Unsigned<Bigint>, _>(now)
    .bind::<Unsigned<Integer>, _>(count);
    let found = db.within("count activities", query.get_result::<CountRow>(tx.connection())).await;
    Ok(found.map_err(DbError::before_commit)?.count)
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = Unsigned<Bigint>)]
    count: u64,
}

/// The activity with this id and the saler of its coupon, or `None`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find(db: &Db, id: ActivityId) -> Result<Option<(StoredActivity, UserId)>, DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .inner_join(coupons::table)
        .filter(activities::id.eq(id.0))
        .select((activities::all_columns, coupons::saler_id));
    let row: Option<(ActivityRow, u64)> =
        db.within("find activity", async { query.first(&mut connection).await.optional() }).await?;
    let found = row.map(|(row, saler)| Ok((stored(row)?, UserId(saler)))).transpose();
    found.map_err(|row| db.unreadable_error(row))
}

/// Up to `count` activities ordered by id, after the activity `after`, and the last id.
pub(super) async fn read_page(
    db: &Db,
    after: ActivityId,
    count: i64,
) -> Result<(Vec<Result<StoredActivity, UnreadableRow>>, Option<ActivityId>), DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::id.gt(after.0))
        .order(activities::id)
        .limit(count)
        .select(activities::all_columns);
    let rows: Vec<ActivityRow> = db.within("read activities", query.load(&mut connection)).await?;
    let last = rows.last().map(|row| ActivityId(row.0));
    Ok((rows.into_iter().map(stored).collect(), last))
}

/// The rows of `ids` that cannot be read. `ids` are ids of activities, so each fits in a u32.
pub(super) async fn unreadable_of(db: &Db, ids: &[u64]) -> Result<Vec<UnreadableRow>, DbError> {
    let ids = ids.iter().filter_map(|id| u32::try_from(*id).ok());
    let mut connection = db.connect().await?;
    let query = activities::table.filter(activities::id.eq_any(ids)).select(activities::all_columns);
    let rows: Vec<ActivityRow> = db.within("read activities", query.load(&mut connection)).await?;
    Ok(rows.into_iter().filter_map(|row| stored(row).err()).collect())
}

/// An activity with the name of who has changed it last. The name is empty if nobody has since this name is kept.
pub type AuthoredActivity = (Activity, String);

/// Up to `count` activities from `start`, newest first. With `saler`, only activities of the saler's coupons. Unreadable
/// rows are skipped, so a page may have fewer activities.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn newest(
    db: &Db,
    saler: Option<UserId>,
    start: PageStart,
    count: i64,
) -> Result<Vec<AuthoredActivity>, DbError> {
    let mut connection = db.connect().await?;
    let columns = (activities::all_columns, sql::<Text>("activities.changed_by"));
    let mut query = activities::table.inner_join(coupons::table).select(columns).into_boxed();
    if let Some(saler) = saler {
        query = query.filter(coupons::saler_id.eq(saler.0));
    }
    let query = query.order(activities::id.desc()).limit(count);
    let query = match start {
        PageStart::Skip(items) => query.offset(i64::try_from(items).unwrap_or(i64::MAX)),
        PageStart::After(id) => query.filter(activities::id.lt(u32::try_from(id).unwrap_or(u32::MAX))),
    };
    let rows: Vec<(ActivityRow, String)> = db.within("list activities", query.load(&mut connection)).await?;
    Ok(db.unreadable().skip(rows.into_iter().map(|(row, by)| Ok((stored(row)?.activity, by)))))
}

/// The schedules of up to `count` coupons with activities, ordered by coupon id, after the coupon `after`. Without
/// archived coupons.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn schedules(db: &Db, after: CouponId, count: i64) -> Result<SchedulePage, DbError> {
    let mut connection = db.connect().await?;
    let ids = activities::table
        .inner_join(coupons::table)
        .filter(coupons::archived.eq(false))
        .filter(activities::coupon_id.gt(after.0))
        .select(activities::coupon_id)
        .distinct()
        .order(activities::coupon_id)
        .limit(count);
    let ids: Vec<u64> = db.within("find scheduled coupons", ids.load(&mut connection)).await?;
    let schedules = read_schedules(db, &mut connection, &ids).await?;
    Ok(SchedulePage { schedules, last: ids.last().copied().map(CouponId) })
}

/// The schedule of a coupon, or `None` if the coupon has no activity or cannot be read.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn schedule(db: &Db, coupon: CouponId) -> Result<Option<Schedule>, DbError> {
    let mut connection = db.connect().await?;
    Ok(read_schedules(db, &mut connection, &[coupon.0]).await?.pop())
}

/// Coupons with an activity changed in the last `age`, and their activity revision. Without archived coupons.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn changed(db: &Db, age: Duration) -> Result<Vec<(CouponId, u64)>, DbError> {
    let mut connection = db.connect().await?;
    let recent = sql::<Bool>("activities.changed_at >= NOW(3) - INTERVAL ")
        .bind::<Unsigned<Bigint>, _>(age.as_secs() + 1)
        .sql(" SECOND");
    let query = activities::table
        .inner_join(coupons::table)
        .filter(recent)
        .filter(coupons::archived.eq(false))
        .select((coupons::id, coupons::activity_revision))
        .distinct();
    let rows: Vec<(u64, u64)> = db.within("find changed activities", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|(coupon, revision)| (CouponId(coupon), revision)).collect())
}

/// The number of stored claims of an activity.
#[derive(QueryableByName)]
pub(super) struct SoldRow {
    #[diesel(sql_type = Unsigned<Integer>)]
    pub(super) activity_id: u32,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub(super) claims: u64,
}

/// The number of stored claims of every activity of the coupons.
pub(crate) async fn sold(db: &Db, coupons: &[CouponId]) -> Result<Vec<(ActivityId, u64)>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(format!(
        "SELECT a.id AS activity_id, CAST(COUNT(k.seq) AS UNSIGNED) AS claims \
         FROM activities a LEFT JOIN claims k ON k.coupon_id = a.coupon_id AND k.activity_id = a.id \
         WHERE a.coupon_id IN ({}) GROUP BY a.id",
        claim_rows::list(coupons)
    ));
    let rows: Vec<SoldRow> = db.within("count activities' claims", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|row| (ActivityId(row.activity_id), row.claims)).collect())
}

/// Reads activities and revisions in one statement, so they are consistent. A coupon with an unreadable name has no
/// schedule, and is not sold inside activities.
async fn read_schedules(db: &Db, connection: &mut DbConnection, ids: &[u64]) -> Result<Vec<Schedule>, DbError> {
    let query = activities::table
        .inner_join(coupons::table.left_join(users::table))
        .filter(activities::coupon_id.eq_any(ids))
        .order(activities::coupon_id)
        .select((
            activities::all_columns,
            users::username.nullable(),
            coupons::name,
            coupons::activity_revision,
            users::approved.nullable(),
            coupons::withheld,
        ));
    let rows: Vec<ScheduleRow> = db.within("read schedules", query.load(connection)).await?;
    let same_coupon = |first: &ScheduleRow, second: &ScheduleRow| first.0.1 == second.0.1;
    Ok(db.unreadable().skip(rows.chunk_by(same_coupon).map(|rows| schedule_of(db, rows))))
}

/// The schedule of a coupon from its rows. An unreadable activity is not in force, and the others are. None is while the
/// coupon is withheld.
fn schedule_of(db: &Db, rows: &[ScheduleRow]) -> Result<Schedule, UnreadableRow> {
    let ((_, coupon, ..), saler, name, revision, approved, withheld) = &rows[0];
    let unreadable = |column| UnreadableRow { table: COUPONS, id: *coupon, column, path: None };
    let saler = UserName::parse(saler.clone().unwrap_or_default()).map_err(|_| unreadable("saler"))?;
    let name = CouponName::parse(name.clone()).map_err(|_| unreadable("name"))?;
    let in_force = if *withheld { &[] } else { rows };
    let activities = db.unreadable().skip(in_force.iter().map(|(row, ..)| Ok(stored(row.clone())?.activity)));
    let mut schedule = Schedule::new(CouponId(*coupon), saler, name, *revision, activities);
    schedule.is_approved = *approved == Some(true);
    Ok(schedule)
}

pub(super) fn stored(row: ActivityRow) -> Result<StoredActivity, UnreadableRow> {
    let (.., revision, etcd_revision, registered_before, last_user, network_winners, ticket) = row;
    let (id, coupon, name, start, end, total, status, speed, buy_limit, buy_rate, ..) = row;
    let unreadable = |column| UnreadableRow { table: ACTIVITIES, id: id.into(), column, path: None };
    let may_buy = (1..=Terms::BUY_LIMIT_MAX).contains(&buy_limit);
    let terms = Terms {
        name: ActivityName::parse(name).map_err(|_| unreadable("name"))?,
        window: Window::new(start, end).ok_or_else(|| unreadable("end_time"))?,
        total,
        status: Status::from_number(status.into()).ok_or_else(|| unreadable("status"))?,
        speed,
        buy_limit: may_buy.then_some(buy_limit).ok_or_else(|| unreadable("buy_limit"))?,
        buy_rate: Rate::new(buy_rate).ok_or_else(|| unreadable("buy_rate"))?,
    };
    let registered = RegisteredBefore { seconds: registered_before, last_user: UserId(last_user) };
    let conditions = Conditions {
        registered: Some(registered).filter(|registered| registered.seconds > 0),
        network_winners,
        ticket: TicketRule::from_number(ticket).ok_or_else(|| unreadable("ticket"))?,
    };
    let activity = Activity { id: ActivityId(id), coupon: CouponId(coupon), terms, conditions };
    Ok(StoredActivity { activity, revision, etcd_revision })
}
