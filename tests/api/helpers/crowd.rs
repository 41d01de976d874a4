//! Crowds of customers. They have tokens and no passwords, because a claim needs only a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use couponrush::auth::{ClaimProof, ClaimTokens, Secrets, UserTokens};
use couponrush::base::now_seconds;
use couponrush::domain::{Kind, User, UserName};
use couponrush::mysql::seed::{SeedUser, insert_users};
use tokio::task::JoinSet;

use super::{Answer, Client, SECRET, Stores};

/// A customer with a session token.
#[derive(Clone, Debug)]
pub struct Customer {
    pub user: User,
    pub token: String,
}

/// Creates `count` customers, with names that begin with `tag`.
pub async fn customers(stores: &Stores, tag: &str, count: usize) -> Vec<Customer> {
    let tokens = UserTokens::new(&secrets(), 3_600);
    let name = |n| UserName::parse(format!("{tag}-{n}")).expect("a test's tag is a name");
    let new: Vec<SeedUser> = (0..count).map(|n| SeedUser { name: name(n), kind: Kind::Customer }).collect();
    let mut customers = Vec::with_capacity(count);
    for batch in new.chunks(2_000) {
        for user in insert_users(&stores.db, batch, "").await.expect("MySQL stores the users") {
            let token = tokens.issue(&user, 0, now_seconds());
            customers.push(Customer { user, token });
        }
    }
    customers
}

/// The outcome of a customer's attempts.
#[derive(Debug)]
pub struct Got {
    /// The last answer. `None` if the connection broke.
    pub answer: Option<Answer>,
    /// Whether an earlier attempt may have been granted: its answer was `unknown-outcome`, or its connection broke.
    pub maybe_granted: bool,
}

impl Got {
    /// The `Claim-Result` of the last answer, else its error code, else `broken`.
    pub fn result(&self) -> String {
        match &self.answer {
            None => "broken".to_owned(),
            Some(answer) if answer.result().is_empty() => answer.error().2,
            Some(answer) => answer.result().to_owned(),
        }
    }

    /// Whether the customer was granted a unit, possibly by an attempt whose answer was lost.
    pub fn has_unit(&self) -> bool {
        let result = self.result();
        result == "claimed" || self.maybe_granted && result == "already-claimed"
    }
}

/// Lets every customer claim `name` of `saler`, over `connections` at a time, spread over `clients`. A customer without
/// an answer, or with a 503, asks again for up to `patience`. Returns the outcomes in the order of the customers.
pub async fn rush(
    clients: &[Client],
    customers: &[Customer],
    (saler, name): (&str, &str),
    connections: usize,
    patience: Duration,
) -> Vec<Got> {
    let next = Arc::new(AtomicUsize::new(0));
    let customers: Arc<[Customer]> = customers.into();
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let client = clients[connection % clients.len()].clone();
        let (next, customers) = (Arc::clone(&next), Arc::clone(&customers));
        let (saler, name) = (saler.to_owned(), name.to_owned());
        tasks.spawn(async move {
            let mut all = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(customer) = customers.get(n) else { return all };
                all.push((n, ask(&client, (&saler, &name), customer, patience).await));
            }
        });
    }
    let all: BTreeMap<usize, Got> = tasks.join_all().await.into_iter().flatten().collect();
    all.into_values().collect()
}

async fn ask(client: &Client, (saler, name): (&str, &str), customer: &Customer, patience: Duration) -> Got {
    let (started, mut maybe_granted) = (Instant::now(), false);
    loop {
        let answer = client.try_claim(saler, name, &customer.token).await;
        let answered = answer.as_ref().is_some_and(|answer| answer.status != 503);
        if answered || started.elapsed() >= patience {
            return Got { answer, maybe_granted };
        }
        maybe_granted |= answer.is_none_or(|answer| answer.error().2 == "unknown-outcome");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The claim proved by the `Claim-Token` of an answer.
pub fn proof(answer: &Answer) -> ClaimProof {
    let tokens = ClaimTokens::new(&secrets().for_claims());
    tokens.verify(answer.header("Claim-Token")).unwrap_or_else(|| panic!("no valid Claim-Token in {answer:?}"))
}

fn secrets() -> Secrets {
    Secrets::parse("the tests' secret", SECRET).expect("the secret is long enough")
}
