//! The shard lives in a Redis Cluster: a failover, and a slot that moves.

use std::io::BufRead;
use std::time::Duration;

use couponrush::mysql::shards::{self, Added};

use crate::helpers::{
    Customer, Got, Instance, RedisCluster, SLOT, Stores, TestApp, customers, eventually, eventually_within, rush,
    without_rates,
};
use crate::program::{Running, instance_on};

const PATIENCE: Duration = Duration::from_secs(30);
const UNITS: u32 = 600;
/// The owner of the slot, its replica, and another primary.
pub const OWNER: usize = 2;
const REPLICA: usize = 5;
const OTHER: usize = 1;

async fn selling(cluster: &RedisCluster) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_on(Stores::create(Some(cluster.url())).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", UNITS as usize + 50).await;
    (app, crowd)
}

async fn sell(app: &TestApp, crowd: &[Customer]) -> Vec<Got> {
    let clients: Vec<_> = app.instances.iter().map(|instance| instance.client.clone()).collect();
    rush(&clients, crowd, ("shop", "rush"), 8, PATIENCE).await
}

async fn gate(instance: &Instance) -> String {
    let report = instance.ops.get("/readyz", "").await.json();
    report["gate"]["state"].as_str().expect("the gate has a state").to_owned()
}

async fn run_id(cluster: &RedisCluster, server: usize) -> String {
    let info: String = cluster.servers[server].command(&["INFO", "server"]).await;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a server has a run id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_is_followed_and_loses_nothing() {
    let mut cluster = RedisCluster::start().await;
    let (mut app, crowd) = selling(&cluster).await;
    app.start_another().await;
    let warnings = app.instances[0].ops.get("/readyz", "").await.json()["warnings"].clone();
    assert_eq!(warnings.as_array().map(Vec::len), Some(0), "{warnings}");
    sell(&app, &crowd[..200]).await;
    let promoted = run_id(&cluster, REPLICA).await;

    cluster.servers[OWNER].kill();
    let got = sell(&app, &crowd[200..]).await;
    assert_eq!(got.iter().filter(|got| got.has_unit()).count(), UNITS as usize - 200);
    assert_eq!(app.stores.live().await.run_id, promoted);
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
}

/// Begins to move the slot of the shard from its owner to the other primary, and waits until the shard is closed. Returns
/// the id of the other primary.
async fn begin_move(cluster: &RedisCluster, app: &TestApp) -> String {
    let [owner_id, target_id] = [cluster.id(OWNER).await, cluster.id(OTHER).await];
    let (owner, other) = (&cluster.servers[OWNER], &cluster.servers[OTHER]);
    other.command::<()>(&["CLUSTER", "SETSLOT", SLOT, "IMPORTING", &owner_id]).await;
    owner.command::<()>(&["CLUSTER", "SETSLOT", SLOT, "MIGRATING", &target_id]).await;
    eventually("the shard is closed", || async { gate(&app.instances[0]).await == "moving" }).await;
    target_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slot_that_moves_closes_the_shard_until_it_is_loaded_from_nothing() {
    let cluster = RedisCluster::start().await;
    let (app, crowd) = selling(&cluster).await;
    sell(&app, &crowd[..100]).await;
    app.settle().await;
    let before = app.stores.live().await;
    let (owner, other) = (&cluster.servers[OWNER], &cluster.servers[OTHER]);
    let target_id = begin_move(&cluster, &app).await;
    assert_eq!(app.client().claim("shop", "rush", &crowd[100].token).await.error().2, "unavailable");
    assert_eq!(app.stores.live().await, before, "nothing is rebuilt while the slot moves");

    let keys: Vec<String> = owner.command(&["CLUSTER", "GETKEYSINSLOT", SLOT, "10000"]).await;
    // The claims of a user stay behind, as if somebody had moved the slot without all its keys.
    let lost = keys.iter().find(|key| key.contains(":holder:")).expect("somebody holds a unit");
    owner.command::<u32>(&["DEL", lost]).await;
    let port = other.address().port().to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
    migrate.extend(keys.iter().filter(|key| *key != lost).map(String::as_str));
    owner.command::<String>(&migrate).await;
    for server in [OTHER, OWNER, 0] {
        cluster.servers[server].command::<()>(&["CLUSTER", "SETSLOT", SLOT, "NODE", &target_id]).await;
    }
    let target = run_id(&cluster, OTHER).await;
    eventually("the shard is loaded into the other primary", || async {
        app.stores.live().await.run_id == target && gate(&app.instances[0]).await == "open"
    })
    .await;

    let again = sell(&app, &crowd[..100]).await;
    assert!(again.iter().all(|got| got.result() == "already-claimed"));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 100, "every holder was loaded again");
    let got = sell(&app, &crowd[100..]).await;
    assert_eq!(got.iter().filter(|got| got.has_unit()).count(), UNITS as usize - 100);
}

/// The same server keeps the slot and the key `live`, but has lost a key on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_move_is_loaded_from_nothing_too() {
    let cluster = RedisCluster::start().await;
    let (app, crowd) = selling(&cluster).await;
    sell(&app, &crowd[..50]).await;
    app.settle().await;
    let before = app.stores.live().await;
    let (owner, other) = (&cluster.servers[OWNER], &cluster.servers[OTHER]);
    begin_move(&cluster, &app).await;
    let keys: Vec<String> = owner.command(&["CLUSTER", "GETKEYSINSLOT", SLOT, "10000"]).await;
    let lost = keys.iter().find(|key| key.contains(":holder:")).expect("somebody holds a unit");
    owner.command::<u32>(&["DEL", lost]).await;
    for server in [other, owner] {
        server.command::<()>(&["CLUSTER", "SETSLOT", SLOT, "STABLE"]).await;
    }
    eventually("the shard is loaded again", || async {
        let live = app.stores.live().await;
        live.run_id == before.run_id && live.epoch > before.epoch && gate(&app.instances[0]).await == "open"
    })
    .await;
    let again = sell(&app, &crowd[..50]).await;
    assert!(again.iter().all(|got| got.result() == "already-claimed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_settings_of_every_shard_s_server_are_checked() {
    let cluster = RedisCluster::start().await;
    // Of four shards the last one is on this server.
    cluster.servers[OTHER].command::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    for (shards, warns) in [("1", false), ("4", true)] {
        let stores = Stores::create(Some(cluster.url())).await;
        let (program, log) =
            Running::serve(&[&instance_on(&stores, "0")[..], &[("COUPONRUSH_SHARDS", shards)]].concat());
        let lines = log.lines().map(|line| line.expect("the log is UTF-8"));
        // The settings are checked before anything runs.
        let lines: Vec<String> =
            lines.take_while(|line| !line.contains("recovery") && !line.contains("serving")).collect();
        assert_eq!(
            lines.iter().any(|line| line.contains("UNSAFE") && line.contains("allkeys-lru")),
            warns,
            "{lines:?}"
        );
        program.stop("KILL").await;
        stores.remove_database().await;
    }
}

/// Every shard needs the answer of the majority each second. Without sharing, sixteen shards would ask sixteen times.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_shards_of_a_process_ask_the_majority_together() {
    let cluster = RedisCluster::start().await;
    let stores = Stores::create(Some(cluster.url())).await;
    let app = TestApp::start_on(stores, |_| {}).await;
    let added = shards::add(&app.stores.db, 15).await.expect("MySQL answers");
    assert!(matches!(added, Added::Done { .. }), "{added:?}");
    // A process waits ten seconds before it takes an empty prefix.
    eventually_within(Duration::from_secs(40), "every shard is open", || async {
        let shards = app.instances[0].ops.get("/readyz", "").await.json()["shards"].clone();
        shards.as_array().is_some_and(|all| all.len() == 16 && all.iter().all(|shard| shard["gate"]["state"] == "open"))
    })
    .await;
    // No connection is new any more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = async || {
        let info: String = cluster.servers[0].command(&["INFO", "commandstats"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_cluster|nodes:calls="));
        let calls = line.and_then(|line| line.split(',').next()).and_then(|calls| calls.parse::<u64>().ok());
        calls.expect("the cluster was asked")
    };
    let before = asked().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let questions = asked().await - before;
    assert!((3..=12).contains(&questions), "{questions} questions in four seconds");
}
