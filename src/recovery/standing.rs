//! What is known of the majority's answers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Epoch;
use crate::mysql::shards::ShardRow;
use crate::redis::{Connection, Named};

/// How long an answer of the majority is good for opening the gate. The majority is asked every second.
const ANSWER_AGE: Duration = Duration::from_secs(3);

/// What the majority says about the server of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The majority names the server, or there is a single address.
    Named,
    /// The majority names the server, and the slot of the shard leaves it.
    Moving,
    /// The majority names another server.
    Other,
    /// No majority has answered for [`ANSWER_AGE`].
    Unknown,
}

/// The last answer of the majority, and whether the slot of the shard was seen to move.
#[derive(Debug, Default)]
pub(super) struct MajoritySeen {
    last: Mutex<Option<(Instant, Named)>>,
    /// Set when the slot moves, until a round has noted the epoch.
    is_moving: AtomicBool,
    /// The last epoch in which the slot was seen to move, 0 for none.
    moved_in: AtomicU32,
}

impl MajoritySeen {
    /// Notes an answer to a question that was sent at `sent`.
    pub(super) fn note(&self, named: Named, sent: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((sent, named));
    }

    /// What the last answer says about the server of `connection`.
    pub(super) fn standing(&self, connection: &Connection) -> Standing {
        match &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((sent, named)) if sent.elapsed() < ANSWER_AGE => standing(named, connection.named()),
            _ => Standing::Unknown,
        }
    }

    /// Notes that the slot moves.
    pub(super) fn note_move(&self) {
        self.is_moving.store(true, Ordering::SeqCst);
    }

    /// Notes the epoch in which the slot was seen to move. Keys may have stayed behind, so the data of this epoch is
    /// not trusted any more.
    pub(super) fn note_epoch(&self, row: &ShardRow) {
        if self.is_moving.swap(false, Ordering::SeqCst) {
            self.moved_in.fetch_max(row.epoch.0.max(1), Ordering::SeqCst);
        }
    }

    /// Whether the slot moved in `epoch` or a later one.
    pub(super) fn has_moved(&self, epoch: Epoch) -> bool {
        self.moved_in.load(Ordering::SeqCst) >= epoch.0.max(1)
    }
}

/// What `named` says about a connection that was made to the server `made_to`.
fn standing(named: &Named, made_to: Option<&Named>) -> Standing {
    if made_to.is_none_or(|made_to| made_to.server != named.server) {
        Standing::Other
    } else if named.is_moving {
        Standing::Moving
    } else {
        Standing::Named
    }
}
