//! `couponrush audit` as a child process: no findings in a healthy system, and a finding for every damage.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::helpers::{Customer, Got, TestApp, audit, customers, rush};

const PATIENCE: Duration = Duration::from_secs(20);

/// An application with a coupon of 60 units, 40 of them claimed and stored.
async fn sold_coupon() -> (TestApp, Vec<Customer>) {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 60).await;
    let crowd = customers(&app.stores, "crowd", 40).await;
    let got = rush(&[app.client().clone()], &crowd, ("shop", "rush"), 8, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
    app.settle().await;
    (app, crowd)
}

/// Inflicts damage, audits and repairs. The audit must print every text of `expected`.
async fn assert_found(app: &TestApp, damages: &[Damage<'_>], mends: &[Damage<'_>], expected: &[&str]) {
    for damage in damages {
        damage.inflict(app).await;
    }
    let (holds, output) = audit(&app.stores, &[]).await;
    for mend in mends {
        mend.inflict(app).await;
    }
    assert!(!holds, "{damages:?} was not found: {output}");
    for expected in expected {
        assert!(output.contains(expected), "{damages:?}: {expected:?} is not in {output}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Damage<'a> {
    Mysql(&'a str),
    Redis(&'a [&'a str]),
}

impl Damage<'_> {
    async fn inflict(self, app: &TestApp) {
        match self {
            Self::Mysql(sql) => app.stores.execute(sql).await,
            Self::Redis(words) => {
                let mut cmd = redis::Cmd::new();
                for word in words {
                    cmd.arg(*word);
                }
                app.stores.redis::<redis::Value>(&cmd).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_in_mysql_is_named() {
    use Damage::Mysql;
    let (app, _) = sold_coupon().await;
    let (holds, output) = audit(&app.stores, &[]).await;
    assert!(holds && output.contains("1 coupons, 40 claims in MySQL, 0 waiting in the outbox"), "{output}");

    let delete = Mysql("CREATE TABLE kept AS SELECT * FROM claims WHERE seq = 7; DELETE FROM claims WHERE seq = 7");
    let bring_back = Mysql("INSERT INTO claims SELECT * FROM kept; DROP TABLE kept");
    let orphan = Mysql("INSERT INTO claims VALUES (77, 1, 1, 1, 0, 1, NULL, NULL)");
    let remove = Mysql("DELETE FROM claims WHERE coupon_id = 77");
    let lost =
        ["I8 conservation", "39 claims", "holds seq 7 in Redis only", "coupon 77: has claims but does not exist"];
    assert_found(&app, &[delete, orphan], &[bring_back, remove], &lost).await;

    let (lower, raise) = (Mysql("UPDATE coupons SET left_count = 19"), Mysql("UPDATE coupons SET left_count = 20"));
    let away = Mysql("UPDATE claims SET seq = 61 WHERE seq = 7");
    let back = Mysql("UPDATE claims SET seq = 7 WHERE seq = 61");
    let moved = ["19 of 60 left, but 40 claims", "I5 dense", "seq 61 is above the 60 units", "I6 stable answer"];
    assert_found(&app, &[lower, away], &[raise, back], &moved).await;

    let invent = Mysql("INSERT INTO claims VALUES (1, 41, 999999, 1, 0, 1, NULL, NULL)");
    let second =
        Mysql("INSERT INTO claims SELECT coupon_id, 42, user_id, 2, 0, 1, NULL, NULL FROM claims WHERE seq = 1");
    let remove = Mysql("DELETE FROM claims WHERE seq > 40");
    let added = ["42 claims in MySQL, 40 in Redis", "user 999999", "I4 limits", "holds more than one"];
    assert_found(&app, &[invent, second], &[remove], &added).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_in_redis_is_named() {
    use Damage::Redis;
    let (app, crowd) = sold_coupon().await;
    let keys = app.stores.keys();
    let coupon = keys.coupon(couponrush::domain::CouponId(1)).to_string();
    let holes = keys.holes(couponrush::domain::CouponId(1)).to_string();
    let [holder, stranger] =
        [crowd[3].user.id, couponrush::domain::UserId(999_999)].map(|user| keys.holder(user).to_string());
    let mut get = redis::cmd("HGET");
    get.arg(&holder).arg("1");
    let held: String = app.stores.redis(&get).await;
    let user = format!("user {} of coupon 1", crowd[3].user.id);

    let (lower, raise) = (["HSET", &coupon, "claimed", "39"], ["HSET", &coupon, "claimed", "40"]);
    let (delete, back) = (["HDEL", &holder, "1"], ["HSET", &holder, "1", &held]);
    let (more, same) = (["HSET", &coupon, "amount", "70"], ["HSET", &coupon, "amount", "60"]);
    let named =
        ["40 claims in MySQL, 39 in Redis", "I6 stable answer", &user, "and None in Redis", "70 units in Redis"];
    assert_found(
        &app,
        &[Redis(&lower), Redis(&delete), Redis(&more)],
        &[Redis(&raise), Redis(&back), Redis(&same)],
        &named,
    )
    .await;

    // A seq of another user.
    let another = if held.starts_with("9:") { "8:1700000000000-0:0" } else { "9:1700000000000-0:0" };
    let (higher, other) = (["HSET", &coupon, "claimed", "41"], ["HSET", &holder, "1", another]);
    let named = ["I2 nothing lost", "41 claims in Redis", "I6 stable answer", &user];
    assert_found(&app, &[Redis(&higher), Redis(&other)], &[Redis(&raise), Redis(&back)], &named).await;

    let (hole, whole) = (["RPUSH", &holes, "5"], ["DEL", &holes]);
    let garbage = ["HSET", &holder, "1", "x"];
    let (invent, remove) = (["HSET", &stranger, "1", "50:1700000000000-0:0"], ["DEL", &stranger]);
    let named = ["40 claims in MySQL, 39 in Redis", "I3 no phantom", "is not a hold", "holds seq 50 in Redis only"];
    let mends = [Redis(&whole), Redis(&back), Redis(&remove)];
    assert_found(&app, &[Redis(&hole), Redis(&garbage), Redis(&invent)], &mends, &named).await;

    let away = format!("{coupon}:away");
    let (drop, live) = (["RENAME", &coupon, &away], ["RENAME", &away, &coupon]);
    assert_found(&app, &[Redis(&drop)], &[Redis(&live)], &["I8 conservation", "coupon 1: is not in Redis"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repair_writes_back_what_only_redis_has_and_nothing_that_cannot_be() {
    let (app, crowd) = sold_coupon().await;
    let keys = app.stores.keys();
    let at = app.stores.number("SELECT claimed_at FROM claims WHERE seq = 7").await;
    app.stores.execute("DELETE FROM claims WHERE seq IN (7, 8); UPDATE coupons SET left_count = 22").await;
    // This claim was never granted: its seq is above the amount.
    let stranger = keys.holder(couponrush::domain::UserId(999_999)).to_string();
    Damage::Redis(&["HSET", &stranger, "1", "61:1700000000000-0:0"]).inflict(&app).await;

    let (holds, output) = audit(&app.stores, &["--repair"]).await;
    assert!(!holds && output.contains("2 claims that only Redis had were written to MySQL"), "{output}");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 40);
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 20);
    assert_eq!(app.stores.number("SELECT claimed_at FROM claims WHERE seq = 7").await, at);
    Damage::Redis(&["DEL", &stranger]).inflict(&app).await;
    let (holds, output) = audit(&app.stores, &["--repair"]).await;
    assert!(holds, "{output}");
    assert_eq!(crowd.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_claims_are_made_there_is_no_false_alarm() {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 20_000).await;
    let crowd = customers(&app.stores, "crowd", 20_000).await;
    let over = CancellationToken::new();
    let selling = tokio::spawn({
        let (clients, over) = ([app.client().clone()], over.clone());
        async move {
            for share in crowd.chunks(200) {
                if over.is_cancelled() {
                    break;
                }
                rush(&clients, share, ("shop", "rush"), 8, PATIENCE).await;
            }
        }
    });
    for _ in 0..5 {
        let (holds, output) = audit(&app.stores, &[]).await;
        assert!(holds, "{output}");
    }
    assert!(!selling.is_finished(), "all units were sold before the last audit");
    over.cancel();
    selling.await.expect("the crowd does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_a_redis_that_is_not_loaded() {
    let (mut app, _) = sold_coupon().await;
    app.stop().await;
    Damage::Mysql("UPDATE shards SET epoch = epoch + 1").inflict(&app).await;
    let (holds, output) = audit(&app.stores, &[]).await;
    Damage::Mysql("UPDATE shards SET epoch = epoch - 1").inflict(&app).await;
    assert!(!holds && output.contains("Redis is not loaded"), "{output}");
}
