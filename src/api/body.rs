//! Request bodies: bounded in size and time, JSON whatever the `Content-Type` says, keys matched without regard to case.

use std::time::Duration;

use actix_web::web;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;

/// What a request body may cost.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub bytes_max: usize,
    pub wait: Duration,
}

/// Reads the body as a JSON object with the fields of `T`; unknown ones are ignored.
///
/// # Errors
/// `not_json` where it is anything else, 413 where it is too long, 400 where it drips; after these two the connection is
/// closed.
pub async fn json<T: DeserializeOwned>(
    payload: web::Payload,
    limits: BodyLimits,
    not_json: impl Fn() -> ApiError,
) -> Result<T, ApiError> {
    let bytes = match tokio::time::timeout(limits.wait, read(payload, limits.bytes_max)).await {
        Ok(bytes) => bytes?,
        Err(_) => return Err(ApiError::too_slow()),
    };
    let object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| not_json())?;
    // Lower-case keys, the last of two that fold to one winning; null is as good as absent.
    let object = object
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect::<Map<_, _>>();
    serde_json::from_value(Value::Object(object)).map_err(|_| not_json())
}

async fn read(mut payload: web::Payload, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("The body could not be read."))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(ApiError::too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
