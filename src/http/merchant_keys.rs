//! Keys of a merchant, which only the merchant manages.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Done, ListOf};
use super::error::{ApiError, Code, read_failed};
use super::extractors::SalerInPath;
use super::openapi::{change, failures, salers};
use super::staff::BAD_RIGHTS;
use super::state::{Accounts, Edge};
use super::trail::Created;
use super::{answer, body, path};
use crate::base::now_seconds;
use crate::domain::{ActivityName, KeyId, Rights};
use crate::memory::MakeKeyError;
use crate::mysql::DbPools;
use crate::mysql::merchant_keys::{AddKeyError, ListedKey, list};

const BAD_NAME: ApiError = ApiError::bad_field("name", "Key name should have 1 to 60 characters.");
const BAD_END: ApiError = ApiError::bad_field("expires_at", "The key would have expired already.");
const TOO_MANY: ApiError = ApiError::new(Code::Quota, "Too many keys.");
const NO_SUCH_KEY: ApiError = ApiError::new(Code::NotFound, "No such key.");
const EXAMPLE: &str = "crk_aaaaab2yksri_mfrggzdfmztwq2lknnwg23tpobyxe43u";

#[derive(Deserialize, ToSchema)]
pub struct KeyCreation {
    /// For people. Several keys may have one name.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 60)]
    name: String,
    /// Some of `redeem`, `view` and `manage`.
    #[serde(default)]
    #[schema(required, min_items = 1)]
    rights: Vec<String>,
    /// Seconds since 1970, in the future. Without it, the key works until it is deleted.
    #[schema(nullable = false)]
    expires_at: Option<u64>,
}

/// A new key. No other answer shows the key.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    #[serde(rename = "errMsg")]
    message: &'static str,
    id: u32,
    key: String,
}

/// A key of a list. Times are in seconds since 1970.
#[derive(Serialize, ToSchema)]
pub struct ShownKey {
    id: u32,
    name: String,
    rights: Vec<&'static str>,
    created_at: u64,
    #[schema(required)]
    expires_at: Option<u64>,
    /// Up to a minute old.
    #[schema(required)]
    last_used_at: Option<u64>,
}

failures!(AddKeyFailures: ApiError = [
    ApiError::not_json(),
    BAD_NAME,
    BAD_RIGHTS,
    BAD_END,
    TOO_MANY,
], salers(), change());

/// Makes a key for a program or a till.
///
/// A program sends the key as `Authorization: Bearer crk_...`, and may do what the rights of the key name. The answer is the only one
/// that shows the key. A saler has at most 20 keys.
#[utoipa::path(
    post, path = "/api/users/{user}/keys", operation_id = "addKey",
    params(("user" = String, Path, description = "The saler.", example = "shop")),
    request_body(content = inline(KeyCreation),
        example = json!({"name": "till 1", "rights": ["redeem"], "expires_at": 4_102_444_800_u64})),
    responses(
        (status = 201, description = "The key is stored.", body = inline(CreatedKey),
            example = json!(CreatedKey { message: "", id: 7, key: EXAMPLE.to_owned() })),
        AddKeyFailures,
    ),
)]
pub async fn add_key(
    SalerInPath(saler): SalerInPath,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form: KeyCreation = body::json(payload, edge.body, ApiError::not_json).await?;
    // A label for people, as the name of an activity is.
    let name = ActivityName::parse_new(&form.name).map_err(|_| BAD_NAME)?;
    let rights = Rights::parse(&form.rights).ok_or(BAD_RIGHTS)?;
    let now = now_seconds();
    if form.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(BAD_END);
    }
    let made = accounts.keys.make(&saler, name.as_str().to_owned(), rights, form.expires_at, now).await;
    match made {
        Ok(key) => {
            request.extensions_mut().insert(Created(key.id.to_string()));
            let created = CreatedKey { message: "", id: key.id.0, key: key.to_string() };
            Ok(answer::json(HttpResponse::Created(), &created))
        }
        Err(MakeKeyError::Full) => Err(ApiError::overloaded()),
        Err(MakeKeyError::Add(AddKeyError::TooMany)) => Err(TOO_MANY),
        Err(MakeKeyError::Add(AddKeyError::Db(error))) => Err(error.into()),
    }
}

failures!(ListKeysFailures: ApiError = [ApiError::unavailable()], salers());

/// Lists the keys of the saler, the newest first, without the keys themselves.
#[utoipa::path(
    get, path = "/api/users/{user}/keys", operation_id = "listKeys",
    params(("user" = String, Path, description = "The saler.", example = "shop")),
    responses(
        (status = 200, description = "The keys.", body = inline(ListOf<ShownKey>), example = json!({"errMsg": "", "data": [
            ShownKey { id: 7, name: "till 1".to_owned(), rights: vec!["redeem"], created_at: 1_767_265_200, expires_at: None,
            last_used_at: Some(1_767_268_800) }]})),
        (status = 204, description = "The saler has no keys."),
        ListKeysFailures,
    ),
)]
pub async fn list_keys(SalerInPath(saler): SalerInPath, dbs: web::Data<DbPools>) -> Result<HttpResponse, ApiError> {
    let keys = list(&dbs.users, saler.id).await.map_err(|error| read_failed(&error))?;
    Ok(answer::list(&keys.into_iter().map(shown).collect::<Vec<_>>()))
}

fn shown(ListedKey { id, name, rights, created_at, expires_at, last_used_at }: ListedKey) -> ShownKey {
    ShownKey { id: id.0, name, rights: rights.names(), created_at, expires_at, last_used_at }
}

failures!(EndKeyFailures: ApiError = [NO_SUCH_KEY], salers(), change());

/// Deletes a key of the saler.
///
/// The key stops working on every instance within a second.
#[utoipa::path(
    delete, path = "/api/users/{user}/keys/{id}", operation_id = "deleteKey",
    params(
        ("user" = String, Path, description = "The saler.", example = "shop"),
        ("id" = u32, Path, description = "The id of the key.", example = 7),
    ),
    responses(
        (status = 200, description = "The key does not work any more.", body = inline(Done),
            example = json!({"errMsg": ""})),
        EndKeyFailures,
    ),
)]
pub async fn delete_key(
    SalerInPath(saler): SalerInPath,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    let id: KeyId = path::segment(&request, 4).and_then(|id| id.parse().ok()).ok_or(NO_SUCH_KEY)?;
    if accounts.keys.end(&saler, id, now_seconds()).await? {
        Ok(answer::done(HttpResponse::Ok()))
    } else {
        Err(NO_SUCH_KEY)
    }
}
