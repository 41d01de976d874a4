//! `/sec/events` streams live units as Server-Sent Events, for everybody.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, interval_at};

use super::envelope::SecError;
use super::parameters::{Parameters, missing};
use super::sales::ProductQuery;
use crate::admission::{AddressPlace, TurnedAway};
use crate::base::now_ms;
use crate::domain::CouponId;
use crate::http::error::ApiError;
use crate::http::openapi::failures;
use crate::http::peer;
use crate::http::state::{Edge, Selling, Worker};
use crate::sales::{ProductState, Viewer};

const EVENT_STREAM: &str = "text/event-stream";
/// Comments show proxies, browsers and this service that the connection still works.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": still here\n\n");
/// Milliseconds until a browser reconnects after a stream's end. Random, so that browsers do not return all at once.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

failures!(ShowEventsFailures: SecError = [
    missing("product_id"),
    ApiError::no_such_product(),
    ApiError::overloaded(),
    ApiError::unavailable(),
    TurnedAway::Off,
    TurnedAway::TooFast { wait_seconds: 30 },
]);

/// Streams the units of a product.
///
/// The stream has Server-Sent Events named `units`. `left` counts the units of the current sale, like `/sec/info`.
/// `claimed` counts claims over all sales. `time_ms` is the clock of the sale. The current state comes at once. Changes
/// follow, at most four a second, or one a second for a product with many viewers. A comment comes every 15 s. A
/// browser does not reconnect after a 503, so the page must.
///
/// A product has viewers while it is on sale: from an hour before an activity until a minute after it. Others are answered 503,
/// and so is a viewer beyond half of all places for one saler's products. `/sec/units` has the units in any case.
#[utoipa::path(
    get, path = "/sec/events", operation_id = "showEvents",
    params(ProductQuery),
    responses(
        (status = 200, description = "A stream of events.", body = String, content_type = EVENT_STREAM, example =
            "retry: 2500\nevent: units\ndata: {\"product_id\":1,\"left\":943,\"claimed\":57,\"time_ms\":1767265201500}\n\n"),
        ShowEventsFailures,
    ),
)]
pub async fn show_events(
    request: HttpRequest,
    edge: web::Data<Edge>,
    selling: web::Data<Selling>,
    worker: web::Data<Worker>,
) -> Result<HttpResponse, SecError> {
    edge.admission.part(|switches| switches.events)?;
    let query = Parameters::of_query(request.query_string())?;
    let product = CouponId(query.required("product_id")?.number(1..=u64::MAX)?);
    let place = edge.admission.view(peer::address(&request, &edge))?;
    let mut viewer = selling.events.enter(product, now_ms()).map_err(|_| ApiError::overloaded())?;
    let first = match viewer.first(selling.kv_wait).await {
        ProductState::Shown(shown) => shown,
        ProductState::Nowhere => return Err(ApiError::no_such_product().into()),
        ProductState::Unknown => return Err(ApiError::unavailable().into()),
    };
    let saler = saler_of(&selling, &worker, product).await?;
    selling.events.keep(&mut viewer, &first, &saler, now_ms()).map_err(|_| ApiError::overloaded())?;
    // The latest known units get the current time, because a page sets the clock by the first event.
    let first = match worker.server_ms() {
        Ok(now_ms) => first.at(now_ms),
        Err(_) => first,
    };
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CONTENT_TYPE, EVENT_STREAM));
    // Without this header, a proxy with buffers would hold the stream back.
    builder.insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(builder.finish());
    }
    let retry = format!("retry: {}\n", rand::random_range(RETRY_MS));
    let greeting = Bytes::from([retry.as_bytes(), &first.bytes].concat());
    Ok(builder.streaming(stream::once(async { Ok(greeting) }).chain(changes(viewer, place))))
}

/// The name of the saler of a product that exists.
async fn saler_of(selling: &Selling, worker: &Worker, product: CouponId) -> Result<String, ApiError> {
    if let Some(schedule) = selling.activities.of(product) {
        return Ok(schedule.saler.to_string());
    }
    let link = selling.shard_of(worker, product).await?.ok_or_else(ApiError::no_such_product)?;
    let facts = selling.directory.facts(&worker.known, &link, &[product]).await?;
    let facts = facts.into_iter().next().flatten().ok_or_else(ApiError::no_such_product)?;
    Ok(facts.saler.clone())
}

/// The events and comments after the first event. Ends when the service ends the viewer's stream. Holds the places of the
/// viewer and of the address until then.
fn changes(viewer: Viewer, place: Option<AddressPlace>) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    let comments = interval_at(Instant::now() + COMMENT_EVERY, COMMENT_EVERY);
    stream::unfold((viewer, place, comments), |(mut viewer, place, mut comments)| async {
        let next = tokio::select! {
            state = viewer.next() => state?,
            _ = comments.tick() => COMMENT,
        };
        Some((Ok(next), (viewer, place, comments)))
    })
}
