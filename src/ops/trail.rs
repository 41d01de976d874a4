//! The audit trail: who did what, when, and from where. Kept in MySQL for some months, and written to the log.
//!
//! A request never waits for the trail. Entries go through bounded queues to one task. Changes have a separate queue, so a flood
//! of refused requests hides no change. Equal logins or refusals of a minute have two entries: the first, and the last with
//! the number in between. A full queue counts lost entries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every, now_ms};
use crate::domain::TrailEntry;
use crate::mysql::{Db, trail};

/// Entries that wait for MySQL, in each of the two queues. About 300 bytes each.
pub const TRAIL_QUEUE_MAX: usize = 10_000;
/// Maximum different logins and refusals in a minute. Further entries are lost.
const DIFFERENT_MAX: usize = 1_000;
/// Entries of a statement.
const BATCH_MAX: usize = 500;
/// Interval of writes, and of retries while MySQL is away.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Interval in which old entries are deleted, and how many at once.
const SHORTEN_EVERY: Duration = Duration::from_secs(600);
const SHORTEN_MAX: u32 = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const MINUTE_MS: u64 = 60_000;
/// The target of the log lines.
const TARGET: &str = "audit";

pub struct Trail {
    db: Db,
    days: u32,
    changes: Sender<TrailEntry>,
    others: Sender<TrailEntry>,
    /// The receiving sides, until the writing task begins.
    queues: Mutex<Option<[Receiver<TrailEntry>; 2]>>,
    minute: Mutex<Minute>,
    dropped: AtomicU64,
    outage: Outage,
}

/// The different logins and refusals of a minute.
#[derive(Default)]
struct Minute {
    /// Minutes since 1970.
    number: u64,
    /// The last entry of each kind, with the number of equal requests without an entry.
    seen: Vec<TrailEntry>,
}

impl Trail {
    /// Entries are kept for `days`.
    pub fn new(db: Db, days: u32) -> Self {
        let ((changes, change_queue), (others, other_queue)) = (channel(TRAIL_QUEUE_MAX), channel(TRAIL_QUEUE_MAX));
        let queues = Mutex::new(Some([change_queue, other_queue]));
        let (minute, dropped) = (Mutex::default(), AtomicU64::new(0));
        Self { db, days, changes, others, queues, minute, dropped, outage: Outage::new("audit trail: writing") }
    }

    /// Keeps a change.
    pub fn note_change(&self, entry: TrailEntry) {
        self.send(&self.changes, entry);
    }

    /// Keeps a login or a refusal. An equal request of the same minute is only counted.
    pub fn note_other(&self, entry: TrailEntry) {
        let mut minute = self.minute();
        let over = minute.turn_to(entry.at_ms / MINUTE_MS);
        match minute.seen.iter().position(|seen| seen.is_like(&entry)) {
            Some(place) => {
                let repeated = minute.seen[place].repeated + 1;
                minute.seen[place] = TrailEntry { repeated, ..entry };
            }
            None if minute.seen.len() >= DIFFERENT_MAX => self.drop_one(),
            None => {
                minute.seen.push(entry.clone());
                self.send(&self.others, entry);
            }
        }
        drop(minute);
        over.into_iter().for_each(|entry| self.send(&self.others, entry));
    }

    fn send(&self, queue: &Sender<TrailEntry>, entry: TrailEntry) {
        log::info!(target: TARGET, "{}", line(&entry));
        if queue.try_send(entry).is_err() {
            self.drop_one();
        }
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lost entries so far, and waiting entries in both queues.
    pub fn figures(&self) -> (u64, usize) {
        let waiting = |queue: &Sender<TrailEntry>| queue.max_capacity() - queue.capacity();
        (self.dropped.load(Ordering::Relaxed), waiting(&self.changes) + waiting(&self.others))
    }

    /// Writes entries until `stop`, and the waiting entries afterwards. A second call returns at once.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let taken = self.queues.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some([mut changes, mut others]) = taken else { return };
        let shorten = every(SHORTEN_EVERY, &stop, || async { self.shorten().await });
        let write = async {
            let (mut batches, mut is_last) = ([Vec::new(), Vec::new()], false);
            loop {
                let over = self.minute().turn_to(now_ms() / MINUTE_MS);
                over.into_iter().for_each(|entry| self.send(&self.others, entry));
                for (queue, batch) in [&mut changes, &mut others].into_iter().zip(&mut batches) {
                    self.write_all(queue, batch).await;
                }
                if is_last {
                    return;
                }
                is_last = stop.run_until_cancelled(tokio::time::sleep(WRITE_EVERY)).await.is_none();
            }
        };
        tokio::join!(shorten, write);
    }

    /// Writes the waiting entries of a queue. Entries refused by MySQL stay in `batch`.
    async fn write_all(&self, queue: &mut Receiver<TrailEntry>, batch: &mut Vec<TrailEntry>) {
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(entry) = queue.try_recv()
            {
                batch.push(entry);
            }
            if batch.is_empty() {
                return;
            }
            let written = trail::insert(&self.db, batch).await;
            let is_written = written.is_ok();
            self.outage.note(written);
            if !is_written {
                return;
            }
            batch.clear();
        }
    }

    /// Deletes old entries. All instances may delete at the same time.
    async fn shorten(&self) {
        let before = now_ms().saturating_sub(u64::from(self.days) * DAY_MS);
        while let Ok(deleted) = trail::delete_before(&self.db, before, SHORTEN_MAX).await {
            if deleted < usize::try_from(SHORTEN_MAX).unwrap_or(usize::MAX) {
                return;
            }
        }
    }
}

impl Minute {
    /// Begins another minute. Returns the repeated entries of the previous minute.
    fn turn_to(&mut self, number: u64) -> Vec<TrailEntry> {
        if number == self.number {
            return Vec::new();
        }
        self.number = number;
        std::mem::take(&mut self.seen).into_iter().filter(|seen| seen.repeated > 0).collect()
    }
}

/// An entry as a line of the log.
fn line(entry: &TrailEntry) -> String {
    let TrailEntry { at_ms, actor, kind, event, object, address, request_id, status, repeated } = entry;
    json!({
        "at_ms": at_ms, "user": actor, "kind": kind, "event": event, "object": object, "address": address.to_string(),
        "request_id": request_id, "status": status, "repeated": repeated,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::DbLimits;

    fn trail() -> Trail {
        let wait = Duration::from_secs(1);
        let limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        Trail::new(Db::new("mysql://nobody@127.0.0.1:1/none", None, limits).expect("it connects to nothing yet"), 90)
    }

    fn entry(actor: &str, at_ms: u64) -> TrailEntry {
        let address = "192.0.2.1".parse().expect("an address");
        let [event, object, request_id] = ["logIn", "/api/auth", "r"].map(str::to_owned);
        let actor = actor.to_owned();
        TrailEntry { at_ms, actor, kind: "", event, object, address, request_id, status: 401, repeated: 0 }
    }

    fn sent(trail: &Trail) -> Vec<(String, u32)> {
        let mut queues = trail.queues.lock().expect("nobody panicked");
        let [_, others] = queues.as_mut().expect("no task has taken them");
        std::iter::from_fn(|| others.try_recv().ok()).map(|entry| (entry.actor, entry.repeated)).collect()
    }

    #[test]
    fn of_equal_events_of_a_minute_the_first_and_the_number_of_the_others_are_kept() {
        let trail = trail();
        for at_ms in [60_000, 70_000, 80_000] {
            trail.note_other(entry("ann", at_ms));
        }
        trail.note_other(entry("bob", 90_000));
        assert_eq!(sent(&trail), [("ann".to_owned(), 0), ("bob".to_owned(), 0)]);
        trail.note_other(entry("ann", 120_000));
        assert_eq!(sent(&trail), [("ann".to_owned(), 0), ("ann".to_owned(), 2)]);
    }

    #[test]
    fn a_flood_of_refusals_loses_refusals_and_no_change() {
        let trail = trail();
        for n in 0..DIFFERENT_MAX + 5 {
            trail.note_other(entry(&format!("user-{n}"), 1));
        }
        assert_eq!(trail.figures(), (5, DIFFERENT_MAX));
        trail.note_change(entry("shop", 1));
        assert_eq!(trail.figures(), (5, DIFFERENT_MAX + 1));
        for _ in 0..TRAIL_QUEUE_MAX {
            trail.note_change(entry("shop", 1));
        }
        assert_eq!(trail.figures(), (6, DIFFERENT_MAX + TRAIL_QUEUE_MAX));
    }
}
