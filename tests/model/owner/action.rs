//! The steps. Each is atomic in the real system as well, or is a sequence that another model splits.

use std::fmt;

use super::state::{Database, Process};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    BeatInMySql(Process),
    BeatInRedis(Process),
    // The watch before the first opening.
    BeginLook(Process),
    EndLook(Process),
    EndWatch(Process),
    // Recovery.
    Compare(Process),
    TakeLive(Process),
    Load(Process),
    Finish(Process),
    Overtaken(Process),
    Expire,
    Age,
    FinishOldRebuild(Database),
    // What people do.
    Start(Process),
    Leave(Process),
    Copy,
    NewInstallation(Database),
    Adopt(Database),
    BeginOldRebuild(Database),
    // Faults.
    Crash(Process),
    Freeze(Process),
    Wake(Process),
    LoseMemory,
    RestartRedis,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeatInMySql(process) => write!(f, "process {process} beats in its MySQL"),
            Self::BeatInRedis(process) => write!(f, "process {process} beats in Redis"),
            Self::BeginLook(process) => write!(f, "process {process} watches: reads the first store"),
            Self::EndLook(process) => write!(f, "process {process} watches: reads the other store, and compares"),
            Self::EndWatch(process) => write!(f, "process {process} ends its watch"),
            Self::Compare(process) => write!(f, "process {process} compares `owner` and `live` with its row"),
            Self::TakeLive(process) => write!(f, "process {process} begins a rebuild: puts its token into `live`"),
            Self::Load(process) => write!(f, "process {process} drains the outbox, forgets, and loads"),
            Self::Finish(process) => write!(f, "process {process} finishes its rebuild"),
            Self::Overtaken(process) => write!(f, "process {process} ends its rebuild, overtaken"),
            Self::Expire => write!(f, "the token in `live` expires"),
            Self::Age => write!(f, "every living process has beaten since the start of Redis"),
            Self::FinishOldRebuild(database) => write!(f, "an old program of database {database} finishes its rebuild"),
            Self::Start(process) => write!(f, "process {process} starts"),
            Self::Leave(process) => write!(f, "process {process} stops in order"),
            Self::Copy => write!(f, "database 1 is made, a copy of database 0"),
            Self::NewInstallation(database) => write!(f, "an operator gives database {database} an id of its own"),
            Self::Adopt(database) => write!(f, "an operator lets database {database} adopt Redis"),
            Self::BeginOldRebuild(database) => {
                write!(f, "an old program of database {database} rebuilds: deletes all keys, also `owner`")
            }
            Self::Crash(process) => write!(f, "FAULT process {process} dies"),
            Self::Freeze(process) => write!(f, "FAULT process {process} freezes for over ten seconds"),
            Self::Wake(process) => write!(f, "process {process} wakes up"),
            Self::LoseMemory => write!(f, "FAULT Redis loses its memory"),
            Self::RestartRedis => write!(f, "FAULT Redis restarts with its data, beats have expired meanwhile"),
        }
    }
}
