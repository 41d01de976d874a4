//! Creating and changing coupons, for salers.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::extractors::SessionUser;
use super::state::{Shared, Worker};
use super::{answer, body, path};
use crate::domain::{Amount, CouponId, CouponName, Description, FaceValue, Kind, User};
use crate::mysql::coupons::NewCoupon;
use crate::sales::CouponChange;

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

/// `POST /api/users/{username}/coupons`
pub async fn create_coupon(
    user: SessionUser,
    request: HttpRequest,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let Worker { shared, .. } = &**worker;
    let saler = user.saler("Only sellers can create coupons.")?;
    let form: Creation = body::json(payload, shared.body, ApiError::not_json).await?;
    if path::user(&request).as_ref() != Some(&saler.name) {
        return Err(ApiError::new(Code::NotYours, "Cannot create coupons for other users."));
    }
    let name = CouponName::parse(form.name)
        .map_err(|_| ApiError::bad_field("name", "Coupon name should have 1 to 60 characters and no slash."))?;
    let description = parse_description(form.description)?;
    let amount = parse_amount(form.amount)?;
    let face_value = form.stock.and_then(FaceValue::new);
    let face_value = face_value.ok_or_else(|| ApiError::bad_field("stock", "Stock field wrong format."))?;
    let new = NewCoupon { name, amount, face_value, description, scheduled: form.scheduled };
    shared.publishing.create(&saler, &new, shared.saler_coupons_max).await?;
    Ok(answer::done(HttpResponse::Created()))
}

#[derive(Deserialize, ToSchema)]
pub struct Changes {
    #[schema(minimum = 1, maximum = 10_000_000)]
    amount: Option<i64>,
    scheduled: Option<bool>,
    #[schema(max_length = 255)]
    description: Option<String>,
}

/// `PUT /api/users/{saler}/coupons/{name}`
pub async fn change_coupon(
    user: SessionUser,
    request: HttpRequest,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let Worker { shared, .. } = &**worker;
    let saler = user.saler("Only sellers can change coupons.")?;
    let form: Changes = body::json(payload, shared.body, ApiError::not_json).await?;
    let change = CouponChange {
        amount: form.amount.map(parse_amount).transpose()?,
        scheduled: form.scheduled,
        description: form.description.map(parse_description).transpose()?,
    };
    if change == CouponChange::default() {
        return Err(ApiError::bad_request("Nothing to change: amount, scheduled or description is needed."));
    }
    let coupon = own_coupon(&request, shared, &saler).await?;
    shared.publishing.change(coupon, &change).await?;
    Ok(answer::done(HttpResponse::Ok()))
}

/// Finds the saler's coupon named by the path, in MySQL.
async fn own_coupon(request: &HttpRequest, shared: &Shared, saler: &User) -> Result<CouponId, ApiError> {
    if path::user(request).as_ref() != Some(&saler.name) {
        return Err(ApiError::new(Code::NotYours, "Not your coupon."));
    }
    let missing = || ApiError::new(Code::NotFound, "No such coupon.");
    let name = path::coupon_name(request).ok_or_else(missing)?;
    let found = crate::mysql::coupons::find_id(&shared.db, saler.id, &name).await;
    found.map_err(|error| crate::http::error::read_failed(&error))?.ok_or_else(missing)
}

/// Finds the coupon named by the path, for its saler or an admin. Admins may only read.
pub async fn readable_coupon(user: &User, request: &HttpRequest, shared: &Shared) -> Result<CouponId, ApiError> {
    match user.kind {
        Kind::Saler => own_coupon(request, shared, user).await,
        Kind::Customer => Err(ApiError::new(Code::WrongKind, "Only sellers can see who holds a coupon.")),
        Kind::Admin => {
            let saler = match path::user(request) {
                Some(name) => shared.directory.user(&name).await?,
                None => None,
            };
            let saler = saler.ok_or_else(|| ApiError::new(Code::NotFound, "No such coupon."))?;
            own_coupon(request, shared, &saler).await
        }
    }
}

fn parse_amount(amount: i64) -> Result<Amount, ApiError> {
    Amount::new(amount).ok_or_else(|| ApiError::bad_field("amount", "Amount field wrong format."))
}

fn parse_description(text: String) -> Result<Description, ApiError> {
    Description::new(text).ok_or_else(|| ApiError::bad_field("description", "Description too long."))
}
