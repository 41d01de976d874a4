//! The steps. Each is atomic in the real system as well, or is a sequence that another model splits.

use std::fmt;

use super::state::{Instance, Place, Server, User};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Ask(User, Instance),
    Apply(User),
    GiveUpWaiting(User),
    Store(Instance),
    Replicate,
    // Time, beats and the majority.
    Tick,
    Beat(Instance),
    HearBeat(Instance),
    AskMajority(Instance),
    HearMajority(Instance),
    BeatInRedis(Instance),
    // Connections.
    Disconnect(Instance),
    Connect(Instance),
    // Recovery.
    Compare(Instance),
    Acknowledge(Instance),
    TakeToken(Instance),
    Begin(Instance),
    Load(Instance),
    Finish(Instance),
    End(Instance),
    Expire(Server),
    // Faults.
    Promote,
    Demote,
    BeatLate(Instance),
    AskLate(Instance),
    Cut(Instance, Place),
    Heal(Instance, Place),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = |user: &User| char::from(b'A' + u8::try_from(*user).expect("the model has two users"));
        let place = |place: &Place| match place {
            Place::Mysql => "MySQL",
            Place::Majority => "the majority",
            Place::New => "server 1",
        };
        match self {
            Self::Ask(who, instance) => write!(f, "{} asks instance {instance}, which sends the script", user(who)),
            Self::Apply(who) => write!(f, "the server runs {}'s script, and the handler answers", user(who)),
            Self::GiveUpWaiting(who) => write!(f, "the deadline of {}'s attempt passes", user(who)),
            Self::Store(instance) => write!(f, "instance {instance}'s ledger stores its claims"),
            Self::Replicate => f.write_str("server 1 receives the data of server 0"),
            Self::Tick => f.write_str("time passes"),
            Self::Beat(instance) => write!(f, "MySQL takes a beat of instance {instance}"),
            Self::BeatLate(instance) => {
                write!(f, "FAULT MySQL takes a beat of instance {instance}, and the reply is delayed")
            }
            Self::HearBeat(instance) => write!(f, "instance {instance} gets the delayed reply of MySQL"),
            Self::AskMajority(instance) => write!(f, "the majority answers instance {instance}"),
            Self::AskLate(instance) => {
                write!(f, "FAULT the majority answers instance {instance}, and the answer is delayed")
            }
            Self::HearMajority(instance) => write!(f, "instance {instance} gets the delayed answer of the majority"),
            Self::BeatInRedis(instance) => write!(f, "instance {instance} beats in its server"),
            Self::Disconnect(instance) => write!(f, "instance {instance} gives up its connection"),
            Self::Connect(instance) => write!(f, "instance {instance} connects to the named server"),
            Self::Compare(instance) => write!(f, "instance {instance} compares, and sets its gate"),
            Self::Acknowledge(instance) => write!(f, "instance {instance} acknowledges the next epoch"),
            Self::TakeToken(instance) => {
                write!(f, "rebuild of {instance}: asks the majority, and puts its token into `live`")
            }
            Self::Begin(instance) => write!(f, "rebuild of {instance}: begins, recorded in the row"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: drains the outbox, raises the epoch, loads"),
            Self::Finish(instance) => write!(f, "rebuild of {instance}: sets the row to live, and writes `live`"),
            Self::End(instance) => write!(f, "rebuild of {instance}: ends without success"),
            Self::Expire(server) => write!(f, "the token on server {server} expires"),
            Self::Promote => f.write_str("FAULT server 1 is promoted, server 0 stays writable"),
            Self::Demote => f.write_str("server 0 becomes a replica of server 1"),
            Self::Cut(instance, from) => write!(f, "FAULT instance {instance} is cut off from {}", place(from)),
            Self::Heal(instance, with) => write!(f, "instance {instance} reaches {} again", place(with)),
        }
    }
}
