//! `/sec/kill` makes the same claim as the coupon interface, with result codes instead of headers.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::asking;
use super::envelope::{SaleCode, SecError, refused_with, success};
use super::kill_form::Form;
use super::parameters::Parameters;
use crate::base::now_ms;
use crate::claim::ClaimOutcome;
use crate::domain::{ActivityId, Claim, Nth, Phase, Refusal, Seq};
use crate::http::error::ApiError;
use crate::http::peer;
use crate::http::state::{Shared, Worker};

#[derive(Serialize, ToSchema)]
pub struct Bought {
    product_id: u64,
    user_id: u64,
    token: String,
    /// Seconds since 1970.
    token_time: u64,
    #[schema(value_type = u32)]
    seq: Seq,
    #[schema(value_type = u8)]
    nth: Nth,
    start: bool,
    end: bool,
    status: u8,
}

/// `POST /sec/kill`
pub async fn kill(
    request: HttpRequest,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let Worker { shared, known, link, .. } = &**worker;
    let form = Form::parse(&Parameters::of_body(payload, shared.body).await?)?;
    let asking = asking(&request, shared, link, &form).await?;
    let admitted = shared.admission.claim(asking.customer, || peer::address(&request, shared), now_ms());
    admitted.map_err(ApiError::from)?;
    let connection = link.connection().map_err(|_| ApiError::unavailable())?;
    asking.once(shared).await?;
    if !shared.directory.has_coupon(known, &connection, form.product).await? {
        return Err(refusal(Refusal::NoSuchCoupon));
    }
    match shared.claiming.claim(&connection, form.product, asking.customer, form.nth).await {
        ClaimOutcome::Claimed(claim) => Ok(success(bought(shared, &claim, claim.claimed_at_ms()))),
        ClaimOutcome::Already(claim) => {
            let bought = bought(shared, &claim, shared.server_ms(link).unwrap_or(claim.claimed_at_ms()));
            Ok(refused_with(SaleCode::Bought, "You have bought it already.", bought))
        }
        ClaimOutcome::Refused(refused) => Err(refusal(refused)),
        ClaimOutcome::Overloaded => Err(ApiError::overloaded().into()),
        ClaimOutcome::Unavailable => Err(ApiError::unavailable().into()),
        ClaimOutcome::Unknown => Err(ApiError::unknown_outcome().into()),
    }
}

/// The answer for a claim: its token, and the state of its activity at `now_ms` (milliseconds since 1970).
fn bought(shared: &Shared, claim: &Claim, now_ms: u64) -> Bought {
    let schedule = shared.claiming.activities.of(claim.coupon);
    let activities = schedule.as_ref().map_or(&[][..], |schedule| schedule.activities());
    let activity = activities.iter().find(|activity| activity.id == claim.activity && claim.activity != ActivityId(0));
    // A coupon without activities is always on sale.
    let phase = activity.map_or(Phase::Within, |activity| activity.terms.window.phase(now_ms));
    Bought {
        product_id: claim.coupon.0,
        user_id: claim.user.0,
        token: shared.claim_tokens.sign(claim),
        token_time: claim.claimed_at_ms() / 1_000,
        seq: claim.seq,
        nth: claim.nth,
        start: phase == Phase::Within,
        end: phase == Phase::Over,
        status: activity.map_or(0, |activity| activity.terms.status.number()),
    }
}

/// The code and message of a refusal.
pub fn refusal(refusal: Refusal) -> SecError {
    let (code, message) = match refusal {
        Refusal::NoSuchCoupon => (SaleCode::NoSuchProduct, "No such product."),
        Refusal::NotOnSale => (SaleCode::NoSuchProduct, "The product is not on sale."),
        Refusal::NotStarted => (SaleCode::NotStarted, "The sale has not started."),
        Refusal::Ended => (SaleCode::Ended, "The sale has ended."),
        Refusal::Disabled => (SaleCode::Ended, "The sale is disabled."),
        Refusal::SoldOut => (SaleCode::SoldOut, "Sold out."),
        Refusal::TryAgain => (SaleCode::TryAgain, "Not this time; try again."),
    };
    SecError::new(code, message)
}
