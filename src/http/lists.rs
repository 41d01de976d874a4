//! Lists of the coupons offered by a saler or held by a customer. Redis has both, except the claims of archived coupons.

use std::cmp::Reverse;
use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};

use super::answer::ListOf;
use super::error::{ApiError, Code};
use super::merchant::{Merchant, ReadCoupons};
use super::openapi::{Responses, add_case, add_failure, error_schema, merchants};
use super::state::{Accounts, Edge, Selling, Worker, loaded, reading};
use super::{answer, path};
use crate::claim::ShardLink;
use crate::domain::{
    Coupon, CouponId, HeldClaim, HeldCoupon, Kind, Page, PageError, PageStart, ShardId, User, held_coupons,
};
use crate::memory::{ArchiveMark, KnownUsers, ReadError};
use crate::mysql::coupons::StoredCoupon;
use crate::redis::{Facts, ListWindow, Offered};

/// Coupons per page.
const PAGE: u64 = 20;
pub const BAD_PAGE: ApiError = ApiError::bad_field("page", "Wrong format of page.");
pub const BAD_AFTER: ApiError = ApiError::bad_field("after", "Wrong format of after.");
const NO_SUCH_USER: ApiError = ApiError::bad_request("Record not found.");
const OTHER_CUSTOMER: ApiError = ApiError::new(Code::NotYours, "Cannot check other customer.");

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
    /// The coupon is sold only inside an activity.
    scheduled: bool,
    /// The coupon has ended and was archived. Absent if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    archived: bool,
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

/// The query of a list with pages by number alone.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: `page_of` reads the query")]
pub struct PageQuery {
    /// The number of the page, from 1. An absent number, 0 and negative numbers mean page 1. Pages after 1,000 are empty.
    #[param(example = 1)]
    page: Option<i64>,
}

/// The query of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: `page_or_after` reads the query")]
pub struct KeysetQuery {
    /// The number of the page, from 1. An absent number, 0 and negative numbers mean page 1. Pages after 1,000 are empty.
    #[param(example = 1)]
    page: Option<i64>,
    /// The id (in a list of claims, the `seq`) of the last item of the page before. The answer is the page behind it, and
    /// `page` does not count.
    #[param(example = 943)]
    after: Option<u64>,
}

struct ListResponses;

impl IntoResponses for ListResponses {
    fn responses() -> Responses {
        let mut responses = Responses::new();
        let offered = json!({"name": "ten-off", "stock": 10, "description": "10 off", "amount": 1_000, "left": 943,
            "product_id": 7, "scheduled": true});
        let schema = ListOf::<OfferedItem>::schema();
        add_case(&mut responses, "The coupons that a saler offers.", answer::list(&[offered]), schema);
        let held = json!({"name": "ten-off", "stock": 10, "description": "10 off", "saler": "shop"});
        let schema = ListOf::<HeldItem>::schema();
        add_case(&mut responses, "The coupons that a customer holds.", answer::list(&[held]), schema);
        for failure in [BAD_PAGE, BAD_AFTER, NO_SUCH_USER, ApiError::unavailable()].into_iter().chain(merchants()) {
            add_failure(&mut responses, &failure);
        }
        let failure = OTHER_CUSTOMER;
        add_case(&mut responses, failure.message(), failure.list_response(), error_schema::<ApiError>());
        responses
    }
}

/// Lists the coupons of a user.
///
/// For a saler, these are the coupons on offer. For a customer, these are the coupons that the customer holds, and
/// nobody else may see them. A page has 20 coupons, newest first. `after` is the `product_id` of a saler's coupon; for a
/// customer, who holds coupons in the order of claims, it has no effect.
#[utoipa::path(
    get, path = "/api/users/{user}/coupons", operation_id = "listCoupons",
    params(("user" = String, Path, description = "The saler, or the customer.", example = "shop"), KeysetQuery),
    responses(ListResponses, (status = 204, description = "The page is empty.")),
)]
pub async fn list_coupons(
    Merchant { user: asking, .. }: Merchant<ReadCoupons>,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, ApiError> {
    let page = page_or_after(&request)?;
    let owner = owner(&request, &accounts.users, &asking).await?;
    if owner.kind == Kind::Customer && owner.id != asking.id && asking.kind != Kind::Admin {
        return Ok(OTHER_CUSTOMER.list_response());
    }
    let page = if owner.kind == Kind::Saler { page } else { page_of(&request)? };
    let list = read_list(&selling, &worker, &owner, page);
    // The checks above have passed, so callers may share the list of this owner.
    let body = match (edge.admission.settings.switches().list, owner.kind) {
        (true, Kind::Saler) => worker.reads.get((owner.id, page), list).await?,
        (true, Kind::Customer | Kind::Staff | Kind::Admin) => list.await?,
        (false, _) => selling.lists.get(owner.id, page, list).await?,
    };
    Ok(answer::list_of(body))
}

async fn read_list(selling: &Selling, worker: &Worker, owner: &User, page: Page) -> Result<Bytes, ApiError> {
    match (owner.kind, page.start(PAGE)) {
        (Kind::Saler, Some(start)) => list_offered(selling, worker, owner, ListWindow { start, give: PAGE }).await,
        (Kind::Customer, Some(PageStart::Skip(skip))) => list_held(selling, worker, owner, skip).await,
        (Kind::Saler | Kind::Customer | Kind::Staff | Kind::Admin, _) => Ok(Bytes::new()),
    }
}

/// Parses `?page=`. 400 for a value that is not an int64.
pub fn page_of(request: &HttpRequest) -> Result<Page, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).map_err(|_| BAD_PAGE)?;
    Page::parse(value_of(&query, "page")).map_err(bad_page)
}

/// Parses `?page=` and `?after=`. 400 for a value that is not a number.
pub fn page_or_after(request: &HttpRequest) -> Result<Page, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).map_err(|_| BAD_PAGE)?;
    Page::parse_or_after(value_of(&query, "page"), value_of(&query, "after")).map_err(bad_page)
}

fn value_of<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn bad_page(error: PageError) -> ApiError {
    match error {
        PageError::Number => BAD_PAGE,
        PageError::After => BAD_AFTER,
    }
}

async fn owner(request: &HttpRequest, users: &KnownUsers, asking: &User) -> Result<User, ApiError> {
    let name = path::user(request).ok_or(NO_SUCH_USER)?;
    if name == asking.name {
        return Ok(asking.clone());
    }
    users.find(&name).await?.ok_or(NO_SUCH_USER)
}

async fn list_offered(selling: &Selling, worker: &Worker, saler: &User, window: ListWindow) -> Result<Bytes, ApiError> {
    let links = worker.links.all();
    let page = match &links[..] {
        [link] => offered_by(selling, link, saler, window).await?,
        _ => {
            // The coupons of a page may all be in one shard.
            let (first, skip) = match window.start {
                PageStart::Skip(skip) => (ListWindow { start: PageStart::Skip(0), give: skip + window.give }, skip),
                PageStart::After(_) => (window, 0),
            };
            let parts = join_all(links.iter().map(|link| offered_by(selling, link, saler, first))).await;
            let parts = with_closed(&links, parts, async |shard| {
                let stored = selling.closed_shards.offered(shard, saler.id, first.start, first.give).await?;
                Ok(stored.into_iter().map(offered).collect())
            });
            let mut all: Vec<Offered> = parts.await?.into_iter().flatten().collect();
            all.sort_by_key(|offered| Reverse(offered.id));
            all.into_iter().skip(place(skip)).take(place(window.give)).collect()
        }
    };
    let item = |offered| {
        let Offered { id, name, face_value: stock, description, scheduled, amount, left, archived } = offered;
        OfferedItem { name, stock, description, amount, left, product_id: id.0, scheduled, archived }
    };
    Ok(answer::list_body(&page.into_iter().map(item).collect::<Vec<_>>()))
}

async fn list_held(selling: &Selling, worker: &Worker, customer: &User, skip: u64) -> Result<Bytes, ApiError> {
    let links = worker.links.all();
    let (claims, mark) = held_by(selling, &links, customer).await?;
    let archived = match selling.archived_claims.known(customer.id, &mark) {
        Some(archived) => archived,
        // Boxed, to keep the future of every list small.
        None => Box::pin(selling.archived_claims.read(customer.id, mark)).await.map_err(|_| ApiError::unavailable())?,
    };
    let held = held_coupons(claims, &archived).into_iter();
    let page: Vec<HeldCoupon> = held.skip(place(skip)).take(place(PAGE)).collect();
    let coupons: Vec<CouponId> = page.iter().map(|held| held.coupon).collect();
    let facts = in_each(&links, async |link| selling.directory.facts(&worker.known, link, &coupons).await).await;
    let facts = facts
        .into_iter()
        .filter_map(Result::ok)
        .reduce(|all, more| all.into_iter().zip(more).map(|(known, found)| known.or(found)).collect());
    let mut facts = facts.ok_or_else(ApiError::unavailable)?;
    add_facts_of_closed(selling, &links, &coupons, &mut facts).await?;
    let mut items = Vec::with_capacity(page.len());
    for (held, facts) in page.iter().zip(&facts) {
        // A coupon that Redis lacks is left out, so that it does not cost the rest of the list.
        items.extend(facts.as_ref().map(|facts| held_item(held, facts)));
    }
    Ok(answer::list_body(&items))
}

async fn offered_by(
    selling: &Selling,
    link: &ShardLink,
    saler: &User,
    window: ListWindow,
) -> Result<Vec<Offered>, ApiError> {
    let (connection, live) = reading(link)?;
    let stock = &link.shard.claiming.stock;
    loaded(link, stock.list_offered(&connection, &live, saler.id, window, selling.kv_wait).await)
}

/// The customer's claims in all shards, and the mark at which they were read.
async fn held_by(
    selling: &Selling,
    links: &[Rc<ShardLink>],
    customer: &User,
) -> Result<(Vec<HeldClaim>, ArchiveMark), ApiError> {
    let parts = in_each(links, async |link| {
        let (connection, live) = reading(link)?;
        let stock = &link.shard.claiming.stock;
        let held = loaded(link, stock.list_held(&connection, &live, customer.id, selling.kv_wait).await)?;
        Ok::<_, ApiError>((held.claims, ArchiveMark { live: live.shared_text(), archivings: held.archivings }))
    });
    let parts = with_closed(links, parts.await, async |shard| {
        Ok((selling.closed_shards.held(shard, customer.id).await?, ArchiveMark::closed()))
    });
    let all = parts.await?.into_iter().reduce(|(mut claims, mark), (more, other)| {
        claims.extend(more);
        (claims, mark.and(&other))
    });
    all.ok_or_else(ApiError::unavailable)
}

/// Reads all shards at the same time. A single shard is read directly: `join_all` copies large futures, 1 % of a list.
async fn in_each<T>(links: &[Rc<ShardLink>], read: impl AsyncFn(&ShardLink) -> T) -> Vec<T> {
    match links {
        [link] => vec![read(link).await],
        _ => join_all(links.iter().map(|link| read(link))).await,
    }
}

/// The parts of a list, with those of closed shards from MySQL. 503 if no shard is open.
async fn with_closed<T>(
    links: &[Rc<ShardLink>],
    parts: Vec<Result<T, ApiError>>,
    read: impl AsyncFn(ShardId) -> Result<T, ReadError>,
) -> Result<Vec<T>, ApiError> {
    let is_any_open = parts.iter().any(Result::is_ok);
    let mut all = Vec::with_capacity(parts.len());
    for (part, link) in parts.into_iter().zip(links) {
        all.push(match part {
            Err(_) if is_any_open => read(link.shard.id).await.map_err(|_| ApiError::unavailable())?,
            part => part?,
        });
    }
    Ok(all)
}

/// Adds the descriptions of coupons in closed shards.
async fn add_facts_of_closed(
    selling: &Selling,
    links: &[Rc<ShardLink>],
    coupons: &[CouponId],
    facts: &mut [Option<Rc<Facts>>],
) -> Result<(), ApiError> {
    let missing: Vec<CouponId> =
        coupons.iter().zip(&*facts).filter(|(_, facts)| facts.is_none()).map(|(id, _)| *id).collect();
    if missing.is_empty() || links.iter().all(|link| link.reading().is_some()) {
        return Ok(());
    }
    let stored = selling.closed_shards.coupons(&missing).await.map_err(|_| ApiError::unavailable())?;
    for (id, facts) in coupons.iter().zip(facts) {
        if let Some(StoredCoupon { coupon, .. }) = stored.iter().find(|stored| stored.coupon.id == *id) {
            *facts = Some(Rc::new(Facts {
                saler: coupon.saler.to_string(),
                name: coupon.name.to_string(),
                face_value: coupon.face_value.get(),
                description: coupon.description.as_str().to_owned(),
            }));
        }
    }
    Ok(())
}

fn offered(stored: StoredCoupon) -> Offered {
    let (left, Coupon { id, name, face_value, description, scheduled, amount, archived, .. }) =
        (stored.units().left, stored.coupon);
    let (name, description, face_value) = (name.to_string(), description.as_str().to_owned(), face_value.get());
    Offered { id, name, face_value, description, scheduled, amount: amount.get().into(), left, archived }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn held_item<'a>(held: &HeldCoupon, facts: &'a Facts) -> HeldItem<'a> {
    let Facts { saler, name, face_value, description } = facts;
    HeldItem { name, stock: *face_value, description, saler, count: Some(held.count).filter(|count| *count > 1) }
}
