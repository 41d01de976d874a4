//! The OpenAPI document, and Swagger UI as a page for people. The page sends no request to foreign origins.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::error::{ApiError, Code};
use super::state::Shared;
use super::{answer, path};

/// Swagger UI sets styles at run time, so `unsafe-inline` is allowed for styles only.
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

/// The OpenAPI document as JSON, made once from the table of routes.
pub struct ApiDocument(pub Bytes);

/// `GET /openapi.json`
pub async fn show_document(
    document: web::Data<ApiDocument>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    shared.admission.part(|switches| switches.docs)?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, answer::JSON)).body(document.0.clone()))
}

/// `GET /docs`
pub async fn show_page(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    shared.admission.part(|switches| switches.docs)?;
    Ok(sample())
}

/// The page, which is always the same.
pub fn sample() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(PAGE)
}

/// `GET /docs/{file}`
pub async fn show_file(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    shared.admission.part(|switches| switches.docs)?;
    let name = path::segment(&request, 1).unwrap_or_default();
    let (content_type, bytes) = file(&name).ok_or_else(|| ApiError::new(Code::NotFound, "No such path."))?;
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CONTENT_TYPE, content_type));
    Ok(builder.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff")).body(bytes))
}

fn file(name: &str) -> Option<(String, Bytes)> {
    if name == "start.js" {
        return Some(("text/javascript".to_owned(), Bytes::from_static(START.as_bytes())));
    }
    let name = FILES.into_iter().find(|file| *file == name)?;
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten()?;
    Some((file.content_type, file.bytes.into_owned().into()))
}
