//! The life of the program after the start: background tasks, both listeners, and the stop in order.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::assembly::Application;
use super::servers::{serve, serve_ops, until_open};
use super::shards::RunningShards;
use super::stopping::{Stop, drain};
use crate::http::Shared;
use crate::mysql::Db;
use crate::mysql::instances::{self, Process};
use crate::ops::SalerNames;

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
        // ledgers, and `all_over` when the claims are stored, too.
        let [closing, intake_over, all_over] = std::array::from_fn(|_| CancellationToken::new());
        let shared = self.shared.clone();
        let mut running = RunningShards::new(self.maker, &shared, intake_over.clone(), all_over.clone());
        self.new_shards.into_iter().for_each(|new| running.start(new));
        let mut tasks = background(&shared, &closing, &all_over);
        if let Some(mirroring) = self.mirroring {
            tasks.spawn(mirroring.run(all_over.clone()));
        }
        let ops = serve_ops(self.ops_listener, shared.clone(), all_over.clone()).map_err(RunError::Serve)?;
        let ops = tokio::spawn(ops);
        let (ownership, process) = (Arc::clone(&running.maker.ownership), running.maker.process.clone());
        let served = async {
            until_open(&shared.selling.shards, stop.asked()).await;
            if stop.asked().is_cancelled() {
                return Ok(());
            }
            if let Some(refusal) = ownership.refusal() {
                return Err(RunError::Foreign(refusal.to_owned()));
            }
            let address = self.listener.local_addr().map_err(RunError::Serve)?;
            let scheme = if self.http_tls.is_some() { "https" } else { "http" };
            log::info!("serving users on {scheme}://{address}");
            let drained = stop.clone().drained(shared.clone(), process.id.clone(), self.drain, closing.clone());
            let server = serve(self.listener, self.http_tls, shared.clone(), self.server, drained, all_over.clone());
            server.map_err(RunError::Serve)?.await.map_err(RunError::Serve)
        };
        let mut served = pin!(served);
        let mut added = running.look_for_added();
        let result = loop {
            tokio::select! {
                result = &mut served => break result,
                Some(ended) = tasks.join_next() => break Err(ended.err().map_or_else(unexpected_end, RunError::Task)),
                // Without its persister no claim of a shard is stored. Answered claims are safe in the outbox.
                ended = running.ended() => return Err(ended.map_or_else(unexpected_end, RunError::Task)),
                Some(id) = added.recv() => running.start_added(id),
            }
        };
        log::info!("stopping: storing the claims of the ledger");
        closing.cancel();
        intake_over.cancel();
        try_join_all(running.persisters.drain(..).map(drain)).await.map_err(RunError::Task)?;

        running.close();
        leave(&shared.dbs.control, &process).await;
        all_over.cancel();
        for mut tasks in [std::mem::take(&mut running.tasks), tasks] {
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(RunError::Task)?;
            }
        }
        let _ = ops.await;
        running.forget_beats().await;
        log::info!("stopped");
        result
    }
}

/// Starts the tasks that exist once, whatever the number of shards.
fn background(shared: &Shared, closing: &CancellationToken, over: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    // The viewers' streams end before the open requests are waited for.
    tasks.spawn(Arc::clone(&shared.selling.events).watch(closing.clone(), over.clone()));
    tasks.spawn(Arc::clone(&shared.selling.activities).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.operating.health).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.operating.rows).watch(over.clone()));
    tasks.spawn(Arc::clone(shared.offering.publishing.open_offers()).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.operating.trail).watch(over.clone()));
    tasks.spawn(shared.operating.withholding.clone().watch(over.clone()));
    tasks.spawn(SalerNames::new(shared.dbs.control.clone()).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.accounts.revocations).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.accounts.keys).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.accounts.admins).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.accounts.networks).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.edge.admission.settings).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.edge.admission.blacklist).watch(over.clone()));
    tasks.spawn(Arc::clone(&shared.edge.admission.share).watch(over.clone()));
    tasks
}

async fn leave(db: &Db, process: &Process) {
    if let Err(error) = instances::leave(db, process).await {
        log::warn!("stopping: the row of this instance could not be removed from MySQL: {error}");
    }
}

fn unexpected_end() -> RunError {
    RunError::Serve(io::Error::other("a background task ended unexpectedly"))
}
