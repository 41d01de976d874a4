//! Steps of people, and faults.

use super::action::Action;
use super::protocol::{Guard, OwnerProtocol};
use super::state::{Beat, Instance, Live, Phase, Process, State, Watch};

pub fn actions(protocol: &OwnerProtocol, state: &State, actions: &mut Vec<Action>) {
    let (most, spent) = (&protocol.bounds.most, &state.spent);
    for (process, instance) in state.instances.iter().enumerate() {
        match instance.phase {
            Phase::Off | Phase::Refused if spent.starts < most.starts && state.database(process).exists => {
                actions.push(Action::Start(process));
            }
            Phase::Running => {
                if spent.crashes < most.crashes {
                    actions.push(Action::Crash(process));
                }
                if spent.leaves < most.leaves && instance.rebuild.is_none() {
                    actions.push(Action::Leave(process));
                }
                if spent.freezes < most.freezes {
                    actions.push(Action::Freeze(process));
                }
            }
            Phase::Frozen => actions.push(Action::Wake(process)),
            Phase::Off | Phase::Refused => {}
        }
    }
    if !state.mysql[1].exists {
        actions.push(Action::Copy);
    } else if spent.new_ids < most.new_ids && state.instances.iter().all(|one| one.database != 1 || !one.is_running()) {
        actions.push(Action::NewInstallation(1));
    }
    if spent.adoptions < most.adoptions && state.mysql[1].exists {
        actions.push(Action::Adopt(1));
    }
    if spent.losses < most.losses {
        actions.push(Action::LoseMemory);
    }
    if spent.restarts < most.restarts {
        actions.push(Action::RestartRedis);
    }
    let is_rebuilt = matches!(state.redis.live, Live::Rebuild(_) | Live::OldRebuild(_));
    if spent.old_rebuilds < most.old_rebuilds && !is_rebuilt && state.redis.content == Some(0) {
        actions.push(Action::BeginOldRebuild(0));
    }
}

pub fn step(protocol: &OwnerProtocol, state: &mut State, action: Action) {
    match action {
        Action::Start(process) => start(protocol, state, process),
        Action::Leave(process) => {
            state.spent.leaves += 1;
            let database = state.instances[process].database;
            state.mysql[database].beats[process] = None;
            state.instances[process] = Instance::new(database);
        }
        Action::Crash(process) => {
            state.spent.crashes += 1;
            state.instances[process] = Instance::new(state.instances[process].database);
        }
        Action::Freeze(process) => {
            state.spent.freezes += 1;
            state.instances[process].phase = Phase::Frozen;
        }
        Action::Wake(process) => state.instances[process].phase = Phase::Running,
        Action::Copy => state.mysql[1] = state.mysql[0].clone(),
        Action::NewInstallation(database) => {
            state.spent.new_ids += 1;
            let database = &mut state.mysql[database];
            database.id = 3;
            if protocol.has(Guard::NewIdForgets) {
                (database.loaded_here, database.beats) = (false, vec![None; database.beats.len()]);
                // The epoch stays, so every later loading has a higher epoch.
                database.loading = database.loading.map(|loading| super::state::Loading { run: 8, ..loading });
            }
        }
        Action::Adopt(database) => adopt(protocol, state, database),
        Action::LoseMemory => {
            state.spent.losses += 1;
            let redis = &mut state.redis;
            (redis.owner, redis.live, redis.content) = (None, Live::Nothing, None);
            redis.beats.fill(None);
        }
        Action::RestartRedis => {
            state.spent.restarts += 1;
            (state.redis.run, state.redis.is_young) = (state.redis.run + 1, true);
            state.redis.beats.fill(None);
        }
        Action::BeginOldRebuild(database) => {
            state.spent.old_rebuilds += 1;
            (state.redis.owner, state.redis.live) = (None, Live::OldRebuild(database));
        }
        _ => {}
    }
}

/// A process beats in Redis when it connects.
fn start(protocol: &OwnerProtocol, state: &mut State, process: Process) {
    state.spent.starts += 1;
    let (database, id) = (state.instances[process].database, state.database(process).id);
    state.redis.beats[process] = Some(Beat { id, number: 0 });
    // The id of the process is new, so nobody has seen a beat of the process.
    state.mysql.iter_mut().for_each(|row| row.beats[process] = None);
    for watch in state.instances.iter_mut().filter_map(|instance| instance.watch.as_mut()) {
        watch.seen[process] = Default::default();
        if let Some((redis, mysql)) = &mut watch.look {
            (redis[process], mysql[process]) = (None, None);
        }
    }
    let watch = Watch {
        is_full: super::steps::may_lack_beats(protocol, state, process),
        seen: vec![Default::default(); state.instances.len()],
        look: None,
        looks: 0,
    };
    let watch = protocol.has(Guard::Watches).then_some(watch);
    state.instances[process] = Instance { phase: Phase::Running, watch, ..Instance::new(database) };
}

/// The command `adopt`, a single script. The data of the other installation is deleted on purpose.
fn adopt(protocol: &OwnerProtocol, state: &mut State, database: usize) {
    state.spent.adoptions += 1;
    let epoch = match state.redis.live {
        Live::Loaded(loading) if protocol.has(Guard::AdoptionKeepsEpoch) => loading.epoch,
        Live::Adopted(epoch) => epoch,
        _ => 0,
    };
    (state.redis.owner, state.redis.live) = (Some(state.mysql[database].id), Live::Adopted(epoch));
    if protocol.has(Guard::AdoptionForgets) {
        state.redis.content = None;
    }
}
