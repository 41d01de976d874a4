//! A customer's list while the only coupon is archived and comes back.
//!
//! Redis has the claims of coupons on sale, and MySQL those of archived coupons. The list reads the claims in Redis, then
//! the count of archivings, then `live`. It adds the claims of coupons that were ever archived, from MySQL or from a
//! cache. The coupon is archived, deleted from the holder, and loaded again between any two of these steps.

use std::fmt;

use stateright::{Model, Property};

const COMPLETE: &str = "a list has every claim that the customer was told of before";
/// Not an invariant. Shows that the search reaches the interesting states.
const CACHED: &str = "a list with a claim of an archived coupon comes from the cache";

#[derive(Clone, Copy, Debug)]
struct Bounds {
    name: &'static str,
    /// Archivings and returns together.
    changes: u8,
    rebuilds: u8,
}

const CHANGES: Bounds = Bounds { name: "a list, archived, back, archived", changes: 3, rebuilds: 0 };
const LOSSES: Bounds = Bounds { name: "a list, archived and back, Redis is lost twice", changes: 2, rebuilds: 2 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The script that writes the tombstone counts the archiving, before claims are deleted.
    CountedBeforeDeletion,
    /// A list reads the count after the claims.
    CountReadLast,
    /// MySQL is read after the count.
    RowsReadAfterCount,
    /// A cached entry is used only for the same count.
    CountCompared,
    /// A cached entry is used only for the same loading of Redis.
    LoadingCompared,
    /// The rows of coupons that came back are read, too.
    EverArchivedRead,
}

const NEEDED: [(Guard, Bounds); 6] = [
    (Guard::CountedBeforeDeletion, CHANGES),
    (Guard::CountReadLast, CHANGES),
    (Guard::RowsReadAfterCount, CHANGES),
    (Guard::CountCompared, CHANGES),
    (Guard::LoadingCompared, LOSSES),
    (Guard::EverArchivedRead, CHANGES),
];

#[derive(Clone, Copy, Debug)]
struct ListProtocol {
    bounds: Bounds,
    without: Option<Guard>,
}

/// A loading of Redis, and the count of archivings in it.
type Mark = (u8, u8);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Reading {
    /// The customer had the claim when the list began.
    was_told: bool,
    loading: u8,
    claim_in_redis: Option<bool>,
    count: Option<u8>,
    claim_in_mysql: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    // MySQL.
    is_archived: bool,
    was_archived: bool,
    is_stored: bool,
    // Redis.
    loading: u8,
    archivings: u8,
    has_tombstone: bool,
    is_held: bool,
    // The instance: a cache, and a list that is being read.
    cache: Option<(Mark, bool)>,
    reading: Option<Reading>,
    changes: u8,
    rebuilds: u8,
    is_told: bool,
    lacked: bool,
    came_from_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Claim,
    Store,
    Archive,
    WriteTombstone,
    DeleteClaim,
    BringBack,
    Load,
    Rebuild,
    Begin,
    ReadRedis,
    ReadCount,
    ReadRows,
    Answer,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "the customer claims",
            Self::Store => "the ledger stores the claim",
            Self::Archive => "the row is archived",
            Self::WriteTombstone => "the tombstone is written",
            Self::DeleteClaim => "the claim is deleted in Redis",
            Self::BringBack => "the row is on sale again",
            Self::Load => "the claim is loaded, and the tombstone removed",
            Self::Rebuild => "FAULT Redis is lost, and a rebuild loads it",
            Self::Begin => "a list begins",
            Self::ReadRedis => "the list reads the claims in Redis",
            Self::ReadCount => "the list reads the count of archivings",
            Self::ReadRows => "the list reads the rows",
            Self::Answer => "the list is answered",
        })
    }
}

impl ListProtocol {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn sale_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.has_tombstone && !state.is_told {
            actions.push(Action::Claim);
        }
        if state.is_held && !state.is_stored {
            actions.push(Action::Store);
        }
        if state.changes < self.bounds.changes {
            actions.push(if state.is_archived { Action::BringBack } else { Action::Archive });
        }
        // The script compares the claims in Redis with the rows.
        if state.is_archived && !state.has_tombstone && state.is_held == state.is_stored {
            actions.push(Action::WriteTombstone);
        }
        if state.is_archived && state.has_tombstone && state.is_held {
            actions.push(Action::DeleteClaim);
        }
        if !state.is_archived && state.has_tombstone {
            actions.push(Action::Load);
        }
        if state.rebuilds < self.bounds.rebuilds {
            actions.push(Action::Rebuild);
        }
    }

    fn list_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(reading) = &state.reading else { return actions.push(Action::Begin) };
        let (redis, count) = (reading.claim_in_redis.is_some(), reading.count.is_some());
        if !redis && (count || self.has(Guard::CountReadLast)) {
            actions.push(Action::ReadRedis);
        }
        if !count && (redis || !self.has(Guard::CountReadLast)) {
            actions.push(Action::ReadCount);
        }
        let may_read_rows = redis && count || !self.has(Guard::RowsReadAfterCount);
        if may_read_rows && reading.claim_in_mysql.is_none() && self.cached(state, reading).is_none() {
            actions.push(Action::ReadRows);
        }
        if redis && count && (reading.claim_in_mysql.is_some() || self.cached(state, reading).is_some()) {
            actions.push(Action::Answer);
        }
    }

    fn cached(&self, state: &State, reading: &Reading) -> Option<bool> {
        let ((loading, archivings), claim) = state.cache?;
        let same_count = !self.has(Guard::CountCompared) || Some(archivings) == reading.count;
        let same_loading = !self.has(Guard::LoadingCompared) || loading == reading.loading;
        (same_count && same_loading).then_some(claim)
    }

    fn answer(&self, state: &mut State, reading: Reading) {
        let count = reading.count.expect("the list has read the count");
        if let Some(claim) = reading.claim_in_mysql {
            state.cache = Some(((reading.loading, count), claim));
        }
        let in_mysql = reading.claim_in_mysql.or_else(|| self.cached(state, &reading)).expect("the list has rows");
        state.came_from_cache |= reading.claim_in_mysql.is_none() && in_mysql && reading.claim_in_redis == Some(false);
        state.lacked |= reading.was_told && !in_mysql && reading.claim_in_redis == Some(false);
        state.reading = None;
    }

    fn sale_step(&self, state: &mut State, action: Action) {
        let counts_early = self.has(Guard::CountedBeforeDeletion);
        match action {
            Action::Claim => (state.is_held, state.is_told) = (true, true),
            Action::Store => state.is_stored = true,
            Action::Archive => (state.is_archived, state.was_archived, state.changes) = (true, true, state.changes + 1),
            Action::BringBack => (state.is_archived, state.changes) = (false, state.changes + 1),
            Action::WriteTombstone => {
                state.has_tombstone = true;
                state.archivings += u8::from(counts_early);
            }
            // Without the guard the count follows in another step, which the model leaves out.
            Action::DeleteClaim => state.is_held = false,
            Action::Load => (state.is_held, state.has_tombstone) = (state.is_stored, false),
            // A rebuild waits until the outbox is empty.
            _ => {
                state.is_stored |= state.is_held;
                (state.loading, state.rebuilds, state.archivings) = (state.loading + 1, state.rebuilds + 1, 0);
                state.has_tombstone = state.is_archived;
                state.is_held = state.is_stored && !state.is_archived;
            }
        }
    }
}

impl Model for ListProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.sale_actions(state, actions);
        self.list_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let Some(mut reading) = state.reading.take() else {
            match action {
                Action::Begin => {
                    let (was_told, loading) = (state.is_told, state.loading);
                    state.reading = Some(Reading { was_told, loading, ..Reading::default() });
                }
                _ => self.sale_step(&mut state, action),
            }
            return Some(state);
        };
        match action {
            Action::ReadRedis => reading.claim_in_redis = Some(state.is_held),
            Action::ReadCount => reading.count = Some(state.archivings),
            Action::ReadRows => {
                let is_read = if self.has(Guard::EverArchivedRead) { state.was_archived } else { state.is_archived };
                reading.claim_in_mysql = Some(state.is_stored && is_read);
            }
            Action::Answer => {
                self.answer(&mut state, reading);
                return Some(state);
            }
            _ => self.sale_step(&mut state, action),
        }
        // `live` is read after the claims and the count. A list of another loading is refused.
        let in_redis = matches!(action, Action::ReadRedis | Action::ReadCount);
        state.reading = Some(reading).filter(|_| !in_redis || reading.loading == state.loading);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COMPLETE, |_, state: &State| !state.lacked),
            Property::sometimes(CACHED, |_, state: &State| state.came_from_cache),
        ]
    }
}

#[test]
fn a_customer_s_list_is_complete_whatever_is_archived_meanwhile() {
    for bounds in [CHANGES, LOSSES] {
        crate::search(bounds.name, ListProtocol { bounds, without: None }, CACHED);
    }
}

#[test]
fn without_any_one_of_its_guards_a_list_lacks_claims() {
    for (guard, bounds) in NEEDED {
        crate::require_violation(guard, bounds.name, ListProtocol { bounds, without: Some(guard) }, COMPLETE);
    }
}
