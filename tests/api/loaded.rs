//! The operations of the benchmark, all at once and with every answer checked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use couponrush::domain::Kind;
use futures_util::{StreamExt, future, stream};

use crate::helpers::{Answer, Client, Customer, TestApp, audit, customers, proof};

/// The units of a coupon with enough for every customer, and of a coupon sold out from the start.
const PLENTY: u64 = 5_000;
const FEW: usize = 20;
const CROWD: usize = 3_000;
const LANES: usize = 64;

/// The running load of a shop.
struct Rush {
    clients: [Client; 2],
    /// The number of claims of `plenty` sent, and of those answered.
    begun: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
}

/// Repeats a request until the answer is not 503. Returns the answer, and whether a 503 came before. A busy machine may
/// cause a 503.
async fn ask_until_answered<F: Future<Output = Answer>>(ask: impl Fn() -> F) -> (Answer, bool) {
    let mut maybe_granted = false;
    loop {
        let answer = ask().await;
        if answer.status != 503 {
            return (answer, maybe_granted);
        }
        maybe_granted = true;
    }
}

impl Rush {
    /// A customer lists, claims both coupons, and checks every answer against the earlier answers.
    async fn claim_and_list(&self, number: usize, customer: &Customer) {
        let (here, there) = (&self.clients[number % 2], &self.clients[(number + 1) % 2]);
        let (name, token) = (customer.user.name.as_str(), &customer.token);
        let (held, _) = ask_until_answered(|| here.list(name, token)).await;
        assert_eq!(held.status, 204, "{held:?}");
        let (refused, _) = ask_until_answered(|| here.claim("shop", "few", token)).await;
        assert_eq!(refused.result(), "sold-out");

        self.begun.fetch_add(1, Ordering::SeqCst);
        let (claimed, maybe_granted) = ask_until_answered(|| here.claim("shop", "plenty", token)).await;
        self.answered.fetch_add(1, Ordering::SeqCst);
        assert!(claimed.result() == "claimed" || maybe_granted && claimed.result() == "already-claimed", "{claimed:?}");
        assert_eq!(proof(&claimed).user, customer.user.id);

        let (held, _) = ask_until_answered(|| there.list(name, token)).await;
        let item = serde_json::json!({"name": "plenty", "stock": 10, "description": "of a test", "saler": "shop"});
        assert_eq!(held.json()["data"], serde_json::json!([item]));
        let (again, _) = ask_until_answered(|| there.claim("shop", "plenty", token)).await;
        assert_eq!((again.result(), again.header("Claim-Token")), ("already-claimed", claimed.header("Claim-Token")));
    }

    /// Reads the shop's list repeatedly. The units left must be a value between the counts before and after the
    /// request.
    async fn check_left(&self, number: usize, token: &str) {
        while !self.over.load(Ordering::SeqCst) {
            let answered = self.answered.load(Ordering::SeqCst);
            let (list, _) = ask_until_answered(|| self.clients[number % 2].list("shop", token)).await;
            let begun = self.begun.load(Ordering::SeqCst);
            let list = list.json();
            let names = [&list["data"][0]["name"], &list["data"][1]["name"]];
            assert_eq!((names, &list["data"][1]["left"]), ([&"plenty".into(), &"few".into()], &0.into()), "{list}");
            let left = list["data"][0]["left"].as_u64().expect("a number");
            assert!((PLENTY - begun..=PLENTY - answered).contains(&left), "{left}; {begun} begun, {answered} answered");
        }
    }

    /// A holder of a sold-out coupon repeats the claim. The claim must not change.
    async fn repeat_claim(&self, number: usize, holder: &Customer, first: &str) {
        while !self.over.load(Ordering::SeqCst) {
            let (again, _) = ask_until_answered(|| self.clients[number % 2].claim("shop", "few", &holder.token)).await;
            assert_eq!((again.result(), again.header("Claim-Token")), ("already-claimed", first));
        }
    }

    async fn send_forged_token(&self, token: &str) {
        while !self.over.load(Ordering::SeqCst) {
            assert_eq!(self.clients[0].list("shop", token).await.status, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_refusals_and_lists_are_true_while_all_of_them_rush() {
    let mut app = TestApp::start_without_rates().await;
    app.start_another().await;
    let saler = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &saler, "few", u32::try_from(FEW).expect("few")).await;
    app.client().create_coupon("shop", &saler, "plenty", u32::try_from(PLENTY).expect("a u32")).await;
    let holders = customers(&app.stores, "holder", FEW).await;
    let mut firsts = Vec::new();
    for holder in &holders {
        let (first, _) = ask_until_answered(|| app.client().claim("shop", "few", &holder.token)).await;
        firsts.push(first.header("Claim-Token").to_owned());
    }
    let crowd = customers(&app.stores, "crowd", CROWD).await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];
    let (begun, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let rush = Rush { clients, begun, answered, over: AtomicBool::new(false) };

    let shopping = async {
        let all =
            stream::iter(crowd.iter().enumerate()).map(|(number, customer)| rush.claim_and_list(number, customer));
        all.buffer_unordered(LANES).collect::<Vec<_>>().await;
        rush.over.store(true, Ordering::SeqCst);
    };
    let looking = future::join_all((0..16).map(|number| rush.check_left(number, &crowd[number].token)));
    let holding = holders.iter().zip(&firsts).enumerate();
    let asking = future::join_all(holding.map(|(number, (holder, first))| rush.repeat_claim(number, holder, first)));
    let forged = format!("{}x", saler.trim_end_matches(char::is_alphanumeric));
    tokio::join!(shopping, looking, asking, rush.send_forged_token(&forged));

    app.settle().await;
    let (holds, output) = audit(&app.stores, &[]).await;
    assert!(holds && output.contains(&format!("{} claims in MySQL", CROWD + FEW)), "{output}");
}
