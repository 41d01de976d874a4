//! The state: one Redis, two databases, and their processes.

pub const DATABASES: usize = 2;

/// A random installation id. A copied database has the id of the original.
pub type Id = u8;
pub type Database = usize;
pub type Process = usize;

/// A loading of the shard: the Redis process, and the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loading {
    pub run: u8,
    pub epoch: u8,
}

/// The key `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    Nothing,
    Loaded(Loading),
    Rebuild(Process),
    /// The token of a program that does not know `owner`.
    OldRebuild(Database),
    /// Another installation has adopted a Redis with this epoch.
    Adopted(u8),
}

/// A beat in Redis: the installation, and the number of the last beat that MySQL took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    pub id: Id,
    pub number: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    pub run: u8,
    pub owner: Option<Id>,
    pub live: Live,
    /// The database whose coupons, claims and outbox are here. `None` if the prefix has only beats.
    pub content: Option<Database>,
    pub beats: Vec<Option<Beat>>,
    /// Whether a living process may not have beaten since the start.
    pub is_young: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    pub exists: bool,
    pub id: Id,
    /// The last loading in the row of the shard.
    pub loading: Option<Loading>,
    /// Whether this loading was at the address of this Redis.
    pub loaded_here: bool,
    /// The number of the last beat of each process.
    pub beats: Vec<Option<u8>>,
}

/// The beats of a process, as a watch has seen them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sighting {
    pub last: Option<u8>,
    pub advances: u8,
    /// This MySQL lacked the last number in Redis.
    pub is_lacking: bool,
    /// The number in Redis after this MySQL was seen to lack one.
    pub after_lacking: Option<u8>,
    /// The number has advanced, and this MySQL had it.
    pub is_ours: bool,
}

/// The beats in Redis and in MySQL.
pub type Look = (Vec<Option<Beat>>, Vec<Option<u8>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Redis may have lost beats, so a missing beat proves nothing.
    pub is_full: bool,
    pub seen: Vec<Sighting>,
    /// The beats in Redis and in MySQL at the first half of a look.
    pub look: Option<Look>,
    pub looks: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub next: u8,
    pub is_loaded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Off,
    Running,
    /// Does nothing, and is taken for dead.
    Frozen,
    /// Has ended, because Redis belongs to another installation.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    pub database: Database,
    pub phase: Phase,
    /// The number of the last beat that MySQL took.
    pub number: u8,
    /// Before the first opening.
    pub watch: Option<Watch>,
    /// While the process waits to take an empty prefix: the processes that have beaten in Redis meanwhile.
    pub heard: Option<Vec<bool>>,
    pub gate: Option<Loading>,
    pub was_open: bool,
    /// The value of `live` that the process will replace.
    pub found: Option<Live>,
    pub rebuild: Option<Rebuild>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub starts: u8,
    pub crashes: u8,
    pub leaves: u8,
    pub losses: u8,
    pub restarts: u8,
    pub old_rebuilds: u8,
    pub adoptions: u8,
    pub freezes: u8,
    pub new_ids: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub redis: Redis,
    pub mysql: [MySql; DATABASES],
    pub instances: Vec<Instance>,
    pub spent: Spent,
    /// A process has used data of another database without permission.
    pub has_crossed: bool,
    /// A process was refused although the data in Redis is of its database, or was until Redis lost it.
    pub wrongly_refused: bool,
}

impl Instance {
    pub fn new(database: Database) -> Self {
        Self {
            database,
            phase: Phase::Off,
            number: 0,
            watch: None,
            heard: None,
            gate: None,
            was_open: false,
            found: None,
            rebuild: None,
        }
    }

    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }
}

impl State {
    pub fn database(&self, process: Process) -> &MySql {
        &self.mysql[self.instances[process].database]
    }

    /// Whether claims of the process reach Redis.
    pub fn is_open(&self, process: Process) -> bool {
        self.instances[process].gate.is_some_and(|loading| self.redis.live == Live::Loaded(loading))
    }

    /// Whether the process could grant a claim in the data of another database.
    pub fn crosses(&self, process: Process) -> bool {
        self.is_open(process) && self.redis.content != Some(self.instances[process].database)
    }
}
