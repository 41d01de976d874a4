//! A service with separate stores for every test, and short functions for common steps.

mod client;
mod clock;
mod crowd;
mod data_server;
mod etcd_server;
mod mysql_server;
mod ports;
mod process;
mod raw;
mod redis_cluster;
mod redis_sentinels;
mod redis_server;
mod relay;
mod sales;
mod sql_program;
mod stores;
mod users;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use couponrush::app::{Application, Stop};
use couponrush::claim::Claiming;
use couponrush::config::{
    AdmissionArgs, EtcdArgs, MysqlArgs, PasswordArgs, Profile, QuotaArgs, RedisArgs, ServeArgs, TokenArgs,
    TrustedProxies,
};
use couponrush::domain::{Durability, Origins, RateShare, ShardId};
use couponrush::http::Shared;
use couponrush::mysql::shards;
use couponrush::ops::{Audit, AuditReport, Repair};
use couponrush::redis::Keys;
use tokio::task::JoinHandle;

pub use client::{Answer, Client, PASSWORD};
pub use clock::Clock;
pub use crowd::{Customer, Got, customers, proof, rush};
pub use data_server::DataServer;
pub use etcd_server::EtcdServer;
pub use mysql_server::MysqlServer;
pub use ports::free_address;
pub use process::{Serving, audit, poisoned, raise_format, refused_start, run as run_command, signal, unread};
pub use raw::{RawAnswer, RawConnection, raw};
pub use redis_cluster::{RedisCluster, SLOT};
pub use redis_sentinels::RedisSentinels;
pub use redis_server::RedisServer;
pub use relay::Relay;
pub use sales::terms;
pub use sql_program::SqlServer;
pub use stores::Stores;

/// How long to wait for an expected state.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The secret for signing tokens.
pub const SECRET: &str = "a secret of the tests that is long enough to be one";

/// A running instance of the service.
pub struct Instance {
    pub client: Client,
    pub ops: Client,
    pub address: SocketAddr,
    /// The state shared by the handlers.
    pub shared: Shared,
    stop: Stop,
    running: Option<JoinHandle<()>>,
}

/// The service with stores of its own. Dropping the value stops all instances and asserts the invariants.
pub struct TestApp {
    pub stores: Stores,
    pub instances: Vec<Instance>,
    pub args: ServeArgs,
}

impl TestApp {
    /// Starts an instance with the default settings.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts an instance without rate limits, for tests in which few customers claim often.
    pub async fn start_without_rates() -> Self {
        Self::start_with(without_rates).await
    }

    /// Starts an instance with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut ServeArgs)) -> Self {
        let stores = Stores::create(None).await;
        Self::start_on(stores, change).await
    }

    /// Starts an instance on existing stores.
    pub async fn start_on(stores: Stores, change: impl FnOnce(&mut ServeArgs)) -> Self {
        let mut args = arguments(&stores);
        change(&mut args);
        stores.own_with(args.known_format()).await;
        stores.own_shards(args.shards.into()).await;
        let mut app = Self { stores, instances: Vec::new(), args };
        app.start_another().await;
        app
    }

    /// Starts another instance on the same stores.
    pub async fn start_another(&mut self) -> &Instance {
        let instance = Instance::start(&self.args).await;
        self.instances.push(instance);
        self.instances.last().expect("an instance was pushed a line above")
    }

    /// The client of the first instance.
    pub fn client(&self) -> &Client {
        &self.instances[0].client
    }

    /// Stops every instance in order. The stores stay.
    pub async fn stop(&mut self) {
        for instance in &mut self.instances {
            instance.stop().await;
        }
        self.instances.clear();
    }

    /// Waits until MySQL has every claim and the outbox is empty.
    pub async fn settle(&self) {
        for shard in self.stores.shards().await {
            let outbox = self.stores.keys_of(shard).outbox().to_string();
            eventually("the outbox is empty", || async {
                self.stores.redis::<u64>(redis::cmd("XLEN").arg(&outbox)).await == 0
            })
            .await;
        }
    }

    /// Audits the stores.
    pub async fn audit(&self) -> AuditReport {
        let mut report = AuditReport::default();
        for shard in self.stores.shards().await {
            let audit =
                Audit::new(self.stores.db.clone(), self.stores.pool_of(shard), self.stores.keys_of(shard), shard);
            report.add(audit.run(Repair::None).await.expect("the stores can be audited"));
        }
        report
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                if !failing {
                    if !self.instances.is_empty() {
                        self.settle().await;
                    }
                    self.stop().await;
                    let report = self.audit().await;
                    assert_eq!(report.findings, [], "the invariants hold at the end of the test");
                    assert_eq!(report.outbox, 0, "the outbox is empty at the end of the test");
                    let mut waiting = redis::cmd("GET");
                    waiting.arg(self.stores.keys().waiting());
                    let waiting: Option<i64> = self.stores.redis(&waiting).await;
                    assert_eq!(waiting, None, "an empty outbox has no counter of waiting claims");
                }
                self.stores.remove().await;
            });
        });
    }
}

impl Instance {
    async fn start(args: &ServeArgs) -> Self {
        let application = Application::build(args).await.expect("the service starts");
        let address = application.address().expect("the listener is bound");
        let ops_address = application.ops_address().expect("the listener is bound");
        let (shared, stop) = (application.shared(), Stop::default());
        let running = application.run_until_stopped(stop.clone());
        let running = tokio::spawn(async move { running.await.expect("the service runs until it is stopped") });
        let (client, ops) = (Client::new(address), Client::new(ops_address));
        eventually("the service is ready", || async { ops.is_ready().await }).await;
        Self { client, ops, address, shared, stop, running: Some(running) }
    }

    /// The claim path of the first shard.
    pub fn claiming(&self) -> Claiming {
        self.shared.selling.shards.all()[0].claiming.clone()
    }

    /// Signals the stop, as SIGTERM does, and does not wait for the end.
    pub fn signal(&self) {
        self.stop.signal();
    }

    /// Stops the instance, as SIGTERM does.
    pub async fn stop(&mut self) {
        self.stop.signal();
        if let Some(running) = self.running.take() {
            running.await.expect("the service stops without panicking");
        }
    }
}

/// The default settings of an instance on these stores: free ports and two workers.
pub fn arguments(stores: &Stores) -> ServeArgs {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    ServeArgs {
        http_addr: any_port,
        ops_addr: any_port,
        http_cert: None,
        http_key: None,
        redis: RedisArgs {
            redis_url: stores.redis_url.clone(),
            redis_prefix: stores.prefix.clone(),
            redis_ca: None,
            redis_cert: None,
            redis_key: None,
        },
        mysql: MysqlArgs { mysql_url: stores.mysql_url.clone(), mysql_ca: None, mysql_cert: None, mysql_key: None },
        etcd: etcd_args(String::new()),
        tokens: TokenArgs {
            jwt_secret: SECRET.to_owned(),
            claim_secret: None,
            ticket_secret: None,
            token_seconds: 3_600,
        },
        passwords: PasswordArgs { password_min: 6 },
        sign_secret: None,
        backlog_max: 100_000,
        in_flight_max: 20_000,
        answer_when: Durability::Granted,
        waiting_max: 20_000,
        shards: 1,
        quotas: QuotaArgs {
            saler_coupons_max: Some(100),
            saler_units_max: None,
            saler_sales_max: None,
            coupons_max: None,
            units_max: None,
        },
        audit_days: 90,
        archive_after: 604_800,
        viewers_max: 1_000,
        start_wait: 10,
        drain_seconds: 0,
        workers: Some(2),
        admission: AdmissionArgs {
            // Tests with several instances count the requests of one.
            rate_share: RateShare::Whole,
            user_per_second: 20,
            user_per_minute: 300,
            profile: Profile::Open,
            admin_on: None,
            merchants: None,
            ip_viewers_max: None,
            ip_per_second: None,
            ip_per_minute: None,
            failed_logins_per_minute: 10,
            ip_failed_logins_per_minute: 100,
            registrations_per_minute: None,
            trusted_proxies: TrustedProxies::default(),
            allowed_origins: Origins::default(),
        },
        no_migrate: false,
        format: couponrush::config::KnownFormat::Newest,
    }
}

/// The settings of an instance that follows the etcd server at `endpoints`.
pub fn etcd_args(endpoints: String) -> EtcdArgs {
    EtcdArgs {
        etcd_endpoints: endpoints,
        etcd_prefix: EtcdServer::PREFIX.to_owned(),
        etcd_user: String::new(),
        etcd_ca: None,
        etcd_cert: None,
        etcd_key: None,
    }
}

/// Switches off the rate limits of users, for tests in which few customers claim faster than people do.
pub fn without_rates(args: &mut ServeArgs) {
    (args.admission.user_per_second, args.admission.user_per_minute) = (0, 0);
}

/// The current time in whole seconds since 1970.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is later than 1970").as_secs()
}

/// Waits until `state` holds. Panics after [`DEADLINE`], naming the state.
pub async fn eventually<F: Future<Output = bool>>(what: &str, state: impl Fn() -> F) {
    eventually_within(DEADLINE, what, state).await;
}

/// Waits until `state` holds. Panics after `limit`, naming the state.
pub async fn eventually_within<F: Future<Output = bool>>(limit: Duration, what: &str, state: impl Fn() -> F) {
    let deadline = Instant::now() + limit;
    while !state().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Stores {
    /// The Redis keys of this test, in the first shard.
    pub fn keys(&self) -> Keys {
        self.keys_of(ShardId::FIRST)
    }

    pub fn keys_of(&self, shard: ShardId) -> Keys {
        Keys::new(&self.prefix, shard)
    }

    /// The shards of the database.
    pub async fn shards(&self) -> Vec<ShardId> {
        shards::all(&self.db).await.expect("MySQL answers")
    }
}
