//! Short words for describing an operation.
//!
//! Answers are shown by samples: they are made by the same functions that the handlers answer with, so that status, headers
//! and examples are what the service sends.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::header;
use serde_json::Value;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AnyOfBuilder, Object, Schema};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{RefOr, Required, Response, ResponseBuilder};
use utoipa::{PartialSchema, openapi::Ref};

use super::headers;
use super::schemas::{one_of, string, whole_number};
use crate::http::error::ApiError;
use crate::http::sec::envelope::SecError;

/// As the samples say it; the bound itself is a setting.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Names of the two ways to say who one is.
pub const TOKEN: &str = "token";
pub const BEARER: &str = "bearer";
pub const SIGNATURE: &str = "signature";

/// An operation as it is being described.
pub struct Described {
    operation: OperationBuilder,
    /// By status: when it is given and what is sent.
    answers: BTreeMap<u16, Vec<Sample>>,
    in_envelope: bool,
}

/// One case of an answer.
struct Sample {
    when: String,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    schema: Option<RefOr<Schema>>,
}

/// Begins to describe an operation of Part 1 or 3 of the interface.
pub fn operation(id: &str, tag: &str, summary: &str) -> Described {
    begin(id, tag, summary, false)
}

/// Begins to describe an operation of Part 2, whose errors come in an envelope.
pub fn operation_in_envelope(id: &str, tag: &str, summary: &str) -> Described {
    begin(id, tag, summary, true)
}

fn begin(id: &str, tag: &str, summary: &str, in_envelope: bool) -> Described {
    let operation = OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary));
    Described { operation, answers: BTreeMap::new(), in_envelope }
}

impl Described {
    pub fn about(self, text: &str) -> Self {
        Self { operation: self.operation.description(Some(text)), ..self }
    }

    /// It needs a token.
    pub fn with_token(self) -> Self {
        let none: [&str; 0] = [];
        let [raw, bearer] = [TOKEN, BEARER].map(|name| SecurityRequirement::new(name, none));
        let described = Self { operation: self.operation.security(raw).security(bearer), ..self };
        let expired = ApiError::new(crate::http::openapi::Code::TokenExpired, "Authorization has expired.");
        described.fails([ApiError::not_logged_in(), expired])
    }

    /// A token that may be left out.
    pub fn with_optional_token(self) -> Self {
        let none: [&str; 0] = [];
        let [raw, bearer] = [TOKEN, BEARER].map(|name| SecurityRequirement::new(name, none));
        let operation = self.operation.security(SecurityRequirement::default()).security(raw).security(bearer);
        Self { operation, ..self }
    }

    /// A token, or the signed form.
    pub fn with_token_or_signature(self) -> Self {
        let none: [&str; 0] = [];
        let ways = [TOKEN, BEARER, SIGNATURE].map(|name| SecurityRequirement::new(name, none));
        Self { operation: self.operation.securities(Some(ways)), ..self }
    }

    /// A part of the path that is one of these words.
    pub fn path_of(self, name: &str, text: &str, words: &[&str]) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, text, one_of(words), words[0].into())
    }

    /// A part of the path.
    pub fn path(self, name: &str, text: &str, example: &str) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, text, string(), example.into())
    }

    pub fn query(self, name: &str, required: Required, text: &str, schema: Object, example: Value) -> Self {
        self.parameter(name, ParameterIn::Query, required, text, schema, example)
    }

    /// `?page=`, from 1.
    pub fn page(self) -> Self {
        let text = "From 1, which is also what is absent, 0 or negative.";
        self.query("page", Required::False, text, whole_number("int64"), 1.into())
    }

    pub fn header(self, name: &str, text: &str, schema: Object, example: Value) -> Self {
        self.parameter(name, ParameterIn::Header, Required::False, text, schema, example)
    }

    fn parameter(
        self,
        name: &str,
        place: ParameterIn,
        required: Required,
        text: &str,
        schema: Object,
        example: Value,
    ) -> Self {
        let parameter: Parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(text))
            .schema(Some(schema))
            .example(Some(example))
            .build();
        Self { operation: self.operation.parameter(parameter), ..self }
    }

    /// A JSON body, whatever its `Content-Type` says.
    pub fn body<T: PartialSchema>(self, example: Value) -> Self {
        self.request(T::schema(), &["application/json"], Required::True, &example)
    }

    /// A JSON body that may be left out.
    pub fn optional_body<T: PartialSchema>(self, example: Value) -> Self {
        self.request(T::schema(), &["application/json"], Required::False, &example)
    }

    /// Parameters, as a form or as JSON.
    pub fn parameters<T: PartialSchema>(self, example: Value) -> Self {
        let types = ["application/x-www-form-urlencoded", "application/json"];
        self.request(T::schema(), &types, Required::True, &example)
    }

    fn request(self, schema: RefOr<Schema>, types: &[&str], required: Required, example: &Value) -> Self {
        let content = |schema| ContentBuilder::new().schema(Some(schema)).example(Some(example.clone())).build();
        let body = types.iter().fold(RequestBodyBuilder::new().required(Some(required)), |body, name| {
            body.content(*name, content(schema.clone()))
        });
        Self { operation: self.operation.request_body(Some(body.build())), ..self }
    }

    /// An answer without a body, or one that is not JSON.
    pub fn answers(self, when: &str, response: HttpResponse) -> Self {
        self.sample(when.to_owned(), response, None)
    }

    /// A JSON answer.
    pub fn answers_with<T: PartialSchema>(self, when: &str, response: HttpResponse) -> Self {
        self.sample(when.to_owned(), response, Some(T::schema()))
    }

    /// What goes wrong, in the words of the operation's interface.
    pub fn fails<const N: usize>(self, errors: [ApiError; N]) -> Self {
        errors.into_iter().fold(self, |described, error| {
            if described.in_envelope {
                described.refuses([SecError::from(error)])
            } else {
                described.sample(error.message().to_owned(), error.response(), Some(error_schema("Error")))
            }
        })
    }

    /// The same, for what only Part 2 knows.
    pub fn refuses<const N: usize>(self, errors: [SecError; N]) -> Self {
        errors.into_iter().fold(self, |described, error| {
            described.sample(error.message().to_owned(), error.response(), Some(error_schema("EnvelopedError")))
        })
    }

    /// An error that this operation answers in a way of its own.
    pub fn failed(self, error: &ApiError, response: HttpResponse) -> Self {
        self.sample(error.message().to_owned(), response, Some(error_schema("Error")))
    }

    fn sample(mut self, when: String, response: HttpResponse, schema: Option<RefOr<Schema>>) -> Self {
        let text = |value: &header::HeaderValue| value.to_str().expect("samples send ASCII").to_owned();
        let content_type = response.headers().get(header::CONTENT_TYPE).map(text);
        let named = response.headers().iter().filter(|(name, _)| **name != header::CONTENT_TYPE);
        let headers = named.map(|(name, value)| (headers::camel_case(name.as_str()), text(value))).collect();
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().map_or_else(|_| Vec::new(), |bytes| bytes.to_vec());
        self.answers.entry(status).or_default().push(Sample { when, content_type, headers, body, schema });
        self
    }

    /// The operation, with what may happen on every path.
    pub fn build(self) -> Operation {
        let described = self.fails([ApiError::too_slow(), ApiError::too_large(BODY_BYTES_MAX)]);
        let answers = described.answers.into_iter();
        answers
            .fold(described.operation, |operation, (status, samples)| {
                operation.response(status.to_string(), response(&samples))
            })
            .build()
    }
}

/// All cases of one status.
fn response(samples: &[Sample]) -> Response {
    let mut whens: Vec<&str> = samples.iter().map(|sample| sample.when.as_str()).collect();
    whens.dedup();
    let mut builder = ResponseBuilder::new().description(whens.join(" / "));
    let mut by_type: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        if let Some(content_type) = &sample.content_type {
            by_type.entry(content_type).or_default().push(sample);
        }
        for (name, example) in &sample.headers {
            let (schema, text) = headers::described(name);
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(text));
            builder = builder.header(name, header.example(Some(Value::from(example.as_str()))).build());
        }
    }
    let (id, text) = ("X-Request-Id", headers::described("X-Request-Id"));
    builder = builder.header(id, HeaderBuilder::new().schema(Some(text.0)).description(Some(text.1)).build());
    by_type.into_iter().fold(builder, |builder, (name, samples)| builder.content(name, content(&samples))).build()
}

fn content(samples: &[&Sample]) -> Content {
    let mut schemas: Vec<RefOr<Schema>> = samples.iter().filter_map(|sample| sample.schema.clone()).collect();
    schemas.dedup();
    let schema = match schemas.pop() {
        None => RefOr::T(Schema::Object(string())),
        Some(only) if schemas.is_empty() => only,
        Some(last) => {
            let any = schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).item(last);
            RefOr::T(Schema::AnyOf(any.build()))
        }
    };
    let example = |(number, sample): (usize, &&Sample)| {
        let value = serde_json::from_slice(&sample.body);
        let value = value.unwrap_or_else(|_| String::from_utf8_lossy(&sample.body).into_owned().into());
        (format!("{}", number + 1), ExampleBuilder::new().summary(&sample.when).value(Some(value)).build())
    };
    let shown = samples.iter().enumerate().filter(|(_, sample)| !sample.body.is_empty()).map(example);
    ContentBuilder::new().schema(Some(schema)).examples_from_iter(shown).build()
}

/// A schema that the document has once, under that name.
fn error_schema(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}
