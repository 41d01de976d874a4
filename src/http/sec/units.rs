//! The units of several products at once, for pages that show many sales.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::IntoParams;

use super::envelope::{Envelope, SecError, success};
use super::parameters::{Parameters, missing};
use super::sale_cache::ProductUnits;
use super::sales::read_all_units;
use crate::domain::{ActivityId, CouponId};
use crate::http::error::ApiError;
use crate::http::openapi::failures;
use crate::http::state::{Selling, Worker};
use crate::redis::Units;

/// Maximum products in a request: more than a screen shows.
const PRODUCTS_MAX: usize = 50;
const BAD_PRODUCTS: ApiError =
    ApiError::bad_request("product_ids: it must be 1 to 50 whole numbers, separated by commas.");

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the OpenAPI document only: the handler reads the query")]
struct ProductsQuery {
    /// 1 to 50 ids of products, separated by commas.
    #[param(example = "1,2")]
    product_ids: String,
}

failures!(ShowUnitsFailures: SecError = [missing("product_ids"), BAD_PRODUCTS, ApiError::unavailable()]);

/// Returns the units of several products.
///
/// Products that do not exist are left out. The numbers are at most 0.2 s old.
#[utoipa::path(
    get, path = "/sec/units", operation_id = "showUnits",
    params(ProductsQuery),
    responses(
        (status = 200, description = "The units.", body = inline(Envelope<Vec<ProductUnits>>),
            example = json!(Envelope::success([ProductUnits { product_id: 1, left: 943, claimed: 57 }]))),
        ShowUnitsFailures,
    ),
)]
pub async fn show_units(
    request: HttpRequest,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    let query = Parameters::of_query(request.query_string())?;
    let products = parse(&query.required("product_ids")?.text()?).ok_or(BAD_PRODUCTS)?;
    let cache = &selling.sales.units;
    let mut all: Vec<Option<Option<ProductUnits>>> = products.iter().map(|product| cache.get(product)).collect();
    if all.iter().any(Option::is_none) {
        let read = async {
            // One read at a time, so that many callers do not read the same again.
            let _reading = worker.reading_units.lock().await;
            let places: Vec<usize> = (0..products.len()).filter(|place| all[*place].is_none()).collect();
            for place in &places {
                all[*place] = cache.get(&products[*place]);
            }
            let places: Vec<usize> = places.into_iter().filter(|place| all[*place].is_none()).collect();
            let missing: Vec<CouponId> = places.iter().map(|place| products[*place]).collect();
            for (place, units) in places.into_iter().zip(read(&selling, &worker, &missing).await?) {
                cache.insert(products[place], units);
                all[place] = Some(units);
            }
            Ok::<_, ApiError>(())
        };
        tokio::time::timeout(selling.kv_wait, read).await.map_err(|_| ApiError::unavailable())??;
    }
    Ok(success(all.into_iter().flatten().flatten().collect::<Vec<_>>()))
}

fn parse(text: &str) -> Option<Vec<CouponId>> {
    let mut products = text.split(',').map(|id| id.parse().ok()).collect::<Option<Vec<CouponId>>>()?;
    products.sort_unstable();
    products.dedup();
    (products.len() <= PRODUCTS_MAX && products.iter().all(|product| product.0 > 0)).then_some(products)
}

/// The units of products, in order. `None` for a product that no shard has.
async fn read(
    selling: &Selling,
    worker: &Worker,
    products: &[CouponId],
) -> Result<Vec<Option<ProductUnits>>, ApiError> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let now_ms = worker.server_ms()?;
    let sale = |product: &CouponId| {
        let schedule = selling.activities.of(*product);
        let activity = schedule.as_ref().and_then(|schedule| schedule.at(now_ms));
        activity.map_or((ActivityId(0), 0), |activity| (activity.id, activity.terms.total))
    };
    let (activities, totals): (Vec<ActivityId>, Vec<u32>) = products.iter().map(sale).unzip();
    let asked: Vec<_> = products.iter().copied().zip(activities).collect();
    let all = read_all_units(selling, worker, &asked).await?;
    let shown = |((product, total), units): ((&CouponId, u32), Option<Units>)| {
        let units = units?;
        let claimed = units.claimed.saturating_sub(units.holes);
        Some(ProductUnits { product_id: product.0, left: units.left(total), claimed })
    };
    Ok(products.iter().zip(totals).zip(all).map(shown).collect())
}
