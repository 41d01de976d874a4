//! The steps of beats, the watch and recovery.

use super::action::Action;
use super::protocol::{Guard, OwnerProtocol};
use super::state::{Beat, Instance, Live, Loading, MySql, Phase, Process, Rebuild, Sighting, State, Watch};

/// The advances of a beat within a watch. A watch lasts three seconds, and a beat one.
const ADVANCES: u8 = 2;

/// What a comparison finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Foreign,
    /// Nothing can be said yet, or another process rebuilds.
    Wait,
    /// The installation may take the empty prefix after a while.
    BeginWait,
    Open(Loading),
    /// Redis belongs to this installation, or may be taken. It has to be loaded.
    Rebuild(Live),
}

/// All steps without people and without faults.
pub fn background(protocol: &OwnerProtocol, state: &State, actions: &mut Vec<Action>) {
    for (process, instance) in state.instances.iter().enumerate() {
        if instance.is_running() {
            beats(protocol, state, process, actions);
            watch(protocol, state, process, actions);
            recovery(protocol, state, process, actions);
        }
    }
    match state.redis.live {
        Live::Rebuild(process) if state.instances[process].rebuild.is_none() => actions.push(Action::Expire),
        Live::OldRebuild(database) => actions.extend([Action::Expire, Action::FinishOldRebuild(database)]),
        _ => {}
    }
    let has_beaten = |(process, one): (Process, &Instance)| !one.is_running() || state.redis.beats[process].is_some();
    if state.redis.is_young && state.instances.iter().enumerate().all(has_beaten) {
        actions.push(Action::Age);
    }
}

fn beats(protocol: &OwnerProtocol, state: &State, process: Process, actions: &mut Vec<Action>) {
    let beat = own_beat(state, process);
    let is_told = state.redis.beats[process] == Some(beat);
    // Further beats show nothing new.
    let is_awaited = state.instances.iter().enumerate().any(|(other, instance)| {
        let watches = |watch: &Watch| {
            let Sighting { last, advances, is_lacking, .. } = watch.seen[process];
            is_compared(protocol, state, other, process)
                && (advances < ADVANCES || is_lacking)
                && last.is_some_and(|last| beat.number < last + ADVANCES)
        };
        instance.watch.as_ref().is_some_and(watches)
    });
    let is_waited_for = state.instances.iter().any(|other| other.heard.as_ref().is_some_and(|heard| !heard[process]));
    let is_first = state.database(process).beats[process].is_none();
    if !is_told || is_waited_for {
        actions.push(Action::BeatInRedis(process));
    }
    if is_told && !protocol.has(Guard::NumberTakenByMySql) && is_awaited {
        actions.push(Action::BeatInRedis(process));
    } else if is_told && (is_awaited || is_first) {
        actions.push(Action::BeatInMySql(process));
    }
}

fn own_beat(state: &State, process: Process) -> Beat {
    Beat { id: state.database(process).id, number: state.instances[process].number }
}

/// Whether the watch of `process` compares the beats of `other`.
fn is_compared(protocol: &OwnerProtocol, state: &State, process: Process, other: Process) -> bool {
    let is_of_installation = state.redis.beats[other].is_some_and(|beat| beat.id == state.database(process).id);
    other != process && (is_of_installation || !protocol.has(Guard::OtherIdsIgnored))
}

fn watch(protocol: &OwnerProtocol, state: &State, process: Process, actions: &mut Vec<Action>) {
    let Some(watch) = &state.instances[process].watch else { return };
    let compared = |other: &Process| is_compared(protocol, state, process, *other);
    let others = || (0..state.instances.len()).filter(compared);
    // A living process that has not beaten since a loss of Redis will do so within the watch.
    let is_here = |other: Process| {
        let instance = &state.instances[other];
        let is_same = other != process && state.database(other).id == state.database(process).id;
        !is_same || !instance.is_running() || state.redis.beats[other].is_some()
    };
    let shows_something = |other: Process| {
        let seen = &watch.seen[other];
        number(state, other) != seen.last || (seen.is_lacking && seen.after_lacking.is_none())
    };
    if watch.look.is_some() {
        actions.push(Action::EndLook(process));
    } else if watch.looks == 0 || others().any(shows_something) {
        actions.push(Action::BeginLook(process));
    } else {
        let is_over = |other: Process| {
            let Sighting { advances, is_lacking, .. } = watch.seen[other];
            let is_open_question = is_lacking && protocol.has(Guard::LongerWhileLacking);
            !state.instances[other].is_running() || (advances >= ADVANCES && !is_open_question)
        };
        let is_ours = |other: Process| watch.seen[other].is_ours;
        let is_long = others().all(is_over) && (0..state.instances.len()).all(is_here);
        let is_full = watch.is_full || may_lack_beats(protocol, state, process);
        if is_long || (!is_full && others().all(is_ours)) {
            actions.push(Action::EndWatch(process));
        }
    }
}

/// Whether Redis may have lost the beat of a living process a moment ago.
pub fn may_lack_beats(protocol: &OwnerProtocol, state: &State, process: Process) -> bool {
    let has_owner = state.redis.owner == Some(state.database(process).id);
    (!has_owner || state.redis.is_young) && protocol.has(Guard::FullAfterLoss)
}

fn number(state: &State, process: Process) -> Option<u8> {
    state.redis.beats[process].map(|beat| beat.number)
}

fn recovery(protocol: &OwnerProtocol, state: &State, process: Process, actions: &mut Vec<Action>) {
    let instance = &state.instances[process];
    if let Some(rebuild) = &instance.rebuild {
        actions.push(match (state.redis.live == Live::Rebuild(process), rebuild.is_loaded) {
            (false, _) => Action::Overtaken(process),
            (true, false) => Action::Load(process),
            (true, true) => Action::Finish(process),
        });
        return;
    }
    if instance.found.is_some() {
        actions.push(Action::TakeLive(process));
    }
    let changes = match compare(protocol, state, process) {
        Found::Foreign | Found::BeginWait => true,
        Found::Wait => instance.gate.is_some() || instance.found.is_some(),
        Found::Open(loading) => instance.gate != Some(loading) || state.redis.owner.is_none(),
        Found::Rebuild(live) => instance.gate.is_some() || instance.found != Some(live),
    };
    if changes {
        actions.push(Action::Compare(process));
    }
}

/// Compares `owner` and `live` with the row.
fn compare(protocol: &OwnerProtocol, state: &State, process: Process) -> Found {
    let (redis, database) = (&state.redis, state.database(process));
    let is_watching = state.instances[process].watch.is_some();
    match redis.owner {
        Some(owner) if owner != database.id && protocol.has(Guard::OwnerCompared) => return Found::Foreign,
        Some(_) => {}
        None => {
            if let Some(found) = compare_unowned(protocol, state, process) {
                return found;
            }
        }
    }
    match redis.live {
        _ if is_watching => Found::Wait,
        Live::Rebuild(_) | Live::OldRebuild(_) => Found::Wait,
        Live::Loaded(loading) if database.loading == Some(loading) && loading.run == redis.run => Found::Open(loading),
        live => Found::Rebuild(live),
    }
}

/// `None` if the installation may take a Redis without an owner.
fn compare_unowned(protocol: &OwnerProtocol, state: &State, process: Process) -> Option<Found> {
    let (redis, database) = (&state.redis, state.database(process));
    let is_named = database.loading.is_some_and(|loading| {
        loading.run == redis.run || redis.live == Live::Loaded(loading) // also after a restart with all data
    });
    match redis.live {
        _ if is_named => None,
        Live::Loaded(_) => protocol.has(Guard::RowNamesUnowned).then_some(Found::Foreign),
        Live::Rebuild(_) | Live::OldRebuild(_) => Some(Found::Wait),
        Live::Nothing | Live::Adopted(_) => {
            if redis.content.is_some() && protocol.has(Guard::PrefixEmpty) {
                return Some(Found::Foreign);
            }
            if database.loaded_here || !protocol.has(Guard::NewWaits) {
                return None;
            }
            let is_foreign = |beat: &Beat| beat.id != database.id;
            if redis.beats.iter().flatten().any(is_foreign) {
                return Some(if protocol.has(Guard::WaitingExits) { Found::Foreign } else { Found::Wait });
            }
            let Some(heard) = &state.instances[process].heard else { return Some(Found::BeginWait) };
            let is_quiet = |other: Process| other == process || heard[other] || !state.instances[other].is_running();
            (!(0..heard.len()).all(is_quiet)).then_some(Found::Wait)
        }
    }
}

pub fn step(protocol: &OwnerProtocol, state: &mut State, action: Action) {
    match action {
        Action::BeatInMySql(process) => {
            let instance = &mut state.instances[process];
            instance.number += 1;
            state.mysql[instance.database].beats[process] = Some(instance.number);
        }
        Action::BeatInRedis(process) => {
            let counts_itself = !protocol.has(Guard::NumberTakenByMySql);
            if counts_itself && state.redis.beats[process] == Some(own_beat(state, process)) {
                state.instances[process].number += 1;
            }
            state.redis.beats[process] = Some(own_beat(state, process));
            state.instances.iter_mut().filter_map(|other| other.heard.as_mut()).for_each(|heard| heard[process] = true);
        }
        Action::BeginLook(process) => {
            let seen = (state.redis.beats.clone(), state.database(process).beats.clone());
            if let Some(watch) = &mut state.instances[process].watch {
                watch.look = Some(seen);
            }
        }
        Action::EndLook(process) => end_look(protocol, state, process),
        Action::EndWatch(process) => state.instances[process].watch = None,
        Action::Compare(process) => set_gate(protocol, state, process),
        Action::Expire => state.redis.live = Live::Nothing,
        Action::Age => state.redis.is_young = false,
        Action::FinishOldRebuild(database) => {
            let run = state.redis.run;
            let epoch = state.mysql[database].loading.map_or(0, |loading| loading.epoch) + 1;
            finish(state, database, Loading { run, epoch });
        }
        _ => rebuild(protocol, state, action),
    }
}

/// Compares the numbers in Redis with those in MySQL.
fn end_look(protocol: &OwnerProtocol, state: &mut State, process: Process) {
    let (database, own_id) = (state.instances[process].database, state.database(process).id);
    let may_lack_beats = may_lack_beats(protocol, state, process);
    let Some(watch) = &mut state.instances[process].watch else { return };
    let Some((redis, mysql)) = watch.look.take() else { return };
    (watch.looks, watch.is_full) = (1, watch.is_full || may_lack_beats);
    let is_in_order = protocol.has(Guard::RedisReadFirst);
    let redis = if is_in_order { redis } else { state.redis.beats.clone() };
    let mysql = if is_in_order { state.mysql[database].beats.clone() } else { mysql };
    let mut accused = None;
    for other in (0..redis.len()).filter(|other| *other != process) {
        let (Some(Beat { id, number }), seen) = (redis[other], &mut watch.seen[other]) else { continue };
        if id != own_id && protocol.has(Guard::OtherIdsIgnored) {
            continue;
        }
        let has_advanced = seen.last.is_some_and(|last| number > last);
        seen.advances = (seen.advances + u8::from(has_advanced)).min(ADVANCES);
        seen.last = Some(number);
        if mysql[other].unwrap_or(0) >= number {
            seen.is_ours |= has_advanced;
            (seen.is_lacking, seen.after_lacking) = (false, None);
            continue;
        }
        let is_proven = match seen.after_lacking {
            Some(before) => number > before,
            None => has_advanced && !protocol.has(Guard::LackingTwice),
        };
        if is_proven || !protocol.has(Guard::StandingProvesNothing) {
            accused = Some(other);
        }
        if seen.is_lacking || !protocol.has(Guard::AdvanceAfterLacking) {
            seen.after_lacking = seen.after_lacking.or(Some(number));
        }
        seen.is_lacking = true;
    }
    if let Some(other) = accused {
        let is_owner = state.redis.content == Some(database) && state.redis.owner == Some(own_id);
        state.wrongly_refused |=
            state.instances[other].database == database || (is_owner && state.mysql[1].id != own_id);
        refuse(state, process);
    }
}

fn set_gate(protocol: &OwnerProtocol, state: &mut State, process: Process) {
    let found = compare(protocol, state, process);
    let id = state.database(process).id;
    let instance = &mut state.instances[process];
    let (gate, rebuild) = match found {
        Found::Foreign => {
            let was_rightful = instance.was_open || state.redis.content == Some(instance.database);
            state.wrongly_refused |= was_rightful && state.spent.adoptions == 0;
            refuse(state, process);
            return;
        }
        Found::Wait => (None, None),
        Found::BeginWait => {
            instance.heard = Some(vec![false; state.redis.beats.len()]);
            (None, None)
        }
        Found::Open(loading) => (Some(loading), None),
        Found::Rebuild(live) => (None, Some(live)),
    };
    (instance.gate, instance.found) = (gate, rebuild);
    if gate.is_some() {
        (instance.was_open, state.redis.owner) = (true, Some(id));
    }
}

fn refuse(state: &mut State, process: Process) {
    let database = state.instances[process].database;
    state.instances[process] = Instance { phase: Phase::Refused, ..Instance::new(database) };
}

fn rebuild(protocol: &OwnerProtocol, state: &mut State, action: Action) {
    match action {
        Action::TakeLive(process) => {
            let MySql { id, loading, .. } = *state.database(process);
            let is_free = state.redis.owner.is_none_or(|owner| owner == id);
            let Some(found) = state.instances[process].found.take() else { return };
            if state.redis.live != found || !is_free && protocol.has(Guard::OwnerComparedByScript) {
                return;
            }
            let found = match found {
                Live::Loaded(Loading { epoch, .. }) | Live::Adopted(epoch) => epoch,
                _ => 0,
            };
            let next = loading.map_or(0, |loading| loading.epoch).max(found) + 1;
            state.instances[process].rebuild = Some(Rebuild { next, is_loaded: false });
            (state.redis.owner, state.redis.live) = (Some(id), Live::Rebuild(process));
            // The connection of a rebuild has beaten when it was made.
            if protocol.has(Guard::BeatsBeforeTaking) {
                state.redis.beats[process] = Some(own_beat(state, process));
            }
        }
        Action::Load(process) => {
            let database = state.instances[process].database;
            state.has_crossed |= state.redis.content.is_some_and(|content| content != database);
            state.redis.content = Some(database);
            if let Some(rebuild) = &mut state.instances[process].rebuild {
                rebuild.is_loaded = true;
            }
        }
        Action::Finish(process) => {
            let (database, run) = (state.instances[process].database, state.redis.run);
            let Some(Rebuild { next, .. }) = state.instances[process].rebuild.take() else { return };
            finish(state, database, Loading { run, epoch: next });
        }
        Action::Overtaken(process) => state.instances[process].rebuild = None,
        _ => {}
    }
}

fn finish(state: &mut State, database: usize, loading: Loading) {
    let row = &mut state.mysql[database];
    (row.loading, row.loaded_here) = (Some(loading), true);
    (state.redis.live, state.redis.content) = (Live::Loaded(loading), Some(database));
}
