//! Lists of the coupons offered by a saler or held by a customer, read from Redis.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::extractors::SessionUser;
use super::state::{Shared, Worker};
use super::{answer, path};
use crate::claim::KnownCoupons;
use crate::domain::{CouponId, Kind, Page, User};
use crate::redis::{Facts, Held, KvError, Link, ListWindow, Offered};

/// Coupons per page.
const PAGE: u64 = 20;

/// A coupon on the list of its saler. `stock` is the face value.
#[derive(Serialize, ToSchema)]
pub struct OfferedItem {
    name: String,
    stock: u32,
    description: String,
    amount: u64,
    left: u64,
    /// The id of the coupon in the flash-sale interface. `scheduled` means that the coupon is sold only there.
    product_id: u64,
    scheduled: bool,
}

/// A coupon on the list of a customer.
#[derive(Serialize, ToSchema)]
pub struct HeldItem<'a> {
    name: &'a str,
    stock: u32,
    description: &'a str,
    saler: &'a str,
    /// The number of claims held, if above one.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u8>,
}

/// `GET /api/users/{username}/coupons?page=N`
pub async fn list_coupons(
    SessionUser(asking): SessionUser,
    request: HttpRequest,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, ApiError> {
    let Worker { shared, known, link, reads, .. } = &**worker;
    let page = page_of(&request)?;
    let owner = owner(&request, shared, &asking).await?;
    if owner.kind == Kind::Customer && owner.id != asking.id && asking.kind != Kind::Admin {
        return Ok(ApiError::new(Code::NotYours, "Cannot check other customer.").list_response());
    }
    let list = read_list(shared, (link, known), &owner, page);
    // The checks above have passed, so callers may share the list of this owner.
    let body = match (shared.admission.settings.switches().list, owner.kind) {
        (true, Kind::Saler) => reads.get((owner.id, page), list).await?,
        (true, Kind::Customer | Kind::Admin) => list.await?,
        (false, _) => shared.lists.get(owner.id, page, list).await?,
    };
    Ok(answer::list_of(body))
}

/// The body of the answer.
async fn read_list(
    shared: &Shared,
    (link, known): (&Link, &KnownCoupons),
    owner: &User,
    page: Page,
) -> Result<Bytes, ApiError> {
    let window = ListWindow { skip: page.offset(PAGE), give: PAGE };
    match owner.kind {
        Kind::Saler => list_offered(shared, link, owner, window).await,
        Kind::Customer => list_held(shared, (link, known), owner, window).await,
        Kind::Admin => Ok(Bytes::new()),
    }
}

/// Parses `?page=`. 400 for a value that is not an int64.
pub fn page_of(request: &HttpRequest) -> Result<Page, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let wrong = || ApiError::bad_field("page", "Wrong format of page.");
    let query = query.map_err(|_| wrong())?;
    let page = query.iter().find(|(key, _)| key == "page").map(|(_, value)| value.as_str());
    Page::parse(page).ok_or_else(wrong)
}

async fn owner(request: &HttpRequest, shared: &Shared, asking: &User) -> Result<User, ApiError> {
    let nobody = || ApiError::bad_request("Record not found.");
    let name = path::user(request).ok_or_else(nobody)?;
    if name == asking.name {
        return Ok(asking.clone());
    }
    shared.directory.user(&name).await?.ok_or_else(nobody)
}

async fn list_offered(shared: &Shared, link: &Link, saler: &User, window: ListWindow) -> Result<Bytes, ApiError> {
    let (connection, live) = shared.reading(link)?;
    let page = shared.claiming.stock.list_offered(&connection, &live, saler.id, window, shared.kv_wait).await;
    let item = |offered| {
        let Offered { id, name, face_value: stock, description, scheduled, amount, left } = offered;
        OfferedItem { name, stock, description, amount, left, product_id: id.0, scheduled }
    };
    Ok(answer::list_body(&read(shared, page)?.into_iter().map(item).collect::<Vec<_>>()))
}

async fn list_held(
    shared: &Shared,
    (link, known): (&Link, &KnownCoupons),
    customer: &User,
    window: ListWindow,
) -> Result<Bytes, ApiError> {
    let (connection, live) = shared.reading(link)?;
    let page = shared.claiming.stock.list_held(&connection, &live, customer.id, window, shared.kv_wait).await;
    let page = read(shared, page)?;
    let coupons: Vec<CouponId> = page.iter().map(|held| held.coupon).collect();
    let facts = shared.directory.facts(known, &connection, &coupons).await?;
    let items: Vec<HeldItem> = page.iter().zip(&facts).map(|(held, facts)| held_item(held, facts)).collect();
    Ok(answer::list_body(&items))
}

fn held_item<'a>(held: &Held, facts: &'a Facts) -> HeldItem<'a> {
    let Facts { saler, name, face_value, description } = facts;
    HeldItem { name, stock: *face_value, description, saler, count: Some(held.count).filter(|count| *count > 1) }
}

/// The items of a page. During a recovery the answer is 503, never an empty list.
fn read<T>(shared: &Shared, page: Result<Option<Vec<T>>, KvError>) -> Result<Vec<T>, ApiError> {
    match page {
        Ok(Some(items)) => Ok(items),
        Ok(None) => {
            shared.claiming.gate.doubt(crate::claim::Doubt::NotLoaded);
            Err(ApiError::unavailable())
        }
        Err(error) => Err(crate::http::error::read_failed(&error)),
    }
}
