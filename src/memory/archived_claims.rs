//! The claims of users in coupons that were ever archived. Redis lacks these claims, and customers' lists show them.
//!
//! Redis counts archivings. A script counts before it deletes claims, and a list reads the counter after the claims. So a
//! cached entry is complete for lists that read the same counter in the same loading of Redis. A claim of a coupon that
//! was archived and came back may be in both stores, and the list merges them. Most users have an empty entry, so a
//! list needs MySQL once a user and archiving, and never before the first archiving of the installation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::sync::Cache;

use super::few_reads::{FewReads, ReadCounts, ReadError, ReadLimits};
use crate::domain::{HeldClaim, UserId};
use crate::mysql::{Db, DbError, claim_rows};

/// Timeout of a read. The customer waits meanwhile.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Reads at the same time. Other users of the pool keep most of its connections.
const READS_MAX: usize = 4;
/// Callers that wait for a read.
const READERS_MAX: usize = 2_000;
/// Claims of a user. Older claims are not listed.
const CLAIMS_OF_USER_MAX: usize = 100_000;
/// Maximum size of the cache: 1 for each user, and 1 for each claim. About 200 bytes a user and 40 bytes a claim.
pub const LISTED_CLAIMS_MAX: u64 = 500_000;

/// A state of Redis: the value of `live`, and the number of archivings in this loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveMark {
    pub live: Arc<str>,
    pub archivings: u64,
}

impl ArchiveMark {
    /// The mark of a shard whose claims were read from MySQL.
    pub fn closed() -> Self {
        Self { live: "closed".into(), archivings: 0 }
    }

    /// The mark of two shards. Each counter only grows within a loading, so equal marks have equal counters.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let live = format!("{} {}", self.live, other.live).into();
        Self { live, archivings: self.archivings + other.archivings }
    }
}

pub struct ArchivedClaims {
    db: Db,
    known: Cache<UserId, KnownClaims>,
    /// The mark at which no coupon had ever been archived.
    never: ArcSwapOption<ArchiveMark>,
    /// A coupon was archived once. Stays true.
    has_archive: AtomicBool,
    reads: FewReads,
}

#[derive(Clone)]
struct KnownClaims {
    mark: Arc<ArchiveMark>,
    claims: Arc<[HeldClaim]>,
}

impl ArchivedClaims {
    pub fn new(db: Db) -> Self {
        let weight = |_: &UserId, known: &KnownClaims| u32::try_from(known.claims.len() + 1).unwrap_or(u32::MAX);
        let limits = ReadLimits { turns: READS_MAX, places: READERS_MAX, wait: READ_WAIT };
        Self {
            db,
            known: Cache::builder().max_capacity(LISTED_CLAIMS_MAX).weigher(weight).build(),
            never: ArcSwapOption::empty(),
            has_archive: AtomicBool::new(false),
            reads: FewReads::new("archived claims: reading", limits),
        }
    }

    /// As [`ArchivedClaims::read`], but `None` if the claims are not cached.
    pub fn known(&self, user: UserId, mark: &ArchiveMark) -> Option<Arc<[HeldClaim]>> {
        if self.never.load().as_deref() == Some(mark) {
            return Some(Arc::default());
        }
        self.known.get(&user).filter(|known| *known.mark == *mark).map(|known| known.claims)
    }

    /// Reads the user's stored claims of coupons that were ever archived, at most 100,000. `mark` was read from Redis
    /// after the user's claims in Redis.
    ///
    /// # Errors
    /// [`ReadError`] if MySQL did not answer in time.
    pub async fn read(&self, user: UserId, mark: ArchiveMark) -> Result<Arc<[HeldClaim]>, ReadError> {
        let mark = Arc::new(mark);
        let claims: Arc<[HeldClaim]> = self.reads.read(self.stored(user, &mark)).await?.into();
        if self.has_archive.load(Ordering::Relaxed) {
            self.known.insert(user, KnownClaims { mark, claims: Arc::clone(&claims) });
        }
        Ok(claims)
    }

    async fn stored(&self, user: UserId, mark: &Arc<ArchiveMark>) -> Result<Vec<HeldClaim>, DbError> {
        if !self.has_archive.load(Ordering::Relaxed) {
            if !claim_rows::any_in_archive(&self.db).await? {
                self.never.store(Some(Arc::clone(mark)));
                return Ok(Vec::new());
            }
            self.has_archive.store(true, Ordering::Relaxed);
        }
        claim_rows::of_holder_in_archive(&self.db, user, CLAIMS_OF_USER_MAX).await
    }

    /// The size of the cache, up to [`LISTED_CLAIMS_MAX`], and the reads so far.
    pub fn figures(&self) -> (u64, ReadCounts) {
        (self.known.weighted_size(), self.reads.counts())
    }
}
