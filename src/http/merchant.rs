//! Who may work for a merchant: the saler, staff and keys with the right, and admins where they may.
//!
//! The signature of a merchant's handler names a [`Purpose`]. No other extractor admits staff or keys to the objects of a saler, so no
//! route can forget to check the right.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, ResponseError};

use super::error::{ApiError, Code};
use super::extractors::{Sender, WITHOUT_RIGHT, sender};
use super::sec::envelope::SecError;
use crate::domain::{Kind, MerchantRight, User};

pub const ONLY_SALERS: ApiError = ApiError::new(Code::WrongKind, "Only salers may do this.");
pub const ONLY_SALERS_CREATE: ApiError = ApiError::new(Code::WrongKind, "Only sellers can create coupons.");
pub const ONLY_SALERS_CHANGE: ApiError = ApiError::new(Code::WrongKind, "Only sellers can change coupons.");
pub const CUSTOMERS_CANNOT_READ: ApiError = ApiError::new(Code::WrongKind, "Only sellers can see who holds a coupon.");

/// The purpose of a merchant's route.
pub trait Purpose: 'static {
    /// The errors of the route's interface.
    type Error: From<ApiError> + ResponseError + 'static;

    /// The right that staff and keys need.
    const RIGHT: MerchantRight;
    /// The kinds of users whose own tokens are admitted.
    const KINDS: &'static [Kind];
    /// The answer to users of other kinds.
    const REFUSAL: ApiError;
}

/// The saler of the request, or another user whom the purpose admits.
pub struct Merchant<P: Purpose> {
    pub user: User,
    /// The name of the sender: a user, staff or a key.
    pub by: String,
    purpose: PhantomData<P>,
}

/// Declares a [`Purpose`].
macro_rules! purpose {
    ($(#[$doc:meta])* $name:ident: $error:ty, $right:ident, $kinds:expr, $refusal:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Purpose for $name {
            type Error = $error;

            const RIGHT: MerchantRight = MerchantRight::$right;
            const KINDS: &'static [Kind] = &$kinds;
            const REFUSAL: ApiError = $refusal;
        }
    };
}

const ALL: [Kind; 3] = [Kind::Customer, Kind::Saler, Kind::Admin];

purpose!(CreateCoupons: ApiError, Manage, [Kind::Saler], ONLY_SALERS_CREATE);
purpose!(ChangeCoupons: ApiError, Manage, [Kind::Saler], ONLY_SALERS_CHANGE);
purpose!(ReadClaims: ApiError, View, [Kind::Saler, Kind::Admin], CUSTOMERS_CANNOT_READ);
purpose!(
    /// Lists of coupons, which every user may read.
    ReadCoupons: ApiError, View, ALL, ONLY_SALERS
);
purpose!(
    /// The list of products, which every user may read.
    ReadProducts: SecError, View, ALL, ONLY_SALERS
);
purpose!(ReadSales: SecError, View, [Kind::Saler, Kind::Admin], ONLY_SALERS);
purpose!(ManageSales: SecError, Manage, [Kind::Saler, Kind::Admin], ONLY_SALERS);
purpose!(RedeemClaims: SecError, Redeem, [Kind::Saler, Kind::Admin], ONLY_SALERS);

impl<P: Purpose> FromRequest for Merchant<P> {
    type Error = P::Error;
    type Future = Ready<Result<Self, P::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = admit(request, P::RIGHT, P::KINDS, P::REFUSAL);
        ready(admitted.map(|(user, by)| Self { user, by, purpose: PhantomData }).map_err(P::Error::from))
    }
}

/// The user of [`Merchant`], and the name of the sender.
fn admit(
    request: &HttpRequest,
    right: MerchantRight,
    kinds: &[Kind],
    refusal: ApiError,
) -> Result<(User, String), ApiError> {
    let sender = sender(request)?;
    let by = sender.name();
    if let Some(mandate) = sender.mandate() {
        return if mandate.rights.include(right) { Ok((mandate.saler.clone(), by)) } else { Err(WITHOUT_RIGHT) };
    }
    match sender {
        Sender::User(session) if kinds.contains(&session.user.kind) => Ok((session.user, by)),
        Sender::User(_) | Sender::Key(_) => Err(refusal),
    }
}
