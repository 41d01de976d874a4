//! An open-loop load generator for `scripts/bench`. Sends the requests of a file at a steady rate, even while earlier
//! requests wait for answers. Writes the latency of every request, measured from its due time.
//!
//! usage: `open_loop ADDRESS REQUESTS RESULTS PER_SECOND SECONDS CONNECTIONS`
//!
//! REQUESTS is a file with `METHOD path [token]` per line. RESULTS gets `due,took,status` per line. Times are in
//! microseconds, with the timer's resolution of one millisecond. Status 0 means no answer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[path = "../tests/faults/pressure/open_loop.rs"]
#[expect(dead_code, reason = "only the fault suite uses the rest of the module")]
mod open_loop;

#[tokio::main(worker_threads = 1)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, requests, results, per_second, seconds, connections] = arguments.as_slice() else {
        eprintln!("usage: open_loop ADDRESS REQUESTS RESULTS PER_SECOND SECONDS CONNECTIONS");
        std::process::exit(2);
    };
    let number = |text: &str| text.parse::<u32>().expect("a whole number");
    let to: SocketAddr = address.parse().expect("an address such as 127.0.0.1:20080");
    let lines = std::fs::read_to_string(requests).expect("the requests can be read");
    let requests: Arc<[Vec<u8>]> = lines.lines().map(request).collect();
    let (until, lanes) = (Duration::from_secs(number(seconds).into()), number(connections) as usize);
    let attempts = open_loop::run(to, requests, number(per_second), until, lanes).await;
    let mut file = std::io::BufWriter::new(std::fs::File::create(results).expect("the results can be written"));
    for attempt in attempts {
        writeln!(file, "{},{},{}", attempt.due.as_micros(), attempt.took.as_micros(), attempt.status)
            .expect("the disk has room");
    }
    file.flush().expect("the disk has room");
}

fn request(line: &str) -> Vec<u8> {
    let mut parts = line.split(' ');
    let (method, path) = (parts.next().expect("a method"), parts.next().expect("a path"));
    let token = parts.next().map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n").into_bytes()
}
