//! Honest users: their requests, the times of the answers, and wrong answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{Answer, PASSWORD};
use crate::world::{OPERATOR, SHOP, World, from, log_in, register};

/// Number of customers who have sent a request. Each request is of a new customer.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Maximum time until an operator's command is in force.
const COMMAND_WITHIN: Duration = Duration::from_secs(1);

/// With fewer answers, the median counts.
const FEW: usize = 20;

/// Answers of one kind.
#[derive(Debug, Default)]
struct Deeds(Vec<Duration>);

/// The answers to honest users during a period.
#[derive(Debug, Default)]
pub struct Diary {
    claims: Deeds,
    sales: Deeds,
    lists: Deeds,
    logins: Deeds,
    operator_logins: Deeds,
    registrations: Deeds,
    changes: Deeds,
    commands: Deeds,
    pub wrong: Vec<String>,
}

impl Diary {
    /// The 90th percentile of the times of each kind. The median for a kind with few answers.
    pub fn times(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let Self { claims, sales, lists, logins, operator_logins, registrations, changes, commands, wrong: _ } = self;
        let all = [
            ("a claim", claims),
            ("the list of sales", sales),
            ("a customer's list", lists),
            ("a merchant's login", logins),
            ("an operator's login", operator_logins),
            ("a registration", registrations),
            ("a merchant's change", changes),
            ("an operator's command", commands),
        ];
        all.into_iter().map(|(deed, Deeds(times))| {
            let mut times = times.clone();
            times.sort_unstable();
            let share = if times.len() < FEW { times.len() / 2 } else { times.len() * 9 / 10 };
            (deed, times.get(share).copied().unwrap_or_default())
        })
    }
}

/// Lets honest users send their usual requests for `duration`.
pub async fn watch(world: &World, duration: Duration) -> Diary {
    let end = Instant::now() + duration;
    let every = |ms| (Duration::from_millis(ms), end);
    let (claims, sales, lists, logins, operator_logins, registrations, changes, commands) = tokio::join!(
        repeat(every(20), || claim(world)),
        repeat(every(50), || see_sales(world)),
        repeat(every(50), || list(world)),
        repeat(every(600), || log_in_as(world, "shop", SHOP)),
        repeat(every(600), || log_in_as(world, "root", OPERATOR)),
        repeat(every(200), || register_somebody(world)),
        repeat(every(600), || change(world)),
        repeat(every(500), || command(world)),
    );
    let mut wrong = Vec::new();
    let mut times = |(times, mut failures): (Deeds, Vec<String>)| {
        wrong.append(&mut failures);
        times
    };
    let (claims, sales, lists) = (times(claims), times(sales), times(lists));
    let (logins, operator_logins) = (times(logins), times(operator_logins));
    let registrations = times(registrations);
    let (changes, commands) = (times(changes), times(commands));
    Diary { claims, sales, lists, logins, operator_logins, registrations, changes, commands, wrong }
}

/// Repeats a deed until the end. Returns the times, and a sentence for each wrong answer.
async fn repeat<F: Future<Output = Result<(), String>>>(
    (pause, end): (Duration, Instant),
    deed: impl Fn() -> F,
) -> (Deeds, Vec<String>) {
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        match deed().await {
            Ok(()) => times.push(began.elapsed()),
            Err(sentence) => wrong.push(sentence),
        }
        tokio::time::sleep(pause).await;
    }
    (Deeds(times), wrong)
}

/// The next customer's number, token and address.
fn next(world: &World) -> (usize, &str, String) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed) % world.customers.len();
    (n, &world.customers[n], format!("10.{}.{}.1", n / 250, n % 250))
}

fn expect(what: &str, answer: &Answer, is_right: bool) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("{what}: {} {:?}", answer.status, answer.text)) }
}

async fn claim(world: &World) -> Result<(), String> {
    let (_, token, address) = next(world);
    let answer = from(world.client(), &address, "PATCH", "/api/users/shop/coupons/rush", token, None).await;
    expect("a claim", &answer, ["claimed", "already-claimed"].contains(&answer.header("Claim-Result")))
}

/// The sale must be on the first page.
async fn see_sales(world: &World) -> Result<(), String> {
    let (.., address) = next(world);
    let answer = from(world.client(), &address, "GET", "/sec/list", "", None).await;
    let is_shown = answer.text.contains(&format!("\"product_id\":{},", world.product));
    expect("the list of sales", &answer, answer.status == 200 && is_shown)
}

async fn list(world: &World) -> Result<(), String> {
    let (n, token, address) = next(world);
    let path = format!("/api/users/customer-{n}/coupons");
    let answer = from(world.client(), &address, "GET", &path, token, None).await;
    expect("a customer's list", &answer, [200, 204].contains(&answer.status))
}

async fn log_in_as(world: &World, name: &str, address: &str) -> Result<(), String> {
    let answer = log_in(world.client(), name, PASSWORD, address).await;
    expect(&format!("a login of {name}"), &answer, answer.status == 200)
}

/// A registration always needs a password hash. A repeated login does not.
async fn register_somebody(world: &World) -> Result<(), String> {
    let (n, _, address) = next(world);
    let answer = register(world.client(), &format!("newcomer-{n}"), "customer", &address).await;
    expect("a registration", &answer, answer.status == 201)
}

async fn change(world: &World) -> Result<(), String> {
    let body = json!({"activity_id": world.activity, "buy_limit": 1});
    let answer = from(world.client(), SHOP, "POST", "/activity/update", &world.shop, Some(&body)).await;
    expect("a merchant's change", &answer, answer.status == 200)
}

/// Blocks a customer. The command is done when the session has ended, so the next claim is refused.
async fn command(world: &World) -> Result<(), String> {
    let (n, token, address) = next(world);
    let path = format!("/admin/blacklist/users/customer-{n}");
    let began = Instant::now();
    let answer = world.ops().put(&path, &world.operator, &json!({"seconds": 600})).await;
    expect("an operator's command", &answer, answer.status == 200)?;
    loop {
        let answer = from(world.client(), &address, "PATCH", "/api/users/shop/coupons/rush", token, None).await;
        if answer.status == 401 {
            break;
        }
        if began.elapsed() > COMMAND_WITHIN {
            return expect("a blocked customer", &answer, false);
        }
    }
    world.ops().send("DELETE", &path, &world.operator, None).await;
    Ok(())
}
