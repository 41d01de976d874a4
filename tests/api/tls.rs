//! Certificates and passwords for every store, and HTTPS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use couponrush::base::Tls;
use couponrush::config::ServeArgs;
use couponrush::domain::{ActivityId, CouponId};
use etcd_client::{Client as EtcdClient, ConnectOptions, Permission, TlsOptions};
use serde_json::{Value, json};

use crate::cluster::OWNER;
use crate::helpers::{
    DataServer, EtcdServer, MysqlServer, RedisCluster, RedisServer, SECRET, Stores, TestApp, eventually, free_address,
    terms,
};
use crate::program::{Running, address_in, instance_on, run, text};
use crate::secret_files::Folder;

/// The password of the service's user in MySQL and in etcd.
const PASSWORD: &str = "of-the-test";
const COUPON: CouponId = CouponId(1);

/// An authority, and the certificates that it has signed.
struct Authority {
    folder: Folder,
}

impl Authority {
    /// Makes certificates for servers at 127.0.0.1 (`server.pem`, `server.key`) and for the service (`client.pem`,
    /// `client.key`).
    fn create() -> Self {
        let folder = Folder::create();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/certificates");
        let output = Command::new(script).arg(folder.path("")).output().expect("the script can run");
        assert!(output.status.success(), "{}", text(&output.stderr));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    /// The files of a client: authorities, certificate and key.
    fn of_client(&self) -> [Option<PathBuf>; 3] {
        ["ca.pem", "client.pem", "client.key"].map(|name| Some(self.path(name).into()))
    }

    /// The same, read.
    fn tls(&self) -> Tls {
        let [authorities, certificate, key] = self.of_client();
        Tls::read(authorities.as_deref(), certificate.as_deref(), key.as_deref()).expect("the files were written")
    }
}

/// The stores, each of which wants a certificate of the authority. Redis and MySQL listen without TLS as well, for the
/// test itself.
struct SecureStores {
    authority: Authority,
    redis_port: u16,
    redis: RedisServer,
    mysql: MysqlServer,
    etcd: SecureEtcd,
}

impl SecureStores {
    async fn start() -> Self {
        let authority = Authority::create();
        let (redis, redis_port) = start_redis(&authority).await;
        let files = [("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")];
        let files = files.map(|(name, file)| format!("--ssl-{name}={}", authority.path(file)));
        let mysql = MysqlServer::start_with(None, files.to_vec()).await;
        mysql.execute(&format!("CREATE USER secure@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE X509")).await;
        mysql.execute("GRANT ALL ON *.* TO secure@'127.0.0.1'").await;
        let etcd = SecureEtcd::start(&authority).await;
        Self { authority, redis_port, redis, mysql, etcd }
    }

    /// A database and a key prefix, reached without TLS.
    async fn stores(&self) -> Stores {
        Stores::create_on(&self.mysql.url(), Some(self.redis.url())).await
    }

    /// Lets an instance use TLS and passwords everywhere.
    fn secure(&self, args: &mut ServeArgs) {
        let (_, database) = args.mysql.mysql_url.rsplit_once('/').expect("a URL names the database");
        let address = self.mysql.address;
        args.mysql.mysql_url = format!("mysql://secure:{PASSWORD}@{address}/{database}?require_ssl=true");
        args.redis.redis_url = format!("rediss://127.0.0.1:{}/", self.redis_port);
        args.etcd.etcd_endpoints = self.etcd.url();
        args.etcd.etcd_user = format!("couponrush:{PASSWORD}");
        let files = || self.authority.of_client();
        [args.redis.redis_ca, args.redis.redis_cert, args.redis.redis_key] = files();
        [args.mysql.mysql_ca, args.mysql.mysql_cert, args.mysql.mysql_key] = files();
        [args.etcd.etcd_ca, args.etcd.etcd_cert, args.etcd.etcd_key] = files();
    }
}

/// A Redis that wants a certificate on its second port.
async fn start_redis(authority: &Authority) -> (RedisServer, u16) {
    let port = free_address().port();
    (RedisServer::start_with(None, redis_arguments(authority, port)).await, port)
}

fn redis_arguments(authority: &Authority, port: u16) -> Vec<String> {
    let mut arguments = vec!["--tls-port".to_owned(), port.to_string()];
    for (name, file) in [("ca-cert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")] {
        arguments.extend([format!("--tls-{name}-file"), authority.path(file)]);
    }
    arguments
}

/// An etcd that wants a certificate, and the password of a user who may only use the prefix of the service.
struct SecureEtcd {
    port: u16,
    options: ConnectOptions,
    server: DataServer,
}

impl SecureEtcd {
    async fn start(authority: &Authority) -> Self {
        let ports = [(); 2].map(|()| free_address().port());
        let files = ["ca.pem", "server.pem", "server.key"].map(|file| authority.path(file));
        let server = DataServer::start("etcd", move |folder| etcd_command(ports, &files, folder));
        let tls = authority.tls();
        let own = tls.identity.expect("the client has a certificate");
        let own = etcd_client::Identity::from_pem(own.certificate, own.key);
        let tls = TlsOptions::new().ca_certificate(etcd_client::Certificate::from_pem(tls.authorities)).identity(own);
        let options = ConnectOptions::new().with_tls(tls).with_timeout(Duration::from_secs(5));
        let etcd = Self { port: ports[0], options, server };
        eventually("etcd answers", || async { etcd.client().await.get("nothing", None).await.is_ok() }).await;
        let mut client = etcd.client().await;
        let permission = Permission::read_write(EtcdServer::PREFIX).with_prefix();
        client.role_add("couponrush").await.expect("etcd answers");
        client.role_grant_permission("couponrush", permission).await.expect("etcd answers");
        for (user, role) in [("root", "root"), ("couponrush", "couponrush")] {
            client.user_add(user, PASSWORD, None).await.expect("etcd answers");
            client.user_grant_role(user, role).await.expect("etcd answers");
        }
        client.auth_enable().await.expect("etcd answers");
        etcd
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    async fn client(&self) -> EtcdClient {
        EtcdClient::connect([self.url()], Some(self.options.clone())).await.expect("the URL is valid")
    }

    /// A client of root, or an error if etcd does not answer.
    async fn root(&self) -> Result<EtcdClient, etcd_client::Error> {
        EtcdClient::connect([self.url()], Some(self.options.clone().with_user("root", PASSWORD))).await
    }

    /// Changes a field of an activity, as an operator does.
    async fn edit(&self, id: ActivityId, field: &str, value: Value) {
        let mut client = self.root().await.expect("etcd answers");
        let key = format!("{}activities/{id}", EtcdServer::PREFIX);
        let stored = client.get(key.as_str(), None).await.expect("etcd answers");
        let text = stored.kvs().first().expect("etcd has the activity").value();
        let mut activity: Value = serde_json::from_slice(text).expect("the value is JSON");
        activity[field] = value;
        client.put(key, activity.to_string(), None).await.expect("etcd answers");
    }
}

fn etcd_command([port, peer_port]: [u16; 2], files: &[String; 3], folder: &Path) -> Command {
    let (url, peer_url) = (format!("https://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new("etcd");
    command.args(["--name", "test", "--logger", "zap", "--client-cert-auth"]);
    command.args(["--trusted-ca-file", &files[0], "--cert-file", &files[1], "--key-file", &files[2]]);
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("test={peer_url}")]).arg("--data-dir").arg(folder);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sale_with_certificates_and_passwords_everywhere() {
    let mut secure = SecureStores::start().await;
    let app = TestApp::start_on(secure.stores().await, |args| secure.secure(args)).await;
    let client = app.client();
    let (shop, ann) = (client.user("shop", "saler").await, client.user("ann", "customer").await);
    let body = json!({"name": "sale", "amount": 10, "stock": 1, "scheduled": true});
    assert_eq!(client.post("/api/users/shop/coupons", &shop, &body).await.status, 201);
    let id = app.instances[0].schedule(COUPON, &terms(-10, 600)).await.expect("the activity can be created");
    let in_etcd = || async {
        let recorded = format!("SELECT COUNT(*) FROM activities WHERE id = {id} AND etcd_revision > 0");
        app.stores.number(&recorded).await == 1
    };
    eventually("etcd has the activity", in_etcd).await;
    let claim = client.request("PATCH", "/api/users/shop/coupons/sale").header("Authorization", &ann);
    let claim = claim.header("Claim-Wait", "stored").send().await.expect("the service answers");
    assert_eq!(claim.status(), 201);

    // The tokens of etcd's users end with the process.
    secure.etcd.server.kill();
    secure.etcd.server.start_again();
    eventually("etcd answers", || async { secure.etcd.root().await.is_ok() }).await;
    secure.etcd.edit(id, "status", json!(2)).await;
    let bob = client.user("bob", "customer").await;
    eventually("the edit is in force", || async { client.claim("shop", "sale", &bob).await.result() == "sold-out" })
        .await;

    // Connections that are made again use TLS, too.
    app.stores.kill_connections().await;
    secure.redis.command::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    secure.etcd.edit(id, "status", json!(0)).await;
    eventually("bob can claim", || async { client.claim("shop", "sale", &bob).await.status == 201 }).await;
    let plain: String = secure.redis.command(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    let port = format!("laddr=127.0.0.1:{}", secure.redis_port);
    assert!(plain.lines().filter(|line| line.contains(&port)).count() > 1, "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_primaries_of_a_cluster_are_asked_and_followed_by_tls() {
    let authority = Authority::create();
    let ports = Mutex::new(Vec::new());
    let mut cluster = RedisCluster::start_with(|| {
        let port = free_address().port();
        ports.lock().expect("no thread panicked").push(port);
        let settings = [["--tls-cluster", "yes"], ["--tls-replication", "yes"]].concat().into_iter().map(str::to_owned);
        redis_arguments(&authority, port).into_iter().chain(settings).collect()
    })
    .await;
    let ports = ports.into_inner().expect("no thread panicked");
    let stores = Stores::create(Some(cluster.url())).await;
    let app = TestApp::start_on(stores, |args| {
        args.redis.redis_url = format!("rediss-cluster://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
        [args.redis.redis_ca, args.redis.redis_cert, args.redis.redis_key] = authority.of_client();
    })
    .await;
    let client = app.client();
    let (shop, ann) = (client.user("shop", "saler").await, client.user("ann", "customer").await);
    client.create_coupon("shop", &shop, "ten", 10).await;
    assert_eq!(client.claim("shop", "ten", &ann).await.status, 201);
    cluster.servers[OWNER].kill();
    let bob = client.user("bob", "customer").await;
    eventually("bob can claim", || async { client.claim("shop", "ten", &bob).await.status == 201 }).await;
    cluster.servers[OWNER].restart().await;
}

/// The settings of a start that fails, without the stores.
const OTHERS: [(&str, &str); 4] = [
    ("COUPONRUSH_HTTP_ADDR", "127.0.0.1:0"),
    ("COUPONRUSH_OPS_ADDR", "127.0.0.1:0"),
    ("COUPONRUSH_JWT_SECRET", SECRET),
    ("COUPONRUSH_START_WAIT", "0"),
];

/// Asserts that the start fails with a sentence that has all parts.
fn assert_refused(settings: &[(&str, &str)], parts: &[&str]) {
    let output = run(&["serve"], &[settings, &OTHERS].concat());
    let said = text(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(last.starts_with("couponrush: ") && parts.iter().all(|part| last.contains(part)), "{parts:?} in {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_another_authority_signed_is_refused() {
    let secure = SecureStores::start().await;
    let stores = secure.stores().await;
    let stranger = Authority::create();
    let [ours, other] = [&secure.authority, &stranger].map(|authority| authority.path("ca.pem"));
    let [certificate, key] = ["client.pem", "client.key"].map(|name| secure.authority.path(name));
    let redis_url = format!("rediss://127.0.0.1:{}/", secure.redis_port);
    let (_, database) = stores.mysql_url.rsplit_once('/').expect("a URL names the database");
    let mysql_url = |host: &str, user: &str| {
        format!("mysql://{user}:{PASSWORD}@{host}:{}/{database}?require_ssl=true", secure.mysql.address.port())
    };
    let of_redis = |authority| [("COUPONRUSH_REDIS_URL", redis_url.as_str()), ("COUPONRUSH_REDIS_CA", authority)];
    let own = [("COUPONRUSH_MYSQL_CERT", certificate.as_str()), ("COUPONRUSH_MYSQL_KEY", key.as_str())];
    let of_mysql = |url, authority| [[("COUPONRUSH_MYSQL_URL", url), ("COUPONRUSH_MYSQL_CA", authority)], own].concat();
    let good = mysql_url("127.0.0.1", "secure");

    let redis = [&of_redis(&other)[..], &[("COUPONRUSH_MYSQL_URL", &stores.mysql_url)]].concat();
    assert_refused(&redis, &["Redis could not be reached", "invalid peer certificate"]);
    let plain_redis = ("COUPONRUSH_REDIS_URL", stores.redis_url.as_str());
    let mysql = [of_mysql(&good, &other), vec![plain_redis]].concat();
    assert_refused(&mysql, &["MySQL could not be reached", "invalid peer certificate"]);
    // The certificate of Redis is asked for, and not given.
    let redis = [&of_redis(&ours)[..], &[("COUPONRUSH_MYSQL_URL", &stores.mysql_url)]].concat();
    assert_refused(&redis, &["Redis could not be reached"]);
    stores.remove().await;
}

#[test]
fn certificates_that_cannot_be_used_are_refused_by_their_settings() {
    let authority = Authority::create();
    let [ca, certificate, key, new_key] =
        ["ca.pem", "client.pem", "client.key", "client.pkcs8"].map(|name| authority.path(name));
    let empty = authority.folder.write("empty.pem", "");
    let stores = |redis, mysql| [("COUPONRUSH_REDIS_URL", redis), ("COUPONRUSH_MYSQL_URL", mysql)];
    let plain = stores("redis://127.0.0.1:1/", "mysql://nobody@127.0.0.1:1/none");
    let secure = stores("rediss://127.0.0.1:1/", "mysql://nobody@127.0.0.1:1/none?require_ssl=true");
    let refused = |stores: &[(&str, &str)], files: &[(&str, &str)], parts: &[&str]| {
        assert_refused(&[stores, files].concat(), parts);
    };
    refused(&plain, &[("COUPONRUSH_REDIS_CA", &ca)], &["COUPONRUSH_REDIS_CA", "does not ask for TLS"]);
    refused(&plain, &[("COUPONRUSH_MYSQL_KEY", &key)], &["COUPONRUSH_MYSQL_KEY", "does not ask for TLS"]);
    refused(
        &secure,
        &[("COUPONRUSH_REDIS_CA", "/nonexistent")],
        &["COUPONRUSH_REDIS_CA", "/nonexistent cannot be read"],
    );
    refused(&secure, &[("COUPONRUSH_REDIS_CA", &empty)], &["COUPONRUSH_REDIS_CA", "no certificates of authorities"]);
    refused(&secure, &[("COUPONRUSH_REDIS_CERT", &certificate)], &["COUPONRUSH_REDIS_CA", "both or not at all"]);
    let swapped = [("COUPONRUSH_REDIS_CERT", key.as_str()), ("COUPONRUSH_REDIS_KEY", &certificate)];
    refused(&secure, &swapped, &["COUPONRUSH_REDIS_CA", "not valid PEM"]);
    let blind = stores("redis://127.0.0.1:1/", "mysql://nobody@127.0.0.1:1/none?require_ssl=true&verify_ca=false");
    refused(&blind, &[], &["COUPONRUSH_MYSQL_URL", "verify_ca=false"]);
    let in_pkcs8 = [("COUPONRUSH_MYSQL_CERT", certificate.as_str()), ("COUPONRUSH_MYSQL_KEY", &new_key)];
    refused(&secure, &in_pkcs8, &["COUPONRUSH_MYSQL_URL", "PKCS#1", "openssl rsa -traditional"]);
    refused(&plain, &[("COUPONRUSH_HTTP_CERT", &certificate)], &["COUPONRUSH_HTTP_CERT", "both or not at all"]);
    refused(&plain, &[("COUPONRUSH_ETCD_ENDPOINTS", "http://a:1"), ("COUPONRUSH_ETCD_USER", "x")], &["name:password"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_served_by_https_only() {
    let stores = Stores::create(None).await;
    stores.own().await;
    let authority = Authority::create();
    let [certificate, key] = ["server.pem", "server.key"].map(|name| authority.path(name));
    let https = [("COUPONRUSH_HTTP_CERT", certificate.as_str()), ("COUPONRUSH_HTTP_KEY", &key)];
    let (program, mut log) = Running::serve(&[&instance_on(&stores, "0")[..], &https].concat());
    let port = address_in(&mut log).port();
    let get = |authority: &Authority, scheme| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "10",
            "--cacert",
            &authority.path("ca.pem"),
        ]);
        command.arg(format!("{scheme}://127.0.0.1:{port}/healthz"));
        command.output().expect("curl is installed")
    };
    let answer = get(&authority, "https");
    assert_eq!((answer.status.code(), text(&answer.stdout).contains("up")), (Some(0), true), "{answer:?}");
    assert!(text(&answer.stdout).contains("Strict-Transport-Security: max-age=63072000"), "{answer:?}");
    let refused = get(&Authority::create(), "https");
    assert!(text(&refused.stderr).contains("certificate"), "{refused:?}");
    assert_ne!(get(&authority, "http").status.code(), Some(0), "HTTP is not served");
    assert_eq!(program.stop("TERM").await.code(), Some(0));
    stores.remove().await;
}
