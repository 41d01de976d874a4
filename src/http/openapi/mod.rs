//! The OpenAPI document of the interface. The document and the router come from one table of endpoints (`routes.rs`).
//!
//! A handler's `#[utoipa::path]` describes the operation. This module adds the parts that all operations share.

mod failures;

use utoipa::PartialSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::schema::{ComponentsBuilder, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder, PathsBuilder, RefOr};

use super::browsers::CROSS_SITE;
use super::error::{ApiError, ErrorBody};
use super::refuse::is_enveloped;
use super::route::{Endpoint, without_expressions};
use super::sec::envelope::{EnvelopedError, SecError};
use crate::admission::{Class, TurnedAway};
pub(crate) use failures::failures;
pub use failures::{
    Responses, add_case, add_failure, admins, admission, change, error_schema, merchants, reauthentication, salers,
    token,
};

pub const USERS: &str = "Users";
pub const COUPONS: &str = "Coupons";
pub const SALES: &str = "Flash sales";
pub const OPERATORS: &str = "Operators";
const TAGS: [(&str, &str); 4] = [
    (USERS, "Registration, login, logout and passwords"),
    (COUPONS, "The coupon interface: offers, claims and lists"),
    (SALES, "The flash-sale interface: products, activities and purchases"),
    (OPERATORS, "Administration, health and documentation"),
];
/// A token in examples.
pub const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
/// The limit of bodies in examples. Equals the bound of the same name in `config/bounds.rs`.
const BODY_BYTES_MAX: usize = 4 * 1024;
const JSON: &str = "application/json; charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";
const ABOUT: &str = "\
Claims of limited coupons, while a crowd arrives at once. **Users** register and log in, **salers** offer coupons, and \
**customers** claim coupons. In the flash-sale interface, a coupon is a *product*, and a sale of a coupon is an *activity*. \
Answers of that interface have an envelope.

- HEAD works wherever GET works. A slash at the end of a path changes nothing. A path with another method is answered with \
405 and `Allow`, and an unknown path with 404.
- Keys of JSON bodies match without regard to case, and unknown keys are ignored. `Content-Type` does not matter.
- After a 503 with the code `unknown-outcome` (1008 in an envelope), the request may have taken effect. A retry is safe, and \
returns the outcome. After any other 503, nothing has happened. `Retry-After` says when to retry.";

pub fn describe(endpoints: &[Endpoint]) -> OpenApi {
    let paths = endpoints.iter().fold(PathsBuilder::new(), |paths, endpoint| {
        let item = PathItem::new(endpoint.method.clone(), operation(endpoint));
        paths.path(without_expressions(&endpoint.template), item)
    });
    let mut info = Info::new("couponrush", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let tags = TAGS.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let token = "The token from the login, or on routes of merchants a key. `Bearer` may stand before it.";
    let signature = "The signed form of `/sec/kill`, if the service has a sign secret. The value is the header of this name \
                     in the login's answer. `time`, `nance` and `auth_code` are among the parameters.";
    let key = |name, text| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, text)));
    let components = ComponentsBuilder::new()
        .schema("Error", ErrorBody::schema())
        .schema("EnvelopedError", EnvelopedError::schema())
        .security_scheme("token", key("Authorization", token))
        .security_scheme("signature", key("AuthSign", signature))
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    OpenApiBuilder::new().info(info).paths(paths).tags(Some(tags)).components(Some(components.build())).build()
}

pub fn to_json(document: &OpenApi) -> String {
    document.to_json().expect("a document has string keys and no failing serializers")
}

/// The description beside the handler, with the parts that all operations share.
fn operation(endpoint: &Endpoint) -> Operation {
    let mut operation = (endpoint.operation)();
    operation.tags = Some(vec![endpoint.tag.to_owned()]);
    let responses = &mut operation.responses.responses;
    // An operation that documents 401 needs a token, unless the attribute says otherwise.
    if operation.security.is_none() && responses.contains_key("401") {
        let none: [&str; 0] = [];
        operation.security = Some(["token", "bearer"].map(|name| SecurityRequirement::new(name, none)).into());
    }
    for response in responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        // The macro knows no character set.
        if let Some(content) = response.content.shift_remove("application/json") {
            response.content.insert(JSON.to_owned(), content);
        }
    }
    let of_class = of_class(endpoint.class).into_iter().map(ApiError::from);
    let of_site = (endpoint.method != HttpMethod::Get).then_some(CROSS_SITE);
    let of_body = [ApiError::too_slow(), ApiError::too_large(BODY_BYTES_MAX)];
    for failure in of_class.chain(of_site).chain(of_body) {
        if is_enveloped(&endpoint.template) {
            add_failure(responses, &SecError::from(failure));
        } else {
            add_failure(responses, &failure);
        }
    }
    for response in responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        let text = "The id of the request in logs. The service sends the request's id back, or a new id.";
        let header = HeaderBuilder::new().schema(Some(string())).description(Some(text)).build();
        response.headers.insert("X-Request-Id".to_owned(), header.into());
    }
    // The flash-sale interface takes each body as a form too.
    if let Some(RefOr::T(body)) = operation.request_body.as_mut().filter(|_| is_enveloped(&endpoint.template)) {
        body.content.extend(body.content.values().next().cloned().map(|content| (FORM.to_owned(), content)));
    }
    operation
}

/// Refusals of admission before the handler runs. Handlers of accounts document them, because the login's have a form of
/// their own.
fn of_class(class: Class) -> Vec<TurnedAway> {
    if class == Class::Account {
        return Vec::new();
    }
    let too_fast = class.is_checked_before_the_handler().then_some(TurnedAway::TooFast { wait_seconds: 1 });
    let blocked = class.refuses_blocked().then_some(TurnedAway::Blocked);
    too_fast.into_iter().chain(blocked).collect()
}

fn string() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

fn whole_number() -> Object {
    let format = SchemaFormat::Custom("int64".to_owned());
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).build()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::document;

    /// Keys of an example that a schema does not know, and keys that the example lacks.
    fn misfits(document: &Value, schema: &Value, example: &Value, place: &str) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let schema = document.pointer(reference.trim_start_matches('#')).expect("the reference leads somewhere");
            return misfits(document, schema, example, place);
        }
        if let Some(schemas) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let each = schemas.iter().map(|schema| misfits(document, schema, example, place));
            return each.min_by_key(Vec::len).unwrap_or_default();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let all = |key: &str| parts.iter().map(|part| part[key].clone()).collect::<Vec<_>>();
            let properties = all("properties").iter().filter_map(Value::as_object).flatten().map(pair).collect();
            let required = all("required").iter().filter_map(Value::as_array).flatten().cloned().collect();
            let whole = json!({"properties": Value::Object(properties), "required": Value::Array(required)});
            return misfits(document, &whole, example, place);
        }
        if let Some(object) = example.as_object().filter(|_| !schema["additionalProperties"].is_object()) {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|key| !object.contains_key(*key)).map(|key| format!("{place} lacks {key}"));
            let inner = object.iter().flat_map(|(key, value)| match schema["properties"].get(key) {
                Some(schema) => misfits(document, schema, value, &format!("{place}.{key}")),
                None => vec![format!("{place}.{key} is unknown")],
            });
            return missing.chain(inner).collect();
        }
        let items = example.as_array().into_iter().flatten();
        items.flat_map(|item| misfits(document, &schema["items"], item, place)).collect()
    }

    fn pair((key, value): (&String, &Value)) -> (String, Value) {
        (key.clone(), value.clone())
    }

    fn examples(content: &Value) -> impl Iterator<Item = &Value> {
        let named = content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
        named.chain(content.get("example"))
    }

    #[test]
    fn every_example_fits_its_schema() {
        let document: Value = serde_json::from_str(&to_json(&document())).expect("it is JSON");
        let (mut requests, mut answers) = (0, 0);
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                    for example in examples(content) {
                        let place = format!("{method} {path} {media_type}");
                        assert_eq!(misfits(&document, &content["schema"], example, &place), [] as [String; 0]);
                        requests += 1;
                    }
                }
                for (status, response) in operation["responses"].as_object().expect("answers") {
                    let content = &response["content"][JSON];
                    for example in examples(content) {
                        let place = format!("{method} {path} {status}");
                        assert_eq!(misfits(&document, &content["schema"], example, &place), [] as [String; 0]);
                        answers += 1;
                    }
                }
            }
        }
        assert!(requests > 15 && answers > 300, "{requests} and {answers}");
    }

    #[test]
    fn an_example_that_does_not_fit_is_found() {
        let document = json!({"a": {"required": ["x"], "properties": {"x": {}}}});
        let both = json!({"allOf": [{"properties": {"y": {"items": {"$ref": "#/a"}}}}, {"required": ["y"]}]});
        let schema = json!({"anyOf": [{"$ref": "#/a"}, both]});
        for (example, fits) in [
            (json!({"x": 1}), true),
            (json!({"y": [{"x": 1}]}), true),
            (json!({"x": 1, "z": 1}), false),
            (json!({"y": [{}]}), false),
            (json!({}), false),
        ] {
            assert_eq!(misfits(&document, &schema, &example, "").is_empty(), fits, "{example}");
        }
    }
}
