//! Names of users, coupons and activities.
//!
//! Names are Unicode and case-sensitive. White space at either end is refused, because padded collations of MySQL
//! ignore trailing spaces. `/`, `.` and `..` are refused, because a name is a segment of a path. Control characters are
//! refused. All other characters are allowed, because no key and no statement is built from a name.

use std::fmt;

const USER_NAME_CHARS_MAX: usize = 64;
const COUPON_NAME_CHARS_MAX: usize = 60;
const ACTIVITY_NAME_CHARS_MAX: usize = 60;

/// Why a text is refused as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name is too long")]
    TooLong,
    #[error("the name has a character that is not allowed")]
    NotAllowed,
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
}
