//! The attacks. At its end, each attack checks that the attackers have gained nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use couponrush::domain::Kind;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::helpers::{Answer, Client, RawConnection, now_seconds};
use crate::world::{World, from, log_in, sale};

/// Pause of an attacker after each answer. Without a pause, the test would measure how two cores are shared.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections of most attacks.
const ATTACKERS: usize = 16;
/// Number of attacks so far. Makes names unique.
static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// Address of most attackers.
const EVIL: &str = "203.0.113.66";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Many logins from one address, to fill the queue of password hashes.
    HashQueue,
    /// Wrong passwords of the merchant and of the operator, from hundreds of networks.
    Lockout,
    /// A merchant whose readers of exports hardly read.
    SlowExports,
    /// All places of event streams for one address.
    HoardedStreams,
    /// Pages far behind the end of every list.
    DeepPages,
    /// Logouts of thousands of tokens.
    LogoutFlood,
    /// Thousands of accounts that claim from one network in a sale that limits the claims of a network.
    AccountsOfOneNetwork,
    /// The ticket of another customer, a forged one and a session in its place, again and again.
    ForgedTickets,
    /// Changes sent by browsers from a page of another site.
    CrossSitePosts,
    /// A thousand merchants without approval, who offer coupons and sales, and look for them on the public list.
    FakeMerchants,
}

/// A running attack.
pub struct Attacking {
    attack: Attack,
    tasks: JoinSet<()>,
    /// Successful attempts.
    gained: Arc<AtomicU64>,
    connections: Vec<RawConnection>,
}

impl Attack {
    pub const ALL: [Self; 10] = [
        Self::HashQueue,
        Self::Lockout,
        Self::SlowExports,
        Self::HoardedStreams,
        Self::DeepPages,
        Self::LogoutFlood,
        Self::AccountsOfOneNetwork,
        Self::ForgedTickets,
        Self::CrossSitePosts,
        Self::FakeMerchants,
    ];

    /// Begins the attack. The attackers stop at `over`.
    pub async fn begin(self, world: &World, over: &CancellationToken) -> Attacking {
        let mut attacking =
            Attacking { attack: self, tasks: JoinSet::new(), gained: Arc::default(), connections: vec![] };
        let client = world.client().clone();
        let round = ROUNDS.fetch_add(1, Ordering::Relaxed);
        match self {
            Self::HashQueue => attacking.repeat(over, 64, move |n| {
                let client = client.clone();
                async move { is(&log_in(&client, &format!("nobody-{n}"), "a guess", EVIL).await, 200) }
            }),
            Self::Lockout => attacking.repeat(over, ATTACKERS, move |n| {
                let (client, name) = (client.clone(), ["shop", "root"][n % 2]);
                let address = format!("198.51.{}.7", n % 250);
                async move { is(&log_in(&client, name, &format!("guess-{n}"), &address).await, 200) }
            }),
            Self::SlowExports => attacking.open_exports(world, round).await,
            Self::HoardedStreams => attacking.open_streams(world),
            Self::DeepPages => attacking.read_deep_pages(world, over),
            Self::LogoutFlood => {
                let names: Vec<String> = (0..2_000).map(|n| format!("quitter-{round}-{n}")).collect();
                let tokens = Arc::new(world.app.users(&names, Kind::Customer).await);
                attacking.repeat(over, ATTACKERS, move |n| {
                    let (client, token) = (client.clone(), tokens[n % tokens.len()].clone());
                    async move {
                        from(&client, EVIL, "POST", "/api/auth/logout", &token, Some(&json!({}))).await;
                        false
                    }
                });
            }
            Self::AccountsOfOneNetwork => attacking.claim_from_one_network(world, over, round).await,
            Self::ForgedTickets => attacking.forge_tickets(world, over, round).await,
            Self::FakeMerchants => attacking.offer_fakes(world, over, round).await,
            Self::CrossSitePosts => {
                let token = world.shop.clone();
                attacking.repeat(over, ATTACKERS, move |_| {
                    let request = client.request("POST", "/product/create").header("Origin", "https://evil.example");
                    let request = request.header("Authorization", &token).header("Sec-Fetch-Site", "cross-site");
                    let body = json!({"product_name": "stolen", "product_total": 1}).to_string();
                    async move { Answer::of(request.body(body)).await.status != 403 }
                });
            }
        }
        attacking
    }
}

impl Attacking {
    /// Lets attackers repeat an attempt. An attempt returns whether it was successful.
    fn repeat<F: Future<Output = bool> + Send + 'static>(
        &mut self,
        over: &CancellationToken,
        attackers: usize,
        attempt: impl Fn(usize) -> F + Send + Sync + 'static,
    ) {
        let attempt = Arc::new(attempt);
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..attackers {
            let (attempt, next, gained) = (Arc::clone(&attempt), Arc::clone(&next), Arc::clone(&self.gained));
            let over = over.clone();
            self.tasks.spawn(async move {
                while !over.is_cancelled() {
                    let n = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
                    gained.fetch_add(attempt(n).await.into(), Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }

    async fn open_exports(&mut self, world: &World, round: u64) {
        let name = format!("slow-reader-{round}");
        let evil = world.app.user(&name, Kind::Saler).await;
        let (product, _) = sale(world.client(), &evil, "export", json!({})).await;
        // More rows than the buffers of a connection hold. Redis lacks these claims, so `end` deletes the rows.
        let numbers = (1..=10).map(|n| format!("SELECT {n} AS n")).collect::<Vec<_>>().join(" UNION ALL ");
        let rows = format!(
            "INSERT INTO claims (coupon_id, seq, user_id, claimed_at, activity_id, nth) \
             SELECT {product}, ROW_NUMBER() OVER (), u.id, 1, 0, numbers.n FROM users u JOIN ({numbers}) numbers \
             WHERE u.username LIKE 'customer-%'"
        );
        world.app.stores.execute(&rows).await;
        let address = world.app.instances[0].address;
        for _ in 0..ATTACKERS {
            let mut connection = RawConnection::open(address);
            connection.send(format!(
                "GET /api/users/{name}/coupons/export/claims.csv HTTP/1.1\r\nHost: x\r\nAuthorization: {evil}\r\n\
                 X-Forwarded-For: {EVIL}\r\n\r\n"
            ));
            self.connections.push(connection);
        }
    }

    fn open_streams(&mut self, world: &World) {
        let address = world.app.instances[0].address;
        for _ in 0..300 {
            let mut connection = RawConnection::open(address);
            connection.send(format!(
                "GET /sec/events?product_id={} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {EVIL}\r\n\r\n",
                world.product
            ));
            self.connections.push(connection);
        }
    }

    fn read_deep_pages(&mut self, world: &World, over: &CancellationToken) {
        let (client, token, shop) = (world.client().clone(), world.customers[0].clone(), world.shop.clone());
        self.repeat(over, ATTACKERS, move |n| {
            let page = 1_000_000 + n;
            let (path, token) = match n % 4 {
                0 => (format!("/api/users/customer-0/coupons?page={page}"), token.clone()),
                1 => (format!("/sec/list?page={page}"), String::new()),
                2 => (format!("/product/list?page={page}"), shop.clone()),
                _ => (format!("/api/users/shop/coupons/rush/claims?page={page}"), shop.clone()),
            };
            let client = client.clone();
            async move {
                from(&client, EVIL, "GET", &path, &token, None).await;
                false
            }
        });
    }

    async fn claim_from_one_network(&mut self, world: &World, over: &CancellationToken, round: u64) {
        let names: Vec<String> = (0..10_000).map(|n| format!("robot-{round}-{n}")).collect();
        let tokens = Arc::new(world.app.users(&names, Kind::Customer).await);
        sale(world.client(), &world.shop, &format!("limited-{round}"), json!({"network_winners": 20})).await;
        let client = world.client().clone();
        self.repeat(over, ATTACKERS, move |n| {
            let (client, token) = (client.clone(), tokens[n % tokens.len()].clone());
            let address = format!("203.0.113.{}", n % 250);
            async move {
                let path = format!("/api/users/shop/coupons/limited-{round}");
                from(&client, &address, "PATCH", &path, &token, None).await.header("Claim-Result") == "claimed"
            }
        });
    }

    async fn forge_tickets(&mut self, world: &World, over: &CancellationToken, round: u64) {
        let name = format!("ticketed-{round}");
        let (product, _) = sale(world.client(), &world.shop, &name, json!({"ticket": 8})).await;
        let client = world.client().clone();
        let tokens = world.customers[..200].to_vec();
        let bought = ticket(&client, product, &tokens[0]).await;
        let mut tampered = bought.clone();
        let middle = tampered.len() / 2;
        tampered.replace_range(middle..=middle, if &tampered[middle..=middle] == "A" { "B" } else { "A" });
        let tickets = [bought, tampered, tokens[1].clone()];
        self.repeat(over, ATTACKERS, move |n| {
            let request =
                client.request("PATCH", &format!("/api/users/shop/coupons/{name}")).header("X-Forwarded-For", EVIL);
            // Not the customer who has the ticket.
            let request = request.header("Authorization", &tokens[1 + n % 199]).header("Claim-Ticket", &tickets[n % 3]);
            async move { Answer::of(request).await.header("Claim-Result") == "claimed" }
        });
    }

    async fn offer_fakes(&mut self, world: &World, over: &CancellationToken, round: u64) {
        let names: Vec<String> = (0..1_000).map(|n| format!("fake-{round}-{n}")).collect();
        let tokens = Arc::new(world.app.users(&names, Kind::Saler).await);
        let unapproved = format!(
            "UPDATE users SET awaits_approval = TRUE, sales_withheld = TRUE WHERE username LIKE 'fake-{round}-%'"
        );
        world.app.stores.execute(&unapproved).await;
        let client = world.client().clone();
        self.repeat(over, ATTACKERS, move |n| {
            let (client, token) = (client.clone(), tokens[n % tokens.len()].clone());
            let (address, name) = (format!("198.51.100.{}", n % 250), format!("fake-{round}-{n}"));
            async move {
                let product = json!({"product_name": name, "product_total": 1_000});
                let answer = from(&client, &address, "POST", "/product/create", &token, Some(&product)).await;
                let product = answer.json()["data"]["product_id"].as_u64();
                let sale = json!({"activity_name": name, "product_id": product, "start_time": now_seconds() - 1,
                    "end_time": now_seconds() + 3_600, "total": 0, "speed": 0});
                from(&client, &address, "POST", "/activity/create", &token, Some(&sale)).await;
                let list = from(&client, &address, "GET", "/sec/list", "", None).await;
                list.text.contains("fake-")
            }
        });
    }

    /// Waits for the attackers, and checks that no attempt was successful.
    pub async fn end(mut self, world: &World) {
        while let Some(task) = self.tasks.join_next().await {
            task.expect("no attacker panics");
        }
        let streams = self.connections.into_iter().map(|mut connection| connection.read_for(Duration::from_millis(20)));
        let streams = streams.filter(|answer| answer.text.starts_with("HTTP/1.1 200")).count();
        let gained = self.gained.load(Ordering::Relaxed);
        match self.attack {
            Attack::AccountsOfOneNetwork => {
                // Attempts in flight when the twentieth claim is granted may pass.
                assert!((1..20 + ATTACKERS as u64).contains(&gained), "{gained} claims of one network");
            }
            Attack::HoardedStreams => assert_eq!(streams, 20, "streams of one address"),
            Attack::SlowExports => {
                assert_eq!(streams, 1, "exports of one merchant");
                let rows = "DELETE FROM claims WHERE coupon_id IN (SELECT id FROM coupons WHERE name = 'export')";
                world.app.stores.execute(rows).await;
            }
            attack => assert_eq!(gained, 0, "{attack:?}"),
        }
        assert_eq!(world.app.stores.number("SELECT COUNT(*) FROM coupons WHERE name = 'stolen'").await, 0);
    }
}

/// The ticket of a customer, for a proof of work of 8 bits.
async fn ticket(client: &Client, product: u64, token: &str) -> String {
    let asked = client.get(&format!("/sec/ticket?product_id={product}"), token).await.json();
    let challenge = asked["data"]["challenge"].as_str().expect("a challenge").to_owned();
    let solves = |nonce: &u64| Sha256::digest(format!("{challenge}.{nonce}"))[0] == 0;
    let nonce = (0..).find(solves).expect("one of 256 nonces solves it").to_string();
    let body = json!({"challenge": challenge, "nonce": nonce});
    let given = client.post("/sec/ticket", token, &body).await.json();
    given["data"]["ticket"].as_str().expect("a ticket").to_owned()
}

fn is(answer: &Answer, status: u16) -> bool {
    answer.status == status
}
