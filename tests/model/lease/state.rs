//! The state: two servers of Redis, the majority that names one of them, MySQL, the instances, and the users.

pub const SERVERS: usize = 2;
pub const USERS: usize = 2;
pub const INSTANCES: usize = 2;

/// Ticks for which an extension of the lease lasts. The first tick may come at once.
pub const LEASE: u8 = 1;
/// Ticks of silence after which a rebuild takes an instance for dead.
pub const DEAD: u8 = 3;

/// A server of Redis. The number also stands for its `run_id`, because no server restarts.
pub type Server = usize;
pub type User = usize;
pub type Instance = usize;
pub type Token = u8;

/// The server that is the primary at the beginning. It may be cut off, and goes on as a writable primary.
pub const OLD: Server = 0;
/// The replica that the engine promotes.
pub const NEW: Server = 1;

/// A loading of the shard: a server and an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loading {
    pub server: Server,
    pub epoch: u8,
}

/// The key `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    Nothing,
    Loaded(Loading),
    Rebuild(Token),
}

/// An answered claim that MySQL may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub user: User,
    pub seq: u8,
    pub loading: Loading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Primary,
    /// Refuses writes.
    Replica,
}

/// A server with its data. Every holder also stands for an entry in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisServer {
    pub role: Role,
    pub live: Live,
    pub holders: [Option<u8>; USERS],
}

/// The rows of `claims` and the row of `shards`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    pub claims: [Option<u8>; USERS],
    pub loading: Loading,
    pub is_live: bool,
    pub token: Token,
    pub next: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    TokenTaken,
    Begun,
    Loaded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub server: Server,
    pub token: Token,
    pub next: u8,
    pub stage: Stage,
    /// Ticks since the last sign of life of the other instance, in MySQL or in this server. Zero at the beginning.
    pub silence: u8,
}

/// A question that was answered, with the answer on its way. `left` is the lease counted from the sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reply<T> {
    pub left: u8,
    pub answer: T,
}

/// A place that an instance can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Mysql,
    Majority,
    /// The server [`NEW`].
    New,
}

pub const PLACES: [Place; 3] = [Place::Mysql, Place::Majority, Place::New];

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// The places without a connection, in the order of [`PLACES`].
    pub cut: [bool; PLACES.len()],
    /// The server of the connection.
    pub at: Option<Server>,
    pub gate: Option<Loading>,
    pub lease: u8,
    /// The server that the majority named last, as far as this process knows.
    pub named: Option<Server>,
    /// The answer is the loading in the row, if the shard is live.
    pub beat: Option<Reply<Option<Loading>>>,
    pub asked: Option<Reply<Server>>,
    pub pending: Vec<Claim>,
    pub acknowledged: u8,
    pub rebuild: Option<Rebuild>,
    /// Ticks since the process last reached MySQL, or the primary that the majority names. Up to [`DEAD`].
    pub away: u8,
}

/// A user's request, on its way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub instance: Instance,
    pub server: Server,
    pub expected: Loading,
    /// Ticks since the sending.
    pub age: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    pub seq: u8,
    pub by: Instance,
    /// How long the instance had been away when it answered.
    pub away: u8,
    /// The claim may be lost: the instance was away until it counted as dead, and answered just after it was cut off.
    pub may_be_lost: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Customer {
    pub attempt: Option<Attempt>,
    pub told: Option<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub servers: [RedisServer; SERVERS],
    /// The server that the majority names.
    pub primary: Server,
    pub mysql: MySql,
    pub processes: [Process; INSTANCES],
    pub customers: [Customer; USERS],
    pub attempts: u8,
    pub cuts: u8,
    pub late: u8,
    pub last_token: Token,
    /// Whether a rebuild has begun in a server that the majority did not name.
    pub rebuilt_elsewhere: bool,
}

impl Process {
    pub fn reaches(&self, place: Place) -> bool {
        !self.cut[place as usize]
    }

    pub fn reaches_server(&self, server: Server) -> bool {
        server == OLD || self.reaches(Place::New)
    }

    /// Whether the process reaches neither MySQL nor the `primary` that the majority names to it.
    pub fn is_away(&self, primary: Server) -> bool {
        let reaches_primary = self.reaches(Place::Majority) && self.reaches_server(primary);
        !self.reaches(Place::Mysql) && !reaches_primary
    }

    /// The server of the connection, if it answers.
    pub fn answering(&self) -> Option<Server> {
        self.at.filter(|server| self.reaches_server(*server))
    }
}

impl State {
    /// A shard loaded into the old primary. The other server is its replica and has all data.
    pub fn new() -> Self {
        let loading = Loading { server: OLD, epoch: 1 };
        let server = |role| RedisServer { role, live: Live::Loaded(loading), holders: [None; USERS] };
        let process = Process {
            at: Some(OLD),
            gate: Some(loading),
            lease: LEASE,
            named: Some(OLD),
            acknowledged: 1,
            ..Process::default()
        };
        Self {
            servers: [server(Role::Primary), server(Role::Replica)],
            primary: OLD,
            mysql: MySql { claims: [None; USERS], loading, is_live: true, token: 0, next: 1 },
            processes: [process.clone(), process],
            customers: Default::default(),
            attempts: 0,
            cuts: 0,
            late: 0,
            last_token: 0,
            rebuilt_elsewhere: false,
        }
    }

    pub fn is_primary(&self, server: Server) -> bool {
        self.servers[server].role == Role::Primary
    }

    /// Whether the replica lacks data of its primary.
    pub fn lags(&self) -> bool {
        let [old, new] = &self.servers;
        new.role == Role::Replica && (&old.live, &old.holders) != (&new.live, &new.holders)
    }

    /// Whether process, `live` and row agree on the loading in the row.
    pub fn is_loaded_into(&self, server: Server) -> bool {
        let loading = self.mysql.loading;
        self.mysql.is_live && loading.server == server && self.servers[server].live == Live::Loaded(loading)
    }

    pub fn has_attempt_in_flight(&self, through: Instance) -> bool {
        self.customers.iter().any(|customer| customer.attempt.is_some_and(|attempt| attempt.instance == through))
    }

    /// Whether `claim` is in MySQL, or will be.
    pub fn is_safe(&self, user: User, seq: u8) -> bool {
        let row = self.mysql.loading;
        let can_be_stored = |claim: &Claim| (claim.user, claim.seq) == (user, seq) && claim.loading.epoch == row.epoch;
        self.mysql.claims[user] == Some(seq)
            || self.processes.iter().flat_map(|process| &process.pending).any(can_be_stored)
    }
}
