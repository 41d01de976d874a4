//! What is said of the interface for operators.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde_json::{Value, json};
use utoipa::openapi::path::Operation;

use super::operation::{Described, operation};
use crate::api::answer::{self, Done, ListOf};
use crate::api::blacklist::{BlockBody, BlockFor, ListedBlock};
use crate::api::error::{ApiError, Code};
use crate::api::health::Up;
use crate::api::status::{StatusBody, TurnedAwayCounts};
use crate::gate::{Limits, Switches, TurnedAway};
use crate::health::{ActivitiesReport, EtcdReport, GateReport, LedgerReport, OutboxSeen, Part, Report};

pub const TAG: &str = "Operators";

pub fn show_status() -> Operation {
    let status = StatusBody {
        instance: "shop-1 10.0.0.5:20080",
        report: report(true),
        outbox: Some(OutboxSeen { claims: 40, oldest_ms: 25 }),
        attempts: BTreeMap::from([("claimed", 57), ("sold-out", 1_210)]),
        turned_away: TurnedAwayCounts { rate_limited: 12, blocked: 3, switched_off: 0 },
        responses: BTreeMap::from([(201, 57), (204, 1_210)]),
        blocks: 1,
        switches: Switches::default(),
    };
    let sample = answer::json(HttpResponse::Ok(), &status);
    operation("showStatus", TAG, "How an instance is and what it has answered")
        .about("Of the instance that was asked, since its start: `/readyz` with counts. 200 also where it cannot sell.")
        .of_admin()
        .answers_with::<StatusBody<'_>>("It is so.", sample)
        .build()
}

pub fn show_limits() -> Operation {
    let sample = answer::json(HttpResponse::Ok(), &Limits::default());
    operation("showLimits", TAG, "The limits in force").of_admin().answers_with::<Limits>("They are.", sample).build()
}

pub fn change_limits() -> Operation {
    let sample = answer::json(HttpResponse::Ok(), &Limits::default());
    operation("changeLimits", TAG, "Replace the limits")
        .about("All of them: what is left out is the default again. In force on every instance within a second.")
        .of_admin()
        .body::<Limits>(json(&Limits::default()))
        .answers_with::<Limits>("In force.", sample)
        .fails([
            ApiError::not_json(),
            ApiError::bad_field("user_per_second", "user_per_second must be a whole number."),
        ])
        .waits_for_mysql()
        .build()
}

pub fn show_switches() -> Operation {
    let sample = answer::json(HttpResponse::Ok(), &Switches::default());
    operation("showSwitches", TAG, "The switches in force")
        .about("true is on.")
        .of_admin()
        .answers_with::<Switches>("They are.", sample)
        .build()
}

pub fn change_switches() -> Operation {
    let sample = answer::json(HttpResponse::Ok(), &Switches::default());
    operation("changeSwitches", TAG, "Replace the switches")
        .about("All of them: what is left out is on again. In force on every instance within a second.")
        .of_admin()
        .body::<Switches>(json(&Switches::default()))
        .answers_with::<Switches>("In force.", sample)
        .fails([ApiError::not_json(), ApiError::bad_field("claim", "claim must be true or false.")])
        .waits_for_mysql()
        .build()
}

pub fn list_blocks() -> Operation {
    let listed = ListedBlock { kind: "users", value: "mallory".to_owned(), block: BLOCK };
    operation("listBlocks", TAG, "Who is on the blacklist")
        .about("100 a page, the latest first. `until` null is for ever.")
        .of_admin()
        .page()
        .answers_with::<ListOf<ListedBlock<'_>>>("They are.", answer::list(&[listed]))
        .answers("Nothing is on that page.", HttpResponse::NoContent().finish())
        .fails([ApiError::bad_field("page", "Wrong format of page."), ApiError::unavailable()])
        .build()
}

pub fn show_block() -> Operation {
    of_block("showBlock", "Whether somebody is on the blacklist")
        .answers_with::<BlockBody<'_>>("He is; `until` null is for ever.", block())
        .fails([ApiError::new(Code::NotFound, "Not on the blacklist."), ApiError::unavailable()])
        .build()
}

pub fn put_block() -> Operation {
    of_block("putBlock", "Put somebody on the blacklist")
        .about("Whatever was there before is replaced. Without `seconds`, or a body, it is for ever.")
        .optional_body::<BlockFor>(json!({"seconds": 3_600}))
        .answers_with::<BlockBody<'_>>("He is there.", block())
        .fails([
            ApiError::not_json(),
            ApiError::bad_field("seconds", "seconds must be a whole number from 1 to 315360000."),
            ApiError::overloaded(),
        ])
        .waits_for_mysql()
        .build()
}

pub fn delete_block() -> Operation {
    of_block("deleteBlock", "Take somebody off the blacklist")
        .answers_with::<Done>("He is off.", answer::done(HttpResponse::Ok()))
        .fails([ApiError::new(Code::NotFound, "Not on the blacklist.")])
        .waits_for_mysql()
        .build()
}

fn of_block(id: &str, summary: &str) -> Described {
    operation(id, TAG, summary)
        .of_admin()
        .path_of("kind", "Whether a user is meant, or an address.", &["users", "ips"])
        .path("value", "A user's name, or an IPv4 or IPv6 address.", "mallory")
        .fails([
            ApiError::bad_field("value", "The path must name an IPv4 or IPv6 address."),
            ApiError::new(Code::NotFound, "No such user."),
            ApiError::unavailable(),
        ])
}

const BLOCK: BlockBody<'_> =
    BlockBody { until: Some(1_767_268_800), since: 1_767_265_200, by: "root", reason: "admin" };

fn block() -> HttpResponse {
    answer::json(HttpResponse::Ok(), &BLOCK)
}

pub fn healthz() -> Operation {
    operation("healthz", TAG, "Whether the process runs")
        .answers_with::<Up>("It does.", answer::json(HttpResponse::Ok(), &Up::default()))
        .build()
}

pub fn readyz() -> Operation {
    let (ready, not_ready) = (report(true), report(false));
    let mut unavailable = HttpResponse::ServiceUnavailable();
    unavailable.insert_header((actix_web::http::header::RETRY_AFTER, "1"));
    operation("readyz", TAG, "Whether it can sell, and how each part is")
        .answers_with::<Report<'_>>("It can.", answer::json(HttpResponse::Ok(), &ready))
        .answers_with::<Report<'_>>("It cannot.", answer::json(unavailable, &not_ready))
        .build()
}

fn report(ready: bool) -> Report<'static> {
    let part = |state| Part { state, since: 1_767_265_200, age: 60 };
    let ledger = LedgerReport {
        part: part("storing"),
        backlog: 40,
        backlog_max: 1_000_000,
        lag_ms: 25,
        stored: 57,
        poisoned: 0,
    };
    let gate = GateReport {
        part: part(if ready { "open" } else { "recovering" }),
        in_flight: 12,
        in_flight_limit: 20_000,
        loaded_coupons: 3,
        loaded_claims: 57,
        rebuilds: 1,
    };
    let etcd = EtcdReport { part: part("off"), mirror: None };
    let activities = ActivitiesReport { age_ms: Some(400), revision: 2, coupons: 3 };
    Report { ready, redis: part("up"), mysql: part("up"), etcd, ledger, gate, activities, warnings: &[] }
}

/// Not in the document: it is on the operators' own listener.
pub fn metrics() -> Operation {
    operation("metrics", TAG, "Figures for Prometheus").build()
}

pub fn openapi() -> Operation {
    operation("openapi", TAG, "This document")
        .answers_with::<Document>(
            "An OpenAPI 3.1 document.",
            answer::json(HttpResponse::Ok(), &json!({"openapi": "3.1.0"})),
        )
        .fails([TurnedAway::Off.into()])
        .build()
}

pub fn docs() -> Operation {
    operation("docs", TAG, "This document, for people")
        .answers("A page.", crate::api::docs::sample())
        .fails([TurnedAway::Off.into()])
        .build()
}

pub fn docs_file() -> Operation {
    let mut script = HttpResponse::Ok();
    script.insert_header(("content-type", "text/javascript")).insert_header(("x-content-type-options", "nosniff"));
    operation("docsFile", TAG, "A file of that page")
        .path("file", "Its name.", "swagger-ui.css")
        .answers("The file.", script.body("window.onload = ..."))
        .answers("The file.", HttpResponse::Ok().insert_header(("content-type", "text/css")).body("..."))
        .fails([ApiError::new(Code::NotFound, "No such path."), TurnedAway::Off.into()])
        .build()
}

/// An OpenAPI document; its own schema is elsewhere.
#[derive(utoipa::ToSchema)]
struct Document {
    #[expect(dead_code, reason = "it is only described")]
    openapi: String,
}

impl Described {
    fn of_admin(self) -> Self {
        self.with_token().fails([ApiError::new(Code::WrongKindForbidden, "Only admins may do this.")])
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("our own types have string keys and no failing serializers")
}
