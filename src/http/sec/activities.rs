//! Salers and admins create, change and list activities.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::conditions::{ConditionChanges, ShownConditions};
use super::envelope::{Envelope, SecError, success};
use super::paging::{BAD_AFTER, BAD_PAGE, PAGE, page_or_after};
use super::parameters::{Parameter, Parameters, missing, wrong};
use super::utc::date_and_time;
use crate::base::now_seconds;
use crate::domain::{
    Activity, ActivityId, ActivityName, Amount, Author, Conditions, CouponId, Kind, Nth, Phase, QuotaReached, Rate,
    Status, Terms, User, Window,
};
use crate::http::error::{ApiError, Code, read_failed};
use crate::http::lists::KeysetQuery;
use crate::http::merchant::{ManageSales, Merchant, ONLY_SALERS, ReadSales};
use crate::http::openapi::{change, failures, merchants};
use crate::http::state::{Accounts, Edge, Offering, Worker};
use crate::mysql::activities::{AuthoredActivity, find, newest};
use crate::mysql::{Db, DbPools};
use crate::sales::{PublishError, ScheduleError};

const END_BEFORE_START: ApiError = ApiError::bad_request("end_time: it must be after start_time.");
const NOTHING_TO_CHANGE: ApiError = ApiError::bad_request("activity_id: nothing is said that could be changed.");
const OTHER_PRODUCT: ApiError = ApiError::bad_request("product_id: an activity stays with its product.");
const NO_SUCH_ACTIVITY: ApiError = ApiError::new(Code::NotFound, "No such activity.");

#[derive(Serialize, ToSchema)]
pub struct CreatedActivity {
    activity_id: u32,
}

#[derive(Serialize, ToSchema)]
pub struct Item {
    activity_id: u32,
    activity_name: String,
    product_id: u64,
    start_time: u64,
    end_time: u64,
    total: u32,
    status: u8,
    sec_speed: u32,
    #[schema(value_type = u8)]
    buy_limit: Nth,
    buy_rate: String,
    start_time_str: String,
    end_time_str: String,
    status_str: &'static str,
    /// The user of the last change, or `etcd`. Absent if nobody has changed it since this is noted.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    changed_by: String,
    #[serde(flatten)]
    #[schema(inline)]
    conditions: ShownConditions,
}

/// The terms in a request. `None` means not sent.
struct Wanted {
    /// As sent, because an activity may keep a name that no new one may have.
    name: Option<String>,
    start: Option<u64>,
    end: Option<u64>,
    total: Option<u32>,
    speed: Option<u32>,
    buy_limit: Option<Nth>,
    buy_rate: Option<Rate>,
    status: Option<Status>,
}

impl Wanted {
    /// Parses all terms but `status`, which only an update accepts.
    fn parse(sent: &Parameters) -> Result<Self, ApiError> {
        Ok(Self {
            name: sent.optional("activity_name")?.map(|sent| sent.text()).transpose()?,
            start: sent.optional("start_time")?.map(|sent| parse_time(&sent)).transpose()?,
            end: sent.optional("end_time")?.map(|sent| parse_time(&sent)).transpose()?,
            total: sent.optional("total")?.map(|sent| sent.number(0..=Amount::MAX)).transpose()?,
            speed: sent.optional("speed")?.map(|sent| sent.number(0..=u32::MAX)).transpose()?,
            buy_limit: sent.optional("buy_limit")?.map(|sent| sent.number(1..=Terms::BUY_LIMIT_MAX)).transpose()?,
            buy_rate: sent.optional("buy_rate")?.map(|sent| parse_rate(&sent)).transpose()?,
            status: None,
        })
    }

    const fn is_nothing(&self) -> bool {
        let Self { name, start, end, total, speed, buy_limit, buy_rate, status } = self;
        (name.is_none() && start.is_none() && end.is_none() && total.is_none())
            && (speed.is_none() && buy_limit.is_none() && buy_rate.is_none() && status.is_none())
    }

    /// The current terms with the sent terms applied.
    fn over(&self, terms: &Terms) -> Result<Terms, ApiError> {
        Ok(Terms {
            name: match &self.name {
                Some(name) if name != terms.name.as_str() => parse_name(name)?,
                _ => terms.name.clone(),
            },
            window: window(self.start.unwrap_or(terms.window.start()), self.end.unwrap_or(terms.window.end()))?,
            total: self.total.unwrap_or(terms.total),
            status: self.status.unwrap_or(terms.status),
            speed: self.speed.unwrap_or(terms.speed),
            buy_limit: self.buy_limit.unwrap_or(terms.buy_limit),
            buy_rate: self.buy_rate.unwrap_or(terms.buy_rate),
        })
    }
}

/// An activity to create.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: `Wanted` reads the parameters")]
struct NewActivity {
    #[schema(min_length = 1, max_length = 60)]
    activity_name: String,
    product_id: u64,
    /// Seconds since 1970.
    start_time: u64,
    /// Seconds since 1970, after `start_time`.
    end_time: u64,
    /// The number of claims. 0 means the whole amount of the product.
    total: u32,
    /// Claims in a second, over all instances. 0 means no limit.
    speed: u32,
    /// Claims of a user, over all activities of the product. The default is 1.
    #[schema(minimum = 1, maximum = 100)]
    buy_limit: Option<u8>,
    /// The share of attempts that are let through. The default is 1.
    #[schema(minimum = 0, maximum = 1)]
    buy_rate: Option<f64>,
    /// Only users who registered before this time may claim: seconds since 1970, not in the future. 0 switches off.
    registered_before: Option<u64>,
    /// Winners of a network (/24 of IPv4, /56 of IPv6), as each instance counts them. 0 switches off.
    #[schema(maximum = 1000)]
    network_winners: Option<u16>,
    /// 1 to 22: a claim needs a ticket for proof of work with this number of bits. -1: a ticket that the operator's own
    /// program has signed. 0 switches off.
    #[schema(minimum = -1, maximum = 22)]
    ticket: Option<i8>,
    /// Ignored.
    status: Option<u8>,
}

failures!(CreateActivityFailures: SecError = [
    missing("activity_name"),
    END_BEFORE_START,
    ScheduleError::TotalAboveAmount,
    ScheduleError::Overlaps(ActivityId(6)),
    ScheduleError::TooManySales,
    ScheduleError::Publish(PublishError::Quota(QuotaReached::Coupons)),
    ApiError::no_such_product(),
    ONLY_SALERS,
    ApiError::not_your_product(),
], merchants(), change());

/// Schedules a sale of a product.
#[utoipa::path(
    post, path = "/activity/create", operation_id = "createActivity",
    request_body(content = inline(NewActivity), example = json!({"activity_name": "noon", "product_id": 1,
        "start_time": 1_767_265_200, "end_time": 1_767_268_800, "total": 500, "speed": 100, "buy_limit": 1, "buy_rate": 1})),
    responses(
        (status = 200, description = "The sale is scheduled.", body = inline(Envelope<CreatedActivity>),
            example = json!(Envelope::success(CreatedActivity { activity_id: 1 }))),
        CreateActivityFailures,
    ),
)]
pub async fn create_activity(
    Merchant { user, by, .. }: Merchant<ManageSales>,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    offering: web::Data<Offering>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, edge.body).await?;
    let (product, terms) = parse_new(&sent)?;
    let changes = ConditionChanges::parse(&sent, &accounts.tickets, dbs.of(user.kind), now_seconds()).await?;
    let conditions = changes.over(&Conditions::default());
    let id = offering.scheduling_of(user.kind).create(&user, Author::Named(&by), product, &terms, &conditions).await?;
    Ok(success(CreatedActivity { activity_id: id.0 }))
}

fn parse_new(sent: &Parameters) -> Result<(CouponId, Terms), ApiError> {
    let product = sent.required("product_id")?.number(1..=u64::MAX)?;
    let Wanted { name, start, end, total, speed, buy_limit, buy_rate, .. } = Wanted::parse(sent)?;
    // Ignored, but refused if it is sent twice.
    sent.optional("status")?;
    let start = start.ok_or_else(|| missing("start_time"))?;
    let terms = Terms {
        name: parse_name(&name.ok_or_else(|| missing("activity_name"))?)?,
        window: window(start, end.ok_or_else(|| missing("end_time"))?)?,
        total: total.ok_or_else(|| missing("total"))?,
        status: Status::Normal,
        speed: speed.ok_or_else(|| missing("speed"))?,
        buy_limit: buy_limit.unwrap_or(1),
        buy_rate: buy_rate.unwrap_or(Rate::ALL),
    };
    Ok((CouponId(product), terms))
}

/// The changes of an activity.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: `Wanted` reads the parameters")]
struct ActivityChange {
    activity_id: u32,
    #[schema(min_length = 1, max_length = 60)]
    activity_name: Option<String>,
    /// The activity's own product. An activity never changes its product.
    product_id: Option<u64>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    total: Option<u32>,
    speed: Option<u32>,
    #[schema(minimum = 1, maximum = 100)]
    buy_limit: Option<u8>,
    #[schema(minimum = 0, maximum = 1)]
    buy_rate: Option<f64>,
    registered_before: Option<u64>,
    #[schema(maximum = 1000)]
    network_winners: Option<u16>,
    #[schema(minimum = -1, maximum = 22)]
    ticket: Option<i8>,
    /// 0 is normal, 1 is disabled, 2 is declared sold out.
    #[schema(minimum = 0, maximum = 2)]
    status: Option<u8>,
}

failures!(UpdateActivityFailures: SecError = [
    missing("activity_id"),
    NOTHING_TO_CHANGE,
    OTHER_PRODUCT,
    END_BEFORE_START,
    ScheduleError::TotalAboveAmount,
    ScheduleError::Overlaps(ActivityId(6)),
    ScheduleError::TooManySales,
    ScheduleError::Publish(PublishError::Quota(QuotaReached::Coupons)),
    NO_SUCH_ACTIVITY,
    ONLY_SALERS,
    ApiError::not_your_product(),
], merchants(), change());

/// Changes a sale.
///
/// The change is in force on every instance within a second.
#[utoipa::path(
    post, path = "/activity/update", operation_id = "updateActivity",
    request_body(content = inline(ActivityChange), example = json!({"activity_id": 1, "status": 1})),
    responses(
        (status = 200, description = "The change is in force.", body = inline(Envelope<CreatedActivity>),
            example = json!(Envelope::success(CreatedActivity { activity_id: 1 }))),
        UpdateActivityFailures,
    ),
)]
pub async fn update_activity(
    Merchant { user, by, .. }: Merchant<ManageSales>,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    offering: web::Data<Offering>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, edge.body).await?;
    let id = ActivityId(sent.required("activity_id")?.number(1..=u32::MAX)?);
    let product = sent.optional("product_id")?.map(|sent| sent.number(1..=u64::MAX)).transpose()?;
    let status = sent.optional("status")?.map(|sent| parse_status(&sent)).transpose()?;
    let wanted = Wanted { status, ..Wanted::parse(&sent)? };
    let conditions = ConditionChanges::parse(&sent, &accounts.tickets, dbs.of(user.kind), now_seconds()).await?;
    if wanted.is_nothing() && conditions.is_nothing() {
        return Err(NOTHING_TO_CHANGE.into());
    }
    if let Some(product) = product {
        stays_with(dbs.of(user.kind), &user, id, CouponId(product)).await?;
    }
    let scheduling = offering.scheduling_of(user.kind);
    let change = |current: &Activity| {
        let terms = wanted.over(&current.terms).map_err(SecError::from)?;
        Ok((terms, conditions.over(&current.conditions)))
    };
    scheduling.update::<SecError>(&user, Author::Named(&by), id, change).await?;
    Ok(success(CreatedActivity { activity_id: id.0 }))
}

/// Refuses a change of product: an activity's claims count units of its product.
async fn stays_with(db: &Db, user: &User, id: ActivityId, product: CouponId) -> Result<(), ApiError> {
    let found = find(db, id).await.map_err(|error| read_failed(&error))?;
    let (stored, owner) = found.ok_or(NO_SUCH_ACTIVITY)?;
    if user.kind != Kind::Admin && owner != user.id {
        return Err(ApiError::not_your_product());
    }
    if stored.activity.coupon == product { Ok(()) } else { Err(OTHER_PRODUCT) }
}

failures!(ListActivitiesFailures: SecError = [BAD_PAGE, BAD_AFTER, ApiError::unavailable(), ONLY_SALERS], merchants());

/// Lists the saler's own sales, or all sales for an admin.
///
/// A page has 1,000 sales, newest first. Times for people are in UTC.
#[utoipa::path(
    get, path = "/activity/list", operation_id = "listActivities",
    params(KeysetQuery),
    responses(
        (status = 200, description = "The sales of the page.", body = inline(Envelope<Vec<Item>>),
            example = json!(Envelope::success([json!({"activity_id": 1, "activity_name": "noon", "product_id": 1,
                "start_time": 1_767_265_200, "end_time": 1_767_268_800, "total": 500, "status": 0, "sec_speed": 100,
                "buy_limit": 1, "buy_rate": "1.00", "start_time_str": "2026-01-01 11:00:00",
                "end_time_str": "2026-01-01 12:00:00", "status_str": "normal", "changed_by": "shop"})]))),
        ListActivitiesFailures,
    ),
)]
pub async fn list_activities(
    Merchant { user, .. }: Merchant<ReadSales>,
    request: HttpRequest,
    dbs: web::Data<DbPools>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    let owner = (user.kind == Kind::Saler).then_some(user.id);
    let activities = match page_or_after(&request)?.start(PAGE.into()) {
        Some(start) => {
            newest(dbs.of(user.kind), owner, start, PAGE.into()).await.map_err(|error| read_failed(&error))?
        }
        None => Vec::new(),
    };
    let now_ms = worker.server_ms()?;
    Ok(success(activities.into_iter().map(|activity| item(activity, now_ms)).collect::<Vec<_>>()))
}

fn item((activity, changed_by): AuthoredActivity, now_ms: u64) -> Item {
    let Activity { id, coupon, terms, conditions } = activity;
    let (start_time, end_time) = (terms.window.start(), terms.window.end());
    Item {
        activity_id: id.0,
        activity_name: terms.name.as_str().to_owned(),
        product_id: coupon.0,
        start_time,
        end_time,
        total: terms.total,
        status: terms.status.number(),
        sec_speed: terms.speed,
        buy_limit: terms.buy_limit,
        buy_rate: terms.buy_rate.to_string(),
        start_time_str: date_and_time(start_time),
        end_time_str: date_and_time(end_time),
        status_str: match (terms.window.phase(now_ms), terms.status) {
            (Phase::Over, _) => "ended",
            (Phase::Before | Phase::Within, Status::Normal) => "normal",
            (Phase::Before | Phase::Within, Status::Disabled) => "disabled",
            (Phase::Before | Phase::Within, Status::SoldOut) => "sold out",
        },
        changed_by,
        conditions: conditions.into(),
    }
}

fn window(start: u64, end: u64) -> Result<Window, ApiError> {
    Window::new(start, end).ok_or(END_BEFORE_START)
}

fn parse_name(text: &str) -> Result<ActivityName, ApiError> {
    ActivityName::parse_new(text).map_err(|_| wrong("activity_name", "it must have 1 to 60 characters"))
}

fn parse_time(sent: &Parameter<'_>) -> Result<u64, ApiError> {
    sent.number(0..=Window::SECONDS_MAX)
}

fn parse_rate(sent: &Parameter<'_>) -> Result<Rate, ApiError> {
    Rate::new(sent.fraction()?).ok_or_else(|| sent.wrong("it must be a number from 0 to 1"))
}

fn parse_status(sent: &Parameter<'_>) -> Result<Status, ApiError> {
    let wrong = || sent.wrong("it must be 0 (normal), 1 (disabled) or 2 (sold out)");
    sent.number(0..=2_u64).ok().and_then(Status::from_number).ok_or_else(wrong)
}
