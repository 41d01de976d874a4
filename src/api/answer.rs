//! The forms of answers.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// `body` as JSON.
pub fn json(mut builder: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    let bytes = serde_json::to_vec(body).expect("our own types have string keys and no failing serializers");
    builder.insert_header((header::CONTENT_TYPE, JSON)).body(bytes)
}

/// Success without anything to say: `{"errMsg":""}`.
pub fn done(mut builder: HttpResponseBuilder) -> HttpResponse {
    builder.insert_header((header::CONTENT_TYPE, JSON)).body(r#"{"errMsg":""}"#)
}

/// A list; 204 where there is nothing on the page.
pub fn list<T: Serialize>(items: &[T]) -> HttpResponse {
    #[derive(Serialize)]
    struct List<'a, T> {
        #[serde(rename = "errMsg")]
        message: &'static str,
        data: &'a [T],
    }
    if items.is_empty() {
        return HttpResponse::NoContent().finish();
    }
    json(HttpResponse::Ok(), &List { message: "", data: items })
}
