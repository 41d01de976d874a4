//! Documents the errors of an operation.
//!
//! Handlers' own constructors make the examples. So status, headers and sentence are those that the service sends.

use std::collections::BTreeMap;

use actix_web::body::MessageBody;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Content, Ref, RefOr, Response};

use super::{JSON, string, whole_number};
use crate::admission::TurnedAway;
use crate::http::error::ApiError;
use crate::http::extractors::{NO_SUCH_SALER, NOT_YOURS, ONLY_ADMINS, ONLY_SALER_OR_ADMIN, WITHOUT_RIGHT};
use crate::http::proving::{REAUTHENTICATION_REQUIRED, WRONG_PROOF};
use crate::http::sec::envelope::SecError;

/// Responses of an operation by status.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// An error of one of the interfaces.
pub trait DocumentedError: ResponseError {
    /// The name of the body's schema.
    const SCHEMA: &'static str;

    fn message(&self) -> &str;
}

impl DocumentedError for ApiError {
    const SCHEMA: &'static str = "Error";

    fn message(&self) -> &str {
        self.message()
    }
}

impl DocumentedError for SecError {
    const SCHEMA: &'static str = "EnvelopedError";

    fn message(&self) -> &str {
        self.message()
    }
}

/// Declares the type `$name` for `responses(...)` of `#[utoipa::path]`, with the listed errors and those of each group.
macro_rules! failures {
    ($name:ident: $error:ty = [$($failure:expr),* $(,)?] $(, $group:expr)* $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> $crate::http::openapi::Responses {
                let mut responses = std::collections::BTreeMap::new();
                $($crate::http::openapi::add_failure(&mut responses, &<$error>::from($failure));)*
                $(for failure in $group {
                    $crate::http::openapi::add_failure(&mut responses, &<$error>::from(failure));
                })*
                responses
            }
        }
    };
}
pub(crate) use failures;

/// Errors of a request without a valid token.
pub fn token() -> [ApiError; 2] {
    [ApiError::not_logged_in(), ApiError::token_expired()]
}

/// Errors of a request to a route of merchants without a valid token, or without the right.
pub fn merchants() -> [ApiError; 3] {
    [ApiError::not_logged_in(), ApiError::token_expired(), WITHOUT_RIGHT]
}

/// Errors of a request without the token of the saler in the path or of an admin.
pub fn salers() -> [ApiError; 5] {
    [ApiError::not_logged_in(), ApiError::token_expired(), ONLY_SALER_OR_ADMIN, NOT_YOURS, NO_SUCH_SALER]
}

/// Errors of a request without an admin's token.
pub fn admins() -> [ApiError; 3] {
    [ApiError::not_logged_in(), ApiError::token_expired(), ONLY_ADMINS]
}

/// Errors of a change for which an admin with a second factor must prove who is asking.
pub fn reauthentication() -> [ApiError; 3] {
    [REAUTHENTICATION_REQUIRED, WRONG_PROOF, ApiError::from(TurnedAway::TooFast { wait_seconds: 1 })]
}

/// Errors of a change in MySQL or Redis.
pub fn change() -> [ApiError; 3] {
    [ApiError::overloaded(), ApiError::unavailable(), ApiError::unknown_outcome()]
}

pub fn admission() -> [ApiError; 3] {
    [TurnedAway::Blocked, TurnedAway::TooFast { wait_seconds: 1 }, TurnedAway::Off].map(ApiError::from)
}

pub fn add_failure<F: DocumentedError>(responses: &mut Responses, failure: &F) {
    add_case(responses, failure.message(), failure.error_response(), error_schema::<F>());
}

pub fn error_schema<F: DocumentedError>() -> RefOr<Schema> {
    Ref::from_schema_name(F::SCHEMA).into()
}

/// Adds one case of an answer to the response of its status.
pub fn add_case(responses: &mut Responses, when: &str, answer: HttpResponse, schema: RefOr<Schema>) {
    let status = answer.status().as_str().to_owned();
    let RefOr::T(response) = responses.entry(status).or_insert_with(|| RefOr::T(Response::default())) else { return };
    if !response.description.contains(when) {
        let separator = if response.description.is_empty() { "" } else { " / " };
        response.description.extend([separator, when]);
    }
    let headers = [
        (header::RETRY_AFTER, "Retry-After", whole_number(), "Seconds after which a retry makes sense."),
        (header::WWW_AUTHENTICATE, "Www-Authenticate", string(), "The kind of token that is needed."),
    ];
    for (_, sent, schema, text) in headers.into_iter().filter(|(name, ..)| answer.headers().contains_key(name)) {
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build();
        response.headers.insert(sent.to_owned(), header.into());
    }
    let content = response.content.entry(JSON.to_owned()).or_insert_with(|| RefOr::T(Content::default()));
    let RefOr::T(content) = content else { return };
    content.schema = Some(match content.schema.take() {
        None => schema,
        Some(known) if known == schema => known,
        Some(RefOr::T(Schema::AnyOf(any))) if any.items.contains(&schema) => RefOr::T(any.into()),
        Some(known) => RefOr::T(AnyOfBuilder::new().item(known).item(schema).build().into()),
    });
    let body = answer.into_body().try_into_bytes().unwrap_or_default();
    let example = ExampleBuilder::new().summary(when).value(serde_json::from_slice(&body).ok()).build();
    content.examples.insert((content.examples.len() + 1).to_string(), example.into());
}
