//! The control plane: however busy users keep their connections to MySQL, an instance is alive and obeys its operators.

use std::time::{Duration, Instant};

use couponrush::config::AdminOn;
use couponrush::domain::{CouponId, Kind};
use diesel_async::AsyncMysqlConnection;
use serde_json::json;
use tokio::task::JoinSet;

use crate::helpers::{Client, DEADLINE, PASSWORD, TestApp, eventually, terms};

const SWITCHES: &str = "/admin/switches";

/// A value of the metrics page.
async fn metric(ops: &Client, name: &str) -> f64 {
    let text = ops.get("/metrics", "").await.text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
}

/// Keeps all users' connections of every instance busy until the returned values are dropped. A saler named `slow`
/// creates coupons, and the saler's row is locked.
async fn fill(app: &TestApp) -> (AsyncMysqlConnection, JoinSet<()>) {
    let slow = app.client().user("slow", "saler").await;
    let row = app.stores.number("SELECT id FROM users WHERE username = 'slow'").await;
    let lock = app.stores.lock_row("users", row.try_into().expect("an id")).await;
    let mut tasks = JoinSet::new();
    for (place, task) in app.instances.iter().flat_map(|instance| (0..30).map(move |task| (instance, task))) {
        let (client, slow) = (place.client.clone(), slow.clone());
        tasks.spawn(async move {
            for n in 0.. {
                let body = json!({"name": format!("new-{task}-{n}"), "amount": 1, "stock": 1});
                client.post("/api/users/slow/coupons", &slow, &body).await;
            }
        });
    }
    for instance in &app.instances {
        eventually("users' connections are busy", || async {
            let pool = |name| format!("couponrush_mysql_connections_{name}{{pool=\"users\"}}");
            let busy = metric(&instance.ops, &pool("busy")).await;
            busy == metric(&instance.ops, &pool("max")).await && metric(&instance.ops, &pool("waiting")).await > 0.0
        })
        .await;
    }
    (lock, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_all_users_connections_busy_an_instance_beats_acknowledges_and_obeys() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "few", 2).await;
    let (ann, bob) = (app.client().user("ann", "customer").await, app.client().user("bob", "customer").await);
    let root = app.client().register("root", "saler").await;
    assert_eq!(root.status, 201);
    app.stores.execute("UPDATE users SET kind = 'admin' WHERE username = 'root'").await;
    let admin = app.client().log_in("root", PASSWORD).await.header("Authorization").to_owned();
    eventually("the instances know the admin", || async {
        app.instances.iter().all(|instance| instance.shared.accounts.admins.contains("root"))
    })
    .await;

    let filling = fill(&app).await;
    let refused = app.client().register("late", "customer").await;
    assert_eq!((refused.status, refused.error().2.as_str()), (503, "unavailable"));

    // Admins, on the instance that answers and on the other.
    let began = Instant::now();
    assert_eq!(app.instances[1].client.log_in("root", PASSWORD).await.status, 200, "for the first time here");
    assert_eq!(app.client().put(SWITCHES, &admin, &json!({"docs": false})).await.status, 200);
    assert_eq!(app.client().put("/admin/blacklist/users/bob", &admin, &json!({"seconds": 60})).await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let other = &app.instances[1];
    eventually("the other instance obeys", || async {
        let docs_off = other.client.get("/openapi.json", "").await.status == 503;
        docs_off && other.client.claim("shop", "few", &bob).await.status == 401
    })
    .await;

    // Beats and acknowledgements. Without them the rebuild would wait ten seconds for the silent instance.
    let mut live = redis::cmd("DEL");
    live.arg(app.stores.keys().live());
    let rebuilds = || async {
        let mut sum = 0.0;
        for instance in &app.instances {
            sum += metric(&instance.ops, "couponrush_rebuilds_total").await;
        }
        sum
    };
    let (before, began) = (rebuilds().await, Instant::now());
    app.stores.redis::<i64>(&live).await;
    eventually("the shard is rebuilt", || async { rebuilds().await > before }).await;
    for instance in &app.instances {
        eventually("the instance sells", || async { instance.ops.is_ready().await }).await;
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let silent = "SELECT COUNT(*) FROM instances WHERE beat_at < NOW(3) - INTERVAL 3 SECOND";
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert_eq!(app.stores.number(silent).await, 0, "an instance is silent");
        assert_eq!(metric(&other.ops, "couponrush_mysql_up").await, 1.0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(app.client().claim("shop", "few", &ann).await.result(), "claimed");
    assert!(metric(&app.instances[0].ops, "couponrush_mysql_connections_waiting{pool=\"users\"}").await > 0.0);

    drop(filling);
    let deadline = Instant::now() + DEADLINE;
    while app.client().register("later", "customer").await.status == 503 {
        assert!(Instant::now() < deadline, "users' connections stay busy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_admin_changes_a_sale_while_users_connections_are_busy() {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    let body = json!({"name": "sale", "amount": 5, "stock": 1, "scheduled": true});
    assert_eq!(app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
    let activity = terms(-10, 600);
    let id = app.instances[0].schedule(CouponId(1), &activity).await.expect("a schedule");
    let (ann, admin) = (app.user("ann", Kind::Customer).await, app.user("root", Kind::Admin).await);
    let filling = fill(&app).await;
    let began = Instant::now();
    let stopped = json!({"activity_id": id.0, "status": 1});
    assert_eq!(app.client().post("/activity/update", &admin, &stopped).await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(app.client().claim("shop", "sale", &ann).await.result(), "not-on-sale");
    drop(filling);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_admin_logs_in_while_users_wait_for_password_hashes() {
    let app = TestApp::start_with(|args| {
        (args.admission.failed_logins_per_minute, args.admission.ip_failed_logins_per_minute) = (0, 0);
    })
    .await;
    assert_eq!(app.client().register("root", "saler").await.status, 201);
    app.stores.execute("UPDATE users SET kind = 'admin' WHERE username = 'root'").await;
    let passwords = &app.instances[0].shared.accounts.passwords;
    let mut guessing = JoinSet::new();
    for n in 0..400 {
        let client = app.client().clone();
        guessing.spawn(async move { client.log_in(&format!("nobody-{n}"), PASSWORD).await.status });
    }
    eventually("users wait for hashes", || async { passwords.waiting() > 200 }).await;
    let before = passwords.computed();
    assert_eq!(app.client().log_in("root", PASSWORD).await.status, 200);
    let meanwhile = passwords.computed() - before;
    assert!(meanwhile < 100, "the admin waited for the hashes of {meanwhile} users");
    assert!(guessing.join_all().await.into_iter().all(|status| status == 401));
}

/// Strangers must not reach the operators' surface where a proxy forgets to keep them out.
#[tokio::test(flavor = "multi_thread")]
async fn operators_may_have_a_listener_of_their_own() {
    for (admin_on, of_users) in [(None, 200), (Some(AdminOn::Users), 200), (Some(AdminOn::Ops), 404)] {
        let app = TestApp::start_with(|args| args.admission.admin_on = admin_on).await;
        let (client, ops) = (app.client(), &app.instances[0].ops);
        assert_eq!(client.register("boss", "saler").await.status, 201);
        app.stores.execute("UPDATE users SET kind = 'admin' WHERE username = 'boss'").await;
        let login = ops.log_in("boss", PASSWORD).await;
        assert_eq!(login.status, 200, "the page of operators logs in there");
        let boss = login.header("Authorization");
        for path in ["/admin", "/admin/status", "/admin/limits", "/admin/switches"] {
            assert_eq!(ops.get(path, boss).await.status, 200, "{path}");
            assert_eq!(client.get(path, boss).await.status, of_users, "{path} {admin_on:?}");
        }
        let block = async |place: &Client| place.put("/admin/blacklist/ips/192.0.2.9", boss, &json!({})).await.status;
        assert_eq!(block(client).await == 404, of_users == 404);
        assert_ne!(block(ops).await, 404);
        for path in ["/", "/saler", "/openapi.json", "/sec/list"] {
            assert_eq!(ops.get(path, boss).await.status, 404, "{path} is for users");
            assert_eq!(client.get(path, boss).await.status, 200, "{path}");
        }
        let asset =
            client.get("/", "").await.text.split('"').find(|part| part.starts_with("/assets/")).map(str::to_owned);
        assert_eq!(ops.get(&asset.expect("a page has parts"), "").await.status, 200);
        assert_eq!(ops.post("/api/auth/logout", boss, &json!({})).await.status, 200);
        assert_eq!(ops.get("/admin/limits", boss).await.status, 401);
    }
}
