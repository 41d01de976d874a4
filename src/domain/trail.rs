//! Events of the audit trail.

use super::Address;

/// A request in the audit trail: who did what, when, and from where. Has no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailEntry {
    /// Milliseconds since 1970, by the clock of the instance.
    pub at_ms: u64,
    /// The name of the user, or `key:` and the id of a key. Empty if unknown.
    pub actor: String,
    /// The kind of the user of a valid session, or `key`. Empty without a session.
    pub kind: &'static str,
    /// The operation in the OpenAPI document.
    pub event: String,
    /// The path of the request.
    pub object: String,
    pub address: Address,
    pub request_id: String,
    /// The status of the answer.
    pub status: u16,
    /// Number of equal requests in the same minute without an entry.
    pub repeated: u32,
}

impl TrailEntry {
    const OBJECT_CHARS_MAX: usize = 200;
    const ACTOR_CHARS_MAX: usize = 64;

    /// A path of a request, decoded, printable and of bounded length.
    pub fn object_of(path: &str) -> String {
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        printable(&decoded, Self::OBJECT_CHARS_MAX)
    }

    /// A user name, printable and of bounded length.
    pub fn actor_of(name: &str) -> String {
        printable(name, Self::ACTOR_CHARS_MAX)
    }

    /// Whether both entries are equal apart from time, path and request id.
    pub fn is_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.address == other.address
            && self.actor == other.actor
            && self.event == other.event
    }
}

/// At most `max` characters of a text. Replaces characters that move the cursor, or hide or reverse text.
fn printable(text: &str, max: usize) -> String {
    let is_tricky = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().take(max).map(|character| if is_tricky(character) { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_readable_and_short_and_turns_no_line_around() {
        assert_eq!(TrailEntry::object_of("/api/users/%E5%92%96%E5%95%A1/coupons"), "/api/users/咖啡/coupons");
        assert_eq!(TrailEntry::object_of("/a%0Ab%E2%80%AEc%ff"), "/a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(TrailEntry::object_of(&"/x".repeat(500)).chars().count(), 200);
        assert_eq!(TrailEntry::actor_of(&"n".repeat(500)).len(), 64);
    }
}
