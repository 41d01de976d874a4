//! The steps of archiving and coming back, at the wrong moment: claims in the outbox, steps of earlier revisions, and two
//! loadings of one coupon.

use std::time::{Duration, Instant};

use couponrush::domain::{Claim, Coupon, CouponId, Kind, UserId};
use couponrush::mysql::coupons;
use couponrush::redis::archive::{Loading, Return};
use couponrush::redis::load::ClaimChunk;
use couponrush::redis::{Attempt, Live, Published, Taken};
use diesel_async::SimpleAsyncConnection;
use serde_json::json;

use crate::helpers::{TestApp, eventually};

const TEN: &str = "/api/users/shop/coupons/ten";
const WAIT: Duration = Duration::from_secs(2);

/// A service with the coupon `shop/ten` of three units, and customers. Returns the tokens of the saler and the customers.
async fn selling(customers: usize) -> (TestApp, String, Vec<String>) {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(customers).await;
    app.client().create_coupon("shop", &shop, "ten", 3).await;
    (app, shop, customers)
}

async fn coupon(app: &TestApp) -> Coupon {
    let id = CouponId(app.stores.number("SELECT id FROM coupons").await.unsigned_abs());
    coupons::find(&app.stores.db, id).await.expect("MySQL answers").expect("the coupon exists").coupon
}

/// The user of the n-th customer.
async fn user(app: &TestApp, n: usize) -> UserId {
    let sql = format!("SELECT id FROM users WHERE kind = 'customer' ORDER BY id LIMIT 1 OFFSET {n}");
    UserId(app.stores.number(&sql).await.unsigned_abs())
}

/// Claims a unit without the ledger. The claim stays in the outbox until the sweep finds it.
async fn claim_unswept(app: &TestApp, live: &Live, user: UserId) -> Claim {
    let (connection, coupon) = (app.stores.connection().await, coupon(app).await);
    match app.stores.stock().take(&connection, live, &Attempt::new(coupon.id, user), WAIT).await {
        Ok(Taken::Claimed { claim, .. }) => claim,
        other => panic!("{other:?}"),
    }
}

async fn field(app: &TestApp, name: &str) -> Option<String> {
    let key = app.stores.keys().coupon(coupon(app).await.id).to_string();
    app.stores.redis(redis::cmd("HGET").arg(key).arg(name)).await
}

async fn holds(app: &TestApp, user: UserId) -> bool {
    app.stores.redis(redis::cmd("EXISTS").arg(app.stores.keys().holder(user).to_string())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_closed_until_mysql_has_all_its_claims() {
    let (app, shop, customers) = selling(2).await;
    let (live, holder) = (app.stores.live().await, user(&app, 0).await);
    claim_unswept(&app, &live, holder).await;
    let archived = json!({"archived": true});
    let archiving = app.client().put(TEN, &shop, &archived);
    let asking = async {
        eventually("the coupon is closed", || async {
            field(&app, "archived").await.is_some_and(|archived| archived.starts_with("closing:"))
        })
        .await;
        assert_eq!(field(&app, "amount").await, None);
        assert!(holds(&app, holder).await);
        let other = app.client().claim("shop", "ten", &customers[1]).await;
        assert_eq!((other.status, other.result()), (503, ""), "nobody is refused yet: {other:?}");
    };
    let (archived, ()) = tokio::join!(archiving, asking);
    assert_eq!(archived.status, 200, "{archived:?}");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 1, "the sweep has stored the claim");
    assert_eq!(app.client().claim("shop", "ten", &customers[0]).await.result(), "already-claimed");
    assert_eq!(app.client().claim("shop", "ten", &customers[1]).await.result(), "ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_coupon_comes_back_with_claims_that_mysql_lacks() {
    let (app, shop, customers) = selling(4).await;
    let live = app.stores.live().await;
    let first = claim_unswept(&app, &live, user(&app, 0).await).await;
    assert_eq!(app.client().claim("shop", "ten", &customers[1]).await.result(), "claimed");
    let archived = json!({"archived": true});
    let archiving = app.client().put(TEN, &shop, &archived);
    let coming_back = async {
        eventually("the coupon is closed", || async {
            field(&app, "archived").await.is_some_and(|archived| archived.starts_with("closing:"))
        })
        .await;
        let back = app.client().put(TEN, &shop, &json!({"archived": false})).await;
        assert_eq!(back.status, 200, "{back:?}");
    };
    let _ = tokio::join!(archiving, coming_back);
    let mut results = Vec::new();
    for customer in [2, 3, 0] {
        results.push(app.client().claim("shop", "ten", &customers[customer]).await.result().to_owned());
    }
    assert_eq!(results, ["claimed", "sold-out", "already-claimed"]);
    app.settle().await;
    let seq = format!("SELECT COUNT(*) FROM claims WHERE seq = {} AND user_id = {}", first.seq, first.user);
    assert_eq!(app.stores.number(&seq).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_an_earlier_revision_change_nothing() {
    let (app, shop, customers) = selling(2).await;
    assert_eq!(app.client().claim("shop", "ten", &customers[0]).await.result(), "claimed");
    assert_eq!(app.client().put(TEN, &shop, &json!({"archived": true})).await.status, 200);
    let (archived, holder) = (coupon(&app).await, user(&app, 0).await);
    eventually("the claims are deleted", || async { !holds(&app, holder).await }).await;
    assert_eq!(app.client().put(TEN, &shop, &json!({"archived": false})).await.status, 200);
    assert!(holds(&app, holder).await);
    let (stock, live, calls) = (app.stores.stock(), app.stores.live().await, app.stores.connection().await);
    let rows = couponrush::mysql::claim_rows::of_holder(&app.stores.db, holder, archived.id).await;
    let chunk = ClaimChunk { coupon: archived.id, highest: 1, claims: rows.expect("read"), ..ClaimChunk::default() };
    let deleted = stock.delete_archived(&calls, live.as_str(), &archived, &[chunk], &[], WAIT).await;
    assert!(matches!(deleted, Ok(false)), "{deleted:?}");
    assert!(holds(&app, holder).await);
    let units = coupons::find(&app.stores.db, archived.id).await.expect("read").expect("it exists").units();
    let written = stock.archive(&calls, live.as_str(), &archived, units, WAIT).await;
    assert!(matches!(written, Ok((Published::Older { .. }, None))), "{written:?}");
    assert_eq!(app.client().claim("shop", "ten", &customers[1]).await.result(), "claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loading_ends_the_loading_before() {
    let (app, shop, customers) = selling(1).await;
    assert_eq!(app.client().claim("shop", "ten", &customers[0]).await.result(), "claimed");
    assert_eq!(app.client().put(TEN, &shop, &json!({"archived": true})).await.status, 200);
    let holder = user(&app, 0).await;
    eventually("the claims are deleted", || async { !holds(&app, holder).await }).await;
    let (stock, live, calls) = (app.stores.stock(), app.stores.live().await, app.stores.connection().await);
    let archived = coupon(&app).await;
    let back = Coupon { archived: false, revision: archived.revision + 1, ..archived.clone() };
    let (first, second) = (Loading::new(&back), Loading::new(&back));
    for loading in [&first, &second] {
        let began = stock.begin_return(&calls, live.as_str(), loading, WAIT).await;
        assert!(matches!(began, Ok(Return::Loading)), "{began:?}");
    }
    let hole = || ClaimChunk { coupon: back.id, is_first: true, highest: 1, holes: vec![1], ..ClaimChunk::default() };
    let loaded = stock.load_returning(&calls, live.as_str(), &first, &[hole()], WAIT).await;
    assert!(matches!(loaded, Ok(false)), "{loaded:?}");
    assert_eq!(field(&app, "claimed").await, None, "nothing was loaded");
    let ended = stock.end_return(&calls, live.as_str(), &first, &back, &[], WAIT).await;
    assert!(matches!(ended, Ok(Published::Archived)), "{ended:?}");
    assert_eq!(field(&app, "amount").await, None);
    let loaded = stock.load_returning(&calls, live.as_str(), &second, &[hole()], WAIT).await;
    assert!(matches!(loaded, Ok(true)), "{loaded:?}");
    // The row of MySQL brings the coupon back as it is, over the loading of this test.
    assert_eq!(app.client().put(TEN, &shop, &json!({"archived": false})).await.status, 200);
    assert_eq!(app.client().claim("shop", "ten", &customers[0]).await.result(), "already-claimed");
    let holes: usize = app.stores.redis(redis::cmd("LLEN").arg(app.stores.keys().holes(back.id).to_string())).await;
    assert_eq!(holes, 0, "holes of another loading are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_takes_long_holds_up_no_other() {
    let (app, shop, customers) = selling(1).await;
    app.client().create_coupon("shop", &shop, "other", 3).await;
    for name in ["ten", "other"] {
        let path = format!("/api/users/shop/coupons/{name}");
        assert_eq!(app.client().put(&path, &shop, &json!({"archived": true})).await.status, 200);
    }
    let lagging = "SELECT COUNT(*) FROM coupons WHERE unloaded AND lags";
    eventually("both are archived", || async { app.stores.number(lagging).await == 0 }).await;
    let mut lock = app.stores.lock_row("coupons", 1).await;
    let come_back_and_lock = "UPDATE coupons SET archived = FALSE, revision = revision + 1 WHERE id = 1; COMMIT; \
        START TRANSACTION; SELECT id FROM coupons WHERE id = 1 FOR UPDATE";
    lock.batch_execute(come_back_and_lock).await.expect("the row is locked");
    // Long enough for the next round to find the locked coupon.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let back = app.client().put("/api/users/shop/coupons/other", &shop, &json!({"archived": false})).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(app.client().claim("shop", "other", &customers[0]).await.result(), "claimed");
    assert_eq!(app.stores.number(lagging).await, 1, "the other coupon still waits");
    lock.batch_execute("COMMIT").await.expect("the row is unlocked");
    eventually("it comes back", || async { app.stores.number(lagging).await == 0 }).await;
}
