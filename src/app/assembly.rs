//! Builds the parts of the service. No part runs yet.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

use super::parts::SHARD;
use crate::admission::Admission;
use crate::auth::{ClaimTokens, Passwords, SignedForm, UserTokens};
use crate::base::crash;
use crate::claim::{
    ArchivedCoupons, Claiming, Directory, Gate, Handed, Ledger, MissingCoupons, Persister, PersisterSettings, Refusals,
};
use crate::config::{self, ServeArgs};
use crate::etcd::Etcd;
use crate::http::{
    Accounts, Answers, BodyLimits, Edge, ListCache, Offering, Operating, SaleCache, SaleCacheLimits, Selling, Shared,
};
use crate::memory::{Activities, ArchivedClaims, KnownUsers, Revocations, Settings};
use crate::mysql::instances::Process;
use crate::mysql::ledgers::Fence;
use crate::mysql::{Db, DbPools};
use crate::ops::{Health, HealthSources, RowCheck};
use crate::recovery::{Identity, RebuildProgress, Recovery, RedisParts};
use crate::redis::beats::BeatWriter;
use crate::redis::{Keys, Link, LinkConfig, Outbox, Ownership, Pool, Stock};
use crate::sales::{Archiving, EventLimits, Events, MirrorState, Mirroring, Publishing, Scheduling};

/// The program, connected and bound, but not accepting connections yet.
pub struct Application {
    pub(super) shared: Shared,
    pub(super) pool: Pool,
    pub(super) link: Arc<Link>,
    pub(super) redis: LinkConfig,
    pub(super) recovery: Recovery,
    pub(super) mirroring: Option<Mirroring>,
    pub(super) archiving: Archiving,
    pub(super) persister: Persister,
    pub(super) channel: Receiver<Handed>,
    pub(super) process: Process,
    pub(super) ownership: Arc<Ownership>,
    pub(super) listener: TcpListener,
    pub(super) ops_listener: TcpListener,
    pub(super) workers: usize,
    /// From a stop signal to the closing of the users' listener.
    pub(super) drain: Duration,
}

/// The configuration and connections of a checked environment.
pub(super) struct Ground {
    pub(super) redis: LinkConfig,
    pub(super) pool: Pool,
    pub(super) dbs: DbPools,
    /// The id of the installation.
    pub(super) installation: String,
    pub(super) etcd: Option<Etcd>,
    pub(super) listener: TcpListener,
    pub(super) ops_listener: TcpListener,
    pub(super) tokens: UserTokens,
    pub(super) claim_tokens: ClaimTokens,
    pub(super) signed_form: Option<SignedForm>,
    pub(super) activities: Arc<Activities>,
    pub(super) revocations: Revocations,
    pub(super) passwords: Passwords,
    pub(super) admin_passwords: Passwords,
    pub(super) admission: Admission,
    /// Unsafe settings of Redis and MySQL, a sentence for each.
    pub(super) warnings: Vec<String>,
}

/// Parts shared by most others.
struct Common {
    dbs: DbPools,
    /// Recovery's own; health looks at it.
    link: Arc<Link>,
    pool: Pool,
    gate: Arc<Gate>,
    ledger: Ledger,
    stock: Stock,
    activities: Arc<Activities>,
    outbox: Outbox,
    fence: Arc<Fence>,
    progress: Arc<RebuildProgress>,
    mirror: Arc<MirrorState>,
    process: Process,
}

impl Application {
    /// The bound address of the users' listener.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The bound address of the operators' listener.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops_listener.local_addr()
    }

    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }
}

pub(super) fn assemble(args: &ServeArgs, ground: Ground) -> Application {
    let fits = |number: u32| usize::try_from(number).expect("a u32 fits");
    let (ledger, channel) = Ledger::new(fits(args.backlog_max), fits(args.waiting_max));
    let keys = Keys::new(&args.redis.redis_prefix);
    let process = process(args, &ground.listener);
    let ownership = Arc::new(Ownership::new(ground.installation, args.redis.redis_prefix.clone()));
    let beats = BeatWriter::new(&keys, &process.id, ownership.installation());
    let redis = ground.redis.with_beat(beats.clone());
    let common = Common {
        dbs: ground.dbs,
        link: Arc::new(Link::new(redis.clone())),
        pool: ground.pool,
        gate: Arc::new(gate(fits(args.in_flight_max), &redis)),
        ledger,
        stock: Stock::new(keys.clone(), args.backlog_max),
        activities: ground.activities,
        outbox: Outbox::new(keys, process.id.clone(), config::KV_WAIT),
        fence: Arc::new(Fence::new(SHARD, process.id.clone())),
        progress: Arc::default(),
        mirror: Arc::default(),
        process,
    };
    let claiming = common.claiming();
    let offering = common.offering(&claiming, args.saler_coupons_max);
    let mirroring = ground
        .etcd
        .map(|etcd| common.mirroring(etcd, offering.admin_scheduling.clone(), Arc::clone(&ground.admission.settings)));
    let archive_after = Duration::from_secs(args.archive_after.into());
    let archiving = Archiving::new(&offering.admin_scheduling, common.outbox.clone(), archive_after);
    let health = Arc::new(common.health(mirroring.is_some().then_some(&common.mirror), ground.warnings));
    let edge = edge(args, ground.admission, Arc::clone(&health));
    let accounts = Accounts {
        users: KnownUsers::new(common.dbs.users.clone(), config::KNOWN_USERS_MAX),
        passwords: ground.passwords,
        admin_passwords: ground.admin_passwords,
        tokens: ground.tokens,
        claim_tokens: ground.claim_tokens,
        signed_form: ground.signed_form,
        revocations: Arc::new(ground.revocations),
    };
    let selling = common.selling(claiming, args, Arc::clone(&edge.admission.settings));
    let rows = Arc::new(RowCheck::new(common.dbs.control.clone()));
    let operating = Operating { health, rows, archive: archiving.figures(), instance: common.process.label.clone() };
    Application {
        shared: Shared {
            edge: web::Data::new(edge),
            accounts: web::Data::new(accounts),
            selling: web::Data::new(selling),
            offering: web::Data::new(offering),
            operating: web::Data::new(operating),
            dbs: web::Data::new(common.dbs.clone()),
        },
        recovery: common.recovery(&redis, beats, Arc::clone(&ownership)),
        mirroring,
        archiving,
        persister: common.persister(),
        link: common.link,
        pool: common.pool,
        redis,
        channel,
        process: common.process,
        ownership,
        listener: ground.listener,
        ops_listener: ground.ops_listener,
        workers: args.workers.map_or_else(|| config::cores().get(), usize::from),
        drain: Duration::from_secs(args.drain_seconds.into()),
    }
}

impl Common {
    fn offering(&self, claiming: &Claiming, saler_coupons_max: u32) -> Offering {
        let publishing = |db: &Db| {
            Publishing::new(db.clone(), self.pool.clone(), claiming, SHARD, config::KV_WAIT, saler_coupons_max)
        };
        let scheduling = |publishing| Scheduling::new(publishing, Arc::clone(&self.activities));
        let (users, control) = (publishing(&self.dbs.users), publishing(&self.dbs.control));
        Offering {
            scheduling: scheduling(users.clone()),
            publishing: users,
            admin_scheduling: scheduling(control),
            exports: Arc::new(Semaphore::new(config::EXPORTS_MAX)),
        }
    }

    fn claiming(&self) -> Claiming {
        let (db, stock) = (self.dbs.users.clone(), self.stock.clone());
        let refusals = Refusals::new(db, stock, Arc::clone(&self.gate), Arc::clone(&self.activities));
        Claiming {
            gate: Arc::clone(&self.gate),
            activities: Arc::clone(&self.activities),
            refusals: Arc::new(refusals),
            missing: Arc::new(MissingCoupons::new(self.dbs.control.clone(), Arc::clone(&self.gate))),
            archived: Arc::new(ArchivedCoupons::new(self.dbs.users.clone())),
            ledger: self.ledger.clone(),
            stock: self.stock.clone(),
            figures: Arc::default(),
            db: self.dbs.users.clone(),
            wait: config::CLAIM_WAIT,
        }
    }

    fn selling(&self, claiming: Claiming, args: &ServeArgs, settings: Arc<Settings>) -> Selling {
        Selling {
            claiming,
            answer_when: args.answer_when,
            directory: Directory::new(self.dbs.users.clone(), self.stock.clone(), Arc::clone(&self.gate)),
            kv_wait: config::KV_WAIT,
            sales: SaleCache::new(SaleCacheLimits {
                list_age: config::SALES_LIST_AGE,
                product_age: config::SALES_PRODUCT_AGE,
                products_max: config::SALES_PRODUCTS_MAX,
            }),
            archived_claims: ArchivedClaims::new(self.dbs.users.clone()),
            lists: ListCache::new(config::LISTS_CACHED_BYTES_MAX, config::LISTS_CACHED_AGE),
            events: Arc::new(self.events(args.viewers_max, settings)),
        }
    }

    fn events(&self, viewers_max: u32, settings: Arc<Settings>) -> Events {
        let limits = EventLimits {
            viewers_max: usize::try_from(viewers_max).expect("a u32 fits"),
            products_max: config::EVENT_PRODUCTS_MAX,
            wait: config::KV_WAIT,
        };
        Events::new(self.stock.clone(), Arc::clone(&self.gate), Arc::clone(&self.activities), settings, limits)
    }

    fn health(&self, mirror: Option<&Arc<MirrorState>>, warnings: Vec<String>) -> Health {
        let sources = HealthSources {
            db: self.dbs.control.clone(),
            link: Arc::clone(&self.link),
            pool: self.pool.clone(),
            gate: Arc::clone(&self.gate),
            ledger: self.ledger.clone(),
            outbox: self.outbox.clone(),
            progress: Arc::clone(&self.progress),
            mirror: mirror.cloned(),
            activities: Arc::clone(&self.activities),
        };
        Health::new(sources, warnings)
    }

    fn mirroring(&self, etcd: Etcd, scheduling: Scheduling, settings: Arc<Settings>) -> Mirroring {
        Mirroring::new(etcd, scheduling, settings, Arc::clone(&self.mirror), config::ETCD_ACTIVITIES_MAX)
    }

    fn persister(&self) -> Persister {
        let (db, pool, outbox) = (self.dbs.control.clone(), self.pool.clone(), self.outbox.clone());
        let settings = PersisterSettings {
            process: self.process.id.clone(),
            batch_max: crash::batch_max(config::BATCH_CLAIMS_MAX),
            linger_max: config::BATCH_LINGER_MAX,
            store_wait: config::STORE_WAIT,
            pauses: config::STORE_PAUSES,
            sweep_every: config::SWEEP_EVERY,
            sweep_age: config::SWEEP_AGE,
            sweep_batches_max: config::SWEEP_BATCHES_MAX,
        };
        Persister::new(db, pool, outbox, Arc::clone(&self.fence), &self.ledger, settings)
    }

    fn recovery(&self, redis: &LinkConfig, beats: BeatWriter, ownership: Arc<Ownership>) -> Recovery {
        let redis = RedisParts {
            config: redis.clone(),
            beats,
            link: Arc::clone(&self.link),
            pool: self.pool.clone(),
            stock: self.stock.clone(),
            outbox: self.outbox.clone(),
        };
        let identity = Identity { shard: SHARD, process: self.process.clone(), ownership };
        let (gate, progress) = (Arc::clone(&self.gate), Arc::clone(&self.progress));
        let (db, fence) = (self.dbs.control.clone(), Arc::clone(&self.fence));
        Recovery::new(identity, db, redis, gate, self.ledger.clone(), fence, progress)
    }
}

/// Where a majority names the primary, the gate has a lease.
fn gate(in_flight_max: usize, redis: &LinkConfig) -> Gate {
    let gate = Gate::new(in_flight_max);
    if redis.has_majority() { gate.with_lease() } else { gate }
}

fn edge(args: &ServeArgs, admission: Admission, health: Arc<Health>) -> Edge {
    Edge {
        admission,
        trusted_proxies: args.admission.trusted_proxies.clone(),
        body: BodyLimits { bytes_max: config::BODY_BYTES_MAX, wait: config::BODY_WAIT },
        answers: Answers::default(),
        health,
    }
}

fn process(args: &ServeArgs, listener: &TcpListener) -> Process {
    let id = format!("{:032x}", rand::random::<u128>());
    Process { id, label: label(listener, args.http_addr), format: args.known_format() }
}

/// Host name and bound address of this process.
fn label(listener: &TcpListener, asked: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = listener.local_addr().unwrap_or(asked);
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(200).collect();
    format!("{host}/{address}")
}
