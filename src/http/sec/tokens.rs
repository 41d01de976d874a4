//! Claim tokens after the sale: checks a token, and redeems its claim once.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{SecError, success};
use super::merchant::Merchant;
use super::parameters::Parameters;
use crate::auth::ClaimProof;
use crate::base::now_ms;
use crate::domain::{Kind, Nth, Seq};
use crate::http::error::{ApiError, Code, read_failed};
use crate::http::state::Shared;
use crate::mysql::coupons::find_saler;
use crate::mysql::redemptions::{self, Grant, Redemption, granted};

#[derive(Serialize, ToSchema)]
pub struct Forged {
    valid: bool,
}

/// Times are in seconds since 1970.
#[derive(Serialize, ToSchema)]
pub struct Proven {
    valid: bool,
    product_id: u64,
    saler: String,
    name: String,
    user_id: u64,
    activity_id: u32,
    #[schema(value_type = u32)]
    seq: Seq,
    #[schema(value_type = u8)]
    nth: Nth,
    claimed_at: u64,
    #[schema(required)]
    redeemed_at: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub struct Redeemed {
    /// Seconds since 1970.
    redeemed_at: u64,
    first: bool,
}

/// `POST /sec/token`, without authentication.
pub async fn show_token(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, shared.body).await?;
    let forged = || success(Forged { valid: false });
    let Some(proof) = shared.claim_tokens.verify(&sent.required("token")?.text()?) else { return Ok(forged()) };
    let known = granted(&shared.db, &grant(&proof)).await.map_err(|error| read_failed(&error))?;
    // Signed by a different service with the same secret.
    let Some(known) = known else { return Ok(forged()) };
    Ok(success(Proven {
        valid: true,
        product_id: proof.coupon.0,
        saler: known.saler,
        name: known.name,
        user_id: proof.user.0,
        activity_id: proof.activity.0,
        seq: proof.seq,
        nth: proof.nth,
        claimed_at: proof.claimed_at_ms / 1_000,
        redeemed_at: known.redeemed_at.map(|ms| ms / 1_000),
    }))
}

/// `POST /sec/redeem`
pub async fn redeem(
    Merchant(user): Merchant,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, shared.body).await?;
    let token = sent.required("token")?;
    let proof = shared.claim_tokens.verify(&token.text()?).ok_or_else(|| token.wrong("it proves no claim"))?;
    let owner = find_saler(&shared.db, proof.coupon).await.map_err(|error| read_failed(&error))?;
    let owner = owner.ok_or_else(|| ApiError::new(Code::NotFound, "No such product."))?;
    if user.kind != Kind::Admin && owner != user.id {
        return Err(ApiError::new(Code::NotYours, "Not your product.").into());
    }
    let now_ms = now_ms();
    match redemptions::redeem(&shared.db, &grant(&proof), now_ms).await.map_err(ApiError::from)? {
        Redemption::First => Ok(success(Redeemed { redeemed_at: now_ms / 1_000, first: true })),
        Redemption::Before(at_ms) => Ok(success(Redeemed { redeemed_at: at_ms / 1_000, first: false })),
        // The ledger will store the claim in a moment.
        Redemption::NotStored => Err(ApiError::unavailable().into()),
        Redemption::AnothersUnit => Err(token.wrong("its unit is another claim's").into()),
    }
}

fn grant(proof: &ClaimProof) -> Grant {
    Grant { coupon: proof.coupon, seq: proof.seq, user: proof.user, nth: proof.nth }
}
