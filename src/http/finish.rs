//! What every answer has in common.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use super::error::NO_SUCH_PATH;
use super::state::Edge;
use super::{body, browsers, path};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Two years: a browser that has come by HTTPS asks only by HTTPS from then on (RFC 6797).
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=63072000");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Adds a request id, and `Cache-Control: no-store` unless the handler has set the header. Header names become
/// Camel-Case, because existing test plans extract headers with a case-sensitive expression. An answer by HTTPS asks
/// browsers to stay with HTTPS.
///
/// An instance that is about to stop closes the connection after the answer. The client connects again, and the load
/// balancer chooses another instance.
///
/// An offer of another protocol is not taken up. actix closes the connection after the answer, so the answer says so. Java's
/// HTTP client offers h2c by default.
///
/// Changes from other sites are refused here, and bodies over the limit, because a handler may ignore its body.
pub async fn finish(mut request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, actix_web::Error> {
    let id = request_id(request.headers());
    let mut response = match check(&mut request).await {
        Ok(()) => next.call(request).await?,
        Err(refusal) => request.into_response(refusal),
    };
    let edge = response.request().app_data::<web::Data<Edge>>();
    edge.inspect(|edge| edge.answers.note(response.status()));
    let is_draining = edge.is_some_and(|edge| edge.health.is_draining());
    let is_https = response.request().app_config().secure();
    let offers_upgrade = response.request().head().connection_type() == ConnectionType::Upgrade;
    let is_document = browsers::is_document(response.request().path());
    let head = response.response_mut().head_mut();
    if is_draining || offers_upgrade {
        head.set_connection_type(ConnectionType::Close);
    }
    head.set_camel_case_headers(true);
    if !head.headers.contains_key(header::CACHE_CONTROL) {
        head.headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    // The audit trail may have chosen another one.
    if !head.headers.contains_key(REQUEST_ID) {
        head.headers.insert(REQUEST_ID, id);
    }
    browsers::protect(head, is_document);
    if is_https {
        head.headers.insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
    Ok(response)
}

/// # Errors
/// The refusal of a body, of a hidden path, or of a request from another site. The body comes first, because its unread rest
/// would have no limit.
async fn check(request: &mut ServiceRequest) -> Result<(), HttpResponse> {
    body::check(request).await?;
    if path::hides_operators(request.path()) {
        return Err(body::refusal(request, NO_SUCH_PATH));
    }
    let Some(edge) = request.app_data::<web::Data<Edge>>() else { return Ok(()) };
    browsers::check_site(request, edge).map_err(|error| body::refusal(request, error))
}

/// The id that the client has sent, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(REQUEST_ID).filter(|id| is_request_id(id)).cloned();
    sent.unwrap_or_else(new_request_id)
}

/// Whether the id is safe to send back and to log.
fn is_request_id(id: &HeaderValue) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_request_id() -> HeaderValue {
    // Bits of one number: formatting it as text would take longer than all the rest of this.
    let number = rand::random::<u64>();
    let digits: [u8; 16] = std::array::from_fn(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    HeaderValue::from_bytes(&digits).expect("hex digits are visible ASCII")
}
