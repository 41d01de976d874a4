//! The steps, each atomic in the real system: one script of Redis, one statement or `COMMIT` of MySQL, or what a process
//! does without waiting.

use std::fmt;

use crate::state::{Instance, User};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    // A claim.
    Ask(User, Instance),
    Apply(User),
    ApplyStray(User),
    Answer(User),
    // The ledger.
    Begin(Instance),
    Commit(Instance),
    Delete(Instance),
    Sweep(Instance),
    SettleLate(Instance),
    // Recovery.
    Close(Instance),
    Acknowledge(Instance),
    Open(Instance),
    Take(Instance),
    BeginRebuild(Instance),
    /// Nobody is awaited any more.
    Proceed(Instance),
    Raise(Instance),
    Read(Instance),
    Store(Instance),
    DeleteDrained(Instance),
    Decide(Instance),
    Forget(Instance),
    Load(Instance),
    Finish(Instance),
    PutLive(Instance),
    /// What a rebuild does that finds itself overtaken, or its connection broken.
    End(Instance),
    /// The token of a rebuild that nobody renews.
    Expire,
    Thaw(Instance),
    // Faults.
    GiveUp(User),
    Crash(Instance),
    Freeze(Instance),
    Restart,
    LoseAll,
    Flush,
    GoBack,
    Save,
    HangUpBeforeCommit(Instance),
    HangUpAfterCommit(Instance),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = |user: &User| char::from(b'A' + u8::try_from(*user).expect("there are three"));
        match self {
            Self::Ask(who, instance) => write!(f, "{} asks instance {instance}, which sends the script", user(who)),
            Self::Apply(who) => write!(f, "Redis runs {}'s script and replies", user(who)),
            Self::ApplyStray(who) => write!(f, "Redis runs {}'s script, for which nobody waits any more", user(who)),
            Self::Answer(who) => write!(f, "{}'s handler reads the reply and answers", user(who)),
            Self::Begin(instance) => write!(f, "instance {instance}'s ledger begins a transaction and reads the epoch"),
            Self::Commit(instance) => write!(f, "instance {instance}'s ledger inserts and commits"),
            Self::Delete(instance) => write!(f, "instance {instance}'s ledger deletes what it stored from the outbox"),
            Self::Sweep(instance) => write!(f, "instance {instance} sweeps the outbox into its hands"),
            Self::SettleLate(instance) => write!(f, "instance {instance} settles its late claims"),
            Self::Close(instance) => write!(f, "instance {instance} sees another Redis and closes its gate"),
            Self::Acknowledge(instance) => write!(f, "instance {instance} acknowledges"),
            Self::Open(instance) => write!(f, "instance {instance} finds all to agree and opens its gate"),
            Self::Take(instance) => write!(f, "instance {instance} puts its token into `live`"),
            Self::BeginRebuild(instance) => write!(f, "rebuild of {instance}: begins, in the row"),
            Self::Raise(instance) => write!(f, "rebuild of {instance}: raises the epoch"),
            Self::Proceed(instance) => write!(f, "rebuild of {instance}: nobody is awaited any more"),
            Self::Read(instance) => write!(f, "rebuild of {instance}: reads the outbox"),
            Self::Store(instance) => write!(f, "rebuild of {instance}: stores what it read"),
            Self::DeleteDrained(instance) => write!(f, "rebuild of {instance}: deletes what it stored from the outbox"),
            Self::Decide(instance) => write!(f, "rebuild of {instance}: decides what may stay in Redis"),
            Self::Forget(instance) => write!(f, "rebuild of {instance}: forgets what Redis has"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: loads Redis from MySQL"),
            Self::Finish(instance) => write!(f, "rebuild of {instance}: sets the row to live"),
            Self::PutLive(instance) => write!(f, "rebuild of {instance}: writes `live`"),
            Self::End(instance) => write!(f, "rebuild of {instance}: overtaken or cut off, ends"),
            Self::Expire => write!(f, "the token in `live` expires"),
            Self::Thaw(instance) => write!(f, "instance {instance} wakes up"),
            Self::GiveUp(who) => write!(f, "FAULT {}'s handler stops waiting: unknown outcome", user(who)),
            Self::Crash(instance) => write!(f, "FAULT instance {instance} dies and starts again"),
            Self::Freeze(instance) => write!(f, "FAULT instance {instance} freezes and is taken for dead"),
            Self::Restart => write!(f, "FAULT Redis restarts with all it had"),
            Self::LoseAll => write!(f, "FAULT Redis restarts empty"),
            Self::Flush => write!(f, "FAULT Redis is flushed"),
            Self::GoBack => write!(f, "FAULT Redis restarts from the older file"),
            Self::Save => write!(f, "(what Redis has now is what an older file will hold)"),
            Self::HangUpBeforeCommit(instance) => write!(f, "FAULT MySQL hangs up on instance {instance}: rolled back"),
            Self::HangUpAfterCommit(instance) => {
                write!(f, "FAULT MySQL commits for instance {instance}; the answer is lost")
            }
        }
    }
}
