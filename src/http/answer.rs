//! Builders of answers.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
pub const SERIALIZES: &str = "our own types have string keys and no failing serializers";

pub fn json(mut builder: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    let bytes = serde_json::to_vec(body).expect(SERIALIZES);
    builder.insert_header((header::CONTENT_TYPE, JSON)).body(bytes)
}

/// Success without data.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: `done` sends a constant text")]
pub struct Done {
    #[schema(rename = "errMsg", max_length = 0)]
    message: &'static str,
}

pub fn done(mut builder: HttpResponseBuilder) -> HttpResponse {
    builder.insert_header((header::CONTENT_TYPE, JSON)).body(r#"{"errMsg":""}"#)
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct ListOf<'a, T> {
    #[serde(rename = "errMsg")]
    message: &'static str,
    #[schema(inline)]
    data: &'a [T],
}

/// A list, or 204 for an empty page.
pub fn list<T: Serialize>(items: &[T]) -> HttpResponse {
    list_of(list_body(items))
}

/// The body of a list, empty for an empty page. [`list_of`] turns it into an answer.
pub fn list_body<T: Serialize>(items: &[T]) -> Bytes {
    if items.is_empty() {
        return Bytes::new();
    }
    serde_json::to_vec(&ListOf { message: "", data: items }).expect(SERIALIZES).into()
}

/// An answer with a body from [`list_body`].
pub fn list_of(body: Bytes) -> HttpResponse {
    if body.is_empty() {
        return HttpResponse::NoContent().finish();
    }
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(body)
}
