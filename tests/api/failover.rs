//! Redis fails over behind an address that stays the same, while open connections survive.

use std::time::Duration;

use redis::Value;

use crate::helpers::{
    Client, Customer, Got, Instance, RedisServer, Relay, Stores, TestApp, customers, eventually, rush, without_rates,
};

const PATIENCE: Duration = Duration::from_secs(30);
const UNITS: u32 = 2_000;
const TRIES: usize = 5;
/// Connections that an instance makes in a moment, at most.
const CONNECTIONS_MAX: usize = 100;

/// A primary, its replica, and an address that leads to the primary.
struct Pair {
    primary: RedisServer,
    replica: RedisServer,
    address: Relay,
}

impl Pair {
    async fn start() -> Self {
        let (primary, replica) = (RedisServer::start().await, RedisServer::start().await);
        replica.follow(&primary).await;
        let address = Relay::start(&[primary.address()]).await;
        Self { primary, replica, address }
    }

    /// Promotes the replica and moves the address. The earlier primary goes on as a primary, and open connections lead
    /// to it.
    async fn promote_without_demoting(&self) {
        self.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
        self.address.lead_to(&[self.replica.address()]);
    }

    async fn kill_connection_of_recovery(&self) {
        // The last command of this connection is the read of the counters, until the next probe.
        eventually("recovery's connection is found", || async {
            let clients: String = self.primary.command(&["CLIENT", "LIST"]).await;
            let recovery = clients.lines().find(|client| client.contains(" cmd=hgetall "));
            let id = recovery.and_then(|client| client.strip_prefix("id=")?.split(' ').next());
            let Some(id) = id else { return false };
            self.primary.command::<u32>(&["CLIENT", "KILL", "ID", id]).await == 1
        })
        .await;
    }
}

fn url(address: &Relay) -> String {
    format!("redis://{}/", address.address)
}

/// A service behind `address`, with a coupon `shop/rush`, and a crowd of 200 more customers than units.
async fn selling(address: &Relay) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_on(Stores::create(Some(url(address))).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", UNITS as usize + 200).await;
    (app, crowd)
}

async fn sell(clients: &[Client], crowd: &[Customer]) -> Vec<Got> {
    rush(clients, crowd, ("shop", "rush"), 8, PATIENCE).await
}

async fn rows(app: &TestApp) -> i64 {
    app.stores.number("SELECT COUNT(*) FROM claims").await
}

/// The state of the gate and of Redis, as `/readyz` reports them.
async fn states(instance: &Instance) -> (String, String) {
    let report = instance.ops.get("/readyz", "").await.json();
    let state = |part: &str| report[part]["state"].as_str().expect("a part has a state").to_owned();
    (state("gate"), state("redis"))
}

async fn is_open(instance: &Instance) -> bool {
    states(instance).await.0 == "open"
}

async fn process(redis: &RedisServer) -> String {
    let info: String = redis.command(&["INFO", "server"]).await;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a server has a run id").to_owned()
}

/// How often Redis was asked for its role.
async fn roles_asked(redis: &RedisServer) -> u64 {
    let info: String = redis.command(&["INFO", "commandstats"]).await;
    let role = info.lines().find_map(|line| line.strip_prefix("cmdstat_role:calls="));
    role.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_under_load_is_followed_and_loses_nothing() {
    let pair = Pair::start().await;
    let (mut app, crowd) = selling(&pair.address).await;
    app.start_another().await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];
    let running = tokio::spawn(async move { sell(&clients, &crowd).await });
    eventually("some claims are stored", || async { rows(&app).await > 300 }).await;

    let replica = pair.replica.address().port().to_string();
    pair.primary.command::<()>(&["FAILOVER", "TO", "127.0.0.1", &replica]).await;
    eventually("the primary is a replica", || async {
        let Value::Array(role) = pair.primary.command(&["ROLE"]).await else { panic!("a role is an array") };
        role[0] == Value::BulkString(b"slave".to_vec())
    })
    .await;
    pair.address.lead_to(&[pair.replica.address()]);
    let promoted = process(&pair.replica).await;
    eventually("the promoted replica is loaded", || async { app.stores.live().await.run_id == promoted }).await;

    let got = running.await.expect("the crowd does not panic");
    assert_eq!(got.iter().filter(|got| got.has_unit()).count(), UNITS as usize);
    app.settle().await;
    assert_eq!(rows(&app).await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_that_becomes_a_replica_closes_the_shard_until_there_is_a_primary() {
    let pair = Pair::start().await;
    let (app, crowd) = selling(&pair.address).await;
    let instance = &app.instances[0];
    sell(&[app.client().clone()], &crowd[..20]).await;
    app.settle().await;
    pair.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    pair.primary.follow(&pair.replica).await;
    tokio::time::timeout(Duration::from_secs(3), async {
        while states(instance).await != ("read-only".to_owned(), "read-only".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the reason shows within 3 s");
    assert!(!app.client().is_ready().await);
    assert_eq!(app.client().claim("shop", "rush", &crowd[20].token).await.error().2, "unavailable");

    // The same process becomes the primary again, with all its data.
    let epoch = app.stores.live().await.epoch;
    pair.primary.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("the gate opens", || is_open(instance)).await;
    assert_eq!(app.stores.live().await.epoch, epoch, "nothing was rebuilt");
    assert_eq!(app.client().claim("shop", "rush", &crowd[20].token).await.status, 201);
}

/// Only recovery's connection moves to the promoted replica. The workers' connections still lead to the earlier
/// primary, which takes writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_of_workers_follow_to_the_process_that_was_compared() {
    let pair = Pair::start().await;
    let (app, crowd) = selling(&pair.address).await;
    sell(&[app.client().clone()], &crowd[..50]).await;
    app.settle().await;
    pair.promote_without_demoting().await;
    pair.kill_connection_of_recovery().await;
    eventually("the replica is loaded", || async {
        app.stores.live().await.run_id == process(&pair.replica).await && is_open(&app.instances[0]).await
    })
    .await;
    // Both workers are asked, many times.
    let got = sell(&[app.client().clone()], &crowd[50..100]).await;
    assert!(got.iter().all(Got::has_unit));
    assert_eq!(app.client().list("crowd-0", &crowd[0].token).await.status, 200);
}

/// Only connections of workers move to the promoted replica. Recovery's connection still leads to the earlier primary,
/// where all comparisons agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn recovery_follows_the_connections_of_workers() {
    let pair = Pair::start().await;
    let (app, crowd) = selling(&pair.address).await;
    sell(&[app.client().clone()], &crowd[..50]).await;
    app.settle().await;
    pair.promote_without_demoting().await;
    let customers = std::cell::Cell::new(50);
    eventually("the replica is loaded", || async {
        customers.set(customers.get() + 1);
        app.client().claim("shop", "rush", &crowd[customers.get()].token).await;
        // Recovery's connection never ends with a script.
        let clients: String = pair.primary.command(&["CLIENT", "LIST"]).await;
        let ids = clients.lines().filter(|client| client.contains(" cmd=evalsha "));
        for id in ids.filter_map(|client| client.strip_prefix("id=")?.split(' ').next()) {
            pair.primary.command::<u32>(&["CLIENT", "KILL", "ID", id]).await;
        }
        app.stores.live().await.run_id == process(&pair.replica).await && is_open(&app.instances[0]).await
    })
    .await;
    let got = sell(&[app.client().clone()], &crowd[1_000..1_050]).await;
    assert!(got.iter().all(Got::has_unit));
}

/// The address leads to the promoted replica for one connection, the one that recovery compares, and then back to the
/// loaded primary. Both hold the same `live`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_stays_in_the_process_that_was_compared() {
    let pair = Pair::start().await;
    let (app, crowd) = selling(&pair.address).await;
    sell(&[app.client().clone()], &crowd[..20]).await;
    app.settle().await;
    let before = app.stores.live().await;
    pair.promote_without_demoting().await;
    // Another connection can come first and be led to the replica instead. Only a link asks for the role.
    let mut is_compared = false;
    for _ in 0..TRIES {
        let asked = roles_asked(&pair.replica).await;
        let mut targets = vec![pair.primary.address(); CONNECTIONS_MAX];
        targets[0] = pair.replica.address();
        pair.address.lead_to(&targets);
        pair.kill_connection_of_recovery().await;
        // Recovery, its rebuild, and recovery again connect.
        let connected = async {
            while pair.address.accepted() < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let all_connected = tokio::time::timeout(Duration::from_secs(5), connected).await.is_ok();
        is_compared = all_connected && roles_asked(&pair.replica).await > asked;
        if is_compared {
            break;
        }
    }
    assert!(is_compared, "recovery has compared the replica");
    eventually("the gate opens", || is_open(&app.instances[0])).await;
    assert_eq!(app.stores.live().await, before, "nothing was rebuilt");
    assert_eq!(app.client().claim("shop", "rush", &crowd[20].token).await.status, 201);
}

/// The network separates two instances, and each reaches another primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_primaries_one_is_chosen_and_the_choice_does_not_alternate() {
    let pair = Pair::start().await;
    let (mut app, crowd) = selling(&pair.address).await;
    let other = Relay::start(&[pair.primary.address()]).await;
    app.args.redis.redis_url = url(&other);
    app.start_another().await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];
    sell(&clients, &crowd[..100]).await;
    app.settle().await;
    let before = app.stores.live().await.epoch;

    pair.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    other.lead_to(&[pair.replica.address()]);
    // Both instances connect again, the first to the earlier primary.
    pair.primary.command::<u32>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let promoted = process(&pair.replica).await;
    eventually("the promoted replica is loaded", || async { app.stores.live().await.run_id == promoted }).await;
    eventually("its instance sells", || is_open(&app.instances[1])).await;
    let epoch = app.stores.live().await.epoch;
    // One rebuild, or a second attempt at it.
    assert!(epoch.0 <= before.0 + 2, "from epoch {before} to {epoch}: the instances rebuilt by turns");
    eventually("the other instance says why it does not", || async {
        states(&app.instances[0]).await.0 == "two-primaries"
    })
    .await;
    // Longer than any choice takes.
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!((app.stores.live().await.epoch, is_open(&app.instances[1]).await), (epoch, true));
    let got = sell(&[app.instances[1].client.clone()], &crowd[100..200]).await;
    assert!(got.iter().all(Got::has_unit));

    pair.address.lead_to(&[pair.replica.address()]);
    eventually("the other instance follows", || is_open(&app.instances[0])).await;
    let got = sell(&clients, &crowd[200..300]).await;
    assert!(got.iter().all(Got::has_unit));
}
