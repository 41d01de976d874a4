//! Plays attacks against a running sale, with honest users beside them: `make abuse`.
//!
//! Each attack runs against a service with the public profile, which takes addresses from a proxy on loopback. Honest users do
//! what they always do, each from an address of his own. Their answers are timed alone and during the attack. An attack
//! passes if no honest user is refused, and if nine of ten answers of each kind need at most twice their time alone. Of a kind
//! with few answers, the median counts. A wait of 30 ms is always allowed, because attackers, users and servers share two
//! cores. Answers that were too slow are judged again in another attack, because the machine may have been busy.
//!
//! `COUPONRUSH_ABUSE_SECONDS` is the duration of an attack (default 2).

mod attacks;
#[path = "../api/helpers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the API tests use the rest")]
mod helpers;
mod honest;
mod world;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use attacks::Attack;
use honest::Diary;
use world::World;

/// Attacks of a kind until the answers are fast enough.
const TRIES: usize = 3;
/// The wait that is always allowed.
const ALLOWED: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_users_hardly_notice_an_attack() {
    let seconds = std::env::var("COUPONRUSH_ABUSE_SECONDS").ok().map_or(2, |text| text.parse().expect("seconds"));
    let duration = Duration::from_secs(seconds);
    let world = World::start().await;
    let mut failures = Vec::new();
    for attack in Attack::ALL {
        let mut tries = 0;
        let slow = loop {
            tries += 1;
            let (wrong, slow) = play(&world, attack, duration).await;
            failures.extend(wrong);
            if slow.is_empty() || tries == TRIES {
                break slow;
            }
        };
        failures.extend(slow);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays an attack. Returns a sentence for each wrong answer to an honest user, and for each kind of answers that was too slow.
async fn play(world: &World, attack: Attack, duration: Duration) -> (Vec<String>, Vec<String>) {
    let alone = honest::watch(world, duration).await;
    let over = CancellationToken::new();
    let attacking = attack.begin(world, &over).await;
    let during = honest::watch(world, duration).await;
    over.cancel();
    attacking.end(world).await;
    let wrong = alone.wrong.iter().chain(&during.wrong).map(|wrong| format!("{attack:?}: {wrong}"));
    (wrong.collect(), judge(attack, &alone, &during))
}

/// A sentence for each kind of answers that was too slow.
fn judge(attack: Attack, alone: &Diary, during: &Diary) -> Vec<String> {
    let mut slow = Vec::new();
    for ((deed, before), (_, now)) in alone.times().zip(during.times()) {
        let limit = before * 2 + ALLOWED;
        println!("{attack:?}: {deed}: {before:?} alone, {now:?} during the attack, at most {limit:?}");
        if now > limit {
            slow.push(format!("{attack:?}: {deed} took {now:?} instead of {before:?}"));
        }
    }
    slow
}
