//! The web pages: what `static/` holds, sent as it was compressed at the build.
//!
//! Nothing here waits or asks a store, so that pages come up while the sale itself is saturated. What a page may do is said
//! in its headers: run and show what comes from this service and nothing else, ask nobody else, and be framed by nobody.
//! Tokens are never in an address; the pages keep them (`static/js/shared/session.js`).

use actix_web::http::StatusCode;
use actix_web::http::header::{
    self, AcceptEncoding, Encoding, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;

use super::assets::{self, Asset};
use super::error::{ApiError, Code};
use super::route::{get, not_allowed};
use super::{Shared, refuse};

const METHODS: &str = "GET, HEAD";
/// What the page that says so, while pages are switched off, is called.
const OFF: &str = "/off";
/// When a browser may look again whether pages are back.
const OFF_RETRY_SECONDS: u32 = 60;
/// The page on which the switch is turned back, and which a crowd does not ask for.
const NEVER_OFF: &str = "/admin";
/// The page on which a camera reads claim tokens.
const WITH_CAMERA: &str = "/saler";

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";
const PERMISSIONS_WITH_CAMERA: &str = "camera=(self), microphone=(), geolocation=(), payment=(), usb=()";
/// A year, the longest that is understood.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Every page, and everything that pages load.
pub fn routes(config: &mut web::ServiceConfig) {
    for page in assets::PAGES.iter().filter(|page| page.url != OFF) {
        let slash = if page.url == "/" { None } else { Some(format!("{}/", page.url)) };
        let resource = web::resource(Vec::from_iter([page.url.to_owned()].into_iter().chain(slash)));
        let route = get().to(move |request: HttpRequest, shared: web::Data<Shared>| async move {
            show_page(&request, &shared, page)
        });
        config.service(resource.route(route).default_service(not_allowed(METHODS.to_owned())));
    }
    let assets = web::resource("/assets/{name:.*}").route(get().to(show_asset));
    config.service(assets.default_service(not_allowed(METHODS.to_owned())));
}

/// A page; while pages are switched off, a plain one that says so, but to operators.
fn show_page(request: &HttpRequest, shared: &Shared, page: &'static Asset) -> HttpResponse {
    if page.url != NEVER_OFF && shared.admission.part(|switches| switches.pages).is_err() {
        let mut builder = HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE);
        builder.insert_header((header::RETRY_AFTER, OFF_RETRY_SECONDS));
        builder.insert_header((header::CACHE_CONTROL, "no-store"));
        secure(&mut builder, page);
        return send(builder, request, assets::page(OFF));
    }
    let mut builder = HttpResponse::build(status(request, page));
    builder.insert_header((header::CACHE_CONTROL, "no-cache"));
    secure(&mut builder, page);
    send(builder, request, page)
}

/// `GET /assets/...`
async fn show_asset(request: HttpRequest) -> HttpResponse {
    let Some(asset) = assets::find(request.path()) else {
        return refuse(request.path(), ApiError::new(Code::NotFound, "No such path."));
    };
    let mut builder = HttpResponse::build(status(&request, asset));
    builder.insert_header((header::CACHE_CONTROL, IMMUTABLE));
    send(builder, &request, asset)
}

/// 304 for who has it already.
fn status(request: &HttpRequest, asset: &Asset) -> StatusCode {
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => {
            let ours: EntityTag = asset.etag.parse().expect("the build wrote a tag");
            tags.iter().any(|tag| tag.weak_eq(&ours))
        }
        Err(_) => false,
    };
    if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }
}

/// What a page may do.
fn secure(builder: &mut HttpResponseBuilder, page: &Asset) {
    let permissions = if page.url == WITH_CAMERA { PERMISSIONS_WITH_CAMERA } else { PERMISSIONS };
    builder
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)))
        .insert_header((header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .insert_header((header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")))
        .insert_header((header::CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")))
        .insert_header((PERMISSIONS_POLICY, HeaderValue::from_static(permissions)));
}

/// Sends it in the smallest form that the browser takes.
fn send(mut builder: HttpResponseBuilder, request: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    builder
        .insert_header((header::VARY, HeaderValue::from_static("Accept-Encoding")))
        .insert_header((header::ETAG, HeaderValue::from_static(asset.etag)))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .insert_header((header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")))
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)));
    let forms = [(Encoding::brotli(), asset.brotli), (Encoding::gzip(), asset.gzip)];
    let smaller = forms.iter().filter(|(_, bytes)| bytes.len() < asset.identity.len());
    let known: Vec<Encoding> = smaller.map(|(encoding, _)| encoding.clone()).chain([Encoding::identity()]).collect();
    let taken = AcceptEncoding::parse(request).ok().and_then(|accepted| accepted.negotiate(known.iter()));
    let bytes = match forms.into_iter().find(|(encoding, _)| Some(encoding) == taken.as_ref()) {
        Some((encoding, bytes)) => {
            builder.insert_header((header::CONTENT_ENCODING, encoding.to_string()));
            bytes
        }
        None => asset.identity,
    };
    builder.body(Bytes::from_static(bytes))
}
