//! Revoked, unexpired session tokens in memory. Every request is checked against the set.

use std::collections::HashMap;

use crate::auth::{Session, TokenId};
use crate::domain::UserId;
use crate::mysql::revoked_tokens::{self, RevokedToken};

/// The tokens ended by a revocation. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A single token.
    Token { user: UserId, id: TokenId, expires_at: u64 },
    /// All tokens of the user below this generation. The last one expires at `expires_at`.
    Below { user: UserId, generation: u32, expires_at: u64 },
    /// All tokens of all users that were issued before this second since 1970.
    Everybody { issued_before: u64 },
}

/// The set of revocations. A user's tokens below a revoked generation are not listed singly.
#[derive(Default)]
pub(super) struct RevokedTokens {
    users: HashMap<UserId, OfUser>,
    /// Tokens issued before this second are revoked. 0 means none.
    issued_before: u64,
    counts: RevocationCounts,
}

/// Numbers of revocations in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RevocationCounts {
    /// Single tokens.
    pub tokens: usize,
    /// Users with a revoked generation.
    pub generations: usize,
}

impl RevocationCounts {
    pub const fn all(self) -> usize {
        self.tokens + self.generations
    }
}

#[derive(Default)]
struct OfUser {
    /// Tokens below this generation are revoked. 0 means none.
    below_generation: u32,
    below_expires_at: u64,
    tokens: Vec<(TokenId, u64)>,
}

impl Revocation {
    /// Returns `None` for a row with an invalid token id, because no such token exists.
    pub(super) fn parse(row: &RevokedToken) -> Option<Self> {
        let (user, expires_at) = (UserId(row.user_id), row.expires_at);
        if user == revoked_tokens::EVERYBODY {
            return Some(Self::Everybody { issued_before: row.generation.into() });
        }
        if row.jti.is_empty() {
            return Some(Self::Below { user, generation: row.generation, expires_at });
        }
        Some(Self::Token { user, id: row.jti.parse().ok()?, expires_at })
    }
}

impl RevokedTokens {
    pub(super) fn contains(&self, session: &Session) -> bool {
        session.issued_at < self.issued_before
            || self.users.get(&session.user.id).is_some_and(|of_user| of_user.ends(session.token_id))
    }

    /// Whether adding `revocation` would change nothing.
    pub(super) fn knows(&self, revocation: &Revocation) -> bool {
        match *revocation {
            Revocation::Token { user, id, .. } => self.users.get(&user).is_some_and(|of_user| of_user.ends(id)),
            Revocation::Below { user, generation, expires_at } => self.users.get(&user).is_some_and(|of_user| {
                generation <= of_user.below_generation && expires_at <= of_user.below_expires_at
            }),
            Revocation::Everybody { issued_before } => issued_before <= self.issued_before,
        }
    }

    /// Number of single revocations of `user`.
    pub(super) fn tokens_of(&self, user: UserId) -> usize {
        self.users.get(&user).map_or(0, |of_user| of_user.tokens.len())
    }

    /// Whether earlier tokens of `user` are revoked.
    pub(super) fn has_generation(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|of_user| of_user.below_generation > 0)
    }

    pub(super) const fn counts(&self) -> RevocationCounts {
        self.counts
    }

    /// Whether nothing is revoked.
    pub(super) const fn is_empty(&self) -> bool {
        self.counts.all() == 0 && self.issued_before == 0
    }

    pub(super) fn add(&mut self, revocation: &Revocation) {
        match *revocation {
            Revocation::Token { user, id, expires_at } => self.change(user, |of_user| of_user.add(id, expires_at)),
            Revocation::Below { user, generation, expires_at } => {
                self.change(user, |of_user| of_user.raise(generation, expires_at));
            }
            // Kept for ever, because a single number costs nothing.
            Revocation::Everybody { issued_before } => self.issued_before = self.issued_before.max(issued_before),
        }
    }

    fn change(&mut self, user: UserId, change: impl FnOnce(&mut OfUser)) {
        let of_user = self.users.entry(user).or_default();
        let before = of_user.counts();
        change(of_user);
        let after = of_user.counts();
        self.counts.tokens = self.counts.tokens - before.tokens + after.tokens;
        self.counts.generations = self.counts.generations - before.generations + after.generations;
    }

    /// Drops revocations of tokens that have expired by `now_seconds` (seconds since 1970).
    pub(super) fn forget_expired(&mut self, now_seconds: u64) {
        let mut counts = RevocationCounts::default();
        self.users.retain(|_, of_user| {
            of_user.forget_expired(now_seconds);
            let of_user = of_user.counts();
            counts.tokens += of_user.tokens;
            counts.generations += of_user.generations;
            of_user.all() > 0
        });
        self.users.shrink_to(self.users.len() * 2);
        self.counts = counts;
    }
}

impl OfUser {
    fn ends(&self, token: TokenId) -> bool {
        token.generation < self.below_generation || self.tokens.iter().any(|(id, _)| *id == token)
    }

    fn counts(&self) -> RevocationCounts {
        RevocationCounts { tokens: self.tokens.len(), generations: usize::from(self.below_generation > 0) }
    }

    fn add(&mut self, id: TokenId, expires_at: u64) {
        if !self.ends(id) {
            // Nearly every user has a single token. Room for four would double the total memory.
            self.tokens.reserve_exact(1);
            self.tokens.push((id, expires_at));
        }
    }

    fn raise(&mut self, generation: u32, expires_at: u64) {
        self.below_generation = self.below_generation.max(generation);
        self.below_expires_at = self.below_expires_at.max(expires_at);
        self.tokens.retain(|(id, _)| id.generation >= self.below_generation);
        self.tokens.shrink_to_fit();
    }

    fn forget_expired(&mut self, now_seconds: u64) {
        self.tokens.retain(|(_, expires_at)| *expires_at > now_seconds);
        if self.below_expires_at <= now_seconds {
            self.below_generation = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Kind, User, UserName};

    const USER: UserId = UserId(7);

    fn session(user: UserId, generation: u32) -> Session {
        let name = UserName::parse("alice".to_owned()).expect("a name");
        let user = User { id: user, name, kind: Kind::Customer };
        Session { user, mandate: None, token_id: TokenId::random(generation), issued_at: 50, expires_at: 100 }
    }

    fn token(session: &Session) -> Revocation {
        Revocation::Token { user: session.user.id, id: session.token_id, expires_at: session.expires_at }
    }

    fn below(generation: u32, expires_at: u64) -> Revocation {
        Revocation::Below { user: USER, generation, expires_at }
    }

    #[test]
    fn a_revoked_token_is_revoked_and_no_other_is() {
        let mut revoked = RevokedTokens::default();
        let ended = session(USER, 3);
        assert!(!revoked.contains(&ended) && !revoked.knows(&token(&ended)));
        revoked.add(&token(&ended));
        revoked.add(&token(&ended));
        assert!(revoked.contains(&ended) && revoked.knows(&token(&ended)));
        assert!(!revoked.contains(&session(USER, 3)));
        assert!(!revoked.contains(&Session { user: session(UserId(8), 0).user, ..ended }));
        assert_eq!((revoked.counts().all(), revoked.tokens_of(USER)), (1, 1));
    }

    #[test]
    fn a_generation_ends_the_tokens_below_it_and_replaces_their_single_revocations() {
        let mut revoked = RevokedTokens::default();
        let (old, new) = (session(USER, 2), session(USER, 3));
        revoked.add(&token(&old));
        revoked.add(&token(&new));
        revoked.add(&below(3, 100));
        assert_eq!((revoked.counts().all(), revoked.tokens_of(USER)), (2, 1));
        assert!(revoked.contains(&old) && revoked.contains(&new));
        assert!(revoked.contains(&session(USER, 2)) && !revoked.contains(&session(USER, 3)));
        revoked.add(&token(&session(USER, 2)));
        assert_eq!(revoked.counts().all(), 2);
    }

    #[test]
    fn rows_that_arrive_out_of_order_never_let_a_token_count_again() {
        let mut revoked = RevokedTokens::default();
        revoked.add(&below(3, 100));
        assert!(revoked.knows(&below(2, 90)) && !revoked.knows(&below(2, 101)) && !revoked.knows(&below(4, 100)));
        revoked.add(&below(2, 101));
        assert!(revoked.contains(&session(USER, 2)));
        revoked.forget_expired(100);
        assert!(revoked.contains(&session(USER, 2)));
    }

    #[test]
    fn what_has_expired_is_forgotten_and_nothing_else() {
        let mut revoked = RevokedTokens::default();
        let (short, long) = (session(USER, 5), Session { expires_at: 200, ..session(USER, 5) });
        for revocation in [token(&short), token(&long), below(5, 150), token(&session(UserId(8), 0))] {
            revoked.add(&revocation);
        }
        revoked.forget_expired(99);
        assert_eq!(revoked.counts().all(), 4);
        revoked.forget_expired(100);
        assert_eq!((revoked.counts().all(), revoked.users.len()), (2, 1));
        assert!(!revoked.contains(&short) && revoked.contains(&long) && revoked.contains(&session(USER, 4)));
        revoked.forget_expired(150);
        assert!(revoked.contains(&long) && !revoked.contains(&session(USER, 4)));
        revoked.forget_expired(200);
        assert_eq!((revoked.counts().all(), revoked.users.len()), (0, 0));
    }

    #[test]
    fn a_row_reads_as_what_it_ends() {
        let id = TokenId::random(3);
        let row = RevokedToken { user_id: 7, jti: id.to_string(), generation: 0, expires_at: 9 };
        assert_eq!(Revocation::parse(&row), Some(Revocation::Token { user: USER, id, expires_at: 9 }));
        let all = RevokedToken { jti: String::new(), generation: 4, ..row.clone() };
        assert_eq!(Revocation::parse(&all), Some(below(4, 9)));
        assert_eq!(Revocation::parse(&RevokedToken { jti: "x".to_owned(), ..row }), None);
    }
}
