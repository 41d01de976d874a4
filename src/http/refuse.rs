//! Errors that no handler answers, in the form of the interface that the path belongs to.

use actix_web::HttpResponse;

use super::error::ApiError;
use super::sec::envelope::SecError;

/// Paths below these answer in the envelope of the flash-sale interface.
const ENVELOPED: [&str; 3] = ["/sec/", "/product/", "/activity/"];

pub fn refuse(path: &str, error: ApiError) -> HttpResponse {
    if is_enveloped(path) { SecError::from(error).response() } else { error.response() }
}

pub fn is_enveloped(path: &str) -> bool {
    ENVELOPED.iter().any(|start| path.starts_with(start))
}
