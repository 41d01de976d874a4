//! Creating and changing coupons, for salers.

use std::iter;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Done;
use super::error::{ApiError, Code, read_failed};
use super::merchant::{
    CUSTOMERS_CANNOT_READ, ChangeCoupons, CreateCoupons, Merchant, ONLY_SALERS_CHANGE, ONLY_SALERS_CREATE,
};
use super::openapi::{change, failures, merchants};
use super::path::CouponPath;
use super::state::{Edge, Offering};
use super::{answer, body, path};
use crate::domain::{Amount, Author, CouponId, CouponName, Description, FaceValue, Kind, QuotaReached, User};
use crate::memory::KnownUsers;
use crate::mysql::coupons::{NewCoupon, find_id};
use crate::mysql::{Db, DbPools};
use crate::sales::{CouponChange, PublishError};

const NOT_YOUR_COUPON: ApiError = ApiError::new(Code::NotYours, "Not your coupon.");
const NOT_YOUR_USER: ApiError = ApiError::new(Code::NotYours, "Cannot create coupons for other users.");
const BAD_NAME: ApiError = ApiError::bad_field("name", "Coupon name should have 1 to 60 characters and no slash.");
const BAD_AMOUNT: ApiError = ApiError::bad_field("amount", "Amount field wrong format.");
const BAD_STOCK: ApiError = ApiError::bad_field("stock", "Stock field wrong format.");
const BAD_DESCRIPTION: ApiError = ApiError::bad_field("description", "Description too long.");
const NOTHING_TO_CHANGE: ApiError =
    ApiError::bad_request("Nothing to change: amount, scheduled or description is needed.");

#[derive(Deserialize, ToSchema)]
pub struct Creation {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 60)]
    name: String,
    #[serde(default)]
    #[schema(required, minimum = 1, maximum = 10_000_000)]
    amount: i64,
    #[serde(default)]
    #[schema(max_length = 255)]
    description: String,
    /// The face value.
    #[schema(required, nullable = false, minimum = 0, maximum = 1_000_000_000)]
    stock: Option<i64>,
    /// The coupon is sold only inside activities.
    #[serde(default)]
    scheduled: bool,
}

failures!(CreateCouponFailures: ApiError = [
    ApiError::not_json(),
    BAD_NAME,
    PublishError::NameTaken,
    BAD_AMOUNT,
    BAD_STOCK,
    BAD_DESCRIPTION,
    PublishError::Quota(QuotaReached::Coupons),
    PublishError::Quota(QuotaReached::Units),
    ONLY_SALERS_CREATE,
    NOT_YOUR_USER,
], merchants(), change());

/// Creates a coupon.
///
/// Customers can claim the coupon as soon as 201 is sent. A scheduled coupon is sold only inside an activity.
#[utoipa::path(
    post, path = "/api/users/{user}/coupons", operation_id = "createCoupon",
    params(("user" = String, Path, description = "The saler's own name.", example = "shop")),
    request_body(content = inline(Creation),
        example = json!({"name": "ten-off", "amount": 1_000, "description": "10 off", "stock": 10})),
    responses(
        (status = 201, description = "The coupon is stored.", body = inline(Done), example = json!({"errMsg": ""})),
        CreateCouponFailures,
    ),
)]
pub async fn create_coupon(
    Merchant { user: saler, by, .. }: Merchant<CreateCoupons>,
    request: HttpRequest,
    edge: web::Data<Edge>,
    offering: web::Data<Offering>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form: Creation = body::json(payload, edge.body, ApiError::not_json).await?;
    if !path::names(&request, &saler) {
        return Err(NOT_YOUR_USER);
    }
    let name = CouponName::parse_new(&form.name).map_err(|_| BAD_NAME)?;
    let description = parse_description(form.description)?;
    let amount = parse_amount(form.amount)?;
    let face_value = form.stock.and_then(FaceValue::new).ok_or(BAD_STOCK)?;
    let new = NewCoupon { name, amount, face_value, description, scheduled: form.scheduled };
    offering.publishing.create(&saler, &new, Author::Named(&by)).await?;
    Ok(answer::done(HttpResponse::Created()))
}

#[derive(Deserialize, ToSchema)]
pub struct Changes {
    #[schema(minimum = 1, maximum = 10_000_000)]
    amount: Option<i64>,
    scheduled: Option<bool>,
    #[schema(max_length = 255)]
    description: Option<String>,
    /// `true` ends the sale, and customers keep their claims. `false` puts the coupon on sale again, as a raised amount or a
    /// new activity does.
    archived: Option<bool>,
}

failures!(ChangeCouponFailures: ApiError = [
    ApiError::not_json(),
    NOTHING_TO_CHANGE,
    BAD_AMOUNT,
    PublishError::BelowClaimed,
    BAD_DESCRIPTION,
    PublishError::Quota(QuotaReached::Coupons),
    PublishError::Quota(QuotaReached::Units),
    PublishError::OldFormat,
    ONLY_SALERS_CHANGE,
    NOT_YOUR_COUPON,
    ApiError::no_such_coupon(),
], merchants(), change());

/// Changes a coupon.
///
/// The change is in force as soon as 200 is sent, and on other instances 200 ms later.
#[utoipa::path(
    put, path = "/api/users/{user}/coupons/{name}", operation_id = "changeCoupon",
    params(CouponPath),
    request_body(content = inline(Changes), example = json!({"amount": 2_000})),
    responses(
        (status = 200, description = "The change is in force.", body = inline(Done), example = json!({"errMsg": ""})),
        ChangeCouponFailures,
    ),
)]
pub async fn change_coupon(
    Merchant { user: saler, by, .. }: Merchant<ChangeCoupons>,
    request: HttpRequest,
    edge: web::Data<Edge>,
    offering: web::Data<Offering>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form: Changes = body::json(payload, edge.body, ApiError::not_json).await?;
    let change = CouponChange {
        amount: form.amount.map(parse_amount).transpose()?,
        scheduled: form.scheduled,
        description: form.description.map(parse_description).transpose()?,
        archived: form.archived,
    };
    if change == CouponChange::default() {
        return Err(NOTHING_TO_CHANGE);
    }
    let coupon = own_coupon(&request, &dbs.users, &saler).await?;
    offering.publishing.change(coupon, &change, Author::Named(&by)).await?;
    Ok(answer::done(HttpResponse::Ok()))
}

/// Finds the saler's coupon named by the path, in MySQL.
async fn own_coupon(request: &HttpRequest, db: &Db, saler: &User) -> Result<CouponId, ApiError> {
    if !path::names(request, saler) {
        return Err(NOT_YOUR_COUPON);
    }
    let name = path::coupon_name(request).ok_or_else(ApiError::no_such_coupon)?;
    // As it was sent, then as new names are stored.
    for name in iter::once(&name).chain(&name.normalized()) {
        if let Some(id) = find_id(db, saler.id, name).await.map_err(|error| read_failed(&error))? {
            return Ok(id);
        }
    }
    Err(ApiError::no_such_coupon())
}

/// The errors of [`readable_coupon`].
pub fn unreadable_coupon() -> [ApiError; 4] {
    [CUSTOMERS_CANNOT_READ, NOT_YOUR_COUPON, ApiError::no_such_coupon(), ApiError::unavailable()]
}

/// Finds the coupon named by the path, for its saler or an admin. Admins may only read.
pub async fn readable_coupon(
    user: &User,
    request: &HttpRequest,
    users: &KnownUsers,
    db: &Db,
) -> Result<CouponId, ApiError> {
    match user.kind {
        Kind::Saler => own_coupon(request, db, user).await,
        Kind::Customer | Kind::Staff => Err(CUSTOMERS_CANNOT_READ),
        Kind::Admin => {
            let name = path::user(request).ok_or_else(ApiError::no_such_coupon)?;
            let saler = users.find(&name).await?.ok_or_else(ApiError::no_such_coupon)?;
            own_coupon(request, db, &saler).await
        }
    }
}

fn parse_amount(amount: i64) -> Result<Amount, ApiError> {
    Amount::new(amount).ok_or(BAD_AMOUNT)
}

fn parse_description(text: String) -> Result<Description, ApiError> {
    Description::new(text).ok_or(BAD_DESCRIPTION)
}
