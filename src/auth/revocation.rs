//! Logout and change of password: tokens that stop counting before they expire, on every instance.
//!
//! MySQL has the truth; each instance keeps a copy in memory, which answers for every request. A revocation is written
//! to MySQL, then to memory, then answered; the other instances read what is new twice a second. While MySQL is away
//! nothing can be revoked, and what is known stays in force. Redis has no part in it.
//!
//! Bounded by users: a user with many single revocations gets a new generation instead, which ends all of his tokens.
//! And bounded as a whole: a revocation too many is refused, and none is ever forgotten before the token has expired.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::revoked::{Revocation, RevokedTokens};
use super::session::Session;
use crate::base::{Outage, every};
use crate::db::revoked_tokens::{self, ReadPoint, RevokedToken};
use crate::db::{Db, DbError, users};
use crate::domain::UserId;
use crate::now_seconds;

/// Single revocations of a user; the next one ends all of his tokens.
const TOKENS_OF_USER_MAX: usize = 32;
/// Half of the second in which every instance must know.
const REFRESH_EVERY: Duration = Duration::from_millis(500);
const REFRESHES_PER_CLEANING: u32 = 120;
const READ_ROWS_MAX: u32 = 10_000;
const DELETE_ROWS_MAX: u32 = 1_000;
const DELETES_PER_CLEANING: u32 = 100;
/// How far the clocks of instances may differ: a revocation is kept for so much longer than its token.
const CLOCKS_DIFFER_SECONDS: u64 = 300;

/// Bounds of revocations.
#[derive(Debug, Clone, Copy)]
pub struct RevocationLimits {
    /// Revocations that have not expired, of all users.
    pub revoked_max: usize,
    /// How long a token lasts.
    pub token_seconds: u64,
}

/// Why a token was not revoked or a password not changed.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Too many are revoked already: nothing has happened.
    #[error("too many tokens are revoked already")]
    Overloaded,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The revoked tokens, as this instance knows them.
pub struct Revocations {
    db: Db,
    limits: RevocationLimits,
    revoked: RwLock<RevokedTokens>,
    /// Of `revoked`: most of the time it is 0, and no request takes the lock. Written while the lock is held for
    /// writing.
    count: AtomicUsize,
    /// Where the next read of MySQL begins.
    read_to: Mutex<ReadPoint>,
    /// Whether the last read failed: an outage is logged when it begins and when it ends.
    outage: Outage,
}

impl Revocations {
    /// Knows of no revocation until [`Revocations::load`].
    pub fn new(db: Db, limits: RevocationLimits) -> Self {
        Self {
            db,
            limits,
            revoked: RwLock::default(),
            count: AtomicUsize::new(0),
            read_to: Mutex::new(ReadPoint::first()),
            outage: Outage::new("revocations: reading"),
        }
    }

    /// Whether the token of `session` no longer counts.
    pub fn is_revoked(&self, session: &Session) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.known().contains(session)
    }

    /// Revocations that have not expired.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Ends the token of `session`; too many single ones of a user end all of his tokens.
    ///
    /// # Errors
    /// [`RevokeError`]; after an error of the database that leaves the outcome open, asking again is safe.
    pub async fn revoke(&self, session: &Session, now_seconds: u64) -> Result<(), RevokeError> {
        if self.is_revoked(session) {
            return Ok(());
        }
        let user = session.user.id;
        let tokens = self.known().tokens_of(user);
        if tokens >= TOKENS_OF_USER_MAX && self.revoke_all(user, now_seconds).await? {
            return Ok(());
        }
        self.check_room()?;
        let (id, expires_at) = (session.token_id, session.expires_at);
        revoked_tokens::insert(&self.db, user, &id.to_string(), expires_at).await?;
        self.add(&[Revocation::Token { user, id, expires_at }]);
        Ok(())
    }

    /// Sets the hash of a user's password and ends all of his tokens, both or neither; `false` where there is no such
    /// user.
    ///
    /// # Errors
    /// [`RevokeError`]; after an error of the database that leaves the outcome open, the old password or the new one
    /// holds.
    pub async fn change_password(&self, user: UserId, hash: &str, now_seconds: u64) -> Result<bool, RevokeError> {
        self.check_room()?;
        let expires_at = self.last_expiry(now_seconds);
        let generation = users::set_hash(&self.db, user, hash, expires_at).await?;
        Ok(self.add_below(user, generation, expires_at))
    }

    /// Reads every revocation there is: a start must not serve a request before.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn load(&self, now_seconds: u64) -> Result<(), DbError> {
        let since = self.read_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read_to = revoked_tokens::read_point(&self.db).await?;
        let mut after: Option<RevokedToken> = None;
        loop {
            let rows = revoked_tokens::find_since(&self.db, &since, after.as_ref(), READ_ROWS_MAX).await?;
            self.add_new(&rows, now_seconds);
            if rows.len() < READ_ROWS_MAX as usize {
                break;
            }
            after = rows.into_iter().next_back();
        }
        *self.read_to.lock().unwrap_or_else(PoisonError::into_inner) = read_to;
        Ok(())
    }

    /// Reads the revocations of other instances since the last read. An outage of any length misses none of them.
    pub async fn refresh(&self, now_seconds: u64) {
        self.outage.note(self.load(now_seconds).await);
    }

    /// Forgets what has expired, here and, in bounded batches, in MySQL.
    ///
    /// # Errors
    /// [`DbError`]; what is left goes the next time.
    pub async fn clean(&self, now_seconds: u64) -> Result<(), DbError> {
        let before = now_seconds.saturating_sub(CLOCKS_DIFFER_SECONDS);
        self.change(|revoked| revoked.forget_expired(before));
        for _ in 0..DELETES_PER_CLEANING {
            let rows = revoked_tokens::delete_expired(&self.db, before, DELETE_ROWS_MAX).await?;
            if rows < DELETE_ROWS_MAX as usize {
                break;
            }
        }
        Ok(())
    }

    /// Refreshes twice a second and cleans once a minute until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let refreshes = AtomicU32::new(0);
        every(REFRESH_EVERY, &stop, || async {
            self.refresh(now_seconds()).await;
            let count = 1 + refreshes.fetch_add(1, Ordering::Relaxed);
            if count % REFRESHES_PER_CLEANING == 0
                && let Err(error) = self.clean(now_seconds()).await
            {
                log::debug!("expired revoked tokens were not deleted: {error}");
            }
        })
        .await;
    }

    /// `false` where there is no such user.
    async fn revoke_all(&self, user: UserId, now_seconds: u64) -> Result<bool, DbError> {
        let expires_at = self.last_expiry(now_seconds);
        let generation = revoked_tokens::revoke_all(&self.db, user, expires_at).await?;
        Ok(self.add_below(user, generation, expires_at))
    }

    fn add_below(&self, user: UserId, generation: Option<u32>, expires_at: u64) -> bool {
        let below = generation.map(|generation| Revocation::Below { user, generation, expires_at });
        self.add(below.as_slice());
        below.is_some()
    }

    /// When the last token that was issued up to now ends.
    fn last_expiry(&self, now_seconds: u64) -> u64 {
        now_seconds.saturating_add(self.limits.token_seconds)
    }

    fn check_room(&self) -> Result<(), RevokeError> {
        if self.count() < self.limits.revoked_max { Ok(()) } else { Err(RevokeError::Overloaded) }
    }

    /// Adds rows that were read. Most are known already, and requests are not held up for those. No bound here: what
    /// another instance has answered for must not be forgotten, and it keeps to the same bound.
    fn add_new(&self, rows: &[RevokedToken], now_seconds: u64) {
        let expired = now_seconds.saturating_sub(CLOCKS_DIFFER_SECONDS);
        let rows = rows.iter().filter(|row| row.expires_at > expired).filter_map(Revocation::parse);
        let new: Vec<Revocation> = {
            let known = self.known();
            rows.filter(|revocation| !known.knows(revocation)).collect()
        };
        self.add(&new);
    }

    fn add(&self, revocations: &[Revocation]) {
        if !revocations.is_empty() {
            self.change(|revoked| revocations.iter().for_each(|revocation| revoked.add(revocation)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut RevokedTokens)) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut revoked);
        self.count.store(revoked.count(), Ordering::Release);
    }

    /// A lock that a panic has poisoned is used all the same: every single change leaves the set right.
    fn known(&self) -> RwLockReadGuard<'_, RevokedTokens> {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner)
    }
}
