//! Endpoints: handlers with the path, method and description from their `#[utoipa::path]`.
//!
//! The table of endpoints (`routes.rs`) is the source of both the router and the OpenAPI document. So no route can be
//! missing from the document. Pages for people (`pages.rs`) are not part of the interface and not in the table.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, Resource, Responder, Route, guard, web};
use utoipa::openapi::path::{HttpMethod, Operation};

use super::admit::admit;
use super::error::{ApiError, Code};
use super::refuse::refuse;
use super::trail;
use crate::admission::Class;

pub struct Endpoint {
    /// The path of the attribute. A name may carry a regular expression: `{kind:users|ips}`.
    pub template: String,
    pub method: HttpMethod,
    pub operation: fn() -> Operation,
    /// The group of the operation in the document.
    pub tag: &'static str,
    /// What a request costs.
    pub class: Class,
    route: Route,
    /// The route's methods, for `Allow`.
    allowed: &'static str,
}

/// Joins a handler with `path`, the type that `#[utoipa::path]` has made for the handler. Requests over a limit of `class`
/// do not reach the handler.
pub fn endpoint<F, Args, P>(tag: &'static str, class: Class, handler: F, _path: P) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
    P: utoipa::Path,
{
    let method = P::methods().pop().expect("the attribute names a method");
    let (route, allowed) = match method {
        HttpMethod::Get => (get(), "GET, HEAD"),
        HttpMethod::Post => (web::post(), "POST"),
        HttpMethod::Put => (web::put(), "PUT"),
        HttpMethod::Patch => (web::patch(), "PATCH"),
        HttpMethod::Delete => (web::delete(), "DELETE"),
        _ => unreachable!("no handler has another method"),
    };
    let mut route = route.to(handler);
    if class.is_checked_before_the_handler() {
        route = route.wrap(from_fn(move |request, next| admit(class, request, next)));
    }
    if trail::is_noted(class, &Method::POST) {
        let event = P::operation().operation_id.unwrap_or_default();
        route = route.wrap(from_fn(move |request, next| trail::note(class, event.clone(), request, next)));
    }
    Endpoint { template: P::path(), method, operation: P::operation, tag, class, route, allowed }
}

/// One resource for each path, in the order of `endpoints`. Accepts a slash at the end. Another method gets 405.
pub fn resources(endpoints: Vec<Endpoint>) -> Vec<Resource> {
    let mut paths: Vec<(String, Vec<Endpoint>)> = Vec::new();
    for endpoint in endpoints {
        match paths.iter_mut().find(|(template, _)| *template == endpoint.template) {
            Some((_, same)) => same.push(endpoint),
            None => paths.push((endpoint.template.clone(), vec![endpoint])),
        }
    }
    paths.into_iter().map(|(template, endpoints)| resource(&template, endpoints)).collect()
}

fn resource(template: &str, endpoints: Vec<Endpoint>) -> Resource {
    let allowed = endpoints.iter().map(|endpoint| endpoint.allowed).collect::<Vec<_>>().join(", ");
    let resource = if template.contains('{') {
        web::resource(pattern(template))
    } else {
        web::resource([template.to_owned(), format!("{template}/")])
    };
    let resource = endpoints.into_iter().fold(resource, |resource, endpoint| resource.route(endpoint.route));
    resource.default_service(not_allowed(allowed))
}

pub fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A 405 that lists the allowed methods.
pub fn not_allowed(allowed: String) -> Route {
    web::to(move |request: HttpRequest| {
        let error = ApiError::formatted(Code::MethodNotAllowed, format!("This path knows {allowed}."));
        let mut response = refuse(request.path(), error);
        let allowed = HeaderValue::try_from(&allowed).expect("methods are visible ASCII");
        response.headers_mut().insert(header::ALLOW, allowed);
        async { response }
    })
}

/// The router's expression for a template with names. One expression covers the path from the first name to the end,
/// because each name costs a map access per request. No handler asks the router for values (see `path.rs`).
fn pattern(template: &str) -> String {
    let mut parts = template.split(['{', '}']);
    let start = parts.next().unwrap_or_default();
    let mut expression = String::new();
    for (place, part) in parts.enumerate() {
        match (place % 2, part.split_once(':')) {
            (0, Some((_, values))) => expression.extend(["(?:", values, ")"]),
            (0, None) => expression.push_str("[^/]+"),
            _ => expression.push_str(&part.replace('.', r"\.")),
        }
    }
    format!("{start}{{rest:{expression}/?}}")
}

/// The template as OpenAPI writes it, without regular expressions.
pub fn without_expressions(template: &str) -> String {
    let mut inside = false;
    let mut path = template.to_owned();
    path.retain(|character| {
        inside = (inside || character == ':') && character != '}';
        !inside
    });
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_has_one_name_for_all_that_a_path_may_be() {
        assert_eq!(pattern("/a/{user}/b/{name}/c.csv"), r"/a/{rest:[^/]+/b/[^/]+/c\.csv/?}");
        assert_eq!(pattern("/a/{kind:users|ips}/{value}"), "/a/{rest:(?:users|ips)/[^/]+/?}");
    }

    #[test]
    fn expressions_of_the_router_do_not_show() {
        assert_eq!(without_expressions("/a/{kind:users|ips}/{value}"), "/a/{kind}/{value}");
        assert_eq!(without_expressions("/plain"), "/plain");
    }
}
