//! Fuzzing of every route: thousands of valid, nearly valid and invalid requests from a seed, without a token and as
//! customer, saler and admin. Every answer must follow the wire contract, and a 5xx must be a documented 503.
//!
//! `COUPONRUSH_TEST_SEED` repeats a run. Except for the tokens, requests depend only on the seed.

mod generate;
mod judge;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use couponrush::domain::Kind;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::helpers::{TestApp, raw};
use generate::{Generator, Random};
use routes::ROUTES;

/// The number of senders, and the requests of every sender: 10,400 in all.
const SENDERS: usize = 4;
const CASES: usize = 2_600;
/// A body without rate limits. Sent to the switches, it turns all of them on.
const UNLIMITED: &str = r#"{"user_per_second":0,"user_per_minute":0,"ip_per_second":0,"ip_per_minute":0}"#;

/// The users of a sender, with names and tokens. The saler has a coupon.
#[derive(Clone)]
pub struct Actors {
    pub customer: (String, String),
    pub saler: (String, String),
    pub admin: (String, String),
}

impl Actors {
    /// Creates new users, because a generated request may have logged out or blocked the earlier ones.
    async fn make(app: &TestApp, sender: usize, round: usize) -> Self {
        let made = |kind: &str| format!("{kind}-{sender}-{round}");
        let user = async |name: String, kind| (name.clone(), app.user(&name, kind).await);
        let customer = user(made("customer"), Kind::Customer).await;
        let saler = user(made("saler"), Kind::Saler).await;
        let admin = user(made("admin"), Kind::Admin).await;
        app.client().create_coupon(&saler.0, &saler.1, "ten", 10).await;
        Self { customer, saler, admin }
    }
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    match std::env::var("COUPONRUSH_TEST_SEED") {
        Ok(seed) => seed.parse().expect("COUPONRUSH_TEST_SEED is a number"),
        Err(_) => now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_to_whatever_route_is_answered_and_never_with_an_error_of_ours() {
    let seed = seed();
    println!("COUPONRUSH_TEST_SEED={seed}");
    let app = TestApp::start_with(|args| {
        crate::helpers::without_rates(args);
        args.admission.failed_logins_per_minute = 1_000_000;
        args.admission.ip_failed_logins_per_minute = 1_000_000;
        args.admission.registrations_per_minute = Some(1_000_000);
        args.sign_secret = Some("a secret of thirty-two bytes at least".to_owned());
    })
    .await;
    let started = Instant::now();
    let runtime = Handle::current();
    let mut answers = BTreeMap::new();
    block_in_place(|| {
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (app, runtime) = (&app, &runtime);
                    scope.spawn(move || send(app, runtime, seed, sender))
                })
                .collect();
            for sender in senders {
                for (status, count) in sender.join().expect("every answer was in order") {
                    *answers.entry(status).or_insert(0) += count;
                }
            }
        });
    });
    let took = started.elapsed();
    println!("{} requests in {took:.1?}, answered with {answers:?}", SENDERS * CASES);
    for status in [200, 201, 204, 400, 401, 403, 404, 405, 413] {
        assert!(answers.contains_key(&status), "no request was good or bad enough for {status}: {answers:?}");
    }
}

/// Sends [`CASES`] requests in sequence, every one over a new connection. Returns the number of answers by status.
fn send(app: &TestApp, runtime: &Handle, seed: u64, sender: usize) -> BTreeMap<u16, usize> {
    let address = app.instances[0].address;
    let mut random = Random::new(seed.wrapping_mul(1_000).wrapping_add(sender as u64));
    let mut actors = runtime.block_on(Actors::make(app, sender, 0));
    let mut answers = BTreeMap::new();
    for number in 0..CASES {
        let route = random.pick(ROUTES);
        let case = Generator { random: &mut random, actors: &actors, number, sender }.case(route);
        let answer = raw(address, &case.head, &case.body);
        if let Err(wrong) = judge::judge(&case, &answer) {
            panic!("seed {seed}, sender {sender}, request {number}: {wrong}\n{case}\n-- answered:\n{}", answer.text);
        }
        *answers.entry(answer.status()).or_insert(0) += 1;
        if route.spoils && answer.status() < 300 {
            runtime.block_on(restore(app, &actors));
            actors = runtime.block_on(Actors::make(app, sender, number + 1));
        }
    }
    answers
}

/// Resets limits, switches and blocks that an admin may have changed.
async fn restore(app: &TestApp, actors: &Actors) {
    let root = app.user(&format!("restoring after {}", actors.admin.0), Kind::Admin).await;
    for path in ["/admin/switches", "/admin/limits"] {
        let answer = app.client().send("PUT", path, &root, Some(UNLIMITED)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    app.client().send("DELETE", "/admin/blacklist/ips/127.0.0.1", &root, None).await;
}

#[test]
fn the_table_has_every_route_of_the_service() {
    /// Routes of the operators' listener, streams without an end (tests/api/events.rs), and what ends the sessions of all senders
    /// (tests/api/accounts.rs).
    const ELSEWHERE: [&str; 3] = ["/metrics", "/sec/events", "/admin/end-sessions"];
    let document = couponrush::http::document();
    let described: BTreeSet<&str> =
        document.paths.paths.keys().map(String::as_str).filter(|path| !ELSEWHERE.contains(path)).collect();
    let known: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(known, described);
}
