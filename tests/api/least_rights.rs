//! The service with exactly the rights of `deploy/redis/couponrush.acl` and `deploy/mysql/grants.sql`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::helpers::{Client, SECRET, Stores, eventually, free_address};
use crate::program::{Running, address_in, run, text};
use crate::secret_files::Folder;

/// Part of the passwords of the test's users.
const PASSWORD: &str = "of-the-test";

/// A Redis server with the files of `deploy/redis/`. Dropping the value kills it.
struct Redis {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Redis {
    async fn start() -> Self {
        let folder = Folder::create();
        // The keys of every test have another prefix.
        let acl = deployed("redis/couponrush.acl").replace("change-me", PASSWORD).replace("~cr:{s*", "~test-*:{s*");
        let acl = folder.write("couponrush.acl", acl);
        let settings = deployed("redis/couponrush.conf").replace("/etc/redis/couponrush.acl", &acl);
        let (settings, port) = (folder.write("couponrush.conf", settings), free_address().port());
        let mut command = Command::new("redis-server");
        command.args([&settings, "--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &folder.path("")]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Redis is installed");
        let redis = Self { child, port, _folder: folder };
        eventually("Redis answers", || async { redis.try_operate(&["PING"]).await.is_ok() }).await;
        redis
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/", self.port)
    }

    /// Sends a command as the operator.
    async fn try_operate(&self, parts: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url("operator", &format!("{PASSWORD}-too"))).expect("the URL is valid");
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::Cmd::new().arg(parts).query_async(&mut connection).await
    }

    async fn operate(&self, parts: &[&str]) -> redis::Value {
        self.try_operate(parts).await.unwrap_or_else(|error| panic!("{parts:?}: {error}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of `deploy/`.
fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(path).expect("the file exists")
}

/// The users of `grants.sql`, for the database of a test.
struct Users {
    user: String,
    owner: String,
}

impl Users {
    async fn create(stores: &Stores) -> Self {
        let database = stores.mysql_url.rsplit('/').next().expect("a URL names the database");
        let user = format!("user_{:08x}", rand::random::<u32>());
        let sql = deployed("mysql/grants.sql").replace("change-me", PASSWORD);
        let sql = sql.replace("'couponrush", &format!("'{user}")).replace(" couponrush.*", &format!(" {database}.*"));
        let sql = sql.replace("EXISTS couponrush;", &format!("EXISTS {database};"));
        stores.execute(&sql).await;
        Self { owner: format!("{user}-owner"), user }
    }

    fn url(stores: &Stores, user: &str) -> String {
        let mut url = url::Url::parse(&stores.mysql_url).expect("the URL is valid");
        url.set_username(user).expect("the URL has a host");
        url.set_password(Some(PASSWORD)).expect("the URL has a host");
        url.to_string()
    }

    async fn remove(&self, stores: &Stores) {
        stores.execute(&format!("DROP USER '{}'@'%'; DROP USER '{}'@'%'", self.user, self.owner)).await;
    }
}

/// The settings of the program for this MySQL user.
fn settings<'a>(stores: &'a Stores, mysql_url: &'a str) -> [(&'a str, &'a str); 8] {
    [
        ("COUPONRUSH_HTTP_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_OPS_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_REDIS_URL", &stores.redis_url),
        ("COUPONRUSH_REDIS_PREFIX", &stores.prefix),
        ("COUPONRUSH_MYSQL_URL", mysql_url),
        ("COUPONRUSH_JWT_SECRET", SECRET),
        ("COUPONRUSH_WORKERS", "1"),
        ("COUPONRUSH_DRAIN_SECONDS", "0"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_suffice() {
    let (redis, folder) = (Redis::start().await, Folder::create());
    let stores = Stores::create(Some(redis.url("couponrush", PASSWORD))).await;
    let users = Users::create(&stores).await;
    let (owner_url, user_url) = (Users::url(&stores, &users.owner), Users::url(&stores, &users.user));
    let settings = settings(&stores, &user_url);
    let succeeds = |arguments: &[&str], settings: &[(&str, &str)]| {
        let output = run(arguments, settings);
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {printed}");
    };
    succeeds(&["migrate"], &[("COUPONRUSH_MYSQL_URL", &owner_url)]);
    succeeds(&["raise-format"], &[("COUPONRUSH_MYSQL_URL", &owner_url)]);
    succeeds(&["adopt", "--yes"], &settings);

    let (program, mut log) = Running::serve_with(&["--no-migrate"], &settings);
    let client = Client::new(address_in(&mut log));
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let (shop, ann) = (client.user("shop", "saler").await, client.user("ann", "customer").await);
    client.create_coupon("shop", &shop, "ten", 10).await;
    let claim = client.request("PATCH", "/api/users/shop/coupons/ten").header("Authorization", &ann);
    let claim = claim.header("Claim-Wait", "stored").send().await.expect("the service answers");
    assert_eq!(
        (claim.status().as_u16(), &claim.headers()["Claim-Durability"]),
        (201, &"stored".parse().expect("a value"))
    );
    let archived = async |archived| {
        let answer = client.put("/api/users/shop/coupons/ten", &shop, &json!({ "archived": archived })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    archived(true).await;
    archived(false).await;
    // Everything is loaded again.
    redis.operate(&["FLUSHALL"]).await;
    eventually("ann holds the coupon again", || async { client.claim("shop", "ten", &ann).await.status == 204 }).await;
    let seed = folder.path("seed");
    for command in [
        ["seed", "--customers", "2", "--out", &seed].as_slice(),
        &["audit"],
        &["poisoned", "list"],
        &["unread", "list"],
    ] {
        succeeds(command, &settings);
    }
    let tokens = std::fs::metadata(format!("{seed}/tokens.txt")).expect("the command has written it");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&tokens.permissions()) & 0o777, 0o600, "tokens are secrets");
    assert_eq!(
        stores.number("SELECT COUNT(*) FROM users WHERE username LIKE 'customer-%' AND password_hash <> ''").await,
        0
    );
    assert_eq!(program.stop("TERM").await.code(), Some(0));
    let refused = redis.operate(&["ACL", "LOG"]).await;
    assert_eq!(refused, redis::Value::Array(Vec::new()), "Redis has refused a command");
    users.remove(&stores).await;
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_at_the_start() {
    let redis = Redis::start().await;
    let stores = Stores::create(Some(redis.url("couponrush", PASSWORD))).await;
    stores.own().await;
    let users = Users::create(&stores).await;
    let user_url = Users::url(&stores, &users.user);
    let settings = settings(&stores, &user_url);
    let refused = |parts: &[&str]| {
        let output = run(&["serve", "--no-migrate"], &settings);
        let said = text(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            last.starts_with("couponrush: ") && parts.iter().all(|part| last.contains(part)),
            "{parts:?} in {said}"
        );
    };
    for (rule, back, named) in [
        ("-hset", "+hset", "HSET test-"),
        ("-evalsha", "+evalsha", "EVALSHA"),
        ("-script|load", "+script|load", "SCRIPT LOAD"),
        ("resetkeys", "~test-*:{s*", "GET test-"),
    ] {
        redis.operate(&["ACL", "SETUSER", "couponrush", rule]).await;
        refused(&["Redis denies", "deploy/redis/couponrush.acl", named, "permission"]);
        redis.operate(&["ACL", "SETUSER", "couponrush", back]).await;
    }
    let database = stores.mysql_url.rsplit('/').next().expect("a URL names the database");
    for right in ["INSERT", "UPDATE", "DELETE"] {
        let on = format!("{right} ON {database}.*");
        stores.execute(&format!("REVOKE {on} FROM '{}'@'%'", users.user)).await;
        refused(&["MySQL denies", "deploy/mysql/grants.sql", &format!("{right} command denied"), "users"]);
        stores.execute(&format!("GRANT {on} TO '{}'@'%'", users.user)).await;
    }
    users.remove(&stores).await;
    stores.remove().await;
}
