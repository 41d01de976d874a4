//! Slow clients, simulated by Debian's slowhttptest. They keep connections busy and must not slow down others.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use couponrush::domain::Kind;

use crate::helpers::{Client, TestApp};

/// Slow connections at the same time, if this process may open enough files.
const CONNECTIONS_MAX: usize = 3_000;
/// The length of an attack, and the pause between two claims of a customer.
const ATTACK: Duration = Duration::from_secs(7);
const PAUSE: Duration = Duration::from_millis(50);
/// The longest wait of a customer during an attack, with repeated attempts. On a busy machine a worker may be delayed.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Attacks that send headers, send a body, or read an answer at a few bytes a second.
const MODES: [(&str, &[&str]); 3] = [
    ("slow headers", &["-H", "-i", "1", "-x", "8", "-u", "/sec/list"]),
    ("slow bodies", &["-B", "-i", "1", "-x", "8", "-s", "4000", "-u", "/api/users"]),
    ("slow reading", &["-X", "-k", "10", "-w", "1", "-y", "16", "-n", "1", "-z", "4", "-u", "/sec/list"]),
];

struct Attack(Child);

impl Attack {
    fn start(mode: &[&str], connections: usize, address: SocketAddr) -> Self {
        let mut command = Command::new("slowhttptest");
        for argument in mode {
            let url = argument.starts_with('/').then(|| format!("http://{address}{argument}"));
            command.arg(url.as_deref().unwrap_or(argument));
        }
        command.args(["-c", &connections.to_string(), "-r", "600", "-v", "0"]);
        command.args(["-l", &ATTACK.as_secs().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("slowhttptest is installed (scripts/stack install)"))
    }

    fn goes_on(&mut self) -> bool {
        self.0.try_wait().expect("the child can be waited for").is_none()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The connections of an attack, at most a quarter of the files that this process may open.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("this is Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is a limit");
    let soft: usize = line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX);
    (soft / 4).min(CONNECTIONS_MAX)
}

/// The established connections of the service.
fn established(address: SocketAddr) -> usize {
    let port = format!(":{:04X}", address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("this is Linux");
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    };
    sockets.lines().filter(is_ours).count()
}

/// Claims until the outcome is known. Returns the time and the number of repeated attempts.
async fn claim(address: SocketAddr, token: &str, during: &str) -> (Duration, usize) {
    let started = Instant::now();
    for again in 0.. {
        // Every attempt opens a new connection, which the server must accept despite the slow ones.
        let answer = Client::new(address).claim("shop", "ten", token).await;
        assert!([201, 204, 503].contains(&answer.status), "{during}: {answer:?}");
        if answer.status != 503 {
            assert!(["claimed", "already-claimed", "sold-out"].contains(&answer.result()), "{during}: {answer:?}");
            return (started.elapsed(), again);
        }
        assert!(started.elapsed() < ANSWER_MAX, "{during}: {answer:?}");
    }
    unreachable!("the loop returns or panics")
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_slow_clients_leave_claims_by_others_working() {
    let app = TestApp::start().await;
    let address = app.instances[0].address;
    let saler = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &saler, "ten", 10).await;
    // Fewer units than customers, so that all kinds of answers occur.
    let customers = app.customers(20).await;
    let connections = connections();
    for (name, mode) in MODES {
        let mut attack = Attack::start(mode, connections, address);
        let (mut claims, mut asked_again, mut slowest, mut busy) = (0, 0, Duration::ZERO, 0);
        while attack.goes_on() {
            for token in &customers {
                let (took, again) = claim(address, token, name).await;
                slowest = slowest.max(took);
                (claims, asked_again) = (claims + 1, asked_again + again);
                tokio::time::sleep(PAUSE).await;
            }
            busy = busy.max(established(address));
        }
        println!("{name}: {busy} connections at once; {claims} claims, {asked_again} repeated attempts, {slowest:.1?}");
        assert!(busy > connections / 2, "{name}: only {busy} of {connections} connections");
        assert!(claims >= customers.len() && slowest < ANSWER_MAX, "{name}: {claims} claims, {slowest:?}");
    }
}
