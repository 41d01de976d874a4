//! The state: two servers of Redis, MySQL, the instances, and the users.

pub const SERVERS: usize = 2;
pub const USERS: usize = 2;

/// A server of Redis. The number also stands for its `run_id`, because no server restarts.
pub type Server = usize;
pub type User = usize;
pub type Instance = usize;
pub type Token = u8;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub user: User,
    pub seq: u8,
    pub loading: Loading,
}

/// The replicated data of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    pub live: Live,
    /// The seqs of the users.
    pub holders: [Option<u8>; USERS],
    /// Users with an entry in the outbox.
    pub outbox: [bool; USERS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Primary,
    /// Replicates from the other server, and refuses writes.
    Replica,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisServer {
    pub role: Role,
    pub data: Data,
}

/// The rows of `claims`, the row of `shards`, and the processes in the last beats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    /// The seqs of the users.
    pub claims: [Option<u8>; USERS],
    pub loading: Loading,
    pub is_live: bool,
    pub token: Token,
    pub next: u8,
    /// The server that the shard was last moved away from.
    pub left: Option<Server>,
    /// The server that each instance reports.
    pub reported: Vec<Option<Server>>,
}

/// A connection of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// For comparisons and beats.
    Link,
    /// For attempts.
    Claims,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    TokenTaken,
    Begun,
    Loaded,
    Finished,
}

/// A rebuild. Its connection stays at one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub server: Server,
    pub token: Token,
    pub found: Live,
    pub last: Loading,
    pub next: u8,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The server that a new connection leads to.
    pub route: Server,
    pub link: Option<Server>,
    pub claims: Option<Server>,
    pub gate: Option<Loading>,
    /// The value of `live` seen by the last comparison, if it found no agreement.
    pub found: Option<Live>,
    /// Answered claims that MySQL lacks.
    pub pending: Vec<Claim>,
    pub acknowledged: u8,
    pub rebuild: Option<Rebuild>,
}

/// A user's request, on its way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub instance: Instance,
    pub server: Server,
    pub expected: Loading,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Customer {
    pub attempt: Option<Attempt>,
    /// The seq in the answer.
    pub told: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub servers: [RedisServer; SERVERS],
    /// The server promoted last. Addresses move to it.
    pub newest: Server,
    pub mysql: MySql,
    pub processes: Vec<Process>,
    pub customers: [Customer; USERS],
    pub attempts: u8,
    pub promotions: u8,
    pub demotions: u8,
    pub cuts: u8,
    pub last_token: Token,
    /// Whether a rebuild has begun although the shard was loaded into that server.
    pub rebuilt_needlessly: bool,
}

impl Process {
    pub fn line(&mut self, line: Line) -> &mut Option<Server> {
        match line {
            Line::Link => &mut self.link,
            Line::Claims => &mut self.claims,
        }
    }
}

impl State {
    /// A shard loaded into server 0. Server 1 is its replica and has all data.
    pub fn new(instances: usize) -> Self {
        let loading = Loading { server: 0, epoch: 1 };
        let data = Data { live: Live::Loaded(loading), holders: [None; USERS], outbox: [false; USERS] };
        let server = |role| RedisServer { role, data: data.clone() };
        let process = Process {
            route: 0,
            link: Some(0),
            claims: Some(0),
            gate: Some(loading),
            found: None,
            pending: Vec::new(),
            acknowledged: 1,
            rebuild: None,
        };
        Self {
            servers: [server(Role::Primary), server(Role::Replica)],
            newest: 0,
            mysql: MySql {
                claims: [None; USERS],
                loading,
                is_live: true,
                token: 0,
                next: 1,
                left: None,
                reported: vec![Some(0); instances],
            },
            processes: vec![process; instances],
            customers: Default::default(),
            attempts: 0,
            promotions: 0,
            demotions: 0,
            cuts: 0,
            last_token: 0,
            rebuilt_needlessly: false,
        }
    }

    pub fn is_primary(&self, server: Server) -> bool {
        self.servers[server].role == Role::Primary
    }

    /// Whether process, `live` and row agree on the loading in the row.
    pub fn is_loaded_into(&self, server: Server) -> bool {
        let loading = self.mysql.loading;
        let is_same = loading.server == server && self.servers[server].data.live == Live::Loaded(loading);
        self.mysql.is_live && is_same
    }

    pub fn has_attempt_in_flight(&self, through: Instance) -> bool {
        self.customers.iter().any(|customer| customer.attempt.is_some_and(|attempt| attempt.instance == through))
    }
}
