//! Names of users, coupons and activities.
//!
//! Names are Unicode and case-sensitive. White space at either end is refused, because padded collations of MySQL
//! ignore trailing spaces. `/`, `.` and `..` are refused, because a name is a segment of a path. Control characters are
//! refused. An existing name may have all other characters, because no key and no statement is built from a name.
//!
//! A new name is stored in normalization form C, and has only characters that people see (`characters.rs`). A name in a
//! request is looked up as it was sent, then in this form.

use std::fmt;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::characters;

const USER_NAME_CHARS_MAX: usize = 64;
const COUPON_NAME_CHARS_MAX: usize = 60;
const ACTIVITY_NAME_CHARS_MAX: usize = 60;
/// The begin of the names of erased users.
pub const ERASED: &str = "erased-";

/// Why a text is refused as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name is too long")]
    TooLong,
    #[error("the name has a character that is not allowed")]
    NotAllowed,
    /// Only of new names.
    #[error("names that begin with {ERASED} are kept for erased users")]
    Reserved,
}

/// A user's name: 1 to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(String);

/// A coupon's name: 1 to 60 characters, unique among the coupons of a saler.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CouponName(String);

/// An activity's name: 1 to 60 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActivityName(String);

impl UserName {
    /// Takes `text` unchanged, without trimming or case folding.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule of the wire contract's registration table.
    pub fn parse(text: String) -> Result<Self, NameError> {
        check(&text, USER_NAME_CHARS_MAX).map(|()| Self(text))
    }

    /// The name of a new user, normalized.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule.
    pub fn parse_new(text: &str) -> Result<Self, NameError> {
        let name = Self::parse(text.nfc().collect())?;
        match &*name.0 {
            text if !characters::fit_user(text) => Err(NameError::NotAllowed),
            text if text.starts_with(ERASED) => Err(NameError::Reserved),
            _ => Ok(name),
        }
    }

    /// The name in normalization form C, if it has another form. New names have this form.
    pub fn normalized(&self) -> Option<Self> {
        normalized(&self.0).and_then(|text| Self::parse(text).ok())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CouponName {
    /// Takes `text` unchanged, without trimming or case folding.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule of the wire contract's coupon table.
    pub fn parse(text: String) -> Result<Self, NameError> {
        check(&text, COUPON_NAME_CHARS_MAX).map(|()| Self(text))
    }

    /// The name of a new coupon, normalized.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule.
    pub fn parse_new(text: &str) -> Result<Self, NameError> {
        let name = Self::parse(text.nfc().collect())?;
        if characters::fit_offer(&name.0) { Ok(name) } else { Err(NameError::NotAllowed) }
    }

    /// The name in normalization form C, if it has another form. New names have this form.
    pub fn normalized(&self) -> Option<Self> {
        normalized(&self.0).and_then(|text| Self::parse(text).ok())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ActivityName {
    /// Takes `text` unchanged. The name is no part of a path, so `/`, `.` and `..` are allowed.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule.
    pub fn parse(text: String) -> Result<Self, NameError> {
        check_text(&text, ACTIVITY_NAME_CHARS_MAX).map(|()| Self(text))
    }

    /// The new name of an activity, normalized.
    ///
    /// # Errors
    /// [`NameError`] names the broken rule.
    pub fn parse_new(text: &str) -> Result<Self, NameError> {
        let name = Self::parse(text.nfc().collect())?;
        if characters::fit_offer(&name.0) { Ok(name) } else { Err(NameError::NotAllowed) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CouponName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `text` in normalization form C, if it has another form. Names and paths are compared in this form, too.
pub fn normalized(text: &str) -> Option<String> {
    (!text.is_ascii() && !is_nfc(text)).then(|| text.nfc().collect())
}

fn check(text: &str, chars_max: usize) -> Result<(), NameError> {
    check_text(text, chars_max)?;
    let shapes_path = text.contains('/') || text == "." || text == "..";
    if shapes_path { Err(NameError::NotAllowed) } else { Ok(()) }
}

fn check_text(text: &str, chars_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > chars_max && text.chars().nth(chars_max).is_some() {
        return Err(NameError::TooLong);
    }
    let padded = text.trim() != text;
    if padded || text.chars().any(char::is_control) { Err(NameError::NotAllowed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(text: &str) -> Result<UserName, NameError> {
        UserName::parse(text.to_owned())
    }

    #[test]
    fn a_name_made_of_other_languages_syntax_is_a_name() {
        for text in
            ["{s0}", "*?[a]", "'; DROP TABLE users; --", "return redis.call('FLUSHALL')", "名前", "a b", "%2f", "ß"]
        {
            assert_eq!(user(text).map(|name| name.0), Ok(text.to_owned()));
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(user(&"é".repeat(64)).is_ok());
        assert_eq!(user(&"é".repeat(65)), Err(NameError::TooLong));
        assert!(CouponName::parse("券".repeat(60)).is_ok());
        assert_eq!(CouponName::parse("券".repeat(61)), Err(NameError::TooLong));
    }

    #[test]
    fn what_would_shape_a_path_or_be_padded_away_is_refused() {
        for text in [" a", "a ", "\u{3000}a", "a/b", "/", ".", "..", "a\u{0}b", "a\nb", "\u{85}a"] {
            assert_eq!(user(text), Err(NameError::NotAllowed), "{text:?}");
        }
        assert_eq!(user(""), Err(NameError::Empty));
        assert!(user("...").is_ok());
    }

    #[test]
    fn a_new_name_is_normalized_and_visible() {
        assert_eq!(UserName::parse_new("e\u{301}").map(|name| name.0), Ok("\u{e9}".to_owned()));
        assert_eq!(CouponName::parse_new("\u{1100}\u{1161}").map(|name| name.0), Ok("\u{ac00}".to_owned()));
        assert!(UserName::parse_new(&"e\u{301}".repeat(64)).is_ok(), "the normalized text counts");
        assert_eq!(UserName::parse_new("a\u{200b}b"), Err(NameError::NotAllowed));
        assert_eq!(CouponName::parse_new("a\u{202e}b"), Err(NameError::NotAllowed));
        assert_eq!(ActivityName::parse_new("\u{3164}"), Err(NameError::NotAllowed));
        assert!(CouponName::parse_new("❤\u{fe0f}").is_ok() && ActivityName::parse_new("a/❤\u{fe0f}").is_ok());
        assert_eq!(UserName::parse_new(""), Err(NameError::Empty));
        assert_eq!(UserName::parse_new(" a"), Err(NameError::NotAllowed));
    }

    #[test]
    fn names_of_erased_users_are_reserved() {
        assert_eq!(UserName::parse_new("erased-7"), Err(NameError::Reserved));
        assert!(UserName::parse("erased-7".to_owned()).is_ok(), "an erased user is read");
        assert!(UserName::parse_new("erased").is_ok() && UserName::parse_new("not-erased-7").is_ok());
        assert!(CouponName::parse_new("erased-7").is_ok());
    }

    proptest! {
        #[test]
        fn a_new_name_is_an_existing_name_that_stays_new(text in "\\PC{0,8}|[a-z\\p{M}\\p{So}\u{200d}\u{fe0f}\u{ac00}]{0,8}") {
            if let Ok(name) = UserName::parse_new(&text) {
                prop_assert_eq!(UserName::parse(name.0.clone()), Ok(name.clone()));
                prop_assert_eq!(UserName::parse_new(&name.0), Ok(name.clone()));
                prop_assert_eq!(CouponName::parse_new(&text).map(|coupon| coupon.0), Ok(name.0.clone()));
                prop_assert_eq!(name.normalized(), None);
            }
        }

        #[test]
        fn ascii_names_are_as_before(text in "[ -~]{1,60}") {
            prop_assert_eq!(CouponName::parse_new(&text), CouponName::parse(text.clone()));
            prop_assert_eq!(ActivityName::parse_new(&text), ActivityName::parse(text));
        }
    }
}
