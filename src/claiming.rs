//! A claim on one page: gate, slot, script, slot filled.
//!
//! Used by the handlers, the benches and the tests. The slot is taken before the script, so that a claim which was granted
//! always has its place in the ledger; the script writes the outbox entry in the same step, so that a claim whose
//! handler is dropped half-way is not lost.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Claim, CouponId, Refusal, UserId};
use crate::gate::{Denied, Doubt, Gate};
use crate::kv::{KvError, Link};
use crate::ledger::Ledger;
use crate::stock::{Stock, Taken};

/// What an attempt ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A unit was granted; MySQL will have it.
    Claimed(Claim),
    /// The user holds it already, with this claim.
    Already(Claim),
    /// Nothing was granted, and why.
    Refused(Refusal),
    /// Too much is going on; nothing has happened.
    Overloaded,
    /// Redis is away, or being loaded; nothing has happened.
    Unavailable,
    /// No answer in time: it may have happened. Final within a second; asking again tells.
    Unknown,
}

/// What a claim passes through. Cloning it shares it.
#[derive(Clone)]
pub struct Claiming {
    pub gate: Arc<Gate>,
    pub ledger: Ledger,
    pub stock: Stock,
    /// How long Redis may take.
    pub wait: Duration,
}

impl Claiming {
    /// Tries to claim a unit of `coupon` for `user`, over this thread's `link`.
    pub async fn claim(&self, link: &Link, coupon: CouponId, user: UserId) -> Attempt {
        let pass = match self.gate.enter() {
            Ok(pass) => pass,
            Err(Denied::Full) => return Attempt::Overloaded,
            Err(Denied::Closed(_)) => return Attempt::Unavailable,
        };
        let Ok(slot) = self.ledger.reserve() else { return Attempt::Overloaded };
        let Ok(connection) = link.connection() else { return Attempt::Unavailable };
        if connection.run_id() != pass.live().run_id {
            self.gate.doubt(Doubt::NotLoaded);
            return Attempt::Unavailable;
        }
        match self.stock.take(&connection, pass.live(), coupon, user, self.wait).await {
            Ok(Taken::Claimed(claim)) => {
                slot.put(claim);
                Attempt::Claimed(claim)
            }
            Ok(Taken::Already { claim, pending }) => {
                if pending {
                    // What is vouched for must not be in Redis alone.
                    self.ledger.vouch(slot, claim);
                }
                Attempt::Already(claim)
            }
            Ok(Taken::Refused(refusal)) => Attempt::Refused(refusal),
            Ok(Taken::Backlog | Taken::TooLate) => Attempt::Overloaded,
            Ok(Taken::NotLoaded) => {
                self.gate.doubt(Doubt::NotLoaded);
                Attempt::Unavailable
            }
            Ok(Taken::Missing) => {
                self.gate.doubt(Doubt::Lost(pass.live().epoch));
                Attempt::Unavailable
            }
            Err(error) => {
                link.report(&error);
                outcome(&error)
            }
        }
    }
}

fn outcome(error: &KvError) -> Attempt {
    if error.nothing_happened() { Attempt::Unavailable } else { Attempt::Unknown }
}
