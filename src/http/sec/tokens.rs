//! Claim tokens after the sale: checks a token, and redeems its claim once.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::envelope::{Envelope, SecError, success};
use super::parameters::{Parameters, missing};
use crate::auth::ClaimProof;
use crate::base::now_ms;
use crate::domain::{Author, Kind, Nth, Seq};
use crate::http::error::{ApiError, read_failed};
use crate::http::merchant::{Merchant, ONLY_SALERS, RedeemClaims};
use crate::http::openapi::{JWT, Responses, add_case, add_failure, change, failures, merchants};
use crate::http::state::{Accounts, Edge};
use crate::mysql::DbPools;
use crate::mysql::coupons::find_saler;
use crate::mysql::redemptions::{self, Grant, Redemption, granted};

const NO_CLAIM: ApiError = ApiError::bad_request("token: it proves no claim.");

/// A claim token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers read the parameters")]
struct ClaimToken {
    token: String,
}

/// An invalid token.
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

struct ShowTokenResponses;

impl IntoResponses for ShowTokenResponses {
    fn responses() -> Responses {
        let proven = json!({"valid": true, "product_id": 1, "saler": "shop", "name": "ten-off", "user_id": 7,
            "activity_id": 1, "seq": 57, "nth": 1, "claimed_at": 1_767_265_200, "redeemed_at": null});
        let mut responses = Responses::new();
        let schema = Envelope::<Proven>::schema();
        add_case(&mut responses, "The token proves a claim.", success(proven), schema);
        let schema = Envelope::<Forged>::schema();
        add_case(&mut responses, "The token proves no claim.", success(Forged { valid: false }), schema);
        for failure in [missing("token"), ApiError::unavailable()] {
            add_failure(&mut responses, &SecError::from(failure));
        }
        responses
    }
}

/// Returns the claim that a token proves.
///
/// Everybody who is shown a token may check the token.
#[utoipa::path(
    post, path = "/sec/token", operation_id = "showToken",
    request_body(content = inline(ClaimToken), example = json!({"token": JWT})),
    responses(ShowTokenResponses),
)]
pub async fn show_token(
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, edge.body).await?;
    let forged = || success(Forged { valid: false });
    let Some(proof) = accounts.claim_tokens.verify(&sent.required("token")?.text()?) else { return Ok(forged()) };
    let known = granted(&dbs.users, &grant(&proof)).await.map_err(|error| read_failed(&error))?;
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

failures!(RedeemFailures: SecError = [
    missing("token"),
    NO_CLAIM,
    ApiError::no_such_product(),
    ONLY_SALERS,
    ApiError::not_your_product(),
], merchants(), change());

/// Marks a claim as used.
///
/// A retry returns the time of the first use, and `first` is false.
#[utoipa::path(
    post, path = "/sec/redeem", operation_id = "redeem",
    request_body(content = inline(ClaimToken), example = json!({"token": JWT})),
    responses(
        (status = 200, description = "The claim is used.", body = inline(Envelope<Redeemed>),
            example = json!(Envelope::success(Redeemed { redeemed_at: 1_767_270_000, first: true }))),
        RedeemFailures,
    ),
)]
pub async fn redeem(
    Merchant { user, by, .. }: Merchant<RedeemClaims>,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let sent = Parameters::of_body(payload, edge.body).await?;
    let token = sent.required("token")?;
    let proof = accounts.claim_tokens.verify(&token.text()?).ok_or(NO_CLAIM)?;
    let db = dbs.of(user.kind);
    let owner = find_saler(db, proof.coupon).await.map_err(|error| read_failed(&error))?;
    let owner = owner.ok_or(ApiError::no_such_product())?;
    if user.kind != Kind::Admin && owner != user.id {
        return Err(ApiError::not_your_product().into());
    }
    let now_ms = now_ms();
    match redemptions::redeem(db, &grant(&proof), Author::Named(&by), now_ms).await? {
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
