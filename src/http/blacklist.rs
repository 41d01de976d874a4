//! Shows and changes the blacklist for admins, at `/admin/blacklist` and `/admin/blacklist/{users|ips}/{value}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Done, ListOf};
use super::error::{ApiError, Code, read_failed};
use super::extractors::Admin;
use super::lists::{BAD_PAGE, PageQuery, page_of};
use super::openapi::{admins, change, failures, reauthentication};
use super::proving::{Proof, reauthenticate, reauthenticate_by_body};
use super::state::{Accounts, Edge, Operating};
use super::{answer, body, path};
use crate::base::now_seconds;
use crate::domain::{Block, BlockReason, Subject, Until, User, UserId, UserName};
use crate::mysql::blocks::{Listed, Whom};
use crate::mysql::{Db, DbPools, users};

/// Longest block with an end, in seconds: ten years.
const SECONDS_MAX: u64 = 315_360_000;
/// Blocks per page.
const PAGE: u64 = 100;

const NO_ADDRESS: ApiError = ApiError::bad_field("value", "The path must name an IPv4 or IPv6 address.");
const NO_SUCH_USER: ApiError = ApiError::new(Code::NotFound, "No such user.");
pub(super) const NOT_YOURSELF: ApiError = ApiError::bad_request("Admins cannot block themselves.");
const NOT_BLOCKED: ApiError = ApiError::new(Code::NotFound, "Not on the blacklist.");
/// A block in examples.
const BLOCK: BlockBody<'_> =
    BlockBody { until: Some(1_767_268_800), since: 1_767_265_200, by: "root", reason: "admin" };

/// A block. Times are seconds since 1970. Without `until`, the block lasts for ever.
#[derive(Serialize, ToSchema)]
pub struct BlockBody<'a> {
    #[schema(required)]
    pub until: Option<u64>,
    pub since: u64,
    pub by: &'a str,
    pub reason: &'static str,
}

/// A blocked user or address. `kind` and `value` are the parts of the block's path.
#[derive(Serialize, ToSchema)]
pub struct ListedBlock<'a> {
    #[schema(pattern = "^(users|ips)$")]
    pub kind: &'static str,
    pub value: String,
    #[serde(flatten)]
    #[schema(inline)]
    pub block: BlockBody<'a>,
}

/// The duration of a block in seconds. Without `seconds` the block lasts forever.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: a wrong number has an error of its own")]
struct BlockFor {
    /// Without `seconds`, the block lasts for ever.
    #[schema(minimum = 1, maximum = 315_360_000)]
    seconds: Option<u64>,
    #[schema(inline)]
    #[serde(flatten)]
    proof: Proof,
}

/// The first segment of a subject's path.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the OpenAPI document only: the router compares the segment")]
enum SubjectKind {
    Users,
    Ips,
}

/// The segments that name a user or an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the OpenAPI document only: handlers read the path as it was sent")]
struct SubjectPath {
    /// `users` for a user, `ips` for an address.
    #[param(inline, example = "users")]
    kind: SubjectKind,
    /// The user's name, or the IPv4 or IPv6 address.
    #[param(example = "mallory")]
    value: String,
}

failures!(ListBlocksFailures: ApiError = [BAD_PAGE, ApiError::unavailable()], admins());

/// Lists the blacklist.
///
/// A page has 100 blocks, latest first.
#[utoipa::path(
    get, path = "/admin/blacklist", operation_id = "listBlocks",
    params(PageQuery),
    responses(
        (status = 200, description = "The blocks of the page.", body = inline(ListOf<ListedBlock>), example = json!({
            "errMsg": "", "data": [ListedBlock { kind: "users", value: "mallory".to_owned(), block: BLOCK }]})),
        (status = 204, description = "The page is empty."),
        ListBlocksFailures,
    ),
)]
pub async fn list_blocks(_: Admin, request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    // The last page with a number has the last block that the blacklist may have.
    let blocks = match page_of(&request)?.skipped(PAGE) {
        Some(skipped) => edge.admission.blacklist.list(now_seconds(), skipped, PAGE).await,
        None => Ok(Vec::new()),
    };
    let blocks = blocks.map_err(|error| read_failed(&error))?;
    Ok(answer::list(&blocks.iter().map(listed).collect::<Vec<_>>()))
}

failures!(ShowBlockFailures: ApiError = [NO_ADDRESS, NO_SUCH_USER, NOT_BLOCKED, ApiError::unavailable()], admins());

/// Returns the block of a user or an address.
#[utoipa::path(
    get, path = "/admin/blacklist/{kind:users|ips}/{value}", operation_id = "showBlock",
    params(SubjectPath),
    responses(
        (status = 200, description = "The block. It lasts for ever if `until` is null.", body = inline(BlockBody),
            example = json!(BLOCK)),
        ShowBlockFailures,
    ),
)]
pub async fn show_block(
    _: Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let subject = subject(&request, &dbs.control).await?;
    let block = edge.admission.blacklist.find(subject, now_seconds()).await.map_err(|error| read_failed(&error))?;
    Ok(shown(&block.ok_or(NOT_BLOCKED)?))
}

failures!(PutBlockFailures: ApiError = [
    ApiError::not_json(),
    bad_seconds(),
    NO_ADDRESS,
    NO_SUCH_USER,
    NOT_YOURSELF,
], admins(), reauthentication(), change());

/// Blocks a user or an address.
///
/// The block replaces an earlier block. Without `seconds`, or without a body, the block lasts for ever. The sessions of a blocked
/// user end. Coupons of a blocked saler are not sold while the block lasts. An admin with a second factor adds `password` and
/// `otp`.
#[utoipa::path(
    put, path = "/admin/blacklist/{kind:users|ips}/{value}", operation_id = "putBlock",
    params(SubjectPath),
    request_body(content = inline(Option<BlockFor>), example = json!({"seconds": 3_600})),
    responses(
        (status = 200, description = "The block is stored.", body = inline(BlockBody), example = json!(BLOCK)),
        PutBlockFailures,
    ),
)]
pub async fn put_block(
    Admin(admin): Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    operating: web::Data<Operating>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let now = now_seconds();
    let object: Map<String, Value> = body::json_or_default(payload, edge.body, ApiError::not_json).await?;
    let until = until(&object, now)?;
    let subject = subject(&request, &dbs.control).await?;
    reauthenticate(&request, &admin.name, &Proof::of(&object)?).await?;
    let block = put(&edge, &accounts, &operating, &admin, subject, until).await?;
    Ok(shown(&block))
}

/// Blocks a subject at an admin's word. The sessions of a user end, and coupons of a saler are not sold any more.
pub(super) async fn put(
    edge: &Edge,
    accounts: &Accounts,
    operating: &Operating,
    admin: &User,
    subject: Subject,
    until: Until,
) -> Result<Block, ApiError> {
    if subject == Subject::User(admin.id) {
        return Err(NOT_YOURSELF);
    }
    let block = Block { until, since: now_seconds(), by: admin.name.as_str().to_owned(), reason: BlockReason::Admin };
    edge.admission.blacklist.block(subject, &block).await?;
    log::info!("blacklist: {} blocked {subject} until {:?}", admin.name, block.until.0);
    if let Subject::User(user) = subject {
        shut_out(accounts, operating, user).await?;
    }
    Ok(block)
}

/// Ends the sessions of a blocked user, and the sales of a saler.
pub(super) async fn shut_out(accounts: &Accounts, operating: &Operating, user: UserId) -> Result<(), ApiError> {
    accounts.revocations.end_sessions(user, now_seconds()).await?;
    operating.withholding.settle(user).await?;
    Ok(())
}

failures!(DeleteBlockFailures: ApiError = [ApiError::not_json(), NO_ADDRESS, NO_SUCH_USER, NOT_BLOCKED], admins(), reauthentication(),
    change());

/// Removes the block of a user or an address.
///
/// A blocked user logs in again. An admin with a second factor sends `password` and `otp`.
#[utoipa::path(
    delete, path = "/admin/blacklist/{kind:users|ips}/{value}", operation_id = "deleteBlock",
    params(SubjectPath),
    request_body(content = inline(Option<Proof>), example = json!({"password": "correct horse", "otp": "123456"})),
    responses(
        (status = 200, description = "The block is removed.", body = inline(Done), example = json!({"errMsg": ""})),
        DeleteBlockFailures,
    ),
)]
pub async fn delete_block(
    Admin(admin): Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    operating: web::Data<Operating>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let subject = subject(&request, &dbs.control).await?;
    reauthenticate_by_body(&request, &admin.name, payload).await?;
    if !take_away(&edge, &operating, &admin, subject).await? {
        return Err(NOT_BLOCKED);
    }
    Ok(answer::done(HttpResponse::Ok()))
}

/// Ends a block at an admin's word. Coupons of a saler are sold again. Returns `false` if no block was in force.
pub(super) async fn take_away(
    edge: &Edge,
    operating: &Operating,
    admin: &User,
    subject: Subject,
) -> Result<bool, ApiError> {
    let was_blocked = edge.admission.blacklist.unblock(subject, now_seconds()).await?;
    if was_blocked {
        log::info!("blacklist: {} let {subject} in again", admin.name);
    }
    // Also after a repeated request, whose first one may have failed half-way.
    if let Subject::User(user) = subject {
        operating.withholding.settle(user).await?;
    }
    Ok(was_blocked)
}

async fn subject(request: &HttpRequest, db: &Db) -> Result<Subject, ApiError> {
    let value = path::segment(request, 3).unwrap_or_default();
    if path::segment(request, 2).as_deref() == Some("ips") {
        return value.parse().map(Subject::Address).map_err(|_| NO_ADDRESS);
    }
    let name = UserName::parse(value.into_owned()).map_err(|_| NO_SUCH_USER)?;
    let account = users::find_by_name(db, &name).await.map_err(|error| read_failed(&error))?;
    Ok(Subject::User(account.ok_or(NO_SUCH_USER)?.user.id))
}

/// The end of the block by the body. No end without `seconds` in the body.
fn until(object: &Map<String, Value>, now_seconds: u64) -> Result<Until, ApiError> {
    let Some(seconds) = object.get("seconds") else { return Ok(Until(None)) };
    let seconds = seconds.as_u64().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
    Ok(Until(Some(now_seconds + seconds.ok_or_else(bad_seconds)?)))
}

fn bad_seconds() -> ApiError {
    let message = format!("seconds must be a whole number from 1 to {SECONDS_MAX}.");
    ApiError::formatted(Code::BadRequest, message).with_field("seconds")
}

fn shown(block: &Block) -> HttpResponse {
    answer::json(HttpResponse::Ok(), &body_of(block))
}

fn body_of(Block { until, since, by, reason }: &Block) -> BlockBody<'_> {
    BlockBody { until: until.0, since: *since, by, reason: reason.as_str() }
}

fn listed(Listed { whom, block }: &Listed) -> ListedBlock<'_> {
    let (kind, value) = match whom {
        Whom::User(name) => ("users", name.clone()),
        Whom::Address(address) => ("ips", address.to_string()),
    };
    ListedBlock { kind, value, block: body_of(block) }
}
