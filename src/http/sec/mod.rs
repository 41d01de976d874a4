//! The flash-sale interface: `/product`, `/activity` and `/sec`, part 2 of the wire contract.
//!
//! Answers use an [`envelope`] with codes of their own. [`parameters`] arrive as a form or as JSON. A product is a
//! coupon, and a purchase goes through the same claim path as in the coupon interface.

pub(super) mod activities;
mod asking;
pub(super) mod envelope;
mod events;
pub(super) mod kill;
mod parameters;
pub(super) mod products;
pub(super) mod sales;
pub(super) mod tokens;
mod utc;

use actix_web::{HttpRequest, HttpResponse};

use crate::domain::{Kind, Page, User};
use crate::http::error::{ApiError, Code};
use crate::http::openapi::sales as of;
use crate::http::route::Path;
use crate::http::session::session;
use crate::http::{Shared, Worker};
pub(super) use envelope::SecError;
use parameters::Parameters;

pub use sales::{Sales, SalesLimits};

/// Products and activities per page.
const PAGE: u64 = 1_000;

/// Routes by expected load, highest first.
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

/// Wraps an error from outside the handlers in the envelope, for paths of this interface.
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

/// The user of the session, a saler or an admin.
fn saler(request: &HttpRequest, shared: &Shared) -> Result<User, SecError> {
    let user = session(request, shared)?.user;
    match user.kind {
        Kind::Saler | Kind::Admin => Ok(user),
        Kind::Customer => Err(ApiError::new(Code::WrongKind, "Only salers may do this.").into()),
    }
}

/// Parses `?page=`, counted from 1. An absent, empty, zero or negative page is page 1.
fn page(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let page = query.optional("page")?.map(|page| page.text()).transpose()?;
    let wrong = || ApiError::bad_request("page: it must be a whole number.").into();
    Page::parse(page.as_deref()).ok_or_else(wrong)
}

/// OFFSET and LIMIT of a page in MySQL, or `None` for a page beyond the range of `i64`.
fn rows(page: Page) -> Option<(i64, i64)> {
    let skip = i64::try_from(page.offset(PAGE)).ok()?;
    Some((skip, i64::try_from(PAGE).ok()?))
}
