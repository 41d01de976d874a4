//! The table of all routes: it makes the router and the OpenAPI document.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use super::docs::ApiDocument;
use super::error::{ApiError, Code};
use super::openapi::{self, admin as of_admin, coupons as of_coupons, users as of_users};
use super::refuse::refuse;
use super::route::Path;
use super::{admin, blacklist, claims, coupons, docs, health, lists, metrics, pages, sec, status, users};

/// The document as JSON. All workers share it.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::to_json(&document()).into());

/// The OpenAPI document of all routes for users.
pub fn document() -> OpenApi {
    openapi::document(&paths())
}

/// Adds every route for users.
pub fn routes(config: &mut web::ServiceConfig) {
    config.app_data(web::Data::new(ApiDocument(DOCUMENT.clone())));
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
