//! Pages of lists.

/// A page of a list, by its number from 1, or by the last item of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Page {
    Numbered(u64),
    /// The items behind the item with this id, or `seq`, in the order of the list. A store finds them by an index.
    After(u64),
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStart {
    /// The number of items before the page. A store counts them, so the number is bounded.
    Skip(u64),
    After(u64),
}

/// A query has no such page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageError {
    Number,
    After,
}

impl Page {
    /// The last page with a number. Later ones are empty, and `after=` leads there.
    pub const NUMBER_MAX: u64 = 1_000;

    /// Parses `page=` by the wire contract. An absent, empty, zero or negative number is page 1.
    ///
    /// # Errors
    /// [`PageError::Number`] for a text that is not an int64.
    pub fn parse(text: Option<&str>) -> Result<Self, PageError> {
        let number = match text {
            None | Some("") => 1,
            Some(text) => text.parse::<i64>().map_err(|_| PageError::Number)?,
        };
        Ok(Self::Numbered(u64::try_from(number).unwrap_or(1).max(1)))
    }

    /// Parses `page=` and `after=`, which comes first. An empty `after=` is absent.
    ///
    /// # Errors
    /// [`PageError`]
    pub fn parse_or_after(number: Option<&str>, after: Option<&str>) -> Result<Self, PageError> {
        let page = Self::parse(number)?;
        match after {
            None | Some("") => Ok(page),
            Some(text) => Ok(Self::After(text.parse().map_err(|_| PageError::After)?)),
        }
    }

    /// Where the page begins. `None` beyond the last page with a number.
    pub const fn start(self, page_items: u64) -> Option<PageStart> {
        match self {
            Self::After(item) => Some(PageStart::After(item)),
            Self::Numbered(number) if number <= Self::NUMBER_MAX => Some(PageStart::Skip((number - 1) * page_items)),
            Self::Numbered(_) => None,
        }
    }

    /// The number of items before the page, for a list without `after=`. `None` beyond the last page with a number.
    pub const fn skipped(self, page_items: u64) -> Option<u64> {
        match self.start(page_items) {
            Some(PageStart::Skip(items)) => Some(items),
            Some(PageStart::After(_)) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_what_the_wire_contract_says() {
        for text in [None, Some(""), Some("0"), Some("-3"), Some("1"), Some("-9223372036854775808")] {
            assert_eq!(Page::parse(text), Ok(Page::Numbered(1)), "{text:?}");
        }
        for text in ["x", "1.5", "1_0", "9223372036854775808", " 1"] {
            assert_eq!(Page::parse(Some(text)), Err(PageError::Number), "{text:?}");
        }
        assert_eq!(Page::parse(Some("2")).map(|page| page.start(20)), Ok(Some(PageStart::Skip(20))));
    }

    #[test]
    fn far_pages_have_no_number_and_follow_an_item() {
        let start = |number, after| Page::parse_or_after(number, after).map(|page| page.start(20));
        assert_eq!(start(Some("1000"), None), Ok(Some(PageStart::Skip(19_980))));
        for number in ["1001", "9223372036854775807"] {
            assert_eq!(start(Some(number), Some("")), Ok(None), "{number}");
        }
        assert_eq!(start(Some("1001"), Some("7")), Ok(Some(PageStart::After(7))));
        assert_eq!(start(None, Some("18446744073709551615")), Ok(Some(PageStart::After(u64::MAX))));
        for after in ["x", "-1", "1.5", " 1", "18446744073709551616"] {
            assert_eq!(start(None, Some(after)), Err(PageError::After), "{after}");
        }
        assert_eq!(start(Some("x"), Some("7")), Err(PageError::Number));
    }
}
