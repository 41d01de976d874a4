//! The places of exports. An export holds memory and reads MySQL for as long as its reader takes.
//!
//! An instance has a few places, and a user has at most one place. A reader who takes too little in half a minute loses the
//! place and the rest of the export. Otherwise a few slow readers would keep everybody from exporting.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::error::ApiError;
use crate::admission::TurnedAway;
use crate::domain::UserId;

/// Seconds after which a user whose export is under way should ask again.
const AGAIN_SECONDS: u64 = 10;

/// Bounds of exports.
#[derive(Debug, Clone, Copy)]
pub struct ExportLimits {
    /// Exports at the same time.
    pub places: usize,
    /// A reader must take this many bytes in each `period`.
    pub bytes_min: u64,
    pub period: Duration,
}

/// The exports under way.
pub struct Exports {
    limits: ExportLimits,
    /// The users who export.
    users: Arc<Mutex<HashSet<UserId>>>,
}

/// The place of an export, freed on drop or when the reader is too slow.
pub struct ExportPlace {
    user: UserId,
    users: Arc<Mutex<HashSet<UserId>>>,
    given: AtomicU64,
    is_lost: AtomicBool,
}

/// The reader was too slow. The export ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the export is too slow")]
pub struct TooSlow;

impl Exports {
    pub fn new(limits: ExportLimits) -> Self {
        Self { limits, users: Arc::default() }
    }

    /// Gives `user` a place.
    ///
    /// # Errors
    /// 429 if the user exports already, and 503 if all places are taken.
    pub fn enter(&self, user: UserId) -> Result<Arc<ExportPlace>, ApiError> {
        {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.contains(&user) {
                return Err(TurnedAway::TooFast { wait_seconds: AGAIN_SECONDS }.into());
            }
            if users.len() >= self.limits.places {
                return Err(ApiError::overloaded());
            }
            users.insert(user);
        }
        let place = Arc::new(ExportPlace {
            user,
            users: Arc::clone(&self.users),
            given: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
        });
        // actix asks for a part of the answer only when the reader has taken the part before. So a timer must watch.
        tokio::spawn(watch(Arc::downgrade(&place), self.limits));
        Ok(place)
    }
}

impl ExportPlace {
    /// Notes that `bytes` more were given to the reader.
    ///
    /// # Errors
    /// [`TooSlow`] if the place is lost.
    pub fn give(&self, bytes: usize) -> Result<(), TooSlow> {
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_lost.load(Ordering::Relaxed) { Err(TooSlow) } else { Ok(()) }
    }

    /// Frees the place. Only the first call does something.
    fn leave(&self) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            self.users.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
        }
    }
}

impl Drop for ExportPlace {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Takes the place away when its reader is too slow. Ends with the export.
async fn watch(place: Weak<ExportPlace>, limits: ExportLimits) {
    let mut before = 0;
    loop {
        tokio::time::sleep(limits.period).await;
        let Some(place) = place.upgrade() else { return };
        let given = place.given.load(Ordering::Relaxed);
        if given < before + limits.bytes_min {
            log::info!("an export ends, because its reader took {} bytes in {:?}", given - before, limits.period);
            return place.leave();
        }
        before = given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ExportLimits = ExportLimits { places: 2, bytes_min: 100, period: Duration::from_millis(50) };

    #[tokio::test]
    async fn a_user_has_one_place_and_all_have_a_few() {
        let exports = Exports::new(LIMITS);
        let first = exports.enter(UserId(1)).expect("a place");
        assert!(exports.enter(UserId(1)).is_err(), "one each");
        let second = exports.enter(UserId(2)).expect("a place");
        assert!(exports.enter(UserId(3)).is_err(), "all are taken");
        drop(first);
        assert!(exports.enter(UserId(3)).is_ok());
        assert!(second.give(1).is_ok());
    }

    #[tokio::test]
    async fn a_reader_who_takes_too_little_loses_the_place_and_one_who_reads_keeps_it() {
        let exports = Exports::new(LIMITS);
        let [slow, quick] = [1, 2].map(|user| exports.enter(UserId(user)).expect("a place"));
        for _ in 0..10 {
            assert!(quick.give(100).is_ok());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        assert_eq!(slow.give(10), Err(TooSlow));
        let again = exports.enter(UserId(1)).expect("the place is free");
        drop(slow);
        assert!(exports.enter(UserId(1)).is_err(), "who has lost a place frees no other's");
        drop(again);
    }
}
