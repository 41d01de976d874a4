//! Serves the web pages of `static/` in the forms that the build has compressed.
//!
//! No handler here waits or calls a store, so pages load while a sale saturates the service. The headers of a page
//! restrict it: scripts, styles and requests of this service only, and no frames. Tokens are never part of an address;
//! pages keep them (`static/js/shared/session.js`).

use actix_web::http::StatusCode;
use actix_web::http::header::{
    self, AcceptEncoding, Encoding, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;

use super::assets::{self, Asset, HASH};
use super::error::NO_SUCH_PATH;
use super::refuse::refuse;
use super::route::{get, not_allowed};
use super::state::Edge;

const METHODS: &str = "GET, HEAD";
/// The page that is sent while pages are switched off.
const OFF: &str = "/off";
/// Seconds after which a browser may try again while pages are switched off.
const OFF_RETRY_SECONDS: u32 = 60;
/// The page of operators. It ignores the switch, because operators turn the switch on again there.
pub const OF_OPERATORS: &str = "/admin";
/// The page that may use a camera, to read claim tokens.
const WITH_CAMERA: &str = "/saler";

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";
const PERMISSIONS_WITH_CAMERA: &str = "camera=(self), microphone=(), geolocation=(), payment=(), usb=()";
/// A year, the longest time that caches understand.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Adds the pages that `serves` names by their paths, and the files of all pages.
pub fn routes(config: &mut web::ServiceConfig, serves: impl Fn(&str) -> bool) {
    for page in assets::PAGES.iter().filter(|page| page.url != OFF && serves(page.url)) {
        let slash = if page.url == "/" { None } else { Some(format!("{}/", page.url)) };
        let resource = web::resource(Vec::from_iter([page.url.to_owned()].into_iter().chain(slash)));
        let route = get()
            .to(move |request: HttpRequest, edge: web::Data<Edge>| async move { show_page(&request, &edge, page) });
        config.service(resource.route(route).default_service(not_allowed(METHODS.to_owned())));
    }
    let assets = web::resource("/assets/{name:.*}").route(get().to(show_asset));
    config.service(assets.default_service(not_allowed(METHODS.to_owned())));
}

/// Answers with a page. While pages are switched off, the answer is 503 with a plain page.
fn show_page(request: &HttpRequest, edge: &Edge, page: &'static Asset) -> HttpResponse {
    if page.url != OF_OPERATORS && edge.admission.part(|switches| switches.pages).is_err() {
        let mut builder = HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE);
        builder.insert_header((header::RETRY_AFTER, OFF_RETRY_SECONDS));
        builder.insert_header((header::CACHE_CONTROL, "no-store"));
        secure(&mut builder, page);
        return send(builder, request, assets::page(OFF));
    }
    let mut builder = HttpResponse::build(status(request));
    builder.insert_header((header::CACHE_CONTROL, "no-cache"));
    secure(&mut builder, page);
    send(builder, request, page)
}

async fn show_asset(request: HttpRequest) -> HttpResponse {
    let Some(asset) = assets::find(request.path()) else { return refuse(request.path(), NO_SUCH_PATH) };
    let mut builder = HttpResponse::build(status(&request));
    builder.insert_header((header::CACHE_CONTROL, IMMUTABLE));
    send(builder, &request, asset)
}

/// 304 if the browser has this version, otherwise 200.
fn status(request: &HttpRequest) -> StatusCode {
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => {
            let ours = EntityTag::new_weak(HASH.to_owned());
            tags.iter().any(|tag| tag.weak_eq(&ours))
        }
        Err(_) => false,
    };
    if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }
}

/// Adds the headers that restrict a page.
fn secure(builder: &mut HttpResponseBuilder, page: &Asset) {
    let permissions = if page.url == WITH_CAMERA { PERMISSIONS_WITH_CAMERA } else { PERMISSIONS };
    builder
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)))
        .insert_header((header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .insert_header((header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")))
        .insert_header((header::CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")))
        .insert_header((PERMISSIONS_POLICY, HeaderValue::from_static(permissions)));
}

/// Sends an asset in the smallest form that the browser accepts.
fn send(mut builder: HttpResponseBuilder, request: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    builder
        .insert_header((header::VARY, HeaderValue::from_static("Accept-Encoding")))
        // Weak, because all forms of a file share the tag.
        .insert_header((header::ETAG, EntityTag::new_weak(HASH.to_owned()).to_string()))
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
