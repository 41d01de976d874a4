//! The headers `Claim-Wait` of a request to claim, and `Claim-Durability` of its answer.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::state::Selling;
use crate::domain::Durability;

const CLAIM_WAIT: HeaderName = HeaderName::from_static("claim-wait");
const CLAIM_DURABILITY: HeaderName = HeaderName::from_static("claim-durability");

/// The values of the header `Claim-Wait`.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "for the OpenAPI document only: `wanted_durability` reads the word")]
pub enum ClaimWait {
    Stored,
}

/// `granted`: the claim is granted and will be stored. `stored`: the database has committed the claim. A claim that is
/// answered as `granted` may be stored already.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers send the words")]
pub enum ClaimDurability {
    Granted,
    Stored,
}

/// What must be certain before a claim of this request is answered. `Claim-Wait` can only ask for more than the setting.
///
/// # Errors
/// Returns 400 if `Claim-Wait` has another value than `stored`.
pub fn wanted_durability(request: &HttpRequest, selling: &Selling) -> Result<Durability, ApiError> {
    match request.headers().get(CLAIM_WAIT) {
        None => Ok(selling.answer_when),
        Some(value) if value == Durability::Stored.word() => Ok(Durability::Stored),
        Some(_) => Err(bad_wait()),
    }
}

pub const fn bad_wait() -> ApiError {
    ApiError::of_field(Code::BadRequest, "Claim-Wait", "Claim-Wait should be stored, or absent.")
}

/// The header `Claim-Durability` of an answer with a claim.
pub const fn durability_header(durability: Durability) -> (HeaderName, HeaderValue) {
    (CLAIM_DURABILITY, HeaderValue::from_static(durability.word()))
}
