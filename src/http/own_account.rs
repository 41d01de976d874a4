//! A user's own account: its state, all data about the user, and erasing it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Done;
use super::error::{ApiError, Code, read_failed};
use super::extractors::SessionUser;
use super::openapi::{admission, change, failures, token};
use super::proving::{Prover, counted_name};
use super::state::{Accounts, Edge};
use super::{answer, body, path, users};
use crate::base::now_seconds;
use crate::domain::{Kind, PageStart, Password, TrailEntry, User};
use crate::mysql::DbPools;
use crate::mysql::erasing::{self, Erasing, OwnClaim};
use crate::mysql::standing::{self, AccountStanding, Approval};
use crate::mysql::trail::{self, StoredEntry, TrailFilter};

/// Claims and events in an answer.
const CLAIMS_MAX: u32 = 10_000;
const EVENTS_MAX: u32 = 1_000;
const NOT_YOUR_DATA: ApiError = ApiError::new(Code::NotYours, "Cannot read other users' data.");
const NOT_YOUR_ACCOUNT: ApiError = ApiError::new(Code::NotYours, "Cannot erase other users.");
const WRONG_PASSWORD: ApiError = ApiError::of_field(Code::WrongPassword, "password", "Wrong password.");
const OPEN_COUPONS: ApiError = ApiError::bad_request("Archive your coupons first.");
const STAFF_STAY: ApiError = ApiError::bad_request("Staff are deleted by their merchant.");
const ADMINS_STAY: ApiError = ApiError::bad_request("Admins cannot be erased.");

/// All data about a user. Times are seconds since 1970.
#[derive(Serialize, ToSchema)]
pub struct OwnData {
    username: String,
    kind: &'static str,
    registered_at: u64,
    /// Networks of the latest logins.
    #[schema(inline)]
    networks: Vec<OwnNetwork>,
    /// Claims of the newest coupons first, at most 10,000.
    #[schema(inline)]
    claims: Vec<ShownOwnClaim>,
    /// The newest events of the audit trail first, at most 1,000.
    #[schema(inline)]
    events: Vec<OwnEvent>,
    /// Whether nothing was left out.
    complete: bool,
}

/// The user's own account.
#[derive(Serialize, ToSchema)]
pub struct OwnAccount {
    username: String,
    kind: &'static str,
    /// An admin has approved the saler.
    approved: bool,
    /// The saler's coupons are not sold before an admin approves him.
    awaits_approval: bool,
    /// Seconds since 1970.
    registered_at: u64,
}

#[derive(Serialize, ToSchema)]
struct OwnNetwork {
    network: String,
    seen_at: u64,
}

#[derive(Serialize, ToSchema)]
struct ShownOwnClaim {
    saler: String,
    name: String,
    seq: u32,
    nth: u8,
    claimed_at: u64,
    redeemed_at: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct OwnEvent {
    at: u64,
    event: String,
    object: String,
    address: String,
    status: u16,
}

#[derive(Deserialize, ToSchema)]
struct Erasure {
    #[serde(default)]
    #[schema(required)]
    password: String,
}

failures!(ShowOwnAccountFailures: ApiError = [NOT_YOUR_DATA, ApiError::unavailable()], token());

/// Returns the account of the user who asks.
#[utoipa::path(
    get, path = "/api/users/{user}", operation_id = "showOwnAccount",
    params(("user" = String, Path, description = "The user's own name.", example = "shop")),
    responses(
        (status = 200, description = "The account.", body = inline(OwnAccount), example = json!(OwnAccount {
            username: "shop".to_owned(), kind: "saler", approved: false, awaits_approval: true,
            registered_at: 1_767_265_200 })),
        ShowOwnAccountFailures,
    ),
)]
pub async fn show_own_account(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let account = own(&user, &request, &dbs).await?;
    let shown = OwnAccount {
        username: account.name,
        kind: account.kind.as_str(),
        approved: account.approval == Approval::Given,
        awaits_approval: account.approval == Approval::Awaited,
        registered_at: account.registered_at,
    };
    Ok(answer::json(HttpResponse::Ok(), &shown))
}

/// The account of `user`, whom the path must name.
async fn own(user: &User, request: &HttpRequest, dbs: &DbPools) -> Result<AccountStanding, ApiError> {
    if !path::names(request, user) {
        return Err(NOT_YOUR_DATA);
    }
    let account = standing::find(dbs.of(user.kind), &user.name).await.map_err(|error| read_failed(&error))?;
    account.ok_or_else(ApiError::not_logged_in)
}

failures!(ShowOwnDataFailures: ApiError = [NOT_YOUR_DATA, ApiError::unavailable()], token());

/// Returns all data about a user, for the user alone.
#[utoipa::path(
    get, path = "/api/users/{user}/data", operation_id = "showOwnData",
    params(("user" = String, Path, description = "The user's own name.", example = "ann")),
    responses(
        (status = 200, description = "The data.", body = inline(OwnData), example = json!(OwnData {
            username: "ann".to_owned(), kind: "customer", registered_at: 1_767_265_200, networks: Vec::new(),
            claims: Vec::new(), events: Vec::new(), complete: true })),
        ShowOwnDataFailures,
    ),
)]
pub async fn show_own_data(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let account = own(&user, &request, &dbs).await?;
    let db = dbs.of(user.kind);
    let read_failed = |error| read_failed(&error);
    let networks = erasing::networks_of(db, &user).await.map_err(read_failed)?;
    let mut claims = erasing::claims_of(db, &user, CLAIMS_MAX + 1).await.map_err(read_failed)?;
    let actor = TrailEntry::actor_of(user.name.as_str());
    let filter = TrailFilter { actor: &actor, event: "" };
    let mut events =
        trail::newest(db, filter, PageStart::Skip(0), i64::from(EVENTS_MAX) + 1).await.map_err(read_failed)?;
    let complete = claims.len() <= CLAIMS_MAX as usize && events.len() <= EVENTS_MAX as usize;
    claims.truncate(CLAIMS_MAX as usize);
    events.truncate(EVENTS_MAX as usize);
    let data = OwnData {
        username: user.name.to_string(),
        kind: user.kind.as_str(),
        registered_at: account.registered_at,
        networks: networks.into_iter().map(|(network, seen_at)| OwnNetwork { network, seen_at }).collect(),
        claims: claims.into_iter().map(shown_claim).collect(),
        events: events.into_iter().map(shown_event).collect(),
        complete,
    };
    Ok(answer::json(HttpResponse::Ok(), &data))
}

failures!(EraseAccountFailures: ApiError = [
    ApiError::not_json(),
    WRONG_PASSWORD,
    OPEN_COUPONS,
    STAFF_STAY,
    ADMINS_STAY,
    NOT_YOUR_ACCOUNT,
], token(), admission(), change());

/// Erases the user's own account.
///
/// Name, password and sessions go. Claims stay, under a name that says nothing. A saler must have archived all coupons, and
/// keeps the name on coupons that customers hold. Staff and keys of the saler end. Nobody gets the name again.
#[utoipa::path(
    delete, path = "/api/users/{user}", operation_id = "eraseAccount",
    params(("user" = String, Path, description = "The user's own name.", example = "ann")),
    request_body(content = inline(Erasure), example = json!({"password": "correct horse"})),
    responses(
        (status = 200, description = "The account is erased.", body = inline(Done), example = json!({"errMsg": ""})),
        EraseAccountFailures,
    ),
)]
pub async fn erase_account(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if !path::names(&request, &user) {
        return Err(NOT_YOUR_ACCOUNT);
    }
    let form: Erasure = body::json(payload, edge.body, ApiError::not_json).await?;
    match user.kind {
        Kind::Customer | Kind::Saler => {}
        Kind::Staff => return Err(STAFF_STAY),
        Kind::Admin => return Err(ADMINS_STAY),
    }
    let password = Password::parse(form.password).map_err(|_| WRONG_PASSWORD)?;
    // A wrong password counts as a failed login, so that nobody guesses here with a stolen session.
    let (prover, name) = (Prover::of(&request), counted_name(&user.name));
    let mut attempt = prover.attempt(&request, &name);
    prover.admit(&mut attempt).await?;
    let account = users::find(dbs.of(user.kind), &user.name).await?;
    let account = prover.password(&mut attempt, account, &password).await?.ok_or(WRONG_PASSWORD)?;
    match accounts.revocations.erase(&user, &account.password_hash, now_seconds()).await? {
        Erasing::Done { .. } => Ok(answer::done(HttpResponse::Ok())),
        Erasing::OpenCoupons => Err(OPEN_COUPONS),
        // The password was changed meanwhile.
        Erasing::Changed => Err(WRONG_PASSWORD),
    }
}

fn shown_claim(claim: OwnClaim) -> ShownOwnClaim {
    let OwnClaim { saler, name, seq, nth, claimed_at, redeemed_at } = claim;
    ShownOwnClaim {
        saler,
        name,
        seq,
        nth,
        claimed_at: claimed_at / 1_000,
        redeemed_at: redeemed_at.map(|at| at / 1_000),
    }
}

fn shown_event(entry: StoredEntry) -> OwnEvent {
    let StoredEntry { at_ms, event, object, address, status, .. } = entry;
    OwnEvent { at: at_ms / 1_000, event, object, address, status }
}
