//! Products, which are coupons sold only inside an activity.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::envelope::{Envelope, SecError, success};
use super::paging::{BAD_AFTER, BAD_PAGE, PAGE, page_or_after};
use super::parameters::{Parameters, missing};
use crate::domain::{Amount, Author, Coupon, CouponName, Description, FaceValue, QuotaReached};
use crate::http::error::{ApiError, Code, read_failed};
use crate::http::lists::KeysetQuery;
use crate::http::merchant::{ManageSales, Merchant, ONLY_SALERS, ReadProducts};
use crate::http::openapi::{change, failures, merchants};
use crate::http::state::{Edge, Offering};
use crate::mysql::DbPools;
use crate::mysql::coupon_lists::newest;
use crate::mysql::coupons::NewCoupon;
use crate::sales::PublishError;

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

/// A product to create.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: `parse` reads the parameters")]
struct NewProduct {
    #[schema(min_length = 1, max_length = 60)]
    product_name: String,
    #[schema(minimum = 1, maximum = 10_000_000)]
    product_total: u32,
    /// The face value.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    stock: Option<u32>,
    #[schema(max_length = 255)]
    description: Option<String>,
    /// Ignored.
    status: Option<u8>,
}

failures!(CreateProductFailures: SecError = [
    missing("product_name"),
    PublishError::Quota(QuotaReached::Coupons),
    PublishError::Quota(QuotaReached::Units),
    PublishError::NameTaken,
    ONLY_SALERS,
], merchants(), change());

/// Creates a product.
///
/// A product is a scheduled coupon, which is sold only inside an activity.
#[utoipa::path(
    post, path = "/product/create", operation_id = "createProduct",
    request_body(content = inline(NewProduct),
        example = json!({"product_name": "ten-off", "product_total": 1_000, "stock": 10})),
    responses(
        (status = 200, description = "The product is stored.", body = inline(Envelope<CreatedProduct>),
            example = json!(Envelope::success(CreatedProduct { product_id: 1 }))),
        CreateProductFailures,
    ),
)]
pub async fn create_product(
    Merchant { user: saler, by, .. }: Merchant<ManageSales>,
    edge: web::Data<Edge>,
    offering: web::Data<Offering>,
    payload: web::Payload,
) -> Result<HttpResponse, SecError> {
    let new = parse(&Parameters::of_body(payload, edge.body).await?)?;
    let id = offering.publishing.create(&saler, &new, Author::Named(&by)).await?;
    Ok(success(CreatedProduct { product_id: id.0 }))
}

fn parse(sent: &Parameters) -> Result<NewCoupon, ApiError> {
    let name = sent.required("product_name")?;
    let bad_name = || name.wrong("it must have 1 to 60 characters and no slash");
    let total = sent.required("product_total")?.number(1..=Amount::MAX)?;
    let face_value = sent.optional("stock")?.map(|stock| stock.number(0..=FaceValue::MAX)).transpose()?;
    let description = sent.optional("description")?.map(|sent| sent.text()).transpose()?.unwrap_or_default();
    let too_long = || {
        let message = format!("description: it may have {} characters.", Description::CHARS_MAX);
        ApiError::formatted(Code::BadRequest, message)
    };
    // Ignored, but refused if it is sent twice.
    sent.optional("status")?;
    Ok(NewCoupon {
        name: CouponName::parse_new(&name.text()?).map_err(|_| bad_name())?,
        amount: Amount::new(total.into()).expect("it was compared with both bounds"),
        face_value: FaceValue::new(face_value.unwrap_or(0).into()).expect("it was compared with its bound"),
        description: Description::new(description).ok_or_else(too_long)?,
        scheduled: true,
    })
}

failures!(ListProductsFailures: SecError = [BAD_PAGE, BAD_AFTER, ApiError::unavailable()], merchants());

/// Lists all products.
///
/// A page has 1,000 products, newest first.
#[utoipa::path(
    get, path = "/product/list", operation_id = "listProducts",
    params(KeysetQuery),
    responses(
        (status = 200, description = "The products of the page.", body = inline(Envelope<Vec<Product>>),
            example = json!(Envelope::success([json!({"product_id": 1, "product_name": "ten-off", "total": 1_000,
                "status": 1, "saler": "shop"})]))),
        ListProductsFailures,
    ),
)]
pub async fn list_products(
    Merchant { user, .. }: Merchant<ReadProducts>,
    request: HttpRequest,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, SecError> {
    let coupons = match page_or_after(&request)?.start(PAGE.into()) {
        Some(start) => newest(dbs.of(user.kind), start, PAGE.into()).await.map_err(|error| read_failed(&error))?,
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
