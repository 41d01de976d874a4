//! Claiming a coupon, and the list of its holders for its saler.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Done, ListOf};
use super::applicant::Claimant;
use super::claim_wait::{ClaimDurability, ClaimWait, bad_wait, durability_header, wanted_durability};
use super::coupons::{readable_coupon, unreadable_coupon};
use super::error::{ApiError, Code, read_failed};
use super::exports::TooSlow;
use super::extractors::{Customer, SALERS_CANNOT_CLAIM};
use super::lists::{BAD_AFTER, BAD_PAGE, KeysetQuery, page_or_after};
use super::merchant::{Merchant, ReadClaims};
use super::openapi::{admission, change, failures, merchants, token};
use super::path::CouponPath;
use super::state::{Accounts, Edge, Offering, Selling, Worker};
use super::{answer, path, peer};
use crate::auth::ClaimTokens;
use crate::base::now_ms;
use crate::claim::{ClaimOutcome, Wish};
use crate::domain::{Claim, Durability, Nth, PageStart, Refusal, Seq, Terms};
use crate::mysql::claim_rows::{Holding, holdings};
use crate::mysql::{DbError, DbPools};

const CLAIM_RESULT: HeaderName = HeaderName::from_static("claim-result");
const CLAIM_NTH: HeaderName = HeaderName::from_static("claim-nth");
const CLAIM_TOKEN: HeaderName = HeaderName::from_static("claim-token");
const CSV: &str = "text/csv; charset=utf-8";
/// Claims in one page.
const PAGE: u64 = 100;
/// Rows in one read of the export.
const EXPORT_ROWS: u64 = 1_000;

/// The values of the header `Claim-Result`.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers send the words")]
enum ClaimResult {
    Claimed,
    AlreadyClaimed,
    SoldOut,
    NoSuchCoupon,
    NotStarted,
    Ended,
    NotOnSale,
    TryAgain,
    NotEligible,
    TicketRequired,
    NetworkLimit,
}

failures!(ClaimFailures: ApiError = [
    bad_nth(),
    bad_wait(),
    ApiError::new(Code::WrongKind, SALERS_CANNOT_CLAIM),
], token(), change(), admission());

/// Claims a unit of a coupon.
///
/// A body is ignored. A claim that the customer holds already is returned first, also after the end of the sale. Then
/// the service checks status, window, draw, quota and units, in this order. A retry after any answer is safe.
#[utoipa::path(
    patch, path = "/api/users/{user}/coupons/{name}", operation_id = "claimCoupon",
    params(
        CouponPath,
        ("Claim-Nth" = inline(Option<u8>), Header, nullable = false, minimum = 1, maximum = 100, example = 1,
            description = "The number of units that the customer wants to hold after this claim."),
        ("Claim-Ticket" = Option<String>, Header, nullable = false, description = "For a sale that asks for a ticket."),
        ("Claim-Wait" = inline(Option<ClaimWait>), Header, nullable = false, description = "`stored`: a claim is answered \
            after the database has committed it. Without a commit in 2 s the answer is 503 `unknown-outcome`."),
    ),
    responses(
        (status = 201, description = "A unit was claimed.", body = inline(Done), headers(
            ("Claim-Result" = inline(ClaimResult), description = "`claimed`."),
            ("Claim-Durability" = inline(ClaimDurability), description = "What is certain about the claim."),
            ("Claim-Token" = String, description = "A signed proof of the claim, as a JWT.")),
            example = json!({"errMsg": ""})),
        (status = 204, description = "`already-claimed`: the customer holds a unit, and the answer proves the claim again. \
                Otherwise nothing was claimed, and `Claim-Result` names the reason.", headers(
            ("Claim-Result" = inline(ClaimResult), description = "The outcome of the attempt."),
            ("Claim-Durability" = inline(ClaimDurability), description = "With `already-claimed`: what is certain about \
                the claim."),
            ("Claim-Token" = String, description = "With `already-claimed`: the proof of the claim that the customer holds."))),
        ClaimFailures,
    ),
)]
pub async fn claim_coupon(
    Customer(customer): Customer,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, ApiError> {
    edge.admission.claim(customer.id, || peer::address(&request, &edge), now_ms())?;
    let Some(path) = path::coupon(&request) else { return Ok(refused(Refusal::NoSuchCoupon)) };
    let Some((coupon, link)) = selling.directory.coupon(&worker.known, &worker.links, &path).await? else {
        return Ok(refused(Refusal::NoSuchCoupon));
    };
    let connection = link.connection().map_err(|_| ApiError::unavailable())?;
    let (nth, durability) = (wanted_nth(&request)?, wanted_durability(&request, &selling)?);
    let claimant = Claimant::new(&request, &edge, &accounts, customer.id, None);
    match link.shard.claiming.claim(&connection, coupon, customer.id, &claimant, Wish { nth, durability }).await {
        ClaimOutcome::Claimed(claim) => {
            let mut builder = HttpResponse::Created();
            prove(&mut builder, &accounts.claim_tokens, &claim, "claimed", durability);
            Ok(answer::done(builder))
        }
        ClaimOutcome::Already(claim) => {
            let mut builder = HttpResponse::NoContent();
            prove(&mut builder, &accounts.claim_tokens, &claim, "already-claimed", durability);
            Ok(builder.finish())
        }
        ClaimOutcome::Refused(refusal) => {
            if refusal == Refusal::NoSuchCoupon {
                worker.known.forget(coupon);
            }
            Ok(refused(refusal))
        }
        ClaimOutcome::Overloaded => Err(ApiError::overloaded()),
        ClaimOutcome::Unavailable => Err(ApiError::unavailable()),
        ClaimOutcome::Unknown => Err(ApiError::unknown_outcome()),
    }
}

/// Parses `Claim-Nth: n`, which means "I want to hold n claims".
fn wanted_nth(request: &HttpRequest) -> Result<Option<Nth>, ApiError> {
    let Some(header) = request.headers().get(CLAIM_NTH) else { return Ok(None) };
    let nth = header.to_str().ok().and_then(|text| text.parse::<Nth>().ok());
    let nth = nth.filter(|nth| (1..=Terms::BUY_LIMIT_MAX).contains(nth));
    nth.map(Some).ok_or_else(bad_nth)
}

fn bad_nth() -> ApiError {
    let message = format!("Claim-Nth should be a number from 1 to {}.", Terms::BUY_LIMIT_MAX);
    ApiError::formatted(Code::BadRequest, message).with_field("Claim-Nth")
}

fn prove(
    builder: &mut HttpResponseBuilder,
    tokens: &ClaimTokens,
    claim: &Claim,
    result: &'static str,
    durability: Durability,
) {
    let token = HeaderValue::try_from(tokens.sign(claim)).expect("a JWT is visible ASCII");
    builder.insert_header((CLAIM_RESULT, HeaderValue::from_static(result)));
    builder.insert_header(durability_header(durability));
    builder.insert_header((CLAIM_TOKEN, token));
}

fn refused(refusal: Refusal) -> HttpResponse {
    let result = match refusal {
        Refusal::SoldOut => "sold-out",
        Refusal::NoSuchCoupon => "no-such-coupon",
        Refusal::NotOnSale | Refusal::Disabled => "not-on-sale",
        Refusal::NotStarted => "not-started",
        Refusal::Ended => "ended",
        Refusal::TryAgain => "try-again",
        Refusal::NotEligible => "not-eligible",
        Refusal::TicketRequired => "ticket-required",
        Refusal::NetworkLimit => "network-limit",
    };
    HttpResponse::NoContent().insert_header((CLAIM_RESULT, HeaderValue::from_static(result))).finish()
}

/// A holder of a coupon. Times are in seconds since 1970.
#[derive(Serialize, ToSchema)]
pub struct Holder {
    username: String,
    #[schema(value_type = u32)]
    seq: Seq,
    nth: u8,
    claimed_at: u64,
    activity_id: u32,
    #[schema(required)]
    redeemed_at: Option<u64>,
    /// The name of the user who redeemed the claim. Absent if nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_by: Option<String>,
}

failures!(ListClaimsFailures: ApiError = [BAD_PAGE, BAD_AFTER], unreadable_coupon(), merchants());

/// Lists the claims of a coupon.
///
/// A page has 100 claims, in the order of `seq`.
#[utoipa::path(
    get, path = "/api/users/{user}/coupons/{name}/claims", operation_id = "listClaims",
    params(CouponPath, KeysetQuery),
    responses(
        (status = 200, description = "The claims of the page.", body = inline(ListOf<Holder>), example = json!({"errMsg": "",
            "data": [{"username": "ann", "seq": 57, "nth": 1, "claimed_at": 1_767_265_200_u64, "activity_id": 1,
            "redeemed_at": null}]})),
        (status = 204, description = "The page is empty."),
        ListClaimsFailures,
    ),
)]
pub async fn list_claims(
    Merchant { user, .. }: Merchant<ReadClaims>,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let page = page_or_after(&request)?;
    let db = dbs.of(user.kind);
    let coupon = readable_coupon(&user, &request, &accounts.users, db).await?;
    let seq = |number| Seq::try_from(number).unwrap_or(Seq::MAX);
    let rows = match page.start(PAGE) {
        // Seqs are dense except for holes. So a page begins at a seq, and earlier rows need not be counted.
        Some(PageStart::Skip(skipped)) => holdings(db, coupon, seq(skipped), PAGE, Some(skipped + PAGE)).await,
        Some(PageStart::After(last)) => holdings(db, coupon, seq(last), PAGE, None).await,
        None => Ok(Vec::new()),
    };
    let rows = rows.map_err(|error| read_failed(&error))?;
    Ok(answer::list(&rows.into_iter().map(holder).collect::<Vec<_>>()))
}

fn holder(row: Holding) -> Holder {
    let Holding { username, seq, nth, claimed_at_ms, activity, redeemed_at_ms, redeemed_by } = row;
    let seconds = |ms: u64| ms / 1_000;
    Holder {
        username,
        seq,
        nth,
        claimed_at: seconds(claimed_at_ms),
        activity_id: activity.0,
        redeemed_at: redeemed_at_ms.map(seconds),
        redeemed_by,
    }
}

/// Why an export ends early. The connection closes, so the reader notices.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
}

failures!(ExportClaimsFailures: ApiError = [], unreadable_coupon(), [ApiError::overloaded()], merchants());

/// Exports all claims of a coupon as CSV.
///
/// The answer is streamed. Cells are quoted by RFC 4180, and no cell is a formula to a spreadsheet.
#[utoipa::path(
    get, path = "/api/users/{user}/coupons/{name}/claims.csv", operation_id = "exportClaims",
    params(CouponPath),
    responses(
        (status = 200, description = "A header line, and one line for each claim.", body = String, content_type = CSV,
            headers(("Content-Disposition" = String, description = "The name of the file.")),
            example = "username,seq,nth,claimed_at,activity_id,redeemed_at\r\nann,57,1,1767265200,7,\r\n"),
        ExportClaimsFailures,
    ),
)]
pub async fn export_claims(
    Merchant { user, .. }: Merchant<ReadClaims>,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    offering: web::Data<Offering>,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let db = dbs.of(user.kind).clone();
    let coupon = readable_coupon(&user, &request, &accounts.users, &db).await?;
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CONTENT_TYPE, CSV));
    builder.insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"claims.csv\""));
    // actix would read the whole stream and drop every line.
    if request.method() == Method::HEAD {
        return Ok(builder.finish());
    }
    let place = offering.exports.enter(user.id)?;
    // The state is the last seq written. `Some(None)` writes the header line first, and `None` ends the stream.
    let rows = stream::try_unfold((place, db, Some(None)), move |(place, db, after)| async move {
        let Some(after) = after else { return Ok::<_, ExportError>(None) };
        let rows = holdings(&db, coupon, after.unwrap_or(0), EXPORT_ROWS, None).await;
        let rows = rows.inspect_err(|error| log::warn!("export cut short: {}", crate::base::error_chain(error)))?;
        let next = (rows.len() as u64 == EXPORT_ROWS).then(|| rows.last().map(|row| row.seq));
        let lines = csv_lines(rows, after.is_none());
        place.give(lines.len())?;
        Ok(Some((lines, (place, db, next))))
    });
    Ok(builder.streaming(rows))
}

fn csv_lines(rows: Vec<Holding>, with_header: bool) -> Bytes {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let written = "a vector takes every record, and each has six fields";
    if with_header {
        let header = ["username", "seq", "nth", "claimed_at", "activity_id", "redeemed_at"];
        writer.write_record(header).expect(written);
    }
    for row in rows {
        let Holder { username, seq, nth, claimed_at, activity_id, redeemed_at, .. } = holder(row);
        let redeemed_at = redeemed_at.map(|at| at.to_string()).unwrap_or_default();
        let numbers = [seq.to_string(), nth.to_string(), claimed_at.to_string(), activity_id.to_string(), redeemed_at];
        let username = defused(&username);
        writer.write_record(std::iter::once(&username).chain(&numbers)).expect(written);
    }
    writer.into_inner().expect("a vector is always flushed").into()
}

/// Puts an apostrophe before text that a spreadsheet would run as a formula. In many countries a spreadsheet splits a line at
/// semicolons or tabs, so a formula may also begin behind one of these.
fn defused(cell: &str) -> String {
    let mut defused = String::with_capacity(cell.len());
    let mut begins_cell = true;
    for character in cell.chars() {
        if begins_cell && ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'].contains(&character) {
            defused.push('\'');
        }
        begins_cell = [';', '\t'].contains(&character);
        defused.push(character);
    }
    defused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ActivityId;

    fn row(username: &str, seq: Seq) -> Holding {
        let (username, activity) = (username.to_owned(), ActivityId(0));
        Holding {
            username,
            seq,
            nth: 1,
            claimed_at_ms: 1_700_000_000_999,
            activity,
            redeemed_at_ms: None,
            redeemed_by: None,
        }
    }

    #[test]
    fn the_export_quotes_by_rfc_4180_and_defuses_formulas() {
        let rows = vec![row("plain", 1), row("a,\"b\"", 2), row("=1+1", 3), row("a;@x;b", 4)];
        let text = String::from_utf8(csv_lines(rows, true).to_vec()).expect("names are UTF-8");
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(
            lines,
            [
                "username,seq,nth,claimed_at,activity_id,redeemed_at",
                "plain,1,1,1700000000,0,",
                "\"a,\"\"b\"\"\",2,1,1700000000,0,",
                "'=1+1,3,1,1700000000,0,",
                "a;'@x;b,4,1,1700000000,0,",
            ]
        );
    }
}
