//! The parameters of `/sec/kill`. `time`, `nance` and `auth_code` belong to the signed form.

use super::parameters::{Parameter, Parameters};
use crate::auth::NANCE_BYTES_MAX;
use crate::domain::{CouponId, Nth, Terms, UserId};
use crate::http::error::ApiError;

pub struct Form {
    pub product: CouponId,
    pub user: Option<UserId>,
    pub nth: Option<Nth>,
    pub ticket: Option<String>,
    pub time: Option<u64>,
    pub nance: Option<String>,
    pub auth_code: Option<String>,
}

impl Form {
    pub fn parse(sent: &Parameters) -> Result<Self, ApiError> {
        // Accepted and ignored.
        sent.optional("src")?;
        Ok(Self {
            product: CouponId(sent.required("product_id")?.number(1..=u64::MAX)?),
            user: sent.optional("user_id")?.map(|sent| sent.number(1..=u64::MAX).map(UserId)).transpose()?,
            nth: sent.optional("nth")?.map(|sent| sent.number(1..=Terms::BUY_LIMIT_MAX)).transpose()?,
            ticket: sent.optional("ticket")?.map(|sent| sent.text()).transpose()?,
            time: sent.optional("time")?.map(|sent| sent.number(0..=u64::MAX)).transpose()?,
            nance: sent.optional("nance")?.map(|sent| parse_nance(&sent)).transpose()?,
            auth_code: sent.optional("auth_code")?.map(|sent| sent.text()).transpose()?,
        })
    }
}

fn parse_nance(sent: &Parameter<'_>) -> Result<String, ApiError> {
    let nance = sent.text()?;
    if (1..=NANCE_BYTES_MAX).contains(&nance.len()) {
        return Ok(nance);
    }
    Err(sent.wrong(format!("it must have 1 to {NANCE_BYTES_MAX} bytes")))
}
