//! Who made a change.

use super::UserName;

/// Who makes a change, as it is stored beside the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author<'a> {
    User(&'a UserName),
    /// An operator who has put a value into etcd.
    Etcd,
    /// The service itself. The author of the last change stays.
    Service,
}

impl<'a> Author<'a> {
    /// The text of the columns `changed_by` and `redeemed_by`, or `None` to keep their value.
    pub fn stored(self) -> Option<&'a str> {
        match self {
            Self::User(name) => Some(name.as_str()),
            Self::Etcd => Some("etcd"),
            Self::Service => None,
        }
    }
}
