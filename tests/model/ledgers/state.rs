//! The state: Redis, MySQL, an earlier MySQL, and the instances.

pub const USERS: usize = 2;
pub const INSTANCES: usize = 2;
/// Processes. An instance that starts again is another process.
pub const PROCESSES: usize = 3;

pub type User = usize;
pub type Instance = usize;
pub type ProcessId = usize;
pub type Epoch = u8;
/// The number of a batch of a process, from 1 on.
pub type Number = u8;
pub type Token = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    pub epoch: Epoch,
    pub user: User,
}

/// The key `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    Nothing,
    Loaded(Epoch),
    /// The value of an earlier Redis process, after a restart.
    Outdated(Epoch),
    Rebuild(Token),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    pub live: Live,
    /// The users with a claim.
    pub holders: [bool; USERS],
    pub outbox: [bool; USERS],
    /// The hash `counters`.
    pub counters: [Option<Number>; PROCESSES],
    /// The epoch of the last loading, in the same hash. The counters belong to this epoch.
    pub epoch: Epoch,
}

/// A row of `ledgers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LedgerRow {
    pub epoch: Epoch,
    pub counter: Number,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    pub claims: [bool; USERS],
    pub ledgers: [Option<LedgerRow>; PROCESSES],
    /// The row of `shards`.
    pub epoch: Epoch,
    pub is_live: bool,
    pub token: Token,
}

/// A transaction of a ledger, or its committed claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub claims: Vec<Claim>,
    pub number: Number,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waits for the other instances, and drains the outbox.
    Draining,
    /// The claims of the outbox are stored. Their entries are not deleted.
    Stored(Batch),
    Raised,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub token: Token,
    pub last: Epoch,
    pub next: Epoch,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Joined {
    No,
    /// The epoch is read, and the row is not added yet.
    Read(Epoch),
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub id: ProcessId,
    pub joined: Joined,
    pub frozen: bool,
    pub gate: Option<Epoch>,
    pub pending: Vec<Claim>,
    pub batch: Option<Batch>,
    pub stored: Option<Batch>,
    /// The highest number whose `COMMIT` was confirmed.
    pub committed: Number,
    /// The highest number used.
    pub used: Number,
    pub rebuild: Option<Rebuild>,
}

/// A comparison of counters between its two reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub instance: Instance,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    Redis(Epoch, [Option<Number>; PROCESSES]),
    Rows(Epoch, [Option<LedgerRow>; PROCESSES]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    pub back: u8,
    pub crashes: u8,
    pub freezes: u8,
    pub restarts: u8,
    pub losses: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub redis: Redis,
    pub mysql: MySql,
    /// The state that MySQL may go back to.
    pub earlier: Option<MySql>,
    pub processes: [Process; INSTANCES],
    pub started: usize,
    pub told: [bool; USERS],
    pub faults: Faults,
    pub look: Option<Look>,
    pub last_token: Token,
    pub alarm: bool,
    /// Whether Redis has lost memory since the shard was last live.
    pub memory_lost: bool,
    /// Whether a claim was stored by a batch of another epoch than the shard's.
    pub second_epoch: bool,
    /// Whether a claim or the last number of a living process was missing after a repair.
    pub unrepaired: bool,
}

impl Process {
    pub fn new(id: ProcessId) -> Self {
        Self {
            id,
            joined: Joined::No,
            frozen: false,
            gate: None,
            pending: Vec::new(),
            batch: None,
            stored: None,
            committed: 0,
            used: 0,
            rebuild: None,
        }
    }

    /// Claims that MySQL may lack.
    pub fn unstored_claims(&self) -> impl Iterator<Item = &Claim> {
        self.pending.iter().chain(self.batch.iter().flat_map(|batch| &batch.claims))
    }

    /// Whether nothing of the epoch `epoch` or a later one is in the hands of the process.
    pub fn is_drained(&self, epoch: Epoch) -> bool {
        let is_idle = self.batch.is_none() && self.stored.is_none();
        is_idle && self.gate.is_none() && self.pending.iter().all(|claim| claim.epoch < epoch)
    }
}

impl State {
    /// A loaded shard with two open instances. Neither has stored a claim, so neither has a row.
    pub fn new() -> Self {
        let process = |id| Process { gate: Some(1), ..Process::new(id) };
        let redis = Redis {
            live: Live::Loaded(1),
            holders: [false; USERS],
            outbox: [false; USERS],
            counters: [None; PROCESSES],
            epoch: 1,
        };
        let ledgers = [None; PROCESSES];
        Self {
            redis,
            mysql: MySql { claims: [false; USERS], ledgers, epoch: 1, is_live: true, token: 0 },
            earlier: None,
            processes: [process(0), process(1)],
            started: INSTANCES,
            told: [false; USERS],
            faults: Faults::default(),
            look: None,
            last_token: 0,
            alarm: false,
            memory_lost: false,
            second_epoch: false,
            unrepaired: false,
        }
    }

    /// The loading that gates may open for.
    pub fn agreed(&self) -> Option<Epoch> {
        let epoch = self.mysql.epoch;
        (self.mysql.is_live && self.redis.live == Live::Loaded(epoch)).then_some(epoch)
    }

    /// Whether Redis knows a commit that MySQL lacks.
    pub fn is_redis_ahead(&self) -> bool {
        is_ahead((self.redis.epoch, &self.redis.counters), (self.mysql.epoch, &self.mysql.ledgers))
    }

    /// Whether the answered claim is neither in MySQL nor in the outbox nor in the memory of a process.
    pub fn is_lost(&self, user: User) -> bool {
        let holds = |process: &Process| process.unstored_claims().any(|claim| claim.user == user);
        let known = self.mysql.claims[user] || self.redis.outbox[user] || self.processes.iter().any(holds);
        self.told[user] && !known
    }
}

/// Whether the epoch or a counter of Redis is above MySQL's. Counters of an earlier epoch do not count, because a rebuild
/// has compared them already.
pub fn is_ahead(redis: (Epoch, &[Option<Number>]), mysql: (Epoch, &[Option<LedgerRow>])) -> bool {
    let is_above =
        |(counter, row): (&Option<Number>, &Option<LedgerRow>)| counter.unwrap_or(0) > row.map_or(0, |row| row.counter);
    redis.0 > mysql.0 || (redis.0 == mysql.0 && redis.1.iter().zip(mysql.1).any(is_above))
}
