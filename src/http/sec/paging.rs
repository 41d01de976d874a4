//! Pages of the lists in this interface.

use actix_web::HttpRequest;

use super::envelope::SecError;
use super::parameters::Parameters;
use crate::domain::{Page, PageError};
use crate::http::error::ApiError;

/// Products and activities per page.
pub const PAGE: u32 = 1_000;

pub const BAD_PAGE: ApiError = ApiError::bad_request("page: it must be a whole number.");
pub const BAD_AFTER: ApiError = ApiError::bad_request("after: it must be a whole number from 0.");

/// Parses `?page=`, counted from 1. An absent, empty, zero or negative page is page 1.
pub fn page(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    Page::parse(text_of(&query, "page")?.as_deref()).map_err(bad_page)
}

/// Parses `?page=` and `?after=`, the last id of the page before.
pub fn page_or_after(request: &HttpRequest) -> Result<Page, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let (page, after) = (text_of(&query, "page")?, text_of(&query, "after")?);
    Page::parse_or_after(page.as_deref(), after.as_deref()).map_err(bad_page)
}

fn text_of(query: &Parameters, name: &'static str) -> Result<Option<String>, SecError> {
    Ok(query.optional(name)?.map(|sent| sent.text()).transpose()?)
}

fn bad_page(error: PageError) -> SecError {
    match error {
        PageError::Number => BAD_PAGE.into(),
        PageError::After => BAD_AFTER.into(),
    }
}
