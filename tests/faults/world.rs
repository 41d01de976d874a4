//! Everything of one run: servers, instances with a proxy before each server, customers, changes, and the history.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::auth::{Secrets, UserTokens};
use couponrush::domain::{Kind, User, UserId, UserName};
use couponrush::{now_ms, now_seconds};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clients::{Crowd, Customer, Offer};
use crate::history::{Backlog, Change, Coupon, Number, Outcome, Recorder, Sale, Sample, What};
use crate::mysql;
use crate::ports::free_address;
use crate::proxy::{Mode, Proxy};
use crate::servers::{MariaDb, Process, Redis, SECRET, START_WAIT, until};
use crate::stores::{self, Settled};

const CUSTOMERS: usize = 2_000;
const PASSWORD: &str = "of a saler";
/// How long recovery may take before the run is given up.
const READY_WAIT: Duration = Duration::from_secs(60);
/// After this an instance that is silent is taken for dead.
const TAKEN_FOR_DEAD: Duration = Duration::from_secs(11);
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Coupons: claimed at once; up to three a user; with a quota and a total; few.
pub const PLAIN: Coupon = 1;
pub const SEVERAL: Coupon = 2;
pub const QUOTA: Coupon = 3;
pub const FEW: Coupon = 4;
pub const COUPONS: [Coupon; 4] = [PLAIN, SEVERAL, QUOTA, FEW];
const AMOUNTS: [u32; 4] = [1_800, 3_000, 1_500, 200];
/// The quota's total, and its claims a second.
const TOTAL: u32 = 1_400;
const SPEED: u32 = 40;

/// One instance of the program and its ways to Redis and MySQL.
pub struct Instance {
    pub http: SocketAddr,
    pub ops: SocketAddr,
    pub redis: Proxy,
    pub mysql: Proxy,
    pub process: Process,
}

/// Whether a request that was not answered was sent.
enum Sent {
    No,
    Perhaps,
}

pub struct World {
    pub redis: Redis,
    pub mariadb: MariaDb,
    pub instances: Vec<Instance>,
    pub recorder: Arc<Recorder>,
    pub crowd: Arc<Crowd>,
    /// What was last said of the amount of [`PLAIN`].
    pub amount: u32,
    pub sale: Sale,
    http: reqwest::Client,
    saler: String,
    changes: Number,
    faults: Number,
    /// When an instance died last, by the machine's clock.
    died_ms: u64,
}

impl World {
    pub async fn start(folder: &Path, instances: usize) -> Self {
        let recorder = Arc::new(Recorder::new(&folder.join("history.jsonl")));
        let (redis, mariadb) = (Redis::start(folder).await, MariaDb::start(folder).await);
        let mut all = Vec::new();
        for number in 0..instances {
            all.push(Instance::start(folder, number, &redis, &mariadb).await);
        }
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let http = http.expect("the client needs nothing");
        let addresses: Vec<SocketAddr> = all.iter().map(|instance| instance.http).collect();
        until("the program is ready", || async { is_ready(&http, all[0].ops).await }).await;
        let crowd = Crowd::new(customers(&mariadb).await, offers(), addresses, Arc::clone(&recorder));
        let now = now_seconds();
        let sale = Sale { start: now - 10, end: now + 3_600, total: TOTAL, speed: SPEED, buy_limit: 1 };
        let mut world = Self {
            redis,
            mariadb,
            instances: all,
            recorder,
            crowd: Arc::new(crowd),
            amount: AMOUNTS[0],
            sale,
            http,
            saler: String::new(),
            changes: 0,
            faults: 0,
            died_ms: 0,
        };
        world.make_coupons().await;
        world.ready().await;
        world
    }

    async fn make_coupons(&mut self) {
        let user = json!({"username": "shop", "password": PASSWORD, "kind": "saler"});
        assert!(matches!(self.send(0, "POST", "/api/users", &user).await, Ok((201, _))));
        let url = format!("http://{}/api/auth", self.instances[0].http);
        let answer = self.http.post(url).body(user.to_string()).send().await.expect("the program answers");
        let token = answer.headers().get("authorization").expect("the saler is logged in");
        self.saler = token.to_str().expect("a JWT is ASCII").to_owned();
        for (offer, amount) in offers().iter().zip(AMOUNTS) {
            let name = offer.path.rsplit('/').next().expect("a path");
            let coupon = json!({"name": name, "amount": amount, "stock": 1, "description": ""});
            assert!(matches!(self.send(0, "POST", "/api/users/shop/coupons", &coupon).await, Ok((201, _))));
            self.recorder.note(What::Coupon { coupon: offer.coupon, amount });
        }
        let several = Sale { total: 0, speed: 0, buy_limit: 3, ..self.sale };
        self.change_sale(SEVERAL, several).await;
        self.change_sale(QUOTA, self.sale).await;
    }

    /// A request of the saler's: status and body; `Err` where there was no answer, and whether it was sent.
    async fn send(&self, instance: usize, method: &str, path: &str, body: &Value) -> Result<(u16, Value), Sent> {
        let url = format!("http://{}{path}", self.instances[instance].http);
        let method = method.parse().expect("a method");
        let request = self.http.request(method, url).header("Authorization", &self.saler).body(body.to_string());
        match request.send().await {
            Ok(response) => Ok((response.status().as_u16(), response.json().await.unwrap_or_default())),
            Err(error) => Err(if error.is_connect() { Sent::No } else { Sent::Perhaps }),
        }
    }

    /// Changes the amount of [`PLAIN`] through an instance.
    pub async fn change_amount(&mut self, instance: usize, to: u32) {
        self.changes += 1;
        let change = self.changes;
        self.recorder.note(What::ChangeBegins { change, coupon: PLAIN, to: Change::Amount(to) });
        let path = &self.crowd.offers[0].path;
        let outcome = match self.send(instance, "PUT", path, &json!({"amount": to})).await {
            Ok((200, _)) => Outcome::Done,
            Ok((503, body)) if body["code"] == "unknown-outcome" => Outcome::Unknown,
            Ok((400 | 503, _)) | Err(Sent::No) => Outcome::Refused,
            Ok(_) | Err(Sent::Perhaps) => Outcome::Unknown,
        };
        self.recorder.note(What::ChangeEnds { change, outcome });
        if outcome == Outcome::Done {
            self.amount = to;
        }
    }

    /// Changes a coupon's sale in MySQL alone, and waits until the repair has told Redis.
    pub async fn change_sale(&mut self, coupon: Coupon, sale: Sale) {
        self.changes += 1;
        let change = self.changes;
        self.recorder.note(What::ChangeBegins { change, coupon, to: Change::Sale(sale) });
        let url = self.mariadb.root_url();
        mysql::write_sale(&url, coupon, &sale).await;
        until("the sale is published", || mysql::is_published(&url, coupon)).await;
        self.recorder.note(What::ChangeEnds { change, outcome: Outcome::Done });
    }

    /// Writes down that something breaks; the number is for [`World::mended`].
    pub fn broken(&mut self, name: String) -> Number {
        self.faults += 1;
        self.recorder.note(What::FaultBegins { fault: self.faults, name });
        self.faults
    }

    pub fn mended(&self, fault: Number) {
        self.recorder.note(What::FaultEnds { fault });
    }

    /// kill -9.
    pub fn kill(&mut self, instance: usize) {
        self.instances[instance].process.kill();
        self.died_ms = now_ms();
    }

    /// Starts a dead instance, perhaps with a point to die at.
    pub fn revive(&mut self, instance: usize, crash_at: Option<&str>) {
        let variables: Vec<(&str, &str)> = crash_at.iter().map(|at| ("COUPONRUSH_CRASH_AT", *at)).collect();
        self.instances[instance].process.start(&variables);
    }

    /// Starts a dead instance that will stand still when it first passes the point.
    pub fn revive_to_stop(&mut self, instance: usize, at: &str) {
        self.instances[instance].process.start(&[("COUPONRUSH_STOP_AT", &format!("{at}:1"))]);
    }

    /// Waits until an instance has ended by itself; false where it does not.
    pub async fn dies(&mut self, instance: usize, wait: Duration) -> bool {
        self.some_dies(instance..=instance, wait).await
    }

    /// Waits until any instance has ended by itself.
    pub async fn one_dies(&mut self, wait: Duration) -> bool {
        self.some_dies(0..=self.instances.len() - 1, wait).await
    }

    async fn some_dies(&mut self, any: RangeInclusive<usize>, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        while self.instances[any.clone()].iter_mut().all(|instance| instance.process.is_running()) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.died_ms = now_ms();
        true
    }

    /// Freezes an instance until others have taken it for dead and stored what it knew.
    pub async fn freeze_for_long(&mut self, instance: usize) {
        self.instances[instance].process.freeze();
        self.died_ms = now_ms();
        tokio::time::sleep(TAKEN_FOR_DEAD).await;
        self.until_the_dead_are_stored().await;
    }

    /// Waits until every instance can sell.
    ///
    /// # Panics
    /// Where one has died by itself, or takes too long.
    pub async fn ready(&mut self) {
        self.ready_but(None).await;
    }

    /// Waits until every instance, or every one but this, can sell.
    pub async fn ready_but(&mut self, but: Option<usize>) {
        let deadline = Instant::now() + READY_WAIT;
        for instance in (0..self.instances.len()).filter(|instance| Some(*instance) != but) {
            while !is_ready(&self.http, self.instances[instance].ops).await {
                assert!(self.instances[instance].process.is_running(), "instance {instance} has ended by itself");
                assert!(Instant::now() < deadline, "I10: instance {instance} is not ready within {READY_WAIT:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Claims that an instance has stored since it started; 0 where it does not say.
    pub async fn stored(&self, instance: usize) -> u64 {
        let stored = readiness(&self.http, self.instances[instance].ops).await;
        stored.and_then(|report| report["ledger"]["stored"].as_u64()).unwrap_or_default()
    }

    /// Waits until MySQL has what instances knew that have died since: what only they and Redis know is promised to nobody
    /// who then loses Redis.
    pub async fn ready_for_a_loss(&mut self) {
        self.ready_for_a_loss_but(None).await;
    }

    /// The same where this instance is dead.
    pub async fn ready_for_a_loss_but(&mut self, dead: Option<usize>) {
        self.ready_but(dead).await;
        self.until_the_dead_are_stored().await;
    }

    async fn until_the_dead_are_stored(&self) {
        let (died_ms, redis) = (self.died_ms, &self.redis);
        until("what dead instances knew is stored", || async {
            let mut first = redis::cmd("XRANGE");
            first.arg(stores::keys().outbox()).arg("-").arg("+").arg("COUNT").arg(1);
            let entries: Vec<(String, Vec<String>)> = redis.call(&first).await;
            let oldest = entries.first().and_then(|(id, _)| id.split('-').next()?.parse::<u64>().ok());
            oldest.is_none_or(|ms| ms > died_ms)
        })
        .await;
    }

    /// Mends everything, sells what is left, and waits until the stores agree.
    pub async fn settle(&mut self) -> Settled {
        for instance in &self.instances {
            instance.redis.set(Mode::Pass);
            instance.mysql.set(Mode::Pass);
        }
        self.ready().await;
        // Before anybody asks again: what only the outbox has is stored because it is there, not because it is asked for.
        self.until_the_outbox_is_empty().await;
        let open = Sale { start: now_seconds() - 10, speed: 0, ..self.sale };
        self.change_sale(QUOTA, open).await;
        self.recorder.note(What::Healed);
        Arc::clone(&self.crowd).claim_all().await;
        self.until_the_outbox_is_empty().await;
        let connection = self.redis.connect(START_WAIT).await.expect("Redis answers");
        let redis = stores::read_all(connection, &COUPONS).await;
        Settled { redis, mysql: mysql::read_all(&self.mariadb.root_url()).await }
    }

    async fn until_the_outbox_is_empty(&self) {
        let mut length = redis::cmd("XLEN");
        length.arg(stores::keys().outbox());
        until("the outbox is empty", || async { self.redis.call::<u64>(&length).await == 0 }).await;
        let mut waiting = redis::cmd("GET");
        waiting.arg(stores::keys().waiting());
        assert_eq!(self.redis.call::<Option<i64>>(&waiting).await, None, "and nothing is counted there");
    }

    /// Looks at the stores until `stop`, whatever state they are in.
    pub fn sampling(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (recorder, http, url) = (Arc::clone(&self.recorder), self.http.clone(), self.mariadb.root_url());
        let ops: Vec<SocketAddr> = self.instances.iter().map(|instance| instance.ops).collect();
        let client = redis::Client::open(self.redis.url(self.redis.port)).expect("the URL is good");
        async move {
            while !stop.is_cancelled() {
                let mut sample = Sample { mysql: mysql::count(&url).await, ..Sample::default() };
                let connecting = client.get_multiplexed_async_connection();
                if let Ok(Ok(mut connection)) = tokio::time::timeout(SAMPLE_EVERY, connecting).await {
                    sample.redis = stores::count(&mut connection, &COUPONS).await;
                }
                for ops in &ops {
                    sample.backlogs.extend(backlog(&http, *ops).await);
                }
                recorder.note(What::Sample(sample));
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        }
    }
}

impl Instance {
    async fn start(folder: &Path, number: usize, redis: &Redis, mariadb: &MariaDb) -> Self {
        let (http, ops) = (free_address(), free_address());
        let (redis_proxy, mysql_proxy) = (Proxy::start(redis.port).await, Proxy::start(mariadb.port).await);
        let (redis_url, mysql_url) = (redis.url(redis_proxy.port), mariadb.url(mysql_proxy.port));
        let program = std::env::var_os("COUPONRUSH_FAULTS_PROGRAM").map(PathBuf::from);
        let program = program.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_couponrush")));
        let mut process = Process::new(folder.join(format!("instance-{number}.log")), move || {
            let mut command = Command::new(&program);
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COUPONRUSH_")) {
                command.env_remove(name);
            }
            command.arg("serve").args(["--http-addr", &http.to_string(), "--ops-addr", &ops.to_string()]);
            command.args(["--redis-url", &redis_url, "--mysql-url", &mysql_url, "--jwt-secret", SECRET]);
            command.args(["--workers", "2", "--start-wait", "60", "--backlog-max", "20000"]);
            command
        });
        process.start(&[]);
        Self { http, ops, redis: redis_proxy, mysql: mysql_proxy, process }
    }
}

async fn is_ready(http: &reqwest::Client, ops: SocketAddr) -> bool {
    let request = http.get(format!("http://{ops}/readyz")).timeout(Duration::from_secs(1));
    request.send().await.is_ok_and(|response| response.status() == 200)
}

async fn readiness(http: &reqwest::Client, ops: SocketAddr) -> Option<Value> {
    let request = http.get(format!("http://{ops}/readyz")).timeout(SAMPLE_EVERY);
    request.send().await.ok()?.json().await.ok()
}

async fn backlog(http: &reqwest::Client, ops: SocketAddr) -> Option<Backlog> {
    let report = readiness(http, ops).await?;
    Some(Backlog { waiting: report["ledger"]["backlog"].as_u64()?, max: report["ledger"]["backlog_max"].as_u64()? })
}

async fn customers(mariadb: &MariaDb) -> Vec<Customer> {
    let values: Vec<String> = (0..CUSTOMERS).map(|n| format!("('customer-{n}', 'customer', '')")).collect();
    let insert = format!("INSERT INTO users (username, kind, password_hash) VALUES {}", values.join(","));
    mysql::execute(&mariadb.root_url(), &insert).await;
    let mut connection = mysql::connect(&mariadb.root_url()).await.expect("MySQL answers");
    let rows = "SELECT CONCAT_WS(' ', id, username) AS value FROM users WHERE kind = 'customer' ORDER BY id";
    let rows = mysql::lines(&mut connection, rows).await.expect("MySQL answers");
    let secrets = Secrets::parse("the suite's secret", SECRET).expect("it is long enough");
    let tokens = UserTokens::new(&secrets, 36_000);
    let customer = |row: &String| {
        let (id, name) = row.split_once(' ').expect("two columns");
        let (id, name) = (id.parse().expect("an id"), UserName::parse(name.to_owned()).expect("a name"));
        let user = User { id: UserId(id), name, kind: Kind::Customer };
        Customer { user: id, token: tokens.issue(&user, 0, now_seconds()) }
    };
    rows.iter().map(customer).collect()
}

fn offers() -> Vec<Offer> {
    let all = [(PLAIN, "plain", 1, 30), (SEVERAL, "several", 3, 40), (QUOTA, "quota", 1, 25), (FEW, "few", 1, 5)];
    let offer = |(coupon, name, wanted, share)| Offer {
        coupon,
        path: format!("/api/users/shop/coupons/{name}"),
        wanted,
        share,
    };
    all.map(offer).into()
}
