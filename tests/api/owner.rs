//! An installation owns its Redis. Another installation, and a copy of the database, are refused.

use std::time::{Duration, Instant};

use couponrush::mysql::installation;
use couponrush::redis::live_key::{self, Taker};

use crate::helpers::{
    RedisServer, SECRET, Serving, Stores, TestApp, customers, eventually, refused_start, run_command,
};

/// A service with claims, and another database with the same Redis and prefix.
async fn with_another() -> (TestApp, Stores) {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "tea", 50).await;
    for customer in customers(&app.stores, "crowd", 20).await {
        app.client().claim("shop", "tea", &customer.token).await;
    }
    app.settle().await;
    let other = Stores::create(Some(app.stores.redis_url.clone())).await.with_prefix(&app.stores.prefix);
    (app, other)
}

/// All keys of the prefix but beats, with their contents.
async fn contents(stores: &Stores) -> Vec<(String, Option<Vec<u8>>)> {
    let pattern = format!("{}*", stores.prefix);
    let mut keys: Vec<String> = stores.redis(redis::cmd("KEYS").arg(pattern)).await;
    keys.retain(|key| !key.contains("beat") && !key.ends_with("sweeper"));
    keys.sort();
    let mut contents = Vec::new();
    for key in keys {
        let dump = stores.redis(redis::cmd("DUMP").arg(&key)).await;
        contents.push((key, dump));
    }
    contents
}

async fn gate(app: &TestApp) -> String {
    let ready = app.instances[0].ops.get("/readyz", "").await;
    ready.json()["gate"]["state"].as_str().expect("the gate has a state").to_owned()
}

async fn set_owner(stores: &Stores, owner: &str) {
    stores.redis::<()>(redis::cmd("SET").arg(stores.keys().owner()).arg(owner)).await;
}

async fn owner(stores: &Stores) -> Option<String> {
    stores.redis(redis::cmd("GET").arg(stores.keys().owner())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_installation_is_refused_and_changes_nothing() {
    let (mut app, other) = with_another().await;
    let id = installation::id(&app.stores.db).await.expect("MySQL answers");
    app.stop().await;
    // A claim that waits in the outbox.
    let entry = ["*", "c", "1:1:50:1:0:1"];
    app.stores.redis::<String>(redis::cmd("XADD").arg(app.stores.keys().outbox()).arg(&entry)).await;
    let before = contents(&app.stores).await;
    let (code, output) = refused_start(&other).await;
    assert_eq!(code, Some(1), "{output}");
    let last = output.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("couponrush: Redis has data of installation {id} under the prefix")), "{last}");
    assert!(last.contains(&app.stores.prefix) && last.contains("couponrush adopt"), "{last}");
    let seed = ["--customers", "1", "--salers", "1", "--out", "/nonexistent", "--jwt-secret", SECRET];
    for (command, arguments) in [("audit", ["--repair"].as_slice()), ("seed", &seed)] {
        let (done, output) = run_command(&other, command, arguments).await;
        assert!(!done && output.contains(&id), "{command}: {output}");
    }
    assert_eq!(contents(&app.stores).await, before);
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys().outbox())).await;
    app.start_another().await;
    other.remove_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_instance_stops_selling_when_redis_gets_another_owner() {
    let app = TestApp::start().await;
    let id = owner(&app.stores).await.expect("Redis has an owner");
    set_owner(&app.stores, "another").await;
    eventually("the gate is closed", || async { gate(&app).await == "foreign" }).await;
    let metrics = app.instances[0].ops.get("/metrics", "").await.text;
    assert!(metrics.contains("couponrush_gate_state{state=\"foreign\"} 1\n"), "{metrics}");
    // A lost `live` of the other installation is not rebuilt.
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys().live())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((gate(&app).await.as_str(), owner(&app.stores).await.as_deref()), ("foreign", Some("another")));
    assert!(!app.stores.redis::<bool>(redis::cmd("EXISTS").arg(app.stores.keys().live())).await);
    set_owner(&app.stores, &id).await;
    eventually("the gate opens again", || async { app.client().is_ready().await }).await;
}

/// A program of the release before deletes the key when it loads Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loaded_redis_without_an_owner_is_taken_only_by_the_database_that_it_was_loaded_from() {
    let (app, other) = with_another().await;
    let id = owner(&app.stores).await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys().owner())).await;
    eventually("the owner is back", || async { owner(&app.stores).await == id }).await;
    assert_eq!(gate(&app).await, "open");
    let mut app = app;
    app.stop().await;
    let keys = app.stores.keys();
    for lost in [vec![keys.owner()], vec![keys.owner(), keys.live(), keys.origin(), keys.outbox()]] {
        app.stores.redis::<()>(redis::cmd("DEL").arg(&lost)).await;
        let before = contents(&app.stores).await;
        let (code, output) = refused_start(&other).await;
        assert!(code == Some(1) && output.contains("was not loaded from this database"), "{output}");
        assert_eq!(contents(&app.stores).await, before);
    }
    app.start_another().await;
    assert_eq!(owner(&app.stores).await, id);
    other.remove_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_installation_takes_an_empty_prefix_after_ten_seconds() {
    let stores = Stores::create(None).await;
    let began = Instant::now();
    let serving = Serving::start(&stores).await;
    assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(owner(&stores).await, Some(installation::id(&stores.db).await.expect("MySQL answers")));
    let (done, _) = serving.terminate().await;
    assert!(done);
    let began = Instant::now();
    let serving = Serving::start(&stores).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(serving);
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_new_installations_neither_takes_an_empty_prefix() {
    let first = Stores::create(None).await;
    let second = Stores::create(None).await.with_prefix(&first.prefix);
    let (one, two) = tokio::join!(refused_start(&first), refused_start(&second));
    for ((code, output), other) in [(one, &second), (two, &first)] {
        let id = installation::id(&other.db).await.expect("MySQL answers");
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains(&format!("installation {id} uses the empty prefix")), "{output}");
    }
    assert_eq!(owner(&first).await, None);
    first.remove().await;
    second.remove_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_takes_its_emptied_redis_again_before_a_new_one() {
    let app = TestApp::start().await;
    let other = Stores::create(None).await.with_prefix(&app.stores.prefix);
    let id = owner(&app.stores).await;
    let emptied = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let keys: Vec<String> = app.stores.redis(redis::cmd("KEYS").arg(format!("{}*", app.stores.prefix))).await;
        app.stores.redis::<()>(redis::cmd("DEL").arg(keys)).await;
    };
    let ((code, output), ()) = tokio::join!(refused_start(&other), emptied);
    assert_eq!(code, Some(1), "{output}");
    eventually("Redis has its owner again", || async { owner(&app.stores).await == id }).await;
    eventually("the gate opens again", || async { app.client().is_ready().await }).await;
    other.remove_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_of_the_database_is_refused_until_it_has_an_id_of_its_own() {
    let (app, other) = with_another().await;
    other.remove_database().await;
    let copy = app.stores.copy().await;
    let before = contents(&app.stores).await;
    let (code, output) = refused_start(&copy).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("couponrush new-installation"), "{output}");
    assert_eq!((contents(&app.stores).await, gate(&app).await.as_str()), (before, "open"));

    // The copied rows of the original's instances are fresh for ten seconds.
    eventually("the copy gets an id", async || run_command(&copy, "new-installation", &[]).await.0).await;
    let (code, output) = refused_start(&copy).await;
    assert!(code == Some(1) && output.contains("couponrush adopt"), "{output}");
    let elsewhere = copy.clone().with_prefix(&format!("{}copy:", copy.prefix));
    elsewhere.own().await;
    let serving = Serving::start(&elsewhere).await;
    let (done, output) = run_command(&elsewhere, "new-installation", &[]).await;
    assert!(!done && output.contains("uses this database"), "{output}");
    let (done, _) = serving.terminate().await;
    assert!(done);
    elsewhere.remove().await;
}

/// After a loss, the beats of living processes are missing as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_of_the_database_is_refused_right_after_redis_has_lost_all_beats() {
    let redis = RedisServer::start().await;
    let stores = Stores::create(Some(redis.url())).await;
    stores.own().await;
    let serving = Serving::start(&stores).await;
    let copy = stores.copy().await;
    serving.freeze(true);
    redis.command::<()>(&["FLUSHALL"]).await;
    let thawed = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        serving.freeze(false);
    };
    let ((code, output), ()) = tokio::join!(refused_start(&copy), thawed);
    assert!(code == Some(1) && output.contains("couponrush new-installation"), "{output}");
    eventually("the service is ready again", || serving.ops.is_ready()).await;
    drop(serving);
    copy.remove_database().await;
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_further_instance_opens_as_soon_as_the_beats_of_the_first_have_advanced() {
    let mut app = TestApp::start().await;
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        app.start_another().await;
        fastest = fastest.min(began.elapsed());
    }
    // A watch to its end takes three seconds. On a busy machine a start may take as long without it, but hardly three do.
    assert!(fastest < Duration::from_secs(3), "the fastest start took {fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_leaves_no_beat_that_the_next_start_would_watch() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let beats = redis::cmd("HLEN").arg(app.stores.keys().beats()).to_owned();
    eventually("both beat", async || app.stores.redis::<u64>(&beats).await == 2).await;
    app.stop().await;
    assert_eq!(app.stores.redis::<u64>(&beats).await, 0);
    app.start_another().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adopting_forgets_the_claims_of_the_other_installation_and_says_so() {
    let (mut app, other) = with_another().await;
    let id = installation::id(&app.stores.db).await.expect("MySQL answers");
    let (done, output) = run_command(&other, "migrate", &[]).await;
    assert!(done, "{output}");
    let (done, output) = run_command(&other, "adopt", &["--yes"]).await;
    assert!(!done && output.contains(&format!("of installation {id} uses this Redis")), "{output}");
    app.stop().await;
    let keys = app.stores.keys();
    let entry = ["*", "c", "1:1:50:1:0:1"];
    app.stores.redis::<String>(redis::cmd("XADD").arg(keys.outbox()).arg(&entry)).await;
    app.stores.redis::<()>(redis::cmd("SET").arg(keys.waiting()).arg(1)).await;
    let before = contents(&app.stores).await;
    let (done, output) = run_command(&other, "adopt", &[]).await;
    assert!(!done && output.contains("not confirmed") && output.contains("forgets 1 claims"), "{output}");
    assert_eq!(contents(&app.stores).await, before);
    let epoch = app.stores.live().await.epoch;

    let (done, output) = run_command(&other, "adopt", &["--yes"]).await;
    assert!(done && output.contains(&format!("belongs to installation {id}")), "{output}");
    let serving = Serving::start(&other).await;
    assert!(other.live().await.epoch > epoch, "a frozen process of the other installation is fenced off");
    assert_eq!(other.number("SELECT COUNT(*) FROM claims").await, 0);
    assert_eq!(other.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
    assert!(!contents(&other).await.iter().any(|(key, _)| key.contains("holder:")));
    let (code, output) = refused_start(&app.stores).await;
    assert_eq!(code, Some(1), "{output}");
    let (done, _) = serving.terminate().await;
    assert!(done);

    let (done, output) = run_command(&app.stores, "adopt", &["--yes"]).await;
    assert!(done, "{output}");
    app.start_another().await;
    other.remove_database().await;
}

/// Another installation may become the owner between a comparison and a rebuild.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_script_that_takes_the_shard_compares_the_owner_once_more() {
    let app = TestApp::start().await;
    let (connection, keys) = (app.stores.connection().await, app.stores.keys());
    let live = app.stores.live().await;
    let taker = Taker { marker: "rebuild:another", installation: "another" };
    let ttl = Duration::from_secs(1);
    let taken = live_key::replace(&connection, &keys, live.as_str(), taker, ttl, ttl).await;
    assert!(matches!(taken, Ok(None)), "{taken:?}");
    assert_eq!(live_key::read(&connection, &keys, ttl).await.ok().flatten().as_deref(), Some(live.as_str()));
}
