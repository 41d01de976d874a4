//! The service behind HAProxy and nginx with the files of `deploy/`, over TLS.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::helpers::{PASSWORD, Stores, eventually, free_address};
use crate::program::{Running, address_in, instance_on, text};
use crate::secret_files::Folder;

/// Seconds from a stop signal to the closing of the users' port. Longer than HAProxy needs to notice.
const DRAIN_SECONDS: &str = "2";
/// More requests than both proxies let one address make at once.
const TOO_MANY: usize = 2_500;
/// Events of a stream in memory, and the wait for the next one.
const EVENTS_MAX: usize = 100;
const EVENT_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    HaProxy,
    Nginx,
}

impl Program {
    /// The file of `deploy/` with the ports, addresses and paths of a test.
    fn configuration(self, folder: &Folder, [plain, tls]: [SocketAddr; 2], instances: &[SocketAddr; 2]) -> String {
        let name = if self == Self::HaProxy { "haproxy.cfg" } else { "nginx.conf" };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
        let mut text = std::fs::read_to_string(path).expect("the file exists");
        let (plain, tls) = (plain.to_string(), tls.to_string());
        let instances = instances.map(|address| address.to_string());
        let files = ["both.pem", "cert.pem", "key.pem"].map(|name| folder.path(name));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|kind| format!("{kind}_temp_path {};", folder.path(kind))).join(" ");
        let http = format!("http {{ {temporary}");
        let changes: &[(&str, &str)] = match self {
            // Only root may change the user.
            Self::HaProxy => &[
                ("    user haproxy\n    group haproxy\n", ""),
                // A test may have few open files.
                ("    maxconn 100000\n", "    maxconn 1000\n"),
                ("bind :80\n", &format!("bind {plain}\n")),
                ("bind :443 ", &format!("bind {tls} ")),
                ("/etc/haproxy/couponrush.pem", &files[0]),
            ],
            Self::Nginx => &[
                ("user www-data;\n", ""),
                ("worker_rlimit_nofile 200000;\n", ""),
                ("worker_connections 50000;", "worker_connections 1000;"),
                ("http {", &http),
                ("listen 80;", &format!("listen {plain};")),
                ("listen 443 ", &format!("listen {tls} ")),
                ("/etc/nginx/couponrush.pem", &files[1]),
                ("/etc/nginx/couponrush.key", &files[2]),
            ],
        };
        for (from, to) in
            changes.iter().copied().chain([("127.0.0.1:20080", &*instances[0]), ("127.0.0.1:20082", &*instances[1])])
        {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        folder.write(name, text)
    }

    /// Checks the file, then starts the proxy in the foreground.
    fn start(self, folder: &Folder, file: &str) -> Child {
        let pid = format!("daemon off; pid {};", folder.path("pid"));
        let (program, check, run): (_, &[&str], &[&str]) = match self {
            Self::HaProxy => ("haproxy", &["-c", "-f", file], &["-db", "-f", file]),
            Self::Nginx => ("nginx", &["-t", "-c", file, "-g", &pid], &["-c", file, "-g", &pid]),
        };
        // Debian's folder of servers is not in the PATH of every user.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let checked = Command::new(program).args(check).env("PATH", &path).output();
        let checked = checked.unwrap_or_else(|error| panic!("{program}: {error}; scripts/install {program}"));
        assert!(checked.status.success(), "{program}: {}{}", text(&checked.stdout), text(&checked.stderr));
        let log = std::fs::File::create(folder.path("log")).expect("the folder can be written");
        let errors = log.try_clone().expect("the file is open");
        let started = Command::new(program).args(run).env("PATH", &path).stdout(log).stderr(errors).spawn();
        started.expect("the program has just run")
    }
}

/// A proxy and a certificate of its own. Dropping the value kills the proxy.
struct Proxy {
    child: Child,
    folder: Folder,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Proxy {
    fn start(program: Program, instances: &[SocketAddr; 2]) -> Self {
        let folder = Folder::create();
        let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out", &cert])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", text(&made.stderr));
        let both = [&cert, &key].map(|path| std::fs::read_to_string(path).expect("openssl has written the file"));
        folder.write("both.pem", both.concat());
        let (plain, tls) = (free_address(), free_address());
        let file = program.configuration(&folder, [plain, tls], instances);
        Self { child: program.start(&folder, &file), folder, plain, tls }
    }

    /// `curl` with the certificate of the proxy as the only trusted one.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert", &self.folder.path("cert.pem")]);
        curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", self.tls.port())]).args(arguments);
        curl.arg(format!("https://localhost:{}{path}", self.tls.port()));
        curl
    }

    /// Sends a request.
    async fn send(&self, arguments: &[&str], path: &str) -> Got {
        let output = run(self.curl(&[&["--include"], arguments].concat(), path)).await;
        assert!(output.status.success(), "{path}: {}; {}", text(&output.stderr), self.log());
        let answer = text(&output.stdout).replace("\r\n", "\n");
        let (head, body) = answer.split_once("\n\n").unwrap_or_else(|| panic!("no headers: {answer}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Got { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Sends JSON.
    async fn post(&self, path: &str, token: &str, body: &Value) -> Got {
        let (token, body) = (format!("Authorization: {token}"), body.to_string());
        self.send(&["--header", &token, "--data", &body], path).await
    }

    /// Registers a user, logs in, and returns the session token.
    async fn user(&self, name: &str, kind: &str) -> String {
        let user = json!({"username": name, "password": PASSWORD, "kind": kind});
        assert_eq!(self.post("/api/users", "", &user).await.status, 201);
        self.post("/api/auth", "", &user).await.header("Authorization").to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A killed nginx would leave its workers.
        crate::helpers::signal(&self.child, "TERM");
        let _ = self.child.wait();
    }
}

/// An answer through the proxy.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    /// A header's value. Empty if the header is absent. Names are in lower case in HTTP/2.
    fn header(&self, name: &str) -> &str {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

async fn run(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the task does not panic").expect("curl is installed")
}

/// Starts an instance behind a proxy on this machine.
fn instance(stores: &Stores) -> (Running, SocketAddr) {
    let behind = [("COUPONRUSH_TRUSTED_PROXIES", "127.0.0.1"), ("COUPONRUSH_IP_FAILED_LOGINS_PER_MINUTE", "1")];
    let (running, mut log) = Running::serve(&[&instance_on(stores, DRAIN_SECONDS)[..], &behind].concat());
    let address = address_in(&mut log);
    // The pipe of the log must not fill.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (running, address)
}

async fn a_sale_behind(program: Program) {
    let stores = Stores::create(None).await;
    stores.own().await;
    let [(first, one), (second, two)] = [instance(&stores), instance(&stores)];
    let proxy = Proxy::start(program, &[one, two]);
    eventually("an instance is ready behind the proxy", || async {
        let curl = run(proxy.curl(&["--fail", "--output", "/dev/null"], "/readyz")).await;
        curl.status.success()
    })
    .await;

    let shop = proxy.user("shop", "saler").await;
    let coupon = json!({"name": "ten", "amount": 10, "description": "of a test", "stock": 10});
    assert_eq!(proxy.post("/api/users/shop/coupons", &shop, &coupon).await.status, 201);
    units_are_streamed(&proxy, &stores).await;
    addresses_are_those_of_the_customers(&proxy).await;
    answers_have_their_headers(&proxy).await;
    no_request_fails_while_an_instance_stops(&proxy, first).await;
    too_many_requests_are_refused(&proxy).await;

    assert_eq!(second.stop("TERM").await.code(), Some(0));
    drop(proxy);
    let (audit, printed) = crate::helpers::audit(&stores, &[]).await;
    assert!(audit, "{printed}");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_behind_haproxy() {
    a_sale_behind(Program::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_behind_nginx() {
    a_sale_behind(Program::Nginx).await;
}

/// Each event arrives at once, although the stream goes on.
async fn units_are_streamed(proxy: &Proxy, stores: &Stores) {
    let id = stores.number("SELECT MIN(id) FROM coupons").await;
    let mut curl = proxy.curl(&["--no-buffer"], &format!("/sec/events?product_id={id}"));
    let mut viewer = curl.stdout(Stdio::piped()).spawn().expect("curl is installed");
    let lines = BufReader::new(viewer.stdout.take().expect("stdout is piped")).lines();
    let (seen, mut events) = tokio::sync::mpsc::channel(EVENTS_MAX);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(data) = line.strip_prefix("data: ") {
                let _ = seen.try_send(serde_json::from_str::<Value>(data).expect("data are JSON")["left"].clone());
            }
        }
    });
    let mut next = async || tokio::time::timeout(EVENT_WAIT, events.recv()).await.expect("an event arrives at once");
    assert_eq!(next().await, Some(json!(10)));
    let ann = format!("Authorization: {}", proxy.user("ann", "customer").await);
    let claimed = proxy.send(&["--request", "PATCH", "--header", &ann], "/api/users/shop/coupons/ten").await;
    assert_eq!((claimed.status, claimed.header("Claim-Result")), (201, "claimed"), "{claimed:?}");
    while next().await != Some(json!(9)) {}
    viewer.kill().expect("the stream goes on");
    let _ = viewer.wait();
}

/// The service counts failed logins by address. So it has to know the customers' addresses, and none that they invent.
async fn addresses_are_those_of_the_customers(proxy: &Proxy) {
    let guess = json!({"username": "shop", "password": "wrong"}).to_string();
    let tried = async |from: &str, forged: &str| {
        let header = format!("X-Forwarded-For: {forged}");
        proxy.send(&["--interface", from, "--header", &header, "--data", &guess], "/api/auth").await.status
    };
    let mut refused = 0;
    for n in 0..6 {
        refused += u32::from(tried("127.0.0.2", &format!("198.51.100.{n}")).await == 429);
    }
    assert!(refused >= 4, "the header of a stranger hides the address: each of two instances takes one, not {refused}");
    assert_eq!(tried("127.0.0.3", "127.0.0.2").await, 401, "another address has its own counter");
}

async fn answers_have_their_headers(proxy: &Proxy) {
    let page = proxy.send(&[], "/").await;
    assert_eq!((page.status, page.header("Strict-Transport-Security")), (200, "max-age=63072000"), "{page:?}");
    let asset = page.body.split('"').find(|part| part.starts_with("/assets/")).expect("the page loads files");
    let asset = proxy.send(&[], asset).await;
    assert_eq!(asset.header("Cache-Control"), "public, max-age=31536000, immutable", "{}", asset.head);
    assert_eq!((asset.status, asset.header("Set-Cookie")), (200, ""), "{}", asset.head);

    let mut plain = Command::new("curl");
    plain.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}"]);
    plain.arg(format!("http://{}/saler", proxy.plain));
    let told = text(&run(plain).await.stdout);
    assert!(told.starts_with("301 https://") && told.ends_with("/saler"), "{told}");
}

/// Stops an instance while customers ask. The other one takes over.
async fn no_request_fails_while_an_instance_stops(proxy: &Proxy, instance: Running) {
    let stopped = AtomicBool::new(false);
    let asked = async {
        let mut answers = 0;
        while !stopped.load(Ordering::Relaxed) {
            let answer = proxy.send(&[], "/healthz").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answers += 1;
        }
        answers
    };
    let stop = async {
        let status = instance.stop("TERM").await;
        stopped.store(true, Ordering::Relaxed);
        status
    };
    let (status, answers) = tokio::join!(stop, asked);
    assert_eq!(status.code(), Some(0));
    assert!(answers > 10, "only {answers} answers");
    assert_eq!(proxy.send(&[], "/readyz").await.status, 200, "the other instance sells");
}

async fn too_many_requests_are_refused(proxy: &Proxy) {
    let each = ["--interface", "127.0.0.4", "--include", "--write-out", "\n"];
    let output = run(proxy.curl(&each, &format!("/healthz?[1-{TOO_MANY}]"))).await;
    let answers = text(&output.stdout);
    let statuses = answers.lines().filter(|line| line.starts_with("HTTP/"));
    let statuses: Vec<&str> = statuses.filter_map(|line| line.split(' ').nth(1)).collect();
    let count = |wanted: &str| statuses.iter().filter(|status| **status == wanted).count();
    assert!(count("200") > 300 && count("429") > 50, "{} and {}: {}", count("200"), count("429"), proxy.log());
    assert_eq!(count("200") + count("429"), TOO_MANY, "{statuses:?}");
    let (_, refusal) = answers.rsplit_once(" 429").expect("some are refused");
    assert!(refusal.to_lowercase().contains("\nretry-after: "), "{refusal}");
    assert!(refusal.contains("\"code\":\"rate-limited\""), "{refusal}");
    let other = proxy.send(&["--interface", "127.0.0.5"], "/healthz").await;
    assert_eq!(other.status, 200, "another address is not refused: {other:?}");
}
