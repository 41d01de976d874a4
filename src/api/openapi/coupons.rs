//! What is said of the coupon interface.

use actix_web::HttpResponse;
use serde_json::json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::operation::{Described, operation};
use super::users::JWT;
use crate::api::answer::{self, Done, ListOf};
use crate::api::claims::{self, Holder};
use crate::api::coupons::{Changes, Creation};
use crate::api::error::{ApiError, Code};
use crate::api::lists::{HeldItem, OfferedItem};
use crate::domain::{Refusal, Terms};
use crate::gate::TurnedAway;

pub const TAG: &str = "Coupons";

pub fn claim_coupon() -> Operation {
    let proven = |mut builder: actix_web::HttpResponseBuilder, result: &str| {
        builder.insert_header((claims::CLAIM_RESULT, result)).insert_header((claims::CLAIM_TOKEN, JWT));
        builder
    };
    let refusals = [
        Refusal::SoldOut,
        Refusal::NoSuchCoupon,
        Refusal::NotOnSale,
        Refusal::NotStarted,
        Refusal::Ended,
        Refusal::TryAgain,
    ];
    let about = "A body is ignored. Holding it already comes first, also after the end and when it is sold out; then status, \
                 window, draw, quota and units decide, in this order. An attempt may be repeated after any answer.";
    let described = operation("claimCoupon", TAG, "Claim a unit of a coupon")
        .about(about)
        .with_token()
        .of_coupon()
        .header("Claim-Nth", "Which of several units one means to hold after this.", nth(), 1.into())
        .answers_with::<Done>("Claimed.", answer::done(proven(HttpResponse::Created(), "claimed")))
        .answers("Held already.", proven(HttpResponse::NoContent(), "already-claimed").finish());
    let described = refusals.into_iter().fold(described, |described, refusal| {
        described.answers("Nothing was claimed: `Claim-Result` says why.", claims::refused(refusal))
    });
    described
        .fails([
            ApiError::bad_field(
                "Claim-Nth",
                format!("Claim-Nth should be a number from 1 to {}.", Terms::BUY_LIMIT_MAX),
            ),
            ApiError::new(Code::WrongKind, "Sellers aren't allowed to get coupons."),
            TurnedAway::Blocked.into(),
            TurnedAway::TooFast { wait_seconds: 1 }.into(),
            TurnedAway::Off.into(),
            ApiError::overloaded(),
            ApiError::unavailable(),
            ApiError::unknown_outcome(),
        ])
        .build()
}

fn nth() -> utoipa::openapi::schema::Object {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int32);
    let number = ObjectBuilder::new().schema_type(Type::Integer).format(Some(format));
    number.minimum(Some(1)).maximum(Some(Terms::BUY_LIMIT_MAX)).build()
}

pub fn create_coupon() -> Operation {
    operation("createCoupon", TAG, "Offer a coupon")
        .about("It can be claimed when 201 is sent; a scheduled one only inside an activity.")
        .with_token()
        .path("user", "One's own name.", "shop")
        .body::<Creation>(json!({"name": "ten-off", "amount": 1_000, "description": "10 off", "stock": 10}))
        .answers_with::<Done>("It is offered.", answer::done(HttpResponse::Created()))
        .fails([
            ApiError::not_json(),
            ApiError::bad_field("name", "Coupon name should have 1 to 60 characters and no slash."),
            ApiError::bad_request("Too many coupons."),
            ApiError::new(Code::NameTaken, "Create failed. Maybe (username,coupon name) duplicates").with_field("name"),
            ApiError::new(Code::WrongKind, "Only sellers can create coupons."),
            ApiError::new(Code::NotYours, "Cannot create coupons for other users."),
        ])
        .field_errors()
        .waits_for_mysql()
        .build()
}

pub fn change_coupon() -> Operation {
    operation("changeCoupon", TAG, "Change a coupon")
        .about("In force when 200 is sent.")
        .with_token()
        .of_coupon()
        .body::<Changes>(json!({"amount": 2_000}))
        .answers_with::<Done>("Changed.", answer::done(HttpResponse::Ok()))
        .fails([
            ApiError::not_json(),
            ApiError::bad_request("Nothing to change: amount, scheduled or description is needed."),
            ApiError::bad_field("amount", "Amount is below what is claimed already."),
            ApiError::new(Code::WrongKind, "Only sellers can change coupons."),
        ])
        .field_errors()
        .of_owner()
        .waits_for_mysql()
        .build()
}

pub fn list_coupons() -> Operation {
    let offered = json!({
        "name": "ten-off", "stock": 10, "description": "10 off", "amount": 1_000, "left": 943,
        "product_id": 7, "scheduled": true,
    });
    let held = json!({"name": "ten-off", "stock": 10, "description": "10 off", "saler": "shop"});
    operation("listCoupons", TAG, "What a saler offers, or a customer holds")
        .about("20 a page, newest first. A customer's list is shown to himself.")
        .with_token()
        .path("user", "The saler, or oneself.", "shop")
        .page()
        .answers_with::<ListOf<OfferedItem>>("What a saler offers.", answer::list(&[offered]))
        .answers_with::<ListOf<HeldItem>>("What a customer holds.", answer::list(&[held]))
        .answers("Nothing is on that page.", HttpResponse::NoContent().finish())
        .fails([
            ApiError::bad_field("page", "Wrong format of page."),
            ApiError::bad_request("Record not found."),
            ApiError::unavailable(),
        ])
        .failed(
            &ApiError::new(Code::NotYours, "Cannot check other customer."),
            ApiError::new(Code::NotYours, "Cannot check other customer.").list_response(),
        )
        .build()
}

pub fn list_claims() -> Operation {
    let holder = json!({"username": "ann", "seq": 57, "nth": 1, "claimed_at": 1_767_265_200_u64, "activity_id": 1,
        "redeemed_at": null});
    operation("listClaims", TAG, "Who holds a coupon")
        .about("100 a page, by seq.")
        .with_token()
        .of_coupon()
        .page()
        .answers_with::<ListOf<Holder>>("Its holders.", answer::list(&[holder]))
        .answers("Nothing is on that page.", HttpResponse::NoContent().finish())
        .fails([ApiError::bad_field("page", "Wrong format of page."), ApiError::unavailable()])
        .of_owner()
        .fails([ApiError::new(Code::WrongKind, "Only sellers can see who holds a coupon.")])
        .build()
}

pub fn export_claims() -> Operation {
    let mut csv = HttpResponse::Ok();
    for header in claims::CSV {
        csv.insert_header(header);
    }
    let lines = "username,seq,nth,claimed_at,activity_id,redeemed_at\r\nann,57,1,1767265200,7,\r\n";
    operation("exportClaims", TAG, "Who holds a coupon, as CSV")
        .about("All of them, quoted as RFC 4180 wants it; no cell is run as a formula.")
        .with_token()
        .of_coupon()
        .answers("A header line and a line a claim.", csv.body(lines))
        .fails([ApiError::unavailable(), ApiError::overloaded()])
        .of_owner()
        .fails([ApiError::new(Code::WrongKind, "Only sellers can see who holds a coupon.")])
        .build()
}

impl Described {
    fn of_coupon(self) -> Self {
        self.path("user", "The saler's name.", "shop").path("name", "The coupon's name.", "ten-off")
    }

    /// What may be wrong with a coupon's fields.
    fn field_errors(self) -> Self {
        self.fails([
            ApiError::bad_field("amount", "Amount field wrong format."),
            ApiError::bad_field("stock", "Stock field wrong format."),
            ApiError::bad_field("description", "Description too long."),
        ])
    }

    /// What only its saler may.
    fn of_owner(self) -> Self {
        self.fails([
            ApiError::new(Code::NotYours, "Not your coupon."),
            ApiError::new(Code::NotFound, "No such coupon."),
        ])
    }
}
