//! Keys of merchants, for programs and tills: `crk_<id and check>_<secret>`.
//!
//! The id has 32 bits, the check 28, and the secret 160, in base32 (RFC 4648, lower case). The check is a checksum, so a mistyped key
//! fails before any look-up, and scanners for leaked keys find few other texts. It is no MAC: a change of
//! `COUPONRUSH_JWT_SECRET` must not end the keys of all tills. MySQL has the SHA-256 of the secret. A slow hash would protect no
//! better, because nobody can guess 160 bits.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::domain::{KeyHash, KeyId};

const PREFIX: &str = "crk_";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEAD_CHARS: usize = 12;
const SECRET_CHARS: usize = 32;
const CHECK_BITS: u32 = 28;
/// Bits of a character.
const CHAR_BITS: usize = 5;
/// Five bytes are eight characters.
const GROUP_BYTES: usize = 5;
const GROUP_CHARS: usize = 8;

/// The random part of a key. Without `Debug`, it cannot reach a log.
pub struct KeySecret([u8; 20]);

/// A key as text. [`fmt::Display`] writes the text, which is shown once.
pub struct MerchantKey {
    pub id: KeyId,
    pub secret: KeySecret,
}

impl KeySecret {
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0).into())
    }
}

impl MerchantKey {
    /// Whether a token of `Authorization` is meant as a key.
    pub fn is_meant(raw: &[u8]) -> bool {
        raw.starts_with(PREFIX.as_bytes())
    }

    /// The key, or `None` if the text is not one.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let text = raw.strip_prefix(PREFIX.as_bytes())?;
        let (head, secret) = text.split_at_checked(HEAD_CHARS)?;
        let secret = secret.strip_prefix(b"_").filter(|secret| secret.len() == SECRET_CHARS)?;
        let head = bits(head)?;
        let mut bytes = [0; 20];
        for (bytes, chars) in bytes.chunks_exact_mut(GROUP_BYTES).zip(secret.chunks_exact(GROUP_CHARS)) {
            bytes.copy_from_slice(&bits(chars)?.to_be_bytes()[8 - GROUP_BYTES..]);
        }
        let key = Self { id: KeyId(u32::try_from(head >> CHECK_BITS).ok()?), secret: KeySecret(bytes) };
        (key.head() == head).then_some(key)
    }

    /// The id and the check.
    fn head(&self) -> u64 {
        let digest = Sha256::new().chain_update(self.id.0.to_be_bytes()).chain_update(self.secret.0).finalize();
        let check = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> (u32::BITS - CHECK_BITS);
        (u64::from(self.id.0) << CHECK_BITS) | u64::from(check)
    }
}

impl fmt::Display for MerchantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        write_bits(f, self.head(), HEAD_CHARS)?;
        f.write_str("_")?;
        for group in self.secret.0.chunks_exact(GROUP_BYTES) {
            write_bits(f, group.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)), GROUP_CHARS)?;
        }
        Ok(())
    }
}

/// Up to twelve characters as a number. `None` for other characters.
fn bits(chars: &[u8]) -> Option<u64> {
    chars.iter().try_fold(0, |bits, char| {
        let place = ALPHABET.iter().position(|known| known == char)?;
        Some(bits << CHAR_BITS | place as u64)
    })
}

fn write_bits(f: &mut fmt::Formatter<'_>, bits: u64, chars: usize) -> fmt::Result {
    let mask = ALPHABET.len() as u64 - 1;
    let place = |index| usize::try_from(bits >> (CHAR_BITS * index) & mask).expect("the mask has five bits");
    (0..chars).rev().try_for_each(|index| write!(f, "{}", char::from(ALPHABET[place(index)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        for id in [1, 7, u32::MAX] {
            let key = MerchantKey { id: KeyId(id), secret: KeySecret::random() };
            let text = key.to_string();
            assert_eq!((text.len(), &text[..4], &text[16..17]), (49, "crk_", "_"));
            let read = MerchantKey::parse(text.as_bytes()).expect("the same key");
            assert_eq!((read.id, read.secret.hash()), (key.id, key.secret.hash()));
        }
        let [one, other] = [(); 2].map(|()| KeySecret::random());
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn a_key_with_any_other_character_is_none() {
        let text = MerchantKey { id: KeyId(7), secret: KeySecret::random() }.to_string();
        for place in 0..text.len() {
            for other in ["a", "b", "A", "_", "=", "1"].into_iter().filter(|other| *other != &text[place..=place]) {
                let changed = format!("{}{other}{}", &text[..place], &text[place + 1..]);
                assert!(MerchantKey::parse(changed.as_bytes()).is_none(), "{changed}");
            }
        }
        for wrong in ["", "crk_", &text[..48], &format!("{text}a"), &text.to_uppercase(), &text.replace("crk_", "")] {
            assert!(MerchantKey::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(MerchantKey::is_meant(text.as_bytes()) && !MerchantKey::is_meant(b"eyJhbGciOiJIUzI1NiJ9"));
    }
}
