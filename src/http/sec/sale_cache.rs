//! Answers about sales, cached for a moment.

use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::CouponId;

/// Maximum number of pages, all of which fit in the cache.
pub(super) const PAGES_MAX: usize = 100;

pub struct SaleCache {
    /// Key: the number of sales skipped.
    pub(super) pages: Cache<usize, Bytes>,
    pub(super) products: Cache<CouponId, Bytes>,
    /// `None` for a product that does not exist.
    pub(super) units: moka::sync::Cache<CouponId, Option<ProductUnits>>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ProductUnits {
    pub(super) product_id: u64,
    /// Units that the current sale can still sell, as in `/sec/info`.
    pub(super) left: u64,
    /// Claims over all sales of the product.
    pub(super) claimed: u64,
}

/// Lifetimes of cached answers, and the maximum number of products cached.
#[derive(Debug, Clone, Copy)]
pub struct SaleCacheLimits {
    pub list_age: Duration,
    pub product_age: Duration,
    pub products_max: u64,
}

impl SaleCache {
    pub fn new(limits: SaleCacheLimits) -> Self {
        let SaleCacheLimits { list_age, product_age, products_max } = limits;
        Self {
            pages: Cache::builder().max_capacity(PAGES_MAX as u64).time_to_live(list_age).build(),
            products: Cache::builder().max_capacity(products_max).time_to_live(product_age).build(),
            units: moka::sync::Cache::builder().max_capacity(products_max).time_to_live(product_age).build(),
        }
    }
}
