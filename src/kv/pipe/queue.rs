//! Calls in the order they were sent, and what of them the driver has not taken yet.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use super::super::KvError;
use super::super::together::Together;

#[derive(Default)]
pub(super) struct Queue {
    /// Commands that the driver has not taken yet.
    pub(super) outgoing: Vec<u8>,
    /// Bytes ever put there.
    pub(super) queued: u64,
    /// Calls that leave as one when the driver comes by, or something else is called.
    pub(super) together: Option<Together>,
    /// Calls in the order they were sent, from the oldest that somebody waits for or that has no reply yet.
    pub(super) calls: VecDeque<Call>,
    /// The ticket of the first of `calls`, and of the first without a reply. Tickets count up.
    pub(super) first: u64,
    pub(super) unanswered: u64,
    /// There while the driver sleeps and has nothing to write.
    pub(super) driver: Option<Waker>,
    pub(super) has_ended: bool,
    pub(super) reason: Option<io::Error>,
}

pub(super) struct Call {
    /// Where its command begins among all bytes ever queued.
    pub(super) begins_at: u64,
    /// How many replies it gets.
    pub(super) replies: usize,
    /// How many calls, from this one on, share one reply that has not begun; 0: it has its own.
    pub(super) shared_by: usize,
    pub(super) state: State,
}

pub(super) enum State {
    Waiting(Option<Waker>),
    Answered(Vec<u8>),
    /// The driver ended first.
    Failed(KvError),
    /// Nobody waits for it.
    Over,
}

impl Queue {
    /// A call whose command is about to be put behind all others; gives its ticket.
    pub(super) fn push(&mut self, replies: usize) -> u64 {
        self.calls.push_back(Call { begins_at: self.queued, replies, shared_by: 0, state: State::Waiting(None) });
        self.first + self.calls.len() as u64 - 1
    }

    pub(super) fn put(&mut self, pack: impl FnOnce(&mut Vec<u8>)) {
        let before = self.outgoing.len();
        pack(&mut self.outgoing);
        self.queued += (self.outgoing.len() - before) as u64;
    }

    /// Puts the call that others may join behind all others: nobody joins it any more.
    pub(super) fn close_together(&mut self) {
        if let Some(together) = self.together.take() {
            self.call(together.first).shared_by = together.cases();
            self.put(|buffer| together.write_to(buffer));
        }
    }

    /// The call of a ticket that somebody holds: such a call stays in the queue.
    pub(super) fn call(&mut self, ticket: u64) -> &mut Call {
        let place = usize::try_from(ticket - self.first).expect("the queue is bounded");
        self.calls.get_mut(place).expect("only calls that are over leave the queue")
    }

    /// The first call that has no reply.
    pub(super) fn next(&mut self) -> Option<&mut Call> {
        let place = usize::try_from(self.unanswered - self.first).expect("the queue is bounded");
        self.calls.get_mut(place)
    }

    /// Gives the first call that has no reply this one; whoever waits for it is to be woken.
    pub(super) fn answer(&mut self, bytes: &[u8], wakers: &mut Vec<Waker>) {
        let call = self.next().expect("a call that is answered is in the queue");
        if let State::Waiting(waker) = &mut call.state {
            wakers.extend(waker.take());
            call.state = State::Answered(bytes.to_vec());
        }
        self.unanswered += 1;
        self.tidy();
    }

    /// Lets go of calls that have their replies and that nobody waits for.
    pub(super) fn tidy(&mut self) {
        while self.first < self.unanswered && matches!(self.calls.front(), Some(Call { state: State::Over, .. })) {
            self.calls.pop_front();
            self.first += 1;
        }
    }
}
