//! Current and coming sales, for everybody and without a token.
//!
//! Activities are read from memory. The remaining units of all requested activities come from a single Redis script.
//! Answers are cached for a moment, so many simultaneous requests cause a single call to Redis.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{SecError, enveloped, success, success_bytes};
use super::paging::page;
use super::parameters::Parameters;
use super::sale_cache::PAGES_MAX;
use crate::claim::Doubt;
use crate::domain::{Activity, ActivityId, CouponId, Phase, Schedule, Status};
use crate::http::error::{ApiError, read_failed};
use crate::http::state::{Shared, Worker};
use crate::redis::{Link, Units};

/// Sales per page, read by a single script.
const PAGE: usize = 1_000;

/// Redis could not be read. The error is logged already.
struct Unreadable;

/// An activity of a product. `status` is a sentence in the list and a number in the answer for a single product.
#[derive(Serialize, ToSchema)]
pub struct Sale<'a, S> {
    product_id: u64,
    activity_id: u32,
    activity_name: &'a str,
    saler: &'a str,
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
}

/// `GET /sec/list?page=`
pub async fn list_sales(request: HttpRequest, worker: web::Data<Worker>) -> Result<HttpResponse, SecError> {
    let Worker { shared, link, .. } = &**worker;
    let skip = page(&request)?.offset(PAGE as u64);
    let Some(skip) = usize::try_from(skip).ok().filter(|skip| *skip < PAGES_MAX * PAGE) else {
        return Ok(success([(); 0]));
    };
    let body = shared.sales.pages.try_get_with(skip, read_page(shared, link, skip)).await;
    Ok(success_bytes(body.map_err(|_| ApiError::unavailable())?))
}

/// `GET /sec/info?product_id=`
pub async fn show_sale(request: HttpRequest, worker: web::Data<Worker>) -> Result<HttpResponse, SecError> {
    let Worker { shared, link, .. } = &**worker;
    let query = Parameters::of_query(request.query_string())?;
    let product = CouponId(query.required("product_id")?.number(1..=u64::MAX)?);
    let Some(schedule) = shared.claiming.activities.of(product) else {
        return Ok(success(()));
    };
    let body = shared.sales.products.try_get_with(product, read_product(shared, link, &schedule)).await;
    Ok(success_bytes(body.map_err(|_| ApiError::unavailable())?))
}

/// A page of all current and coming activities, by start time.
async fn read_page(shared: &Shared, link: &Link, skip: usize) -> Result<Bytes, Unreadable> {
    let now_ms = shared.server_ms(link).map_err(|_| Unreadable)?;
    let schedules = shared.claiming.activities.all();
    let coming = |(_, activity): &(&Schedule, &Activity)| {
        activity.terms.status != Status::Disabled && activity.terms.window.phase(now_ms) != Phase::Over
    };
    let of = |schedule| Schedule::activities(schedule).iter().map(move |activity| (schedule, activity));
    let mut all: Vec<_> = schedules.iter().flat_map(|schedule| of(&**schedule)).filter(coming).collect();
    all.sort_by_key(|(_, activity)| (activity.terms.window.start(), activity.id));
    let all: Vec<_> = all.into_iter().skip(skip).take(PAGE).collect();
    let units = read_units(shared, link, &all).await?;
    let sales: Vec<Sale<'_, &str>> = all
        .iter()
        .zip(&units)
        .filter_map(|((schedule, activity), units)| {
            let units = (*units)?;
            Some(sale(schedule, activity, &units, now_ms, sentence(activity, &units, now_ms)))
        })
        .collect();
    Ok(enveloped(sales))
}

/// A product's current activity, else the next, else the last.
async fn read_product(shared: &Shared, link: &Link, schedule: &Schedule) -> Result<Bytes, Unreadable> {
    let now_ms = shared.server_ms(link).map_err(|_| Unreadable)?;
    let Some(activity) = schedule.at(now_ms) else { return Ok(enveloped(())) };
    let units = read_units(shared, link, &[(schedule, activity)]).await?;
    let number = activity.terms.status.number();
    let units = units.first().copied().flatten();
    Ok(enveloped(units.map(|units| sale(schedule, activity, &units, now_ms, number))))
}

async fn read_units(
    shared: &Shared,
    link: &Link,
    sales: &[(&Schedule, &Activity)],
) -> Result<Vec<Option<Units>>, Unreadable> {
    let (connection, live) = shared.reading(link).map_err(|_| Unreadable)?;
    let asked: Vec<(CouponId, ActivityId)> = sales.iter().map(|(_, activity)| (activity.coupon, activity.id)).collect();
    match shared.claiming.stock.units(&connection, &live, &asked, shared.kv_wait).await {
        Ok(Some(units)) => Ok(units),
        Ok(None) => {
            shared.claiming.gate.doubt(Doubt::NotLoaded);
            Err(Unreadable)
        }
        Err(error) => {
            read_failed(&error);
            Err(Unreadable)
        }
    }
}

fn sale<'a, S>(schedule: &'a Schedule, activity: &'a Activity, units: &Units, now_ms: u64, status: S) -> Sale<'a, S> {
    let terms = &activity.terms;
    let phase = terms.window.phase(now_ms);
    Sale {
        product_id: activity.coupon.0,
        activity_id: activity.id.0,
        activity_name: terms.name.as_str(),
        saler: schedule.saler.as_str(),
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
