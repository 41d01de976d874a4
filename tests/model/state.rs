//! What the protocol's parties know at one moment: Redis, MySQL, the instances, and what customers were told.
//!
//! Numbers are small and count from 1; 0 is none. Everything is ordered and compact, so that equal states are found equal.

pub const USERS: usize = 3;
pub const UNITS_MAX: usize = 2;
pub const INSTANCES: usize = 2;

/// 0, 1 or 2.
pub type User = usize;
pub type Instance = usize;
pub type Seq = u8;
pub type Epoch = u8;
/// A run of a Redis process.
pub type Run = u8;
pub type Token = u8;
/// The id of an entry in the outbox.
pub type Entry = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    pub epoch: Epoch,
    pub entry: Entry,
    pub user: User,
    pub seq: Seq,
    /// It was read from the outbox, not brought by the channel.
    pub swept: bool,
}

/// The loading that a gate is open for, or that a row or the key `live` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loading {
    pub run: Run,
    pub epoch: Epoch,
}

/// The key `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    Nothing,
    Loaded(Loading),
    Rebuild(Token),
}

/// What Redis holds, and its file as well: a restart loses none of it unless that is the fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    pub live: Live,
    /// The coupon's hash is there.
    pub published: bool,
    pub claimed: Seq,
    /// Seqs up to `claimed` that nobody has.
    pub holes: Vec<Seq>,
    pub holders: [Option<(Seq, Entry)>; USERS],
    pub outbox: Vec<Claim>,
    pub last_entry: Entry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    pub run: Run,
    pub data: Data,
    /// What an older file holds.
    pub older: Option<Data>,
}

/// Rows of `claims` and the row of `shards`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    /// Whose each seq is.
    pub rows: [Option<User>; UNITS_MAX],
    pub loading: Loading,
    pub is_live: bool,
    pub token: Token,
    pub next: Epoch,
    pub found: Option<Live>,
}

/// What the script replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Claimed(Claim),
    Already(Claim, Pending),
    SoldOut,
    /// Not loaded, or the coupon is missing: nothing has happened.
    Unavailable,
}

/// Whether the claim's entry was in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pending {
    Yes,
    No,
}

/// A user's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    None,
    /// The command is on its way to a process of Redis; `late`: the deadline has passed.
    Sent {
        instance: Instance,
        command: Command,
        late: bool,
    },
    /// The reply is in the instance's socket, not read yet.
    Replied {
        instance: Instance,
        reply: Reply,
        late: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    pub run: Run,
    pub expected: Loading,
}

/// What a user has been told of his claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    Nothing,
    Claim(Seq),
    /// Another claim, or none, after he was told one.
    Another,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Customer {
    pub asked: u8,
    pub attempt: Attempt,
    /// A command whose handler has given up.
    pub stray: Option<Command>,
    pub told: Told,
    /// An earlier attempt ended in an unknown outcome.
    pub unknown: bool,
    /// An instance died, or was cut off, that had answered his claim, and MySQL did not have it yet.
    pub orphan: bool,
}

/// A transaction under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub claims: Vec<Claim>,
    pub is_late: bool,
}

/// How far a rebuild is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Taken,
    Begun,
    Awaited,
    Read(Vec<Claim>),
    Stored(Vec<Claim>),
    Drained,
    Forgetting,
    Loading,
    Loaded,
    Finished,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub token: Token,
    pub run: Run,
    pub found: Live,
    /// The row as it was read at the begin.
    pub last: Loading,
    pub noted: Option<Live>,
    pub next: Epoch,
    /// The epoch that the row must have: `last`'s, and `next` once it is raised.
    pub holds: Epoch,
    pub contradicted: bool,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// For which loading the gate is open, and outbox entries may be swept and deleted.
    pub gate: Option<Loading>,
    /// It does nothing, and nobody hears its beats.
    pub frozen: bool,
    /// Claims from the channel and the sweep that are not in a transaction.
    pub hands: Vec<Claim>,
    pub batch: Option<Batch>,
    /// Stored, and not yet deleted from the outbox.
    pub stored: Vec<Claim>,
    /// Of an earlier loading; they wait until the shard is live.
    pub late: Vec<Claim>,
    pub contradicted: Epoch,
    pub acknowledged: Epoch,
    pub rebuild: Option<Rebuild>,
}

/// Faults so far, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// An instance dies and starts again at once; dead for longer is one that does nothing.
    pub crashes: u8,
    /// Redis is killed and starts with all it had.
    pub restarts: u8,
    /// Redis starts empty, or from an older file, or is flushed.
    pub losses: u8,
    pub freezes: u8,
    /// A handler is dropped by a reset, or its deadline passes.
    pub given_up: u8,
    /// MySQL hangs up before a `COMMIT`, or after it.
    pub hung_up: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub redis: Redis,
    pub mysql: MySql,
    pub customers: [Customer; USERS],
    pub processes: [Process; INSTANCES],
    pub faults: Faults,
    /// Redis has lost memory since it was last live.
    pub memory_lost: bool,
    /// A claim was given up for lost that the outbox still had.
    pub false_alarm: bool,
    pub last_token: Token,
}

impl Data {
    pub fn empty() -> Self {
        Self {
            live: Live::Nothing,
            published: false,
            claimed: 0,
            holes: Vec::new(),
            holders: [None; USERS],
            outbox: Vec::new(),
            last_entry: 0,
        }
    }
}

impl Process {
    /// As a process starts.
    pub fn new() -> Self {
        Self {
            gate: None,
            frozen: false,
            hands: Vec::new(),
            batch: None,
            stored: Vec::new(),
            late: Vec::new(),
            contradicted: 0,
            acknowledged: 0,
            rebuild: None,
        }
    }

    /// Every claim that only this process might know.
    pub fn held(&self) -> impl Iterator<Item = &Claim> {
        self.hands.iter().chain(self.batch.iter().flat_map(|batch| &batch.claims)).chain(&self.late)
    }
}

impl State {
    /// A loaded shard, both gates open, nothing sold.
    pub fn new() -> Self {
        let loading = Loading { run: 1, epoch: 1 };
        let data = Data { live: Live::Loaded(loading), published: true, ..Data::empty() };
        let customer = Customer {
            asked: 0,
            attempt: Attempt::None,
            stray: None,
            told: Told::Nothing,
            unknown: false,
            orphan: false,
        };
        let process = Process { gate: Some(loading), acknowledged: 1, ..Process::new() };
        Self {
            redis: Redis { run: 1, data, older: None },
            mysql: MySql { rows: [None; UNITS_MAX], loading, is_live: true, token: 0, next: 1, found: None },
            customers: std::array::from_fn(|_| customer.clone()),
            processes: std::array::from_fn(|_| process.clone()),
            faults: Faults::default(),
            memory_lost: false,
            false_alarm: false,
            last_token: 0,
        }
    }

    /// Whether the shard is loaded: process, `live` and row agree.
    pub fn compared(&self) -> bool {
        let loading = self.mysql.loading;
        self.mysql.is_live && loading.run == self.redis.run && self.redis.data.live == Live::Loaded(loading)
    }

    /// Whether MySQL has the claim.
    pub fn has_row(&self, user: User, seq: Seq) -> bool {
        self.mysql.rows[usize::from(seq) - 1] == Some(user)
    }

    /// Whether the process has answered a claim that MySQL lacks, and still holds it.
    pub fn holds_answered(&self, instance: Instance) -> bool {
        self.processes[instance].held().any(|claim| self.is_answered_and_unstored(claim))
    }

    pub fn is_answered_and_unstored(&self, claim: &Claim) -> bool {
        self.customers[claim.user].told == Told::Claim(claim.seq) && !self.has_row(claim.user, claim.seq)
    }

    /// Whether a process that runs still waits for the reply about the claim: no sweep is as quick.
    pub fn is_awaited(&self, claim: &Claim) -> bool {
        match self.customers[claim.user].attempt {
            Attempt::None => false,
            Attempt::Sent { instance, .. } | Attempt::Replied { instance, .. } => !self.processes[instance].frozen,
        }
    }

    /// Nothing is left in the process of a loading before the one that is to come.
    pub fn is_drained(&self, instance: Instance, swept_counts: bool) -> bool {
        let Process { hands, batch, stored, .. } = &self.processes[instance];
        let counts = |claim: &Claim| swept_counts || !claim.swept;
        let batch = batch.iter().flat_map(|batch| &batch.claims);
        !hands.iter().chain(batch).chain(stored).any(counts)
    }

    /// Whether an attempt is in flight through the instance's gate.
    pub fn in_flight(&self, through: Instance) -> bool {
        self.customers.iter().any(|customer| match customer.attempt {
            Attempt::None => false,
            Attempt::Sent { instance, .. } | Attempt::Replied { instance, .. } => instance == through,
        })
    }
}
