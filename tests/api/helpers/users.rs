//! Users without password hashes, created in batches.

use couponrush::app::signers;
use couponrush::base::now_seconds;
use couponrush::domain::{Kind, UserName};
use couponrush::mysql::seed::{SeedUser, insert_users};
use couponrush::mysql::users::find_by_name;

use super::TestApp;

/// Rows in a statement.
const BATCH: usize = 1_000;

impl TestApp {
    /// Creates users with the given names. Returns the session tokens in order. The users cannot log in.
    pub async fn users<T: AsRef<str>>(&self, names: &[T], kind: Kind) -> Vec<String> {
        let tokens = signers(&self.args.tokens).expect("the secret is long enough").sessions;
        let name = |name: &T| UserName::parse(name.as_ref().to_owned()).expect("a test gives good names");
        let mut made = Vec::new();
        for names in names.chunks(BATCH) {
            let batch: Vec<SeedUser> = names.iter().map(|text| SeedUser { name: name(text), kind }).collect();
            for user in insert_users(&self.stores.db, &batch, "").await.expect("the names are new") {
                made.push(tokens.issue(&user, 0, now_seconds()));
            }
        }
        made
    }

    /// Creates a user without a password and returns the session token.
    pub async fn user(&self, name: &str, kind: Kind) -> String {
        self.users(&[name], kind).await.remove(0)
    }

    /// A new session token of a user, whose earlier sessions may have ended.
    pub async fn token_of(&self, name: &str) -> String {
        let tokens = signers(&self.args.tokens).expect("the secret is long enough").sessions;
        let name = UserName::parse(name.to_owned()).expect("a test gives good names");
        let account = find_by_name(&self.stores.db, &name).await.expect("MySQL answers").expect("the user exists");
        tokens.issue(&account.user, account.token_generation, now_seconds())
    }

    /// Creates customers named `customer-0`, `customer-1` and further. Returns the session tokens.
    pub async fn customers(&self, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|n| format!("customer-{n}")).collect();
        self.users(&names, Kind::Customer).await
    }
}
