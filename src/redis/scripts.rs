//! The Lua scripts, their calls and their replies.
//!
//! The files in `lua/` document the arguments and replies of each script.

use std::str::FromStr;
use std::sync::LazyLock;

use redis::{Cmd, FromRedisValue, ToRedisArgs, Value};

use super::KvError;

/// A script in `lua/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Claim,
    SetCoupon,
    ArchiveCoupon,
    DeleteArchived,
    BeginReturn,
    FindCoupon,
    ListOffered,
    ReadOutbox,
    DeleteEntries,
    MoveUnread,
    RaiseCounter,
    TakeLive,
    TakeOwner,
    Adopt,
    LoadClaims,
    LoadActivities,
    ForgetKeys,
    ReadUnits,
}

/// Sources and hashes of the scripts, in the order of [`Script`].
static SCRIPTS: LazyLock<[(&str, String); 18]> = LazyLock::new(|| {
    [
        include_str!("../../lua/claim.lua"),
        include_str!("../../lua/set_coupon.lua"),
        include_str!("../../lua/archive_coupon.lua"),
        include_str!("../../lua/delete_archived.lua"),
        include_str!("../../lua/begin_return.lua"),
        include_str!("../../lua/find_coupon.lua"),
        include_str!("../../lua/list_offered.lua"),
        include_str!("../../lua/read_outbox.lua"),
        include_str!("../../lua/delete_entries.lua"),
        include_str!("../../lua/move_unread.lua"),
        include_str!("../../lua/raise_counter.lua"),
        include_str!("../../lua/take_live.lua"),
        include_str!("../../lua/take_owner.lua"),
        include_str!("../../lua/adopt.lua"),
        include_str!("../../lua/load_claims.lua"),
        include_str!("../../lua/load_activities.lua"),
        include_str!("../../lua/forget_keys.lua"),
        include_str!("../../lua/read_units.lua"),
    ]
    .map(|code| (code, redis::Script::new(code).get_hash().to_owned()))
});

impl Script {
    /// `EVALSHA` with `keys`. The caller adds the arguments.
    pub fn call<K: ToRedisArgs>(self, keys: &[K]) -> Cmd {
        let mut cmd = self.begin(keys.len(), 0, 0);
        cmd.arg(keys);
        cmd
    }

    /// `EVALSHA` up to the number of keys, with room for arguments. The caller adds keys and arguments.
    pub(super) fn begin(self, keys: usize, arguments_room: usize, bytes_room: usize) -> Cmd {
        let (_, hash) = &SCRIPTS[self as usize];
        let mut cmd = Cmd::with_capacity(3 + keys + arguments_room, 64 + bytes_room);
        cmd.arg("EVALSHA").arg(hash).arg(keys);
        cmd
    }

    /// Sources of all scripts, for `SCRIPT LOAD`.
    pub(super) fn sources() -> impl Iterator<Item = &'static str> {
        SCRIPTS.iter().map(|(code, _)| *code)
    }
}

/// A script's reply: an array that begins with a word, or a word alone.
#[derive(Debug)]
pub struct ScriptReply(Vec<Value>);

impl ScriptReply {
    /// [`KvError::Unreadable`] unless `value` is a text or an array that begins with a text.
    pub(super) fn new(value: Value) -> Result<Self, KvError> {
        let parts = match value {
            Value::Array(parts) => parts,
            text => vec![text],
        };
        match parts.first() {
            Some(Value::BulkString(_)) => Ok(Self(parts)),
            _ => Err(KvError::Unreadable),
        }
    }

    pub fn word(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// How many parts follow the word.
    pub fn parts(&self) -> usize {
        self.0.len() - 1
    }

    /// The part at `index`, counted from 1 behind the word. [`KvError::Unreadable`] if missing or not UTF-8.
    pub fn text(&self, index: usize) -> Result<&str, KvError> {
        self.0.get(index).map_or(Err(KvError::Unreadable), text)
    }

    /// The part at `index`, in a form for logs.
    pub fn lossy(&self, index: usize) -> String {
        match self.0.get(index) {
            Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The part at `index` as a number. Hashes of Redis give numbers as text. [`KvError::Unreadable`] if the part is
    /// missing or not a number of that type.
    pub fn number<T: TryFrom<i64> + FromStr>(&self, index: usize) -> Result<T, KvError> {
        match self.0.get(index) {
            Some(Value::Int(number)) => T::try_from(*number).map_err(|_| KvError::Unreadable),
            _ => self.text(index)?.parse().map_err(|_| KvError::Unreadable),
        }
    }
}

/// Converts a reply. [`KvError::Unreadable`] if the reply has another type.
pub(super) fn parse<T: FromRedisValue>(reply: Value) -> Result<T, KvError> {
    redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)
}

/// Reads a text. [`KvError::Unreadable`] if `value` is not a text or not UTF-8.
pub(super) fn text(value: &Value) -> Result<&str, KvError> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| KvError::Unreadable),
        _ => Err(KvError::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use crate::redis::scripts::{KvError, ScriptReply, Value};

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_reply_is_read_by_its_parts() {
        let nested = Value::Array(vec![Value::Int(1)]);
        let parts = vec![text("claimed"), Value::Int(5), text("12"), Value::Nil, nested, text("名")];
        let reply = ScriptReply::new(Value::Array(parts)).expect("an array that begins with a text");
        assert_eq!((reply.word(), reply.parts()), ("claimed", 5));
        assert_eq!((reply.number::<u32>(1).ok(), reply.number::<u32>(2).ok()), (Some(5), Some(12)));
        assert!(reply.text(1).is_err() && reply.text(3).is_err() && reply.text(4).is_err() && reply.text(6).is_err());
        assert_eq!(reply.text(5).ok(), Some("名"));
        assert!(reply.number::<u32>(5).is_err());
    }

    #[test]
    fn a_text_is_an_array_of_one() {
        let reply = ScriptReply::new(text("sold-out")).expect("a text");
        assert_eq!((reply.word(), reply.parts(), reply.text(1).is_err()), ("sold-out", 0, true));
    }

    #[test]
    fn a_number_out_of_its_range_is_not_one() {
        let reply = ScriptReply::new(Value::Array(vec![text("x"), Value::Int(-1), text("256")])).expect("an array");
        assert!(reply.number::<u32>(1).is_err() && reply.number::<u8>(2).is_err());
    }

    #[test]
    fn other_replies_are_unreadable() {
        for value in [Value::Array(vec![]), Value::Nil, Value::Array(vec![Value::Int(1)]), Value::Okay, Value::Int(1)] {
            assert!(matches!(ScriptReply::new(value), Err(KvError::Unreadable)));
        }
    }
}
