//! The Lua scripts, and how they are called.
//!
//! The files in `lua/` say what each takes and replies.

use std::str::FromStr;
use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs, Value};

use super::KvError;

/// A script in `lua/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Claim,
    SetCoupon,
    FindCoupon,
    ListOffered,
    ListHeld,
    ReadOutbox,
    DeleteEntries,
    TakeLive,
    LoadClaims,
    LoadActivities,
    ForgetKeys,
    ReadUnits,
}

struct Loaded {
    code: &'static str,
    sha: String,
}

/// In the order of [`Script`].
static SCRIPTS: LazyLock<[Loaded; 12]> = LazyLock::new(|| {
    [
        include_str!("../../lua/claim.lua"),
        include_str!("../../lua/set_coupon.lua"),
        include_str!("../../lua/find_coupon.lua"),
        include_str!("../../lua/list_offered.lua"),
        include_str!("../../lua/list_held.lua"),
        include_str!("../../lua/read_outbox.lua"),
        include_str!("../../lua/delete_entries.lua"),
        include_str!("../../lua/take_live.lua"),
        include_str!("../../lua/load_claims.lua"),
        include_str!("../../lua/load_activities.lua"),
        include_str!("../../lua/forget_keys.lua"),
        include_str!("../../lua/read_units.lua"),
    ]
    .map(|code| Loaded { code, sha: redis::Script::new(code).get_hash().to_owned() })
});

impl Script {
    /// `EVALSHA` of this script with `keys`; arguments follow by [`Cmd::arg`].
    pub fn call<K: ToRedisArgs>(self, keys: &[K]) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg("EVALSHA").arg(&SCRIPTS[self as usize].sha).arg(keys.len()).arg(keys);
        cmd
    }

    /// The source of every script, to be loaded into a server.
    pub(super) fn sources() -> impl Iterator<Item = &'static str> {
        SCRIPTS.iter().map(|script| script.code)
    }
}

/// A script's reply: an array whose first element is a word.
#[derive(Debug)]
pub struct Reply(Vec<Value>);

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self, KvError> {
        match value {
            Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(_))) => Ok(Self(parts)),
            _ => Err(KvError::Unreadable),
        }
    }

    /// The word that says what happened.
    pub fn word(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// How many parts follow the word.
    pub fn parts(&self) -> usize {
        self.0.len() - 1
    }

    /// The part at `index`, counted from 1, as text.
    ///
    /// # Errors
    /// [`KvError::Unreadable`] where there is no such part or it is not UTF-8.
    pub fn text(&self, index: usize) -> Result<&str, KvError> {
        match self.0.get(index) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).map_err(|_| KvError::Unreadable),
            _ => Err(KvError::Unreadable),
        }
    }

    /// The part at `index`, counted from 1, whatever it is, for people to read.
    pub fn lossy(&self, index: usize) -> String {
        match self.0.get(index) {
            Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The part at `index`, counted from 1, as a number; Redis' hashes give numbers as text.
    ///
    /// # Errors
    /// [`KvError::Unreadable`] where there is no such part or it is not a number of that type.
    pub fn number<T: TryFrom<i64> + FromStr>(&self, index: usize) -> Result<T, KvError> {
        match self.0.get(index) {
            Some(Value::Int(number)) => T::try_from(*number).map_err(|_| KvError::Unreadable),
            _ => self.text(index)?.parse().map_err(|_| KvError::Unreadable),
        }
    }
}
