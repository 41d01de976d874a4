//! Customers: they claim, ask again, lose patience, and record every request and answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use couponrush::auth::{ClaimTokens, Secrets};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::history::{Claim, Coupon, EventKind, NO_ANSWER, Number, Recorder, User};
use crate::mysql;
use crate::random::Random;
use crate::servers::SECRET;

/// How long a customer waits for an answer. An impatient customer waits up to `IMPATIENCE_MS`, shorter than a claim
/// takes.
const PATIENCE: Duration = Duration::from_secs(2);
const IMPATIENCE_MS: u64 = 4;
/// Impatient customers send an attempt in this many.
const IMPATIENT: u64 = 40;
/// Attempts that ask for an answer after the commit, one in this many, and how much longer their customers wait.
const WAITING: u64 = 40;
const COMMIT_PATIENCE: Duration = Duration::from_secs(1);
/// Customers claiming at the same time, and the pause of a customer between two attempts.
const LANES: usize = 12;
const PAUSE_MS: (u64, u64) = (10, 50);
/// Customers claiming at the same time at the end of a run, after all faults are healed. Undecided attempts are
/// repeated for up to `LAST_PATIENCE`.
const LAST_LANES: usize = 16;
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// A customer with a session token.
#[derive(Clone)]
pub struct Customer {
    pub user: User,
    pub token: String,
}

/// A coupon as the customers see it.
#[derive(Clone, Debug)]
pub struct Offer {
    pub coupon: Coupon,
    pub path: String,
    /// Claims that a user asks for, at most.
    pub wanted: u8,
    /// Attempts for the coupon, in percent of all attempts.
    pub share: u64,
}

/// All customers, with the addresses of the instances.
pub struct Crowd {
    pub customers: Vec<Customer>,
    pub offers: Vec<Offer>,
    pub instances: Vec<SocketAddr>,
    pub recorder: Arc<Recorder>,
    http: reqwest::Client,
    tokens: ClaimTokens,
    attempts: AtomicU64,
    /// One attempt in this many asks for an answer after the commit.
    waiting: AtomicU64,
    /// Gives the URL of the present primary of MySQL, past the proxies.
    mysql_url: Box<dyn Fn() -> String + Send + Sync>,
}

/// The content of an attempt.
#[derive(Clone, Copy)]
struct Wish<'a> {
    customer: &'a Customer,
    offer: &'a Offer,
    nth: u8,
}

impl Crowd {
    pub fn new(
        customers: Vec<Customer>,
        offers: Vec<Offer>,
        instances: Vec<SocketAddr>,
        recorder: Arc<Recorder>,
        mysql_url: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client can be built");
        let secrets = Secrets::parse("the suite's secret", SECRET).expect("the secret is long enough");
        let tokens = ClaimTokens::new(&secrets.for_claims());
        let (attempts, waiting) = (AtomicU64::new(0), AtomicU64::new(WAITING));
        let mysql_url = Box::new(mysql_url);
        Self { customers, offers, instances, recorder, http, tokens, attempts, waiting, mysql_url }
    }

    /// From now on one attempt in two, or the usual share, asks for an answer after the commit.
    pub fn let_many_wait(&self, many: bool) {
        self.waiting.store(if many { 2 } else { WAITING }, Ordering::Relaxed);
    }

    /// Claims at random until `stop`.
    pub async fn claim_until(self: Arc<Self>, mut random: Random, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (crowd, mut random, stop) = (Arc::clone(&self), random.split(), stop.clone());
            lanes.spawn(async move {
                while !stop.is_cancelled() {
                    let offer = crowd.draw_offer(&mut random);
                    let nth = 1 + u8::try_from(random.below(offer.wanted.into())).expect("below a u8");
                    let wish = Wish { customer: random.pick(&crowd.customers), offer, nth };
                    let impatient = random.below(IMPATIENT) == 0;
                    let patience = if impatient { random.millis(0, IMPATIENCE_MS) } else { PATIENCE };
                    crowd.ask(lane % crowd.instances.len(), wish, patience).await;
                    tokio::time::sleep(random.millis(PAUSE_MS.0, PAUSE_MS.1)).await;
                }
            });
        }
        lanes.join_all().await;
    }

    /// Every customer asks for all claims up to the limit, of every coupon, until every attempt is decided.
    pub async fn claim_all(self: Arc<Self>) {
        for offer in &self.offers {
            let next = Arc::new(AtomicU64::new(0));
            let mut lanes = JoinSet::new();
            for lane in 0..LAST_LANES {
                let (crowd, offer, next) = (Arc::clone(&self), offer.clone(), Arc::clone(&next));
                lanes.spawn(async move {
                    loop {
                        let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("few customers");
                        let Some(customer) = crowd.customers.get(place) else { return };
                        for nth in 1..=offer.wanted {
                            crowd.ask_until_decided(lane, Wish { customer, offer: &offer, nth }).await;
                        }
                    }
                });
            }
            lanes.join_all().await;
        }
    }

    async fn ask_until_decided(&self, lane: usize, wish: Wish<'_>) {
        let began = Instant::now();
        loop {
            let decided = match self.ask(lane % self.instances.len(), wish, PATIENCE).await {
                EventKind::Claimed { .. } | EventKind::Already { .. } => true,
                EventKind::Refused { reason, .. } => reason == "sold-out",
                _ => false,
            };
            if decided || began.elapsed() > LAST_PATIENCE {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn draw_offer(&self, random: &mut Random) -> &Offer {
        let mut drawn = random.below(self.offers.iter().map(|offer| offer.share).sum());
        for offer in &self.offers {
            if drawn < offer.share {
                return offer;
            }
            drawn -= offer.share;
        }
        unreachable!("a drawn number is below the sum of all shares")
    }

    async fn ask(&self, instance: usize, wish: Wish<'_>, patience: Duration) -> EventKind {
        let attempt = 1 + self.attempts.fetch_add(1, Ordering::Relaxed);
        let Wish { customer, offer, nth } = wish;
        let (user, coupon) = (customer.user, offer.coupon);
        // With a limit of one, `Claim-Nth` is not needed.
        let nth = (offer.wanted > 1).then_some(nth);
        self.recorder.note(EventKind::Invoke { attempt, instance, user, coupon, nth });
        let url = format!("http://{}{}", self.instances[instance], offer.path);
        let mut request = self.http.patch(url).header("Authorization", &customer.token).timeout(patience);
        // Chosen by the number, because a further random number would change all later ones of the seed.
        if attempt.is_multiple_of(self.waiting.load(Ordering::Relaxed)) {
            let patience = if patience == PATIENCE { patience + COMMIT_PATIENCE } else { patience };
            request = request.header("Claim-Wait", "stored").timeout(patience);
        }
        if let Some(nth) = nth {
            request = request.header("Claim-Nth", nth.to_string());
        }
        let mut is_stored = false;
        let answer = match request.send().await {
            Ok(response) => {
                is_stored = response.headers().get("claim-durability").is_some_and(|value| value == "stored");
                self.read(attempt, response).await
            }
            Err(error) if error.is_connect() => EventKind::Nothing { attempt, code: "not-connected".to_owned() },
            Err(error) => {
                EventKind::Unknown { attempt, why: if error.is_timeout() { NO_ANSWER } else { "broken" }.to_owned() }
            }
        };
        self.recorder.note(answer.clone());
        if let EventKind::Claimed { claim, .. } | EventKind::Already { claim, .. } = &answer
            && is_stored
        {
            let found = mysql::has_claim(&(self.mysql_url)(), coupon, user, claim).await;
            self.recorder.note(EventKind::Stored { attempt, found });
        }
        answer
    }

    async fn read(&self, attempt: Number, response: reqwest::Response) -> EventKind {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, result) = (response.status().as_u16(), header("claim-result").to_owned());
        let proof = self.tokens.verify(header("claim-token"));
        let claim = proof.map(|proof| Claim {
            seq: proof.seq,
            nth: proof.nth,
            activity: proof.activity.0,
            claimed_at_ms: proof.claimed_at_ms,
        });
        match (status, result.as_str(), claim) {
            (201, "claimed", Some(claim)) => EventKind::Claimed { attempt, claim },
            (204, "already-claimed", Some(claim)) => EventKind::Already { attempt, claim },
            (204, "claimed" | "already-claimed" | "", _) => unexpected(attempt, status, "without a claim"),
            (204, reason, _) => EventKind::Refused { attempt, reason: reason.to_owned() },
            (429 | 503, ..) => {
                let Ok(body) = response.text().await else {
                    // The customer hung up between the status and the body.
                    return EventKind::Unknown { attempt, why: NO_ANSWER.to_owned() };
                };
                let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                match body["code"].as_str() {
                    Some("unknown-outcome") => EventKind::Unknown { attempt, why: "unknown-outcome".to_owned() },
                    Some(code @ ("unavailable" | "overloaded" | "rate-limited")) => {
                        EventKind::Nothing { attempt, code: code.to_owned() }
                    }
                    _ => unexpected(attempt, status, "without a known code"),
                }
            }
            // actix answers a connection with a bare 408 if the first request is not read in time, for example because
            // the server was frozen. The request has had no effect then.
            (408, ..) => EventKind::Nothing { attempt, code: "not-read".to_owned() },
            _ => unexpected(attempt, status, "is no answer to a claim"),
        }
    }
}

/// Records an answer outside the contract as a refusal. The checker reports every unknown reason of a refusal.
fn unexpected(attempt: Number, status: u16, problem: &str) -> EventKind {
    EventKind::Refused { attempt, reason: format!("{status} {problem}") }
}
