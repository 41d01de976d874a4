//! `/sec/kill` makes the same claim as the coupon interface, with result codes instead of headers.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::asking::{ONLY_CUSTOMERS, asking};
use super::envelope::{Envelope, SaleCode, SecError, refused_with, success};
use super::kill_form::Form;
use super::parameters::{Parameters, missing};
use super::sales::archived_sale;
use crate::auth::ClaimTokens;
use crate::base::now_ms;
use crate::claim::{ClaimOutcome, Wish};
use crate::domain::{ActivityId, Claim, Durability, Nth, Phase, Refusal, Schedule, Seq};
use crate::http::applicant::Claimant;
use crate::http::claim_wait::{ClaimDurability, ClaimWait, bad_wait, durability_header, wanted_durability};
use crate::http::error::ApiError;
use crate::http::openapi::{JWT, Responses, add_case, add_failure, admission, change};
use crate::http::peer;
use crate::http::state::{Accounts, Edge, Selling, Worker};

const ALREADY: &str = "You have bought it already.";

/// A purchase to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: `Form` reads the parameters")]
struct KillParameters {
    product_id: u64,
    /// The user of the token. The signed form needs `user_id`.
    user_id: Option<u64>,
    /// The number of units that the customer wants to hold after this claim.
    #[schema(minimum = 1, maximum = 100)]
    nth: Option<u8>,
    /// For a sale that asks for a ticket.
    ticket: Option<String>,
    /// Ignored.
    src: Option<String>,
    /// For the signed form: seconds since 1970, at most 60 s from the service's clock.
    time: Option<u64>,
    /// For the signed form: a text that the customer has not sent before.
    #[schema(min_length = 1, max_length = 64)]
    nance: Option<String>,
    /// For the signed form: `md5("<product_id>:<user_id>:<time>:<nance>:<AuthSign>")`, in lower-case hex.
    auth_code: Option<String>,
}

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

fn example() -> Value {
    json!({"product_id": 1, "user_id": 7, "token": JWT, "token_time": 1_767_265_200, "seq": 57, "nth": 1, "start": true,
        "end": false, "status": 0})
}

struct KillFailures;

impl IntoResponses for KillFailures {
    fn responses() -> Responses {
        let refusals = [
            Refusal::NoSuchCoupon,
            Refusal::NotOnSale,
            Refusal::NotStarted,
            Refusal::Ended,
            Refusal::Disabled,
            Refusal::SoldOut,
            Refusal::TryAgain,
            Refusal::NotEligible,
            Refusal::TicketRequired,
            Refusal::NetworkLimit,
        ];
        let failures =
            [missing("product_id"), bad_wait()].into_iter().chain(admission()).chain(change()).map(SecError::from);
        let not_verified = [SecError::from(ApiError::not_logged_in()).of_kill(), ONLY_CUSTOMERS];
        let mut responses = Responses::new();
        for failure in refusals.map(refusal).into_iter().chain(failures).chain(not_verified) {
            add_failure(&mut responses, &failure);
        }
        let already = refused_with(SaleCode::Bought, ALREADY, example());
        add_case(&mut responses, ALREADY, already, Envelope::<Bought>::schema());
        responses
    }
}

/// Claims a unit of a product.
///
/// A customer is verified by a token, or by the signed form if the service has a sign secret. The signed form has no
/// token. It has the header `AuthSign` from the login, a `Referer` on the list of allowed hosts, and `user_id`, `time`,
/// `nance` and `auth_code`. A logout does not end the signed form.
#[utoipa::path(
    post, path = "/sec/kill", operation_id = "buy",
    params(
        ("Claim-Wait" = inline(Option<ClaimWait>), Header, nullable = false, description = "`stored`: a purchase is answered \
            after the database has committed it. Without a commit in 2 s the answer is 503 with code 1008."),
    ),
    request_body(content = inline(KillParameters), example = json!({"product_id": 1})),
    responses(
        (status = 200, description = "A unit was claimed.", body = inline(Envelope<Bought>),
            headers(("Claim-Durability" = inline(ClaimDurability), description = "What is certain about the claim. Also with \
                code 1010.")),
            example = json!(Envelope::success(example()))),
        KillFailures,
    ),
    security(("token" = []), ("bearer" = []), ("signature" = [])),
)]
pub async fn kill(
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let form = Form::parse(&Parameters::of_body(payload, edge.body).await?)?;
    let durability = wanted_durability(&request, &selling)?;
    let asking = asking(&request, &edge, &accounts, &worker, &form).await?;
    edge.admission.claim(asking.customer, || peer::address(&request, &edge), now_ms())?;
    let Some(link) = selling.shard_of(&worker, form.product).await? else {
        return Err(refusal(Refusal::NoSuchCoupon));
    };
    let connection = link.connection().map_err(|_| ApiError::unavailable())?;
    asking.once(&link.shard.claiming, &connection).await?;
    let wish = Wish { nth: form.nth, durability };
    let activities = &selling.activities;
    let bought =
        |claim: Claim, schedule: Option<&Schedule>, now_ms| bought(schedule, &accounts.claim_tokens, &claim, now_ms);
    let claimant = Claimant::new(&request, &edge, &accounts, asking.customer, form.ticket.as_deref());
    match link.shard.claiming.claim(&connection, form.product, asking.customer, &claimant, wish).await {
        ClaimOutcome::Claimed(claim) => {
            let bought = bought(claim, activities.of(claim.coupon).as_deref(), claim.claimed_at_ms);
            Ok(with_durability(success(bought), durability))
        }
        ClaimOutcome::Already(claim) => {
            let now_ms = worker.server_ms().unwrap_or(claim.claimed_at_ms);
            let bought = match activities.of(claim.coupon) {
                None if claim.activity != ActivityId(0) => {
                    let archived = Box::pin(archived_sale(&selling, &link, claim.coupon)).await?;
                    bought(claim, archived.as_ref().and_then(|archived| archived.facts.schedule()), now_ms)
                }
                schedule => bought(claim, schedule.as_deref(), now_ms),
            };
            Ok(with_durability(refused_with(SaleCode::Bought, ALREADY, bought), durability))
        }
        ClaimOutcome::Refused(refused) => {
            if refused == Refusal::NoSuchCoupon {
                worker.known.forget(form.product);
            }
            Err(refusal(refused))
        }
        ClaimOutcome::Overloaded => Err(ApiError::overloaded().into()),
        ClaimOutcome::Unavailable => Err(ApiError::unavailable().into()),
        ClaimOutcome::Unknown => Err(ApiError::unknown_outcome().into()),
    }
}

fn with_durability(mut answer: HttpResponse, durability: Durability) -> HttpResponse {
    let (name, value) = durability_header(durability);
    answer.headers_mut().insert(name, value);
    answer
}

/// The answer for a claim: its token, and the state of its activity at `now_ms` (milliseconds since 1970).
fn bought(schedule: Option<&Schedule>, tokens: &ClaimTokens, claim: &Claim, now_ms: u64) -> Bought {
    let activities = schedule.map_or(&[][..], Schedule::activities);
    let activity = activities.iter().find(|activity| activity.id == claim.activity && claim.activity != ActivityId(0));
    // A coupon without activities is always on sale.
    let phase = activity.map_or(Phase::Within, |activity| activity.terms.window.phase(now_ms));
    Bought {
        product_id: claim.coupon.0,
        user_id: claim.user.0,
        token: tokens.sign(claim),
        token_time: claim.claimed_at_ms / 1_000,
        seq: claim.seq,
        nth: claim.nth,
        start: phase == Phase::Within,
        end: phase == Phase::Over,
        status: activity.map_or(0, |activity| activity.terms.status.number()),
    }
}

pub fn refusal(refusal: Refusal) -> SecError {
    let (code, message) = match refusal {
        Refusal::NoSuchCoupon => (SaleCode::NoSuchProduct, "No such product."),
        Refusal::NotOnSale => (SaleCode::NoSuchProduct, "The product is not on sale."),
        Refusal::NotStarted => (SaleCode::NotStarted, "The sale has not started."),
        Refusal::Ended => (SaleCode::Ended, "The sale has ended."),
        Refusal::Disabled => (SaleCode::Ended, "The sale is disabled."),
        Refusal::SoldOut => (SaleCode::SoldOut, "Sold out."),
        Refusal::TryAgain => (SaleCode::TryAgain, "Not this time; try again."),
        Refusal::NotEligible => (SaleCode::NotEligible, "Only for customers who registered earlier."),
        Refusal::TicketRequired => (SaleCode::TicketRequired, "A valid ticket is needed."),
        Refusal::NetworkLimit => (SaleCode::NetworkLimit, "Your network has as many units as it may have."),
    };
    SecError::new(code, message)
}
