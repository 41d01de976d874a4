//! The rights of the Redis user.
//!
//! The commands are queued in a transaction that is discarded. Redis checks the rights when a command is queued, so no
//! command runs.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::{Calls, Keys, KvError, WriteRefusal};

/// A call of every command that the program or a script sends, with valid numbers of arguments. `KEY` stands for a key.
const CALLS: [&str; 34] = [
    "GET KEY",
    "MGET KEY",
    "SET KEY 0",
    "INCR KEY",
    "INCRBY KEY 1",
    "DECRBY KEY 1",
    "DEL KEY",
    "UNLINK KEY",
    "EXISTS KEY",
    "PTTL KEY",
    "PEXPIRE KEY 1",
    "HGET KEY 0",
    "HGETALL KEY",
    "HMGET KEY 0",
    "HSET KEY 0 0",
    "HSETNX KEY 0 0",
    "HDEL KEY 0",
    "LINDEX KEY 0",
    "LLEN KEY",
    "LPOP KEY",
    "RPUSH KEY 0",
    "XADD KEY * 0 0",
    "XDEL KEY 0-1",
    "XLEN KEY",
    "XRANGE KEY - +",
    "XREVRANGE KEY + -",
    "ZADD KEY 0 0",
    "ZRANGE KEY 0 0",
    "SCAN 0",
    "TIME",
    "PING",
    "UNWATCH",
    "SCRIPT LOAD 0",
    "EVALSHA 0 0",
];

/// A call that the user may not make.
#[derive(Debug, thiserror::Error)]
#[error("{call} is refused, {source}")]
pub struct MissingRight {
    call: String,
    source: KvError,
}

/// Checks that the user may make every call of the program, on keys of the prefix. `wait` limits each of the two calls.
/// A user without the right to `MULTI` is not checked.
///
/// # Errors
/// The first [`MissingRight`]. Any other error proves nothing, and is ignored.
pub async fn check(calls: &Calls, keys: &Keys, wait: Duration) -> Result<(), MissingRight> {
    if calls.call(&redis::cmd("MULTI"), wait).await.is_err() {
        return Ok(());
    }
    let key = keys.rights().to_string();
    let named: Vec<String> = CALLS.iter().map(|call| call.replace("KEY", &key)).collect();
    let mut pipeline = Pipeline::with_capacity(named.len() + 1);
    for call in &named {
        let mut words = call.split(' ');
        let command = pipeline.cmd(words.next().unwrap_or_default());
        words.fold(command, |command, word| command.arg(word));
    }
    pipeline.cmd("DISCARD");
    let replies: Vec<Value> = calls.call_each(&pipeline, wait).await.unwrap_or_default();
    for (call, reply) in named.into_iter().zip(replies) {
        let refused = reply.extract_error().err().map(KvError::from);
        if let Some(source) = refused.filter(|error| error.write_refusal() == Some(WriteRefusal::NoPermission)) {
            return Err(MissingRight { call, source });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CALLS;
    use crate::redis::Script;

    #[test]
    fn the_commands_of_every_script_are_checked() {
        let checked: BTreeSet<&str> = CALLS.iter().filter_map(|call| call.split(' ').next()).collect();
        let mut called = BTreeSet::new();
        for code in Script::sources() {
            for word in ["call('", "call, '"] {
                called.extend(code.split(word).skip(1).filter_map(|rest| rest.split('\'').next()));
            }
        }
        assert!(called.len() > 20, "{called:?}");
        assert_eq!(called.difference(&checked).collect::<Vec<_>>(), [] as [&&str; 0]);
    }
}
