//! The flash-sale interface: `/product`, `/activity` and `/sec`, part 2 of the wire contract.
//!
//! It speaks in an [`envelope`] with codes of its own, and takes [`parameters`] as a form or as JSON. Everything else is as in
//! the coupon interface, and goes through the same claim: a product is a coupon.

mod activities;
mod asking;
mod envelope;
mod events;
mod kill;
mod parameters;
mod products;
mod sales;
mod tokens;
mod utc;

use actix_web::{HttpRequest, HttpResponse, Route, web};

use super::error::{ApiError, Code};
use super::session::session;
use super::{Shared, allow, at, get};
use crate::domain::{Kind, Page, User};
use envelope::SecError;
use parameters::Parameters;

pub use sales::{Sales, SalesLimits};

/// Products and activities of one page.
const PAGE: u64 = 1_000;

/// The hottest first.
pub fn routes(config: &mut web::ServiceConfig) {
    let route = |path, methods, route: Route| at(path).route(route).default_service(allow(methods));
    config
        .service(route("/sec/kill", "POST", web::post().to(kill::kill)))
        .service(route("/sec/info", "GET, HEAD", get().to(sales::show_sale)))
        .service(route("/sec/list", "GET, HEAD", get().to(sales::list_sales)))
        .service(route("/sec/events", "GET, HEAD", get().to(events::show_events)))
        .service(route("/sec/token", "POST", web::post().to(tokens::show_token)))
        .service(route("/sec/redeem", "POST", web::post().to(tokens::redeem)))
        .service(route("/product/create", "POST", web::post().to(products::create_product)))
        .service(route("/product/list", "GET, HEAD", get().to(products::list_products)))
        .service(route("/activity/create", "POST", web::post().to(activities::create_activity)))
        .service(route("/activity/list", "GET, HEAD", get().to(activities::list_activities)))
        .service(route("/activity/update", "POST", web::post().to(activities::update_activity)));
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
