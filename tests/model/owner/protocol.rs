//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::action::Action;
use super::state::{Beat, Database, Instance, Live, Loading, MySql, Phase, Redis, Spent, State};
use super::{healing, people, steps};

/// The state of the stores at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Database 0 is loaded, and owns Redis. Its processes 0 run.
    Owned,
    /// Database 0 was loaded by a program that does not know `owner`.
    Unowned,
    /// Redis is empty, and no database was ever loaded.
    Empty,
}

/// Database 1 at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    New,
    /// It was loaded into another Redis, at another address.
    LoadedElsewhere,
    /// It will be a copy of database 0.
    Copy,
}

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub begin: Begin,
    pub other: Other,
    /// The database of each process.
    pub processes: &'static [Database],
    /// How often people and faults act.
    pub most: Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A comparison refuses another `owner`.
    OwnerCompared,
    /// The script that takes `live` compares `owner` once more.
    OwnerComparedByScript,
    /// A loaded Redis without an owner is taken only if the row names it.
    RowNamesUnowned,
    /// A Redis without `live` and without an owner is taken only if the prefix is empty.
    PrefixEmpty,
    /// A database that was not loaded here before waits for beats of other installations.
    NewWaits,
    /// A database that waits exits when it sees a beat of another installation.
    WaitingExits,
    /// A process watches before it opens, sweeps or rebuilds.
    Watches,
    /// A watch compares only beats of its own installation.
    OtherIdsIgnored,
    /// A watch is not cut short if Redis may have lost beats.
    FullAfterLoss,
    /// A process beats before it takes `live`, so that a new owner shows in Redis.
    BeatsBeforeTaking,
    /// A beat that does not advance proves nothing.
    StandingProvesNothing,
    /// A process is of another database only if its MySQL lacks two of its numbers.
    LackingTwice,
    /// The number must advance after the MySQL was seen to lack one.
    AdvanceAfterLacking,
    /// A watch goes on while the MySQL lacks the number of a process that beats.
    LongerWhileLacking,
    /// A beat in Redis has the number of the last beat that MySQL took, not of beats in Redis.
    NumberTakenByMySql,
    /// A look reads Redis first.
    RedisReadFirst,
    /// A new id makes the database forget which Redis it was loaded into.
    NewIdForgets,
    /// An adoption deletes the data of the other installation.
    AdoptionForgets,
    /// The rebuild after an adoption has a higher epoch than the other installation had.
    AdoptionKeepsEpoch,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct OwnerProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

/// The highest epoch that is searched.
const EPOCH_MAX: u8 = 5;

pub const OWNED: &str = "I13 owned";
pub const NOT_REFUSED: &str = "no rightful process is refused";
pub const OPENS: &str = "I10 a rightful owner opens";
pub const DECIDES: &str = "every process opens or exits";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const SETTLED: &str = "after all faults a process sells and nobody waits";

impl OwnerProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}

impl Model for OwnerProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.bounds.first_state()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::background(self, state, actions);
        people::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(OWNED, |_, state: &State| {
                !state.has_crossed && !(0..state.instances.len()).any(|process| state.crosses(process))
            }),
            Property::always(NOT_REFUSED, |_, state: &State| !state.wrongly_refused),
            Property::always(OPENS, healing::rightful_owner_opens),
            Property::always(DECIDES, healing::everybody_decides),
            Property::sometimes(SETTLED, |protocol: &Self, state: &State| {
                let waits = |instance: &Instance| instance.is_running() && instance.gate.is_none();
                state.spent == protocol.bounds.most
                    && (0..state.instances.len()).any(|process| state.is_open(process))
                    && !state.instances.iter().any(waits)
            }),
        ]
    }

    /// Two databases that rebuild by turns would never come to an end.
    fn within_boundary(&self, state: &State) -> bool {
        state.mysql.iter().all(|row| row.loading.is_none_or(|loading| loading.epoch <= EPOCH_MAX))
    }
}

impl OwnerProtocol {
    /// Applies an action to a state in which it is possible.
    pub fn step(&self, state: &mut State, action: Action) {
        people::step(self, state, action);
        steps::step(self, state, action);
    }
}

impl Bounds {
    fn first_state(&self) -> State {
        let count = self.processes.len();
        let is_loaded = self.begin != Begin::Empty;
        let loading = Loading { run: 0, epoch: 2 };
        let database = |id, exists, loading: Option<Loading>| MySql {
            exists,
            id,
            loading,
            loaded_here: loading.is_some_and(|loading| loading.run == 0),
            beats: vec![None; count],
        };
        let other = (self.other == Other::LoadedElsewhere).then_some(Loading { run: 9, epoch: 1 });
        let mut state = State {
            redis: Redis {
                run: 0,
                owner: (self.begin == Begin::Owned).then_some(1),
                live: if is_loaded { Live::Loaded(loading) } else { Live::Nothing },
                content: is_loaded.then_some(0),
                beats: vec![None; count],
                is_young: false,
            },
            mysql: [database(1, true, is_loaded.then_some(loading)), database(2, self.other != Other::Copy, other)],
            instances: self.processes.iter().map(|database| Instance::new(*database)).collect(),
            spent: Spent::default(),
            has_crossed: false,
            wrongly_refused: false,
        };
        if self.begin == Begin::Owned {
            let first = &mut state.instances[0];
            (first.phase, first.number, first.gate, first.was_open) = (Phase::Running, 1, Some(loading), true);
            (state.redis.beats[0], state.mysql[0].beats[0]) = (Some(Beat { id: 1, number: 1 }), Some(1));
        }
        state
    }
}
