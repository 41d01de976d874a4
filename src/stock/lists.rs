//! Pages of what is offered and held.

use std::time::Duration;

use super::{Loaded, Stock};
use crate::domain::{CouponId, UserId, left};
use crate::kv::{Command, Connection, KvError, Live, Reply, Script};

/// No list is as long; above it Lua's numbers would lose digits.
const SKIP_MAX: u64 = 1_000_000_000;

/// A coupon on its saler's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub id: CouponId,
    pub name: String,
    pub face_value: u32,
    pub description: String,
    /// Sold only inside an activity.
    pub scheduled: bool,
    pub amount: u64,
    pub left: u64,
}

/// A coupon on a customer's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub saler: String,
    pub name: String,
    pub face_value: u32,
    pub description: String,
    /// How many of it the user holds.
    pub count: u8,
}

impl Stock {
    /// The coupons of a saler, newest first, `give` of them after `skip`.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn list_offered(
        &self,
        connection: &Connection,
        live: &Live,
        saler: UserId,
        (skip, give): (u64, u64),
        wait: Duration,
    ) -> Loaded<Vec<Offered>> {
        let names = &self.keys;
        let begin = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.live());
            arguments.arg(live.as_str()).arg(names.coupon_prefix()).arg(names.holes_prefix());
        };
        let case = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.saler(saler));
            arguments.arg(skip.min(SKIP_MAX)).arg(give);
        };
        let call = connection.eval_together(Script::ListOffered, live.as_str(), begin, case, wait);
        page(&connection.timed(call).await?, 8, |reply, at| {
            Ok(Offered {
                id: CouponId(reply.number(at)?),
                name: reply.text(at + 1)?.to_owned(),
                face_value: reply.number(at + 2)?,
                description: reply.text(at + 3)?.to_owned(),
                scheduled: reply.text(at + 4)? == "1",
                amount: reply.number(at + 5)?,
                left: left(reply.number(at + 5)?, reply.number(at + 6)?, reply.number(at + 7)?),
            })
        })
    }

    /// What a user holds, newest first, `give` of them after `skip`.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn list_held(
        &self,
        connection: &Connection,
        live: &Live,
        user: UserId,
        (skip, give): (u64, u64),
        wait: Duration,
    ) -> Loaded<Vec<Held>> {
        let names = &self.keys;
        let begin = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.live());
            arguments.arg(live.as_str()).arg(names.coupon_prefix());
        };
        let case = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.holder(user));
            arguments.arg(skip.min(SKIP_MAX)).arg(give);
        };
        let call = connection.eval_together(Script::ListHeld, live.as_str(), begin, case, wait);
        page(&connection.timed(call).await?, 5, |reply, at| {
            Ok(Held {
                saler: reply.text(at)?.to_owned(),
                name: reply.text(at + 1)?.to_owned(),
                face_value: reply.number(at + 2)?,
                description: reply.text(at + 3)?.to_owned(),
                count: reply.number(at + 4)?,
            })
        })
    }
}

fn page<T>(reply: &Reply, parts: usize, item: impl Fn(&Reply, usize) -> Result<T, KvError>) -> Loaded<Vec<T>> {
    match reply.word() {
        "page" => (0..reply.parts() / parts).map(|n| item(reply, 1 + n * parts)).collect::<Result<_, _>>().map(Some),
        "not-loaded" => Ok(None),
        _ => Err(KvError::Unreadable),
    }
}
