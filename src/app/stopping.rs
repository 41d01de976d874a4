//! At the end of a stop, waits until the ledger has stored its claims.

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::claim::Claiming;
use crate::config;
use crate::redis::{Pool, live_key};

/// Waits for the ledger. Claims that are also in the outbox may be left there when the deadline has passed. If Redis
/// has lost the outbox, the wait continues until MySQL has stored every claim.
pub(super) async fn drain(
    persister: JoinHandle<usize>,
    abandon: &CancellationToken,
    claiming: &Claiming,
    pool: &Pool,
) -> Result<(), JoinError> {
    tokio::pin!(persister);
    loop {
        tokio::select! {
            left = &mut persister => {
                match left? {
                    0 => log::info!("stopping: all claims are stored"),
                    left => log::warn!("stopping: {left} claims are left in the outbox, the next sweep or start stores them"),
                }
                return Ok(());
            }
            () = tokio::time::sleep(config::STOP_LEDGER_WAIT) => {
                if outbox_holds_them(claiming, pool).await {
                    abandon.cancel();
                } else {
                    log::warn!(
                        "stopping: Redis has lost the outbox, waiting for MySQL to store {} claims",
                        claiming.ledger.unsettled()
                    );
                }
            }
        }
    }
}

/// Whether Redis still holds the loading of the remaining claims. An unreachable Redis counts as a loss.
async fn outbox_holds_them(claiming: &Claiming, pool: &Pool) -> bool {
    let Ok(live) = claiming.gate.live() else { return false };
    let Ok(calls) = pool.get().await else { return false };
    let value = live_key::read(&calls, claiming.stock.keys(), config::KV_WAIT).await;
    value.is_ok_and(|value| value.as_deref() == Some(live.as_str()))
}
