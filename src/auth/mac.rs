//! HMAC-SHA256 (RFC 2104). A key is prepared once and used many times.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret prepared as a key. Without `Debug` and `Display`, a key cannot reach a log.
pub(super) struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret may have any length"))
    }

    /// The tag of all `parts`, concatenated.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag of `signed`. The comparison takes constant time.
    pub(super) fn has_signed(&self, signed: &[u8], tag: &[u8]) -> bool {
        self.0.clone().chain_update(signed).verify_slice(tag).is_ok()
    }
}
