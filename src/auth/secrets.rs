//! The operator's secrets for signing tokens.

use super::mac::MacKey;

const SECRET_BYTES_MIN: usize = 32;
/// A random secret of 32 bytes has more different bytes than this, also one of hex digits.
const DIFFERENT_BYTES_MIN: usize = 8;
/// Bounds the work for a token without `kid`, because all secrets are tried.
const SECRETS_MAX: usize = 16;
/// Derive separate keys, so that no kind of token can pass for another.
const CLAIM_LABEL: &[u8] = b"couponrush claim tokens";
const CHALLENGE_LABEL: &[u8] = b"couponrush challenges";
const TICKET_LABEL: &[u8] = b"couponrush tickets";
const DEVICE_LABEL: &[u8] = b"couponrush device marks";
const LINK_LABEL: &[u8] = b"couponrush password links";
const FACTOR_LABEL: &[u8] = b"couponrush second factors";

/// At least one secret. The first signs, all verify. Without `Debug` and `Display`, secrets cannot reach a log.
pub struct Secrets(Vec<Vec<u8>>);

/// Why a setting is refused. The message names the variable and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    #[error(
        "{variable}: every secret must have at least {SECRET_BYTES_MIN} bytes, but secret number {number} has {bytes}"
    )]
    TooShort { variable: &'static str, number: usize, bytes: usize },
    #[error("{variable}: at most {SECRETS_MAX} secrets are allowed, but {count} are set")]
    TooMany { variable: &'static str, count: usize },
}

impl Secrets {
    /// Splits `text` at commas. White space is part of a secret. `variable` is the name of the setting for messages.
    ///
    /// # Errors
    /// [`SecretsError`], a sentence for the operator.
    pub fn parse(variable: &'static str, text: &str) -> Result<Self, SecretsError> {
        let secrets: Vec<Vec<u8>> = text.split(',').map(|secret| secret.as_bytes().to_vec()).collect();
        if secrets.len() > SECRETS_MAX {
            return Err(SecretsError::TooMany { variable, count: secrets.len() });
        }
        match secrets.iter().position(|secret| secret.len() < SECRET_BYTES_MIN) {
            Some(index) => Err(SecretsError::TooShort { variable, number: index + 1, bytes: secrets[index].len() }),
            None => Ok(Self(secrets)),
        }
    }

    /// The number of the first secret that is easy to guess, from 1: one with fewer than 8 different bytes.
    pub fn weak(&self) -> Option<usize> {
        let different = |secret: &[u8]| {
            let mut bytes = secret.to_vec();
            bytes.sort_unstable();
            bytes.dedup();
            bytes.len()
        };
        self.iter().position(|secret| different(secret) < DIFFERENT_BYTES_MIN).map(|index| index + 1)
    }

    /// Derives the secrets of claim tokens, for operators without secrets for claims. Each secret gives a derived
    /// secret, in equal order. Claim tokens therefore stay valid while the operator replaces a secret.
    pub fn for_claims(&self) -> Self {
        self.derived(CLAIM_LABEL)
    }

    /// Derives the secrets of challenges from those of claim tokens.
    pub(super) fn for_challenges(&self) -> Self {
        self.derived(CHALLENGE_LABEL)
    }

    /// Derives the secrets of tickets from those of claim tokens.
    pub(super) fn for_tickets(&self) -> Self {
        self.derived(TICKET_LABEL)
    }

    /// Derives the secrets of marks of devices, in the same way.
    pub(super) fn for_devices(&self) -> Self {
        self.derived(DEVICE_LABEL)
    }

    /// Derives the secrets of links that set a password, in the same way.
    pub(super) fn for_links(&self) -> Self {
        self.derived(LINK_LABEL)
    }

    /// Derives the secrets that encrypt second factors, in the same way.
    pub(super) fn for_factors(&self) -> Self {
        self.derived(FACTOR_LABEL)
    }

    fn derived(&self, label: &[u8]) -> Self {
        Self(self.0.iter().map(|secret| MacKey::new(secret).sign(&[label]).to_vec()).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Secrets, SecretsError> {
        Secrets::parse("COUPONRUSH_JWT_SECRET", text)
    }

    #[test]
    fn a_secret_has_at_least_32_bytes_as_it_stands() {
        assert_eq!(parse(&"é".repeat(16)).map(|secrets| secrets.0.len()), Ok(1));
        let padded = format!("{:>32}", "x");
        let secrets = parse(&format!("{padded},{}", "y".repeat(40))).expect("both are long enough");
        assert_eq!(secrets.iter().collect::<Vec<_>>(), [padded.as_bytes(), "y".repeat(40).as_bytes()]);
        let long = "x".repeat(32);
        for (text, number, bytes) in
            [("", 1, 0), (&long[1..], 1, 31), (&format!("{long},"), 2, 0), (&format!("{long},short,{long}"), 2, 5)]
        {
            let expected = SecretsError::TooShort { variable: "COUPONRUSH_JWT_SECRET", number, bytes };
            assert_eq!(parse(text).err(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn a_secret_of_few_different_bytes_is_weak() {
        let (weak, strong) = ("abcdefg".repeat(5), "0123456789abcdef".repeat(2));
        assert_eq!(parse(&weak).map(|secrets| secrets.weak()), Ok(Some(1)));
        assert_eq!(parse(&strong).map(|secrets| secrets.weak()), Ok(None));
        assert_eq!(parse(&format!("{strong},{weak}")).map(|secrets| secrets.weak()), Ok(Some(2)));
    }

    #[test]
    fn how_many_secrets_are_tried_is_bounded() {
        let text = vec!["x".repeat(32); 17].join(",");
        assert_eq!(parse(&text).err(), Some(SecretsError::TooMany { variable: "COUPONRUSH_JWT_SECRET", count: 17 }));
        assert!(parse(&text[33..]).is_ok());
    }

    #[test]
    fn the_error_names_the_variable_and_not_the_secret() {
        let message = parse("hunter2-hunter2").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.starts_with("COUPONRUSH_JWT_SECRET: "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn secrets_for_claims_are_not_the_secrets_themselves_but_always_the_same() {
        let secrets = parse(&format!("{},{}", "a".repeat(32), "b".repeat(32))).expect("both are long enough");
        let derived = secrets.for_claims();
        assert_eq!(derived.0.len(), 2);
        assert!(derived.iter().all(|secret| secret.len() == 32 && secrets.iter().all(|given| given != secret)));
        assert_eq!(derived.0, secrets.for_claims().0);
        assert_ne!(derived.0[0], derived.0[1]);
    }
}
