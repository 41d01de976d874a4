//! Ids of users, coupons and activities are not issued twice when another MySQL server takes over without the last rows.

use couponrush::domain::CouponId;
use couponrush::mysql::migrate::migrate;
use couponrush::mysql::new_ids::move_on;
use futures_util::future::join_all;

use crate::helpers::{MysqlServer, Relay, Stores, TestApp, eventually, terms};

/// The ids that a move skips.
const DISTANCE: i64 = 100_000;
const SERVER: &str = "SELECT mysql_server AS value FROM installation";
const MOVES: &str = "SELECT id_moves FROM installation";

/// The ids of a user, a coupon and an activity.
type Ids = [i64; 3];

/// A service whose MySQL is reached through a relay.
struct Shop {
    app: TestApp,
    relay: Relay,
}

impl Shop {
    async fn open(server: &MysqlServer) -> Self {
        let relay = Relay::start(&[server.address]).await;
        let stores = Stores::create_on(&server.url(), None).await.at(relay.address);
        Self { app: TestApp::start_on(stores, |_| {}).await, relay }
    }

    /// Kills a server and leads the running service to another one.
    async fn fail_over(&self, from: &mut MysqlServer, to: &MysqlServer) {
        from.kill();
        self.until_mysql("down").await;
        self.relay.lead_to(&[to.address]);
        self.until_mysql("up").await;
    }

    async fn until_mysql(&self, state: &str) {
        let ops = &self.app.instances[0].ops;
        eventually(&format!("MySQL is {state}"), || async {
            ops.get("/readyz", "").await.json()["mysql"]["state"] == state
        })
        .await;
    }

    /// Registers a saler called `name`, with a coupon and an activity.
    async fn add(&self, name: &str) -> Ids {
        let (client, stores) = (self.app.client(), &self.app.stores);
        let token = client.user(name, "saler").await;
        client.create_coupon(name, &token, name, 5).await;
        let user = stores.number(&format!("SELECT id FROM users WHERE username = '{name}'")).await;
        let coupon = stores.number(&format!("SELECT id FROM coupons WHERE name = '{name}'")).await;
        let of_coupon = CouponId(coupon.try_into().expect("an id is positive"));
        let activity = self.app.instances[0].schedule(of_coupon, &terms(60, 120)).await.expect("a valid activity");
        [user, coupon, activity.0.into()]
    }

    async fn moved(&self) -> String {
        let page = self.app.instances[0].ops.get("/metrics", "").await.text;
        let value = page.lines().find_map(|line| line.strip_prefix("couponrush_ids_moved_on_total "));
        value.expect("the metric is served").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_last_rows_issues_none_of_their_ids() {
    let mut old = MysqlServer::start().await;
    let mut shop = Shop::open(&old).await;
    assert_eq!(shop.add("one").await, [1, 1, 1]);
    assert_eq!(shop.app.stores.texts(SERVER).await.len(), 1);
    shop.app.stop().await;
    let new = old.copy().await;
    shop.app.start_another().await;
    assert_eq!(shop.add("lost").await, [2, 2, 2], "nothing is moved on at the same server, also by another process");
    assert_eq!((shop.app.stores.number(MOVES).await, shop.moved().await.as_str()), (0, "0"));
    shop.app.stop().await;
    let named = shop.app.stores.texts(SERVER).await;
    old.kill();

    // A new process knows only what the row says.
    shop.relay.lead_to(&[new.address]);
    shop.app.start_another().await;
    let client = shop.app.client();
    let answers = join_all((0..8).map(|n| async move { client.register(&format!("crowd-{n}"), "customer").await }));
    assert_eq!(answers.await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201; 8]);
    let lowest = "SELECT MIN(id) FROM users WHERE username LIKE 'crowd-%'";
    assert_eq!(shop.app.stores.number(lowest).await, 2 + DISTANCE + 1);
    assert_eq!(shop.add("two").await, [2 + DISTANCE + 9, 2 + DISTANCE + 1, 2 + DISTANCE + 1]);
    assert_ne!(shop.app.stores.texts(SERVER).await, named);
    assert_eq!(shop.app.stores.number(MOVES).await, 1, "many insertions at once move ids on once");
    assert_eq!(shop.moved().await, "1");
    for (table, rows) in [("users", 10), ("coupons", 2), ("activities", 2)] {
        assert_eq!(shop.app.stores.number(&format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
    }
    // The checks at the end need the server.
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_issues_none_of_the_ids_of_the_other() {
    let mut first = MysqlServer::start().await;
    let shop = Shop::open(&first).await;
    assert_eq!(shop.add("one").await, [1, 1, 1]);
    let mut second = first.copy().await;

    shop.fail_over(&mut first, &second).await;
    let lost = shop.add("lost").await;
    assert_eq!(lost, [2 + DISTANCE + 1; 3]);

    // The row on the first server still names the first server.
    first.start_again();
    shop.fail_over(&mut second, &first).await;
    assert_eq!(shop.add("two").await, [2 + 2 * DISTANCE + 1; 3]);
    assert_eq!(shop.app.stores.number(MOVES).await, 2);
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_stay_moved_on_after_a_crash_of_the_server() {
    let mut server = MysqlServer::start().await;
    let stores = Stores::create_on(&server.url(), None).await;
    migrate(&stores.db).await.expect("an empty database can be migrated");
    move_on(&stores.db, "a test").await.expect("MySQL answers");
    server.kill();
    server.start_again();
    eventually("MySQL answers", || async { stores.db.ping().await.is_ok() }).await;
    stores.execute("INSERT INTO users (username, kind, password_hash) VALUES ('a', 'customer', '')").await;
    stores
        .execute(
            "INSERT INTO coupons (saler_id, name, amount, left_count, face_value, description) \
             VALUES (1, 'a', 1, 1, 1, '')",
        )
        .await;
    stores.execute("INSERT INTO activities (coupon_id, name, start_time, end_time) VALUES (1, 'a', 1, 2)").await;
    for table in ["users", "coupons", "activities"] {
        let id = stores.number(&format!("SELECT id FROM {table}")).await;
        assert_eq!(id, 1 + 10 * DISTANCE + 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_not_moved_on_beyond_half_of_their_range() {
    let stores = Stores::create(None).await;
    migrate(&stores.db).await.expect("an empty database can be migrated");
    let half = i64::from(u32::MAX / 2);
    stores
        .execute(&format!(
            "INSERT INTO activities (id, coupon_id, name, start_time, end_time) VALUES ({}, 1, 'a', 1, 2)",
            half - 10 * DISTANCE
        ))
        .await;
    move_on(&stores.db, "a test").await.expect("MySQL answers");
    stores.execute("INSERT INTO activities (coupon_id, name, start_time, end_time) VALUES (1, 'b', 1, 2)").await;
    assert_eq!(stores.number("SELECT MAX(id) FROM activities").await, half - 10 * DISTANCE + 2);
    stores.execute("INSERT INTO users (username, kind, password_hash) VALUES ('a', 'customer', '')").await;
    assert_eq!(stores.number("SELECT id FROM users").await, 1 + 10 * DISTANCE + 1, "other tables are moved on");
    stores.remove().await;
}
