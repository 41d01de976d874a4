//! `/sec/events` streams live units as Server-Sent Events, for everybody.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, interval_at};

use super::envelope::SecError;
use super::parameters::Parameters;
use crate::domain::CouponId;
use crate::http::error::{ApiError, Code};
use crate::http::state::Worker;
use crate::sales::{ProductState, Viewer};

/// Period of comments. A comment keeps proxies and browsers connected, and reveals a closed connection to this service.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": still here\n\n");
/// Milliseconds until a browser reconnects after the end of a stream. Random, so that browsers do not return all at
/// once.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// `GET /sec/events?product_id=`
pub async fn show_events(request: HttpRequest, worker: web::Data<Worker>) -> Result<HttpResponse, SecError> {
    let Worker { shared, link, .. } = &**worker;
    shared.admission.part(|switches| switches.events).map_err(ApiError::from)?;
    let query = Parameters::of_query(request.query_string())?;
    let product = CouponId(query.required("product_id")?.number(1..=u64::MAX)?);
    let mut viewer = shared.events.enter(product).map_err(|_| ApiError::overloaded())?;
    let first = match viewer.first(shared.kv_wait).await {
        ProductState::Shown(shown) => shown,
        ProductState::Nowhere => return Err(ApiError::new(Code::NotFound, "No such product.").into()),
        ProductState::Unknown => return Err(ApiError::unavailable().into()),
    };
    // The latest known units get the current time, because a page sets the clock by the first event.
    let first = match shared.reading(link) {
        Ok((connection, _)) => first.at(connection.server_ms()),
        Err(_) => first,
    };
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CONTENT_TYPE, "text/event-stream"));
    // A buffering proxy would otherwise hold the stream back for ever.
    builder.insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(builder.finish());
    }
    let retry = format!("retry: {}\n", rand::random_range(RETRY_MS));
    let greeting = Bytes::from([retry.as_bytes(), &first.bytes].concat());
    Ok(builder.streaming(stream::once(async { Ok(greeting) }).chain(changes(viewer))))
}

/// The events and comments after the first event. Ends when the service ends the viewer's stream.
fn changes(viewer: Viewer) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    let comments = interval_at(Instant::now() + COMMENT_EVERY, COMMENT_EVERY);
    stream::unfold((viewer, comments), |(mut viewer, mut comments)| async {
        let next = tokio::select! {
            state = viewer.next() => state?,
            _ = comments.tick() => COMMENT,
        };
        Some((Ok(next), (viewer, comments)))
    })
}
