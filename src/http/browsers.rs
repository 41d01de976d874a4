//! What a page of another site may not make a browser do.
//!
//! A browser says with each request where it comes from. A token travels in a header that a page of another site cannot
//! set, because no answer allows it (CORS). So the check is for routes without a token: registration, login, and the
//! signed form. Programs send none of the headers and are not concerned.

use actix_web::dev::{ResponseHead, ServiceRequest};
use actix_web::http::header::{self, HeaderName, HeaderValue};

use super::error::{ApiError, Code};
use super::state::Edge;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The route that pages of hosts on the operators' list may use from their own site.
const SIGNED_FORM: &str = "/sec/kill";

/// Paths of the parts of pages.
const ASSETS: &str = "/assets/";

const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// For answers that are no pages. Nothing in them is loaded, run or framed.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

pub const CROSS_SITE: ApiError =
    ApiError::new(Code::CrossSite, "Another site has sent this. Nothing has happened; use the page of this service.");

/// Refuses a request that a page of another site has made the browser send. Reading is allowed to all, because the browser
/// hides the answer from the page.
///
/// # Errors
/// 403 `cross-site`.
pub fn check_site(request: &ServiceRequest, edge: &Edge) -> Result<(), ApiError> {
    if request.method().is_safe() {
        return Ok(());
    }
    let headers = request.headers();
    let (site, origin) = (headers.get(FETCH_SITE), headers.get(header::ORIGIN));
    let site = site.map(HeaderValue::as_bytes);
    if (site.is_none() && origin.is_none()) || matches!(site, Some(b"same-origin" | b"none")) {
        return Ok(());
    }
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let is_allowed =
        origin.is_some_and(|origin| edge.allowed_origins.contains(origin) || may_sign(request, edge, origin));
    let is_ours = site != Some(b"cross-site") && origin.is_some_and(|origin| is_this_host(request, edge, origin));
    if is_allowed || is_ours { Ok(()) } else { Err(CROSS_SITE) }
}

/// Whether a page of this origin may send the signed form.
fn may_sign(request: &ServiceRequest, edge: &Edge, origin: &str) -> bool {
    request.path().trim_end_matches('/') == SIGNED_FORM && edge.admission.settings.limits().allows_referer(origin)
}

/// Whether the origin has the host by which the browser has called this service. Schemes are not compared, because a proxy
/// may have ended TLS.
fn is_this_host(request: &ServiceRequest, edge: &Edge, origin: &str) -> bool {
    let Some((_, origin)) = origin.split_once("://") else { return false };
    let is_behind_proxy = request.peer_addr().is_some_and(|peer| edge.trusted_proxies.contains(peer.ip()));
    let forwarded = request.headers().get(FORWARDED_HOST).filter(|_| is_behind_proxy);
    let host = forwarded.or_else(|| request.headers().get(header::HOST)).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| without_default_port(host).eq_ignore_ascii_case(without_default_port(origin)))
}

/// A browser leaves the port of the scheme out of an origin, and a proxy may write it.
fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host)
}

/// Whether the answer to this path may be shown alone. The parts of a page, such as scripts, are no documents.
pub fn is_document(path: &str) -> bool {
    !path.starts_with(ASSETS)
}

/// Adds the headers that keep browsers from guessing the type of an answer, showing it in a frame, or giving it to other
/// sites. Only a document needs a policy.
pub fn protect(head: &mut ResponseHead, is_document: bool) {
    let headers = head.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    headers.insert(header::CROSS_ORIGIN_RESOURCE_POLICY, SAME_ORIGIN);
    if is_document && !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING);
    }
}
