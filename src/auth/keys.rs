//! Signs and opens tokens: JSON Web Signatures in compact form (RFC 7515), HS256 only, by the crate `jsonwebtoken`.
//!
//! The crate reads headers and checks signatures. The caller judges the payload, including all times. The crate's
//! `decode` would do the same, but copies every text of the payload (`docs/decisions/0002-jsonwebtoken.md`).

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde::Serialize;

use super::mac::MacKey;
use super::provider;
use super::secrets::Secrets;

/// The issuer of all tokens, and the audience of session tokens.
pub(super) const ISSUER: &str = "couponrush";

/// Longer tokens are refused unread. The longest user names make a token of under 1,400 bytes.
const TOKEN_BYTES_MAX: usize = 2_048;
const ID_LABEL: &[u8] = b"couponrush key id";

pub(super) struct TokenKeys {
    keys: Vec<TokenKey>,
    base64: Simd,
}

struct TokenKey {
    /// The `kid` in headers. Derived from the secret, without revealing the secret.
    id: String,
    /// The encoded header of all tokens signed with the key, and the dot after the header.
    header: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl TokenKeys {
    pub(super) fn new(secrets: &Secrets) -> Self {
        provider::install();
        Self { keys: secrets.iter().map(TokenKey::new).collect(), base64: Simd::url_safe(NO_PAD) }
    }

    /// Signs `payload` with the first key. Equal payloads give equal tokens.
    pub(super) fn sign(&self, payload: &impl Serialize) -> String {
        let key = &self.keys[0];
        let mut token = key.header.clone();
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(payload).expect("texts and numbers are JSON"), &mut token);
        let signature = crypto::sign(token.as_bytes(), &key.signing, Algorithm::HS256);
        token.push('.');
        token.push_str(&signature.expect("the provider signs every message with HS256"));
        token
    }

    /// The payload of `raw` as JSON, or `None` unless a key has signed `raw`. A `kid` in the header chooses the key.
    /// Without a `kid`, all keys are tried. A header with `crit` or an algorithm other than HS256 is refused.
    pub(super) fn open(&self, raw: &[u8]) -> Option<Vec<u8>> {
        if raw.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let raw = std::str::from_utf8(raw).ok()?;
        let (signed, signature) = raw.rsplit_once('.')?;
        // Headers of our own are recognised by their bytes. Parsing every header costs half of a check.
        let header;
        let kid = match self.keys.iter().find(|key| raw.starts_with(&key.header)) {
            Some(key) => Some(&key.id),
            None => {
                header = jsonwebtoken::decode_header(raw).ok()?;
                if header.alg != Algorithm::HS256 || header.crit.is_some() {
                    return None;
                }
                header.kid.as_ref()
            }
        };
        let mut keys = self.keys.iter().filter(|key| kid.is_none_or(|kid| *kid == key.id));
        if !keys.any(|key| key.has_signed(signed, signature)) {
            return None;
        }
        let (_, payload) = signed.split_once('.')?;
        self.base64.decode(payload).ok()
    }
}

impl TokenKey {
    fn new(secret: &[u8]) -> Self {
        let id: String = MacKey::new(secret).sign(&[ID_LABEL])[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{id}"}}"#)) + ".";
        let not_empty = "every secret has at least 32 bytes";
        Self {
            id,
            header,
            signing: EncodingKey::from_secret(secret).expect(not_empty),
            verifying: DecodingKey::from_secret(secret).expect(not_empty),
        }
    }

    fn has_signed(&self, signed: &str, signature: &str) -> bool {
        let verified = crypto::verify(signature, signed.as_bytes(), &self.verifying, Algorithm::HS256);
        verified.is_ok_and(|is_right| is_right)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// One secret for each letter: the letter repeated 32 times.
    pub(crate) fn secrets(letters: &str) -> Secrets {
        let texts: Vec<String> = letters.chars().map(|letter| letter.to_string().repeat(32)).collect();
        Secrets::parse("TEST", &texts.join(",")).expect("32 bytes each")
    }

    /// A token with any header and payload, signed with the secret made of `letter`.
    pub(crate) fn sign_with(letter: char, header: &str, payload: &str) -> String {
        let key = MacKey::new(letter.to_string().repeat(32).as_bytes());
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&[text.as_bytes()]));
        format!("{text}.{signature}")
    }

    fn keys(letters: &str) -> TokenKeys {
        TokenKeys::new(&secrets(letters))
    }

    fn open(keys: &TokenKeys, raw: &str) -> Option<Value> {
        keys.open(raw.as_bytes()).and_then(|payload| serde_json::from_slice(&payload).ok())
    }

    #[test]
    fn a_signed_text_opens_and_a_changed_one_does_not() {
        let keys = keys("a");
        let raw = keys.sign(&json!({"n": 1}));
        assert_eq!(open(&keys, &raw), Some(json!({"n": 1})));
        for index in 0..raw.len() {
            let mut changed = raw.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("base64 and dots are ASCII");
            assert_eq!(open(&keys, &changed), None, "byte {index}");
        }
        for end in 0..raw.len() {
            assert_eq!(open(&keys, &raw[..end]), None, "cut at {end}");
        }
        for changed in [format!("{raw}="), format!("{raw}A"), format!("{raw}.A"), format!(".{raw}"), format!("{raw} ")]
        {
            assert_eq!(open(&keys, &changed), None, "{changed}");
        }
    }

    #[test]
    fn a_later_secret_verifies_and_one_taken_away_does_not() {
        let raw = keys("a").sign(&json!({}));
        assert!(open(&keys("ba"), &raw).is_some());
        assert!(open(&keys("b"), &raw).is_none());
        assert!(open(&keys("a"), &keys("ba").sign(&json!({}))).is_none());
        assert!(open(&keys("aa"), &raw).is_some());
    }

    #[test]
    fn without_a_kid_every_secret_is_tried_and_with_one_only_the_named() {
        let header = |kid: &str| format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{kid}"}}"#);
        let both = keys("ab");
        assert!(open(&both, &sign_with('b', r#"{"alg":"HS256"}"#, "{}")).is_some());
        assert!(open(&both, &sign_with('b', r#"{"alg":"HS256","kid":null}"#, "{}")).is_some());
        assert!(open(&both, &sign_with('b', &header(&both.keys[1].id), "{}")).is_some());
        assert!(open(&both, &sign_with('b', &header(&both.keys[0].id), "{}")).is_none());
        assert!(open(&both, &sign_with('b', &header("unknown"), "{}")).is_none());
        let first = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, both.keys[0].id);
        assert!(open(&both, &sign_with('a', &first, "{}")).is_some());
        assert!(open(&both, &sign_with('b', &first, "{}")).is_none());
        assert!(open(&both, &sign_with('c', r#"{"alg":"HS256"}"#, "{}")).is_none());
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
            r#"{"alg":"HS256","crit":["b64"],"b64":true}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","kid":"x","kid":null}"#,
            r#"{"typ":"JWT"}"#,
            r#"["HS256"]"#,
            "HS256",
            "",
        ] {
            assert!(open(&keys, &sign_with('a', header, "{}")).is_none(), "{header}");
        }
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
        assert!(open(&keys, &unsigned).is_none());
    }

    #[test]
    fn a_text_above_the_bound_is_not_looked_at() {
        let keys = keys("a");
        for (bytes, is_read) in [(1_400, true), (1_500, false)] {
            let raw = keys.sign(&json!({"n": " ".repeat(bytes)}));
            assert_eq!((raw.len() <= TOKEN_BYTES_MAX, open(&keys, &raw).is_some()), (is_read, is_read));
        }
    }
}
