//! Who made a change.

/// Who makes a change, as it is stored beside the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author<'a> {
    /// The name of a user, or `key:` with the id of a merchant's key.
    Named(&'a str),
    /// An operator who has put a value into etcd.
    Etcd,
    /// The service itself. The author of the last change stays.
    Service,
}

impl<'a> Author<'a> {
    /// The text of the columns `changed_by` and `redeemed_by`, or `None` to keep their value.
    pub fn stored(self) -> Option<&'a str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Etcd => Some("etcd"),
            Self::Service => None,
        }
    }
}
