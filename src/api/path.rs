//! Segments of a request's path.
//!
//! Taken from the path as it was sent and percent-decoded once: the router's own decoding keeps some escapes and replaces
//! what is not UTF-8, which could make one name of another.

use std::borrow::Cow;

use actix_web::HttpRequest;
use percent_encoding::percent_decode;

use crate::domain::{CouponName, UserName};

/// The segment at `index`, counted from 0, decoded; `None` where there is none or it is not UTF-8.
pub fn segment(request: &HttpRequest, index: usize) -> Option<Cow<'_, str>> {
    decoded(segments(request).nth(index)?)
}

fn segments(request: &HttpRequest) -> impl Iterator<Item = &[u8]> {
    request.uri().path().as_bytes().split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn decoded(segment: &[u8]) -> Option<Cow<'_, str>> {
    percent_decode(segment).decode_utf8().ok()
}

/// The user named in `/api/users/{user}/...`; `None` where that cannot be anybody's name.
pub fn user(request: &HttpRequest) -> Option<UserName> {
    UserName::parse(segment(request, 2)?.into_owned()).ok()
}

/// `saler/name` of `/api/users/{saler}/coupons/{name}`; `None` where that cannot be any coupon's.
pub fn coupon(request: &HttpRequest) -> Option<String> {
    let mut segments = segments(request);
    // A name has no slash, so that two names and one slash between them are one coupon only. What was not escaped has none here.
    let name = |segment| decoded(segment).filter(|name| matches!(name, Cow::Borrowed(_)) || !name.contains('/'));
    let (saler, name) = (name(segments.nth(2)?)?, name(segments.nth(1)?)?);
    Some([&saler, "/", &name].concat())
}

/// The coupon's name in `/api/users/{saler}/coupons/{name}`.
pub fn coupon_name(request: &HttpRequest) -> Option<CouponName> {
    CouponName::parse(segment(request, 4)?.into_owned()).ok()
}
