//! HTTP. Only this module uses actix, the shapes of JSON, and status codes.
//!
//! A handler extracts, parses, makes one call, and answers. [`finish`] adds the parts that all answers share.

mod admin;
mod answer;
mod blacklist;
mod body;
mod claims;
mod coupons;
mod docs;
mod error;
mod exposition;
mod health;
mod list_cache;
mod lists;
mod metrics;
mod openapi;
mod pages;
mod path;
mod peer;
mod route;
mod sec;
mod session;
mod shared_reads;
mod status;
mod users;

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::Semaphore;

use crate::auth::{ClaimTokens, Passwords, Revocations, SignedForm, UserTokens};
use crate::claiming::Claiming;
use crate::db::Db;
use crate::directory::{Directory, KnownCoupons};
use crate::domain::Networks;
use crate::events::Events;
use crate::gate::Admission;
use crate::health::Health;
use crate::kv::{Connection, Link, Live};
use crate::publishing::Publishing;
use crate::scheduling::Scheduling;
use error::{ApiError, NO_SUCH_PATH};
use openapi::{COUPONS, OPERATORS, USERS};
use route::{Endpoint, endpoint, resources};

pub use body::BodyLimits;
pub use list_cache::ListCache;
pub use metrics::Answers;
pub use openapi::{document, to_json};
pub use sec::{Sales, SalesLimits};
pub use shared_reads::SharedReads;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The state that all workers share.
pub struct Shared {
    pub db: Db,
    pub claiming: Claiming,
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    pub directory: Directory,
    pub passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    /// `None` without a sign secret.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub health: Arc<Health>,
    pub body: BodyLimits,
    /// The timeout of a read from Redis.
    pub kv_wait: Duration,
    pub saler_coupons_max: u32,
    pub sales: Sales,
    pub events: Arc<Events>,
    /// One permit for each concurrent export.
    pub exports: Arc<Semaphore>,
    pub admission: Admission,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Networks,
    /// The lists that are sent while lists are switched off.
    pub lists: ListCache,
    pub answers: Answers,
    /// The host and the address of this instance.
    pub instance: String,
}

/// The state of one worker thread.
pub struct Worker {
    pub shared: web::Data<Shared>,
    /// The worker's connection to Redis.
    pub link: Arc<Link>,
    pub known: KnownCoupons,
    pub reads: SharedReads,
}

impl Shared {
    /// The worker's connection, and the `live` value that Redis must still have.
    fn reading(&self, link: &Link) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        let live = self.claiming.gate.live().map_err(|_| ApiError::unavailable())?;
        Ok((connection, live))
    }

    /// The clock of Redis, in ms since 1970. Sales begin and end by this clock.
    fn server_ms(&self, link: &Link) -> Result<u64, ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        Ok(connection.server_ms())
    }
}

/// Adds the routes of the public listener.
pub fn routes(config: &mut web::ServiceConfig) {
    serve(config, endpoints());
    pages::routes(config);
}

/// Adds the routes of the operators' listener.
pub fn ops_routes(config: &mut web::ServiceConfig) {
    let mut endpoints = health_endpoints();
    // Only this listener serves metrics, so the document does not have them.
    endpoints.push(endpoint(OPERATORS, metrics::metrics, metrics::__path_metrics));
    serve(config, endpoints);
}

fn serve(config: &mut web::ServiceConfig, endpoints: Vec<Endpoint>) {
    for resource in resources(endpoints) {
        config.service(resource);
    }
    config.default_service(web::to(not_found));
}

/// The endpoints of the public listener, in the order of their load, because the router tries them in order.
fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        endpoint(COUPONS, claims::claim_coupon, claims::__path_claim_coupon),
        endpoint(COUPONS, coupons::change_coupon, coupons::__path_change_coupon),
        endpoint(COUPONS, lists::list_coupons, lists::__path_list_coupons),
        endpoint(COUPONS, coupons::create_coupon, coupons::__path_create_coupon),
    ];
    endpoints.extend(sec::endpoints());
    endpoints.extend([
        endpoint(USERS, users::log_in, users::__path_log_in),
        endpoint(USERS, users::log_out, users::__path_log_out),
        endpoint(USERS, users::register, users::__path_register),
        endpoint(USERS, users::change_password, users::__path_change_password),
        endpoint(COUPONS, claims::list_claims, claims::__path_list_claims),
        endpoint(COUPONS, claims::export_claims, claims::__path_export_claims),
        endpoint(OPERATORS, status::show_status, status::__path_show_status),
        endpoint(OPERATORS, admin::show_limits, admin::__path_show_limits),
        endpoint(OPERATORS, admin::change_limits, admin::__path_change_limits),
        endpoint(OPERATORS, admin::show_switches, admin::__path_show_switches),
        endpoint(OPERATORS, admin::change_switches, admin::__path_change_switches),
        endpoint(OPERATORS, blacklist::list_blocks, blacklist::__path_list_blocks),
        endpoint(OPERATORS, blacklist::show_block, blacklist::__path_show_block),
        endpoint(OPERATORS, blacklist::put_block, blacklist::__path_put_block),
        endpoint(OPERATORS, blacklist::delete_block, blacklist::__path_delete_block),
        endpoint(OPERATORS, docs::show_document, docs::__path_show_document),
        endpoint(OPERATORS, docs::show_page, docs::__path_show_page),
        endpoint(OPERATORS, docs::show_file, docs::__path_show_file),
    ]);
    endpoints.extend(health_endpoints());
    endpoints
}

fn health_endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(OPERATORS, health::healthz, health::__path_healthz),
        endpoint(OPERATORS, health::readyz, health::__path_readyz),
    ]
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refuse(request.path(), NO_SUCH_PATH)
}

/// An error outside of a handler, in the form of the interface that the path belongs to.
fn refuse(path: &str, error: ApiError) -> HttpResponse {
    if sec::is_enveloped(path) { sec::SecError::from(error).response() } else { error.response() }
}

/// Completes every answer. Header names are sent in Camel-Case, because existing test plans match them with regard to case.
/// `Cache-Control` is `no-store` unless the handler sets another value. Each answer has a request id. A body over the limit is
/// refused before the handler runs.
pub async fn finish<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let id = request.headers().get(REQUEST_ID).filter(|id| is_request_id(id)).cloned();
    let id = id.unwrap_or_else(new_request_id);
    let mut response = match body::check(&mut request).await {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(refusal) => request.into_response(refusal).map_into_right_body(),
    };
    if let Some(shared) = response.request().app_data::<web::Data<Shared>>() {
        shared.answers.note(response.status());
    }
    let head = response.response_mut().head_mut();
    head.set_camel_case_headers(true);
    if !head.headers.contains_key(header::CACHE_CONTROL) {
        head.headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    head.headers.insert(REQUEST_ID, id);
    Ok(response)
}

/// Whether a request id is safe to send back and to log.
fn is_request_id(id: &HeaderValue) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_request_id() -> HeaderValue {
    // Faster than formatting the number as text.
    let number = rand::random::<u64>();
    let digits: [u8; 16] = std::array::from_fn(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    HeaderValue::from_bytes(&digits).expect("hex digits are visible ASCII")
}
