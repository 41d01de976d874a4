//! Batches of claim attempts: attempts of one moment share a call of the claim script.
//!
//! A call costs Redis as much as the attempts in the call, so batching saves half of the work under load. A batch
//! writes equal questions once, because every argument costs Redis a part of a microsecond.
//!
//! Handlers write to the channel. The connection's batcher reads from the channel, on the same thread. Attempts left in
//! the channel at the connection's end were not sent. Attempts of a batch without a reply may have been made.

mod arguments;

use futures_util::FutureExt;
use redis::{RedisError, Value};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Calls, KvError};

pub(super) use arguments::WaitingAttempt;
pub use arguments::{ActivityArguments, ClaimArguments, ClaimQuestion};

/// Attempts in one call. Redis serves no other client during a call.
pub const BATCH_ATTEMPTS_MAX: usize = 32;
/// Batches of one connection that may wait for a reply.
pub(super) const BATCHES_IN_FLIGHT_MAX: usize = 64;
/// Attempts of one connection that may wait for a batch: the length of the channel.
pub(super) const ATTEMPTS_WAITING_MAX: usize = 4_096;

/// Sends attempts from the channel in batches until the connection ends or every sender is dropped.
pub(super) async fn run_batcher(calls: Calls, mut attempts: mpsc::Receiver<WaitingAttempt>, ended: CancellationToken) {
    // A panic ends the connection, too.
    let _ends = ended.clone().drop_guard();
    let mut taken = Vec::with_capacity(BATCH_ATTEMPTS_MAX);
    let mut batches = JoinSet::new();
    ended.run_until_cancelled(send_batches(&calls, &mut attempts, &mut taken, &mut batches)).await;
    attempts.close();
    while let Ok(attempt) = attempts.try_recv() {
        taken.push(attempt);
    }
    for WaitingAttempt { answer, .. } in taken {
        // The caller may have given up.
        let _ = answer.send(Err(KvError::NotConnected));
    }
    while let Some(batch) = batches.join_next().await {
        finish(batch);
    }
}

async fn send_batches(
    calls: &Calls,
    attempts: &mut mpsc::Receiver<WaitingAttempt>,
    taken: &mut Vec<WaitingAttempt>,
    batches: &mut JoinSet<()>,
) {
    loop {
        while batches.len() >= BATCHES_IN_FLIGHT_MAX
            && let Some(batch) = batches.join_next().await
        {
            finish(batch);
        }
        while let Some(batch) = batches.try_join_next() {
            finish(batch);
        }
        if taken.is_empty() {
            if attempts.recv_many(taken, BATCH_ATTEMPTS_MAX).await == 0 {
                return;
            }
            // Ready handlers run first, so their attempts join the batch.
            if taken.len() < BATCH_ATTEMPTS_MAX {
                tokio::task::yield_now().await;
            }
        }
        let room = BATCH_ATTEMPTS_MAX - taken.len();
        if room > 0 {
            let _ = attempts.recv_many(taken, room).now_or_never();
        }
        // Batches may have finished because the connection ended. Attempts taken since then are not sent.
        if calls.have_ended() {
            return;
        }
        // Drops attempts whose callers gave up before sending.
        taken.retain(|attempt| !attempt.answer.is_closed());
        let Some(first) = taken.first() else { continue };
        // Around a recovery, attempts may belong to two loadings of the shard.
        let same = taken.iter().take_while(|attempt| attempt.arguments.live == first.arguments.live).count();
        let batch: Vec<WaitingAttempt> = taken.drain(..same).collect();
        batches.spawn(send_batch(calls.clone(), batch));
    }
}

/// Passes the panic of a batch on to the batcher.
fn finish(batch: Result<(), JoinError>) {
    if let Err(error) = batch
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

async fn send_batch(calls: Calls, batch: Vec<WaitingAttempt>) {
    let cmd = arguments::claim_call(&batch);
    let replies: Vec<Result<String, KvError>> = match calls.send_script(&cmd).await {
        Ok(Value::Array(replies)) if replies.len() == batch.len() => replies.into_iter().map(read_reply).collect(),
        Ok(_) => vec![Err(KvError::Unreadable); batch.len()],
        Err(error) => vec![Err(error); batch.len()],
    };
    for (WaitingAttempt { answer, .. }, reply) in batch.into_iter().zip(replies) {
        // The caller may have given up.
        let _ = answer.send(reply);
    }
}

/// Reads the reply to one attempt. An error in the array concerns only that attempt, which has changed nothing: the
/// script reports errors of decisions and of its first write by attempt, and fails as a whole after that write.
fn read_reply(reply: Value) -> Result<String, KvError> {
    match reply {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| KvError::Unreadable),
        Value::ServerError(error) => Err(KvError::Refused(RedisError::from(error))),
        _ => Err(KvError::Unreadable),
    }
}

#[cfg(test)]
mod tests;
