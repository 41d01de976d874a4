//! What is left at a stop: the claims that the ledger still has in its hands.

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::api::Shared;
use crate::config;

/// Waits for the ledger: up to its deadline where the outbox holds what is left, otherwise as long as it takes.
pub(super) async fn drain(
    persister: JoinHandle<usize>,
    abandon: &CancellationToken,
    shared: &Shared,
) -> Result<(), JoinError> {
    tokio::pin!(persister);
    loop {
        tokio::select! {
            left = &mut persister => {
                match left? {
                    0 => log::info!("stopping: the ledger has stored everything"),
                    left => log::warn!("stopping: {left} claims are left in the outbox; the next sweep or start stores them"),
                }
                return Ok(());
            }
            () = tokio::time::sleep(config::STOP_LEDGER_WAIT) => {
                if outbox_holds_them(shared).await {
                    abandon.cancel();
                } else {
                    log::warn!(
                        "stopping: Redis no longer holds the claims that are left; waiting for MySQL to take {} of them",
                        shared.claiming.ledger.unsettled()
                    );
                }
            }
        }
    }
}

/// Whether Redis is still the loading that the claims which are left were made in.
async fn outbox_holds_them(shared: &Shared) -> bool {
    let Ok(live) = shared.claiming.gate.live() else { return false };
    let Ok(calls) = shared.pool.get().await else { return false };
    let key = shared.claiming.stock.keys().live();
    let value = calls.call(redis::cmd("GET").arg(key), config::KV_WAIT).await;
    let value: Option<String> = value.ok().and_then(|value| redis::from_redis_value(value).ok()).flatten();
    value.as_deref() == Some(live.as_str())
}
