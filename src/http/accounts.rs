//! Accounts of users, for operators: approval, disabling, sessions and password links.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Done, ListOf};
use super::error::{ApiError, Code, read_failed};
use super::extractors::Admin;
use super::openapi::{admins, change, failures, reauthentication};
use super::proving::{Proof, reauthenticate, reauthenticate_by_body};
use super::state::{Accounts, Edge, Operating};
use super::{answer, blacklist, body, path, users};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Block, BlockReason, Kind, Subject, Until, UserId, UserName};
use crate::mysql::standing::{self, AccountStanding, Approval};
use crate::mysql::{Db, DbPools};

/// Salers per page of those who await approval.
const PAGE: u32 = 100;
const NO_SUCH_USER: ApiError = ApiError::new(Code::NotFound, "No such user.");
const NO_SALER: ApiError = ApiError::bad_field("approved", "Only merchants are approved.");
const BAD_AFTER: ApiError = ApiError::bad_field("after", "after must be the id of a user.");

/// The name in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers read the path as it was sent")]
struct AccountPath {
    /// The user's name.
    #[param(example = "shop")]
    name: String,
}

/// The query for the salers who await approval.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: the handler reads the query")]
struct AwaitingQuery {
    /// The `id` of the last saler of the page before.
    #[param(example = 7)]
    after: Option<u64>,
}

/// An account.
#[derive(Serialize, ToSchema)]
pub struct ShownAccount {
    id: u64,
    username: String,
    #[schema(pattern = "^(customer|saler|admin)$")]
    kind: &'static str,
    /// An admin has approved the saler.
    approved: bool,
    /// The saler's coupons are not sold before an admin approves him.
    awaits_approval: bool,
    /// An admin has blocked the user. He cannot log in, and has no session.
    disabled: bool,
    /// Coupons of the saler are not sold, because he awaits approval or is disabled.
    sales_withheld: bool,
    /// Seconds since 1970.
    registered_at: u64,
}

/// What to change. A missing field stays.
#[derive(Deserialize, ToSchema)]
struct AccountChange {
    #[schema(nullable = false)]
    disabled: Option<bool>,
    #[schema(nullable = false)]
    approved: Option<bool>,
    #[serde(flatten)]
    #[schema(inline)]
    proof: Proof,
}

/// A link that sets a password.
#[derive(Serialize, ToSchema)]
pub struct PasswordLink {
    /// The path of a page, to be sent to the user behind the address of the service.
    link: String,
    /// Seconds since 1970.
    expires_at: u64,
}

fn example() -> ShownAccount {
    ShownAccount {
        id: 7,
        username: "shop".to_owned(),
        kind: "saler",
        approved: true,
        awaits_approval: false,
        disabled: false,
        sales_withheld: false,
        registered_at: 1_767_265_200,
    }
}

failures!(ListAwaitingFailures: ApiError = [BAD_AFTER, ApiError::unavailable()], admins());

/// Lists the salers who await approval.
///
/// A page has 100 salers, the oldest first.
#[utoipa::path(
    get, path = "/admin/users", operation_id = "listAwaiting",
    params(AwaitingQuery),
    responses(
        (status = 200, description = "The salers of the page.", body = inline(ListOf<ShownAccount>), example = json!({
            "errMsg": "", "data": [ShownAccount { approved: false, awaits_approval: true, sales_withheld: true, ..example() }]})),
        (status = 204, description = "The page is empty."),
        ListAwaitingFailures,
    ),
)]
pub async fn list_awaiting(_: Admin, request: HttpRequest, dbs: web::Data<DbPools>) -> Result<HttpResponse, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).map_err(|_| BAD_AFTER)?;
    let after = query.iter().find(|(key, _)| key == "after").map_or(Ok(0), |(_, value)| value.parse());
    let after = UserId(after.map_err(|_| BAD_AFTER)?);
    let awaiting = standing::awaiting(&dbs.control, after, PAGE).await.map_err(|error| read_failed(&error))?;
    // A block of a user on this list is told by the user's own page.
    Ok(answer::list(&awaiting.into_iter().map(|standing| shown(standing, false)).collect::<Vec<_>>()))
}

failures!(ShowAccountFailures: ApiError = [NO_SUCH_USER, ApiError::unavailable()], admins());

/// Returns an account.
#[utoipa::path(
    get, path = "/admin/users/{name}", operation_id = "showAccount",
    params(AccountPath),
    responses(
        (status = 200, description = "The account.", body = inline(ShownAccount), example = json!(example())),
        ShowAccountFailures,
    ),
)]
pub async fn show_account(
    _: Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    show(&request, &edge, &dbs.control).await
}

failures!(ChangeAccountFailures: ApiError = [
    ApiError::not_json(),
    NO_SALER,
    NO_SUCH_USER,
    blacklist::NOT_YOURSELF,
], admins(), reauthentication(), change());

/// Approves or disables a user.
///
/// A disabled user is on the blacklist for ever: the sessions end, logins are refused, and coupons of a saler are not sold. The
/// change is in force on every instance within about a second. An admin with a second factor adds `password` and `otp`.
#[utoipa::path(
    put, path = "/admin/users/{name}", operation_id = "changeAccount",
    params(AccountPath),
    request_body(content = inline(AccountChange), example = json!({"approved": true})),
    responses(
        (status = 200, description = "The account after the change.", body = inline(ShownAccount), example = json!(example())),
        ChangeAccountFailures,
    ),
)]
pub async fn change_account(
    Admin(admin): Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    operating: web::Data<Operating>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form: AccountChange = body::json(payload, edge.body, ApiError::not_json).await?;
    let user = find(&request, &dbs.control).await?;
    if form.approved.is_some() && user.kind != Kind::Saler {
        return Err(NO_SALER);
    }
    reauthenticate(&request, &admin.name, &form.proof).await?;
    if let Some(approved) = form.approved {
        standing::approve(&dbs.control, user.id, approved).await?;
        operating.withholding.settle(user.id).await?;
        log::info!(
            "accounts: {} {} {}",
            admin.name,
            if approved { "approved" } else { "took approval from" },
            user.name
        );
    }
    let subject = Subject::User(user.id);
    match form.disabled {
        // An earlier request may have failed half-way, so what follows the block is done again.
        Some(true) if block_of(&edge, user.id).await?.is_some_and(|block| block.until == Until(None)) => {
            blacklist::shut_out(&accounts, &operating, user.id).await?;
        }
        Some(true) => {
            blacklist::put(&edge, &accounts, &operating, &admin, subject, Until(None)).await?;
        }
        Some(false) => {
            blacklist::take_away(&edge, &operating, &admin, subject).await?;
        }
        None => {}
    }
    show(&request, &edge, &dbs.control).await
}

failures!(EndSessionsFailures: ApiError = [ApiError::not_json(), NO_SUCH_USER], admins(), reauthentication(), change());

/// Ends all sessions of a user, and of the staff of a saler.
///
/// An admin with a second factor sends `password` and `otp`.
#[utoipa::path(
    post, path = "/admin/users/{name}/end-sessions", operation_id = "endSessions",
    params(AccountPath),
    request_body(content = inline(Option<Proof>), example = json!({"password": "correct horse", "otp": "123456"})),
    responses(
        (status = 200, description = "Earlier tokens do not count.", body = inline(Done), example = json!({"errMsg": ""})),
        EndSessionsFailures,
    ),
)]
pub async fn end_sessions(
    Admin(admin): Admin,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let user = find(&request, &dbs.control).await?;
    reauthenticate_by_body(&request, &admin.name, payload).await?;
    accounts.revocations.end_sessions(user.id, now_seconds()).await?;
    log::info!("accounts: {} ended the sessions of {}", admin.name, user.name);
    Ok(answer::done(HttpResponse::Ok()))
}

failures!(EndAllSessionsFailures: ApiError = [ApiError::not_json()], admins(), reauthentication(), change());

/// Ends all sessions of all users, also of the admin who asks.
///
/// An admin with a second factor sends `password` and `otp`.
#[utoipa::path(
    post, path = "/admin/end-sessions", operation_id = "endAllSessions",
    request_body(content = inline(Option<Proof>), example = json!({"password": "correct horse", "otp": "123456"})),
    responses(
        (status = 200, description = "Earlier tokens do not count.", body = inline(Done), example = json!({"errMsg": ""})),
        EndAllSessionsFailures,
    ),
)]
pub async fn end_all_sessions(
    Admin(admin): Admin,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    reauthenticate_by_body(&request, &admin.name, payload).await?;
    let now = now_ms();
    accounts.revocations.end_all_sessions(now / 1_000).await?;
    log::warn!("accounts: {} ended all sessions", admin.name);
    // Tokens of this second are ended, too. Whoever has this answer gets one that counts.
    tokio::time::sleep(Duration::from_millis(1_000 - now % 1_000)).await;
    Ok(answer::done(HttpResponse::Ok()))
}

failures!(MakePasswordLinkFailures: ApiError = [
    ApiError::not_json(),
    NO_SUCH_USER,
    ApiError::unavailable(),
], admins(), reauthentication());

/// Makes a link that sets a user's password.
///
/// The link is good once and for an hour. It ends earlier when the sessions of the user are ended. An admin with a second factor
/// sends `password` and `otp`.
#[utoipa::path(
    post, path = "/admin/users/{name}/password", operation_id = "makePasswordLink",
    params(AccountPath),
    request_body(content = inline(Option<Proof>), example = json!({"password": "correct horse", "otp": "123456"})),
    responses(
        (status = 200, description = "The link.", body = inline(PasswordLink),
            example = json!(PasswordLink { link: "/#reset/eyJhbGciOi".to_owned(), expires_at: 1_767_268_800 })),
        MakePasswordLinkFailures,
    ),
)]
pub async fn make_password_link(
    Admin(admin): Admin,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let name = name(&request).ok_or(NO_SUCH_USER)?;
    reauthenticate_by_body(&request, &admin.name, payload).await?;
    let account = users::find(&dbs.control, &name).await?.ok_or(NO_SUCH_USER)?;
    let now = now_seconds();
    let token = accounts.links.sign(&account.user, account.token_generation, now);
    log::info!("accounts: {} made a password link for {}", admin.name, account.user.name);
    let link = PasswordLink { link: format!("/#reset/{token}"), expires_at: accounts.links.end(now) };
    Ok(answer::json(HttpResponse::Ok(), &link))
}

fn name(request: &HttpRequest) -> Option<UserName> {
    UserName::parse(path::segment(request, 2)?.into_owned()).ok()
}

async fn find(request: &HttpRequest, db: &Db) -> Result<AccountStanding, ApiError> {
    let name = name(request).ok_or(NO_SUCH_USER)?;
    let found = standing::find(db, &name).await.map_err(|error| read_failed(&error))?;
    found.ok_or(NO_SUCH_USER)
}

async fn show(request: &HttpRequest, edge: &Edge, db: &Db) -> Result<HttpResponse, ApiError> {
    let user = find(request, db).await?;
    let is_disabled = block_of(edge, user.id).await?.is_some();
    Ok(answer::json(HttpResponse::Ok(), &shown(user, is_disabled)))
}

/// The block of a user by an admin that is in force.
async fn block_of(edge: &Edge, user: UserId) -> Result<Option<Block>, ApiError> {
    let block = edge.admission.blacklist.find(Subject::User(user), now_seconds()).await;
    Ok(block.map_err(|error| read_failed(&error))?.filter(|block| block.reason == BlockReason::Admin))
}

fn shown(standing: AccountStanding, disabled: bool) -> ShownAccount {
    ShownAccount {
        id: standing.id.0,
        username: standing.name,
        kind: standing.kind.as_str(),
        approved: standing.approval == Approval::Given,
        awaits_approval: standing.approval == Approval::Awaited,
        disabled,
        sales_withheld: standing.sales_withheld,
        registered_at: standing.registered_at,
    }
}
