//! Attempts that come when they come, answered or not: an open loop.
//!
//! Each attempt has its time. One that finds no free connection waits for it, and its wait counts: what is measured is the
//! time from when a customer pressed the button, not from when the program found the time to look.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than any answer is allowed to take.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What came of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it was due, from the begin.
    pub due: Duration,
    /// From then until it was answered.
    pub took: Duration,
    /// 0: not answered.
    pub status: u16,
    /// The answer said that its outcome is unknown.
    pub unknown: bool,
}

/// Sends `requests`, `per_second` of them, until `until` is over or none is left; each of `connections` carries one at a time.
pub async fn run(
    to: SocketAddr,
    requests: Arc<[Vec<u8>]>,
    per_second: u32,
    until: Duration,
    connections: usize,
) -> Vec<Attempt> {
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut lanes = JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        lanes.spawn(async move {
            let (mut attempts, mut connection) = (Vec::new(), None);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = Duration::from_secs(1) * u32::try_from(number).expect("few requests") / per_second;
                let Some(request) = requests.get(number).filter(|_| due < until) else { return attempts };
                tokio::time::sleep_until((began + due).into()).await;
                let answer = tokio::time::timeout(PATIENCE, ask(&mut connection, to, request)).await;
                let (status, unknown) = answer.ok().flatten().unwrap_or_else(|| {
                    connection = None;
                    (0, false)
                });
                attempts.push(Attempt { due, took: began.elapsed().saturating_sub(due), status, unknown });
            }
        });
    }
    lanes.join_all().await.into_iter().flatten().collect()
}

/// The status, and whether the outcome is unknown; `None` where the connection breaks.
async fn ask(connection: &mut Option<TcpStream>, to: SocketAddr, request: &[u8]) -> Option<(u16, bool)> {
    if connection.is_none() {
        let stream = TcpStream::connect(to).await.ok()?;
        stream.set_nodelay(true).ok()?;
        *connection = Some(stream);
    }
    let stream = connection.as_mut()?;
    stream.write_all(request).await.ok()?;
    let (mut answer, mut filled) = ([0; ANSWER_BYTES_MAX], 0);
    loop {
        let read = stream.read(&mut answer[filled..]).await.ok()?;
        filled += read;
        if let Some(status) = whole(&answer[..filled]) {
            let unknown = status == 503 && answer[..filled].windows(15).any(|text| text == b"unknown-outcome");
            return Some((status, unknown));
        }
        if read == 0 {
            return None;
        }
    }
}

/// The status of an answer that has come whole.
fn whole(answer: &[u8]) -> Option<u16> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let body: usize = length.unwrap_or_default();
    (answer.len() >= head + body).then(|| text.get(9..12)?.parse().ok())?
}

/// The customer has his claim.
pub fn is_good(attempt: &Attempt) -> bool {
    attempt.status == 201
}

/// The time that `share` of a hundred of them took at most; zero for none.
pub fn percentile<'a>(attempts: impl Iterator<Item = &'a Attempt>, share: usize) -> Duration {
    let mut took: Vec<Duration> = attempts.map(|attempt| attempt.took).collect();
    took.sort_unstable();
    took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}
