//! What Redis replies, read from whole replies.

use std::ops::Range;
use std::str::FromStr;

use redis::Value;

use super::KvError;
use super::frame::{Head, Scan, head};

/// An array: a script's reply, whose first element is a word, or what a plain command gives. A text counts as an array of one.
#[derive(Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// Where it stands in the bytes.
    Text(Range<usize>),
    Number(i64),
    /// What no script of this program puts into its array: null, a status, another array.
    Other,
}

impl Reply {
    /// Reads a script's reply.
    ///
    /// # Errors
    /// What Redis said instead, or [`KvError::Unreadable`] where it is neither a text nor an array that begins with one.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, KvError> {
        Self::array(bytes).and_then(|reply| match reply.parts.first() {
            Some(Part::Text(_)) => Ok(reply),
            _ => Err(KvError::Unreadable),
        })
    }

    /// Reads any array, or a text.
    ///
    /// # Errors
    /// What Redis said instead, or [`KvError::Unreadable`] where it is neither.
    pub(super) fn array(bytes: Vec<u8>) -> Result<Self, KvError> {
        if bytes.first() == Some(&b'-') {
            value(&bytes)?;
        }
        let parts = parts(&bytes).ok_or(KvError::Unreadable)?;
        Ok(Self { bytes, parts })
    }

    /// The word that says what happened.
    pub fn word(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// How many parts follow the word.
    pub fn parts(&self) -> usize {
        self.parts.len() - 1
    }

    /// How many elements the array has, the word among them.
    pub fn elements(&self) -> usize {
        self.parts.len()
    }

    /// The part at `index`, counted from 1 behind the word, as text.
    ///
    /// # Errors
    /// [`KvError::Unreadable`] where there is no such part or it is not UTF-8.
    pub fn text(&self, index: usize) -> Result<&str, KvError> {
        match self.parts.get(index) {
            Some(Part::Text(place)) => std::str::from_utf8(&self.bytes[place.clone()]).map_err(|_| KvError::Unreadable),
            _ => Err(KvError::Unreadable),
        }
    }

    /// The part at `index`, counted from 1, whatever it is, for people to read.
    pub fn lossy(&self, index: usize) -> String {
        match self.parts.get(index) {
            Some(Part::Text(place)) => String::from_utf8_lossy(&self.bytes[place.clone()]).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The part at `index`, counted from 1, as a number; Redis' hashes give numbers as text.
    ///
    /// # Errors
    /// [`KvError::Unreadable`] where there is no such part or it is not a number of that type.
    pub fn number<T: TryFrom<i64> + FromStr>(&self, index: usize) -> Result<T, KvError> {
        match self.parts.get(index) {
            Some(Part::Number(number)) => T::try_from(*number).map_err(|_| KvError::Unreadable),
            _ => self.text(index)?.parse().map_err(|_| KvError::Unreadable),
        }
    }
}

/// The elements of an array, or a text as one; `None` where `bytes` are neither.
fn parts(bytes: &[u8]) -> Option<Vec<Part>> {
    let (count, mut at) = match head(bytes).ok()?? {
        (Head::Array(count), line) => (count, line),
        (Head::Text(Some(_)), _) => (1, 0),
        _ => return None,
    };
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let rest = &bytes[at..];
        let (head, line) = head(rest).ok()??;
        parts.push(match head {
            Head::Text(Some(length)) => Part::Text(at + line..at + line + length),
            Head::Number(number) => Part::Number(number),
            Head::Line | Head::Text(None) | Head::Array(_) => Part::Other,
        });
        at += match head {
            Head::Text(Some(length)) => line + length + 2,
            Head::Line | Head::Text(None) | Head::Number(_) => line,
            Head::Array(_) => Scan::new(1).end(rest).ok()??,
        };
    }
    Some(parts)
}

/// Any reply, as the `redis` crate gives it.
///
/// # Errors
/// Where Redis answered with an error.
pub(super) fn value(bytes: &[u8]) -> Result<Value, KvError> {
    Ok(redis::parse_redis_value(bytes)?.extract_error()?)
}

/// Replies in a row.
///
/// # Errors
/// The first error among them.
pub(super) fn each<T>(mut bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, KvError>) -> Result<Vec<T>, KvError> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let end = Scan::new(1).end(bytes).ok().flatten().ok_or(KvError::Unreadable)?;
        let (reply, rest) = bytes.split_at(end);
        replies.push(read(reply)?);
        bytes = rest;
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_reply_is_read_by_its_parts() {
        let reply = b"*6\r\n$7\r\nclaimed\r\n:5\r\n$2\r\n12\r\n$-1\r\n*2\r\n:1\r\n:2\r\n$3\r\n\xe5\x90\x8d\r\n";
        let reply = Reply::new(reply.to_vec()).expect("an array that begins with a text");
        assert_eq!((reply.word(), reply.parts()), ("claimed", 5));
        assert_eq!((reply.number::<u32>(1).ok(), reply.number::<u32>(2).ok()), (Some(5), Some(12)));
        assert_eq!(reply.number::<i8>(1).ok(), Some(5));
        assert!(reply.text(1).is_err() && reply.text(3).is_err() && reply.text(4).is_err() && reply.text(6).is_err());
        assert_eq!(reply.text(5).ok(), Some("名"));
        assert!(reply.number::<u32>(5).is_err());
    }

    #[test]
    fn a_text_is_an_array_of_one() {
        let reply = Reply::new(b"$8\r\nsold-out\r\n".to_vec()).expect("a text");
        assert_eq!((reply.word(), reply.parts(), reply.text(1).is_err()), ("sold-out", 0, true));
    }

    #[test]
    fn a_number_out_of_its_range_is_not_one() {
        let reply = Reply::new(b"*3\r\n$1\r\nx\r\n:-1\r\n$3\r\n256\r\n".to_vec()).expect("an array");
        assert!(reply.number::<u32>(1).is_err() && reply.number::<u8>(2).is_err());
    }

    #[test]
    fn what_no_script_replies_is_unreadable_and_an_error_says_what_happened() {
        for bytes in [&b"*0\r\n"[..], b"*-1\r\n", b"*1\r\n:1\r\n", b"+OK\r\n", b":1\r\n", b"$-1\r\n"] {
            assert!(matches!(Reply::new(bytes.to_vec()), Err(KvError::Unreadable)), "{bytes:?}");
        }
        let error = |bytes: &[u8]| Reply::new(bytes.to_vec()).expect_err("it is an error");
        assert!(error(b"-NOSCRIPT No matching script.\r\n").is_no_script());
        assert!(error(b"-OOM command not allowed\r\n").nothing_happened());
        assert!(!error(b"-ERR user_script:7: broken\r\n").nothing_happened());
    }
}
