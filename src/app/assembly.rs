//! Builds the parts of the service. No part runs yet.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;

use super::parts::Signers;
use super::servers::UsersServer;
use super::shards::{NewShard, ShardLimits, ShardMaker};
use crate::admission::Admission;
use crate::auth::{Passwords, SignedForm};
use crate::claim::{ArchivedCoupons, ConditionChecks, Directory, Shards, Waiters};
use crate::config::{self, AdminOn, Profile, ServeArgs};
use crate::domain::{PasswordMin, Quotas, ShardId};
use crate::etcd::Etcd;
use crate::http::{
    Accounts, Answers, BodyLimits, Edge, ExportLimits, Exports, ListCache, Offering, Operating, SaleCache,
    SaleCacheLimits, Selling, Shared,
};
use crate::memory::{
    Activities, AdminNames, ArchivedClaims, ClosedShards, KnownNetworks, KnownUsers, MerchantKeys, Revocations,
    Settings,
};
use crate::mysql::instances::Process;
use crate::mysql::shard_statements::ShardStatements;
use crate::mysql::{Db, DbPools};
use crate::ops::{Health, HealthSources, RowCheck, Trail, Withholding};
use crate::redis::{LinkConfig, Ownership};
use crate::sales::{EventLimits, Events, Mirroring, OpenOffers, Publishing, Scheduling};

/// The program, connected and bound, but not accepting connections yet.
pub struct Application {
    pub(super) shared: Shared,
    pub(super) maker: ShardMaker,
    pub(super) new_shards: Vec<NewShard>,
    pub(super) mirroring: Option<Mirroring>,
    pub(super) listener: TcpListener,
    /// For HTTPS.
    pub(super) http_tls: Option<rustls::ServerConfig>,
    pub(super) ops_listener: TcpListener,
    pub(super) server: UsersServer,
    /// From a stop signal to the closing of the users' listener.
    pub(super) drain: Duration,
}

/// The configuration and connections of a checked environment.
pub(super) struct Ground {
    pub(super) redis: LinkConfig,
    pub(super) dbs: DbPools,
    /// All shards of the database.
    pub(super) shards: Vec<ShardId>,
    /// The id of the installation.
    pub(super) installation: String,
    pub(super) etcd: Option<Etcd>,
    pub(super) listener: TcpListener,
    pub(super) http_tls: Option<rustls::ServerConfig>,
    pub(super) ops_listener: TcpListener,
    pub(super) signers: Signers,
    pub(super) signed_form: Option<SignedForm>,
    pub(super) activities: Arc<Activities>,
    pub(super) revocations: Revocations,
    pub(super) keys: MerchantKeys,
    pub(super) admins: AdminNames,
    pub(super) passwords: Passwords,
    pub(super) admin_passwords: Passwords,
    pub(super) admission: Admission,
    /// Unsafe settings of Redis and MySQL, a sentence for each.
    pub(super) warnings: Vec<String>,
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
    let dbs = ground.dbs.clone();
    let maker = maker(args, &ground);
    let new_shards: Vec<NewShard> = ground.shards.iter().map(|id| maker.make(*id)).collect();
    let shards = Arc::new(Shards::new(new_shards.iter().map(|new| Arc::clone(new.shard())).collect()));
    let settings = Arc::clone(&ground.admission.settings);
    let quotas = args.quotas.of(args.admission.profile);
    let offering = offering(&dbs, &shards, &ground.activities, quotas);
    let mirror = Arc::default();
    let mirroring = ground.etcd.map(|etcd| {
        let (scheduling, settings) = (offering.admin_scheduling.clone(), Arc::clone(&settings));
        Mirroring::new(etcd, scheduling, settings, Arc::clone(&mirror), config::ETCD_ACTIVITIES_MAX)
    });
    let (activities, mirror) = (Arc::clone(&ground.activities), mirroring.is_some().then_some(mirror));
    let sources = HealthSources { db: dbs.control.clone(), shards: Arc::clone(&shards), mirror, activities };
    let health = Arc::new(Health::new(sources, ground.warnings));
    let edge = edge(args, ground.admission, Arc::clone(&health));
    let accounts = Accounts {
        users: KnownUsers::new(dbs.users.clone(), config::KNOWN_USERS_MAX),
        admins: Arc::new(ground.admins),
        networks: Arc::new(KnownNetworks::new(dbs.clone())),
        password_min: PasswordMin(args.passwords.password_min.into()),
        refuses_common: args.admission.profile == Profile::Public,
        passwords: ground.passwords,
        admin_passwords: ground.admin_passwords,
        tokens: ground.signers.sessions,
        claim_tokens: ground.signers.claims,
        tickets: ground.signers.tickets,
        devices: ground.signers.devices,
        links: ground.signers.links,
        salers_need_approval: args.admission.salers_need_approval(),
        factors: ground.signers.factors,
        signed_form: ground.signed_form,
        revocations: Arc::new(ground.revocations),
        keys: Arc::new(ground.keys),
    };
    let operating = Operating {
        health,
        rows: Arc::new(RowCheck::new(dbs.control.clone())),
        archive: Arc::default(),
        trail: Arc::new(Trail::new(dbs.control.clone(), args.audit_days)),
        withholding: Withholding::new(dbs.control.clone()),
        instance: maker.process.label.clone(),
    };
    Application {
        shared: Shared {
            edge: web::Data::new(edge),
            accounts: web::Data::new(accounts),
            selling: web::Data::new(selling(args, &maker, shards, settings)),
            offering: web::Data::new(offering),
            operating: web::Data::new(operating),
            dbs: web::Data::new(dbs),
        },
        maker,
        new_shards,
        mirroring,
        listener: ground.listener,
        http_tls: ground.http_tls,
        ops_listener: ground.ops_listener,
        server: UsersServer {
            workers: args.workers.map_or_else(|| config::cores().get(), usize::from),
            for_operators: args.admission.admin_on() == AdminOn::Users,
        },
        drain: Duration::from_secs(args.drain_seconds.into()),
    }
}

fn maker(args: &ServeArgs, ground: &Ground) -> ShardMaker {
    let process = process(args, &ground.listener);
    ShardMaker {
        limits: ShardLimits {
            backlog_max: args.backlog_max,
            in_flight_max: args.in_flight_max,
            archive_after: Duration::from_secs(args.archive_after.into()),
        },
        dbs: ground.dbs.clone(),
        statements: Arc::new(ShardStatements::new(ground.dbs.control.clone(), process.clone())),
        redis: ground.redis.clone(),
        redis_prefix: args.redis.redis_prefix.clone(),
        process,
        ownership: Arc::new(Ownership::new(ground.installation.clone(), args.redis.redis_prefix.clone())),
        activities: Arc::clone(&ground.activities),
        archived: Arc::new(ArchivedCoupons::new(ground.dbs.users.clone())),
        conditions: Arc::new(ConditionChecks::new(Arc::clone(&ground.admission.share))),
        figures: Arc::default(),
        waiters: Arc::new(Waiters::new(usize::try_from(args.waiting_max).expect("a u32 fits"))),
        batches: Arc::default(),
    }
}

fn offering(dbs: &DbPools, shards: &Arc<Shards>, activities: &Arc<Activities>, quotas: Quotas) -> Offering {
    let open = Arc::new(OpenOffers::new(dbs.control.clone()));
    let publishing =
        |db: &Db| Publishing::new(db.clone(), Arc::clone(shards), config::KV_WAIT, quotas, Arc::clone(&open));
    let scheduling = |publishing| Scheduling::new(publishing, Arc::clone(activities));
    let users = publishing(&dbs.users);
    Offering {
        scheduling: scheduling(users.clone()),
        publishing: users,
        admin_scheduling: scheduling(publishing(&dbs.control)),
        exports: Arc::new(Exports::new(ExportLimits {
            places: config::EXPORTS_MAX,
            bytes_min: config::EXPORT_BYTES_MIN,
            period: config::EXPORT_PERIOD,
        })),
    }
}

fn selling(args: &ServeArgs, maker: &ShardMaker, shards: Arc<Shards>, settings: Arc<Settings>) -> Selling {
    let (db, activities) = (&maker.dbs.users, &maker.activities);
    let limits = EventLimits {
        viewers_max: usize::try_from(args.viewers_max).expect("a u32 fits"),
        products_max: config::EVENT_PRODUCTS_MAX,
        wait: config::KV_WAIT,
    };
    Selling {
        events: Arc::new(Events::new(Arc::clone(&shards), Arc::clone(activities), settings, limits)),
        shards,
        activities: Arc::clone(activities),
        archived: Arc::clone(&maker.archived),
        conditions: Arc::clone(&maker.conditions),
        figures: Arc::clone(&maker.figures),
        answer_when: args.answer_when,
        directory: Directory::new(db.clone()),
        kv_wait: config::KV_WAIT,
        sales: SaleCache::new(SaleCacheLimits {
            list_age: config::SALES_LIST_AGE,
            product_age: config::SALES_PRODUCT_AGE,
            products_max: config::SALES_PRODUCTS_MAX,
        }),
        archived_claims: ArchivedClaims::new(db.clone()),
        closed_shards: ClosedShards::new(db.clone()),
        lists: ListCache::new(config::LISTS_CACHED_BYTES_MAX, config::LISTS_CACHED_AGE),
    }
}

fn edge(args: &ServeArgs, admission: Admission, health: Arc<Health>) -> Edge {
    Edge {
        admission,
        trusted_proxies: args.admission.trusted_proxies.networks.clone(),
        allowed_origins: args.admission.allowed_origins.clone(),
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
