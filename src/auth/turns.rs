//! Turns of callers who wait for a password hash.
//!
//! Callers from one address wait in one line, and the lines take turns. So thousands of callers from one address delay a
//! caller from another address by a single turn. The lines stand in three groups, which take turns as well: networks that have
//! logged in as the same user lately, new passwords, and logins of strangers. So each group gets a third of the hashes at
//! least, and a crowd in one group delays the others little. If all places are taken, the newest caller of the longest line
//! loses his place, so a short line always gets one. Among short lines, the larger group of strangers loses it.

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
    /// An address that registers somebody, or changes a password and has not logged in as the user lately.
    NewPassword(Address),
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
    /// Callers who wait, by group.
    waiting: [usize; GROUPS],
    lines: HashMap<HashLine, VecDeque<WaitingCaller>>,
    /// Callers who wait, by line and name.
    of_name: HashMap<(HashLine, u64), usize>,
    /// Every line in `lines` once, by group. The first one is next.
    orders: [VecDeque<HashLine>; GROUPS],
    /// The group whose turn is next, unless nobody waits there.
    next_group: usize,
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
/// Groups of lines: the values of [`HashLine::group`].
const GROUPS: usize = 3;
const KNOWN: usize = 0;
const NEW_PASSWORDS: usize = 1;
const STRANGERS: usize = 2;

impl Turns {
    /// `parallel` turns at the same time, and `places` for callers who wait.
    pub(super) fn new(parallel: NonZeroUsize, places: usize) -> Self {
        let queue = Queue {
            free: parallel.get(),
            waiting: [0; GROUPS],
            lines: HashMap::new(),
            of_name: HashMap::new(),
            orders: Default::default(),
            next_group: KNOWN,
            next_id: 0,
        };
        Self { queue: Mutex::new(queue), places, name_hasher: RandomState::new() }
    }

    /// Callers who wait now.
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting.iter().sum()
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
            if queue.waiting.iter().sum::<usize>() >= self.places && !queue.put_out_instead_of(line) {
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
    const fn group(self) -> usize {
        match self {
            Self::KnownAddress(_) => KNOWN,
            Self::NewPassword(_) => NEW_PASSWORDS,
            Self::Address(_) | Self::Program => STRANGERS,
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
            self.orders[line.group()].push_back(line);
        }
        callers.push_back(WaitingCaller { id, name, call });
        *self.of_name.entry((line, name)).or_default() += 1;
        self.waiting[line.group()] += 1;
        (id, called)
    }

    /// Takes the first caller of the line whose turn it is, and puts the line to the end of its group. Without callers the turn
    /// is free.
    fn leave_first(&mut self) -> Option<WaitingCaller> {
        let mut groups = (0..GROUPS).map(|step| (self.next_group + step) % GROUPS);
        let Some(group) = groups.find(|group| !self.orders[*group].is_empty()) else {
            self.free += 1;
            return None;
        };
        self.next_group = (group + 1) % GROUPS;
        let line = self.orders[group].pop_front()?;
        let callers = self.lines.get_mut(&line).expect("a line in `orders` has callers");
        let first = callers.pop_front();
        if callers.is_empty() {
            self.lines.remove(&line);
        } else {
            self.orders[line.group()].push_back(line);
        }
        self.forget_caller(line, first.as_ref());
        first
    }

    /// Corrects the counts after a caller was taken out of the line.
    fn forget_caller(&mut self, line: HashLine, caller: Option<&WaitingCaller>) {
        let Some(caller) = caller else { return };
        self.waiting[line.group()] -= 1;
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
        let Some(longest) = is_longer.map(|(line, _)| *line).or_else(|| self.line_of_larger_group(line)) else {
            return false;
        };
        let newest = self.lines.get_mut(&longest).and_then(VecDeque::pop_back);
        self.forget_caller(longest, newest.as_ref());
        self.forget_if_empty(longest);
        true
    }

    /// The line that was served last in the larger group of strangers. `None` if the group of `line` would become as large.
    ///
    /// Thousands of networks with a caller each have no long line. They take no place from whoever logged in here lately, and
    /// guesses do not keep registrations out, or the other way round.
    fn line_of_larger_group(&self, line: HashLine) -> Option<HashLine> {
        let larger = if self.waiting[NEW_PASSWORDS] > self.waiting[STRANGERS] { NEW_PASSWORDS } else { STRANGERS };
        let is_known = line.group() == KNOWN;
        let may_lose = is_known || self.waiting[larger] > self.waiting[line.group()] + 1;
        self.orders[larger].back().copied().filter(|_| may_lose)
    }

    fn forget_if_empty(&mut self, line: HashLine) {
        if self.lines.get(&line).is_some_and(VecDeque::is_empty) {
            self.lines.remove(&line);
            self.orders[line.group()].retain(|other| *other != line);
        }
    }
}

#[cfg(test)]
mod tests;
