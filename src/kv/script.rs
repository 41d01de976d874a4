//! The Lua scripts, and how they are called.
//!
//! The files in `lua/` say what each takes and replies.

use std::sync::LazyLock;

use redis::ToRedisArgs;

use super::Command;

/// A script in `lua/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Claim,
    SetCoupon,
    FindCoupon,
    ListOffered,
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
    /// `EVALSHA` and the script's name, packed.
    call: Vec<u8>,
}

/// In the order of [`Script`].
static SCRIPTS: LazyLock<[Loaded; 11]> = LazyLock::new(|| {
    [
        include_str!("../../lua/claim.lua"),
        include_str!("../../lua/set_coupon.lua"),
        include_str!("../../lua/find_coupon.lua"),
        include_str!("../../lua/list_offered.lua"),
        include_str!("../../lua/read_outbox.lua"),
        include_str!("../../lua/delete_entries.lua"),
        include_str!("../../lua/take_live.lua"),
        include_str!("../../lua/load_claims.lua"),
        include_str!("../../lua/load_activities.lua"),
        include_str!("../../lua/forget_keys.lua"),
        include_str!("../../lua/read_units.lua"),
    ]
    .map(|code| Loaded { code, call: packed_call(redis::Script::new(code).get_hash()) })
});

impl Script {
    /// `EVALSHA` of this script with `keys`; arguments follow by [`Command::arg`].
    pub fn call<K: ToRedisArgs>(self, keys: &[K]) -> Command {
        let mut command = Command::begin(2, &SCRIPTS[self as usize].call);
        command.arg(keys.len()).arg(keys);
        command
    }

    /// Appends `EVALSHA` of this script with keys and arguments that are packed already, in parts.
    pub(super) fn write_call(self, keys: &[&Command], arguments: &[&Command], buffer: &mut Vec<u8>) {
        let mut begin = Command::begin(2, &SCRIPTS[self as usize].call);
        begin.arg(keys.iter().map(|part| part.count()).sum::<usize>());
        Command::write_all(&[&[&begin], keys, arguments].concat(), buffer);
    }

    /// The source of every script, to be loaded into a server.
    pub(super) fn sources() -> impl Iterator<Item = &'static str> {
        SCRIPTS.iter().map(|script| script.code)
    }
}

fn packed_call(sha: &str) -> Vec<u8> {
    format!("$7\r\nEVALSHA\r\n${}\r\n{sha}\r\n", sha.len()).into_bytes()
}
