//! Session tokens: JSON Web Tokens (RFC 7519), signed with HS256.
//!
//! Checks signature, issuer, audience and times of a token, but no revocation. Callers pass the time.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::keys::{ISSUER, TokenKeys};
use super::secrets::Secrets;
use super::session::{Session, TokenId};
use crate::domain::{Kind, Mandate, Rights, User, UserId, UserName};

/// Lifetime of the tokens of users with a second factor.
const BRIEF_SECONDS: u64 = 3_600;

pub struct UserTokens {
    keys: TokenKeys,
    lifetime_seconds: u64,
}

/// Why a token is refused. The token table of the wire contract has an answer for each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no token")]
    Missing,
    #[error("the token has expired")]
    Expired,
    /// A wrong signature, header or payload, or a token before its `nbf`.
    #[error("the token is not valid")]
    Invalid,
}

/// The payload. All fields but `nbf` and `acts_for` are required. A payload that repeats a field is refused.
#[derive(Serialize, Deserialize)]
struct SessionPayload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    uid: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    iat: u64,
    exp: u64,
    /// Start of validity. Our tokens have no `nbf`; another program that signs with the secret may add the field.
    #[serde(skip_serializing)]
    nbf: Option<u64>,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    /// In tokens of staff only.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    acts_for: Option<MandatePayload<'a>>,
}

/// The saler for whom staff act. A change of the saler or of the rights ends the token, by its generation.
#[derive(Serialize, Deserialize)]
struct MandatePayload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    uid: u64,
    rights: u8,
}

impl UserTokens {
    pub fn new(secrets: &Secrets, lifetime_seconds: u64) -> Self {
        Self { keys: TokenKeys::new(secrets), lifetime_seconds }
    }

    /// Issues a token for `user`. `token_generation` must be read together with the password hash: a change of the
    /// password during the login then ends the new token too.
    pub fn issue(&self, user: &User, token_generation: u32, now_seconds: u64) -> String {
        self.issue_with(user, None, token_generation, now_seconds)
    }

    /// Like [`UserTokens::issue`]. Staff need their mandate, read together with the generation. Others have none.
    pub fn issue_with(
        &self,
        user: &User,
        mandate: Option<&Mandate>,
        token_generation: u32,
        now_seconds: u64,
    ) -> String {
        self.issue_for((user, mandate), token_generation, now_seconds, self.lifetime_seconds)
    }

    /// Like [`UserTokens::issue_with`], for a user with a second factor. The token lasts an hour at most.
    pub fn issue_brief(
        &self,
        user: &User,
        mandate: Option<&Mandate>,
        token_generation: u32,
        now_seconds: u64,
    ) -> String {
        self.issue_for((user, mandate), token_generation, now_seconds, self.lifetime_seconds.min(BRIEF_SECONDS))
    }

    fn issue_for(
        &self,
        (user, mandate): (&User, Option<&Mandate>),
        token_generation: u32,
        now_seconds: u64,
        seconds: u64,
    ) -> String {
        let id = TokenId::random(token_generation).to_string();
        self.keys.sign(&SessionPayload {
            sub: user.name.as_str().into(),
            uid: user.id.0,
            kind: user.kind.as_str().into(),
            jti: id.into(),
            iat: now_seconds,
            exp: now_seconds.saturating_add(seconds),
            nbf: None,
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            acts_for: mandate.map(|mandate| MandatePayload {
                sub: mandate.saler.name.as_str().into(),
                uid: mandate.saler.id.0,
                rights: mandate.rights.bits(),
            }),
        })
    }

    /// The session of the token `raw`, without the word `Bearer`.
    ///
    /// A token ends at its `exp`, or earlier if the configured lifetime has passed since its `iat`. Lowering the
    /// lifetime therefore shortens tokens already issued.
    ///
    /// # Errors
    /// [`TokenError`]. A token both forged and expired is [`TokenError::Invalid`].
    pub fn verify(&self, raw: &(impl AsRef<[u8]> + ?Sized), now_seconds: u64) -> Result<Session, TokenError> {
        let raw = raw.as_ref();
        if raw.is_empty() {
            return Err(TokenError::Missing);
        }
        let payload = self.keys.open(raw).ok_or(TokenError::Invalid)?;
        let payload: SessionPayload<'_> = serde_json::from_slice(&payload).map_err(|_| TokenError::Invalid)?;
        if payload.nbf.is_some_and(|not_before| now_seconds < not_before) {
            return Err(TokenError::Invalid);
        }
        let ends_at = payload.exp.min(payload.iat.saturating_add(self.lifetime_seconds));
        let session = session(payload).ok_or(TokenError::Invalid)?;
        if now_seconds >= ends_at { Err(TokenError::Expired) } else { Ok(session) }
    }
}

fn session(payload: SessionPayload<'_>) -> Option<Session> {
    if payload.iss != ISSUER || payload.aud != ISSUER || payload.uid == 0 {
        return None;
    }
    let user = user(payload.uid, payload.sub, Kind::parse(&payload.kind)?)?;
    let mandate = match payload.acts_for {
        Some(acts_for) => {
            let saler = self::user(acts_for.uid, acts_for.sub, Kind::Saler)?;
            Some(Box::new(Mandate { saler, rights: Rights::from_bits(acts_for.rights)? }))
        }
        None => None,
    };
    if (user.kind == Kind::Staff) != mandate.is_some() {
        return None;
    }
    Some(Session {
        user,
        mandate,
        token_id: payload.jti.parse().ok()?,
        issued_at: payload.iat,
        expires_at: payload.exp,
    })
}

fn user(id: u64, name: Cow<'_, str>, kind: Kind) -> Option<User> {
    Some(User { id: UserId(id), name: UserName::parse(name.into_owned()).ok()?, kind })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    use serde_json::{Value, json};

    use super::super::keys::tests::{secrets, sign_with};
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;
    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    fn tokens(letters: &str) -> UserTokens {
        UserTokens::new(&secrets(letters), DAY)
    }

    fn user(name: &str) -> User {
        let name = UserName::parse(name.to_owned()).expect("a name");
        User { id: UserId(u64::MAX), name, kind: Kind::Saler }
    }

    fn payload() -> Value {
        json!({
            "sub": "alice", "uid": 7, "kind": "customer", "jti": format!("3-{:032x}", 5),
            "iat": NOW, "exp": NOW + DAY, "iss": "couponrush", "aud": "couponrush",
        })
    }

    /// Verifies `payload` with `tokens("a")`, under a header without `kid` made by another program.
    fn verify(payload: &Value, now_seconds: u64) -> Result<Session, TokenError> {
        tokens("a").verify(&sign_with('a', HEADER, &payload.to_string()), now_seconds)
    }

    #[test]
    fn a_token_says_who_it_was_issued_to_until_it_expires() {
        let tokens = tokens("a");
        for name in ["alice", "名前", r#"a"b\c"#, &"\u{10ffff}".repeat(64), &"\"".repeat(64)] {
            let raw = tokens.issue(&user(name), 4, NOW);
            let session = tokens.verify(&raw, NOW).expect("just issued");
            assert_eq!((&session.user, session.expires_at), (&user(name), NOW + DAY));
            assert_eq!(session.token_id.generation, 4);
            assert_eq!(tokens.verify(&raw, NOW + DAY - 1), Ok(session));
            assert_eq!(tokens.verify(&raw, NOW + DAY), Err(TokenError::Expired));
            assert!(raw.len() < 900);
        }
    }

    #[test]
    fn a_token_of_staff_says_for_whom_they_act_and_only_staff_have_one() {
        let tokens = tokens("a");
        let longest = "\u{10ffff}".repeat(64);
        for (name, kind, has_mandate) in [
            ("till", Kind::Staff, true),
            (&longest, Kind::Staff, true),
            ("till", Kind::Staff, false),
            ("till", Kind::Saler, true),
            ("till", Kind::Admin, true),
        ] {
            let staff = User { kind, ..user(name) };
            let mandate = Mandate { saler: user(name), rights: Rights::from_bits(5).expect("rights") };
            let raw = tokens.issue_with(&staff, has_mandate.then_some(&mandate), 4, NOW);
            assert!(raw.len() < 1_400, "{}", raw.len());
            let expected = (kind == Kind::Staff && has_mandate).then_some((staff, Some(Box::new(mandate))));
            let found = tokens.verify(&raw, NOW).map(|session| (session.user, session.mandate));
            assert_eq!(found.ok(), expected, "{kind:?} {has_mandate}");
        }
    }

    #[test]
    fn a_brief_token_lasts_an_hour_and_never_longer_than_others() {
        let expiry = |tokens: &UserTokens| {
            let raw = tokens.issue_brief(&user("alice"), None, 4, NOW);
            tokens.verify(&raw, NOW).map(|session| session.expires_at)
        };
        assert_eq!(expiry(&tokens("a")), Ok(NOW + 3_600));
        assert_eq!(expiry(&UserTokens::new(&secrets("a"), 60)), Ok(NOW + 60));
    }

    #[test]
    fn two_tokens_of_one_second_differ() {
        let tokens = tokens("a");
        assert_ne!(tokens.issue(&user("alice"), 0, NOW), tokens.issue(&user("alice"), 0, NOW));
    }

    /// A token made by another program, signed by the HMAC `M`.
    fn sign<M: Mac + KeyInit>(algorithm: &str, payload: &Value) -> String {
        let parts = [json!({"typ": "JWT", "alg": algorithm}), payload.clone()];
        let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let mac = <M as KeyInit>::new_from_slice("a".repeat(32).as_bytes()).expect("a secret may have any length");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.chain_update(&text).finalize().into_bytes()))
    }

    #[test]
    fn other_programs_read_our_tokens_and_make_ones_that_count() {
        let raw = tokens("a").issue(&user("alice"), 4, NOW);
        let part = |index| {
            let json = URL_SAFE_NO_PAD.decode(raw.split('.').nth(index).expect("three parts")).expect("base64");
            serde_json::from_slice::<Value>(&json).expect("JSON")
        };
        assert_eq!((&part(0)["alg"], &part(0)["typ"]), (&json!("HS256"), &json!("JWT")));
        let mut payload_read = part(1);
        assert_eq!(payload_read["uid"], u64::MAX);
        let mut keys: Vec<&String> = payload_read.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, ["aud", "exp", "iat", "iss", "jti", "kind", "sub", "uid"]);
        assert_eq!((&payload_read["iss"], &payload_read["aud"]), (&json!("couponrush"), &json!("couponrush")));
        payload_read["sub"] = json!("bob");
        assert!(tokens("a").verify(&sign::<Hmac<sha2::Sha256>>("HS256", &payload_read), NOW).is_ok());

        for (raw, counts) in [
            (sign::<Hmac<sha2::Sha256>>("HS256", &payload()), true),
            (sign::<Hmac<sha2::Sha384>>("HS384", &payload()), false),
            (sign::<Hmac<sha2::Sha512>>("HS512", &payload()), false),
        ] {
            assert_eq!(tokens("a").verify(&raw, NOW).is_ok(), counts, "{raw}");
        }
    }

    #[test]
    fn a_token_does_not_count_before_its_nbf() {
        let mut early = payload();
        for (nbf, verified) in [
            (json!(NOW), true),
            (json!(0), true),
            (Value::Null, true),
            (json!(NOW + 1), false),
            (json!(u64::MAX), false),
            (json!(-1), false),
            (json!("0"), false),
            (json!(1.5), false),
        ] {
            early["nbf"] = nbf;
            let expected = if verified { None } else { Some(TokenError::Invalid) };
            assert_eq!(verify(&early, NOW).err(), expected, "{early}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_makes_a_token_invalid() {
        assert!(verify(&payload(), NOW).is_ok());
        for key in ["sub", "uid", "kind", "jti", "iat", "exp", "iss", "aud"] {
            let mut changed = payload();
            changed.as_object_mut().expect("an object").remove(key);
            assert_eq!(verify(&changed, NOW), Err(TokenError::Invalid), "without {key}");
            changed[key] = Value::Null;
            assert_eq!(verify(&changed, NOW), Err(TokenError::Invalid), "{key} null");
        }
        for (key, value) in [
            ("iss", json!("other")),
            ("aud", json!("other")),
            ("aud", json!(["couponrush"])),
            ("exp", json!("1900000000")),
            ("exp", json!(-1)),
            ("exp", json!(1.9e9)),
            ("uid", json!(0)),
            ("uid", json!("7")),
            ("sub", json!("")),
            ("sub", json!("a/b")),
            ("kind", json!("root")),
            ("jti", json!("3")),
        ] {
            let mut changed = payload();
            changed[key] = value.clone();
            assert_eq!(verify(&changed, NOW), Err(TokenError::Invalid), "{key} {value}");
        }
        let twice = payload().to_string().replacen('{', r#"{"kind":"admin","#, 1);
        assert_eq!(tokens("a").verify(&sign_with('a', HEADER, &twice), NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn forged_and_malformed_tokens_are_invalid_even_where_they_have_expired() {
        let tokens = tokens("a");
        for now_seconds in [NOW, NOW + DAY] {
            for raw in ["x", ".", "..", "...", "a.b.c", "Bearer x", "é.é.é", &"x".repeat(100_000), "\u{0}"] {
                assert_eq!(tokens.verify(raw, now_seconds), Err(TokenError::Invalid), "{raw:?}");
            }
            let others = sign_with('b', HEADER, &payload().to_string());
            assert_eq!(tokens.verify(&others, now_seconds), Err(TokenError::Invalid));
            let (start, _) = others.rsplit_once('.').expect("two dots");
            assert_eq!(tokens.verify(start, now_seconds), Err(TokenError::Invalid));
            assert_eq!(tokens.verify(&format!("{start}."), now_seconds), Err(TokenError::Invalid));
            let none = sign_with('a', r#"{"alg":"none"}"#, &payload().to_string());
            assert_eq!(tokens.verify(&none, now_seconds), Err(TokenError::Invalid));
        }
        assert_eq!(tokens.verify("", NOW), Err(TokenError::Missing));
    }

    #[test]
    fn a_secret_can_be_changed_while_its_tokens_are_out() {
        let raw = tokens("a").issue(&user("alice"), 0, NOW);
        assert!(tokens("ba").verify(&raw, NOW).is_ok());
        assert_eq!(tokens("b").verify(&raw, NOW), Err(TokenError::Invalid));
        assert!(tokens("b").verify(&tokens("ba").issue(&user("alice"), 0, NOW), NOW).is_ok());
    }

    #[test]
    fn lowering_the_lifetime_holds_for_tokens_that_are_out_already() {
        let raw = tokens("a").issue(&user("alice"), 0, NOW);
        let shorter = UserTokens::new(&secrets("a"), 60);
        assert_eq!(shorter.verify(&raw, NOW + 59).map(|session| session.expires_at), Ok(NOW + DAY));
        assert_eq!(shorter.verify(&raw, NOW + 60), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_made_for_less_than_the_lifetime_ends_at_its_own_end() {
        let mut brief = payload();
        brief["exp"] = json!(NOW + 10);
        assert!(verify(&brief, NOW + 9).is_ok());
        assert_eq!(verify(&brief, NOW + 10), Err(TokenError::Expired));
    }
}
