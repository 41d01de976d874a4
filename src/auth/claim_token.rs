//! Claim tokens: signed proofs of claims, verified without Redis or MySQL.
//!
//! A claim gives equal bytes on every instance and at every time. The payload has no time of signing and no random
//! part. A token proves the grant of a unit. Only MySQL knows whether the claim has been redeemed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::keys::{ISSUER, TokenKeys};
use super::secrets::Secrets;
use crate::domain::{ActivityId, Claim, CouponId, Nth, Seq, UserId};

pub struct ClaimTokens {
    keys: TokenKeys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimProof {
    pub coupon: CouponId,
    pub user: UserId,
    pub activity: ActivityId,
    pub seq: Seq,
    pub nth: Nth,
    /// Time of the grant, in milliseconds since 1970 by Redis' clock.
    pub claimed_at_ms: u64,
}

/// The payload. Field names and their order are part of the token's bytes.
#[derive(Serialize, Deserialize)]
struct ClaimPayload<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    coupon: u64,
    user: u64,
    activity: u32,
    seq: Seq,
    nth: Nth,
    claimed_at: u64,
}

impl ClaimTokens {
    /// `secrets` are the operator's secrets for claims, or come from [`Secrets::for_claims`].
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: TokenKeys::new(secrets) }
    }

    pub fn sign(&self, claim: &Claim) -> String {
        self.keys.sign(&ClaimPayload {
            iss: ISSUER.into(),
            coupon: claim.coupon.0,
            user: claim.user.0,
            activity: claim.activity.0,
            seq: claim.seq,
            nth: claim.nth,
            claimed_at: claim.claimed_at_ms,
        })
    }

    /// The claim proven by `raw`, or `None` for any other text than a claim token signed here. White space around the
    /// token is ignored, because scanners and copied texts end in a line break.
    pub fn verify(&self, raw: &str) -> Option<ClaimProof> {
        let payload = self.keys.open(raw.trim().as_bytes())?;
        let payload: ClaimPayload<'_> = serde_json::from_slice(&payload).ok()?;
        (payload.iss == ISSUER).then_some(ClaimProof {
            coupon: CouponId(payload.coupon),
            user: UserId(payload.user),
            activity: ActivityId(payload.activity),
            seq: payload.seq,
            nth: payload.nth,
            claimed_at_ms: payload.claimed_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::UserTokens;
    use super::super::keys::tests::{secrets, sign_with};
    use super::*;
    use crate::domain::{EntryId, Epoch, Kind, User, UserName};

    fn claim() -> Claim {
        Claim {
            coupon: CouponId(u64::MAX),
            user: UserId(2),
            entry: EntryId { ms: 1_800_000_000_123, counter: 9 },
            seq: u32::MAX,
            activity: ActivityId(0),
            epoch: Epoch(1),
            nth: u8::MAX,
            claimed_at_ms: 1_800_000_000_123,
        }
    }

    #[test]
    fn a_token_proves_the_claim_it_was_made_of() {
        let tokens = ClaimTokens::new(&secrets("a"));
        let proof = tokens.verify(&tokens.sign(&claim())).expect("just signed");
        let expected = ClaimProof {
            coupon: CouponId(u64::MAX),
            user: UserId(2),
            activity: ActivityId(0),
            seq: u32::MAX,
            nth: u8::MAX,
            claimed_at_ms: 1_800_000_000_123,
        };
        assert_eq!(proof, expected);
    }

    #[test]
    fn one_claim_gives_one_token_on_every_instance_and_after_a_loss_of_redis() {
        let loaded_again = Claim { epoch: Epoch(2), entry: EntryId { ms: claim().entry.ms, counter: 0 }, ..claim() };
        let signed = ClaimTokens::new(&secrets("a").for_claims()).sign(&claim());
        assert_eq!(ClaimTokens::new(&secrets("a").for_claims()).sign(&loaded_again), signed);
        let other = Claim { seq: 1, ..claim() };
        assert_ne!(ClaimTokens::new(&secrets("a").for_claims()).sign(&other), signed);
    }

    #[test]
    fn a_later_version_of_this_program_signs_the_same_token() {
        let signed = ClaimTokens::new(&secrets("a").for_claims()).sign(&claim());
        let expected = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjVjOGIzMzNmIn0.",
            "eyJpc3MiOiJjb3Vwb25ydXNoIiwiY291cG9uIjoxODQ0Njc0NDA3MzcwOTU1MTYxNSwidXNlciI6MiwiYWN0",
            "aXZpdHkiOjAsInNlcSI6NDI5NDk2NzI5NSwibnRoIjoyNTUsImNsYWltZWRfYXQiOjE4MDAwMDAwMDAxMjN9.",
            "4_iFSe1N4v9PDUDb3cZJ4P_OegdtkAPWUXkiEU-3f-M",
        );
        assert_eq!(signed, expected);
    }

    #[test]
    fn derived_secrets_follow_a_change_of_the_jwt_secrets() {
        let signed = ClaimTokens::new(&secrets("a").for_claims()).sign(&claim());
        assert!(ClaimTokens::new(&secrets("ba").for_claims()).verify(&signed).is_some());
        assert!(ClaimTokens::new(&secrets("b").for_claims()).verify(&signed).is_none());
    }

    #[test]
    fn neither_kind_of_token_passes_for_the_other_even_under_one_secret() {
        let name = UserName::parse("alice".to_owned()).expect("a name");
        let user = User { id: UserId(1), name, kind: Kind::Customer };
        let (users, claims) = (UserTokens::new(&secrets("a"), 60), ClaimTokens::new(&secrets("a")));
        assert!(claims.verify(&users.issue(&user, 0, 1)).is_none());
        assert!(users.verify(&claims.sign(&claim()), 1).is_err());
    }

    #[test]
    fn a_token_of_another_service_proves_nothing() {
        let tokens = ClaimTokens::new(&secrets("a"));
        let payload = r#"{"iss":"couponrush","coupon":1,"user":2,"activity":0,"seq":3,"nth":1,"claimed_at":4}"#;
        let header = r#"{"alg":"HS256"}"#;
        assert!(tokens.verify(&sign_with('a', header, payload)).is_some());
        assert!(tokens.verify(&sign_with('b', header, payload)).is_none());
        assert!(tokens.verify(&sign_with('a', r#"{"alg":"none"}"#, payload)).is_none());
        assert!(tokens.verify(&sign_with('a', header, &payload.replace("couponrush", "other"))).is_none());
        assert!(tokens.verify(&sign_with('a', header, &payload.replace(r#""seq":3,"#, ""))).is_none());
        assert!(tokens.verify(&sign_with('a', header, &payload.replace(":3", ":-3"))).is_none());
        assert!(tokens.verify("").is_none());
    }
}
