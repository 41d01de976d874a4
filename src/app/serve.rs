//! The life of the program after the start: background tasks, both listeners, and the stop in order.

use std::io;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::assembly::Application;
use super::servers::{serve, serve_ops, until_open};
use super::stopping::{Stop, drain};
use crate::claim::ClosedReason;
use crate::config;
use crate::mysql::Db;
use crate::mysql::instances::{self, Process};
use crate::redis::{Keys, Pool, beats};

/// The reason for an end without a stop signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the HTTP server failed")]
    Serve(#[source] io::Error),
    #[error("a background task failed")]
    Task(#[source] JoinError),
    #[error("{0}")]
    Foreign(String),
}

impl Application {
    /// Serves until `stop` is signalled, then stops in order.
    ///
    /// # Errors
    /// Returns a [`RunError`] if the program ended without a stop signal.
    pub async fn run_until_stopped(self, stop: Stop) -> Result<(), RunError> {
        // `closing` is cancelled when the users' listener closes, `intake_over` when no more claims can reach the
        // ledger, and `all_over` when the claims are stored, too.
        let [closing, intake_over, all_over] = std::array::from_fn(|_| CancellationToken::new());
        let abandon = self.persister.abandon().clone();
        let mut persister = tokio::spawn(self.persister.run(self.channel, intake_over.clone()));

        let mut tasks = JoinSet::new();
        let (link, over) = (Arc::clone(&self.link), all_over.clone());
        tasks.spawn(async move { link.keep(over).await });
        tasks.spawn(self.recovery.run(all_over.clone()));
        if let Some(mirroring) = self.mirroring {
            tasks.spawn(mirroring.run(all_over.clone()));
        }
        tasks.spawn(self.shared.offering.publishing.clone().repair(all_over.clone()));
        tasks.spawn(self.archiving.run(all_over.clone()));
        let refusals = Arc::clone(&self.shared.selling.claiming.refusals);
        tasks.spawn(refusals.watch(self.pool.clone(), all_over.clone()));
        // The viewers' streams end before the open requests are waited for.
        let events = Arc::clone(&self.shared.selling.events);
        tasks.spawn(events.watch(self.pool.clone(), closing.clone(), all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.selling.claiming.activities).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.operating.health).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.operating.rows).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.accounts.revocations).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.edge.admission.settings).watch(all_over.clone()));
        tasks.spawn(Arc::clone(&self.shared.edge.admission.blacklist).watch(all_over.clone()));

        let ops = serve_ops(self.ops_listener, self.shared.clone(), all_over.clone()).map_err(RunError::Serve)?;
        let ops = tokio::spawn(ops);
        let gate = Arc::clone(&self.shared.selling.claiming.gate);
        let served = async {
            until_open(&gate, stop.asked()).await;
            if stop.asked().is_cancelled() {
                return Ok(());
            }
            if let Some(refusal) = self.ownership.refusal() {
                return Err(RunError::Foreign(refusal.to_owned()));
            }
            let address = self.listener.local_addr().map_err(RunError::Serve)?;
            log::info!("serving users on http://{address}");
            let health = Arc::clone(&self.shared.operating.health);
            let drained = stop.clone().drained(health, self.drain, closing.clone());
            let (shared, over) = (self.shared.clone(), all_over.clone());
            let server = serve(self.listener, shared, self.redis, self.workers, drained, over);
            server.map_err(RunError::Serve)?.await.map_err(RunError::Serve)
        };
        let result = tokio::select! {
            result = served => result,
            Some(ended) = tasks.join_next() => Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
            // Without the persister no claim is stored. Answered claims are safe in the outbox.
            ended = &mut persister => return Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
        };
        log::info!("stopping: storing the claims of the ledger");
        closing.cancel();
        intake_over.cancel();
        drain(persister, &abandon, &self.shared.selling.claiming, &self.pool).await.map_err(RunError::Task)?;

        gate.close(ClosedReason::Stopping);
        leave(&self.shared.dbs.control, &self.process).await;
        all_over.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(RunError::Task)?;
        }
        let _ = ops.await;
        forget_beat(&self.pool, self.shared.selling.claiming.stock.keys(), &self.process).await;
        log::info!("stopped");
        result
    }
}

async fn leave(db: &Db, process: &Process) {
    if let Err(error) = instances::leave(db, process).await {
        log::warn!("stopping: the row of this instance could not be removed from MySQL: {error}");
    }
}

/// Deletes the beat in Redis. Another process would watch it for three seconds. Without it, a restart opens at once.
async fn forget_beat(pool: &Pool, keys: &Keys, process: &Process) {
    if let Ok(calls) = pool.get().await {
        let _ = beats::forget(&calls, keys, &process.id, config::KV_WAIT).await;
    }
}

fn unexpected_end() -> RunError {
    RunError::Serve(io::Error::other("a background task ended unexpectedly"))
}
