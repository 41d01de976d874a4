//! The OpenAPI document, and Swagger UI as a page for people. The page sends no request to foreign origins.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa::ToSchema;
use utoipa_swagger_ui::Config;

use super::error::{ApiError, NO_SUCH_PATH};
use super::openapi::failures;
use super::state::Edge;
use super::{answer, path};
use crate::admission::TurnedAway;

const HTML: &str = "text/html; charset=utf-8";
/// Only styles may be inline, because Swagger UI sets styles at run time.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>couponrush: the interface</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;
/// Starts Swagger UI. No foreign validator gets the document.
const START: &str = r##"SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;
/// The files of Swagger UI that the page needs.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// The bytes of the OpenAPI document, as app data.
pub struct ApiDocument(pub Bytes);

/// An OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: the rest of the schema is public")]
struct Document {
    openapi: String,
}

failures!(DocumentFailures: ApiError = [TurnedAway::Off]);

/// Returns this document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi",
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", body = inline(Document),
            example = json!({"openapi": "3.1.0"})),
        DocumentFailures,
    ),
)]
pub async fn show_document(edge: web::Data<Edge>, document: web::Data<ApiDocument>) -> Result<HttpResponse, ApiError> {
    edge.admission.part(|switches| switches.docs)?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, answer::JSON)).body(document.0.clone()))
}

/// Returns a page that shows this document to people.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs",
    responses(
        (status = 200, description = "The page.", body = String, content_type = HTML),
        DocumentFailures,
    ),
)]
pub async fn show_page(edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    edge.admission.part(|switches| switches.docs)?;
    let mut builder = HttpResponse::Ok();
    builder
        .insert_header((header::CONTENT_TYPE, HTML))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    Ok(builder.body(PAGE))
}

failures!(DocsFileFailures: ApiError = [TurnedAway::Off, NO_SUCH_PATH]);

/// Returns a file of the page.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "docsFile",
    params(("file" = String, Path, description = "The name of the file.", example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css"))),
        DocsFileFailures,
    ),
)]
pub async fn show_file(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    edge.admission.part(|switches| switches.docs)?;
    let name = path::segment(&request, 1).unwrap_or_default();
    let (content_type, bytes) = file(&name).ok_or(NO_SUCH_PATH)?;
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CONTENT_TYPE, content_type));
    Ok(builder.body(bytes))
}

fn file(name: &str) -> Option<(String, Bytes)> {
    if name == "start.js" {
        return Some(("text/javascript".to_owned(), Bytes::from_static(START.as_bytes())));
    }
    let name = FILES.into_iter().find(|file| *file == name)?;
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten()?;
    Some((file.content_type, file.bytes.into_owned().into()))
}
