//! Settings of the limits of a merchant, and of all merchants.

use clap::Args;

use super::Profile;
use crate::domain::{OfferTotals, Quotas};

#[derive(Debug, Args, Clone)]
pub struct QuotaArgs {
    /// Open coupons of one saler, 1 to 1000000. Archived coupons do not count. Default: 10000, or 1000 in the public profile.
    #[arg(long, env = "COUPONRUSH_SALER_COUPONS_MAX", value_name = "COUPONS",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub saler_coupons_max: Option<u32>,
    /// Units of all open coupons of one saler, 0 (no limit) to 1000000000000. A unit takes up to 180 bytes of Redis. Default: 0,
    /// or 2000000 in the public profile.
    #[arg(long, env = "COUPONRUSH_SALER_UNITS_MAX", value_name = "UNITS",
          value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub saler_units_max: Option<u64>,
    /// Current and coming activities of one saler, 0 (no limit) to 1000000. Default: 0, or 200 in the public profile.
    #[arg(long, env = "COUPONRUSH_SALER_SALES_MAX", value_name = "ACTIVITIES",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub saler_sales_max: Option<u32>,
    /// Open coupons of all salers, 0 (no limit) to 10000000. The last tenth is for salers with fewer than 20. Default: 0, or 100000
    /// in the public profile.
    #[arg(long, env = "COUPONRUSH_COUPONS_MAX", value_name = "COUPONS",
          value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub coupons_max: Option<u64>,
    /// Units of all open coupons of all salers, 0 (no limit) to 1000000000000. The last tenth is for salers with fewer than 20
    /// coupons. Default: 0, or 100000000 in the public profile.
    #[arg(long, env = "COUPONRUSH_UNITS_MAX", value_name = "UNITS",
          value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub units_max: Option<u64>,
}

impl QuotaArgs {
    /// The limits, with the defaults of a profile.
    pub fn of(&self, profile: Profile) -> Quotas {
        let (coupons, units, sales, totals) = match profile {
            Profile::Open => (10_000, 0, 0, (0, 0)),
            Profile::Public => (1_000, 2_000_000, 200, (100_000, 100_000_000)),
        };
        Quotas {
            coupons: self.saler_coupons_max.unwrap_or(coupons),
            units: self.saler_units_max.unwrap_or(units),
            sales: self.saler_sales_max.unwrap_or(sales),
            totals: OfferTotals {
                coupons: self.coupons_max.unwrap_or(totals.0),
                units: self.units_max.unwrap_or(totals.1),
            },
        }
    }
}
