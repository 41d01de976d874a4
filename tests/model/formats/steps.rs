//! The steps. Each is a statement, a script, or a transaction of the real system.

use std::fmt;

use super::protocol::{FormatProtocol, Guard};
use super::state::{Command, INSTANCES, Process, Release, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    // An instance.
    Beat(usize),
    Open(usize),
    Close(usize),
    Raise(usize),
    Load(usize),
    Attempt(usize),
    Archive(usize),
    Bury,
    // The operator.
    Start(usize, Release),
    Stop(usize),
    Check,
    Constrain,
    Ask,
    GiveUp,
    // Faults.
    Crash(usize),
    Freeze(usize),
    Thaw(usize),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beat(instance) => write!(f, "instance {instance} beats, and has a row in `instances`"),
            Self::Open(instance) => write!(f, "instance {instance} opens its gate"),
            Self::Close(instance) => write!(f, "instance {instance} closes its gate"),
            Self::Raise(instance) => write!(f, "rebuild of {instance}: raises the epoch"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: loads Redis, and is done"),
            Self::Attempt(instance) => write!(f, "instance {instance} sends an attempt"),
            Self::Archive(instance) => write!(f, "instance {instance} archives a coupon"),
            Self::Bury => write!(f, "the rows of dead processes are deleted"),
            Self::Start(instance, release) => write!(f, "instance {instance} starts, of the {release:?} release"),
            Self::Stop(instance) => write!(f, "instance {instance} stops"),
            Self::Check => write!(f, "raise-format: finds no instance of the previous release"),
            Self::Constrain => write!(f, "raise-format: sets the constraint"),
            Self::Ask => write!(f, "raise-format: asks for the format"),
            Self::GiveUp => write!(f, "raise-format dies, or is refused"),
            Self::Crash(instance) => write!(f, "FAULT instance {instance} dies, its row stays"),
            Self::Freeze(instance) => write!(f, "FAULT instance {instance} freezes and is taken for dead"),
            Self::Thaw(instance) => write!(f, "instance {instance} wakes up"),
        }
    }
}

/// The steps of instances and of the command.
pub fn background(protocol: &FormatProtocol, state: &State, actions: &mut Vec<Action>) {
    for (at, process) in state.living() {
        rounds(protocol, state, at, &process, actions);
    }
    if state.dead_row {
        actions.push(Action::Bury);
    }
    let may_constrain = !state.has_previous_row() || !protocol.has(Guard::RowsChecked);
    let (first, second) = if protocol.has(Guard::ConstraintFirst) {
        (Action::Constrain, Action::Ask)
    } else {
        (Action::Ask, Action::Constrain)
    };
    let repeats = protocol.has(Guard::CommandRepeats);
    let next = match state.command {
        Command::Idle if !state.has_previous_row() && state.wanted == 1 && (repeats || !state.constrained) => {
            Action::Check
        }
        Command::Checked => first,
        Command::Halfway => second,
        Command::Idle | Command::Done => return,
    };
    let is_refused = next == Action::Constrain && !may_constrain;
    actions.push(if is_refused { Action::GiveUp } else { next });
}

fn rounds(protocol: &FormatProtocol, state: &State, at: usize, process: &Process, actions: &mut Vec<Action>) {
    let is_current = process.release == Release::Current;
    if !process.registered && (is_current || !state.constrained) {
        actions.push(Action::Beat(at));
    }
    if process.gate == Some(state.loaded) {
        actions.push(Action::Attempt(at));
    }
    // The previous release does not know that a format is wanted.
    let is_raised = state.format == state.wanted || !is_current;
    let agrees = state.loaded == state.epoch && is_raised;
    if process.gate.is_some() && (process.gate != Some(state.epoch) || !agrees) {
        actions.push(Action::Close(at));
    }
    if !process.registered && protocol.has(Guard::BeatFirst) {
        return;
    }
    if process.gate.is_none() && agrees {
        actions.push(Action::Open(at));
    }
    match process.rebuild {
        Some(_) => actions.push(Action::Load(at)),
        None if process.gate.is_none() && !agrees && state.epoch < protocol.bounds.epochs => {
            actions.push(Action::Raise(at));
        }
        None => {}
    }
    let may_archive = state.format == 2 || !protocol.has(Guard::PreviousWritten);
    if is_current && may_archive && process.gate == Some(state.loaded) && !state.archived {
        actions.push(Action::Archive(at));
    }
}

/// Starts, stops and faults.
pub fn disturbances(protocol: &FormatProtocol, state: &State, actions: &mut Vec<Action>) {
    let bounds = &protocol.bounds;
    for at in 0..INSTANCES {
        match state.processes[at] {
            None if state.starts < bounds.starts => {
                actions.push(Action::Start(at, Release::Current));
                actions.push(Action::Start(at, Release::Previous));
            }
            None => {}
            Some(process) if process.frozen => actions.push(Action::Thaw(at)),
            Some(_) => {
                if state.starts < bounds.starts {
                    actions.push(Action::Stop(at));
                }
                if state.crashes < bounds.crashes {
                    actions.push(Action::Crash(at));
                }
                if state.freezes < bounds.freezes {
                    actions.push(Action::Freeze(at));
                }
            }
        }
    }
    if matches!(state.command, Command::Checked | Command::Halfway) {
        actions.push(Action::GiveUp);
    }
}

pub fn step(protocol: &FormatProtocol, state: &mut State, action: Action) {
    match action {
        Action::Start(at, release) => {
            state.starts += 1;
            state.processes[at] = Some(Process::start(release));
        }
        Action::Stop(at) => state.processes[at] = None,
        Action::Crash(at) => {
            state.crashes += 1;
            let process = state.processes[at].take();
            state.dead_row |= process.is_some_and(|dead| dead.registered && dead.release == Release::Previous);
        }
        Action::Bury => state.dead_row = false,
        Action::Check => state.command = Command::Checked,
        Action::GiveUp => state.command = Command::Idle,
        Action::Constrain => {
            state.constrained = protocol.has(Guard::Constrained);
            state.command = next(state.command);
        }
        Action::Ask => {
            state.wanted = 2;
            if !protocol.has(Guard::RaisedWithEpoch) {
                state.format = 2;
            }
            state.command = next(state.command);
        }
        Action::Beat(at)
        | Action::Open(at)
        | Action::Close(at)
        | Action::Raise(at)
        | Action::Load(at)
        | Action::Attempt(at)
        | Action::Archive(at)
        | Action::Freeze(at)
        | Action::Thaw(at) => step_of_process(state, at, action),
    }
}

fn next(command: Command) -> Command {
    if command == Command::Checked { Command::Halfway } else { Command::Done }
}

fn step_of_process(state: &mut State, at: usize, action: Action) {
    let Some(mut process) = state.processes[at] else { return };
    let is_previous = process.release == Release::Previous;
    match action {
        Action::Beat(_) => process.registered = true,
        Action::Open(_) => process.gate = Some(state.epoch),
        Action::Close(_) => process.gate = None,
        Action::Raise(_) => {
            state.epoch += 1;
            process.rebuild = Some(state.epoch);
            if !is_previous {
                state.format = state.wanted;
            }
        }
        Action::Load(_) => {
            if process.rebuild == Some(state.epoch) {
                state.misread |= is_previous && state.archived;
                state.loaded = state.epoch;
                state.tombstone = state.archived && !is_previous;
            }
            process.rebuild = None;
        }
        Action::Attempt(_) => state.misread |= is_previous && state.tombstone,
        Action::Archive(_) => (state.archived, state.tombstone) = (true, true),
        Action::Freeze(_) => {
            state.freezes += 1;
            (process.frozen, process.registered) = (true, false);
        }
        Action::Thaw(_) => process.frozen = false,
        _ => {}
    }
    state.processes[at] = Some(process);
}
