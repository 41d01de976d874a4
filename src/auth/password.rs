//! Hashes and verifies passwords with bounded concurrency, and caches verified passwords.
//!
//! Hashes run on blocking threads. Callers wait in bounded lines that take turns ([`HashLine`]), with a timeout.
//!
//! The cache holds keyed hashes of (stored form, password), so a copy of the memory reveals no password. Wrong passwords are
//! never cached. A guess for an unknown user takes as long as one for a user. Callers with the same name and password share a
//! place in line and a hash, right or wrong ([`SharedQuestions`]).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::password_hash::Error;

use super::mac::MacKey;
use super::same_question::SharedQuestions;
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
    /// The name whose password is hashed or compared. Few callers of a line may wait for the same name.
    pub name: &'a str,
    /// Asked when the turn comes. A hash that is not wanted any more is not computed.
    pub still_wants: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Caller<'_> {
    /// A command of this program, which wants every hash.
    pub const PROGRAM: Self = Self { line: HashLine::Program, name: "", still_wants: &|| true };
}

/// Hashes and verifies passwords for all workers of a process, on any tokio runtime.
pub struct Passwords {
    limits: PasswordLimits,
    turns: Arc<Turns>,
    questions: SharedQuestions,
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
            questions: SharedQuestions::new(limits.queue_max),
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
        let turn = self.turn(caller, self.limits.wait).await?;
        let password = password.clone();
        self.compute(turn, move || stored_password::hash(&password)).await
    }

    /// Computes the stored form from the MD5 of a password, in 32 hex digits. Any other text gives a form without a
    /// matching password.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn wrap_md5(&self, md5_hex: &str) -> Result<String, HashError> {
        let turn = self.turn(Caller::PROGRAM, self.limits.wait).await?;
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

    /// Callers waiting for a hash now, also for one that they share.
    pub fn waiting(&self) -> usize {
        self.turns.waiting() + self.questions.sharing()
    }

    /// Compares, or waits for another caller with the same name, password and stored form. If that caller leaves without an
    /// answer, the next one compares.
    async fn compare(&self, password: &Password, stored: &str, caller: Caller<'_>) -> Result<bool, HashError> {
        let wait = self.limits.wait;
        let key = self.keyed_hash(&[caller.name, stored], password);
        // A crowd beyond the limit of sharing callers waits in its own lines.
        let Some(question) = self.questions.join(key) else {
            return self.compare_alone(password, stored, caller, wait).await;
        };
        let began = Instant::now();
        let answer = tokio::time::timeout(wait, question.answer.lock()).await;
        let mut answer = answer.map_err(|_| HashError::TooLate)?;
        if let Some(fits) = *answer {
            return if (caller.still_wants)() { Ok(fits) } else { Err(HashError::Unwanted) };
        }
        let fits = self.compare_alone(password, stored, caller, wait.saturating_sub(began.elapsed())).await?;
        *answer = Some(fits);
        Ok(fits)
    }

    async fn compare_alone(
        &self,
        password: &Password,
        stored: &str,
        caller: Caller<'_>,
        wait: Duration,
    ) -> Result<bool, HashError> {
        let turn = self.turn(caller, wait).await?;
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
    async fn turn(&self, caller: Caller<'_>, wait: Duration) -> Result<Turn, HashError> {
        let turn = self.turns.take(caller.line, caller.name, wait).await.map_err(|error| match error {
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
        self.keyed_hash(&[stored], password)
    }

    /// A hash of texts and a password. The texts contain no 0 byte.
    fn keyed_hash(&self, texts: &[&str], password: &Password) -> [u8; 16] {
        let mut parts: Vec<&[u8]> = texts.iter().flat_map(|text| [text.as_bytes(), &[0]]).collect();
        parts.push(password.as_bytes());
        *self.key.sign(&parts).first_chunk().expect("a tag has 32 bytes")
    }
}

fn failed(error: Error) -> HashError {
    HashError::Failed(error.into())
}

#[cfg(test)]
mod tests;
