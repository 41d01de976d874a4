//! Numbers as text, for where they are written with every claim: the standard library's formatting takes several times as
//! long.

/// Digits of the largest `u64`.
const DIGITS_MAX: usize = 20;

/// A number's decimal digits.
pub struct Decimal {
    digits: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    pub fn new(mut number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; DIGITS_MAX], DIGITS_MAX - 1);
        while number > 9 {
            digits[start] += (number % 10) as u8;
            number /= 10;
            start -= 1;
        }
        digits[start] += number as u8;
        Self { digits, start }
    }

    /// ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_number(bits in 0..=64_u32, number: u64) {
            let number = number.checked_shr(bits).unwrap_or(0);
            prop_assert_eq!(Decimal::new(number).as_bytes().to_vec(), number.to_string().into_bytes());
        }
    }

    #[test]
    fn the_least_and_the_greatest_fit() {
        assert_eq!(Decimal::new(0).as_bytes(), b"0");
        assert_eq!(Decimal::new(u64::MAX).as_bytes(), b"18446744073709551615");
    }
}
