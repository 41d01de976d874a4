//! A run: servers, instances with a proxy before every server, customers, changes, and the history.

mod archive;
mod crowd;
mod edits;
mod standbys;
mod start;
mod times;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::base::now_seconds;
use couponrush::domain::EntryId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clients::Crowd;
use crate::clocks::Clocks;
use crate::history::{Change, Coupon, EventKind, Number, Outcome, Recorder, Sale, Sample};
use crate::instance::{Instance, backlog, is_ready, readiness};
use crate::mysql;
use crate::network::Network;
use crate::proxy::Mode;
use crate::servers::{Etcd, Galera, MariaDb, RedisServers, START_WAIT, until};
use crate::setup::Setup;
use crate::stores::{self, Settled};
use crowd::{customers, offers};
use standbys::Standbys;
use start::Stores;

const PASSWORD: &str = "of a saler";
/// How long recovery may take before the run fails.
const READY_WAIT: Duration = Duration::from_secs(60);
/// After this time, other instances take a silent instance for dead.
const TAKEN_FOR_DEAD: Duration = Duration::from_secs(11);
const SAMPLE_WAIT: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// The coupons: without limits, with up to three claims a user, with a quota and a total, with few units.
pub const PLAIN: Coupon = 1;
pub const SEVERAL: Coupon = 2;
pub const QUOTA: Coupon = 3;
pub const FEW: Coupon = 4;
pub const COUPONS: [Coupon; 4] = [PLAIN, SEVERAL, QUOTA, FEW];
const AMOUNTS: [u32; 4] = [1_800, 3_000, 1_500, 200];
/// The total of [`QUOTA`], and its claims a second.
const TOTAL: u32 = 1_400;
const SPEED: u32 = 40;

/// Whether a request without an answer was sent.
enum Sent {
    No,
    Perhaps,
}

pub struct World {
    pub redis: RedisServers,
    pub mariadb: MariaDb,
    /// Of a run with the layout of a whole installation, whose `mariadb` leads to the writer.
    pub galera: Option<Galera>,
    pub etcd: Option<Etcd>,
    pub network: Network,
    standbys: Standbys,
    folder: PathBuf,
    /// `None` if all processes run by the machine's clock.
    clocks: Option<Clocks>,
    /// The number of shards. The previous release has one.
    shards: usize,
    pub instances: Vec<Instance>,
    pub recorder: Arc<Recorder>,
    pub crowd: Arc<Crowd>,
    /// The amount of [`PLAIN`] after the last confirmed change.
    pub amount: u32,
    pub sale: Sale,
    /// Coupons that may be archived.
    archived: BTreeSet<Coupon>,
    http: reqwest::Client,
    saler: String,
    /// The tokens of the claims made by [`World::edit_rows`].
    tokens_of_edited: Vec<String>,
    changes: Number,
    faults: Number,
}

impl World {
    /// Starts everything.
    pub async fn start(folder: &Path, instances: usize, mut setup: Setup) -> Self {
        let recorder = Arc::new(Recorder::new(&folder.join("history.jsonl")));
        let Stores { redis, mariadb, galera, etcd } = Stores::start(folder, &mut setup).await;
        let mut all = Vec::new();
        for number in 0..instances {
            all.push(Instance::start(folder, number, (&redis, &mariadb), &setup).await);
        }
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let http = http.expect("an HTTP client can be built");
        let addresses: Vec<SocketAddr> = all.iter().map(|instance| instance.http).collect();
        until("the program is ready", || async { is_ready(&http, all[0].ops).await }).await;
        let standbys = Standbys::new(&redis, &mariadb);
        let (scale, mysql_url) = (setup.layout.scale(), standbys.mysql_url());
        let customers = customers(&mariadb, scale).await;
        let crowd = Crowd::new(customers, offers(), addresses, Arc::clone(&recorder), mysql_url);
        let now = now_seconds();
        let sale = Sale { start: now - 10, end: now + 3_600, total: TOTAL * scale, speed: SPEED, buy_limit: 1 };
        let mut world = Self {
            standbys,
            redis,
            mariadb,
            galera,
            etcd,
            folder: folder.to_owned(),
            shards: setup.shards(),
            network: setup.network,
            clocks: setup.clocks,
            instances: all,
            recorder,
            crowd: Arc::new(crowd),
            amount: AMOUNTS[0] * scale,
            sale,
            archived: BTreeSet::new(),
            http,
            saler: String::new(),
            tokens_of_edited: Vec::new(),
            changes: 0,
            faults: 0,
        };
        // Every instance must know all shards, so that coupons are spread.
        world.wait_until_ready().await;
        world.make_coupons(scale).await;
        world.wait_until_ready().await;
        world
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    async fn make_coupons(&mut self, scale: u32) {
        let user = json!({"username": "shop", "password": PASSWORD, "kind": "saler"});
        assert!(matches!(self.send(0, "POST", "/api/users", &user).await, Ok((201, _))));
        let url = format!("http://{}/api/auth", self.instances[0].http);
        let answer = self.http.post(url).body(user.to_string()).send().await.expect("the program answers");
        let token = answer.headers().get("authorization").expect("the saler is logged in");
        self.saler = token.to_str().expect("a JWT is ASCII").to_owned();
        for (offer, amount) in offers().iter().zip(AMOUNTS) {
            let (name, amount) = (offer.path.rsplit('/').next().expect("a path"), amount * scale);
            let coupon = json!({"name": name, "amount": amount, "stock": 1, "description": ""});
            assert!(matches!(self.send(0, "POST", "/api/users/shop/coupons", &coupon).await, Ok((201, _))));
            let shard = stores::shard_of(self.shards, offer.coupon);
            self.recorder.note(EventKind::Coupon { coupon: offer.coupon, amount, shard });
        }
        let several = Sale { total: 0, speed: 0, buy_limit: 3, ..self.sale };
        self.change_sale(SEVERAL, several).await;
        self.change_sale(QUOTA, self.sale).await;
    }

    /// Sends a request of the saler. Returns status and body, or whether the unanswered request was sent.
    async fn send(&self, instance: usize, method: &str, path: &str, body: &Value) -> Result<(u16, Value), Sent> {
        let url = format!("http://{}{path}", self.instances[instance].http);
        let method = method.parse().expect("a method");
        let request = self.http.request(method, url).header("Authorization", &self.saler).body(body.to_string());
        match request.send().await {
            Ok(response) => Ok((response.status().as_u16(), response.json().await.unwrap_or_default())),
            Err(error) => Err(if error.is_connect() { Sent::No } else { Sent::Perhaps }),
        }
    }

    /// Changes the amount of [`PLAIN`] through an instance, and records the outcome.
    pub async fn change_amount(&mut self, instance: usize, to: u32) {
        if self.change(instance, PLAIN, Change::Amount(to), &json!({"amount": to})).await == Outcome::Done {
            self.amount = to;
        }
    }

    async fn change(&mut self, instance: usize, coupon: Coupon, to: Change, body: &Value) -> Outcome {
        self.changes += 1;
        let change = self.changes;
        self.recorder.note(EventKind::ChangeBegins { change, coupon, to });
        let offer = self.crowd.offers.iter().find(|offer| offer.coupon == coupon).expect("the coupon is offered");
        let outcome = match self.send(instance, "PUT", &offer.path, body).await {
            Ok((200, _)) => Outcome::Done,
            Ok((503, body)) if body["code"] == "unknown-outcome" => Outcome::Unknown,
            Ok((400 | 503, _)) | Err(Sent::No) => Outcome::Refused,
            Ok(_) | Err(Sent::Perhaps) => Outcome::Unknown,
        };
        self.recorder.note(EventKind::ChangeEnds { change, outcome });
        outcome
    }

    /// Changes a coupon's sale in MySQL alone, and waits until the repair has published it to Redis.
    pub async fn change_sale(&mut self, coupon: Coupon, sale: Sale) {
        self.changes += 1;
        let change = self.changes;
        self.recorder.note(EventKind::ChangeBegins { change, coupon, to: Change::Sale(sale) });
        let url = self.mariadb.root_url();
        mysql::write_sale(&url, coupon, &sale).await;
        until("the sale is published", || mysql::is_published(&url, coupon)).await;
        self.recorder.note(EventKind::ChangeEnds { change, outcome: Outcome::Done });
    }

    /// Records the begin of a fault. Returns its number for [`World::note_fault_ends`].
    pub fn note_fault_begins(&mut self, name: String) -> Number {
        self.faults += 1;
        self.recorder.note(EventKind::FaultBegins { fault: self.faults, name });
        self.faults
    }

    /// Records that an instance is about to be cut off together with the primary of a shard.
    pub fn note_cut_off(&self, instance: usize, shard: usize) {
        self.recorder.note(EventKind::CutOff { instance, shard });
    }

    pub fn note_fault_ends(&self, fault: Number) {
        self.recorder.note(EventKind::FaultEnds { fault });
    }

    /// `kill -9`.
    pub fn kill(&mut self, instance: usize) {
        self.instances[instance].process.kill();
    }

    /// Starts a dead instance, optionally with a crash point.
    pub fn revive(&mut self, instance: usize, crash_at: Option<&str>) {
        let variables: Vec<(&str, &str)> = crash_at.iter().map(|at| ("COUPONRUSH_CRASH_AT", *at)).collect();
        self.instances[instance].process.start(&variables);
    }

    /// Starts a dead instance that freezes when it first passes the crash point.
    pub fn revive_to_stop(&mut self, instance: usize, at: &str) {
        self.instances[instance].process.start(&[("COUPONRUSH_STOP_AT", &format!("{at}:1"))]);
    }

    /// Waits until an instance has ended by itself. False if it still runs after `wait`.
    pub async fn ends_within(&mut self, instance: usize, wait: Duration) -> bool {
        self.any_of_ends_within(instance..=instance, wait).await
    }

    /// Waits until any instance has ended by itself. False if all still run after `wait`.
    pub async fn any_ends_within(&mut self, wait: Duration) -> bool {
        self.any_of_ends_within(0..=self.instances.len() - 1, wait).await
    }

    async fn any_of_ends_within(&mut self, any: RangeInclusive<usize>, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        while self.instances[any.clone()].iter_mut().all(|instance| instance.process.is_running()) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Freezes an instance until the others have taken it for dead and have stored its claims.
    pub async fn freeze_for_long(&mut self, instance: usize) {
        self.instances[instance].process.freeze();
        tokio::time::sleep(TAKEN_FOR_DEAD).await;
        self.wait_until_claims_of_dead_instances_are_stored().await;
    }

    /// Waits until every instance can sell.
    ///
    /// # Panics
    /// If an instance has ended by itself, or is not ready within [`READY_WAIT`].
    pub async fn wait_until_ready(&mut self) {
        self.wait_until_ready_except(None).await;
    }

    /// Like [`World::wait_until_ready`], except for an instance.
    pub async fn wait_until_ready_except(&mut self, except: Option<usize>) {
        let deadline = Instant::now() + READY_WAIT;
        for instance in (0..self.instances.len()).filter(|instance| Some(*instance) != except) {
            while !is_ready(&self.http, self.instances[instance].ops).await {
                assert!(self.instances[instance].process.is_running(), "instance {instance} has ended by itself");
                assert!(Instant::now() < deadline, "I10: instance {instance} is not ready within {READY_WAIT:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Whether every instance reports this state of its gate.
    pub async fn have_gate(&self, state: &str) -> bool {
        self.every_report(|report| report["gate"]["state"] == state).await
    }

    /// Whether the report of every instance meets a condition.
    pub async fn every_report(&self, is_met: impl Fn(&serde_json::Value) -> bool) -> bool {
        for instance in &self.instances {
            if !readiness(&self.http, instance.ops).await.is_some_and(|report| is_met(&report)) {
                return false;
            }
        }
        true
    }

    pub async fn is_ready(&self, instance: usize) -> bool {
        is_ready(&self.http, self.instances[instance].ops).await
    }

    /// Claims stored by an instance since its start. 0 if the instance does not answer.
    pub async fn stored(&self, instance: usize) -> u64 {
        let stored = readiness(&self.http, self.instances[instance].ops).await;
        stored.and_then(|report| report["ledger"]["stored"].as_u64()).unwrap_or_default()
    }

    /// Waits until a loss of Redis is covered by the promises: every instance can sell, and MySQL has the claims of
    /// dead instances. Claims known only to Redis and to dead instances would be lost.
    pub async fn wait_until_loss_is_covered(&mut self) {
        self.wait_until_loss_is_covered_except(None).await;
    }

    /// Like [`World::wait_until_loss_is_covered`], while an instance is dead.
    pub async fn wait_until_loss_is_covered_except(&mut self, dead: Option<usize>) {
        self.wait_until_ready_except(dead).await;
        self.wait_until_claims_of_dead_instances_are_stored().await;
    }

    /// Waits until MySQL has all claims that are in the outbox now, among them those of dead instances. Ids are compared
    /// with ids alone, because after a step of Redis' clock they are no times.
    async fn wait_until_claims_of_dead_instances_are_stored(&self) {
        for (shard, keys) in stores::keys(self.shards).iter().enumerate() {
            let end = async |command: &str, from: &str, to: &str| {
                let mut range = redis::cmd(command);
                range.arg(keys.outbox()).arg(from).arg(to).arg("COUNT").arg(1);
                let entries: Vec<(String, Vec<String>)> = self.call(shard, &range).await;
                entries.first().map(|(id, _)| id.parse::<EntryId>().expect("an id of an entry"))
            };
            let Some(last) = end("XREVRANGE", "+", "-").await else { continue };
            until("the claims of dead instances are stored", || async {
                end("XRANGE", "-", "+").await.is_none_or(|first| first > last)
            })
            .await;
        }
    }

    /// Mends all faults, sells the remaining units, and waits until the outbox is empty.
    pub async fn settle(&mut self) -> Settled {
        for instance in &self.instances {
            instance.redis.set(Mode::Pass);
            instance.mysql.set(Mode::Pass);
        }
        self.set_clocks_right();
        self.wait_until_ready().await;
        // No attempts yet: the claims in the outbox must be stored without being asked for again.
        self.wait_until_outbox_is_empty().await;
        let open = Sale { start: now_seconds() - 10, speed: 0, ..self.sale };
        self.change_sale(QUOTA, open).await;
        let archived: Vec<Coupon> = self.archived.iter().copied().collect();
        self.archive_all(&archived, false).await;
        self.recorder.note(EventKind::Healed);
        Arc::clone(&self.crowd).claim_all().await;
        self.wait_until_outbox_is_empty().await;
        let redis = stores::read_all(&self.standbys.redis, self.shards, &COUPONS).await;
        Settled { redis, mysql: mysql::read_all(&self.mariadb.root_url()).await }
    }

    /// The reply of the primary of a shard, which must be available.
    async fn call<T: redis::FromRedisValue>(&self, shard: usize, cmd: &redis::Cmd) -> T {
        let connection = self.standbys.redis.connect(shard, START_WAIT).await;
        let mut connection = connection.expect("the primary of the shard answers");
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn wait_until_outbox_is_empty(&self) {
        for (shard, keys) in stores::keys(self.shards).iter().enumerate() {
            let mut length = redis::cmd("XLEN");
            length.arg(keys.outbox());
            until("the outbox is empty", || async { self.call::<u64>(shard, &length).await == 0 }).await;
            let mut waiting = redis::cmd("GET");
            waiting.arg(keys.waiting());
            let waiting: Option<i64> = self.call(shard, &waiting).await;
            assert_eq!(waiting, None, "an empty outbox has no counter of waiting claims");
        }
    }

    /// Samples the stores in any state, until `stop`.
    pub fn sample_until(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (recorder, http) = (Arc::clone(&self.recorder), self.http.clone());
        let ops: Vec<SocketAddr> = self.instances.iter().map(|instance| instance.ops).collect();
        let (mysql_url, redis, shards) = (self.standbys.mysql_url(), self.standbys.redis.clone(), self.shards);
        async move {
            while !stop.is_cancelled() {
                let mut sample = Sample { mysql: mysql::count(&mysql_url()).await, ..Sample::default() };
                sample.redis = stores::count(&redis, shards, &COUPONS, SAMPLE_WAIT).await;
                for ops in &ops {
                    sample.backlogs.extend(backlog(&http, *ops).await);
                }
                recorder.note(EventKind::Sample(sample));
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        }
    }
}
