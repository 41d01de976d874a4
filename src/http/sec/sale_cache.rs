//! Answers about sales, cached for a moment.

use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;

use crate::domain::CouponId;

/// Maximum number of pages, all of which fit in the cache.
pub(super) const PAGES_MAX: usize = 100;

pub struct SaleCache {
    /// Key: the number of sales skipped.
    pub(super) pages: Cache<usize, Bytes>,
    pub(super) products: Cache<CouponId, Bytes>,
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
        }
    }
}
