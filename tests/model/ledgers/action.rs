//! The steps. Each is atomic in the real system as well, or is a sequence that the first model splits.

use std::fmt;

use super::state::{Instance, User};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Ask(User, Instance),
    // The ledger.
    Join(Instance),
    Begin(Instance),
    Commit(Instance),
    Delete(Instance),
    Sweep(Instance),
    // Comparing.
    Look(Instance),
    Judge,
    Close(Instance),
    Open(Instance),
    // A rebuild.
    TakeToken(Instance),
    Drain(Instance),
    DeleteDrained(Instance),
    Raise(Instance),
    Load(Instance),
    End(Instance),
    Expire,
    // The operator.
    Repair,
    // Faults.
    Remember,
    GoBack,
    Crash(Instance),
    Freeze(Instance),
    HangUp(Instance),
    Thaw(Instance),
    Restart,
    LoseAll,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = |user: &User| char::from(b'A' + u8::try_from(*user).expect("the model has two users"));
        match self {
            Self::Ask(who, instance) => write!(f, "{} claims a unit at instance {instance}", user(who)),
            Self::Join(instance) => write!(f, "instance {instance} adds its row to `ledgers`"),
            Self::Begin(instance) => write!(f, "instance {instance}'s ledger begins a batch at its row"),
            Self::Commit(instance) => write!(f, "instance {instance}'s ledger inserts and commits"),
            Self::Delete(instance) => {
                write!(f, "instance {instance}'s ledger deletes its stored claims from the outbox")
            }
            Self::Sweep(instance) => write!(f, "instance {instance} sweeps the outbox"),
            Self::Look(instance) => write!(f, "instance {instance} begins to compare the counters"),
            Self::Judge => write!(f, "the comparison of the counters ends"),
            Self::Close(instance) => write!(f, "instance {instance} closes its gate"),
            Self::Open(instance) => write!(f, "instance {instance} opens its gate"),
            Self::TakeToken(instance) => write!(f, "rebuild of {instance}: takes the token and begins"),
            Self::Drain(instance) => write!(f, "rebuild of {instance}: stores the claims of the outbox"),
            Self::DeleteDrained(instance) => {
                write!(f, "rebuild of {instance}: deletes the stored claims from the outbox")
            }
            Self::Raise(instance) => write!(f, "rebuild of {instance}: compares the counters and raises the epoch"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: forgets Redis, loads MySQL, and is done"),
            Self::End(instance) => write!(f, "rebuild of {instance}: ends, overtaken or alarmed"),
            Self::Expire => write!(f, "the token in `live` expires"),
            Self::Repair => write!(f, "the operator repairs MySQL from Redis"),
            Self::Remember => write!(f, "(MySQL may go back to this moment)"),
            Self::GoBack => write!(f, "FAULT MySQL goes back to the remembered moment"),
            Self::Crash(instance) => write!(f, "FAULT instance {instance} dies and starts again"),
            Self::Freeze(instance) => write!(f, "FAULT instance {instance} freezes and is taken for dead"),
            Self::HangUp(instance) => write!(f, "MySQL ends the transaction of the frozen instance {instance}"),
            Self::Thaw(instance) => write!(f, "instance {instance} wakes up"),
            Self::Restart => write!(f, "FAULT Redis restarts with all data"),
            Self::LoseAll => write!(f, "FAULT Redis restarts empty"),
        }
    }
}
