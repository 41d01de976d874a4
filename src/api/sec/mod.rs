//! The flash-sale interface: `/product`, `/activity` and `/sec`, part 2 of the wire contract.
//!
//! It speaks in an [`envelope`] with codes of its own, and takes [`parameters`] as a form or as JSON. Everything else is as in
//! the coupon interface, and goes through the same claim: a product is a coupon.

pub(super) mod activities;
mod asking;
pub(super) mod envelope;
mod events;
pub(super) mod kill;
mod parameters;
pub(super) mod products;
pub(super) mod sales;
pub(super) mod tokens;

use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Code};
use super::openapi::sales as of;
use super::route::Path;
use super::session::session;
use super::{Shared, Worker};
use crate::domain::{Kind, Page, User};
pub(super) use envelope::SecError;
use parameters::Parameters;

pub use sales::{Sales, SalesLimits};

/// Products and activities of one page.
const PAGE: u64 = 1_000;

/// The hottest first.
pub fn paths() -> Vec<Path> {
    vec![
        Path::at("/sec/kill").post(kill::kill, of::kill),
        Path::at("/sec/info").get(sales::show_sale, of::show_sale),
        Path::at("/sec/list").get(sales::list_sales, of::list_sales),
        Path::at("/sec/events").get(events::show_events, of::show_events),
        Path::at("/sec/token").post(tokens::show_token, of::show_token),
        Path::at("/sec/redeem").post(tokens::redeem, of::redeem),
        Path::at("/product/create").post(products::create_product, of::create_product),
        Path::at("/product/list").get(products::list_products, of::list_products),
        Path::at("/activity/create").post(activities::create_activity, of::create_activity),
        Path::at("/activity/list").get(activities::list_activities, of::list_activities),
        Path::at("/activity/update").post(activities::update_activity, of::update_activity),
    ]
}

/// An error that no handler of this interface answers, in its envelope all the same.
///
/// # Errors
/// The error itself, for paths of other interfaces.
pub fn refuse(path: &str, error: ApiError) -> Result<HttpResponse, ApiError> {
    if ["/sec/", "/product/", "/activity/"].iter().any(|start| path.starts_with(start)) {
        Ok(SecError::from(error).response())
    } else {
        Err(error)
    }
}

/// The saler or admin who is asking.
fn saler(request: &HttpRequest, shared: &Shared) -> Result<User, SecError> {
    let user = session(request, shared)?.user;
    match user.kind {
        Kind::Saler | Kind::Admin => Ok(user),
        Kind::Customer => Err(ApiError::new(Code::WrongKind, "Only salers may do this.").into()),
    }
}

/// `?page=`, from 1; absent, empty, 0 and negative are 1.
fn page(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let page = query.optional("page")?.map(|page| page.text()).transpose()?;
    let wrong = || ApiError::bad_request("page: it must be a whole number.").into();
    Page::parse(page.as_deref()).ok_or_else(wrong)
}

/// The part of a list that a page shows, as MySQL counts: to skip, and to give. `None` where it lies behind every list.
fn rows(page: Page) -> Option<(i64, i64)> {
    let skip = i64::try_from(page.offset(PAGE)).ok()?;
    Some((skip, i64::try_from(PAGE).ok()?))
}
