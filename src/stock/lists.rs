//! Pages of what is offered and held.

use std::time::{Duration, Instant};

use super::{Loaded, Stock};
use crate::domain::{CouponId, EntryId, UserId, left};
use crate::kv::{Case, Command, Connection, Keys, KvError, Live, Question, Reply, Script};

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

/// A coupon on a customer's list, and how many of it he holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub coupon: CouponId,
    pub count: u8,
}

/// What is said of a coupon wherever it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub saler: String,
    pub name: String,
    pub face_value: u32,
    pub description: String,
}

/// A page of what a saler offers as a case of the script's.
struct PageCase<'a> {
    keys: &'a Keys,
    live: &'a Live,
    saler: UserId,
    skip: u64,
    give: u64,
}

impl Case for PageCase<'_> {
    const SCRIPT: Script = Script::ListOffered;

    fn common(&self) -> &str {
        self.live.as_str()
    }

    fn write_common(&self, keys: &mut Command, arguments: &mut Command) {
        keys.arg(self.keys.live());
        arguments.arg(self.live.as_str()).arg(self.keys.coupon_prefix()).arg(self.keys.holes_prefix());
    }

    fn question(&self) -> Question {
        [self.saler.0, self.skip, self.give]
    }

    fn write_question(&self, keys: &mut Command, arguments: &mut Command) {
        keys.arg(self.keys.saler(self.saler));
        arguments.arg(self.skip).arg(self.give);
    }

    fn write_own(&self, _: &mut Command, _: &mut Command) {}
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
        let case = PageCase { keys: &self.keys, live, saler, skip: skip.min(SKIP_MAX), give };
        let began = Instant::now();
        let reply = connection.eval_together(&case, wait).await;
        connection.note_call(began);
        page(&reply?, 8, |reply, at| {
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

    /// What a user holds, newest first, `give` of them after `skip`. A coupon held several times is one, at its latest claim.
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
        let mut holder = Command::plain("HGETALL");
        holder.arg(self.keys.holder(user));
        let Some(replies) = self.read_loaded(connection, live, vec![holder], wait).await? else { return Ok(None) };
        let held = held_by(&replies[0])?.into_iter().map(|(_, held)| held);
        let window = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Some(held.skip(window(skip)).take(window(give)).collect()))
    }

    /// What is said of each coupon, in order.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing. [`KvError::Unreadable`] where a coupon is not there.
    pub async fn facts(
        &self,
        connection: &Connection,
        live: &Live,
        coupons: &[CouponId],
        wait: Duration,
    ) -> Loaded<Vec<Facts>> {
        let command = |coupon: &CouponId| {
            let mut command = Command::plain("HMGET");
            command.arg(self.keys.coupon(*coupon)).arg(&["saler", "name", "face_value", "description"]);
            command
        };
        let commands = coupons.iter().map(command).collect();
        let Some(replies) = self.read_loaded(connection, live, commands, wait).await? else { return Ok(None) };
        let facts = |reply: &Reply| {
            Ok(Facts {
                saler: reply.text(0)?.to_owned(),
                name: reply.text(1)?.to_owned(),
                face_value: reply.number(2)?,
                description: reply.text(3)?.to_owned(),
            })
        };
        replies.iter().map(facts).collect::<Result<_, _>>().map(Some)
    }

    /// Replies to commands that only read, in order; `None` where the shard is not that loading. It is looked at last:
    /// a loading that has ended does not come back.
    async fn read_loaded(
        &self,
        connection: &Connection,
        live: &Live,
        mut commands: Vec<Command>,
        wait: Duration,
    ) -> Loaded<Vec<Reply>> {
        // Of one key, for a reply that is an array.
        let mut is_live = Command::plain("MGET");
        is_live.arg(self.keys.live());
        commands.push(is_live);
        let mut replies = connection.read_all(&commands, wait).await?;
        let last = replies.pop().ok_or(KvError::Unreadable)?;
        Ok((last.text(0).ok() == Some(live.as_str())).then_some(replies))
    }
}

/// Coupons and when each was claimed last, the newest first, from all fields of a holder.
fn held_by(holder: &Reply) -> Result<Vec<(EntryId, Held)>, KvError> {
    let mut claims = Vec::with_capacity(holder.elements() / 2);
    for at in (0..holder.elements()).step_by(2) {
        let field = holder.text(at)?;
        let id = field.split_once(':').map_or(field, |(id, _)| id);
        let coupon = CouponId(id.parse().map_err(|_| KvError::Unreadable)?);
        claims.push((coupon, super::field(&mut holder.text(at + 1)?.split(':'))?.1));
    }
    claims.sort_unstable();
    let latest = |of_one: &[(CouponId, EntryId)]| {
        let (coupon, entry) = of_one[of_one.len() - 1];
        (entry, Held { coupon, count: u8::try_from(of_one.len()).unwrap_or(u8::MAX) })
    };
    let mut held: Vec<_> = claims.chunk_by(|a, b| a.0 == b.0).map(latest).collect();
    held.sort_unstable_by_key(|(entry, held)| std::cmp::Reverse((*entry, held.coupon)));
    Ok(held)
}

fn page<T>(reply: &Reply, parts: usize, item: impl Fn(&Reply, usize) -> Result<T, KvError>) -> Loaded<Vec<T>> {
    match reply.word() {
        "page" => (0..reply.parts() / parts).map(|n| item(reply, 1 + n * parts)).collect::<Result<_, _>>().map(Some),
        "not-loaded" => Ok(None),
        _ => Err(KvError::Unreadable),
    }
}
