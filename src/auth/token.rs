//! Users' tokens: JSON Web Tokens (RFC 7519), signed with HS256.
//!
//! Owns which tokens count by themselves: signature, issuer, audience, end. Whether one has been revoked is asked
//! elsewhere. Nothing here reads a clock.

use std::borrow::Cow;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::jws::{ISSUER, Keys};
use super::secrets::Secrets;
use super::session::{Session, TokenId};
use crate::domain::{Kind, User, UserId, UserName};

/// Issues and verifies the tokens of users.
pub struct UserTokens {
    keys: Keys,
    lifetime_seconds: u64,
}

/// Why a token does not count; the token table of the wire contract has an answer for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no token")]
    Missing,
    /// It was issued here, and has ended.
    #[error("the token has expired")]
    Expired,
    /// It was not issued here, or says what no token of ours says.
    #[error("the token is not valid")]
    Invalid,
}

/// The payload; all of it is required.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
struct Payload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    uid: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    iat: u64,
    exp: u64,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
}

impl<'a> Payload<'a> {
    /// Reads what [`UserTokens::issue`] writes, as nearly every token is, in a quarter of the time that any JSON takes.
    /// `None` where it is written in any other way, and where the name in it needs escapes.
    fn as_issued(json: &'a str) -> Option<Self> {
        let mut rest = json;
        let mut next = |before: &str, end: u8| {
            let from = rest.strip_prefix(before)?;
            let (value, after) = from.split_at(memchr(end, from.as_bytes())?);
            rest = &after[1..];
            Some(value)
        };
        let payload = Self {
            sub: next(r#"{"sub":""#, b'"')?.into(),
            uid: number(next(r#","uid":"#, b',')?)?,
            kind: next(r#""kind":""#, b'"')?.into(),
            jti: next(r#","jti":""#, b'"')?.into(),
            iat: number(next(r#","iat":"#, b',')?)?,
            exp: number(next(r#""exp":"#, b',')?)?,
            iss: next(r#""iss":""#, b'"')?.into(),
            aud: next(r#","aud":""#, b'"')?.into(),
        };
        (rest == "}" && memchr(b'\\', json.as_bytes()).is_none()).then_some(payload)
    }
}

/// A number above 0 as JSON writes it.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| matches!(text.as_bytes()[0], b'1'..=b'9'))
}

impl UserTokens {
    /// Tokens that last `lifetime_seconds`.
    pub fn new(secrets: &Secrets, lifetime_seconds: u64) -> Self {
        Self { keys: Keys::new(secrets), lifetime_seconds }
    }

    /// A token for `user`, whose tokens are of `token_generation` now (as read together with his password's hash, so
    /// that a change of the password in between ends this token too).
    pub fn issue(&self, user: &User, token_generation: u32, now_seconds: u64) -> String {
        let id = TokenId::random(token_generation).to_string();
        let payload = Payload {
            sub: user.name.as_str().into(),
            uid: user.id.0,
            kind: user.kind.as_str().into(),
            jti: id.into(),
            iat: now_seconds,
            exp: now_seconds.saturating_add(self.lifetime_seconds),
            iss: ISSUER.into(),
            aud: ISSUER.into(),
        };
        self.keys.sign(&serde_json::to_vec(&payload).expect("texts and numbers are JSON"))
    }

    /// Who shows `raw`, the token without any `Bearer` before it.
    ///
    /// A token ends at its `exp`, and also once it is older than the lifetime that is configured now, so that lowering
    /// the lifetime holds for the tokens that are out already.
    ///
    /// # Errors
    /// [`TokenError`]; a token that is forged and has expired too is [`TokenError::Invalid`].
    pub fn verify(&self, raw: &(impl AsRef<[u8]> + ?Sized), now_seconds: u64) -> Result<Session, TokenError> {
        let raw = raw.as_ref();
        if raw.is_empty() {
            return Err(TokenError::Missing);
        }
        let json = self.keys.open(raw).ok_or(TokenError::Invalid)?;
        // Once over all of it: otherwise each text in it is checked by itself.
        let json = std::str::from_utf8(&json).map_err(|_| TokenError::Invalid)?;
        let payload = match Payload::as_issued(json) {
            Some(payload) => payload,
            None => serde_json::from_str(json).map_err(|_| TokenError::Invalid)?,
        };
        let (issued_at, expires_at) = (payload.iat, payload.exp);
        let session = session(payload).ok_or(TokenError::Invalid)?;
        let outlived = now_seconds >= issued_at.saturating_add(self.lifetime_seconds);
        if now_seconds >= expires_at || outlived { Err(TokenError::Expired) } else { Ok(session) }
    }
}

fn session(payload: Payload<'_>) -> Option<Session> {
    if payload.iss != ISSUER || payload.aud != ISSUER || payload.uid == 0 {
        return None;
    }
    let name = UserName::parse(payload.sub.into_owned()).ok()?;
    let user = User { id: UserId(payload.uid), name, kind: Kind::parse(&payload.kind)? };
    Some(Session { user, token_id: payload.jti.parse().ok()?, expires_at: payload.exp })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::jws::tests::{secrets, sign_with};

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

    /// What `tokens("a")` says to `payload`, signed with its secret under a header of somebody else's making.
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
    fn a_payload_is_read_by_its_form_where_it_was_issued_and_to_the_same_as_by_json() {
        let tokens = tokens("a");
        for (name, in_its_form) in [("alice", true), ("名前", true), (r#"a"b"#, false), (r"a\b", false)] {
            let raw = tokens.issue(&user(name), 4, NOW);
            let json = String::from_utf8(tokens.keys.open(&raw).expect("it was signed here")).expect("JSON is text");
            let by_json = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(Payload::as_issued(&json), in_its_form.then_some(by_json), "{json}");
        }
        let json = format!(
            r#"{{"sub":"al","uid":7,"kind":"saler","jti":"3-{:032x}","iat":1,"exp":9,"iss":"couponrush","aud":"couponrush"}}"#,
            5
        );
        assert!(Payload::as_issued(&json).is_some());
        for (part, other) in [
            (":7,", ":07,"),
            (":7,", ":+7,"),
            (":7,", ":-7,"),
            (":7,", ":7.0,"),
            (":7,", ":\"7\","),
            (":7,", ": 7,"),
            (":7,", ":18446744073709551616,"),
            ("al", r"\u0061l"),
            ("saler", r"s\u0061ler"),
            ("}", "} "),
            ("}", r#","kind":"admin"}"#),
            (r#""iat":1,"#, ""),
        ] {
            assert!(json.contains(part));
            let other = json.replacen(part, other, 1);
            assert_eq!(Payload::as_issued(&other), None, "{other}");
        }
    }

    #[test]
    fn two_tokens_of_one_second_differ() {
        let tokens = tokens("a");
        assert_ne!(tokens.issue(&user("alice"), 0, NOW), tokens.issue(&user("alice"), 0, NOW));
    }

    #[test]
    fn other_programs_read_our_tokens_and_make_ones_that_count() {
        let raw = tokens("a").issue(&user("alice"), 4, NOW);
        let mut validation = Validation::new(Algorithm::HS256);
        (validation.validate_exp, validation.leeway) = (false, 0);
        validation.set_issuer(&["couponrush"]);
        validation.set_audience(&["couponrush"]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let secret = "a".repeat(32);
        let read = jsonwebtoken::decode::<Value>(&raw, &DecodingKey::from_secret(secret.as_bytes()), &validation)
            .expect("a good token");
        assert_eq!(read.claims["uid"], u64::MAX);
        let mut keys: Vec<&String> = read.claims.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, ["aud", "exp", "iat", "iss", "jti", "kind", "sub", "uid"]);

        for (algorithm, counts) in [(Algorithm::HS256, true), (Algorithm::HS384, false), (Algorithm::HS512, false)] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let raw = jsonwebtoken::encode(&Header::new(algorithm), &payload(), &key).expect("a token");
            assert_eq!(tokens("a").verify(&raw, NOW).is_ok(), counts, "{algorithm:?}");
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
