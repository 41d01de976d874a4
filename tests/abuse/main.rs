//! Plays attacks against a running sale, with honest users beside them: `make abuse`.
//!
//! Each attack runs against a service with the public profile, which takes addresses from a proxy on loopback. Honest users do
//! what they always do, each from an address of his own. Their answers are timed alone and during the attack. An attack
//! passes if no honest user is refused, and if nine of ten answers of each kind need at most twice their time alone. A wait of
//! 30 ms is always allowed, because attackers, users and servers share two cores.
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

/// The wait that is always allowed.
const ALLOWED: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_users_hardly_notice_an_attack() {
    let seconds = std::env::var("COUPONRUSH_ABUSE_SECONDS").ok().map_or(2, |text| text.parse().expect("seconds"));
    let duration = Duration::from_secs(seconds);
    let world = World::start().await;
    let mut failures = Vec::new();
    for attack in Attack::ALL {
        let alone = honest::watch(&world, duration).await;
        let over = CancellationToken::new();
        let during = {
            let attacking = attack.begin(&world, &over).await;
            let diary = honest::watch(&world, duration).await;
            over.cancel();
            attacking.end(&world).await;
            diary
        };
        failures.extend(judge(attack, &alone, &during));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What honest users noticed of the attack, a sentence for each kind of answer.
fn judge(attack: Attack, alone: &Diary, during: &Diary) -> Vec<String> {
    let mut failures: Vec<String> =
        alone.wrong.iter().chain(&during.wrong).map(|wrong| format!("{attack:?}: {wrong}")).collect();
    for ((deed, before), (_, now)) in alone.times().zip(during.times()) {
        let limit = before * 2 + ALLOWED;
        println!("{attack:?}: {deed}: {before:?} alone, {now:?} during the attack, at most {limit:?}");
        if now > limit {
            failures.push(format!("{attack:?}: {deed} took {now:?} instead of {before:?}"));
        }
    }
    failures
}
