//! Nonces of signed requests. Storing a nonce once over all instances makes a repeated request visible.

use std::time::Duration;

use redis::Value;

use super::{Calls, Keys, KvError};
use crate::domain::UserId;

/// Stores the nonce of a signed request for `ttl_seconds`. Returns `false` if the nonce is stored already. `digest` is
/// a hash of the nonce.
///
/// # Errors
/// [`KvError`]. The nonce may have been stored unless [`KvError::nothing_happened`].
pub async fn take(
    calls: &Calls,
    keys: &Keys,
    user: UserId,
    digest: u128,
    ttl_seconds: u64,
    wait: Duration,
) -> Result<bool, KvError> {
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys.nonce(user, digest)).arg("").arg("NX").arg("EX").arg(ttl_seconds);
    Ok(calls.call(&cmd, wait).await? == Value::Okay)
}
