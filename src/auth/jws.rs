//! Signed texts: the compact JSON Web Signature (RFC 7515), HS256 and nothing else.
//!
//! Written out because it runs on every request: the key is prepared once and a header of our own making is compared
//! instead of parsed, which takes a third of the time a general JWT library takes. Signatures are made and compared (in
//! constant time) by [`MacKey`]. What the payload means is not known here.
//!
//! There is no choice of algorithm: a header that names another one, or an extension that must be understood (`crit`),
//! is refused before any key is looked at.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::mac::MacKey;
use super::secrets::Secrets;

/// Who issues our tokens, and whom users' tokens are for.
pub(super) const ISSUER: &str = "couponrush";

/// The longest name makes a token of under 900 bytes.
const RAW_BYTES_MAX: usize = 2_048;
const ID_LABEL: &[u8] = b"couponrush key id";
/// 32 bytes, and one more that the decoder's estimate asks for.
const SIGNATURE_BYTES_MAX: usize = 33;

/// Keys made of [`Secrets`]: the first signs, all verify.
pub(super) struct Keys {
    keys: Vec<Key>,
    base64: Simd,
}

struct Key {
    /// Names the secret and says nothing about it.
    id: String,
    /// What every text signed with this key begins with, as it is sent.
    header: String,
    key: MacKey,
}

/// Of a header only what decides; `typ` and the like do not.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Keys {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let base64 = Simd::url_safe(NO_PAD);
        Self { keys: secrets.iter().map(|secret| Key::new(secret, &base64)).collect(), base64 }
    }

    /// Signs `payload` with the first key: header, payload and signature. The same payload always gives the same text.
    pub(super) fn sign(&self, payload: &[u8]) -> String {
        let key = &self.keys[0];
        let mut text = String::with_capacity(key.header.len() + payload.len() * 4 / 3 + 48);
        text.push_str(&key.header);
        text.push('.');
        self.base64.encode_string(payload, &mut text);
        let signature = key.key.sign(&[text.as_bytes()]);
        text.push('.');
        self.base64.encode_string(signature, &mut text);
        text
    }

    /// The payload of a text that one of these keys signed; `None` for every other text.
    pub(super) fn open(&self, raw: &(impl AsRef<[u8]> + ?Sized)) -> Option<Vec<u8>> {
        let raw = raw.as_ref();
        if raw.len() > RAW_BYTES_MAX {
            return None;
        }
        let (signed, signature) = apart(raw, raw.iter().rposition(is_dot)?);
        let (header, payload) = apart(signed, signed.iter().position(is_dot)?);
        let mut buffer = [0; SIGNATURE_BYTES_MAX];
        let length = self.base64.decode_slice(signature, &mut buffer).ok()?;
        if !self.has_signed(header, signed, &buffer[..length])? {
            return None;
        }
        self.base64.decode(payload).ok()
    }

    /// `None` where the header is not acceptable.
    fn has_signed(&self, header: &[u8], signed: &[u8], signature: &[u8]) -> Option<bool> {
        let verifies = |key: &Key| key.key.has_signed(signed, signature);
        if self.keys.iter().any(|key| key.header.as_bytes() == header) {
            return Some(self.keys.iter().any(|key| key.header.as_bytes() == header && verifies(key)));
        }
        let json = self.base64.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&json).ok()?;
        if header.alg != "HS256" || header.crit.is_some() {
            return None;
        }
        let is_named = |key: &Key| header.kid.as_ref().is_none_or(|id| *id == key.id);
        Some(self.keys.iter().any(|key| is_named(key) && verifies(key)))
    }
}

fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

/// What is before and what is behind the byte at `place`.
fn apart(bytes: &[u8], place: usize) -> (&[u8], &[u8]) {
    (&bytes[..place], &bytes[place + 1..])
}

impl Key {
    fn new(secret: &[u8], base64: &Simd) -> Self {
        let key = MacKey::new(secret);
        let id: String = key.sign(&[ID_LABEL]).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let header = base64.encode(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{id}"}}"#));
        Self { id, header, key }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// Keys of the given secrets, each a letter to be repeated.
    pub(crate) fn secrets(letters: &str) -> Secrets {
        let texts: Vec<String> = letters.chars().map(|letter| letter.to_string().repeat(32)).collect();
        Secrets::parse("TEST", &texts.join(",")).expect("32 bytes each")
    }

    /// `payload` under any header, signed with the secret that `letter` stands for.
    pub(crate) fn sign_with(letter: char, header: &str, payload: &str) -> String {
        let key = MacKey::new(letter.to_string().repeat(32).as_bytes());
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&[text.as_bytes()]));
        format!("{text}.{signature}")
    }

    fn keys(letters: &str) -> Keys {
        Keys::new(&secrets(letters))
    }

    #[test]
    fn a_signed_text_opens_and_a_changed_one_does_not() {
        let keys = keys("a");
        let raw = keys.sign(b"{\"n\":1}");
        assert_eq!(keys.open(&raw).as_deref(), Some(&b"{\"n\":1}"[..]));
        for index in 0..raw.len() {
            let mut changed = raw.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("base64 and dots are ASCII");
            assert_eq!(keys.open(&changed), None, "byte {index}");
        }
        for end in 0..raw.len() {
            assert_eq!(keys.open(&raw[..end]), None, "cut at {end}");
        }
        for changed in [format!("{raw}="), format!("{raw}A"), format!("{raw}.A"), format!(".{raw}"), format!("{raw} ")]
        {
            assert_eq!(keys.open(&changed), None, "{changed}");
        }
    }

    #[test]
    fn a_later_secret_verifies_and_one_taken_away_does_not() {
        let raw = keys("a").sign(b"{}");
        assert!(keys("ba").open(&raw).is_some());
        assert!(keys("b").open(&raw).is_none());
        assert!(keys("a").open(&keys("ba").sign(b"{}")).is_none());
        assert!(keys("aa").open(&raw).is_some());
    }

    #[test]
    fn without_a_kid_every_secret_is_tried_and_with_one_only_the_named() {
        let header = |kid: &str| format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{kid}"}}"#);
        let both = keys("ab");
        assert!(both.open(&sign_with('b', r#"{"alg":"HS256"}"#, "{}")).is_some());
        assert!(both.open(&sign_with('b', r#"{"alg":"HS256","kid":null}"#, "{}")).is_some());
        assert!(both.open(&sign_with('b', &header(&both.keys[1].id), "{}")).is_some());
        assert!(both.open(&sign_with('b', &header(&both.keys[0].id), "{}")).is_none());
        assert!(both.open(&sign_with('b', &header("unknown"), "{}")).is_none());
        let first = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, both.keys[0].id);
        assert!(both.open(&sign_with('a', &first, "{}")).is_some());
        assert!(both.open(&sign_with('b', &first, "{}")).is_none());
        assert!(both.open(&sign_with('c', r#"{"alg":"HS256"}"#, "{}")).is_none());
    }

    #[test]
    fn a_header_that_asks_for_anything_else_is_refused_however_well_it_is_signed() {
        let keys = keys("a");
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS384"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"typ":"JWT"}"#,
            r#"["HS256"]"#,
            "HS256",
            "",
        ] {
            assert!(keys.open(&sign_with('a', header, "{}")).is_none(), "{header}");
        }
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
        assert!(keys.open(&unsigned).is_none());
    }

    #[test]
    fn a_text_above_the_bound_is_not_looked_at() {
        let keys = keys("a");
        let raw = keys.sign(&[b' '; 1_400]);
        assert!(raw.len() <= RAW_BYTES_MAX && keys.open(&raw).is_some());
        let raw = keys.sign(&[b' '; 1_500]);
        assert!(raw.len() > RAW_BYTES_MAX && keys.open(&raw).is_none());
    }
}
