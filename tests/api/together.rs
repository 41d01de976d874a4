//! Batches of attempts: attempts sent together share a call of the script and an entry of the outbox.

use std::time::Duration;

use couponrush::base::now_seconds;
use couponrush::domain::{
    Activity, ActivityId, ActivityName, Claim, Conditions, CouponId, Rate, Refusal, Status, Terms, UserId, Window,
};
use couponrush::redis::{Attempt, KvError, Taken};
use futures_util::future::join_all;
use tokio::runtime::Builder;

use crate::helpers::{RedisServer, Stores, TestApp, eventually};

/// Sends attempts together over a connection and returns their results. They run on a thread of their own, as on a
/// worker.
async fn take_all(app: &TestApp, attempts: &[Attempt<'_>]) -> Vec<Result<Taken, KvError>> {
    let (stores, live, wait) = (&app.stores, app.stores.live().await, Duration::from_secs(5));
    let (stock, live) = (stores.stock(), &live);
    let worker = || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async {
            let connection = stores.connection().await;
            join_all(attempts.iter().map(|attempt| stock.take(&connection, live, attempt, wait))).await
        })
    };
    let run = || std::thread::scope(|scope| scope.spawn(worker).join().expect("it does not panic"));
    tokio::task::block_in_place(run)
}

/// Like [`take_all`], for these users and a coupon.
async fn take_together(app: &TestApp, coupon: CouponId, users: &[u64]) -> Vec<Result<Taken, KvError>> {
    let attempts: Vec<Attempt> = users.iter().map(|user| Attempt::new(coupon, UserId(*user))).collect();
    take_all(app, &attempts).await
}

/// The granted claim, and the number of claims in its entry.
fn granted(taken: &Result<Taken, KvError>) -> (Claim, u8) {
    match taken {
        Ok(Taken::Claimed { claim, entry_claims }) => (*claim, *entry_claims),
        other => panic!("{other:?}"),
    }
}

/// A service with customers 2 to 5 and a coupon, `shop/few`, of this many units.
async fn with_coupon(app: TestApp, units: u32) -> TestApp {
    let saler = app.client().user("shop", "saler").await;
    for name in ["ann", "bob", "cid", "dan"] {
        app.client().user(name, "customer").await;
    }
    app.client().create_coupon("shop", &saler, "few", units).await;
    app
}

async fn rows(app: &TestApp) -> i64 {
    app.stores.number("SELECT COUNT(*) FROM claims").await
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_leave_together_are_made_one_after_the_other() {
    let app = with_coupon(TestApp::start().await, 2).await;
    // User 2 asks twice, and one attempt more comes than there are units.
    let taken = take_together(&app, CouponId(1), &[2, 2, 3, 4]).await;
    let [
        Ok(Taken::Claimed { claim: first, .. }),
        Ok(Taken::Already { claim, pending: true }),
        Ok(Taken::Claimed { claim: second, .. }),
        Ok(sold_out),
    ] = taken.as_slice()
    else {
        panic!("{taken:?}");
    };
    assert_eq!((first, first.seq, second.seq), (claim, 1, 2));
    assert_eq!(*sold_out, Taken::Refused(Refusal::SoldOut));
    eventually("the sweep has stored them", || async { rows(&app).await == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_pending_while_the_outbox_has_it_whatever_was_said_before_of_another() {
    let app = with_coupon(TestApp::start().await, 3).await;
    take_together(&app, CouponId(1), &[2]).await;
    let mut entries = redis::cmd("XLEN");
    entries.arg(app.stores.keys().outbox());
    eventually("the sweep has stored it", || async { app.stores.redis::<u32>(&entries).await == 0 }).await;
    let taken = take_together(&app, CouponId(1), &[2, 3, 3]).await;
    let [
        Ok(Taken::Already { pending: false, .. }),
        Ok(Taken::Claimed { .. }),
        Ok(Taken::Already { pending: true, .. }),
    ] = taken.as_slice()
    else {
        panic!("{taken:?}");
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_together_is_one_entry_which_goes_once_all_of_it_is_stored() {
    let app = with_coupon(TestApp::start().await, 3).await;
    let lock = app.stores.lock_table("claims").await;
    let taken = take_together(&app, CouponId(1), &[2, 3, 4]).await;
    let claims: Vec<_> = taken.iter().map(granted).collect();
    let entry = claims[0].0.entry;
    let told: Vec<_> = claims.iter().map(|(claim, entry_claims)| (claim.seq, claim.entry, *entry_claims)).collect();
    assert_eq!(told, [(1, entry, 3), (2, entry, 3), (3, entry, 3)]);
    // Two claims are handed over, as by the channel. The handler of the third claim is gone.
    let ledger = app.instances[0].claiming().ledger;
    for (claim, entry_claims) in &claims[..2] {
        ledger.reserve().expect("there is room").put(*claim, *entry_claims);
    }
    let mut waiting = redis::cmd("GET");
    waiting.arg(app.stores.keys().waiting());
    assert_eq!(app.stores.redis::<u32>(&waiting).await, 3);
    drop(lock);
    eventually("two are rows", || async { ledger.unsettled() == 0 }).await;
    assert_eq!(rows(&app).await, 2);
    assert_eq!(app.stores.redis::<u32>(&waiting).await, 3, "the entry stays for the sake of the third");
    eventually("the sweep has stored it", || async { rows(&app).await == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_one_attempt_breaks_no_other_that_leaves_with_it() {
    let app = with_coupon(TestApp::start().await, 3).await;
    let broken = app.stores.keys().holder(UserId(3)).to_string();
    app.stores.redis::<()>(redis::cmd("SET").arg(&broken).arg("not a hash")).await;
    let taken = take_together(&app, CouponId(1), &[2, 3, 4]).await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(&broken)).await;
    assert!(matches!(taken.as_slice(), [Ok(Taken::Claimed { .. }), Err(_), Ok(Taken::Claimed { .. })]), "{taken:?}");
    // The count is written: the next claim is the third.
    let next = take_together(&app, CouponId(1), &[3]).await;
    assert!(matches!(next.as_slice(), [Ok(Taken::Claimed { claim, .. })] if claim.seq == 3), "{next:?}");
    eventually("the sweep has stored them", || async { rows(&app).await == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_handed_out_to_attempts_that_leave_together_each_to_one() {
    let app = with_coupon(TestApp::start().await, 3).await;
    let taken = take_together(&app, CouponId(1), &[2, 3, 4]).await;
    assert!(taken.iter().all(|taken| granted(taken).1 == 3));
    app.settle().await;
    // As after a loss of Redis with the first two claims, before their users were told.
    let keys = app.stores.keys();
    app.stores.execute("DELETE FROM claims WHERE seq < 3").await;
    app.stores.execute("UPDATE coupons SET left_count = left_count + 2").await;
    for user in [2, 3] {
        app.stores.redis::<()>(redis::cmd("DEL").arg(keys.holder(UserId(user)))).await;
    }
    app.stores.redis::<()>(redis::cmd("RPUSH").arg(keys.holes(CouponId(1))).arg(1).arg(2)).await;

    let taken = take_together(&app, CouponId(1), &[5, 4, 2, 3]).await;
    let seqs = [granted(&taken[0]).0.seq, granted(&taken[2]).0.seq];
    assert_eq!(seqs, [1, 2]);
    assert!(matches!(taken[1], Ok(Taken::Already { claim, .. }) if claim.seq == 3), "{taken:?}");
    assert!(matches!(taken[3], Ok(Taken::Refused(Refusal::SoldOut))), "{taken:?}");
    eventually("the sweep has stored them", || async { rows(&app).await == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_counts_what_it_grants_together() {
    let app = with_coupon(TestApp::start().await, 10).await;
    app.stores.execute("UPDATE coupons SET scheduled = TRUE").await;
    let coupon = app.stores.keys().coupon(CouponId(1)).to_string();
    app.stores.redis::<()>(redis::cmd("HSET").arg(&coupon).arg("scheduled").arg(1)).await;
    let activity = |speed, total, buy_limit| Activity {
        id: ActivityId(1),
        coupon: CouponId(1),
        terms: Terms {
            name: ActivityName::parse("noon".to_owned()).expect("a name"),
            window: Window::new(now_seconds() - 10, now_seconds() + 1_000).expect("a window"),
            status: Status::Normal,
            buy_rate: Rate::ALL,
            total,
            speed,
            buy_limit,
        },
        conditions: Conditions::default(),
    };
    let attempts = |activity, users: &[u64]| -> Vec<Attempt<'_>> {
        let attempt = |user: &u64| Attempt { activity: Some(activity), ..Attempt::new(CouponId(1), UserId(*user)) };
        users.iter().map(attempt).collect()
    };
    let is_refused =
        |taken: &Result<Taken, KvError>, why| matches!(taken, Ok(Taken::Refused(refusal)) if *refusal == why);
    // Two claims of the same user need two entries. The third attempt returns the second claim, because the limit is
    // two.
    let two_each = activity(0, 0, 2);
    let taken = take_all(&app, &attempts(&two_each, &[2, 3, 2, 2])).await;
    let [first, other, second] = [0, 1, 2].map(|at| granted(&taken[at]).0);
    assert_eq!([(first.seq, first.nth), (other.seq, other.nth), (second.seq, second.nth)], [(1, 1), (2, 1), (3, 2)]);
    assert!(first.entry == other.entry && first.entry < second.entry, "{taken:?}");
    assert!(matches!(taken[3], Ok(Taken::Already { claim, .. }) if claim == second), "{taken:?}");
    // Three units are sold. A total of four allows one more. The quota limits only claims of the present second.
    let of_four = activity(0, 4, 1);
    let taken = take_all(&app, &attempts(&of_four, &[4, 5])).await;
    assert!(granted(&taken[0]).0.seq == 4 && is_refused(&taken[1], Refusal::SoldOut), "{taken:?}");
    let then = now_seconds();
    eventually("another second", || async { now_seconds() > then }).await;
    let one_a_second = activity(1, 0, 100);
    let taken = take_all(&app, &attempts(&one_a_second, &[5, 4, 3])).await;
    assert!(granted(&taken[0]).0.seq == 5, "{taken:?}");
    assert!(taken[1..].iter().all(|taken| is_refused(taken, Refusal::TryAgain)), "{taken:?}");
    let mut counted = redis::cmd("HGET");
    counted.arg(app.stores.keys().activity(ActivityId(1))).arg("sold");
    assert_eq!(app.stores.redis::<u32>(&counted).await, 5);
    eventually("the sweep has stored them", || async { rows(&app).await == 5 }).await;
    app.stores.execute("UPDATE coupons SET scheduled = FALSE").await;
    app.stores.redis::<()>(redis::cmd("HSET").arg(&coupon).arg("scheduled").arg(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_has_no_memory_left_nothing_of_a_call_has_happened() {
    let redis = RedisServer::start().await;
    let app = with_coupon(TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await, 2).await;
    let limit = |bytes| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
    app.stores.redis::<()>(&limit(1)).await;
    // User 2's second attempt comes after two failed grants. It must not be `sold-out`, although they would have taken
    // the last units.
    let taken = take_together(&app, CouponId(1), &[2, 3, 2]).await;
    app.stores.redis::<()>(&limit(0)).await;
    assert!(taken.iter().all(|taken| taken.as_ref().is_err_and(KvError::nothing_happened)), "{taken:?}");
    let taken = take_together(&app, CouponId(1), &[4, 2]).await;
    let seqs: Vec<u32> = taken.iter().map(|taken| granted(taken).0.seq).collect();
    assert_eq!(seqs, [1, 2]);
    eventually("the sweep has stored them", || async { rows(&app).await == 2 }).await;
}
