//! The steps. Each is atomic in the real system as well, or is a sequence that the first model splits.

use std::fmt;

use super::state::{Instance, Line, Server, User};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Ask(User, Instance),
    Apply(User),
    Store(Instance),
    /// Copies the primary's data to the replica.
    Replicate(Server),
    // Connections.
    Drop(Instance, Line),
    Connect(Instance, Line),
    ForgetReport(Instance),
    // Recovery.
    Compare(Instance),
    Acknowledge(Instance),
    TakeToken(Instance),
    Begin(Instance),
    Load(Instance),
    Finish(Instance),
    PutLive(Instance),
    End(Instance),
    Expire(Server),
    // Faults.
    Promote(Server),
    PromoteIsolated(Server),
    Demote(Server),
    MoveAddress(Instance),
    Cut(Instance, Line),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = |user: &User| char::from(b'A' + u8::try_from(*user).expect("the model has two users"));
        let line = |line: &Line| match line {
            Line::Link => "link",
            Line::Claims => "connection for attempts",
        };
        match self {
            Self::Ask(who, instance) => write!(f, "{} asks instance {instance}, which sends the script", user(who)),
            Self::Apply(who) => write!(f, "the server runs {}'s script, and the handler answers", user(who)),
            Self::Store(instance) => {
                write!(f, "instance {instance}'s ledger stores its claims and deletes their entries")
            }
            Self::Replicate(server) => write!(f, "server {server} receives the data of its primary"),
            Self::Drop(instance, which) => write!(f, "instance {instance} drops its {}", line(which)),
            Self::Connect(instance, which) => write!(f, "instance {instance} makes its {} again", line(which)),
            Self::ForgetReport(instance) => write!(f, "instance {instance} reports no server any longer"),
            Self::Compare(instance) => write!(f, "instance {instance} compares over its link, and sets its gate"),
            Self::Acknowledge(instance) => write!(f, "instance {instance} acknowledges the next epoch"),
            Self::TakeToken(instance) => {
                write!(f, "rebuild of {instance}: opens its own connection, and puts its token into `live`")
            }
            Self::Begin(instance) => write!(f, "rebuild of {instance}: begins, recorded in the row"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: drains the outbox, raises the epoch, loads"),
            Self::Finish(instance) => write!(f, "rebuild of {instance}: sets the row to live"),
            Self::PutLive(instance) => write!(f, "rebuild of {instance}: writes `live`"),
            Self::End(instance) => write!(f, "rebuild of {instance}: ends, overtaken or read-only"),
            Self::Expire(server) => write!(f, "the token on server {server} expires"),
            Self::Promote(server) => write!(f, "FAULT server {server} is promoted, the old primary is its replica"),
            Self::PromoteIsolated(server) => {
                write!(f, "FAULT server {server} is promoted, the old primary stays writable")
            }
            Self::Demote(server) => write!(f, "server {server} becomes a replica"),
            Self::MoveAddress(instance) => write!(f, "the address of instance {instance} moves to the new primary"),
            Self::Cut(instance, which) => write!(f, "FAULT the {} of instance {instance} breaks", line(which)),
        }
    }
}
