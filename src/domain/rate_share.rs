//! How the instances of an installation share a rate limit.

use std::str::FromStr;

/// The part of a limit that a single instance admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateShare {
    /// The limit divided by the number of serving instances, rounded up. A load balancer spreads each user over all.
    Divided,
    /// The whole limit. A load balancer sends each user and each address to one instance.
    Whole,
}

/// The text is not a word of [`RateShare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be divided or whole")]
pub struct RateShareError;

impl RateShare {
    /// The word in settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Divided => "divided",
            Self::Whole => "whole",
        }
    }

    /// The part of `limit` of one of `serving` instances. 0 is no limit, and stays 0.
    pub const fn of(self, limit: u32, serving: u32) -> u32 {
        match self {
            Self::Divided if serving > 1 => limit.div_ceil(serving),
            Self::Divided | Self::Whole => limit,
        }
    }
}

impl FromStr for RateShare {
    type Err = RateShareError;

    fn from_str(text: &str) -> Result<Self, RateShareError> {
        [Self::Divided, Self::Whole].into_iter().find(|share| share.word() == text).ok_or(RateShareError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divided_limit_is_rounded_up_and_no_limit_stays_none() {
        let divided = |limit, serving| RateShare::Divided.of(limit, serving);
        assert_eq!((divided(20, 0), divided(20, 1), divided(20, 3), divided(1, 100)), (20, 20, 7, 1));
        assert_eq!((divided(0, 3), RateShare::Whole.of(20, 3)), (0, 20));
    }

    #[test]
    fn every_word_is_read() {
        for share in [RateShare::Divided, RateShare::Whole] {
            assert_eq!(share.word().parse(), Ok(share));
        }
        assert_eq!("half".parse::<RateShare>(), Err(RateShareError));
    }
}
