//! Merges simultaneous reads of the same list.
//!
//! During a rush, many callers request a saler's page at once. A call during a read waits for the next read, and all
//! waiting callers share the result. No caller gets data older than the call. Every worker merges only its own reads,
//! so no data passes between threads.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::error::ApiError;
use crate::domain::{Page, UserId};

type ListKey = (UserId, Page);

/// Reads in progress on a worker, with their waiting callers. Bounded by the number of requests.
#[derive(Default)]
pub struct SharedReads {
    /// Numbers calls and reads, to order them in time.
    clock: Cell<u64>,
    lines: RefCell<HashMap<ListKey, Rc<Line>>>,
}

/// Callers of the same list. The holder of the lock reads.
type Line = Mutex<Option<Reading>>;

struct Reading {
    begun: u64,
    /// `None` if the read failed.
    body: Option<Bytes>,
}

/// A caller's place in a line. Dropping the last place removes the line.
struct ReadPlace<'a> {
    reads: &'a SharedReads,
    key: ListKey,
    line: Rc<Line>,
}

impl SharedReads {
    /// Returns the list from `read`, or from a shared read that begins after this call. The wait is at most the read in
    /// progress and the next read.
    ///
    /// # Errors
    /// The error of `read`. A caller that shares a failed read gets `unavailable`.
    pub async fn get(
        &self,
        key: ListKey,
        read: impl Future<Output = Result<Bytes, ApiError>>,
    ) -> Result<Bytes, ApiError> {
        let asked = self.tick();
        let place = self.join(key);
        let mut line = place.line.lock().await;
        if let Some(reading) = line.as_ref().filter(|reading| reading.begun > asked) {
            return reading.body.clone().ok_or_else(ApiError::unavailable);
        }
        let begun = self.tick();
        let result = read.await;
        *line = Some(Reading { begun, body: result.as_ref().ok().cloned() });
        result
    }

    fn join(&self, key: ListKey) -> ReadPlace<'_> {
        let line = Rc::clone(self.lines.borrow_mut().entry(key).or_default());
        ReadPlace { reads: self, key, line }
    }

    fn tick(&self) -> u64 {
        self.clock.update(|now| now + 1);
        self.clock.get()
    }
}

impl Drop for ReadPlace<'_> {
    fn drop(&mut self) {
        // The map holds the second reference.
        if Rc::strong_count(&self.line) == 2 {
            self.reads.lines.borrow_mut().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;

    fn key() -> ListKey {
        (UserId(1), Page::Numbered(1))
    }

    /// Returns the value at the begin of the read, some polls later.
    async fn read(reads: &Cell<u32>, there: &Cell<u8>) -> Result<Bytes, ApiError> {
        reads.set(reads.get() + 1);
        let seen = there.get();
        yield_now().await;
        yield_now().await;
        Ok(Bytes::from(vec![seen]))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_asks_during_a_reading_shares_the_next_and_sees_what_was_there_when_he_asked() {
        let (shared, reads, there) = (SharedReads::default(), Cell::new(0), Cell::new(1));
        let late = async {
            yield_now().await;
            there.set(2);
            let ask = || shared.get(key(), read(&reads, &there));
            futures_util::future::join_all((0..50).map(|_| ask())).await
        };
        let (first, late) = tokio::join!(shared.get(key(), read(&reads, &there)), late);
        assert_eq!(first.expect("it is read")[..], [1]);
        for body in late {
            assert_eq!(body.expect("it is read")[..], [2]);
        }
        assert_eq!(reads.get(), 2);
        assert!(shared.lines.borrow().is_empty(), "nothing is kept");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failure_is_told_to_all_who_share_it_and_who_gives_up_holds_up_nobody() {
        let shared = SharedReads::default();
        let failing = Cell::new(0);
        let fail = || {
            shared.get(key(), async {
                failing.set(failing.get() + 1);
                yield_now().await;
                Err(ApiError::unavailable())
            })
        };
        let results = futures_util::future::join_all((0..20).map(|_| fail())).await;
        assert!(results.iter().all(Result::is_err));
        // The first caller reads alone. A second read serves the rest.
        assert_eq!(failing.get(), 2);
        let gives_up = tokio::time::timeout(Duration::from_millis(20), shared.get(key(), pending()));
        let next = shared.get(key(), async { Ok(Bytes::from_static(b"next")) });
        let (gone, next) = tokio::join!(gives_up, next);
        assert!(gone.is_err());
        assert_eq!(next.expect("it is read"), "next");
        assert!(shared.lines.borrow().is_empty(), "nothing is kept");
    }
}
