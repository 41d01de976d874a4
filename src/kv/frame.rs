//! Where a reply of Redis ends (RESP2), found without looking at what it says.
//!
//! A socket gives replies in any pieces, so a scan goes on where the last one had to stop: however large a reply is, it is
//! gone through once.

/// Parts of one reply, counted over all levels; the largest read of this program has some thousands.
const PARTS_MAX: usize = 1 << 24;
/// The longest text that Redis itself stores.
const TEXT_BYTES_MAX: usize = 512 << 20;
/// A type, a sign and 19 digits, with room.
const NUMBER_LINE_BYTES_MAX: usize = 32;

/// Bytes that are not RESP2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reply of Redis")]
pub(super) struct Malformed;

/// What a line announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A status or an error: the line is all of it.
    Line,
    Number(i64),
    /// A text of so many bytes, which follow; `None` for null.
    Text(Option<usize>),
    /// So many values, which follow; null counts as none.
    Array(usize),
}

/// A scan for the end of several replies in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the next value begins. May lie beyond what has been read: a text's length is known before the text.
    at: usize,
    /// Values that have not begun yet.
    open: usize,
}

impl Scan {
    /// Looks for the end of `replies` replies.
    pub(super) fn new(replies: usize) -> Self {
        Self { at: 0, open: replies }
    }

    /// Goes on over `bytes`, which begin where the replies do. Their length; `None` while they are incomplete.
    ///
    /// # Errors
    /// [`Malformed`]: where later replies begin cannot be known.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while self.open > 0 {
            let Some((head, length)) = head(bytes.get(self.at..).unwrap_or_default())? else { return Ok(None) };
            let (text, parts) = match head {
                Head::Line | Head::Number(_) | Head::Text(None) => (0, 0),
                Head::Text(Some(length)) => (length + 2, 0),
                Head::Array(parts) => (0, parts),
            };
            self.at += length + text;
            self.open = self.open - 1 + parts;
            if self.open > PARTS_MAX {
                return Err(Malformed);
            }
        }
        Ok((self.at <= bytes.len()).then_some(self.at))
    }
}

/// What `bytes` begin with, and the length of the line that says so; `None` while it is incomplete.
///
/// # Errors
/// [`Malformed`].
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\r') else {
        let is_number = matches!(bytes, [b':' | b'$' | b'*', ..]);
        let (is_text, begun) = (matches!(bytes, [b'+' | b'-', ..]), !bytes.is_empty());
        let endless = is_number && bytes.len() > NUMBER_LINE_BYTES_MAX;
        return if endless || (begun && !is_text && !is_number) { Err(Malformed) } else { Ok(None) };
    };
    match bytes.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(Malformed),
    }
    let (kind, digits) = bytes[..end].split_first().ok_or(Malformed)?;
    let head = match kind {
        b'+' | b'-' => Head::Line,
        b':' => Head::Number(number(digits)?),
        b'$' => Head::Text(size(digits, TEXT_BYTES_MAX)?),
        b'*' => Head::Array(size(digits, PARTS_MAX)?.unwrap_or(0)),
        _ => return Err(Malformed),
    };
    Ok(Some((head, end + 2)))
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

/// `None` for null.
fn size(digits: &[u8], max: usize) -> Result<Option<usize>, Malformed> {
    match number(digits)? {
        -1 => Ok(None),
        size => usize::try_from(size).ok().filter(|size| *size <= max).map(Some).ok_or(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply as Redis would send it.
    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
            "[ -~]{0,20}".prop_map(|text| format!("-ERR {text}\r\n").into_bytes()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|text| {
                let head = format!("${}\r\n", text.len()).into_bytes();
                [head, text, b"\r\n".to_vec()].concat()
            }),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
        ];
        leaf.prop_recursive(3, 30, 5, |part| {
            prop::collection::vec(part, 0..5)
                .prop_map(|parts| [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat())
        })
    }

    proptest! {
        #[test]
        fn the_end_is_found_wherever_replies_are_torn(
            replies in prop::collection::vec(reply(), 1..5),
            behind in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let sent = replies.concat();
            let bytes = [sent.clone(), behind].concat();
            for torn in 0..sent.len() {
                let mut scan = Scan::new(replies.len());
                prop_assert_eq!(scan.end(&bytes[..torn]), Ok(None));
                prop_assert_eq!(scan.end(&bytes), Ok(Some(sent.len())), "torn at {}", torn);
            }
            let mut scan = Scan::new(replies.len());
            for length in 0..sent.len() {
                prop_assert_eq!(scan.end(&bytes[..length]), Ok(None));
            }
            prop_assert_eq!(scan.end(&bytes), Ok(Some(sent.len())));
        }

        #[test]
        fn no_bytes_panic_or_end_behind_themselves(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(Some(end)) = Scan::new(1).end(&bytes) {
                prop_assert!(end <= bytes.len());
            }
        }
    }

    #[test]
    fn what_redis_never_sends_is_malformed_as_soon_as_it_can_be_known() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"x",
            b":\r\n",
            b":1x\r\n",
            b"$-2\r\n",
            b"$536870913\r\n",
            b"*16777217\r\n",
            b"$5\rx",
            b"$00000000000000000000000000000000000",
        ] {
            assert_eq!(Scan::new(1).end(bytes), Err(Malformed), "{bytes:?}");
        }
        let nested = b"*16777216\r\n*16777216\r\n";
        assert_eq!(Scan::new(1).end(nested), Err(Malformed));
    }
}
