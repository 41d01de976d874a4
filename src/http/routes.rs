//! The table of all endpoints. The router and the OpenAPI document are made from it.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::OpenApi;

use Class::{Account, Claim, Export, Free, Glance, Logout, Operator, Read, Write};

use super::docs::ApiDocument;
use super::error::NO_SUCH_PATH;
use super::openapi::{self, COUPONS, OPERATORS, USERS};
use super::refuse::refuse;
use super::route::{Endpoint, endpoint, resources};
use super::{
    accounts, admin, blacklist, claims, coupons, docs, health, lists, logins, merchant_keys, metrics, own_account,
    pages, sec, second_factor, staff, status, trail_list, users,
};
use crate::admission::Class;

/// Made once, because the document does not change while the program runs.
static DOCUMENT: LazyLock<web::Data<ApiDocument>> =
    LazyLock::new(|| web::Data::new(ApiDocument(openapi::to_json(&document()).into())));

/// The OpenAPI document of the public listener.
pub fn document() -> OpenApi {
    openapi::describe(&endpoints())
}

/// Adds the routes of the users' listener. Without `for_operators`, those below `/admin` are left out.
pub fn routes(config: &mut web::ServiceConfig, for_operators: bool) {
    config.app_data(DOCUMENT.clone());
    let mut endpoints = endpoints();
    endpoints.retain(|endpoint| for_operators || endpoint.class != Operator);
    serve(config, endpoints);
    pages::routes(config, |page| for_operators || page != pages::OF_OPERATORS);
}

/// Adds the routes of the operators' listener: health, metrics, and all that the page of operators needs.
pub fn ops_routes(config: &mut web::ServiceConfig) {
    let mut endpoints = health_endpoints();
    // Only this listener serves metrics, so the document does not have them.
    endpoints.push(endpoint(OPERATORS, Free, metrics::metrics, metrics::__path_metrics));
    endpoints.extend(admin_endpoints().into_iter().filter(|endpoint| endpoint.class == Operator));
    endpoints.extend(session_endpoints());
    serve(config, endpoints);
    pages::routes(config, |page| page == pages::OF_OPERATORS);
}

fn serve(config: &mut web::ServiceConfig, endpoints: Vec<Endpoint>) {
    for resource in resources(endpoints) {
        config.service(resource);
    }
    config.default_service(web::to(not_found));
}

/// The endpoints of the public listener. The router tries them in order, so the busiest come first.
fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        endpoint(COUPONS, Claim, claims::claim_coupon, claims::__path_claim_coupon),
        endpoint(COUPONS, Write, coupons::change_coupon, coupons::__path_change_coupon),
        endpoint(COUPONS, Read, lists::list_coupons, lists::__path_list_coupons),
        endpoint(COUPONS, Write, coupons::create_coupon, coupons::__path_create_coupon),
    ];
    endpoints.extend(sec::endpoints());
    endpoints.extend(session_endpoints());
    endpoints.extend([
        endpoint(USERS, Account, users::register, users::__path_register),
        endpoint(USERS, Account, own_account::erase_account, own_account::__path_erase_account),
        endpoint(USERS, Read, own_account::show_own_account, own_account::__path_show_own_account),
        endpoint(USERS, Export, own_account::show_own_data, own_account::__path_show_own_data),
        endpoint(COUPONS, Read, claims::list_claims, claims::__path_list_claims),
        endpoint(COUPONS, Export, claims::export_claims, claims::__path_export_claims),
        endpoint(USERS, Account, staff::add_staff, staff::__path_add_staff),
        endpoint(USERS, Read, staff::list_staff, staff::__path_list_staff),
        endpoint(USERS, Write, staff::delete_staff, staff::__path_delete_staff),
        endpoint(USERS, Write, merchant_keys::add_key, merchant_keys::__path_add_key),
        endpoint(USERS, Read, merchant_keys::list_keys, merchant_keys::__path_list_keys),
        endpoint(USERS, Write, merchant_keys::delete_key, merchant_keys::__path_delete_key),
    ]);
    endpoints.extend(admin_endpoints());
    endpoints.extend(health_endpoints());
    endpoints
}

fn session_endpoints() -> [Endpoint; 5] {
    [
        endpoint(USERS, Account, logins::log_in, logins::__path_log_in),
        endpoint(USERS, Logout, logins::log_out, logins::__path_log_out),
        endpoint(USERS, Account, users::change_password, users::__path_change_password),
        endpoint(USERS, Account, users::reset_password, users::__path_reset_password),
        endpoint(USERS, Account, second_factor::put_factor, second_factor::__path_put_factor),
    ]
}

fn admin_endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(OPERATORS, Operator, status::show_status, status::__path_show_status),
        endpoint(OPERATORS, Operator, admin::show_limits, admin::__path_show_limits),
        endpoint(OPERATORS, Operator, admin::change_limits, admin::__path_change_limits),
        endpoint(OPERATORS, Operator, admin::show_switches, admin::__path_show_switches),
        endpoint(OPERATORS, Operator, admin::change_switches, admin::__path_change_switches),
        endpoint(OPERATORS, Operator, trail_list::list_trail, trail_list::__path_list_trail),
        endpoint(OPERATORS, Operator, accounts::list_awaiting, accounts::__path_list_awaiting),
        endpoint(OPERATORS, Operator, accounts::show_account, accounts::__path_show_account),
        endpoint(OPERATORS, Operator, accounts::change_account, accounts::__path_change_account),
        endpoint(OPERATORS, Operator, accounts::end_sessions, accounts::__path_end_sessions),
        endpoint(OPERATORS, Operator, accounts::make_password_link, accounts::__path_make_password_link),
        endpoint(OPERATORS, Operator, accounts::end_all_sessions, accounts::__path_end_all_sessions),
        endpoint(OPERATORS, Operator, blacklist::list_blocks, blacklist::__path_list_blocks),
        endpoint(OPERATORS, Operator, blacklist::show_block, blacklist::__path_show_block),
        endpoint(OPERATORS, Operator, blacklist::put_block, blacklist::__path_put_block),
        endpoint(OPERATORS, Operator, blacklist::delete_block, blacklist::__path_delete_block),
        endpoint(OPERATORS, Glance, docs::show_document, docs::__path_show_document),
        endpoint(OPERATORS, Glance, docs::show_page, docs::__path_show_page),
        endpoint(OPERATORS, Glance, docs::show_file, docs::__path_show_file),
    ]
}

fn health_endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(OPERATORS, Free, health::healthz, health::__path_healthz),
        endpoint(OPERATORS, Free, health::readyz, health::__path_readyz),
    ]
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refuse(request.path(), NO_SUCH_PATH)
}

#[cfg(test)]
mod tests {
    use Class::{Redeem, Stream};
    use utoipa::openapi::path::HttpMethod;

    use super::*;

    #[test]
    fn the_class_of_a_route_fits_its_method_and_its_path() {
        let endpoints = endpoints();
        assert!(endpoints.len() > 30, "{}", endpoints.len());
        for Endpoint { template, method, class, .. } in &endpoints {
            // Both answer a body and change nothing.
            let is_read = *method == HttpMethod::Get || ["/sec/token", "/sec/ticket"].contains(&template.as_str());
            let fits = match class {
                Glance | Read | Export | Stream | Free => is_read,
                Claim | Write | Redeem | Logout | Account => !is_read,
                Operator => template.starts_with("/admin/"),
            };
            assert!(fits, "{template} has the class {class:?}");
            assert!(*class == Operator || !template.starts_with("/admin/"), "{template} has no class of operators");
            let is_free = ["/healthz", "/readyz"].contains(&template.as_str());
            assert_eq!(*class == Free, is_free, "{template}: nothing that does work is free");
        }
    }
}
