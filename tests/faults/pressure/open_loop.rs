//! An open loop: attempts are sent at fixed times, whether or not earlier attempts are answered.
//!
//! An attempt without a free connection waits for one, and the wait is part of its latency. Latency is measured from
//! the moment when the customer pressed the button.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The result of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When the attempt was due, since the start.
    pub due: Duration,
    /// The time from `due` to the answer.
    pub took: Duration,
    /// The HTTP status. 0: no answer.
    pub status: u16,
    /// Whether the answer says that the outcome is unknown.
    pub unknown: bool,
}

/// Sends `requests` at a rate of `per_second`, until the time `until` or until all are sent. Each of `connections`
/// carries one request at a time.
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

/// Sends one request. Returns the status and whether the outcome is unknown, or `None` if the connection breaks.
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
        if let Some(status) = status_of_complete(&answer[..filled]) {
            let unknown = status == 503 && answer[..filled].windows(15).any(|text| text == b"unknown-outcome");
            return Some((status, unknown));
        }
        if read == 0 {
            return None;
        }
    }
}

/// The status of an answer that has arrived completely, else `None`.
fn status_of_complete(answer: &[u8]) -> Option<u16> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let body: usize = length.unwrap_or_default();
    (answer.len() >= head + body).then(|| text.get(9..12)?.parse().ok())?
}

/// Whether the attempt was granted a claim.
pub fn is_good(attempt: &Attempt) -> bool {
    attempt.status == 201
}

/// The latency percentile `share`, of 100. Zero without attempts.
pub fn percentile<'a>(attempts: impl Iterator<Item = &'a Attempt>, share: usize) -> Duration {
    let mut took: Vec<Duration> = attempts.map(|attempt| attempt.took).collect();
    took.sort_unstable();
    took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}
