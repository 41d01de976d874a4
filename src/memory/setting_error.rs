//! The error for a limit or a switch with an invalid value.

/// A sentence about the first invalid field. Clients receive it as `errMsg`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {wanted}.")]
pub struct BadSetting {
    field: &'static str,
    wanted: String,
}

impl BadSetting {
    pub(super) fn new(field: &'static str, wanted: String) -> Self {
        Self { field, wanted }
    }

    /// The key of the JSON object whose value is wrong.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}
