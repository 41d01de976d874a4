//! The OpenAPI document: what the interface is, for programs, made from the table that the router is made from.
//!
//! What is said of each operation stands beside this file, in the order of the wire contract; what every answer has in
//! common is in [`operation`].

pub mod admin;
pub mod coupons;
mod headers;
mod operation;
pub mod sales;
mod schemas;
pub mod users;

use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder, PathsBuilder};

use crate::http::error::Code;
use crate::http::route::Path;
use operation::{BEARER, SIGNATURE, TOKEN};
use schemas::{one_of, string};

const ABOUT: &str = "\
Claims of coupons that are limited in number, while a crowd arrives at once. **Users** register and log in; **salers** offer \
coupons; **customers** claim them. The flash-sale interface speaks of the same coupons as *products* that are sold in \
*activities*, in an envelope of its own.

- HEAD works wherever GET does, and a slash at the end of a path changes nothing. A path with another method is 405 with \
`Allow`, an unknown one 404.
- Keys of JSON bodies match without regard to case, unknown ones are ignored, and `Content-Type` is not looked at.
- A 503 whose code is `unknown-outcome` (1008 in an envelope) may have happened: asking again is safe and tells. After any \
other 503 nothing has happened. `Retry-After` says when to ask again.";

/// The document.
pub fn document(paths: &[Path]) -> OpenApi {
    let paths = paths.iter().fold(PathsBuilder::new(), |paths, path| {
        let (template, item) = path.describe();
        paths.path(template, item)
    });
    let mut info = Info::new("couponrush", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let tags = [
        (users::TAG, "Registering, logging in and out"),
        (coupons::TAG, "The coupon interface: offering, claiming, listing"),
        (sales::TAG, "The flash-sale interface: products, activities, buying"),
        (admin::TAG, "For operators"),
    ];
    let tags = tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let components = ComponentsBuilder::new()
        .schema("Error", error())
        .schema("EnvelopedError", enveloped_error())
        .security_scheme(TOKEN, raw_token())
        .security_scheme(SIGNATURE, signature())
        .security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    OpenApiBuilder::new().info(info).paths(paths).tags(Some(tags)).components(Some(components.build())).build()
}

/// The document as it is sent and printed.
pub fn to_json(document: &OpenApi) -> String {
    document.to_json().expect("a document has string keys and no failing serializers")
}

fn raw_token() -> SecurityScheme {
    let about = "The token that the login answers, as it stands; `Bearer` before it is accepted too.";
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", about)))
}

fn signature() -> SecurityScheme {
    let about = "The signed form of `/sec/kill`, where it is on: what the login answered in this header, with `time`, `nance` \
                 and `auth_code` among the parameters.";
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("AuthSign", about)))
}

/// A failed request of Parts 1 and 3 of the interface.
fn error() -> Schema {
    let text = "A sentence for people.";
    let blamed = "The name of the field, parameter or header to blame, where it is one.";
    let message = ObjectBuilder::new().schema_type(Type::String).description(Some(text));
    let codes = Code::ALL.map(Code::as_str);
    let mut error = ObjectBuilder::new()
        .property("errMsg", message)
        .property("code", one_of(&codes))
        .property("field", ObjectBuilder::new().schema_type(Type::String).description(Some(blamed)))
        .required("errMsg")
        .required("code");
    // Old clients of the login and of the lists read these in every answer.
    error = error.property("kind", one_of(&[""]));
    let nothing = utoipa::openapi::ArrayBuilder::new().items(string()).max_items(Some(0));
    Schema::Object(error.property("data", nothing).build())
}

/// A failed request of Part 2.
fn enveloped_error() -> Schema {
    let code = "1001 to 1011, or the HTTP status where none of them fits.";
    let code = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).description(Some(code));
    let error = ObjectBuilder::new()
        .property("code", code)
        .property("msg", string())
        .property("data", one_of(&[""]))
        .required("code")
        .required("msg")
        .required("data");
    Schema::Object(error.build())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::routes::document;

    /// What does not fit of an example: keys that a schema does not know, or lacks.
    fn misfits(schema: &Value, example: &Value, place: &str) -> Vec<String> {
        if let (Some(properties), Some(object)) = (schema["properties"].as_object(), example.as_object()) {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|key| !object.contains_key(*key)).map(|key| format!("{place} lacks {key}"));
            let inner = object.iter().flat_map(|(key, value)| match properties.get(key) {
                Some(schema) => misfits(schema, value, &format!("{place}.{key}")),
                None => vec![format!("{place}.{key} is unknown")],
            });
            return missing.chain(inner).collect();
        }
        let items = example.as_array().into_iter().flatten();
        items.flat_map(|item| misfits(&schema["items"], item, place)).collect()
    }

    #[test]
    fn every_example_fits_its_schema() {
        let document: Value = serde_json::from_str(&to_json(&document())).expect("it is JSON");
        let mut examined = 0;
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                let request = &operation["requestBody"]["content"]["application/json"];
                let place = format!("{method} {path}");
                assert_eq!(misfits(&request["schema"], &request["example"], &place), [] as [String; 0]);
                for (status, response) in operation["responses"].as_object().expect("answers") {
                    let content = &response["content"]["application/json; charset=utf-8"];
                    for (name, example) in content["examples"].as_object().into_iter().flatten() {
                        let reference = content["schema"]["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
                        let schema = reference.map_or(Some(&content["schema"]), |at| document.pointer(at));
                        let schema = schema.expect("the reference leads somewhere");
                        let one =
                            |schema: &Value| misfits(schema, &example["value"], &format!("{place} {status} {name}"));
                        let found = match schema["anyOf"].as_array() {
                            None => one(schema),
                            Some(any) => any.iter().map(one).min_by_key(Vec::len).unwrap_or_default(),
                        };
                        assert_eq!(found, [] as [String; 0]);
                        examined += 1;
                    }
                }
            }
        }
        assert!(examined > 100, "{examined}");
    }
}
