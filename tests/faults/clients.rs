//! Customers who claim, ask again, lose patience, and write down what they asked and what they were told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use couponrush::auth::{ClaimTokens, Secrets};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::history::{Claim, Coupon, NO_ANSWER, Number, Recorder, User, What};
use crate::random::Random;
use crate::servers::SECRET;

/// How long a customer waits for an answer; an impatient one not even as long as a claim takes.
const PATIENCE: Duration = Duration::from_secs(2);
const IMPATIENCE_MS: u64 = 4;
/// One attempt in so many is an impatient customer's.
const IMPATIENT: u64 = 40;
/// Customers who ask at once, and the pause of each between two attempts.
const LANES: usize = 12;
const PAUSE_MS: (u64, u64) = (10, 50);
/// Those who ask at once in the end, when everything is healed, and for how long each asks again where nothing was decided.
const LAST_LANES: usize = 16;
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who may claim.
#[derive(Clone)]
pub struct Customer {
    pub user: User,
    pub token: String,
}

/// A coupon as customers see it.
#[derive(Clone, Debug)]
pub struct Offer {
    pub coupon: Coupon,
    pub path: String,
    /// How many of it one user may want.
    pub wanted: u8,
    /// Of a hundred attempts, how many are for it.
    pub share: u64,
}

/// Everybody who claims, and where.
pub struct Crowd {
    pub customers: Vec<Customer>,
    pub offers: Vec<Offer>,
    pub instances: Vec<SocketAddr>,
    pub recorder: Arc<Recorder>,
    http: reqwest::Client,
    tokens: ClaimTokens,
    attempts: AtomicU64,
}

/// What an attempt asks for.
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
    ) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("the client needs nothing");
        let secrets = Secrets::parse("the suite's secret", SECRET).expect("it is long enough");
        let tokens = ClaimTokens::new(&secrets.for_claims());
        Self { customers, offers, instances, recorder, http, tokens, attempts: AtomicU64::new(0) }
    }

    /// Claims at random until `stop`.
    pub async fn claim_until(self: Arc<Self>, mut random: Random, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (crowd, mut random, stop) = (Arc::clone(&self), random.split(), stop.clone());
            lanes.spawn(async move {
                while !stop.is_cancelled() {
                    let offer = crowd.offer(&mut random);
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

    /// Everybody asks for all that he may have of everything, until it is decided.
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
                What::Claimed { .. } | What::Already { .. } => true,
                What::Refused { reason, .. } => reason == "sold-out",
                _ => false,
            };
            if decided || began.elapsed() > LAST_PATIENCE {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn offer(&self, random: &mut Random) -> &Offer {
        let mut drawn = random.below(self.offers.iter().map(|offer| offer.share).sum());
        for offer in &self.offers {
            if drawn < offer.share {
                return offer;
            }
            drawn -= offer.share;
        }
        unreachable!("the shares add up to what was drawn from")
    }

    async fn ask(&self, instance: usize, wish: Wish<'_>, patience: Duration) -> What {
        let attempt = 1 + self.attempts.fetch_add(1, Ordering::Relaxed);
        let Wish { customer, offer, nth } = wish;
        let (user, coupon) = (customer.user, offer.coupon);
        // Where one is all that he may have, he need not say which one he means.
        let nth = (offer.wanted > 1).then_some(nth);
        self.recorder.note(What::Invoke { attempt, instance, user, coupon, nth });
        let url = format!("http://{}{}", self.instances[instance], offer.path);
        let mut request = self.http.patch(url).header("Authorization", &customer.token).timeout(patience);
        if let Some(nth) = nth {
            request = request.header("Claim-Nth", nth.to_string());
        }
        let answer = match request.send().await {
            Ok(response) => self.read(attempt, response).await,
            Err(error) if error.is_connect() => What::Nothing { attempt, code: "not-connected".to_owned() },
            Err(error) => {
                What::Unknown { attempt, why: if error.is_timeout() { NO_ANSWER } else { "broken" }.to_owned() }
            }
        };
        self.recorder.note(answer.clone());
        answer
    }

    async fn read(&self, attempt: Number, response: reqwest::Response) -> What {
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
            (201, "claimed", Some(claim)) => What::Claimed { attempt, claim },
            (204, "already-claimed", Some(claim)) => What::Already { attempt, claim },
            (204, "claimed" | "already-claimed" | "", _) => unexpected(attempt, status, "without a claim"),
            (204, reason, _) => What::Refused { attempt, reason: reason.to_owned() },
            (429 | 503, ..) => {
                let Ok(body) = response.text().await else {
                    // He hung up between the status and the body.
                    return What::Unknown { attempt, why: NO_ANSWER.to_owned() };
                };
                let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                match body["code"].as_str() {
                    Some("unknown-outcome") => What::Unknown { attempt, why: "unknown-outcome".to_owned() },
                    Some(code @ ("unavailable" | "overloaded" | "rate-limited")) => {
                        What::Nothing { attempt, code: code.to_owned() }
                    }
                    _ => unexpected(attempt, status, "without a known code"),
                }
            }
            // The server was held up for so long (it was frozen) that it took the connection for one that sends nothing: actix
            // says so before it reads.
            (408, ..) => What::Nothing { attempt, code: "not-read".to_owned() },
            _ => unexpected(attempt, status, "which no claim is answered"),
        }
    }
}

/// An answer that is none of the contract's; the checker knows no such refusal, and says so.
fn unexpected(attempt: Number, status: u16, what: &str) -> What {
    What::Refused { attempt, reason: format!("{status} {what}") }
}
