//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::state::{CouponHash, State, USERS};
use super::steps::{self, Action};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    /// Archivings and raised amounts together.
    pub changes: u8,
    pub crashes: u8,
    pub rebuilds: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The script that writes the tombstone compares the claims in Redis with the rows of MySQL.
    ClaimsStored,
    /// A coupon that waits for its claims to reach MySQL refuses nobody.
    ClosingRefusesNobody,
    /// The scripts that delete holders stop when the coupon is not archived at their revision any more.
    DeletionCompares,
    /// The scripts that load claims and the amount stop when the coupon does not come back at their revision any more.
    LoadingCompares,
    /// The claims of a coupon that comes back are read after it was marked as coming back.
    ClaimsReadAfterMark,
    /// A coupon that comes back gets its amount last.
    AmountLast,
    /// Archiving and coming back have a revision of their own.
    NewRevision,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NO_OVERSELL: &str = "I1 no oversell";
pub const NOT_TWICE: &str = "I4 nobody is granted a second claim";
pub const STABLE: &str = "I6 asking again returns the same claim";
pub const HEALS: &str = "I9, I10 an archived coupon leaves Redis, and one that comes back is sold";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const SOLD_AGAIN: &str = "a coupon with a claim was archived, came back, and was sold out";

/// The most steps until a state without disturbances is quiet.
const STEPS_MAX: usize = 100;

impl ArchiveProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        let mut actions = Vec::new();
        for step in 0..STEPS_MAX {
            actions.clear();
            steps::background(&state, &mut actions);
            let Some(action) = actions.get(step % actions.len().max(1)) else { break };
            steps::step(self, &mut state, *action);
        }
        if state.mysql.is_archived {
            let is_archived = state.redis.coupon == CouponHash::Tombstone(state.mysql.revision);
            return is_archived && state.redis.held == [false; USERS];
        }
        (0..USERS).for_each(|user| steps::step(self, &mut state, Action::Ask(user)));
        let is_sold = state.granted() == usize::from(state.mysql.amount).min(USERS);
        is_sold && state.redis.coupon == CouponHash::Live(state.mysql.amount) && !state.forgotten
    }
}

impl Model for ArchiveProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::background(state, actions);
        steps::disturbances(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        steps::step(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OVERSELL, |_, state: &State| state.granted() <= usize::from(state.mysql.amount)),
            Property::always(NOT_TWICE, |_, state: &State| !state.twice),
            Property::always(STABLE, |_, state: &State| !state.forgotten),
            Property::always(HEALS, Self::heals),
            Property::sometimes(SOLD_AGAIN, |protocol: &Self, state: &State| {
                state.changes == protocol.bounds.changes && state.mysql.claims == [true; USERS]
            }),
        ]
    }
}
