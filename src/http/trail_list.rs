//! The list of the audit trail, for operators.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{self, ListOf};
use super::error::{ApiError, read_failed};
use super::extractors::Admin;
use super::lists::{BAD_AFTER, BAD_PAGE, page_or_after};
use super::openapi::{admins, failures};
use crate::mysql::DbPools;
use crate::mysql::trail::{StoredEntry, TrailFilter, newest};

/// Entries in a page.
const PAGE: u32 = 100;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: the handler reads the query")]
struct TrailQuery {
    /// The name of a user, exactly.
    #[param(example = "shop")]
    user: Option<String>,
    /// An operation of this document.
    #[param(example = "createCoupon")]
    event: Option<String>,
    /// The number of the page, from 1 to 1,000.
    #[param(example = 1)]
    page: Option<i64>,
    /// The id of the last event of the page before. The answer is the page behind it, and `page` does not count.
    #[param(example = 943)]
    after: Option<u64>,
}

/// An event of the audit trail.
#[derive(Serialize, ToSchema)]
pub struct ShownEntry {
    id: u64,
    /// Milliseconds since 1970, by the clock of the instance.
    at_ms: u64,
    /// The user of the session, or the user whom a login or a registration is about. Empty if there is none.
    user: String,
    /// The kind of the user of a session. Empty without a session.
    kind: String,
    /// The operation in this document.
    event: String,
    /// The path of the request.
    object: String,
    address: String,
    /// The value of `X-Request-Id`.
    request_id: String,
    /// The status of the answer.
    status: u16,
    /// Equal events of the same minute that have no entry of their own.
    repeated: u32,
}

failures!(ListTrailFailures: ApiError = [BAD_PAGE, BAD_AFTER, ApiError::unavailable()], admins());

/// Lists the audit trail.
///
/// A page has 100 events, newest first. An event is listed a second or two after the request.
#[utoipa::path(
    get, path = "/admin/audit", operation_id = "listTrail",
    params(TrailQuery),
    responses(
        (status = 200, description = "The events of the page.", body = inline(ListOf<ShownEntry>), example = json!({
            "errMsg": "", "data": [ShownEntry { id: 1, at_ms: 1_767_265_200_123, user: "shop".to_owned(), kind: "saler".to_owned(),
            event: "createCoupon".to_owned(), object: "/api/users/shop/coupons".to_owned(), address: "192.0.2.1".to_owned(),
            request_id: "5c8b333f2a7d1e90".to_owned(), status: 201, repeated: 0 }]})),
        (status = 204, description = "The page is empty."),
        ListTrailFailures,
    ),
)]
pub async fn list_trail(_: Admin, request: HttpRequest, dbs: web::Data<DbPools>) -> Result<HttpResponse, ApiError> {
    let page = page_or_after(&request)?;
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).map_err(|_| BAD_PAGE)?;
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let filter = TrailFilter { actor: value("user"), event: value("event") };
    let rows = match page.start(PAGE.into()) {
        Some(start) => newest(&dbs.control, filter, start, PAGE.into()).await,
        None => Ok(Vec::new()),
    };
    let rows = rows.map_err(|error| read_failed(&error))?;
    Ok(answer::list(&rows.into_iter().map(shown).collect::<Vec<_>>()))
}

fn shown(row: StoredEntry) -> ShownEntry {
    let StoredEntry { id, at_ms, actor: user, kind, event, object, address, request_id, status, repeated } = row;
    ShownEntry { id, at_ms, user, kind, event, object, address, request_id, status, repeated }
}
