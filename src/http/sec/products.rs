//! Products, which are coupons sold only inside an activity.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{SecError, success};
use super::merchant::Merchant;
use super::paging::{page, rows};
use super::parameters::Parameters;
use crate::domain::{Amount, Coupon, CouponName, Description, FaceValue};
use crate::http::error::{ApiError, read_failed};
use crate::http::extractors::SessionUser;
use crate::http::state::{Shared, Worker};
use crate::mysql::coupons::{NewCoupon, newest};

/// The only status of a product.
const EXISTS: u8 = 1;

#[derive(Serialize, ToSchema)]
pub struct CreatedProduct {
    product_id: u64,
}

#[derive(Serialize, ToSchema)]
pub struct Product {
    product_id: u64,
    product_name: String,
    total: u32,
    status: u8,
    saler: String,
}

/// `POST /product/create`
pub async fn create_product(
    Merchant(saler): Merchant,
    worker: web::Data<Worker>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let Worker { shared, .. } = &**worker;
    let new = parse(&Parameters::of_body(payload, shared.body).await?)?;
    let id = shared.publishing.create(&saler, &new, shared.saler_coupons_max).await?;
    Ok(success(CreatedProduct { product_id: id.0 }))
}

fn parse(sent: &Parameters) -> Result<NewCoupon, ApiError> {
    let name = sent.required("product_name")?;
    let bad_name = || name.wrong("it must have 1 to 60 characters and no slash");
    let total = sent.required("product_total")?.number(1..=Amount::MAX)?;
    let face_value = sent.optional("stock")?.map(|stock| stock.number(0..=FaceValue::MAX)).transpose()?;
    let description = match sent.optional("description")? {
        None => String::new(),
        Some(description) => description.text()?,
    };
    let too_long = || ApiError::bad_request(format!("description: it may have {} characters.", Description::CHARS_MAX));
    // Accepted and ignored.
    sent.optional("status")?;
    Ok(NewCoupon {
        name: CouponName::parse(name.text()?).map_err(|_| bad_name())?,
        amount: Amount::new(total.into()).expect("it was compared with both bounds"),
        face_value: FaceValue::new(face_value.unwrap_or(0).into()).expect("it was compared with its bound"),
        description: Description::new(description).ok_or_else(too_long)?,
        scheduled: true,
    })
}

/// `GET /product/list?page=`
pub async fn list_products(
    _: SessionUser,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, SecError> {
    let coupons = match rows(page(&request)?) {
        Some((skip, count)) => newest(&shared.db, skip, count).await.map_err(|error| read_failed(&error))?,
        None => Vec::new(),
    };
    let product = |Coupon { id, name, amount, saler, .. }: Coupon| Product {
        product_id: id.0,
        product_name: name.to_string(),
        total: amount.get(),
        status: EXISTS,
        saler: saler.to_string(),
    };
    Ok(success(coupons.into_iter().map(product).collect::<Vec<_>>()))
}
