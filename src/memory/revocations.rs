//! Revocation of session tokens before their expiry, on every instance, after a logout or a change of password.
//!
//! A revocation goes to MySQL, then to memory, then the user gets the answer. Every instance reads news twice a second.
//! While MySQL is away, revoking fails and known revocations stay in force. Redis is not involved.
//!
//! Above the limit of single revocations per user, or in total, a new generation ends all earlier tokens of the user. So
//! logouts of many users cannot keep others from logging out. Generations have a total of their own, above which a revocation
//! is refused. No revocation is dropped before its token expires.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::revoked_tokens::{Revocation, RevocationCounts, RevokedTokens};
use crate::auth::Session;
use crate::base::{Outage, every, now_seconds};
use crate::domain::{User, UserId, UserName};
use crate::mysql::erasing::{self, Erasing};
use crate::mysql::revoked_tokens::{self, ReadPoint, RevokedToken};
use crate::mysql::{Db, DbError, DbPools, second_factors, staff, users};

/// Maximum single revocations of a user. The next revocation ends all tokens of the user.
const TOKENS_OF_USER_MAX: usize = 32;
/// Half a second, because every instance must learn of a revocation within a second.
const REFRESH_EVERY: Duration = Duration::from_millis(500);
const REFRESHES_PER_CLEANING: u32 = 120;
const READ_ROWS_MAX: u32 = 10_000;
const DELETE_ROWS_MAX: u32 = 1_000;
const DELETES_PER_CLEANING: u32 = 100;
/// Allowed clock difference between instances. A revocation outlives its token by this time.
const CLOCKS_DIFFER_SECONDS: u64 = 300;

#[derive(Debug, Clone, Copy)]
pub struct RevocationLimits {
    /// Maximum unexpired revocations of single tokens.
    pub tokens_max: usize,
    /// Maximum users whose earlier tokens are revoked.
    pub generations_max: usize,
    /// Longest lifetime of a token in seconds that can be configured. A generation is kept for as long, so a lifetime that is
    /// raised later brings no token back.
    pub token_seconds_max: u64,
}

/// Why a token was not revoked or a password not changed.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The limit of revocations is reached. No state has changed.
    #[error("the limit of revoked tokens is reached")]
    Overloaded,
    #[error(transparent)]
    Db(#[from] DbError),
}

pub struct Revocations {
    dbs: DbPools,
    limits: RevocationLimits,
    revoked: RwLock<RevokedTokens>,
    /// Whether something is revoked. Usually not, so requests skip the lock. Written only under the write lock.
    any: AtomicBool,
    /// Where the next read of MySQL starts.
    read_to: Mutex<ReadPoint>,
    outage: Outage,
}

impl Revocations {
    /// Empty until [`Revocations::load`].
    pub fn new(dbs: DbPools, limits: RevocationLimits) -> Self {
        Self {
            dbs,
            limits,
            revoked: RwLock::default(),
            any: AtomicBool::new(false),
            read_to: Mutex::new(ReadPoint::first()),
            outage: Outage::new("revocations: reading"),
        }
    }

    pub fn is_revoked(&self, session: &Session) -> bool {
        self.any.load(Ordering::Acquire) && self.known().contains(session)
    }

    pub fn counts(&self) -> RevocationCounts {
        self.known().counts()
    }

    /// Revokes the token of `session`. If the user or all users have too many single revocations, revokes all tokens of the
    /// user.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, a retry is safe.
    pub async fn revoke(&self, session: &Session, now_seconds: u64) -> Result<(), RevokeError> {
        if self.is_revoked(session) {
            return Ok(());
        }
        let (user, db) = (session.user.id, self.dbs.of(session.user.kind));
        let (of_user, tokens) = {
            let known = self.known();
            (known.tokens_of(user), known.counts().tokens)
        };
        if (of_user >= TOKENS_OF_USER_MAX || tokens >= self.limits.tokens_max)
            && self.revoke_all(db, user, now_seconds).await?
        {
            return Ok(());
        }
        let (id, expires_at) = (session.token_id, session.expires_at);
        revoked_tokens::insert(db, user, &id.to_string(), expires_at).await?;
        self.add(&[Revocation::Token { user, id, expires_at }]);
        Ok(())
    }

    /// Ends all sessions of a user, and of the staff of a saler. Returns `false` if the user does not exist.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, a retry is safe.
    pub async fn end_sessions(&self, user: UserId, now_seconds: u64) -> Result<bool, RevokeError> {
        for staff in staff::ids_of(&self.dbs.control, user).await? {
            self.revoke_all(&self.dbs.control, staff, now_seconds).await?;
        }
        self.revoke_all(&self.dbs.control, user, now_seconds).await
    }

    /// Ends all sessions of all users, also of the caller. Tokens of this second are among them, so the answer must wait until
    /// the second is over.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, a retry is safe.
    pub async fn end_all_sessions(&self, now_seconds: u64) -> Result<(), RevokeError> {
        let issued_before = u32::try_from(now_seconds + 1).unwrap_or(u32::MAX);
        revoked_tokens::revoke_everybody(&self.dbs.control, issued_before, self.last_expiry(now_seconds)).await?;
        self.add(&[Revocation::Everybody { issued_before: issued_before.into() }]);
        Ok(())
    }

    /// Atomically replaces the password hash `from` by `to` and revokes all tokens of a user. Returns `false` if another hash
    /// is stored, or if the user does not exist.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, the old or the new password is in force.
    pub async fn change_password(
        &self,
        user: &User,
        from: &str,
        to: &str,
        now_seconds: u64,
    ) -> Result<bool, RevokeError> {
        self.check_room(user.id)?;
        let expires_at = self.last_expiry(now_seconds);
        let generation = users::set_hash(self.dbs.of(user.kind), user.id, Some(from), to, expires_at).await?;
        Ok(self.add_below(user.id, generation, expires_at))
    }

    /// Erases a user whose stored password hash is `from`, and ends all sessions of the user.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, the user may be erased.
    pub async fn erase(&self, user: &User, from: &str, now_seconds: u64) -> Result<Erasing, RevokeError> {
        self.check_room(user.id)?;
        let expires_at = self.last_expiry(now_seconds);
        let erasing = erasing::erase(self.dbs.of(user.kind), user, from, expires_at, now_seconds).await?;
        if let Erasing::Done { generation } = erasing {
            self.add_below(user.id, Some(generation), expires_at);
        }
        Ok(erasing)
    }

    /// Ends staff of `saler`, with password, rights and all tokens. Returns `false` if the saler has no such staff.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, a retry is safe.
    pub async fn end_staff(&self, saler: UserId, name: &UserName, now_seconds: u64) -> Result<bool, RevokeError> {
        let expires_at = self.last_expiry(now_seconds);
        let Some((user, generation)) = staff::end(&self.dbs.users, saler, name, expires_at).await? else {
            return Ok(false);
        };
        Ok(self.add_below(user, generation, expires_at))
    }

    /// Atomically puts the second factor `pending` into force and revokes all tokens of a user, because they were issued without
    /// a code. Returns the generation of the user's future tokens, or `None` if `pending` is not pending any more.
    ///
    /// # Errors
    /// [`RevokeError`]. After a database error with unknown outcome, the second factor may be in force.
    pub async fn confirm_factor(
        &self,
        user: &User,
        pending: &[u8],
        step: u64,
        code_hashes: &[[u8; 32]],
        now_seconds: u64,
    ) -> Result<Option<u32>, RevokeError> {
        self.check_room(user.id)?;
        let (db, expires_at) = (self.dbs.of(user.kind), self.last_expiry(now_seconds));
        let generation = second_factors::confirm(db, user.id, pending, step, code_hashes, expires_at).await?;
        self.add_below(user.id, generation, expires_at);
        Ok(generation)
    }

    /// Reads all revocations since the last read. Must succeed before the instance serves requests.
    ///
    /// # Errors
    /// [`DbError`]. The revocations in memory stay.
    pub async fn load(&self, now_seconds: u64) -> Result<(), DbError> {
        let since = self.read_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read_to = revoked_tokens::read_point(&self.dbs.control).await?;
        let mut after: Option<RevokedToken> = None;
        loop {
            let rows = revoked_tokens::find_since(&self.dbs.control, &since, after.as_ref(), READ_ROWS_MAX).await?;
            self.add_new(&rows, now_seconds);
            if rows.len() < READ_ROWS_MAX as usize {
                break;
            }
            after = rows.into_iter().next_back();
        }
        *self.read_to.lock().unwrap_or_else(PoisonError::into_inner) = read_to;
        Ok(())
    }

    /// Reads the revocations of other instances since the last read. An outage of any length loses none.
    pub async fn refresh(&self, now_seconds: u64) {
        self.outage.note(self.load(now_seconds).await);
    }

    /// Drops expired revocations from memory, and from MySQL in bounded batches.
    ///
    /// # Errors
    /// [`DbError`]. The rest is deleted at the next cleaning.
    pub async fn clean(&self, now_seconds: u64) -> Result<(), DbError> {
        let before = now_seconds.saturating_sub(CLOCKS_DIFFER_SECONDS);
        self.change(|revoked| revoked.forget_expired(before));
        for _ in 0..DELETES_PER_CLEANING {
            let rows = revoked_tokens::delete_expired(&self.dbs.control, before, DELETE_ROWS_MAX).await?;
            if rows < DELETE_ROWS_MAX as usize {
                break;
            }
        }
        Ok(())
    }

    /// Reads twice a second and cleans once a minute until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let refreshes = AtomicU32::new(0);
        every(REFRESH_EVERY, &stop, || async {
            self.refresh(now_seconds()).await;
            let count = 1 + refreshes.fetch_add(1, Ordering::Relaxed);
            if count.is_multiple_of(REFRESHES_PER_CLEANING)
                && let Err(error) = self.clean(now_seconds()).await
            {
                log::debug!("revocations: deleting expired rows failed: {error}");
            }
        })
        .await;
    }

    /// Returns `false` if the user does not exist.
    async fn revoke_all(&self, db: &Db, user: UserId, now_seconds: u64) -> Result<bool, RevokeError> {
        self.check_room(user)?;
        let expires_at = self.last_expiry(now_seconds);
        let generation = revoked_tokens::revoke_all(db, user, expires_at).await?;
        Ok(self.add_below(user, generation, expires_at))
    }

    fn add_below(&self, user: UserId, generation: Option<u32>, expires_at: u64) -> bool {
        let below = generation.map(|generation| Revocation::Below { user, generation, expires_at });
        self.add(below.as_slice());
        below.is_some()
    }

    /// Latest expiry of a token issued up to now, in seconds since 1970.
    fn last_expiry(&self, now_seconds: u64) -> u64 {
        now_seconds.saturating_add(self.limits.token_seconds_max)
    }

    fn check_room(&self, user: UserId) -> Result<(), RevokeError> {
        let known = self.known();
        let has_room = known.counts().generations < self.limits.generations_max || known.has_generation(user);
        if has_room { Ok(()) } else { Err(RevokeError::Overloaded) }
    }

    /// Adds rows read from MySQL. Most are known already, so known rows are filtered under the read lock. The limit is
    /// not checked here. The answering instance checked the same limit, and its revocation must not be dropped.
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
        self.any.store(!revoked.is_empty(), Ordering::Release);
    }

    /// A poisoned lock is used anyway: every single change leaves the set consistent.
    fn known(&self) -> RwLockReadGuard<'_, RevokedTokens> {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner)
    }
}
