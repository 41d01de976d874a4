//! Marks of devices: signed proofs that a user has logged in on a device.
//!
//! A mark is no login. It lets a login through while others guess at the name. A change of the password ends all marks of the
//! user, because the generation of the user's tokens rises.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::keys::{ISSUER, TokenKeys};
use super::secrets::Secrets;
use crate::domain::{User, UserId};

/// How long a mark counts after the login.
const LIFETIME_SECONDS: u64 = 30 * 86_400;
/// The audience of marks, so that no other token passes for one.
const AUDIENCE: &str = "couponrush devices";

pub struct DeviceMarks {
    keys: TokenKeys,
}

/// The user of a mark, and the generation of the user's tokens at that login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedUser {
    pub id: UserId,
    pub token_generation: u32,
}

#[derive(Serialize, Deserialize)]
struct MarkPayload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    uid: u64,
    generation: u32,
    exp: u64,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
}

impl DeviceMarks {
    /// `secrets` are the operator's secrets for session tokens. The keys of marks are derived.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: TokenKeys::new(&secrets.for_devices()) }
    }

    /// A mark for a login of `user`. `token_generation` was read together with the password hash.
    pub fn sign(&self, user: &User, token_generation: u32, now_seconds: u64) -> String {
        self.keys.sign(&MarkPayload {
            sub: user.name.as_str().into(),
            uid: user.id.0,
            generation: token_generation,
            exp: now_seconds.saturating_add(LIFETIME_SECONDS),
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
        })
    }

    /// The user of a mark for `name`. `None` for any other text. The caller compares with the user in MySQL.
    pub fn verify(&self, raw: &[u8], name: &str, now_seconds: u64) -> Option<MarkedUser> {
        let payload = self.keys.open(raw.trim_ascii())?;
        let payload: MarkPayload<'_> = serde_json::from_slice(&payload).ok()?;
        let is_good = payload.iss == ISSUER && payload.aud == AUDIENCE && payload.sub == name;
        (is_good && now_seconds < payload.exp)
            .then_some(MarkedUser { id: UserId(payload.uid), token_generation: payload.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::super::UserTokens;
    use super::super::keys::tests::{secrets, sign_with};
    use super::*;
    use crate::domain::{Kind, UserName};

    const NOW: u64 = 1_800_000_000;

    fn ann() -> User {
        User { id: UserId(7), name: UserName::parse("ann".to_owned()).expect("a name"), kind: Kind::Customer }
    }

    #[test]
    fn a_mark_is_of_one_name_for_thirty_days() {
        let marks = DeviceMarks::new(&secrets("a"));
        let mark = marks.sign(&ann(), 3, NOW);
        let verify = |name, now| marks.verify(mark.as_bytes(), name, now);
        let user = Some(MarkedUser { id: UserId(7), token_generation: 3 });
        assert_eq!((verify("ann", NOW), verify("ann", NOW + 30 * 86_400 - 1)), (user, user));
        assert_eq!((verify("ann", NOW + 30 * 86_400), verify("bob", NOW), verify("", NOW)), (None, None, None));
        assert_eq!(marks.verify(format!(" {mark}\t").as_bytes(), "ann", NOW), user);
        let changed = mark.replacen('.', ".A", 1);
        assert_eq!((marks.verify(changed.as_bytes(), "ann", NOW), marks.verify(b"", "ann", NOW)), (None, None));
    }

    #[test]
    fn marks_follow_a_change_of_the_secrets_and_pass_for_no_session() {
        let mark = DeviceMarks::new(&secrets("a")).sign(&ann(), 0, NOW);
        assert!(DeviceMarks::new(&secrets("ba")).verify(mark.as_bytes(), "ann", NOW).is_some());
        assert!(DeviceMarks::new(&secrets("b")).verify(mark.as_bytes(), "ann", NOW).is_none());
        let (marks, tokens) = (DeviceMarks::new(&secrets("a")), UserTokens::new(&secrets("a"), 86_400));
        assert!(tokens.verify(&mark, NOW).is_err());
        assert!(marks.verify(tokens.issue(&ann(), 0, NOW).as_bytes(), "ann", NOW).is_none());
        let payload =
            r#"{"sub":"ann","uid":7,"generation":0,"exp":9999999999,"iss":"couponrush","aud":"couponrush devices"}"#;
        let forged = sign_with('a', r#"{"alg":"HS256"}"#, payload);
        assert!(marks.verify(forged.as_bytes(), "ann", NOW).is_none(), "the secret itself signs no marks");
    }
}
