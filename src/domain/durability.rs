//! The promise of an answer to a claim.

use std::str::FromStr;

/// What is certain about a claim when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Redis has granted the claim, and this process keeps it in memory until MySQL has stored it.
    Granted,
    /// MySQL has committed the claim.
    Stored,
}

/// The text is not a word of [`Durability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be granted or stored")]
pub struct DurabilityError;

impl Durability {
    /// The word in headers and settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Stored => "stored",
        }
    }
}

impl FromStr for Durability {
    type Err = DurabilityError;

    fn from_str(text: &str) -> Result<Self, DurabilityError> {
        let all = [Self::Granted, Self::Stored];
        all.into_iter().find(|durability| durability.word() == text).ok_or(DurabilityError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        for durability in [Durability::Granted, Durability::Stored] {
            assert_eq!(durability.word().parse(), Ok(durability));
        }
        assert_eq!("Stored".parse::<Durability>(), Err(DurabilityError));
    }
}
