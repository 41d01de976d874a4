//! Turns of callers who wait for a password hash.
//!
//! Callers from one address wait in one line, and the lines take turns. Every second turn belongs to networks that have logged in
//! as the same user lately, so a crowd of strangers delays them little. So thousands of callers from one address delay a
//! caller from another address by a single turn. If all places are taken, the newest caller of the longest line loses his
//! place, so a short line always gets one.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::Address;

/// Whose line a caller waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashLine {
    Address(Address),
    /// An address that has logged in as the user lately.
    KnownAddress(Address),
    /// A command of this program.
    Program,
}

/// Why a caller got no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// All places are taken, and no line is longer than the caller's. Or too many callers of the line wait for the name.
    Full,
    TooLate,
}

/// The right to compute one hash. Dropping it gives the turn to the next caller. `None` once it has been given away.
pub(super) struct Turn(Option<Arc<Turns>>);

pub(super) struct Turns {
    queue: Mutex<Queue>,
    places: usize,
    /// A name stands in the queue as a hash, because a client may send any text.
    name_hasher: RandomState,
}

struct Queue {
    /// Turns that nobody has.
    free: usize,
    waiting: usize,
    lines: HashMap<HashLine, VecDeque<WaitingCaller>>,
    /// Callers who wait, by line and name.
    of_name: HashMap<(HashLine, u64), usize>,
    /// Every line in `lines` once: known addresses, and all others. The first one is next.
    orders: [VecDeque<HashLine>; 2],
    /// The order whose turn is next, unless it is empty.
    next_order: usize,
    next_id: u64,
}

struct WaitingCaller {
    id: u64,
    name: u64,
    call: oneshot::Sender<Turn>,
}

/// Leaves the line when the caller gives up.
struct PlaceInLine<'a> {
    turns: &'a Turns,
    line: HashLine,
    id: u64,
}

/// Callers of a line who may wait for the same name. They guess, because callers with the same password share a place.
const OF_NAME_MAX: usize = 64;

impl Turns {
    /// `parallel` turns at the same time, and `places` for callers who wait.
    pub(super) fn new(parallel: NonZeroUsize, places: usize) -> Self {
        let queue = Queue {
            free: parallel.get(),
            waiting: 0,
            lines: HashMap::new(),
            of_name: HashMap::new(),
            orders: Default::default(),
            next_order: 0,
            next_id: 0,
        };
        Self { queue: Mutex::new(queue), places, name_hasher: RandomState::new() }
    }

    /// Callers who wait now.
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting
    }

    /// Waits for a turn in `line`, at most `wait`. `name` is the name whose password is hashed.
    ///
    /// # Errors
    /// [`NoTurn`]
    pub(super) async fn take(self: &Arc<Self>, line: HashLine, name: &str, wait: Duration) -> Result<Turn, NoTurn> {
        let name = self.name_hasher.hash_one(name);
        let (place, called) = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            if queue.of_name.get(&(line, name)).is_some_and(|waiting| *waiting >= OF_NAME_MAX) {
                return Err(NoTurn::Full);
            }
            if queue.waiting >= self.places && !queue.put_out_instead_of(line) {
                return Err(NoTurn::Full);
            }
            let (id, called) = queue.join(line, name);
            (PlaceInLine { turns: self, line, id }, called)
        };
        let called = tokio::time::timeout(wait, called).await;
        drop(place);
        // A caller who was put out has lost the sender of his turn.
        called.map_err(|_| NoTurn::TooLate)?.map_err(|_| NoTurn::Full)
    }

    /// Gives a turn to the next caller who still waits.
    fn pass_on(self: Arc<Self>) {
        loop {
            let next = self.queue().leave_first();
            let Some(next) = next else { return };
            match next.call.send(Turn(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // The caller has given up.
                Err(mut returned) => returned.0 = None,
            }
        }
    }

    /// A poisoned lock is used anyway: every single change leaves the queue consistent.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HashLine {
    /// The place in `Queue::orders`.
    const fn order(self) -> usize {
        match self {
            Self::KnownAddress(_) => 0,
            Self::Address(_) | Self::Program => 1,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

impl Drop for PlaceInLine<'_> {
    fn drop(&mut self) {
        self.turns.queue().leave(self.line, self.id);
    }
}

impl Queue {
    fn join(&mut self, line: HashLine, name: u64) -> (u64, oneshot::Receiver<Turn>) {
        let (call, called) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        let callers = self.lines.entry(line).or_default();
        if callers.is_empty() {
            self.orders[line.order()].push_back(line);
        }
        callers.push_back(WaitingCaller { id, name, call });
        *self.of_name.entry((line, name)).or_default() += 1;
        self.waiting += 1;
        (id, called)
    }

    /// Takes the first caller of the line whose turn it is, and puts the line to the end. Without callers the turn is free.
    fn leave_first(&mut self) -> Option<WaitingCaller> {
        let (first, other) = (self.next_order, 1 - self.next_order);
        self.next_order = other;
        let Some(line) = self.orders[first].pop_front().or_else(|| self.orders[other].pop_front()) else {
            self.free += 1;
            return None;
        };
        let callers = self.lines.get_mut(&line).expect("a line in `orders` has callers");
        let first = callers.pop_front();
        if callers.is_empty() {
            self.lines.remove(&line);
        } else {
            self.orders[line.order()].push_back(line);
        }
        self.forget_caller(line, first.as_ref());
        first
    }

    /// Corrects the counts after a caller was taken out of the line.
    fn forget_caller(&mut self, line: HashLine, caller: Option<&WaitingCaller>) {
        let Some(caller) = caller else { return };
        self.waiting -= 1;
        if let Some(waiting) = self.of_name.get_mut(&(line, caller.name)) {
            *waiting -= 1;
            if *waiting == 0 {
                self.of_name.remove(&(line, caller.name));
            }
        }
    }

    fn leave(&mut self, line: HashLine, id: u64) {
        let Some(callers) = self.lines.get_mut(&line) else { return };
        let Some(place) = callers.iter().position(|caller| caller.id == id) else { return };
        let caller = callers.remove(place);
        self.forget_caller(line, caller.as_ref());
        self.forget_if_empty(line);
    }

    /// Puts out the newest caller of the longest line, if that line stays longer than `line` becomes.
    fn put_out_instead_of(&mut self, line: HashLine) -> bool {
        let own = self.lines.get(&line).map_or(0, VecDeque::len);
        let longest = self.lines.iter().max_by_key(|(_, callers)| callers.len());
        let is_longer = longest.filter(|(_, callers)| callers.len() > own + 1);
        // Thousands of networks with a caller each have no long line, and take no place from whoever logged in here lately.
        let strangers = || self.lines.keys().find(|other| matches!(other, HashLine::Address(_)));
        let is_known = matches!(line, HashLine::KnownAddress(_));
        let chosen = is_longer.map(|(line, _)| line).or_else(|| if is_known { strangers() } else { None });
        let Some(longest) = chosen.copied() else { return false };
        let newest = self.lines.get_mut(&longest).and_then(VecDeque::pop_back);
        self.forget_caller(longest, newest.as_ref());
        self.forget_if_empty(longest);
        true
    }

    fn forget_if_empty(&mut self, line: HashLine) {
        if self.lines.get(&line).is_some_and(VecDeque::is_empty) {
            self.lines.remove(&line);
            self.orders[line.order()].retain(|other| *other != line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::poll;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    type Call<'a> = Pin<Box<dyn Future<Output = Result<Turn, NoTurn>> + 'a>>;

    fn line(last: u8) -> HashLine {
        HashLine::Address(Address::new([192, 0, 2, last].into()))
    }

    fn turns(places: usize) -> Arc<Turns> {
        Arc::new(Turns::new(NonZeroUsize::MIN, places))
    }

    /// A caller who waits.
    async fn wait(turns: &Arc<Turns>, last: u8) -> Call<'_> {
        let mut call: Call = Box::pin(turns.take(line(last), "", LONG));
        assert!(poll!(&mut call).is_pending());
        call
    }

    #[tokio::test]
    async fn a_caller_from_another_address_waits_for_one_turn_of_a_long_line() {
        let turns = turns(100);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let mut crowd = Vec::new();
        for _ in 0..50 {
            crowd.push(wait(&turns, 1).await);
        }
        let other = wait(&turns, 2).await;
        assert_eq!(turns.waiting(), 51);
        drop(held);
        let first = crowd.remove(0).await.expect("the first of the long line");
        drop(first);
        let second = other.await.expect("the other line has the second turn");
        assert_eq!(turns.waiting(), 49);
        drop(second);
        assert!(crowd.remove(0).await.is_ok(), "and then the long line again");
    }

    #[tokio::test]
    async fn of_one_name_64_callers_of_an_address_wait_and_others_still_have_a_place() {
        let turns = turns(1_000);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let mut waiting: Vec<Call<'_>> = (0..64).map(|_| Box::pin(turns.take(line(1), "ann", LONG)) as _).collect();
        for call in &mut waiting {
            assert!(poll!(call).is_pending());
        }
        assert_eq!(turns.take(line(1), "ann", LONG).await.err(), Some(NoTurn::Full));
        for (last, name) in [(1, "bob"), (2, "ann")] {
            let mut call: Call<'_> = Box::pin(turns.take(line(last), name, LONG));
            assert!(poll!(&mut call).is_pending());
        }
        drop(waiting.pop());
        let mut call: Call<'_> = Box::pin(turns.take(line(1), "ann", LONG));
        assert!(poll!(&mut call).is_pending(), "one has left");
        drop((call, waiting));
        drop(held);
        assert_eq!((turns.waiting(), turns.queue().of_name.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_known_address_gets_a_place_although_no_line_is_long() {
        let turns = turns(3);
        let _held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let crowd = [wait(&turns, 1).await, wait(&turns, 2).await, wait(&turns, 3).await];
        assert_eq!(turns.take(line(4), "", LONG).await.err(), Some(NoTurn::Full), "a stranger has no better claim");
        let address = Address::new([192, 0, 2, 99].into());
        let mut known: Call<'_> = Box::pin(turns.take(HashLine::KnownAddress(address), "ann", LONG));
        assert!(poll!(&mut known).is_pending(), "a stranger has lost the place");
        assert_eq!(turns.waiting(), 3);
        drop(crowd);
    }

    #[tokio::test]
    async fn every_second_turn_is_for_known_addresses() {
        let turns = turns(100);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let mut crowd = Vec::new();
        for last in 1..=20 {
            crowd.push(wait(&turns, last).await);
        }
        let address = Address::new([192, 0, 2, 99].into());
        let mut known: Call<'_> = Box::pin(turns.take(HashLine::KnownAddress(address), "ann", LONG));
        assert!(poll!(&mut known).is_pending());
        drop(held);
        let mut before = 0;
        let turn = loop {
            match poll!(&mut known) {
                std::task::Poll::Ready(turn) => break turn,
                std::task::Poll::Pending => drop(crowd.remove(0).await.expect("a stranger's turn")),
            }
            before += 1;
        };
        assert!(turn.is_ok() && before <= 1, "{before} strangers came first");
    }

    #[tokio::test]
    async fn in_a_full_queue_the_newest_of_the_longest_line_makes_place_for_a_short_line() {
        let turns = turns(3);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let mut crowd = Vec::new();
        for _ in 0..3 {
            crowd.push(wait(&turns, 1).await);
        }
        assert_eq!(turns.take(line(1), "", LONG).await.err(), Some(NoTurn::Full), "the long line gets no more places");
        let other = wait(&turns, 2).await;
        assert_eq!(crowd.pop().expect("three").await.err(), Some(NoTurn::Full), "the newest is put out");
        assert_eq!(
            (turns.waiting(), turns.take(line(2), "", LONG).await.err()),
            (3, Some(NoTurn::Full)),
            "two, and one"
        );
        drop(held);
        drop(crowd.remove(0).await);
        drop(other.await.expect("a turn"));
        drop(crowd.remove(0).await);
        assert_eq!(turns.waiting(), 0);
        assert!(turns.take(line(3), "", LONG).await.is_ok());
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_line_and_the_turn_goes_on() {
        let turns = turns(10);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        assert_eq!(turns.take(line(2), "", Duration::from_millis(1)).await.err(), Some(NoTurn::TooLate));
        assert_eq!(turns.waiting(), 0);
        let (gone, stays) = (wait(&turns, 2).await, wait(&turns, 3).await);
        drop(gone);
        assert_eq!(turns.waiting(), 1);
        drop(held);
        assert!(stays.await.is_ok());
        assert!(turns.take(line(1), "", LONG).await.is_ok(), "no turn is lost");
    }

    #[tokio::test]
    async fn a_turn_that_is_given_to_a_caller_who_has_gone_is_not_lost() {
        let turns = turns(10);
        let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let gone = wait(&turns, 2).await;
        drop(held);
        // The turn is in the channel, and nobody takes it out.
        drop(gone);
        assert!(turns.take(line(1), "", LONG).await.is_ok());
    }
}
