//! Hashes and verifies passwords with bounded concurrency, and caches verified passwords.
//!
//! Hashes run on blocking threads. Callers wait in bounded lines that take turns ([`HashLine`]), with a timeout.
//!
//! The cache holds keyed hashes of (stored form, password), so a copy of the memory reveals no password. A caller looks
//! into the cache again after waiting. Many simultaneous logins of a user therefore cost only a few hashes. Wrong
//! passwords are never cached: every guess costs a hash. A guess for an unknown user takes equally long.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::Error;

use super::mac::MacKey;
use super::stored_password::{self, StoredPassword};
use super::turns::{HashLine, NoTurn, Turn, Turns};
use crate::domain::Password;

#[derive(Debug, Clone, Copy)]
pub struct PasswordLimits {
    /// Most callers waiting for a hash.
    pub queue_max: usize,
    /// Longest wait of a caller.
    pub wait: Duration,
    /// Most cached passwords.
    pub verified_max: u64,
    /// Lifetime of a cached password, from the end of its hash.
    pub verified_age: Duration,
}

/// Why a password was neither hashed nor compared. No state has changed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("the queue for password hashes is full")]
    QueueFull,
    #[error("timeout while waiting for a password hash")]
    TooLate,
    /// The caller did not want the hash any more when the turn came.
    #[error("the password hash is not wanted any more")]
    Unwanted,
    /// The stored form is unknown, or the machine has no memory or no randomness left.
    #[error("the password hash could not be computed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    No,
    Yes,
    /// The password is right, but the stored form is imported, or of a text that was not normalized. The caller must store
    /// [`Passwords::hash`] of the password.
    YesRehash,
}

/// Who asks for a hash.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub line: HashLine,
    /// Asked when the turn comes. A hash that is not wanted any more is not computed.
    pub still_wants: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Caller<'_> {
    /// A command of this program, which wants every hash.
    pub const PROGRAM: Self = Self { line: HashLine::Program, still_wants: &|| true };
}

/// Hashes and verifies passwords for all workers of a process, on any tokio runtime.
pub struct Passwords {
    limits: PasswordLimits,
    turns: Arc<Turns>,
    verified: moka::sync::Cache<[u8; 16], ()>,
    /// Key of the cache, random at every start.
    key: MacKey,
    /// The stored form of a random password, compared with the passwords of unknown users.
    nobody: String,
    computed: Arc<AtomicU64>,
}

impl Passwords {
    /// Allows `parallel` concurrent hashes. Computes one hash at once, for unknown users.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub fn new(limits: PasswordLimits, parallel: NonZeroUsize) -> Result<Self, HashError> {
        let unknown = Password::parse(format!("{:032x}", rand::random::<u128>())).expect("32 bytes are a password");
        Ok(Self {
            limits,
            turns: Arc::new(Turns::new(parallel, limits.queue_max)),
            verified: moka::sync::Cache::builder()
                .max_capacity(limits.verified_max)
                .time_to_live(limits.verified_age)
                .build(),
            key: MacKey::new(&rand::random::<[u8; 32]>()),
            nobody: stored_password::hash(&unknown).map_err(failed)?,
            computed: Arc::default(),
        })
    }

    /// Computes the stored form of a new password.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn hash(&self, password: &Password, caller: Caller<'_>) -> Result<String, HashError> {
        let turn = self.turn(caller).await?;
        let password = password.clone();
        self.compute(turn, move || stored_password::hash(&password)).await
    }

    /// Computes the stored form from the MD5 of a password, in 32 hex digits. Any other text gives a form without a
    /// matching password.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn wrap_md5(&self, md5_hex: &str) -> Result<String, HashError> {
        let turn = self.turn(Caller::PROGRAM).await?;
        let md5_hex = md5_hex.to_owned();
        self.compute(turn, move || stored_password::wrap_md5(&md5_hex)).await
    }

    /// Compares `password` with `stored`, a value of `users.password_hash`.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn verify(&self, password: &Password, stored: &str, caller: Caller<'_>) -> Result<Verified, HashError> {
        let yes = match StoredPassword::parse(stored) {
            StoredPassword::Closed => {
                self.verify_nobody(password, caller).await?;
                return Ok(Verified::No);
            }
            StoredPassword::Argon2(_) => Verified::Yes,
            StoredPassword::Md5(_) => Verified::YesRehash,
        };
        if self.is_verified(password, stored) || self.compare(password, stored, caller).await? {
            return Ok(yes);
        }
        // Earlier releases have stored the text as typed.
        if let Some(typed) = password.as_typed()
            && (self.is_verified(&typed, stored) || self.compare(&typed, stored, caller).await?)
        {
            return Ok(Verified::YesRehash);
        }
        Ok(Verified::No)
    }

    /// Takes as long as [`Passwords::verify`] with a wrong password. For unknown users.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn verify_nobody(&self, password: &Password, caller: Caller<'_>) -> Result<(), HashError> {
        self.compare(password, &self.nobody, caller).await?;
        if let Some(typed) = password.as_typed() {
            self.compare(&typed, &self.nobody, caller).await?;
        }
        Ok(())
    }

    /// Hashes computed since the start.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Callers waiting for a hash now.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    async fn compare(&self, password: &Password, stored: &str, caller: Caller<'_>) -> Result<bool, HashError> {
        let turn = self.turn(caller).await?;
        if self.is_verified(password, stored) {
            return Ok(true);
        }
        let (verified, key) = (self.verified.clone(), self.verified_key(password, stored));
        let (password, stored) = (password.clone(), stored.to_owned());
        // The task fills the cache, so a hash is not wasted when the client disconnects.
        let compare = move || {
            let fits = match StoredPassword::parse(&stored) {
                StoredPassword::Closed => false,
                StoredPassword::Argon2(hash) => stored_password::fits(&password, hash)?,
                StoredPassword::Md5(hash) => stored_password::md5_fits(&password, hash)?,
            };
            if fits {
                verified.insert(key, ());
            }
            Ok(fits)
        };
        self.compute(turn, compare).await
    }

    /// Waits for a turn.
    async fn turn(&self, caller: Caller<'_>) -> Result<Turn, HashError> {
        let turn = self.turns.take(caller.line, self.limits.wait).await.map_err(|error| match error {
            NoTurn::Full => HashError::QueueFull,
            NoTurn::TooLate => HashError::TooLate,
        })?;
        if (caller.still_wants)() { Ok(turn) } else { Err(HashError::Unwanted) }
    }

    /// Computes on a blocking thread. If the caller disconnects, the computation continues and keeps the turn.
    async fn compute<T: Send + 'static>(
        &self,
        turn: Turn,
        computation: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, HashError> {
        let computed = self.computed.clone();
        let task = tokio::task::spawn_blocking(move || {
            let outcome = computation();
            computed.fetch_add(1, Ordering::Relaxed);
            drop(turn);
            outcome
        });
        task.await.map_err(|error| HashError::Failed(error.into()))?.map_err(failed)
    }

    fn is_verified(&self, password: &Password, stored: &str) -> bool {
        self.verified.get(&self.verified_key(password, stored)).is_some()
    }

    fn verified_key(&self, password: &Password, stored: &str) -> [u8; 16] {
        let tag = self.key.sign(&[stored.as_bytes(), &[0], password.as_bytes()]);
        *tag.first_chunk().expect("a tag has 32 bytes")
    }
}

fn failed(error: Error) -> HashError {
    HashError::Failed(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PasswordLimits = PasswordLimits {
        queue_max: 100,
        wait: Duration::from_secs(30),
        verified_max: 100,
        verified_age: Duration::from_secs(60),
    };

    const ALL: Caller<'_> = Caller::PROGRAM;

    fn passwords(limits: PasswordLimits) -> Passwords {
        Passwords::new(limits, NonZeroUsize::MIN).expect("a hash")
    }

    fn password(text: &str) -> Password {
        Password::parse(text.to_owned()).expect("a password")
    }

    #[tokio::test]
    async fn a_correct_password_is_hashed_once_and_then_recognised() {
        let passwords = passwords(LIMITS);
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        for _ in 0..3 {
            assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
            assert_eq!(passwords.computed(), 2);
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_never_remembered() {
        let passwords = passwords(LIMITS);
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
        for computed in 3..6 {
            assert_eq!(passwords.verify(&password("Secret"), &stored, ALL).await.ok(), Some(Verified::No));
            assert_eq!(passwords.computed(), computed);
        }
    }

    #[tokio::test]
    async fn a_password_remembered_for_one_stored_form_is_not_for_another() {
        let passwords = passwords(LIMITS);
        let first = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        let second = passwords.hash(&password("other"), ALL).await.expect("a hash");
        assert_eq!(passwords.verify(&password("secret"), &first, ALL).await.ok(), Some(Verified::Yes));
        assert_eq!(passwords.verify(&password("secret"), &second, ALL).await.ok(), Some(Verified::No));
    }

    #[tokio::test]
    async fn simultaneous_logins_of_one_user_share_a_hash() {
        let passwords = passwords(LIMITS);
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        let secret = password("secret");
        let logins = futures_util::future::join_all((0..50).map(|_| passwords.verify(&secret, &stored, ALL))).await;
        assert!(logins.iter().all(|login| matches!(login, Ok(Verified::Yes))));
        assert_eq!(passwords.computed(), 2);
    }

    #[tokio::test]
    async fn an_imported_password_asks_to_be_hashed_again_also_when_it_is_recognised() {
        let passwords = passwords(LIMITS);
        let stored = passwords.wrap_md5("5EBE2294ECD0E0F08EAB7690D2A6EE69").await.expect("a hash");
        assert!(stored.starts_with("md5:$argon2id$"));
        for _ in 0..2 {
            assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::YesRehash));
        }
        assert_eq!(passwords.computed(), 2);
        assert_eq!(passwords.verify(&password("Secret"), &stored, ALL).await.ok(), Some(Verified::No));
    }

    #[tokio::test]
    async fn a_hash_of_the_text_as_typed_fits_and_asks_to_be_hashed_again() {
        let passwords = passwords(LIMITS);
        let typed = password("cafe\u{301}").as_typed().expect("the text is not normalized");
        let stored = passwords.hash(&typed, ALL).await.expect("a hash");
        assert_eq!(passwords.verify(&password("cafe\u{301}"), &stored, ALL).await.ok(), Some(Verified::YesRehash));
        assert_eq!(passwords.verify(&password("caf\u{e9}"), &stored, ALL).await.ok(), Some(Verified::No));
        let stored = passwords.hash(&password("cafe\u{301}"), ALL).await.expect("a hash");
        for text in ["cafe\u{301}", "caf\u{e9}"] {
            assert_eq!(passwords.verify(&password(text), &stored, ALL).await.ok(), Some(Verified::Yes), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_takes_as_long_as_a_wrong_password_however_it_is_typed() {
        let passwords = passwords(LIMITS);
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        for text in ["wrong", "cafe\u{301}"] {
            let before = passwords.computed();
            assert_eq!(passwords.verify(&password(text), &stored, ALL).await.ok(), Some(Verified::No));
            let hashes = passwords.computed() - before;
            assert!(passwords.verify_nobody(&password(text), ALL).await.is_ok());
            assert_eq!(passwords.computed() - before, 2 * hashes, "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_and_a_user_who_cannot_log_in_cost_a_hash_each_time() {
        let passwords = passwords(LIMITS);
        for computed in [1, 3] {
            assert!(passwords.verify_nobody(&password("secret"), ALL).await.is_ok());
            assert_eq!(passwords.computed(), computed);
            assert_eq!(passwords.verify(&password("secret"), "", ALL).await.ok(), Some(Verified::No));
            assert_eq!(passwords.computed(), computed + 1);
        }
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_is_told_so_at_once() {
        let passwords = passwords(PasswordLimits { queue_max: 1, ..LIMITS });
        let turn = passwords.turn(ALL).await.expect("nobody else is here");
        let secret = password("secret");
        let mut waiting = std::pin::pin!(passwords.hash(&secret, ALL));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(passwords.waiting(), 1);
        assert!(matches!(passwords.hash(&secret, ALL).await, Err(HashError::QueueFull)));
        drop(turn);
        assert!(waiting.await.is_ok());
        assert_eq!(passwords.waiting(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_so_and_leaves_the_queue() {
        let passwords = passwords(PasswordLimits { wait: Duration::from_millis(1), ..LIMITS });
        let turn = passwords.turn(ALL).await.expect("nobody else is here");
        assert!(matches!(passwords.hash(&password("secret"), ALL).await, Err(HashError::TooLate)));
        assert_eq!(passwords.waiting(), 0);
        drop(turn);
        assert!(passwords.hash(&password("secret"), ALL).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_that_is_not_wanted_when_its_turn_comes_is_not_computed() {
        let passwords = passwords(LIMITS);
        let caller = Caller { line: HashLine::Program, still_wants: &|| false };
        let outcome = passwords.hash(&password("secret"), caller).await;
        assert!(matches!(outcome, Err(HashError::Unwanted)));
        assert_eq!(passwords.computed(), 0);
        assert!(passwords.hash(&password("secret"), ALL).await.is_ok(), "the turn is given back");
    }

    #[tokio::test]
    async fn a_recognised_password_needs_no_turn() {
        let passwords = passwords(PasswordLimits { queue_max: 0, ..LIMITS });
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
        let _turn = passwords.turn(ALL).await.expect("nobody else is here");
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
        assert!(matches!(passwords.verify(&password("other"), &stored, ALL).await, Err(HashError::QueueFull)));
    }

    #[tokio::test]
    async fn a_stored_form_that_is_none_of_ours_is_a_failure() {
        let outcome = passwords(LIMITS).verify(&password("secret"), "$2b$12$abc", ALL).await;
        assert!(matches!(outcome, Err(HashError::Failed(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_works_on_a_runtime_of_several_threads_too() {
        let passwords = Passwords::new(LIMITS, NonZeroUsize::new(2).expect("2")).expect("a hash");
        let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
    }
}
