//! HTTP: actix, JSON shapes and status codes.
//!
//! A handler extracts, parses, makes one call, and answers. [`finish`] adds the common parts of all answers.

mod admin;
mod answer;
mod assets;
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

use crate::admission::Admission;
use crate::auth::{ClaimTokens, Passwords, SignedForm, UserTokens};
use crate::claim::{Claiming, Directory, KnownCoupons};
use crate::domain::Networks;
use crate::memory::Revocations;
use crate::mysql::Db;
use crate::ops::Health;
use crate::redis::{Connection, Link, Live, Pool};
use crate::sales::{Events, Publishing, Scheduling};
use error::{ApiError, Code};
use openapi::{admin as of_admin, coupons as of_coupons, users as of_users};
use route::Path;

pub use body::BodyLimits;
pub use list_cache::ListCache;
pub use metrics::Answers;
pub use openapi::{document, to_json};
pub use sec::{Sales, SalesLimits};
pub use shared_reads::SharedReads;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The state shared by all workers.
pub struct Shared {
    pub db: Db,
    pub claiming: Claiming,
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    pub directory: Directory,
    pub passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    /// The signed form of `/sec/kill`, or `None` without a secret for it.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub health: Arc<Health>,
    pub body: BodyLimits,
    /// Connections to Redis for all work except claims and lists.
    pub pool: Pool,
    /// Timeout of a read from Redis.
    pub kv_wait: Duration,
    pub saler_coupons_max: u32,
    pub sales: Sales,
    pub events: Arc<Events>,
    /// A permit for each simultaneous export.
    pub exports: Arc<Semaphore>,
    pub admission: Admission,
    /// Peers whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Networks,
    /// Cached answers of lists, used while lists are switched off.
    pub lists: ListCache,
    pub answers: Answers,
    /// The name of this instance, made of host and address.
    pub instance: String,
}

/// The state of a worker thread.
pub struct Worker {
    pub shared: web::Data<Shared>,
    /// The worker's own connection to Redis.
    pub link: Arc<Link>,
    pub known: KnownCoupons,
    pub reads: SharedReads,
}

impl Shared {
    /// Returns the worker's connection and the `live` value for a read from Redis. Fails with 503 if one of both is
    /// missing.
    fn reading(&self, link: &Link) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        let live = self.claiming.gate.live().map_err(|_| ApiError::unavailable())?;
        Ok((connection, live))
    }

    /// The clock of Redis, in ms since 1970. It decides what is on sale.
    fn server_ms(&self, link: &Link) -> Result<u64, ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        Ok(connection.server_ms())
    }
}

/// Adds every route for users.
pub fn routes(config: &mut web::ServiceConfig) {
    serve(config, paths());
    pages::routes(config);
}

/// Adds the routes of the operators' listener.
pub fn ops_routes(config: &mut web::ServiceConfig) {
    serve(config, vec![Path::at("/metrics").get(metrics::metrics, of_admin::metrics)]);
    serve(config, health_paths());
}

fn serve(config: &mut web::ServiceConfig, paths: Vec<Path>) {
    for path in paths {
        config.service(path.into_service());
    }
    config.default_service(web::to(not_found));
}

/// Every path for users, with handlers and descriptions. The router tries the paths in order, so the busiest come
/// first.
fn paths() -> Vec<Path> {
    let mut paths = vec![
        Path::at("/api/users/{user}/coupons/{name}")
            .patch(claims::claim_coupon, of_coupons::claim_coupon)
            .put(coupons::change_coupon, of_coupons::change_coupon),
        Path::at("/api/users/{user}/coupons")
            .get(lists::list_coupons, of_coupons::list_coupons)
            .post(coupons::create_coupon, of_coupons::create_coupon),
    ];
    paths.extend(sec::paths());
    paths.extend([
        Path::at("/api/auth").post(users::log_in, of_users::log_in),
        Path::at("/api/auth/logout").post(users::log_out, of_users::log_out),
        Path::at("/api/users").post(users::register, of_users::register),
        Path::at("/api/users/{user}/password").put(users::change_password, of_users::change_password),
        Path::at("/api/users/{user}/coupons/{name}/claims").get(claims::list_claims, of_coupons::list_claims),
        Path::at("/api/users/{user}/coupons/{name}/claims.csv").get(claims::export_claims, of_coupons::export_claims),
    ]);
    paths.extend(admin_paths());
    paths.extend(health_paths());
    paths
}

fn admin_paths() -> Vec<Path> {
    vec![
        Path::at("/admin/status").get(status::show_status, of_admin::show_status),
        Path::at("/admin/limits")
            .get(admin::show_limits, of_admin::show_limits)
            .put(admin::change_limits, of_admin::change_limits),
        Path::at("/admin/switches")
            .get(admin::show_switches, of_admin::show_switches)
            .put(admin::change_switches, of_admin::change_switches),
        Path::at("/admin/blacklist").get(blacklist::list_blocks, of_admin::list_blocks),
        Path::at("/admin/blacklist/{kind:users|ips}/{value}")
            .get(blacklist::show_block, of_admin::show_block)
            .put(blacklist::put_block, of_admin::put_block)
            .delete(blacklist::delete_block, of_admin::delete_block),
        Path::at("/openapi.json").get(docs::show_document, of_admin::openapi),
        Path::at("/docs").get(docs::show_page, of_admin::docs),
        Path::at("/docs/{file}").get(docs::show_file, of_admin::docs_file),
    ]
}

fn health_paths() -> Vec<Path> {
    vec![
        Path::at("/healthz").get(health::healthz, of_admin::healthz),
        Path::at("/readyz").get(health::readyz, of_admin::readyz),
    ]
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refuse(request.path(), ApiError::new(Code::NotFound, "No such path."))
}

/// The answer for an error outside of a handler, in the format of the path's interface.
fn refuse(path: &str, error: ApiError) -> HttpResponse {
    sec::refuse(path, error).unwrap_or_else(|error| error.response())
}

/// Adds the common parts of all answers:
///
/// - header names in Camel-Case, because existing test plans extract headers with a case-sensitive expression,
/// - `Cache-Control: no-store`, unless the handler has set the header,
/// - a request id.
///
/// Bodies over the limit are refused here, because a handler may ignore its body.
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

/// Whether the id is safe to send back and to log.
fn is_request_id(id: &HeaderValue) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_request_id() -> HeaderValue {
    // The digits are computed directly, because formatting the number would take longer than the rest of this function.
    let number = rand::random::<u64>();
    let digits: [u8; 16] = std::array::from_fn(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    HeaderValue::from_bytes(&digits).expect("hex digits are visible ASCII")
}
