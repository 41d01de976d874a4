//! HMAC-SHA256 (RFC 2104) with keys that are prepared once.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret as a key. It has no `Debug` and no `Display`, so it cannot reach a log.
pub(super) struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// The key of a secret of any length.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret may have any length"))
    }

    /// The tag of the parts, as if they were written one after the other.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag of `signed`, in a time that does not tell how much of it is right.
    pub(super) fn has_signed(&self, signed: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(signed);
        mac.verify_slice(tag).is_ok()
    }
}
