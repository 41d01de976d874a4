//! Page numbers of lists.

/// A page number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page(u64);

impl Page {
    /// Parses `page=` by the wire contract. An absent, empty, zero or negative number is page 1. Returns `None` for a
    /// text that is not an int64.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        let number = match text {
            None | Some("") => 1,
            Some(text) => text.parse::<i64>().ok()?,
        };
        Some(Self(u64::try_from(number).unwrap_or(1).max(1)))
    }

    /// Number of items before the page. Saturates, so a huge page number gives an empty page.
    pub const fn offset(self, page_items: u64) -> u64 {
        (self.0 - 1).saturating_mul(page_items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_what_the_wire_contract_says() {
        for text in [None, Some(""), Some("0"), Some("-3"), Some("1"), Some("-9223372036854775808")] {
            assert_eq!(Page::parse(text), Some(Page(1)), "{text:?}");
        }
        for text in ["x", "1.5", "1_0", "9223372036854775808", " 1"] {
            assert_eq!(Page::parse(Some(text)), None, "{text:?}");
        }
        assert_eq!(Page::parse(Some("2")).map(|page| page.offset(20)), Some(20));
        assert_eq!(Page::parse(Some("9223372036854775807")).map(|page| page.offset(20)), Some(u64::MAX));
    }
}
