//! Conditions of an activity that hold off robots. All are off by default.

use super::UserId;

/// Whom an activity lets claim. Whoever holds a claim already is told so in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    pub registered: Option<RegisteredBefore>,
    /// Maximum winners of a network in the activity, 1 to [`Conditions::NETWORK_WINNERS_MAX`]. 0 means no limit.
    pub network_winners: u16,
    pub ticket: Option<TicketRule>,
}

/// Only users who registered before this time may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisteredBefore {
    /// Seconds since 1970.
    pub seconds: u64,
    /// The last user of that time. Ids rise with the time of registration.
    pub last_user: UserId,
}

/// Where the tickets of an activity come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketRule {
    /// Proof of work: a SHA-256 hash that begins with this number of zero bits, 1 to [`TicketRule::BITS_MAX`].
    Work { bits: u8 },
    /// The operator's own check signs tickets.
    Signed,
}

impl Conditions {
    pub const NETWORK_WINNERS_MAX: u16 = 1_000;

    pub const fn is_none(&self) -> bool {
        self.registered.is_none() && self.network_winners == 0 && self.ticket.is_none()
    }
}

impl TicketRule {
    /// Half a minute of a phone's time.
    pub const BITS_MAX: u8 = 22;

    /// The rule with a number on the wire: 0 no ticket, 1 to 22 bits of work, -1 signed. The outer `None` is for other
    /// numbers.
    pub fn from_number(number: i8) -> Option<Option<Self>> {
        match number {
            0 => Some(None),
            -1 => Some(Some(Self::Signed)),
            _ => {
                let bits = u8::try_from(number).ok().filter(|bits| *bits <= Self::BITS_MAX)?;
                Some(Some(Self::Work { bits }))
            }
        }
    }

    /// The number of a rule on the wire.
    pub fn number(rule: Option<Self>) -> i8 {
        match rule {
            None => 0,
            Some(Self::Signed) => -1,
            Some(Self::Work { bits }) => i8::try_from(bits).unwrap_or(i8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_number_on_the_wire() {
        for number in i8::MIN..=i8::MAX {
            let rule = TicketRule::from_number(number);
            assert_eq!(rule.is_some(), (-1..=22).contains(&number), "{number}");
            assert!(rule.is_none_or(|rule| TicketRule::number(rule) == number), "{number}");
        }
        assert_eq!(TicketRule::from_number(0), Some(None));
    }
}
