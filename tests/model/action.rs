//! The steps of the model. A step is atomic in the real system as well: a Redis script, a MySQL statement or `COMMIT`,
//! or work of a process without waiting.

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
    TakeToken(Instance),
    BeginRebuild(Instance),
    /// No instance is waited for any longer.
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
    /// A rebuild ends because it was overtaken or its connection broke.
    End(Instance),
    /// The token of a rebuild expires because no running process renews it.
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
        let user = |user: &User| char::from(b'A' + u8::try_from(*user).expect("the model has three users"));
        match self {
            Self::Ask(who, instance) => write!(f, "{} asks instance {instance}, which sends the script", user(who)),
            Self::Apply(who) => write!(f, "Redis runs {}'s script and replies", user(who)),
            Self::ApplyStray(who) => write!(f, "Redis runs {}'s script, whose handler no longer waits", user(who)),
            Self::Answer(who) => write!(f, "{}'s handler reads the reply and answers", user(who)),
            Self::Begin(instance) => write!(f, "instance {instance}'s ledger begins a transaction and reads the epoch"),
            Self::Commit(instance) => write!(f, "instance {instance}'s ledger inserts and commits"),
            Self::Delete(instance) => {
                write!(f, "instance {instance}'s ledger deletes its stored claims from the outbox")
            }
            Self::Sweep(instance) => write!(f, "instance {instance} sweeps the outbox"),
            Self::SettleLate(instance) => write!(f, "instance {instance} settles its late claims"),
            Self::Close(instance) => write!(f, "instance {instance} sees another Redis and closes its gate"),
            Self::Acknowledge(instance) => write!(f, "instance {instance} acknowledges the new epoch"),
            Self::Open(instance) => {
                write!(f, "instance {instance} finds process, `live` and row in agreement and opens its gate")
            }
            Self::TakeToken(instance) => write!(f, "instance {instance} puts its token into `live`"),
            Self::BeginRebuild(instance) => write!(f, "rebuild of {instance}: begins, recorded in the row"),
            Self::Raise(instance) => write!(f, "rebuild of {instance}: raises the epoch"),
            Self::Proceed(instance) => write!(f, "rebuild of {instance}: all instances have acknowledged"),
            Self::Read(instance) => write!(f, "rebuild of {instance}: reads the outbox"),
            Self::Store(instance) => write!(f, "rebuild of {instance}: stores the claims of the outbox"),
            Self::DeleteDrained(instance) => {
                write!(f, "rebuild of {instance}: deletes the stored claims from the outbox")
            }
            Self::Decide(instance) => write!(f, "rebuild of {instance}: decides whether the data in Redis may stay"),
            Self::Forget(instance) => write!(f, "rebuild of {instance}: deletes the data in Redis"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: loads Redis from MySQL"),
            Self::Finish(instance) => write!(f, "rebuild of {instance}: sets the row to live"),
            Self::PutLive(instance) => write!(f, "rebuild of {instance}: writes `live`"),
            Self::End(instance) => write!(f, "rebuild of {instance}: ends, overtaken or cut off"),
            Self::Expire => write!(f, "the token in `live` expires"),
            Self::Thaw(instance) => write!(f, "instance {instance} wakes up"),
            Self::GiveUp(who) => write!(f, "FAULT {}'s handler stops waiting: unknown outcome", user(who)),
            Self::Crash(instance) => write!(f, "FAULT instance {instance} dies and starts again"),
            Self::Freeze(instance) => write!(f, "FAULT instance {instance} freezes and is taken for dead"),
            Self::Restart => write!(f, "FAULT Redis restarts with all data"),
            Self::LoseAll => write!(f, "FAULT Redis restarts empty"),
            Self::Flush => write!(f, "FAULT Redis is flushed"),
            Self::GoBack => write!(f, "FAULT Redis restarts from the older file"),
            Self::Save => write!(f, "(the present data is saved as the older file)"),
            Self::HangUpBeforeCommit(instance) => {
                write!(f, "FAULT MySQL closes the connection of instance {instance} before COMMIT")
            }
            Self::HangUpAfterCommit(instance) => {
                write!(f, "FAULT MySQL commits for instance {instance} and closes the connection")
            }
        }
    }
}
