//! The state: the row and the claims of a coupon in MySQL, its keys in Redis, and two workers.

pub const USERS: usize = 2;
pub const WORKERS: usize = 2;

pub type User = usize;
pub type Revision = u8;

/// The hash of the coupon in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CouponHash {
    /// On sale, with this amount.
    Live(u8),
    /// Grants nothing, and waits until MySQL has all claims, to be archived at this revision.
    Closing(Revision),
    /// Archived at this revision.
    Tombstone(Revision),
    /// Coming back at this revision. The amount is missing.
    Loading(Revision),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    pub coupon: CouponHash,
    /// The revision last published.
    pub revision: Revision,
    /// Units handed out.
    pub claimed: u8,
    /// The users whose holder has the claim.
    pub held: [bool; USERS],
    pub outbox: [bool; USERS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MySql {
    pub claims: [bool; USERS],
    pub amount: u8,
    pub is_archived: bool,
    pub revision: Revision,
    /// The highest revision known to be in Redis.
    pub published: Revision,
}

/// A step of an instance that brings Redis to the revision of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    // Archiving.
    WriteTombstone,
    DeleteHolder(User),
    // Publishing, and coming back.
    Begin,
    LoadHolder(User),
    WriteAmount,
    // Both.
    NotePublished,
}

/// The work of an instance, with what it has read in MySQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    pub step: Step,
    pub revision: Revision,
    pub amount: u8,
    pub claims: [bool; USERS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub redis: Redis,
    pub mysql: MySql,
    pub workers: [Option<Work>; WORKERS],
    /// The users who were told of a claim.
    pub told: [bool; USERS],
    pub changes: u8,
    pub crashes: u8,
    pub rebuilds: u8,
    /// Whether a user was granted a second claim.
    pub twice: bool,
    /// Whether a user who was told of a claim was told later that he has none.
    pub forgotten: bool,
}

impl State {
    /// A coupon of one unit.
    pub fn new() -> Self {
        let nobody = [false; USERS];
        Self {
            redis: Redis { coupon: CouponHash::Live(1), revision: 1, claimed: 0, held: nobody, outbox: nobody },
            mysql: MySql { claims: nobody, amount: 1, is_archived: false, revision: 1, published: 1 },
            workers: [None, None],
            told: nobody,
            changes: 0,
            crashes: 0,
            rebuilds: 0,
            twice: false,
            forgotten: false,
        }
    }

    /// Claims in MySQL or in the outbox.
    pub fn granted(&self) -> usize {
        (0..USERS).filter(|user| self.mysql.claims[*user] || self.redis.outbox[*user]).count()
    }
}
