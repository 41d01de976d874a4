//! A path of the interface, with a handler and a description for each method.
//!
//! The table [`crate::http::paths`] is the source of both the router and the OpenAPI document. So no route can be
//! missing from the document. Pages for people (`pages.rs`) are not part of the interface and not in the table.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{FromRequest, Handler, HttpRequest, Responder, Route, guard, web};
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};

use super::error::{ApiError, Code};
use super::refuse::refuse;

/// The description of a method, for the OpenAPI document.
pub type Describe = fn() -> Operation;

/// A path with its methods.
pub struct Path {
    /// The path as the router reads it. A part with few possible values has a regular expression.
    template: &'static str,
    methods: Vec<(HttpMethod, Route, Describe)>,
}

impl Path {
    /// A path without methods.
    pub const fn at(template: &'static str) -> Self {
        Self { template, methods: Vec::new() }
    }

    /// GET, and HEAD with it.
    pub fn get<F, Args>(self, handler: F, describe: Describe) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Get, get().to(handler), describe)
    }

    pub fn post<F, Args>(self, handler: F, describe: Describe) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Post, web::post().to(handler), describe)
    }

    pub fn put<F, Args>(self, handler: F, describe: Describe) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Put, web::put().to(handler), describe)
    }

    pub fn patch<F, Args>(self, handler: F, describe: Describe) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Patch, web::patch().to(handler), describe)
    }

    pub fn delete<F, Args>(self, handler: F, describe: Describe) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Delete, web::delete().to(handler), describe)
    }

    fn with(mut self, method: HttpMethod, route: Route, describe: Describe) -> Self {
        self.methods.push((method, route, describe));
        self
    }

    /// The path for the router, with and without a final slash. All other methods get 405. A path without names is
    /// compared as plain text.
    pub fn into_service(self) -> impl HttpServiceFactory {
        let allowed = self.methods.iter().map(|(method, ..)| name(method)).collect::<Vec<_>>().join(", ");
        let resource = if self.template.contains('{') {
            web::resource(pattern(self.template))
        } else {
            web::resource([self.template.to_owned(), format!("{}/", self.template)])
        };
        let resource = self.methods.into_iter().fold(resource, |resource, (_, route, _)| resource.route(route));
        resource.default_service(not_allowed(allowed))
    }

    /// The path and its description for the OpenAPI document.
    pub fn describe(&self) -> (String, PathItem) {
        let mut item = PathItem::default();
        for (method, _, describe) in &self.methods {
            item.merge_operations(PathItem::new(method.clone(), describe()));
        }
        (without_expressions(self.template), item)
    }
}

/// GET, and HEAD with it.
pub fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A 405 that lists the allowed methods.
pub fn not_allowed(allowed: String) -> Route {
    web::to(move |request: HttpRequest| {
        let error = ApiError::new(Code::MethodNotAllowed, format!("This path knows {allowed}."));
        let mut response = refuse(request.path(), error);
        let allowed = HeaderValue::try_from(&allowed).expect("methods are visible ASCII");
        response.headers_mut().insert(header::ALLOW, allowed);
        async { response }
    })
}

fn name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET, HEAD",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
        _ => unreachable!("routes are made for these methods only"),
    }
}

/// The router's expression for a template with names. A single expression covers everything from the first name to the
/// end. Separate names would each cost a map access per request, and no handler asks the router for the values
/// (`path.rs` decodes the path).
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

/// The template for readers, with `{kind}` in place of `{kind:users|ips}`.
fn without_expressions(template: &str) -> String {
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
