//! Skeletons of names, which are equal for names that look alike.

use unicode_security::skeleton;

use super::UserName;

/// Bytes that are compared. A ligature may have a skeleton of many letters. 768 bytes fit into a key of MySQL.
const BYTES_MAX: usize = 768;

/// The skeleton of a saler's name, by UTS 39. Letters of other alphabets, digits like letters, and forms like bold or wide
/// letters become the plain letter that they resemble. Case is kept, except for letters that look alike in both cases.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Skeleton(Vec<u8>);

impl Skeleton {
    pub fn of(name: &UserName) -> Self {
        let mut bytes = skeleton(name.as_str()).collect::<String>().into_bytes();
        bytes.truncate(BYTES_MAX);
        Self(bytes)
    }

    /// At most 768 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Skeleton {
        Skeleton::of(&UserName::parse(name.to_owned()).expect("a name"))
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (name, twin) in [
            ("paypal", "p\u{430}ypal"),
            ("shop", "\u{455}h\u{43e}p"),
            ("shop", "ｓｈｏｐ"),
            ("shop", "𝐬𝐡𝐨𝐩"),
            ("shop1", "shopl"),
            ("SHOP0", "SHOPO"),
            ("modern", "modem"),
            ("e\u{301}clair", "\u{e9}clair"),
            ("shop", "s\u{200b}ho\u{2060}p"),
            ("a b", "a\u{a0}b"),
        ] {
            assert_eq!(of(name), of(twin), "{twin:?}");
        }
    }

    #[test]
    fn other_names_have_other_skeletons() {
        for (name, other) in
            [("shop", "Shop"), ("shop", "shop2"), ("shop", "shops"), ("名前", "名"), ("eclair", "\u{e9}clair")]
        {
            assert_ne!(of(name), of(other), "{other:?}");
        }
    }

    #[test]
    fn a_skeleton_has_a_greatest_length() {
        assert_eq!(of(&"\u{fdfa}".repeat(64)).as_bytes().len(), BYTES_MAX);
        assert!(of(&"𝐬".repeat(64)).as_bytes().len() < BYTES_MAX);
    }
}
