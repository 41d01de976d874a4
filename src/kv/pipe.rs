//! Calls over one socket: written together, answered in the order they were sent.
//!
//! Callers put packed commands into a queue; one task, the driver, owns the socket. It writes all that has come together since
//! it last ran with one system call, and reads as many replies with another: under load that is a call of the kernel for
//! dozens of claims. On a worker's single thread the queue's lock is always free; it is there for the background tasks,
//! and never held across an await.
//!
//! A caller that goes away keeps its place in the queue until its reply has been read, so that every reply finds its own
//! call. When the driver ends, for whatever reason, every call that waits is told whether any of its bytes had been handed
//! to the kernel, and nothing is taken any more: a pipe never reconnects.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::KvError;
use super::frame::{Head, Scan, head};
use super::together::{Case, Together};
use queue::{Queue, State};

/// Calls that may wait for their replies; the callers' deadlines bound how long.
pub(super) const CALLS_WAITING_MAX: usize = 4_096;
/// What a buffer begins with, and shrinks back to after a large command or reply.
const BUFFER_BYTES: usize = 64 << 10;
/// A reply that is longer ends the connection; the largest read of this program takes some hundred kilobytes.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// The near end. Dropping it closes the socket.
pub(super) struct Pipe {
    queue: Arc<Shared>,
    _driver: AbortOnDropHandle<()>,
}

/// What callers and the driver share.
struct Shared {
    queue: Mutex<Queue>,
    /// Cancelled once the driver has ended.
    ended: CancellationToken,
}

/// A call's replies, once they are there. Dropping it gives them up; the call may be carried out all the same.
pub(super) struct Replies<'a> {
    shared: &'a Shared,
    ticket: u64,
    is_over: bool,
}

/// The far end: owns the socket.
struct Driver<S> {
    shared: Arc<Shared>,
    socket: S,
    writing: Vec<u8>,
    /// How much of `writing` the kernel has, and of all that was ever queued.
    written: usize,
    handed_over: u64,
    /// What was read and belongs to replies that are not complete: `begin..end` of `reading`.
    reading: Vec<u8>,
    begin: usize,
    end: usize,
    scan: Option<Scan>,
    /// Of callers whose replies have come, until the lock is released.
    wakers: Vec<Waker>,
    reason: Option<io::Error>,
}

impl Pipe {
    /// Calls go over `socket` from now on, driven by a task of this runtime.
    pub(super) fn new(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), ended: CancellationToken::new() });
        let driver = Driver {
            shared: Arc::clone(&shared),
            socket,
            writing: Vec::new(),
            written: 0,
            handed_over: 0,
            reading: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            scan: None,
            wakers: Vec::new(),
            reason: None,
        };
        Self { queue: shared, _driver: AbortOnDropHandle::new(tokio::spawn(driver.run())) }
    }

    /// Puts what `pack` writes into the queue: as many commands as `replies`, which will be given in a row.
    ///
    /// # Errors
    /// [`KvError::Full`] and [`KvError::NotConnected`]: nothing is sent.
    pub(super) fn call(&self, replies: usize, pack: impl FnOnce(&mut Vec<u8>)) -> Result<Replies<'_>, KvError> {
        let mut queue = self.queue.open()?;
        queue.close_together();
        let ticket = queue.push(replies);
        queue.put(pack);
        Ok(self.sent(queue, ticket))
    }

    /// Adds a case to the call of its script that leaves next. It has a reply of its own.
    ///
    /// # Errors
    /// As [`Pipe::call`].
    pub(super) fn join(&self, case: &impl Case) -> Result<Replies<'_>, KvError> {
        let mut queue = self.queue.open()?;
        if !queue.together.as_ref().is_some_and(|together| together.takes(case)) {
            queue.close_together();
        }
        let ticket = queue.push(1);
        queue.together.get_or_insert_with(|| Together::new(case, ticket)).add(case);
        Ok(self.sent(queue, ticket))
    }

    /// Wakes the driver for what was put into the queue.
    fn sent(&self, mut queue: MutexGuard<'_, Queue>, ticket: u64) -> Replies<'_> {
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        Replies { shared: &self.queue, ticket, is_over: false }
    }

    /// Waits until nothing can be called any more, and says why. The reason is given once.
    pub(super) async fn ended(&self) -> io::Error {
        self.queue.ended.cancelled().await;
        self.queue.lock().reason.take().unwrap_or_else(|| io::Error::other("the connection was closed"))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue, if it takes one more call.
    fn open(&self) -> Result<MutexGuard<'_, Queue>, KvError> {
        let queue = self.lock();
        if queue.has_ended {
            return Err(KvError::NotConnected);
        }
        if queue.calls.len() >= CALLS_WAITING_MAX {
            return Err(KvError::Full);
        }
        Ok(queue)
    }
}

impl Future for Replies<'_> {
    type Output = Result<Vec<u8>, KvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut queue = self.shared.lock();
        let state = &mut queue.call(self.ticket).state;
        let result = match std::mem::replace(state, State::Over) {
            State::Answered(bytes) => Ok(bytes),
            State::Failed(error) => Err(error),
            State::Waiting(waker) => {
                let waker = waker.filter(|waker| waker.will_wake(context.waker()));
                *state = State::Waiting(Some(waker.unwrap_or_else(|| context.waker().clone())));
                return Poll::Pending;
            }
            State::Over => unreachable!("a future that has given its result is not polled again"),
        };
        queue.tidy();
        drop(queue);
        self.is_over = true;
        Poll::Ready(result)
    }
}

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut queue = self.shared.lock();
            queue.call(self.ticket).state = State::Over;
            queue.tidy();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(mut self) {
        self.reason = std::future::poll_fn(|context| self.poll(context)).await.err();
    }

    /// Ready when the connection is of no more use.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.poll_write(context) {
            result?;
        }
        self.poll_read(context)
    }

    /// Writes what is queued; ready when all of it has been handed over.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.writing.len() {
                self.written = 0;
                shrink(&mut self.writing);
                let mut queue = self.shared.lock();
                queue.close_together();
                if queue.outgoing.is_empty() {
                    queue.driver = Some(context.waker().clone());
                    return Poll::Ready(Ok(()));
                }
                std::mem::swap(&mut self.writing, &mut queue.outgoing);
            }
            match ready!(Pin::new(&mut self.socket).poll_write(context, &self.writing[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.handed_over += count as u64;
                }
            }
        }
    }

    /// Reads what there is; ready when there will be no more.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.make_room()?;
            let mut room = ReadBuf::new(&mut self.reading[self.end..]);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut room))?;
            match room.filled().len() {
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                count => self.end += count,
            }
            self.give_out()?;
        }
    }

    /// Room for more behind what was read.
    fn make_room(&mut self) -> io::Result<()> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
            if self.reading.len() > BUFFER_BYTES {
                self.reading = vec![0; BUFFER_BYTES];
            }
        }
        if self.end == self.reading.len() {
            if self.begin > 0 {
                self.reading.copy_within(self.begin.., 0);
                (self.begin, self.end) = (0, self.end - self.begin);
            } else if self.reading.len() < REPLY_BYTES_MAX {
                self.reading.resize(self.reading.len() * 2, 0);
            } else {
                return Err(io::Error::other("a reply is too long"));
            }
        }
        Ok(())
    }

    /// Gives each call whose replies are complete what it waits for.
    fn give_out(&mut self) -> io::Result<()> {
        let mut queue = self.shared.lock();
        while self.begin < self.end {
            let Some(call) = queue.next() else { return Err(io::Error::other("a reply that nobody asked for")) };
            let rest = &self.reading[self.begin..self.end];
            if call.shared_by > 0 {
                let Some((head, length)) = head(rest).map_err(io::Error::other)? else { break };
                let cases = std::mem::take(&mut call.shared_by);
                match head {
                    Head::Array(count) if count == cases => {}
                    // Why none of them was made.
                    Head::Line => {
                        let line = rest[..length].to_vec();
                        (0..cases).for_each(|_| queue.answer(&line, &mut self.wakers));
                    }
                    _ => return Err(io::Error::other("a reply that nobody asked for")),
                }
                self.begin += length;
                continue;
            }
            let scan = self.scan.get_or_insert_with(|| Scan::new(call.replies));
            let Some(length) = scan.end(rest).map_err(io::Error::other)? else { break };
            queue.answer(&rest[..length], &mut self.wakers);
            self.begin += length;
            self.scan = None;
        }
        drop(queue);
        self.wakers.drain(..).for_each(Waker::wake);
        Ok(())
    }
}

/// However the driver ends, by an error, a panic or with its runtime: nobody waits for it in vain.
impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.has_ended = true;
        queue.reason = self.reason.take();
        for call in &mut queue.calls {
            if let State::Waiting(waker) = &mut call.state {
                self.wakers.extend(waker.take());
                // Not one byte of it has left this process.
                let never_sent = call.begins_at >= self.handed_over;
                call.state = State::Failed(if never_sent { KvError::NotConnected } else { KvError::Lost });
            }
        }
        drop(queue);
        self.wakers.drain(..).for_each(Waker::wake);
        self.shared.ended.cancel();
    }
}

/// Empties a buffer, and gives back what a large command took.
fn shrink(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(BUFFER_BYTES);
}

mod queue;
#[cfg(test)]
mod tests;
