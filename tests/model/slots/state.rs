//! The state: a cluster with two nodes, MySQL, the instances, and the users.

pub const USERS: usize = 2;
pub const INSTANCES: usize = 2;

/// A node of the cluster. The number also stands for its `run_id`, because no node restarts.
pub type Node = usize;
pub type User = usize;
pub type Instance = usize;
pub type Epoch = u8;

/// A loading of the shard: a node and an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loading {
    pub node: Node,
    pub epoch: Epoch,
}

/// The key `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    Nothing,
    Loaded(Loading),
    Rebuild(Instance),
}

/// The keys of the shard. A key is at one node at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Live,
    /// The coupon, with the number of its claims.
    Coupon,
    /// The claim of a user. Absent without a claim.
    Holder(User),
}

pub const KEYS: [Key; 4] = [Key::Live, Key::Coupon, Key::Holder(0), Key::Holder(1)];

/// The slot of the shard. Its keys are at the owner, or at the other node while the slot moves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub owner: Node,
    pub is_moving: bool,
    /// Whether each of [`KEYS`] is at the other node already.
    pub has_moved: [bool; KEYS.len()],
    pub live: Live,
    /// `None` for a missing coupon.
    pub claimed: Option<u8>,
    pub holders: [Option<u8>; USERS],
}

/// The rows of `claims` and the row of `shards`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    pub claims: [Option<u8>; USERS],
    pub loading: Loading,
    pub is_live: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    pub node: Node,
    /// Whether the data that was found is kept.
    pub keeps: bool,
    pub is_loaded: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    pub gate: Option<Loading>,
    /// The last epoch in which the slot was seen to move.
    pub moved_in: Epoch,
    /// The number of moves that were seen.
    pub moves_seen: u8,
    /// Answered claims that MySQL lacks: user and seq.
    pub pending: Vec<(User, u8)>,
    pub rebuild: Option<Rebuild>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub slot: Slot,
    pub mysql: MySql,
    pub processes: [Process; INSTANCES],
    /// The seq in the answer.
    pub told: [Option<u8>; USERS],
    pub attempts: u8,
    pub moves: u8,
    pub restarts: u8,
    pub rebuilds: u8,
    /// Somebody who holds a unit was granted another one.
    pub granted_twice: bool,
}

impl Slot {
    /// Whether a command with these keys runs at `node`. Otherwise the reply is `MOVED`, `ASK` or `TRYAGAIN`, and nothing
    /// happens.
    pub fn runs(&self, node: Node, keys: &[Key]) -> bool {
        node == self.owner && (!self.is_moving || keys.iter().all(|key| self.is_here(*key)))
    }

    /// Whether the key exists at the owner.
    fn is_here(&self, key: Key) -> bool {
        self.exists(key) && !self.has_moved[place(key)]
    }

    pub fn exists(&self, key: Key) -> bool {
        match key {
            Key::Live => self.live != Live::Nothing,
            Key::Coupon => self.claimed.is_some(),
            Key::Holder(user) => self.holders[user].is_some(),
        }
    }

    pub fn lose(&mut self, key: Key) {
        match key {
            Key::Live => self.live = Live::Nothing,
            Key::Coupon => self.claimed = None,
            Key::Holder(user) => self.holders[user] = None,
        }
    }
}

pub fn place(key: Key) -> usize {
    KEYS.iter().position(|other| *other == key).expect("all keys are listed")
}

impl State {
    /// A shard loaded into node 0.
    pub fn new() -> Self {
        let loading = Loading { node: 0, epoch: 1 };
        let process = Process { gate: Some(loading), ..Process::default() };
        Self {
            slot: Slot {
                owner: 0,
                is_moving: false,
                has_moved: [false; KEYS.len()],
                live: Live::Loaded(loading),
                claimed: Some(0),
                holders: [None; USERS],
            },
            mysql: MySql { claims: [None; USERS], loading, is_live: true },
            processes: [process.clone(), process],
            told: [None; USERS],
            attempts: 0,
            moves: 0,
            restarts: 0,
            rebuilds: 0,
            granted_twice: false,
        }
    }

    /// Whether the owner of the slot, `live` and the row agree.
    pub fn is_loaded(&self) -> bool {
        let loading = self.mysql.loading;
        self.mysql.is_live && loading.node == self.slot.owner && self.slot.live == Live::Loaded(loading)
    }
}
