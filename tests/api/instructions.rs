//! The cost of a claim's handler in instructions. Unlike times, the count does not depend on the load of the machine.
//!
//! The whole service runs under callgrind. Callgrind counts inside the claim's handler (token, admission, gate, slot and claim
//! token), inside the batcher, and inside the task of the batch (call and reply of the script). Actix and the driver of the socket do
//! not count.

use std::process::Command;

use crate::helpers::TestApp;

/// The compiler and the count of the baseline, unoptimized except for dependencies. Valgrind's processor has no SHA-256
/// instructions, so the two signatures of a claim cost more here than on a real processor.
///
/// The session check and the handler take 206,400, the batcher 15,000 and the batch 62,100. Claims are sequential here, so a batch
/// holds one attempt, and the attempt carries the whole cost of the batch. Under load many attempts share the cost. Before the
/// `redis` crate the handler packed the call, waited for the reply and took 188,700. The crate `jsonwebtoken` adds 63,100, because
/// generic code of `serde` is compiled without optimization here. In a release both crates add 2.7 us to a claim
/// (`docs/decisions/0001-redis-crate.md`).
const COUNTED_BY: &str = "rustc 1.95.0";
const INSTRUCTIONS: u64 = 283_500;
/// The allowed growth, in percent.
const GROWTH_MAX: u64 = 10;
const CLAIMS: usize = 300;
/// Attempts for a claim, at most.
const TRIES_MAX: usize = 20;
const COUNTED_FUNCTIONS: [&str; 4] = [
    "--toggle-collect=couponrush::http::extractors::session*",
    "--toggle-collect=couponrush::http::claims::claim_coupon*",
    "--toggle-collect=couponrush::redis::batcher::run_batcher*",
    // The pattern must not match `send_batches`: entering a second function inside the batcher would switch counting off.
    "--toggle-collect=couponrush::redis::batcher::send_batch::*",
];
const COUNTED: &str = "instructions::what_is_counted";

#[test]
fn a_claim_takes_no_more_instructions_than_it_did() {
    let compiler = Command::new("rustc").arg("--version").output().expect("the tool chain is there");
    if !String::from_utf8_lossy(&compiler.stdout).starts_with(COUNTED_BY) {
        eprintln!("not compared: the count is {COUNTED_BY}'s");
        return;
    }
    let mut valgrind = Command::new("valgrind");
    // Under valgrind a single thread runs at a time. Fair scheduling prevents a busy thread from delaying others past a
    // claim's deadline.
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--fair-sched=try"]);
    valgrind.args(COUNTED_FUNCTIONS);
    valgrind.arg(std::env::current_exe().expect("it runs")).args([COUNTED, "--exact", "--ignored"]);
    let output = valgrind.output().expect("valgrind is installed; make test installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let counted = said.lines().find_map(|line| line.split("Collected : ").nth(1)).expect("callgrind says a sum");
    let each = counted.trim().parse::<u64>().expect("a number") / CLAIMS as u64;
    eprintln!("{each} instructions a claim");
    assert!(each > INSTRUCTIONS / 2, "{each} instructions a claim: is the handler called something else now?");
    let max = INSTRUCTIONS + INSTRUCTIONS * GROWTH_MAX / 100;
    assert!(
        each <= max,
        "{each} instructions a claim, {INSTRUCTIONS} before; where they are worth it, note them in {}",
        file!()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the test above"]
async fn what_is_counted() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    client.create_coupon("shop", &saler, "all", 1_000).await;
    for customer in app.customers(CLAIMS).await {
        // On a busy machine a few attempts miss their deadline and are repeated. The first attempt may have been
        // granted.
        for tries in 1.. {
            let answer = client.claim("shop", "all", &customer).await;
            match answer.status {
                201 => break,
                204 if tries > 1 && answer.result() == "already-claimed" => break,
                503 if tries < TRIES_MAX => {}
                _ => panic!("after {tries} tries: {answer:?}"),
            }
        }
    }
}
