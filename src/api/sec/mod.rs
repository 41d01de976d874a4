//! The flash-sale interface: `/product`, `/activity` and `/sec`, Part 2 of the wire contract.
//!
//! Answers have an [`envelope`] with codes of its own, and [`parameters`] come as a form or as JSON. A product is a coupon, and
//! a purchase goes through the same claim as in the coupon interface.

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

use actix_web::HttpRequest;

use super::error::{ApiError, Code};
use super::openapi::SALES;
use super::route::{Endpoint, endpoint};
use super::session::session;
use super::{Shared, Worker};
use crate::domain::{Kind, Page, User};
pub(super) use envelope::{EnvelopedError, SecError};
use parameters::Parameters;

pub use sales::{Sales, SalesLimits};

/// Products and activities in one page.
const PAGE: u64 = 1_000;

const ONLY_SALERS: ApiError = ApiError::new(Code::WrongKind, "Only salers may do this.");
const BAD_PAGE: ApiError = ApiError::bad_request("page: it must be a whole number.");

/// The endpoints, in the order of their load.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(SALES, kill::kill, kill::__path_kill),
        endpoint(SALES, sales::show_sale, sales::__path_show_sale),
        endpoint(SALES, sales::list_sales, sales::__path_list_sales),
        endpoint(SALES, events::show_events, events::__path_show_events),
        endpoint(SALES, tokens::show_token, tokens::__path_show_token),
        endpoint(SALES, tokens::redeem, tokens::__path_redeem),
        endpoint(SALES, products::create_product, products::__path_create_product),
        endpoint(SALES, products::list_products, products::__path_list_products),
        endpoint(SALES, activities::create_activity, activities::__path_create_activity),
        endpoint(SALES, activities::list_activities, activities::__path_list_activities),
        endpoint(SALES, activities::update_activity, activities::__path_update_activity),
    ]
}

/// Whether answers of `path` have the envelope.
pub fn is_enveloped(path: &str) -> bool {
    ["/sec/", "/product/", "/activity/"].iter().any(|start| path.starts_with(start))
}

/// The saler or the admin who sends the request.
fn saler(request: &HttpRequest, shared: &Shared) -> Result<User, SecError> {
    let user = session(request, shared)?.user;
    match user.kind {
        Kind::Saler | Kind::Admin => Ok(user),
        Kind::Customer => Err(ONLY_SALERS.into()),
    }
}

/// The page that the query asks for, from 1. An absent or empty number, 0 and negative numbers mean page 1.
fn page(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let page = query.optional("page")?.map(|page| page.text()).transpose()?;
    Page::parse(page.as_deref()).ok_or_else(|| BAD_PAGE.into())
}

/// The rows of a page for MySQL: the number to skip, and the number to return. `None` if the page is beyond every list.
fn rows(page: Page) -> Option<(i64, i64)> {
    let skip = i64::try_from(page.offset(PAGE)).ok()?;
    Some((skip, i64::try_from(PAGE).ok()?))
}
