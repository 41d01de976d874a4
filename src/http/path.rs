//! Segments of a request's path.
//!
//! A segment is percent-decoded once, from the path as sent. The router's own decoding keeps some escapes and replaces
//! invalid UTF-8, so two different names could become equal.

use std::borrow::Cow;

use actix_web::HttpRequest;
use percent_encoding::percent_decode;
use utoipa::IntoParams;

use crate::domain::{CouponName, User, UserName};

/// The segments that name a coupon.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers read the path as it was sent")]
pub struct CouponPath {
    /// The saler's name.
    #[param(example = "shop")]
    user: String,
    /// The coupon's name.
    #[param(example = "ten-off")]
    name: String,
}

/// The first segment of operators' paths.
const OPERATORS: &str = "admin";
/// Begins of operators' paths before the name of a user or an address.
const WITH_VALUE: [&str; 3] = ["/admin/blacklist/users/", "/admin/blacklist/ips/", "/admin/users/"];

/// Whether the path hides by escapes that it is one of operators. A proxy that keeps strangers out compares the path as it
/// was sent, and the router decodes it. Only what follows [`WITH_VALUE`] may have escapes.
pub fn hides_operators(path: &str) -> bool {
    let segment = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if segment == OPERATORS {
        path.contains('%') && !WITH_VALUE.iter().any(|begin| path.starts_with(begin))
    } else {
        segment.contains('%') && percent_decode(segment.as_bytes()).eq(OPERATORS.bytes())
    }
}

/// The decoded segment at `index`, from 0. `None` if the path is shorter or the segment is not UTF-8.
pub fn segment(request: &HttpRequest, index: usize) -> Option<Cow<'_, str>> {
    decoded(segments(request).nth(index)?)
}

fn segments(request: &HttpRequest) -> impl Iterator<Item = &[u8]> {
    request.uri().path().as_bytes().split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn decoded(segment: &[u8]) -> Option<Cow<'_, str>> {
    percent_decode(segment).decode_utf8().ok()
}

/// The user in `/api/users/{user}/...`, or `None` if the segment is not a valid name.
pub fn user(request: &HttpRequest) -> Option<UserName> {
    UserName::parse(segment(request, 2)?.into_owned()).ok()
}

/// Whether the user in `/api/users/{user}/...` is this one. The name may be sent in another form of Unicode.
pub fn names(request: &HttpRequest, user: &User) -> bool {
    let sent = self::user(request);
    sent.is_some_and(|sent| sent == user.name || sent.normalized().as_ref() == Some(&user.name))
}

/// `saler/name` of `/api/users/{saler}/coupons/{name}`, or `None` if either segment is invalid.
pub fn coupon(request: &HttpRequest) -> Option<String> {
    let mut segments = segments(request);
    // A decoded slash would make the key ambiguous, so it is refused. A borrowed name had no escapes, so no slash.
    let name = |segment| decoded(segment).filter(|name| matches!(name, Cow::Borrowed(_)) || !name.contains('/'));
    let (saler, name) = (name(segments.nth(2)?)?, name(segments.nth(1)?)?);
    Some([&saler, "/", &name].concat())
}

/// The coupon's name in `/api/users/{saler}/coupons/{name}`, or `None` if invalid.
pub fn coupon_name(request: &HttpRequest) -> Option<CouponName> {
    CouponName::parse(segment(request, 4)?.into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_path_has_escapes_only_from_a_name_on() {
        for hidden in [
            "/%61dmin",
            "//%61dmin/limits",
            "/adm%69n/x",
            "/%61%64%6d%69%6e/",
            "/admin/%73witches",
            "/admin/blacklist/%75sers/x",
        ] {
            assert!(hides_operators(hidden), "{hidden}");
        }
        for open in [
            "/admin",
            "/admin/",
            "/admin/limits",
            "/admin/blacklist/users/%E5%90%8D",
            "/admin/users/%E5%90%8D/password",
            "/api/%61dmin",
            "/%61dministrator",
            "/%",
            "/",
        ] {
            assert!(!hides_operators(open), "{open}");
        }
    }
}
