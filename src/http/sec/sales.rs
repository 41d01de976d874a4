//! Current and coming sales, for everybody and without a token.
//!
//! Activities are read from memory, and those of an archived product from MySQL. The remaining units of all requested
//! activities come from a single Redis script a shard. Answers are cached for a moment, so many simultaneous requests cause a
//! single call to Redis.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::conditions::ShownConditions;
use super::envelope::{Envelope, SecError, enveloped, success, success_bytes};
use super::paging::{BAD_PAGE, page};
use super::parameters::{Parameters, missing};
use super::sale_cache::PAGES_MAX;
use crate::claim::{ArchivedFacts, ShardLink};
use crate::domain::{Activity, ActivityId, CouponId, Phase, Placed, Schedule, Status, rank};
use crate::http::error::ApiError;
use crate::http::lists::PageQuery;
use crate::http::openapi::failures;
use crate::http::state::{Selling, Worker, loaded, reading};
use crate::redis::{Tombstone, Units};

/// Sales per page, read by a single script.
const PAGE: usize = 1_000;

/// An activity of a product. `status` is a sentence in the list and a number in the answer for a single product.
#[derive(Serialize, ToSchema)]
pub struct Sale<'a, S> {
    product_id: u64,
    activity_id: u32,
    activity_name: &'a str,
    saler: &'a str,
    /// Missing unless an admin has approved the saler.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    approved: bool,
    name: &'a str,
    start_time: u64,
    end_time: u64,
    start: bool,
    end: bool,
    #[schema(inline)]
    status: S,
    left: u64,
    total: u64,
    /// Amount of the coupon, the upper bound of a claim's `seq`.
    amount: u64,
    buy_limit: u8,
    #[serde(flatten)]
    #[schema(inline)]
    conditions: ShownConditions,
}

/// The query for one product.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers read the query")]
pub struct ProductQuery {
    /// The id of the product.
    #[param(example = 1)]
    product_id: u64,
}

fn example(status: &Value) -> Value {
    json!({"product_id": 1, "activity_id": 1, "activity_name": "noon", "saler": "shop", "name": "ten-off",
        "start_time": 1_767_265_200, "end_time": 1_767_268_800, "start": true, "end": false, "status": status,
        "left": 943, "total": 1_000, "amount": 1_000, "buy_limit": 1})
}

failures!(ListSalesFailures: SecError = [BAD_PAGE, ApiError::unavailable()]);

/// Lists current and coming sales.
///
/// A page has 1,000 sales: each merchant's nearest sale, then each one's second, and so on. A merchant's sales after the
/// twentieth come last. Sales of approved merchants come before all others. The nearest sale is the one whose start is nearest to now.
#[utoipa::path(
    get, path = "/sec/list", operation_id = "listSales",
    params(PageQuery),
    responses(
        (status = 200, description = "The sales of the page.", body = inline(Envelope<Vec<Sale<String>>>),
            example = json!(Envelope::success([example(&json!("success"))]))),
        ListSalesFailures,
    ),
)]
pub async fn list_sales(
    request: HttpRequest,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    let skip = page(&request)?.skipped(PAGE as u64).and_then(|skip| usize::try_from(skip).ok());
    let Some(skip) = skip.filter(|skip| *skip < PAGES_MAX * PAGE) else {
        return Ok(success([(); 0]));
    };
    let body = selling.sales.pages.try_get_with(skip, read_page(&selling, &worker, skip)).await;
    Ok(success_bytes(body.map_err(|_| ApiError::unavailable())?))
}

failures!(ShowSaleFailures: SecError = [missing("product_id"), ApiError::unavailable()]);

/// Returns the sale of a product.
///
/// This is the current sale, or else the next, or else the last. `data` is null if the product has no sale.
#[utoipa::path(
    get, path = "/sec/info", operation_id = "showSale",
    params(ProductQuery),
    responses(
        (status = 200, description = "The sale, or null.", body = inline(Envelope<Option<Sale<u8>>>),
            example = json!(Envelope::success(example(&json!(0))))),
        ShowSaleFailures,
    ),
)]
pub async fn show_sale(
    request: HttpRequest,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let product = CouponId(query.required("product_id")?.number(1..=u64::MAX)?);
    let products = &selling.sales.products;
    let body = match selling.activities.of(product) {
        Some(schedule) => products.try_get_with(product, read_product(&selling, &worker, &schedule)).await,
        None => Box::pin(products.try_get_with(product, read_archived(&selling, &worker, product))).await,
    };
    Ok(success_bytes(body.map_err(|_| ApiError::unavailable())?))
}

/// A page of all current and coming activities, ranked.
async fn read_page(selling: &Selling, worker: &Worker, skip: usize) -> Result<Bytes, ApiError> {
    let now_ms = worker.server_ms()?;
    let schedules = selling.activities.all();
    let coming = |(_, activity): &(&Schedule, &Activity)| {
        activity.terms.status != Status::Disabled && activity.terms.window.phase(now_ms) != Phase::Over
    };
    let of = |schedule| Schedule::activities(schedule).iter().map(move |activity| (schedule, activity));
    let mut all: Vec<_> = schedules.iter().flat_map(|schedule| of(&**schedule)).filter(coming).collect();
    rank(&mut all, now_ms / 1_000, |(schedule, activity)| Placed {
        saler: &schedule.saler,
        is_approved: schedule.is_approved,
        start: activity.terms.window.start(),
        activity: activity.id,
    });
    let all: Vec<_> = all.into_iter().skip(skip).take(PAGE).collect();
    let asked: Vec<_> = all.iter().map(|(_, activity)| (activity.coupon, activity.id)).collect();
    let units = read_all_units(selling, worker, &asked).await?;
    let sales = all.iter().zip(&units).filter_map(|((schedule, activity), units)| {
        let units = (*units)?;
        Some(sale(schedule, activity, &units, now_ms, sentence(activity, &units, now_ms)))
    });
    Ok(enveloped(sales.collect::<Vec<_>>()))
}

async fn read_product(selling: &Selling, worker: &Worker, schedule: &Schedule) -> Result<Bytes, ApiError> {
    let now_ms = worker.server_ms()?;
    let Some(activity) = schedule.at(now_ms) else { return Ok(enveloped(())) };
    let Some(link) = selling.shard_of(worker, activity.coupon).await? else { return Ok(enveloped(())) };
    let units = read_units(selling, &link, &[(activity.coupon, activity.id)]).await?;
    let number = activity.terms.status.number();
    let units = units.first().copied().flatten();
    Ok(enveloped(units.map(|units| sale(schedule, activity, &units, now_ms, number))))
}

/// The sale of a product without activities in memory. If the product is archived, MySQL has its activities.
async fn read_archived(selling: &Selling, worker: &Worker, product: CouponId) -> Result<Bytes, ApiError> {
    let Some(link) = selling.shard_of(worker, product).await? else { return Ok(enveloped(())) };
    let Some(ArchivedSale { tombstone, facts }) = archived_sale(selling, &link, product).await? else {
        return Ok(enveloped(()));
    };
    let now_ms = worker.server_ms()?;
    let of = |schedule| Some((schedule, Schedule::at(schedule, now_ms)?));
    let Some((schedule, activity)) = facts.schedule().and_then(of) else {
        return Ok(enveloped(()));
    };
    let asked = [(activity.coupon, activity.id)];
    let Some(mut units) = read_units(selling, &link, &asked).await?.pop().flatten() else {
        return Ok(enveloped(()));
    };
    // Redis has deleted the counts of activities. They matter only if the activity may have sold less than the coupon.
    if activity.terms.total > 0 && units.left(0) > 0 {
        let sold = selling.archived.sold(product, tombstone, activity.id).await;
        units.sold = sold.map_err(|_| ApiError::unavailable())?;
    }
    let number = activity.terms.status.number();
    Ok(enveloped(sale(schedule, activity, &units, now_ms, number)))
}

/// An archived product. Memory lacks its activities.
pub(super) struct ArchivedSale {
    pub(super) tombstone: Tombstone,
    pub(super) facts: Arc<ArchivedFacts>,
}

/// The archived product, or `None` if the product is not archived. Redis is asked first, so that only archived products
/// cause a query to MySQL.
pub(super) async fn archived_sale(
    selling: &Selling,
    link: &ShardLink,
    product: CouponId,
) -> Result<Option<ArchivedSale>, ApiError> {
    let (connection, live) = reading(link)?;
    let tombstone = link.shard.claiming.stock.tombstone(&connection, &live, product, selling.kv_wait).await;
    let Some(tombstone) = loaded(link, tombstone)? else { return Ok(None) };
    let facts = selling.archived.facts(product, tombstone).await.map_err(|_| ApiError::unavailable())?;
    Ok(Some(ArchivedSale { tombstone, facts }))
}

/// The units of sales of all shards. `None` for a sale whose product Redis lacks, or whose shard is closed while others are
/// open.
pub(super) async fn read_all_units(
    selling: &Selling,
    worker: &Worker,
    sales: &[(CouponId, ActivityId)],
) -> Result<Vec<Option<Units>>, ApiError> {
    let links = worker.links.all();
    let parts = join_all(links.iter().map(|link| read_units(selling, link, sales))).await;
    // A product is in one shard. The others do not have it.
    let merge = |all: Vec<Option<Units>>, more: Vec<Option<Units>>| {
        all.into_iter().zip(more).map(|(known, found)| known.or(found)).collect()
    };
    let units = parts.into_iter().reduce(|all, more| match (all, more) {
        (Ok(all), Ok(more)) => Ok(merge(all, more)),
        (Ok(open), Err(_)) | (Err(_), Ok(open)) => Ok(open),
        (Err(error), Err(_)) => Err(error),
    });
    units.unwrap_or_else(|| Err(ApiError::unavailable()))
}

/// The units of sales in a shard. `None` for a product that the shard lacks.
async fn read_units(
    selling: &Selling,
    link: &ShardLink,
    sales: &[(CouponId, ActivityId)],
) -> Result<Vec<Option<Units>>, ApiError> {
    let (connection, live) = reading(link)?;
    loaded(link, link.shard.claiming.stock.units(&connection, &live, sales, selling.kv_wait).await)
}

fn sale<'a, S>(schedule: &'a Schedule, activity: &'a Activity, units: &Units, now_ms: u64, status: S) -> Sale<'a, S> {
    let terms = &activity.terms;
    let phase = terms.window.phase(now_ms);
    Sale {
        product_id: activity.coupon.0,
        activity_id: activity.id.0,
        activity_name: terms.name.as_str(),
        saler: schedule.saler.as_str(),
        approved: schedule.is_approved,
        name: schedule.name.as_str(),
        start_time: terms.window.start(),
        end_time: terms.window.end(),
        start: phase == Phase::Within,
        end: phase == Phase::Over,
        status,
        left: units.left(terms.total),
        total: units.total(terms.total),
        amount: units.amount,
        buy_limit: terms.buy_limit,
        conditions: activity.conditions.into(),
    }
}

/// The `status` sentence of the list, from the result that an attempt would have.
fn sentence(activity: &Activity, units: &Units, now_ms: u64) -> &'static str {
    match (activity.terms.status, activity.terms.window.phase(now_ms)) {
        (Status::Disabled, _) | (Status::Normal, Phase::Over) => "second kill is already end",
        (Status::SoldOut, _) => "product is sale out",
        (Status::Normal, Phase::Before) => "second kill not start",
        (Status::Normal, Phase::Within) if units.left(activity.terms.total) == 0 => "product is sale out",
        (Status::Normal, Phase::Within) => "success",
    }
}
