//! Claiming a coupon, and the list of its holders for its saler.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::coupons::readable_coupon;
use super::error::{ApiError, read_failed};
use super::extractors::{Customer, session};
use super::lists::page_of;
use super::state::{Shared, Worker};
use super::{answer, path, peer};
use crate::base::now_ms;
use crate::claim::ClaimOutcome;
use crate::domain::{Claim, CouponId, Nth, Refusal, Seq, Terms};
use crate::mysql::claim_rows::{Holding, holdings};
use crate::mysql::{Db, DbError};

pub const CLAIM_RESULT: HeaderName = HeaderName::from_static("claim-result");
const CLAIM_NTH: HeaderName = HeaderName::from_static("claim-nth");
pub const CLAIM_TOKEN: HeaderName = HeaderName::from_static("claim-token");
/// The headers of an export.
pub const CSV: [(&str, &str); 2] =
    [("content-type", "text/csv; charset=utf-8"), ("content-disposition", "attachment; filename=\"claims.csv\"")];
/// Claims per page of the list, and per read of the export.
const PAGE: u64 = 100;
const EXPORT_ROWS: u64 = 1_000;

/// `PATCH /api/users/{saler}/coupons/{name}`
pub async fn claim_coupon(
    Customer(customer): Customer,
    request: HttpRequest,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, ApiError> {
    let Worker { shared, known, link, .. } = &**worker;
    shared.admission.claim(customer.id, || peer::address(&request, shared), now_ms())?;
    let Some(path) = path::coupon(&request) else { return Ok(refused(Refusal::NoSuchCoupon)) };
    let connection = link.connection().map_err(|_| ApiError::unavailable())?;
    let Some(coupon) = shared.directory.coupon(known, &connection, &path).await? else {
        return Ok(refused(Refusal::NoSuchCoupon));
    };
    let nth = wanted_nth(&request)?;
    match shared.claiming.claim(&connection, coupon, customer.id, nth).await {
        ClaimOutcome::Claimed(claim) => {
            let mut builder = HttpResponse::Created();
            prove(&mut builder, shared, &claim, "claimed");
            Ok(answer::done(builder))
        }
        ClaimOutcome::Already(claim) => {
            let mut builder = HttpResponse::NoContent();
            prove(&mut builder, shared, &claim, "already-claimed");
            Ok(builder.finish())
        }
        ClaimOutcome::Refused(refusal) => Ok(refused(refusal)),
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
    let message = || format!("Claim-Nth should be a number from 1 to {}.", Terms::BUY_LIMIT_MAX);
    nth.map(Some).ok_or_else(|| ApiError::bad_field("Claim-Nth", message()))
}

fn prove(builder: &mut HttpResponseBuilder, shared: &Shared, claim: &Claim, result: &'static str) {
    let token = HeaderValue::try_from(shared.claim_tokens.sign(claim)).expect("a JWT is visible ASCII");
    builder.insert_header((CLAIM_RESULT, HeaderValue::from_static(result)));
    builder.insert_header((CLAIM_TOKEN, token));
}

/// A 204 with the refusal in `Claim-Result`.
pub fn refused(refusal: Refusal) -> HttpResponse {
    let result = match refusal {
        Refusal::SoldOut => "sold-out",
        Refusal::NoSuchCoupon => "no-such-coupon",
        Refusal::NotOnSale | Refusal::Disabled => "not-on-sale",
        Refusal::NotStarted => "not-started",
        Refusal::Ended => "ended",
        Refusal::TryAgain => "try-again",
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
}

/// `GET /api/users/{saler}/coupons/{name}/claims?page=N`
pub async fn list_claims(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let page = page_of(&request)?;
    let coupon = readable_coupon(&session(&request)?.user, &request, &shared).await?;
    // Seqs are dense except for holes. So a page begins at a seq, and earlier rows need not be counted.
    let skipped = page.offset(PAGE);
    let rows = holdings_page(&shared.db, coupon, skipped).await.map_err(|error| read_failed(&error))?;
    let holders: Vec<Holder> = rows.into_iter().map(holder).collect();
    Ok(answer::list(&holders))
}

async fn holdings_page(db: &Db, coupon: CouponId, skipped: u64) -> Result<Vec<Holding>, DbError> {
    match Seq::try_from(skipped) {
        Ok(after) => holdings(db, coupon, after, PAGE, Some(skipped + PAGE)).await,
        Err(_) => Ok(Vec::new()),
    }
}

fn holder(row: Holding) -> Holder {
    let Holding { username, seq, nth, claimed_at_ms, activity, redeemed_at_ms } = row;
    let seconds = |ms: u64| ms / 1_000;
    Holder {
        username,
        seq,
        nth,
        claimed_at: seconds(claimed_at_ms),
        activity_id: activity.0,
        redeemed_at: redeemed_at_ms.map(seconds),
    }
}

/// `GET /api/users/{saler}/coupons/{name}/claims.csv`. Streams all claims in constant memory.
pub async fn export_claims(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let coupon = readable_coupon(&session(&request)?.user, &request, &shared).await?;
    let permit = std::sync::Arc::clone(&shared.exports).try_acquire_owned().map_err(|_| ApiError::overloaded())?;
    let db = shared.db.clone();
    // The state is the last seq written. `Some(None)` writes the header line first, and `None` ends the stream.
    let rows = stream::try_unfold((permit, db, Some(None)), move |(permit, db, after)| async move {
        let Some(after) = after else { return Ok::<_, DbError>(None) };
        let rows = holdings(&db, coupon, after.unwrap_or(0), EXPORT_ROWS, None).await;
        let rows = rows.inspect_err(|error| log::warn!("export cut short: {}", crate::base::error_chain(error)))?;
        let next = (rows.len() as u64 == EXPORT_ROWS).then(|| rows.last().map(|row| row.seq));
        Ok(Some((csv_lines(rows, after.is_none()), (permit, db, next))))
    });
    let mut builder = HttpResponse::Ok();
    for header in CSV {
        builder.insert_header(header);
    }
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
        let Holder { username, seq, nth, claimed_at, activity_id, redeemed_at } = holder(row);
        let redeemed_at = redeemed_at.map(|at| at.to_string()).unwrap_or_default();
        let numbers = [seq.to_string(), nth.to_string(), claimed_at.to_string(), activity_id.to_string(), redeemed_at];
        let username = defused(username);
        writer.write_record(std::iter::once(&username).chain(&numbers)).expect(written);
    }
    writer.into_inner().expect("a vector is always flushed").into()
}

/// Puts an apostrophe before a cell that a spreadsheet would run as a formula.
fn defused(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ActivityId;

    fn row(username: &str, seq: Seq) -> Holding {
        let (username, activity) = (username.to_owned(), ActivityId(0));
        Holding { username, seq, nth: 1, claimed_at_ms: 1_700_000_000_999, activity, redeemed_at_ms: None }
    }

    #[test]
    fn the_export_quotes_by_rfc_4180_and_defuses_formulas() {
        let rows = vec![row("plain", 1), row("a,\"b\"", 2), row("=1+1", 3), row("@x", 4)];
        let text = String::from_utf8(csv_lines(rows, true).to_vec()).expect("names are UTF-8");
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(
            lines,
            [
                "username,seq,nth,claimed_at,activity_id,redeemed_at",
                "plain,1,1,1700000000,0,",
                "\"a,\"\"b\"\"\",2,1,1700000000,0,",
                "'=1+1,3,1,1700000000,0,",
                "'@x,4,1,1700000000,0,",
            ]
        );
    }
}
