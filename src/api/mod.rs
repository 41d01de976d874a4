//! HTTP: the only place that knows actix, JSON shapes and status codes.
//!
//! A handler extracts, parses, makes one call, and answers. What every answer has in common is in [`finish`].

mod admin;
mod answer;
mod blacklist;
mod body;
mod claims;
mod coupons;
mod error;
mod health;
mod list_cache;
mod lists;
mod path;
mod peer;
mod sec;
mod session;
mod users;

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};
use tokio::sync::Semaphore;

use crate::auth::{ClaimTokens, Passwords, Revocations, SignedForm, UserTokens};
use crate::claiming::Claiming;
use crate::db::Db;
use crate::directory::Directory;
use crate::domain::Networks;
use crate::events::Events;
use crate::gate::Admission;
use crate::health::Health;
use crate::kv::{Connection, Link, Live};
use crate::publishing::Publishing;
use crate::scheduling::Scheduling;
use error::{ApiError, Code};

pub use body::BodyLimits;
pub use list_cache::ListCache;
pub use sec::{Sales, SalesLimits};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What all workers share.
pub struct Shared {
    pub db: Db,
    pub claiming: Claiming,
    pub publishing: Publishing,
    pub scheduling: Scheduling,
    pub directory: Directory,
    pub passwords: Passwords,
    pub tokens: UserTokens,
    pub claim_tokens: ClaimTokens,
    /// Where the operator has given a secret for it.
    pub signed_form: Option<SignedForm>,
    pub revocations: Arc<Revocations>,
    pub health: Arc<Health>,
    pub body: BodyLimits,
    /// How long a read of Redis may take.
    pub kv_wait: Duration,
    pub saler_coupons_max: u32,
    pub sales: Sales,
    pub events: Arc<Events>,
    /// A permit for each export that may run at once.
    pub exports: Arc<Semaphore>,
    pub admission: Admission,
    /// Only from these is `X-Forwarded-For` believed.
    pub trusted_proxies: Networks,
    /// What lists answer while they are switched off.
    pub lists: ListCache,
}

impl Shared {
    /// What a read of Redis needs: this worker's connection and the loading that it must be of.
    fn reading(&self, link: &Link) -> Result<(Arc<Connection>, Arc<Live>), ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        let live = self.claiming.gate.live().map_err(|_| ApiError::unavailable())?;
        Ok((connection, live))
    }

    /// The clock that decides what is on sale: Redis', in ms since 1970.
    fn server_ms(&self, link: &Link) -> Result<u64, ApiError> {
        let connection = link.connection().map_err(|_| ApiError::unavailable())?;
        Ok(connection.server_ms())
    }
}

/// Every route for users, the hottest first: the router tries them in order.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/users/{user}/coupons/{name}")
                .route(web::patch().to(claims::claim_coupon))
                .route(web::put().to(coupons::change_coupon))
                .default_service(allow("PATCH, PUT")),
        )
        .service(
            at("/api/users/{user}/coupons")
                .route(get().to(lists::list_coupons))
                .route(web::post().to(coupons::create_coupon))
                .default_service(allow("GET, HEAD, POST")),
        )
        .configure(sec::routes)
        .service(at("/api/auth").route(web::post().to(users::log_in)).default_service(allow("POST")))
        .service(at("/api/auth/logout").route(web::post().to(users::log_out)).default_service(allow("POST")))
        .service(at("/api/users").route(web::post().to(users::register)).default_service(allow("POST")))
        .service(
            at("/api/users/{user}/password").route(web::put().to(users::change_password)).default_service(allow("PUT")),
        )
        .service(
            at("/api/users/{user}/coupons/{name}/claims")
                .route(get().to(claims::list_claims))
                .default_service(allow("GET, HEAD")),
        )
        .service(
            at("/api/users/{user}/coupons/{name}/claims.csv")
                .route(get().to(claims::export_claims))
                .default_service(allow("GET, HEAD")),
        )
        .configure(admin_routes)
        .configure(health_routes);
}

fn admin_routes(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/admin/limits")
                .route(get().to(admin::show_limits))
                .route(web::put().to(admin::change_limits))
                .default_service(allow("GET, HEAD, PUT")),
        )
        .service(
            at("/admin/switches")
                .route(get().to(admin::show_switches))
                .route(web::put().to(admin::change_switches))
                .default_service(allow("GET, HEAD, PUT")),
        )
        .service(
            at("/admin/blacklist/{kind:users|ips}/{value}")
                .route(get().to(blacklist::show_block))
                .route(web::put().to(blacklist::put_block))
                .route(web::delete().to(blacklist::delete_block))
                .default_service(allow("GET, HEAD, PUT, DELETE")),
        );
}

/// The routes that operators have on a listener of their own.
pub fn ops_routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/metrics").route(get().to(health::metrics)).default_service(allow("GET, HEAD")))
        .configure(health_routes);
}

fn health_routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/healthz").route(get().to(health::healthz)).default_service(allow("GET, HEAD")))
        .service(at("/readyz").route(get().to(health::readyz)).default_service(allow("GET, HEAD")))
        .default_service(web::to(not_found));
}

/// A path, with and without a slash at its end. Without names in it two plain texts are compared; with names one regular
/// expression is cheaper than a set of two.
fn at(path: &str) -> actix_web::Resource {
    if path.contains('{') {
        web::resource(format!("{path}{{slash:/?}}"))
    } else {
        web::resource([path.to_owned(), format!("{path}/")])
    }
}

/// GET, and HEAD with it.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// 405 for every other method.
fn allow(methods: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        let error = ApiError::new(Code::MethodNotAllowed, format!("This path knows {methods}."));
        let mut response = refuse(request.path(), error);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        response
    })
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refuse(request.path(), ApiError::new(Code::NotFound, "No such path."))
}

/// An error that no handler answers, in the words of the interface that the path belongs to.
fn refuse(path: &str, error: ApiError) -> HttpResponse {
    sec::refuse(path, error).unwrap_or_else(|error| error.response())
}

/// What every answer has in common: Camel-Case header names (existing plans extract with a case-sensitive expression),
/// `Cache-Control: no-store`, a request id; and no body over the limit gets as far as a handler that ignores it.
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
    let head = response.response_mut().head_mut();
    head.set_camel_case_headers(true);
    head.headers.insert(header::CACHE_CONTROL, NO_STORE);
    head.headers.insert(REQUEST_ID, id);
    Ok(response)
}

/// What may be sent back and logged as it stands.
fn is_request_id(id: &HeaderValue) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_request_id() -> HeaderValue {
    // Bits of one number: formatting it as text would take longer than all the rest of this.
    let number = rand::random::<u64>();
    let digits: [u8; 16] = std::array::from_fn(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    HeaderValue::from_bytes(&digits).expect("hex digits are visible ASCII")
}
