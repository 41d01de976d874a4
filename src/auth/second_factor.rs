//! Second factors: codes of an app on a telephone (TOTP, RFC 6238), and recovery codes for a lost telephone.
//!
//! A code counts for its own step of 30 s, the step before and the step after, because clocks differ and people type slowly.
//! The caller lets each step count once, and stores the secret only as a [`SealedSecret`]. A recovery code has 120 random bits,
//! so its SHA-256 can be stored: nobody can try all codes.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::keys::ISSUER;
use super::mac::MacKey;
use super::secrets::Secrets;
use crate::domain::{UserId, UserName};

/// Recovery codes of a user.
pub const RECOVERY_CODES: usize = 10;

const SECRET_BYTES: usize = 20;
const STEP_SECONDS: u64 = 30;
const DIGITS: u8 = 6;
/// Steps before and after the present one whose codes count.
const SKEW_STEPS: u16 = 1;
/// Base32 letters of a recovery code, and of each group. 24 letters have 120 bits.
const RECOVERY_LETTERS: usize = 24;
const GROUP_LETTERS: usize = 4;

const KEY_ID_LABEL: &[u8] = b"couponrush factor key id";
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;

/// The secret that a telephone shares with the service. Without `Debug` and `Display`, a secret cannot reach a log.
pub struct FactorSecret(Totp);

/// A code that counts once, instead of a code of the telephone.
pub struct RecoveryCode(String);

/// An encrypted secret: id of the key, nonce, ciphertext and tag. Bound to its user, so that a row cannot be copied to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

/// Encrypts secrets with the first key, and decrypts them with all keys.
pub struct FactorKeys(Vec<FactorKey>);

struct FactorKey {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl FactorSecret {
    pub fn random() -> Self {
        Self::of(rand::random())
    }

    fn of(bytes: [u8; SECRET_BYTES]) -> Self {
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(DIGITS).with_skew(SKEW_STEPS);
        let totp = builder.with_step_duration(STEP_SECONDS).with_secret(Secret::new_stack(bytes)).build();
        Self(totp.expect("20 bytes, 6 digits and 30 s are allowed"))
    }

    /// The secret as people type it into an app, in base32.
    pub fn text(&self) -> String {
        self.0.secret().to_base32()
    }

    /// The address that apps read from a QR code.
    pub fn uri(&self, name: &UserName) -> String {
        let name = utf8_percent_encode(name.as_str(), NON_ALPHANUMERIC);
        let secret = self.text();
        format!(
            "otpauth://totp/{ISSUER}:{name}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
        )
    }

    /// The step whose code this is, or `None` for a wrong code. Spaces are ignored, because apps show codes in groups.
    pub fn step_of(&self, code: &str, now_seconds: u64) -> Option<u64> {
        self.0.check(&without_gaps(code), now_seconds)
    }
}

impl RecoveryCode {
    /// New codes for a user.
    pub fn random_set() -> Vec<Self> {
        let random = || {
            let bytes: [u8; SECRET_BYTES] = rand::random();
            let letters = Secret::new_stack(bytes).to_base32().to_ascii_lowercase();
            Self(letters[..RECOVERY_LETTERS].to_owned())
        };
        std::iter::repeat_with(random).take(RECOVERY_CODES).collect()
    }

    /// A code as a user types it, or `None` for a text that cannot be a recovery code.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = without_gaps(text).to_ascii_lowercase();
        (letters.len() == RECOVERY_LETTERS && letters.is_ascii()).then_some(Self(letters))
    }

    /// The code for people, in groups.
    pub fn text(&self) -> String {
        let groups: Vec<&str> =
            (0..RECOVERY_LETTERS).step_by(GROUP_LETTERS).map(|at| &self.0[at..at + GROUP_LETTERS]).collect();
        groups.join("-")
    }

    /// The stored form.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

fn without_gaps(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace() && *character != '-').collect()
}

impl FactorKeys {
    /// `secrets` are the operator's secrets for session tokens. The keys of second factors are derived.
    pub fn new(secrets: &Secrets) -> Self {
        Self(secrets.for_factors().iter().map(FactorKey::new).collect())
    }

    /// Encrypts the secret of a user.
    pub fn seal(&self, user: UserId, secret: &FactorSecret) -> SealedSecret {
        let key = &self.0[0];
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret.0.secret().as_bytes(), aad: &user.0.to_be_bytes() };
        let encrypted = key.cipher.encrypt(&XNonce::from(nonce), payload).expect("20 bytes are not too long");
        SealedSecret([&key.id[..], &nonce, &encrypted].concat())
    }

    /// Decrypts the secret of a user. `None` if the key is none of ours any more, or the bytes are not of this user.
    pub fn open(&self, user: UserId, sealed: &SealedSecret) -> Option<FactorSecret> {
        let (id, rest) = sealed.0.split_first_chunk::<KEY_ID_BYTES>()?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let key = self.0.iter().find(|key| key.id == *id)?;
        let payload = Payload { msg: encrypted, aad: &user.0.to_be_bytes() };
        let secret = key.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(FactorSecret::of(secret.try_into().ok()?))
    }

    /// Whether the first key has encrypted the secret. If not, the caller stores it encrypted again.
    pub fn is_current(&self, sealed: &SealedSecret) -> bool {
        sealed.0.starts_with(&self.0[0].id)
    }
}

impl FactorKey {
    fn new(secret: &[u8]) -> Self {
        let id = *MacKey::new(secret).sign(&[KEY_ID_LABEL]).first_chunk().expect("a tag has 32 bytes");
        Self { id, cipher: XChaCha20Poly1305::new_from_slice(secret).expect("a derived secret has 32 bytes") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::secrets;
    use super::*;

    const NOW: u64 = 1_800_000_015;
    const ANN: UserId = UserId(7);

    /// The secret of RFC 6238, appendix B.
    fn of_the_rfc() -> FactorSecret {
        FactorSecret::of(*b"12345678901234567890")
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(of_the_rfc().step_of(code, seconds), Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn a_code_counts_a_step_early_or_late_and_no_longer() {
        let secret = of_the_rfc();
        let step = NOW / 30;
        let code = secret.0.generate(NOW).to_string();
        for (now, counts) in
            [(NOW - 46, false), (NOW - 45, true), (NOW, true), (NOW + 44, true), (NOW + 45, false), (0, false)]
        {
            assert_eq!(secret.step_of(&code, now), counts.then_some(step), "{now}");
        }
        let spaced = format!(" {} {}\n", &code[..3], &code[3..]);
        assert_eq!(secret.step_of(&spaced, NOW), Some(step));
        for wrong in ["", "0", "1234567", "+12345", "١٢٣٤٥٦", &code[1..]] {
            assert_eq!(secret.step_of(wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn apps_read_the_secret_from_the_address() {
        let name = UserName::parse("a b/é".replace('/', "&")).expect("a name");
        let expected = "otpauth://totp/couponrush:a%20b%26%C3%A9?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=couponrush\
            &algorithm=SHA1&digits=6&period=30";
        assert_eq!(of_the_rfc().uri(&name), expected);
        assert_ne!(FactorSecret::random().text(), FactorSecret::random().text());
    }

    #[test]
    fn a_secret_opens_for_its_user_alone_and_not_when_it_was_changed() {
        let keys = FactorKeys::new(&secrets("a"));
        let secret = FactorSecret::random();
        let sealed = keys.seal(ANN, &secret);
        let opened = |sealed: &SealedSecret, user| keys.open(user, sealed).map(|secret| secret.text());
        assert_eq!(opened(&sealed, ANN), Some(secret.text()));
        assert_eq!(opened(&sealed, UserId(8)), None);
        assert_ne!(keys.seal(ANN, &secret), sealed, "each has its own nonce");
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert_eq!(opened(&changed, ANN), None, "byte {at}");
            assert_eq!(opened(&SealedSecret(sealed.0[..at].to_vec()), ANN), None, "cut at {at}");
        }
        let secret_bytes = secret.0.secret().as_bytes();
        assert!(!sealed.0.windows(4).any(|bytes| bytes == &secret_bytes[..4]), "the secret itself is not stored");
    }

    #[test]
    fn secrets_follow_a_change_of_the_operators_secret() {
        let sealed = FactorKeys::new(&secrets("a")).seal(ANN, &of_the_rfc());
        let both = FactorKeys::new(&secrets("ba"));
        assert!(both.open(ANN, &sealed).is_some());
        assert!(!both.is_current(&sealed) && FactorKeys::new(&secrets("ab")).is_current(&sealed));
        let again = both.seal(ANN, &of_the_rfc());
        assert!(both.is_current(&again));
        let new = FactorKeys::new(&secrets("b"));
        assert!(new.open(ANN, &again).is_some() && new.open(ANN, &sealed).is_none());
    }

    #[test]
    fn a_recovery_code_reads_back_however_it_is_typed() {
        let codes = RecoveryCode::random_set();
        let mut hashes: Vec<[u8; 32]> = codes.iter().map(RecoveryCode::hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 10, "all differ");
        let text = codes[0].text();
        assert_eq!(text.len(), 29);
        for typed in [text.clone(), text.replace('-', ""), text.replace('-', " ").to_uppercase()] {
            assert_eq!(RecoveryCode::parse(&typed).map(|code| code.hash()), Some(codes[0].hash()), "{typed}");
        }
        for wrong in ["", "123456", &text[1..], &"é".repeat(12)] {
            assert!(RecoveryCode::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(RecoveryCode("abc".to_owned()).hash()[..4], [0xba, 0x78, 0x16, 0xbf], "SHA-256");
    }
}
