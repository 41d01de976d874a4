//! Shows and changes the blacklist for admins, at `/admin/blacklist` and `/admin/blacklist/{users|ips}/{value}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::{ApiError, Code, read_failed};
use super::extractors::Admin;
use super::lists::page_of;
use super::state::Shared;
use super::{answer, body, path};
use crate::base::now_seconds;
use crate::domain::{Block, BlockReason, Subject, Until, UserName};
use crate::mysql::blocks::{Listed, Whom};
use crate::mysql::users;

/// Longest block with an end, in seconds: ten years.
const SECONDS_MAX: u64 = 315_360_000;
/// Blocks per page.
const PAGE: u64 = 100;

/// A block. Times are in seconds since 1970. A block without `until` lasts forever.
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
#[expect(dead_code, reason = "it is only described: a number of another kind has an error of its own")]
pub struct BlockFor {
    #[schema(minimum = 1, maximum = 315_360_000)]
    seconds: Option<u64>,
}

/// `GET /admin/blacklist?page=N`: all blocks, latest first.
pub async fn list_blocks(_: Admin, request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let skipped = page_of(&request)?.offset(PAGE);
    let blocks = shared.admission.blacklist.list(now_seconds(), skipped, PAGE).await;
    let blocks = blocks.map_err(|error| read_failed(&error))?;
    Ok(answer::list(&blocks.iter().map(listed).collect::<Vec<_>>()))
}

/// `GET`: the current block.
pub async fn show_block(_: Admin, request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let subject = subject(&request, &shared).await?;
    let block = shared.admission.blacklist.find(subject, now_seconds()).await.map_err(|error| read_failed(&error))?;
    Ok(shown(&block.ok_or_else(not_blocked)?))
}

/// `PUT`: blocks a user or an address, for some seconds or forever. Replaces an existing block.
pub async fn put_block(
    Admin(admin): Admin,
    request: HttpRequest,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let now = now_seconds();
    let until = until(payload, &shared, now).await?;
    let subject = subject(&request, &shared).await?;
    let block = Block { until, since: now, by: admin.as_str().to_owned(), reason: BlockReason::Admin };
    shared.admission.blacklist.block(subject, &block).await?;
    log::info!("blacklist: {admin} blocked {subject} until {:?}", block.until.0);
    Ok(shown(&block))
}

/// `DELETE`: removes a block.
pub async fn delete_block(
    Admin(admin): Admin,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let subject = subject(&request, &shared).await?;
    if !shared.admission.blacklist.unblock(subject, now_seconds()).await? {
        return Err(not_blocked());
    }
    log::info!("blacklist: {admin} let {subject} in again");
    Ok(answer::done(HttpResponse::Ok()))
}

/// The user or address named by the path.
async fn subject(request: &HttpRequest, shared: &Shared) -> Result<Subject, ApiError> {
    let value = path::segment(request, 3).unwrap_or_default();
    if path::segment(request, 2).as_deref() == Some("ips") {
        let address =
            value.parse().map_err(|_| ApiError::bad_field("value", "The path must name an IPv4 or IPv6 address."))?;
        return Ok(Subject::Address(address));
    }
    let nobody = || ApiError::new(Code::NotFound, "No such user.");
    let name = UserName::parse(value.into_owned()).map_err(|_| nobody())?;
    let account = users::find_by_name(&shared.db, &name).await.map_err(|error| read_failed(&error))?;
    Ok(Subject::User(account.ok_or_else(nobody)?.user.id))
}

/// The end of the block by the body. No end without a body, or without `seconds` in the body.
async fn until(payload: web::Payload, shared: &Shared, now_seconds: u64) -> Result<Until, ApiError> {
    let object: Map<String, Value> = body::json_or_default(payload, shared.body, ApiError::not_json).await?;
    let Some(seconds) = object.get("seconds") else { return Ok(Until(None)) };
    let seconds = seconds.as_u64().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
    let message = || format!("seconds must be a whole number from 1 to {SECONDS_MAX}.");
    let wrong = || ApiError::bad_field("seconds", message());
    Ok(Until(Some(now_seconds + seconds.ok_or_else(wrong)?)))
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

fn not_blocked() -> ApiError {
    ApiError::new(Code::NotFound, "Not on the blacklist.")
}
