//! Request bodies. Size and time are bounded. JSON may have any `Content-Type`, and the case of keys is ignored.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::{HttpMessage, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::refuse::refuse;
use super::state::{BodyLimits, Edge};

/// Reads the body as a JSON object with the fields of `T`. Unknown fields are ignored.
///
/// # Errors
/// `not_json` for anything but a JSON object of these fields, and the errors of [`read`].
pub async fn json<T: DeserializeOwned>(
    payload: web::Payload,
    limits: BodyLimits,
    not_json: impl Fn() -> ApiError,
) -> Result<T, ApiError> {
    parse(&read(payload, limits).await?, not_json)
}

/// As [`json`]. An empty body gives the default.
///
/// # Errors
/// The errors of [`json`].
pub async fn json_or_default<T: DeserializeOwned + Default>(
    payload: web::Payload,
    limits: BodyLimits,
    not_json: impl Fn() -> ApiError,
) -> Result<T, ApiError> {
    let bytes = read(payload, limits).await?;
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { parse(&bytes, not_json) }
}

/// Reads `T` from a JSON object. The error names the first field whose value has a wrong type.
fn parse<T: DeserializeOwned>(bytes: &[u8], not_json: impl Fn() -> ApiError) -> Result<T, ApiError> {
    let object: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| not_json())?;
    // Keys become lower-case; of two equal keys the last one wins. A null counts as absent.
    let present = object.into_iter().filter(|(_, value)| !value.is_null());
    let object: Map<String, Value> = present.map(|(key, value)| (key.to_lowercase(), value)).collect();
    T::deserialize(&object).map_err(|_| match misfit::<T>(object) {
        Some(field) => not_json().with_field(field),
        None => not_json(),
    })
}

/// The first field that `T` cannot parse alone. No request type requires a field, so a missing field is no cause.
fn misfit<T: DeserializeOwned>(object: Map<String, Value>) -> Option<String> {
    object.into_iter().find_map(|(field, value)| {
        let alone = Map::from_iter([(field.clone(), value)]);
        T::deserialize(&alone).is_err().then_some(field)
    })
}

/// Checks the body of any request. actix has already refused a body whose end a proxy may see elsewhere (`Transfer-Encoding`
/// with `Content-Length`, or in HTTP/1.0). A body with a too large `Content-Length` is refused. A chunked body is read before
/// the handler runs. Otherwise actix would read an abandoned chunked body to its end, without a limit.
///
/// # Errors
/// The answer. The connection closes after the answer.
pub async fn check(request: &mut ServiceRequest) -> Result<(), HttpResponse> {
    let Some(limits) = request.app_data::<web::Data<Edge>>().map(|edge| edge.body) else { return Ok(()) };
    if announces_too_much(request, limits.bytes_max) {
        return Err(refusal(request, ApiError::too_large(limits.bytes_max)));
    }
    if request.chunked().unwrap_or(false) {
        // Boxed, to keep the future of all other requests small.
        return Box::pin(read_chunked(request, limits)).await;
    }
    Ok(())
}

async fn read_chunked(request: &mut ServiceRequest, limits: BodyLimits) -> Result<(), HttpResponse> {
    let mut payload = request.take_payload();
    match read(&mut payload, limits).await {
        Ok(bytes) => {
            request.set_payload(Payload::from(Bytes::from(bytes)));
            Ok(())
        }
        Err(error) => Err(refusal(request, error).map_body(|_, body| BoxBody::new(Closing { body, _rest: payload }))),
    }
}

/// Formats the error like the errors of the route. All answers of the login contain a `kind`.
pub fn refusal(request: &ServiceRequest, error: ApiError) -> HttpResponse {
    let is_login = request.path().trim_end_matches('/') == "/api/auth";
    if is_login { error.login_response() } else { refuse(request.path(), error) }
}

fn announces_too_much(request: &ServiceRequest, bytes_max: usize) -> bool {
    let Some(length) = request.headers().get(header::CONTENT_LENGTH) else { return false };
    let length = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length > bytes_max as u64)
}

/// Reads the whole body as bytes.
///
/// # Errors
/// 413 for a body over the limit, 400 for a body that arrives too slowly. After both the connection is closed.
pub async fn read<P>(mut payload: P, limits: BodyLimits) -> Result<Vec<u8>, ApiError>
where
    P: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| ApiError::bad_request("The body could not be read."))?;
            if bytes.len() + chunk.len() > limits.bytes_max {
                return Err(ApiError::too_large(limits.bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(limits.wait, reading).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
}

/// The body of an answer. The unread rest of the request's body makes actix close the connection after the answer.
struct Closing {
    body: BoxBody,
    _rest: Payload,
}

impl MessageBody for Closing {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
