//! Signed texts about a user that count until the password changes: marks of devices, and links that set a password.
//!
//! A mark of a device proves that the user has logged in there. It is no login, and lets a login through while others guess at
//! the name. A link sets a new password, for whoever has it. A new password ends all marks and links of the user, because the
//! generation of the user's tokens rises. So a link is good once, and no table remembers it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::keys::{ISSUER, TokenKeys};
use super::secrets::Secrets;
use crate::domain::{User, UserId};

/// How long a mark of a device counts after the login, and a link after it was made.
const DEVICE_SECONDS: u64 = 30 * 86_400;
const LINK_SECONDS: u64 = 3_600;
/// The audiences, so that no other token passes for one.
const DEVICES: &str = "couponrush devices";
const LINKS: &str = "couponrush password links";

pub struct UserMarks {
    keys: TokenKeys,
    audience: &'static str,
    lifetime_seconds: u64,
}

/// The user of a mark, and the generation of the user's tokens when it was signed.
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

impl UserMarks {
    /// Marks of devices. `secrets` are the operator's secrets for session tokens, and the keys are derived.
    pub fn of_devices(secrets: &Secrets) -> Self {
        let keys = TokenKeys::new(&secrets.for_devices());
        Self { keys, audience: DEVICES, lifetime_seconds: DEVICE_SECONDS }
    }

    /// Links that set a password, with keys derived in the same way.
    pub fn of_links(secrets: &Secrets) -> Self {
        Self { keys: TokenKeys::new(&secrets.for_links()), audience: LINKS, lifetime_seconds: LINK_SECONDS }
    }

    /// When a mark signed now ends, in seconds since 1970.
    pub fn end(&self, now_seconds: u64) -> u64 {
        now_seconds.saturating_add(self.lifetime_seconds)
    }

    /// A mark for `user`. `token_generation` was read together with the password hash.
    pub fn sign(&self, user: &User, token_generation: u32, now_seconds: u64) -> String {
        self.keys.sign(&MarkPayload {
            sub: user.name.as_str().into(),
            uid: user.id.0,
            generation: token_generation,
            exp: self.end(now_seconds),
            iss: ISSUER.into(),
            aud: self.audience.into(),
        })
    }

    /// The user of a mark, for `name` if there is one. `None` for any other text. The caller compares with the user in MySQL.
    pub fn verify(&self, raw: &[u8], name: Option<&str>, now_seconds: u64) -> Option<MarkedUser> {
        let payload = self.keys.open(raw.trim_ascii())?;
        let payload: MarkPayload<'_> = serde_json::from_slice(&payload).ok()?;
        let is_his = name.is_none_or(|name| payload.sub == name);
        let is_good = payload.iss == ISSUER && payload.aud == self.audience && is_his;
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
        let marks = UserMarks::of_devices(&secrets("a"));
        let mark = marks.sign(&ann(), 3, NOW);
        let verify = |name, now| marks.verify(mark.as_bytes(), Some(name), now);
        let user = Some(MarkedUser { id: UserId(7), token_generation: 3 });
        assert_eq!((verify("ann", NOW), verify("ann", NOW + 30 * 86_400 - 1)), (user, user));
        assert_eq!((verify("ann", NOW + 30 * 86_400), verify("bob", NOW), verify("", NOW)), (None, None, None));
        assert_eq!(marks.verify(format!(" {mark}\t").as_bytes(), Some("ann"), NOW), user);
        let changed = mark.replacen('.', ".A", 1);
        assert_eq!(
            (marks.verify(changed.as_bytes(), Some("ann"), NOW), marks.verify(b"", Some("ann"), NOW)),
            (None, None)
        );
    }

    #[test]
    fn marks_follow_a_change_of_the_secrets_and_pass_for_no_session() {
        let mark = UserMarks::of_devices(&secrets("a")).sign(&ann(), 0, NOW);
        assert!(UserMarks::of_devices(&secrets("ba")).verify(mark.as_bytes(), Some("ann"), NOW).is_some());
        assert!(UserMarks::of_devices(&secrets("b")).verify(mark.as_bytes(), Some("ann"), NOW).is_none());
        let (marks, tokens) = (UserMarks::of_devices(&secrets("a")), UserTokens::new(&secrets("a"), 86_400));
        assert!(tokens.verify(&mark, NOW).is_err());
        assert!(marks.verify(tokens.issue(&ann(), 0, NOW).as_bytes(), Some("ann"), NOW).is_none());
        let payload =
            r#"{"sub":"ann","uid":7,"generation":0,"exp":9999999999,"iss":"couponrush","aud":"couponrush devices"}"#;
        let forged = sign_with('a', r#"{"alg":"HS256"}"#, payload);
        assert!(marks.verify(forged.as_bytes(), Some("ann"), NOW).is_none(), "the secret itself signs no marks");
    }
    #[test]
    fn a_link_is_good_for_an_hour_and_is_no_mark_of_a_device() {
        let (links, devices) = (UserMarks::of_links(&secrets("a")), UserMarks::of_devices(&secrets("a")));
        let link = links.sign(&ann(), 3, NOW);
        let user = Some(MarkedUser { id: UserId(7), token_generation: 3 });
        assert_eq!(links.verify(link.as_bytes(), None, NOW + 3_599), user);
        assert_eq!(links.verify(link.as_bytes(), None, NOW + 3_600), None);
        assert_eq!(devices.verify(link.as_bytes(), Some("ann"), NOW), None);
        let mark = devices.sign(&ann(), 3, NOW);
        assert_eq!(links.verify(mark.as_bytes(), None, NOW), None);
    }
}
