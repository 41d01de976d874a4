//! Revoked, unexpired session tokens in memory. Every request is checked against the set.

use std::collections::HashMap;

use crate::auth::{Session, TokenId};
use crate::domain::UserId;
use crate::mysql::revoked_tokens::RevokedToken;

/// The tokens ended by a revocation. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A single token.
    Token { user: UserId, id: TokenId, expires_at: u64 },
    /// All tokens of the user below this generation. The last one expires at `expires_at`.
    Below { user: UserId, generation: u32, expires_at: u64 },
}

/// The set of revocations. A user's tokens below a revoked generation are not listed singly.
#[derive(Default)]
pub(super) struct RevokedTokens {
    users: HashMap<UserId, OfUser>,
    count: usize,
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
        if row.jti.is_empty() {
            return Some(Self::Below { user, generation: row.generation, expires_at });
        }
        Some(Self::Token { user, id: row.jti.parse().ok()?, expires_at })
    }

    fn user(&self) -> UserId {
        match self {
            Self::Token { user, .. } | Self::Below { user, .. } => *user,
        }
    }
}

impl RevokedTokens {
    pub(super) fn contains(&self, session: &Session) -> bool {
        self.users.get(&session.user.id).is_some_and(|of_user| of_user.ends(session.token_id))
    }

    /// Whether adding `revocation` would change nothing.
    pub(super) fn knows(&self, revocation: &Revocation) -> bool {
        self.users.get(&revocation.user()).is_some_and(|of_user| match *revocation {
            Revocation::Token { id, .. } => of_user.ends(id),
            Revocation::Below { generation, expires_at, .. } => {
                generation <= of_user.below_generation && expires_at <= of_user.below_expires_at
            }
        })
    }

    /// Number of single revocations of `user`.
    pub(super) fn tokens_of(&self, user: UserId) -> usize {
        self.users.get(&user).map_or(0, |of_user| of_user.tokens.len())
    }

    /// Revocations of all users: single tokens, and users with a revoked generation.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, revocation: &Revocation) {
        let of_user = self.users.entry(revocation.user()).or_default();
        let before = of_user.count();
        of_user.add(revocation);
        self.count = self.count - before + of_user.count();
    }

    /// Drops revocations of tokens that have expired by `now_seconds` (seconds since 1970).
    pub(super) fn forget_expired(&mut self, now_seconds: u64) {
        let mut count = 0;
        self.users.retain(|_, of_user| {
            of_user.forget_expired(now_seconds);
            count += of_user.count();
            of_user.count() > 0
        });
        self.users.shrink_to(self.users.len() * 2);
        self.count = count;
    }
}

impl OfUser {
    fn ends(&self, token: TokenId) -> bool {
        token.generation < self.below_generation || self.tokens.iter().any(|(id, _)| *id == token)
    }

    fn count(&self) -> usize {
        self.tokens.len() + usize::from(self.below_generation > 0)
    }

    fn add(&mut self, revocation: &Revocation) {
        match *revocation {
            Revocation::Token { id, expires_at, .. } if !self.ends(id) => {
                // Nearly every user has a single token. Room for four would double the total memory.
                self.tokens.reserve_exact(1);
                self.tokens.push((id, expires_at));
            }
            Revocation::Token { .. } => {}
            Revocation::Below { generation, expires_at, .. } => {
                self.below_generation = self.below_generation.max(generation);
                self.below_expires_at = self.below_expires_at.max(expires_at);
                self.tokens.retain(|(id, _)| id.generation >= self.below_generation);
                self.tokens.shrink_to_fit();
            }
        }
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
        Session { user, mandate: None, token_id: TokenId::random(generation), expires_at: 100 }
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
        assert_eq!((revoked.count(), revoked.tokens_of(USER)), (1, 1));
    }

    #[test]
    fn a_generation_ends_the_tokens_below_it_and_replaces_their_single_revocations() {
        let mut revoked = RevokedTokens::default();
        let (old, new) = (session(USER, 2), session(USER, 3));
        revoked.add(&token(&old));
        revoked.add(&token(&new));
        revoked.add(&below(3, 100));
        assert_eq!((revoked.count(), revoked.tokens_of(USER)), (2, 1));
        assert!(revoked.contains(&old) && revoked.contains(&new));
        assert!(revoked.contains(&session(USER, 2)) && !revoked.contains(&session(USER, 3)));
        revoked.add(&token(&session(USER, 2)));
        assert_eq!(revoked.count(), 2);
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
        assert_eq!(revoked.count(), 4);
        revoked.forget_expired(100);
        assert_eq!((revoked.count(), revoked.users.len()), (2, 1));
        assert!(!revoked.contains(&short) && revoked.contains(&long) && revoked.contains(&session(USER, 4)));
        revoked.forget_expired(150);
        assert!(revoked.contains(&long) && !revoked.contains(&session(USER, 4)));
        revoked.forget_expired(200);
        assert_eq!((revoked.count(), revoked.users.len()), (0, 0));
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
