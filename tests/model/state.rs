//! The state of the model: Redis, MySQL, the instances, and the answers to users.
//!
//! Numbers are small and count from 1. 0 means none. Collections are sorted and compact, so that equal states compare
//! equal.

pub const USERS: usize = 3;
pub const UNITS_MAX: usize = 2;
pub const INSTANCES: usize = 2;

/// A user's number: 0, 1 or 2.
pub type User = usize;
pub type Instance = usize;
pub type Seq = u8;
pub type Epoch = u8;
/// The run id of a Redis process.
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
    /// Whether a sweep has read the claim from the outbox. Other claims come through the channel.
    pub swept: bool,
}

/// A loading of the shard: a Redis process and an epoch.
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

/// The data in Redis, and in its append-only file. A restart keeps all data, except for the faults that lose it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    pub live: Live,
    /// The key `origin`: the loading in `live` before unfinished rebuilds.
    pub origin: Live,
    /// Whether Redis has the coupon's hash.
    pub published: bool,
    pub claimed: Seq,
    /// Free seqs up to `claimed`.
    pub holes: Vec<Seq>,
    pub holders: [Option<(Seq, Entry)>; USERS],
    pub outbox: Vec<Claim>,
    pub last_entry: Entry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    pub run: Run,
    pub data: Data,
    /// The data in an older file.
    pub older: Option<Data>,
}

/// The rows of `claims` and the row of `shards`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    /// The users of the seqs.
    pub rows: [Option<User>; UNITS_MAX],
    pub loading: Loading,
    pub is_live: bool,
    pub token: Token,
    pub next: Epoch,
    pub found: Option<Live>,
}

/// The reply of the claim script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Claimed(Claim),
    Already(Claim, Pending),
    SoldOut,
    /// Redis is not loaded, or the coupon is missing. Nothing has happened.
    Unavailable,
}

/// Whether the outbox had the claim's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pending {
    Yes,
    No,
}

/// A user's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    None,
    /// The command is on its way to a Redis process. `late` means that the deadline has passed.
    Sent {
        instance: Instance,
        command: Command,
        late: bool,
    },
    /// The reply is in the instance's socket and not read yet.
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

/// The answers to a user so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    Nothing,
    Claim(Seq),
    /// The first answer was a claim, and a later answer differed from it.
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Customer {
    pub attempts: u8,
    pub attempt: Attempt,
    /// A command without a waiting handler. Redis may still run it.
    pub abandoned: Option<Command>,
    pub told: Told,
    /// Whether the outcome of an earlier attempt is unknown.
    pub unknown: bool,
    /// Whether an instance died or was cut off with this user's answered claim, before MySQL had it.
    pub orphan: bool,
}

/// An open transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub claims: Vec<Claim>,
    pub is_late: bool,
}

/// The progress of a rebuild.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    TokenTaken,
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
    /// The loading in the row of `shards` at the begin of the rebuild.
    pub last: Loading,
    pub recorded: Option<Live>,
    pub next: Epoch,
    /// The epoch expected in the row: `next` after the epoch is raised, before that the epoch of `last`.
    pub row_epoch: Epoch,
    pub contradicted: bool,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The loading for which the gate is open. Entries are swept and deleted only under this loading.
    pub gate: Option<Loading>,
    /// A frozen process takes no steps, and its beats stop.
    pub frozen: bool,
    /// Claims from the channel and the sweep, before their transaction.
    pub pending: Vec<Claim>,
    pub batch: Option<Batch>,
    /// Stored claims whose entries are not deleted from the outbox yet.
    pub stored: Vec<Claim>,
    /// Claims of an earlier loading. They wait until the shard is live.
    pub late: Vec<Claim>,
    pub contradicted: Epoch,
    pub acknowledged: Epoch,
    pub rebuild: Option<Rebuild>,
}

/// The number of faults by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// An instance dies and starts again at once. An instance that stays dead for longer is one that takes no steps.
    pub crashes: u8,
    /// Redis is killed and starts with all data.
    pub restarts: u8,
    /// Redis starts empty or from an older file, or is flushed.
    pub losses: u8,
    pub freezes: u8,
    /// A client's reset drops a handler, or a handler's deadline passes.
    pub given_up: u8,
    /// MySQL closes the connection before or after a `COMMIT`.
    pub hung_up: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub redis: Redis,
    pub mysql: MySql,
    pub customers: [Customer; USERS],
    pub processes: [Process; INSTANCES],
    pub faults: Faults,
    /// Whether Redis has lost memory since the shard was last live.
    pub memory_lost: bool,
    /// Whether a claim was poisoned as lost although the outbox had it.
    pub false_alarm: bool,
    pub last_token: Token,
}

impl Data {
    pub fn empty() -> Self {
        Self {
            live: Live::Nothing,
            origin: Live::Nothing,
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
    /// A process at its start.
    pub fn new() -> Self {
        Self {
            gate: None,
            frozen: false,
            pending: Vec::new(),
            batch: None,
            stored: Vec::new(),
            late: Vec::new(),
            contradicted: 0,
            acknowledged: 0,
            rebuild: None,
        }
    }

    /// Claims possibly unknown to the rest of the system.
    pub fn unstored_claims(&self) -> impl Iterator<Item = &Claim> {
        self.pending.iter().chain(self.batch.iter().flat_map(|batch| &batch.claims)).chain(&self.late)
    }
}

impl State {
    /// A loaded shard with open gates and no claims.
    pub fn new() -> Self {
        let loading = Loading { run: 1, epoch: 1 };
        let data = Data { live: Live::Loaded(loading), published: true, ..Data::empty() };
        let customer = Customer {
            attempts: 0,
            attempt: Attempt::None,
            abandoned: None,
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

    /// Whether the shard is loaded: the Redis process, `live` and the row agree.
    pub fn is_loaded(&self) -> bool {
        let loading = self.mysql.loading;
        self.mysql.is_live && loading.run == self.redis.run && self.redis.data.live == Live::Loaded(loading)
    }

    /// Whether MySQL has the claim.
    pub fn has_row(&self, user: User, seq: Seq) -> bool {
        self.mysql.rows[usize::from(seq) - 1] == Some(user)
    }

    /// Whether the process holds an answered claim that MySQL lacks.
    pub fn holds_answered_claim(&self, instance: Instance) -> bool {
        self.processes[instance].unstored_claims().any(|claim| self.is_answered_and_unstored(claim))
    }

    pub fn is_answered_and_unstored(&self, claim: &Claim) -> bool {
        self.customers[claim.user].told == Told::Claim(claim.seq) && !self.has_row(claim.user, claim.seq)
    }

    /// Whether a running process still waits for the reply with the claim. In the real system a sweep never comes
    /// before that reply.
    pub fn is_awaited(&self, claim: &Claim) -> bool {
        match self.customers[claim.user].attempt {
            Attempt::None => false,
            Attempt::Sent { instance, .. } | Attempt::Replied { instance, .. } => !self.processes[instance].frozen,
        }
    }

    /// Whether the process has no claims of an earlier loading left.
    pub fn is_drained(&self, instance: Instance, swept_counts: bool) -> bool {
        let Process { pending, batch, stored, .. } = &self.processes[instance];
        let counts = |claim: &Claim| swept_counts || !claim.swept;
        let batch = batch.iter().flat_map(|batch| &batch.claims);
        !pending.iter().chain(batch).chain(stored).any(counts)
    }

    /// Whether an attempt is in flight through the instance's gate.
    pub fn has_attempt_in_flight(&self, through: Instance) -> bool {
        self.customers.iter().any(|customer| match customer.attempt {
            Attempt::None => false,
            Attempt::Sent { instance, .. } | Attempt::Replied { instance, .. } => instance == through,
        })
    }
}
