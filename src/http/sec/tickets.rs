//! Tickets for sales that ask for one: a challenge, and a ticket for its solution.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::ONLY_CUSTOMERS;
use super::envelope::{Envelope, SaleCode, SecError, success};
use super::kill::refusal;
use super::parameters::{Parameters, missing};
use super::sales::ProductQuery;
use crate::auth::{Challenge, NoChallenge, NoTicket, Ticket};
use crate::domain::{CouponId, Kind, Phase, Refusal, UserId};
use crate::http::error::{ApiError, Code};
use crate::http::extractors::session;
use crate::http::openapi::{JWT, change, failures, token};
use crate::http::state::{Accounts, Edge, Selling, Worker};

const NO_TICKET_HERE: ApiError = ApiError::new(Code::NotFound, "No tickets for this sale are given here.");
const TOO_EARLY: SecError =
    SecError::new(SaleCode::NotStarted, "Tickets are given from half an hour before the start.");
const FORGED: ApiError = ApiError::bad_request("challenge: it is not one of yours.");
const EXPIRED: ApiError = ApiError::bad_request("challenge: it has expired.");
const UNSOLVED: ApiError = ApiError::bad_request("nonce: it does not solve the challenge.");

#[derive(Serialize, ToSchema)]
pub struct GivenChallenge {
    challenge: String,
    /// Find a whole number, the nonce. The SHA-256 hash of the challenge, a dot and the nonce in decimal digits must begin
    /// with this number of zero bits.
    bits: u8,
    /// Seconds since 1970.
    expires_at: u64,
}

#[derive(Serialize, ToSchema)]
pub struct GivenTicket {
    ticket: String,
    /// Seconds since 1970.
    expires_at: u64,
}

/// A solved challenge.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: the handler reads the parameters")]
struct Solution {
    challenge: String,
    #[schema(min_length = 1, max_length = 20)]
    nonce: String,
}

failures!(ShowChallengeFailures: SecError = [
    SecError::from(missing("product_id")),
    refusal(Refusal::NotOnSale),
    refusal(Refusal::Ended),
    TOO_EARLY,
    SecError::from(NO_TICKET_HERE),
    ONLY_CUSTOMERS,
    SecError::from(ApiError::unavailable()),
], token().into_iter().map(SecError::from));

/// Gives a challenge for a ticket.
///
/// Challenges are given from half an hour before the start of a sale, and are valid for 10 minutes.
#[utoipa::path(
    get, path = "/sec/ticket", operation_id = "showChallenge",
    params(ProductQuery),
    responses(
        (status = 200, description = "The challenge.", body = inline(Envelope<GivenChallenge>),
            example = json!(Envelope::success(GivenChallenge { challenge: JWT.to_owned(), bits: 18,
                expires_at: 1_767_265_800 }))),
        ShowChallengeFailures,
    ),
)]
pub async fn show_challenge(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    let customer = customer(&request)?;
    let query = Parameters::of_query(request.query_string())?;
    let product = CouponId(query.required("product_id")?.number(1..=u64::MAX)?);
    let now_ms = worker.server_ms()?;
    let schedule = selling.activities.of(product);
    let activity = schedule.as_ref().and_then(|schedule| schedule.at(now_ms));
    let activity = activity.ok_or_else(|| refusal(Refusal::NotOnSale))?;
    if activity.terms.window.phase(now_ms) == Phase::Over {
        return Err(refusal(Refusal::Ended));
    }
    match accounts.tickets.challenge(customer, activity, now_ms / 1_000) {
        Ok(Challenge { text: challenge, bits, expires_at }) => {
            Ok(success(GivenChallenge { challenge, bits, expires_at }))
        }
        Err(NoChallenge::NotHere) => Err(NO_TICKET_HERE.into()),
        Err(NoChallenge::TooEarly) => Err(TOO_EARLY),
    }
}

failures!(GiveTicketFailures: SecError = [
    SecError::from(missing("challenge")),
    SecError::from(FORGED),
    SecError::from(EXPIRED),
    SecError::from(UNSOLVED),
    ONLY_CUSTOMERS,
    SecError::from(ApiError::unavailable()),
], token().into_iter().chain(change()).map(SecError::from));

/// Gives the ticket for a solved challenge.
///
/// A claim sends the ticket in the header `Claim-Ticket`, or as `ticket` to `/sec/kill`. A ticket is valid for all attempts of
/// its user in its sale, until 10 minutes after the start or after the end of the challenge.
#[utoipa::path(
    post, path = "/sec/ticket", operation_id = "giveTicket",
    request_body(content = inline(Solution), example = json!({"challenge": JWT, "nonce": "184467"})),
    responses(
        (status = 200, description = "The ticket.", body = inline(Envelope<GivenTicket>),
            example = json!(Envelope::success(GivenTicket { ticket: JWT.to_owned(), expires_at: 1_767_266_400 }))),
        GiveTicketFailures,
    ),
)]
pub async fn give_ticket(
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let customer = customer(&request)?;
    let sent = Parameters::of_body(payload, edge.body).await?;
    let (challenge, nonce) = (sent.required("challenge")?.text()?, sent.required("nonce")?.text()?);
    match accounts.tickets.redeem(customer, &challenge, &nonce, worker.server_ms()? / 1_000) {
        Ok(Ticket { text: ticket, expires_at }) => Ok(success(GivenTicket { ticket, expires_at })),
        Err(NoTicket::Forged) => Err(FORGED.into()),
        Err(NoTicket::Expired) => Err(EXPIRED.into()),
        Err(NoTicket::Unsolved) => Err(UNSOLVED.into()),
    }
}

fn customer(request: &HttpRequest) -> Result<UserId, SecError> {
    let user = session(request)?.user;
    if user.kind == Kind::Customer { Ok(user.id) } else { Err(ONLY_CUSTOMERS) }
}
