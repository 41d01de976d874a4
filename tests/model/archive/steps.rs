//! The steps. Each is a script of Redis, a transaction of MySQL, or a death.

use std::fmt;

use super::protocol::{ArchiveProtocol, Guard};
use super::state::{CouponHash, Redis, Revision, State, Step, USERS, User, WORKERS, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Ask(User),
    Store(User),
    // People.
    Archive,
    Raise,
    // Instances that bring Redis to the revision of the row.
    Take(usize),
    Do(usize, Step),
    // Faults.
    Die(usize),
    Rebuild,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |user: &User| char::from(b'A' + u8::try_from(*user).expect("the model has two users"));
        match self {
            Self::Ask(user) => write!(f, "{} asks for a unit", name(user)),
            Self::Store(user) => write!(f, "the ledger stores the claim of {}, and deletes its entry", name(user)),
            Self::Archive => write!(f, "the row is archived"),
            Self::Raise => write!(f, "the saler raises the amount"),
            Self::Take(worker) => write!(f, "instance {worker} finds that the row lags, and reads it"),
            Self::Do(worker, step) => write!(f, "instance {worker}: {step:?}"),
            Self::Die(worker) => write!(f, "FAULT instance {worker} dies"),
            Self::Rebuild => write!(f, "FAULT Redis is lost, and a rebuild loads it"),
        }
    }
}

/// The steps of ledgers and instances.
pub fn background(state: &State, actions: &mut Vec<Action>) {
    actions.extend((0..USERS).filter(|user| state.redis.outbox[*user]).map(Action::Store));
    for worker in 0..WORKERS {
        match &state.workers[worker] {
            Some(work) => actions.push(Action::Do(worker, work.step)),
            None if state.mysql.published < state.mysql.revision => actions.push(Action::Take(worker)),
            None => {}
        }
    }
}

pub fn disturbances(protocol: &ArchiveProtocol, state: &State, actions: &mut Vec<Action>) {
    actions.extend((0..USERS).map(Action::Ask));
    if state.changes < protocol.bounds.changes {
        actions.push(if state.mysql.is_archived { Action::Raise } else { Action::Archive });
    }
    if state.crashes < protocol.bounds.crashes {
        actions.extend((0..WORKERS).filter(|worker| state.workers[*worker].is_some()).map(Action::Die));
    }
    if state.rebuilds < protocol.bounds.rebuilds {
        actions.push(Action::Rebuild);
    }
}

pub fn step(protocol: &ArchiveProtocol, state: &mut State, action: Action) {
    match action {
        Action::Ask(user) => ask(protocol, state, user),
        Action::Store(user) => (state.mysql.claims[user], state.redis.outbox[user]) = (true, false),
        Action::Archive => change(protocol, state, true),
        Action::Raise => {
            state.mysql.amount += 1;
            change(protocol, state, false);
        }
        Action::Take(worker) => take(state, worker),
        Action::Do(worker, step) => work(protocol, state, worker, step),
        Action::Die(worker) => {
            state.crashes += 1;
            state.workers[worker] = None;
        }
        Action::Rebuild => rebuild(state),
    }
}

/// The claim script, or an answer from MySQL for a coupon without an amount.
fn ask(protocol: &ArchiveProtocol, state: &mut State, user: User) {
    let amount = match state.redis.coupon {
        CouponHash::Live(amount) => amount,
        // Who has no claim in MySQL is asked to try again.
        CouponHash::Closing(_) if protocol.has(Guard::ClosingRefusesNobody) => return,
        _ => {
            state.forgotten |= state.told[user] && !state.mysql.claims[user];
            return;
        }
    };
    if state.redis.held[user] {
        state.told[user] = true;
        return;
    }
    if state.redis.claimed >= amount {
        state.forgotten |= state.told[user];
        return;
    }
    state.twice |= state.told[user];
    (state.redis.held[user], state.redis.outbox[user], state.told[user]) = (true, true, true);
    state.redis.claimed += 1;
}

fn change(protocol: &ArchiveProtocol, state: &mut State, is_archived: bool) {
    state.changes += 1;
    state.mysql.is_archived = is_archived;
    // Every change has a revision of its own.
    state.mysql.revision += u8::from(protocol.has(Guard::NewRevision) || state.changes == 1);
    state.mysql.published = state.mysql.published.min(state.mysql.revision - 1);
}

fn take(state: &mut State, worker: usize) {
    let mysql = &state.mysql;
    let step = if mysql.is_archived { Step::WriteTombstone } else { Step::Begin };
    let (revision, amount, claims) = (mysql.revision, mysql.amount, mysql.claims);
    state.workers[worker] = Some(Work { step, revision, amount, claims });
}

fn work(protocol: &ArchiveProtocol, state: &mut State, worker: usize, step: Step) {
    let Some(mut work) = state.workers[worker].take() else { return };
    let next = match step {
        Step::WriteTombstone => write_tombstone(protocol, state, &mut work),
        Step::DeleteHolder(user) => delete_holder(protocol, &mut state.redis, work.revision, user),
        Step::Begin => begin(protocol, state, &mut work),
        Step::LoadHolder(user) => load_holder(protocol, &mut state.redis, &work, user),
        Step::WriteAmount => write_amount(protocol, &mut state.redis, &work),
        Step::NotePublished => {
            state.mysql.published = state.mysql.published.max(work.revision);
            None
        }
    };
    if let Some(step) = next {
        work.step = step;
        state.workers[worker] = Some(work);
    }
}

/// Counts the claims in MySQL under the row's lock, and compares them in the script that writes the tombstone.
fn write_tombstone(protocol: &ArchiveProtocol, state: &mut State, work: &mut Work) -> Option<Step> {
    let redis = &mut state.redis;
    let stored = state.mysql.claims.iter().filter(|claim| **claim).count();
    let is_stored = usize::from(redis.claimed) == stored || !protocol.has(Guard::ClaimsStored);
    work.claims = state.mysql.claims;
    if redis.revision > work.revision {
        return None;
    }
    if redis.coupon != CouponHash::Tombstone(work.revision) {
        // A loading of an earlier revision has no claims that MySQL lacks.
        let may_lack = matches!(redis.coupon, CouponHash::Live(_) | CouponHash::Closing(_));
        if may_lack && !is_stored {
            (redis.coupon, redis.revision) = (CouponHash::Closing(work.revision), work.revision);
            return None;
        }
        (redis.coupon, redis.revision) = (CouponHash::Tombstone(work.revision), work.revision);
    }
    Some(Step::DeleteHolder(0))
}

fn delete_holder(protocol: &ArchiveProtocol, redis: &mut Redis, revision: Revision, user: User) -> Option<Step> {
    if redis.coupon != CouponHash::Tombstone(revision) && protocol.has(Guard::DeletionCompares) {
        return None;
    }
    redis.held[user] = false;
    Some(if user + 1 < USERS { Step::DeleteHolder(user + 1) } else { Step::NotePublished })
}

/// Publishes a coupon that is on sale, or begins to load one that comes back.
fn begin(protocol: &ArchiveProtocol, state: &mut State, work: &mut Work) -> Option<Step> {
    let redis = &mut state.redis;
    if redis.revision > work.revision {
        return None;
    }
    redis.revision = work.revision;
    match redis.coupon {
        // Redis has the claims of a closed coupon, also those that MySQL lacks.
        CouponHash::Live(_) | CouponHash::Closing(_) => {
            redis.coupon = CouponHash::Live(work.amount);
            Some(Step::NotePublished)
        }
        CouponHash::Tombstone(_) | CouponHash::Loading(_) => {
            redis.coupon = CouponHash::Loading(work.revision);
            if protocol.has(Guard::ClaimsReadAfterMark) {
                work.claims = state.mysql.claims;
            }
            Some(if protocol.has(Guard::AmountLast) { Step::LoadHolder(0) } else { Step::WriteAmount })
        }
    }
}

fn load_holder(protocol: &ArchiveProtocol, redis: &mut Redis, work: &Work, user: User) -> Option<Step> {
    let is_ours = redis.coupon == CouponHash::Loading(work.revision);
    if !is_ours && protocol.has(Guard::AmountLast) && protocol.has(Guard::LoadingCompares) {
        return None;
    }
    redis.held[user] |= work.claims[user];
    let last = if protocol.has(Guard::AmountLast) { Step::WriteAmount } else { Step::NotePublished };
    Some(if user + 1 < USERS { Step::LoadHolder(user + 1) } else { last })
}

fn write_amount(protocol: &ArchiveProtocol, redis: &mut Redis, work: &Work) -> Option<Step> {
    if redis.coupon != CouponHash::Loading(work.revision) && protocol.has(Guard::LoadingCompares) {
        // Another instance has loaded it.
        let is_done = redis.revision == work.revision && matches!(redis.coupon, CouponHash::Live(_));
        return is_done.then_some(Step::NotePublished);
    }
    redis.coupon = CouponHash::Live(work.amount);
    Some(if protocol.has(Guard::AmountLast) { Step::NotePublished } else { Step::LoadHolder(0) })
}

/// Drains the outbox, and loads Redis from MySQL.
fn rebuild(state: &mut State) {
    state.rebuilds += 1;
    for user in 0..USERS {
        state.mysql.claims[user] |= state.redis.outbox[user];
    }
    let mysql = &state.mysql;
    let claimed = mysql.claims.iter().filter(|claim| **claim).count();
    let (coupon, held) = if mysql.is_archived {
        (CouponHash::Tombstone(mysql.revision), [false; USERS])
    } else {
        (CouponHash::Live(mysql.amount), mysql.claims)
    };
    let claimed = u8::try_from(claimed).expect("few claims");
    state.redis = Redis { coupon, revision: mysql.revision, claimed, held, outbox: [false; USERS] };
}
