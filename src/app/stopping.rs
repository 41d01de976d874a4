//! The stop signal, and two waits of a stop: for load balancers to look elsewhere, and for the ledger to store its claims.

use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::shards::RunningPersister;
use crate::claim::Shard;
use crate::config;
use crate::http::Shared;
use crate::mysql::instances;
use crate::redis::live_key;

/// The stop of a running program, signalled once or twice. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: CancellationToken,
    hurried: CancellationToken,
}

impl Stop {
    /// Asks the program to stop. A second call ends the drain time.
    pub fn signal(&self) {
        if self.asked.is_cancelled() {
            self.hurried.cancel();
        } else {
            self.asked.cancel();
        }
    }

    /// Cancelled by the first signal.
    pub(super) fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    /// Completes when the users' listener shall close. From the first signal on, `/readyz` fails. The listener stays
    /// open for the time `drain`, because a load balancer needs a moment to notice. A second signal ends the wait.
    pub(super) async fn drained(self, shared: Shared, process: String, drain: Duration, closing: CancellationToken) {
        self.asked.cancelled().await;
        shared.operating.health.drain();
        if !drain.is_zero() {
            log::info!("stopping: /readyz fails, users are served for another {} s", drain.as_secs());
            // The others admit a larger part of the limits meanwhile.
            let told = tokio::time::timeout(drain, instances::drain(&shared.dbs.control, &process));
            let waits = async { tokio::join!(told, tokio::time::sleep(drain)) };
            if let Some((Ok(Err(error)), ())) = self.hurried.run_until_cancelled(waits).await {
                log::debug!("stopping: the others do not know that this instance stops: {error}");
            }
        }
        closing.cancel();
    }
}

/// Waits for the ledger of a shard. Claims that are also in the outbox may be left there when the deadline has passed. If Redis
/// has lost the outbox, the wait continues until MySQL has stored every claim.
pub(super) async fn drain(RunningPersister { shard, task, abandon }: RunningPersister) -> Result<(), JoinError> {
    tokio::pin!(task);
    loop {
        tokio::select! {
            left = &mut task => {
                match left? {
                    0 => log::info!("stopping: all claims of shard {} are stored", shard.id),
                    left => log::warn!("stopping: {left} claims are left in the outbox, the next sweep or start stores them"),
                }
                return Ok(());
            }
            () = tokio::time::sleep(config::STOP_LEDGER_WAIT) => {
                if outbox_holds_them(&shard).await {
                    abandon.cancel();
                } else {
                    log::warn!(
                        "stopping: Redis has lost the outbox, waiting for MySQL to store {} claims",
                        shard.claiming.ledger.unsettled()
                    );
                }
            }
        }
    }
}

/// Whether Redis still holds the loading of the remaining claims. An unreachable Redis counts as a loss.
async fn outbox_holds_them(shard: &Shard) -> bool {
    let Ok(live) = shard.claiming.gate.live() else { return false };
    let Ok(calls) = shard.pool.get().await else { return false };
    let value = live_key::read(&calls, shard.claiming.stock.keys(), config::KV_WAIT).await;
    value.is_ok_and(|value| value.as_deref() == Some(live.as_str()))
}
