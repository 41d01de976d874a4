//! What is said of the flash-sale interface.

use actix_web::HttpResponse;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Required;
use utoipa::openapi::path::Operation;

use super::operation::{Described, operation_in_envelope};
use super::schemas::id;
use super::users::JWT;
use crate::admission::TurnedAway;
use crate::domain::Refusal;
use crate::http::error::{ApiError, Code};
use crate::http::sec::activities::{CreatedActivity, Item};
use crate::http::sec::envelope::{Enveloped, SaleCode, SecError, refused_with, success};
use crate::http::sec::kill::{Bought, refusal};
use crate::http::sec::products::{CreatedProduct, Product};
use crate::http::sec::sales::Sale;
use crate::http::sec::tokens::{Forged, Proven, Redeemed};

pub const TAG: &str = "Flash sales";

/// What `/sec/kill` is sent. The last four belong to the signed form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described: parameters are read one by one")]
struct Kill {
    product_id: u64,
    /// That of the token; needed in the signed form.
    user_id: Option<u64>,
    /// Which of several units one means to hold after this.
    #[schema(minimum = 1, maximum = 100)]
    nth: Option<u8>,
    /// Accepted and ignored.
    src: Option<String>,
    /// Seconds since 1970, within 60 s of now.
    time: Option<u64>,
    /// Not sent before.
    #[schema(min_length = 1, max_length = 128)]
    nance: Option<String>,
    /// `md5("<product_id>:<user_id>:<time>:<nance>:<AuthSign>")`, in lower-case hex.
    auth_code: Option<String>,
}

pub fn kill() -> Operation {
    let about = "Two ways to say who one is: the token of a customer, or the signed form, where the service has a secret for \
                 it: no token, the header `AuthSign` that the login gave, a `Referer` on the allow-list, and `user_id`, \
                 `time`, `nance` and `auth_code`. The signed form has no end and no logout.";
    let bought = json!({"product_id": 1, "user_id": 7, "token": JWT, "token_time": 1_767_265_200, "seq": 57, "nth": 1,
        "start": true, "end": false, "status": 0});
    let refusals = [
        Refusal::NoSuchCoupon,
        Refusal::NotOnSale,
        Refusal::NotStarted,
        Refusal::Ended,
        Refusal::Disabled,
        Refusal::SoldOut,
        Refusal::TryAgain,
    ];
    let described = operation_in_envelope("buy", TAG, "Claim a unit of a product")
        .about(about)
        .with_token_or_signature()
        .parameters::<Kill>(json!({"product_id": 1}))
        .answers_with::<Enveloped<Bought>>("Bought.", success(&bought));
    let described = refusals.into_iter().fold(described, |described, why| described.refuses([refusal(why)]));
    described
        .answers_with::<Enveloped<Bought>>(
            "Bought before.",
            refused_with(SaleCode::Bought, "You have bought it already.", &bought),
        )
        .refuses([
            SecError::new(SaleCode::NotVerified, "Not Authorized."),
            SecError::new(SaleCode::NotVerified, "Only customers can buy."),
        ])
        .fails([
            TurnedAway::Blocked.into(),
            TurnedAway::TooFast { wait_seconds: 1 }.into(),
            TurnedAway::Off.into(),
            ApiError::overloaded(),
            ApiError::unavailable(),
            ApiError::unknown_outcome(),
            missing("product_id"),
        ])
        .build()
}

pub fn show_sale() -> Operation {
    operation_in_envelope("showSale", TAG, "A product's sale")
        .about("Its current activity, else the next, else the last; `data` is null where there is none.")
        .of_product()
        .answers_with::<Enveloped<Option<Sale<'_, u8>>>>("It is.", success(sale(json!(0))))
        .answers_with::<Enveloped<Option<Sale<'_, u8>>>>("No sale of it is known.", success(()))
        .fails([ApiError::unavailable()])
        .build()
}

pub fn list_sales() -> Operation {
    operation_in_envelope("listSales", TAG, "Every sale that is under way or will be")
        .about("By their start, 1,000 a page.")
        .page()
        .answers_with::<Enveloped<Vec<Sale<'_, String>>>>("They are.", success([sale(json!("success"))]))
        .fails([bad_page(), ApiError::unavailable()])
        .build()
}

fn sale(status: Value) -> Value {
    json!({"product_id": 1, "activity_id": 1, "activity_name": "noon", "saler": "shop", "name": "ten-off",
        "start_time": 1_767_265_200, "end_time": 1_767_268_800, "start": true, "end": false, "status": status,
        "left": 943, "total": 1_000, "amount": 1_000, "buy_limit": 1})
}

pub fn show_events() -> Operation {
    let about = "Server-Sent Events: `units` with `product_id`, `left` (of the present sale, as `/sec/info` says), `claimed` \
                 (over all sales) and `time_ms` (the clock of the sale). The present state comes at once, then each change, \
                 at most four a second, one a second where many look; a comment every 15 s. After 503 come back yourself: \
                 browsers do so only where a stream has ended.";
    let mut stream = HttpResponse::Ok();
    stream.insert_header(("content-type", "text/event-stream")).insert_header(("x-accel-buffering", "no"));
    let event = "retry: 2500\nevent: units\n\
                 data: {\"product_id\":1,\"left\":943,\"claimed\":57,\"time_ms\":1767265201500}\n\n";
    operation_in_envelope("showEvents", TAG, "A product's units, live")
        .about(about)
        .of_product()
        .answers("A stream.", stream.body(event))
        .fails([no_product(), ApiError::overloaded(), ApiError::unavailable(), TurnedAway::Off.into()])
        .build()
}

/// A claim token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described: parameters are read one by one")]
struct ClaimToken {
    token: String,
}

pub fn show_token() -> Operation {
    let proven = json!({"valid": true, "product_id": 1, "saler": "shop", "name": "ten-off", "user_id": 7, "activity_id": 1,
        "seq": 57, "nth": 1, "claimed_at": 1_767_265_200, "redeemed_at": null});
    operation_in_envelope("showToken", TAG, "What a claim token proves")
        .parameters::<ClaimToken>(json!({"token": JWT}))
        .answers_with::<Enveloped<Proven>>("A claim.", success(proven))
        .answers_with::<Enveloped<Forged>>("Nothing.", success(json!({"valid": false})))
        .fails([missing("token"), ApiError::unavailable()])
        .build()
}

pub fn redeem() -> Operation {
    operation_in_envelope("redeem", TAG, "Mark a claim as used")
        .about("`first` is false where it was used before.")
        .with_token()
        .parameters::<ClaimToken>(json!({"token": JWT}))
        .answers_with::<Enveloped<Redeemed>>("Used.", success(json!({"redeemed_at": 1_767_270_000, "first": true})))
        .fails([missing("token"), ApiError::bad_request("token: it proves no claim."), no_product()])
        .of_owner_of_product()
        .waits_for_mysql()
        .build()
}

/// A product to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described: parameters are read one by one")]
struct NewProduct {
    #[schema(min_length = 1, max_length = 60)]
    product_name: String,
    #[schema(minimum = 1, maximum = 10_000_000)]
    product_total: u32,
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    stock: Option<u32>,
    #[schema(max_length = 255)]
    description: Option<String>,
    /// Accepted and ignored.
    status: Option<u8>,
}

pub fn create_product() -> Operation {
    operation_in_envelope("createProduct", TAG, "Make a product")
        .about("A scheduled coupon: it is sold only inside an activity.")
        .with_token()
        .parameters::<NewProduct>(json!({"product_name": "ten-off", "product_total": 1_000, "stock": 10}))
        .answers_with::<Enveloped<CreatedProduct>>("Made.", success(json!({"product_id": 1})))
        .fails([
            missing("product_name"),
            ApiError::bad_request("Too many coupons."),
            ApiError::new(Code::NameTaken, "Create failed. Maybe (username,coupon name) duplicates"),
        ])
        .of_salers()
        .waits_for_mysql()
        .build()
}

pub fn list_products() -> Operation {
    let product = json!({"product_id": 1, "product_name": "ten-off", "total": 1_000, "status": 1, "saler": "shop"});
    operation_in_envelope("listProducts", TAG, "Every product")
        .about("Newest first, 1,000 a page.")
        .with_token()
        .page()
        .answers_with::<Enveloped<Vec<Product>>>("They are.", success([product]))
        .fails([bad_page(), ApiError::unavailable()])
        .build()
}

/// An activity to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described: parameters are read one by one")]
struct NewActivity {
    #[schema(min_length = 1, max_length = 60)]
    activity_name: String,
    product_id: u64,
    /// Seconds since 1970.
    start_time: u64,
    /// Later than that.
    end_time: u64,
    /// Claims in all; 0: the product's whole amount.
    total: u32,
    /// Claims in a second, over all instances; 0: no limit.
    speed: u32,
    /// Claims of a user, over all activities of the product; 1 where it is left out.
    #[schema(minimum = 1, maximum = 100)]
    buy_limit: Option<u8>,
    /// The share of attempts that is let through; all where it is left out.
    #[schema(minimum = 0, maximum = 1)]
    buy_rate: Option<f64>,
    /// Accepted and ignored.
    status: Option<u8>,
}

pub fn create_activity() -> Operation {
    let example = json!({"activity_name": "noon", "product_id": 1, "start_time": 1_767_265_200, "end_time": 1_767_268_800,
        "total": 500, "speed": 100, "buy_limit": 1, "buy_rate": 1});
    operation_in_envelope("createActivity", TAG, "Plan a sale of a product")
        .with_token()
        .parameters::<NewActivity>(example)
        .answers_with::<Enveloped<CreatedActivity>>("Planned.", success(json!({"activity_id": 1})))
        .fails([missing("activity_name"), no_product()])
        .term_errors()
        .of_owner_of_product()
        .waits_for_mysql()
        .build()
}

/// What to change of an activity.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described: parameters are read one by one")]
struct ActivityChange {
    activity_id: u32,
    #[schema(min_length = 1, max_length = 60)]
    activity_name: Option<String>,
    /// It stays what it is.
    product_id: Option<u64>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    total: Option<u32>,
    speed: Option<u32>,
    #[schema(minimum = 1, maximum = 100)]
    buy_limit: Option<u8>,
    #[schema(minimum = 0, maximum = 1)]
    buy_rate: Option<f64>,
    /// 0 normal, 1 disabled, 2 declared sold out.
    #[schema(minimum = 0, maximum = 2)]
    status: Option<u8>,
}

pub fn update_activity() -> Operation {
    operation_in_envelope("updateActivity", TAG, "Change a sale")
        .about("In force on every instance within a second.")
        .with_token()
        .parameters::<ActivityChange>(json!({"activity_id": 1, "status": 1}))
        .answers_with::<Enveloped<CreatedActivity>>("Changed.", success(json!({"activity_id": 1})))
        .fails([
            missing("activity_id"),
            ApiError::bad_request("activity_id: nothing is said that could be changed."),
            ApiError::bad_request("product_id: an activity stays with its product."),
            ApiError::new(Code::NotFound, "No such activity."),
        ])
        .term_errors()
        .of_owner_of_product()
        .waits_for_mysql()
        .build()
}

pub fn list_activities() -> Operation {
    let item = json!({"activity_id": 1, "activity_name": "noon", "product_id": 1, "start_time": 1_767_265_200,
        "end_time": 1_767_268_800, "total": 500, "status": 0, "sec_speed": 100, "buy_limit": 1, "buy_rate": "1.00",
        "start_time_str": "2026-01-01 11:00:00", "end_time_str": "2026-01-01 12:00:00", "status_str": "normal"});
    operation_in_envelope("listActivities", TAG, "A saler's own sales; all of them for an admin")
        .about("Newest first, 1,000 a page; times for people are UTC.")
        .with_token()
        .page()
        .answers_with::<Enveloped<Vec<Item>>>("They are.", success([item]))
        .fails([bad_page(), ApiError::unavailable()])
        .of_salers()
        .build()
}

impl Described {
    fn of_product(self) -> Self {
        self.query("product_id", Required::True, "The product.", id(), 1.into()).fails([missing("product_id")])
    }

    fn of_salers(self) -> Self {
        self.fails([ApiError::new(Code::WrongKind, "Only salers may do this.")])
    }

    fn of_owner_of_product(self) -> Self {
        self.of_salers().fails([ApiError::new(Code::NotYours, "Not your product.")])
    }

    fn term_errors(self) -> Self {
        self.fails([
            ApiError::bad_request("end_time: it must be after start_time."),
            ApiError::bad_request("total: it is above the product's."),
            ApiError::bad_request("start_time, end_time: activity 6 sells the product at that time."),
        ])
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("{name}: it is missing."))
}

fn bad_page() -> ApiError {
    ApiError::bad_request("page: it must be a whole number.")
}

fn no_product() -> ApiError {
    ApiError::new(Code::NotFound, "No such product.")
}
