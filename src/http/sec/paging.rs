//! Pages of the lists in this interface.

use actix_web::HttpRequest;

use super::envelope::SecError;
use super::parameters::Parameters;
use crate::domain::Page;
use crate::http::error::ApiError;

/// Products and activities per page.
const PAGE: u64 = 1_000;

pub const BAD_PAGE: ApiError = ApiError::bad_request("page: it must be a whole number.");

/// Parses `?page=`, counted from 1. An absent, empty, zero or negative page is page 1.
pub fn page(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let page = query.optional("page")?.map(|page| page.text()).transpose()?;
    Page::parse(page.as_deref()).ok_or_else(|| BAD_PAGE.into())
}

/// OFFSET and LIMIT of a page in MySQL, or `None` for a page beyond the range of `i64`.
pub fn rows(page: Page) -> Option<(i64, i64)> {
    Some((i64::try_from(page.offset(PAGE)).ok()?, i64::try_from(PAGE).ok()?))
}
