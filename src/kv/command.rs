//! Calls of scripts, packed as Redis reads them while they are put together.

use std::io;

use redis::{RedisWrite, ToRedisArgs};

use crate::domain::Decimal;

/// Room for the arguments of a claim, so that packing one allocates once.
const CAPACITY: usize = 512;

/// A command of Redis, put together argument by argument.
#[derive(Debug, Clone)]
pub struct Command {
    count: usize,
    packed: Vec<u8>,
}

impl Command {
    /// A command that begins with `count` arguments, `packed` already.
    pub(super) fn begin(count: usize, packed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(CAPACITY);
        bytes.extend_from_slice(packed);
        Self { count, packed: bytes }
    }

    /// A command of Redis' own; `name` is its first word.
    pub fn plain(name: &str) -> Self {
        let mut command = Self::begin(0, &[]);
        command.write_arg(name.as_bytes());
        command
    }

    /// Adds an argument, or each of several.
    pub fn arg(&mut self, value: impl ToRedisArgs) -> &mut Self {
        value.write_redis_args(self);
        self
    }

    /// How many arguments it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Appends the whole command to `buffer`.
    pub(super) fn write_to(&self, buffer: &mut Vec<u8>) {
        Self::write_all(&[self], buffer);
    }

    /// Appends the command that these are the parts of.
    pub(super) fn write_all(parts: &[&Self], buffer: &mut Vec<u8>) {
        let count: usize = parts.iter().map(|part| part.count).sum();
        buffer.push(b'*');
        buffer.extend_from_slice(Decimal::new(count as u64).as_bytes());
        buffer.extend_from_slice(b"\r\n");
        parts.iter().for_each(|part| buffer.extend_from_slice(&part.packed));
    }
}

impl RedisWrite for Command {
    fn write_arg(&mut self, arg: &[u8]) {
        self.count += 1;
        push_length(&mut self.packed, arg.len());
        self.packed.extend_from_slice(arg);
        self.packed.extend_from_slice(b"\r\n");
    }

    fn writer_for_next_arg(&mut self) -> impl io::Write + '_ {
        NextArg { start: self.packed.len(), command: self }
    }
}

/// An argument whose length is known once it has been written.
struct NextArg<'a> {
    command: &'a mut Command,
    start: usize,
}

impl io::Write for NextArg<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.command.packed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NextArg<'_> {
    fn drop(&mut self) {
        let packed = &mut self.command.packed;
        let end = packed.len();
        push_length(packed, end - self.start);
        let length_bytes = packed.len() - end;
        packed[self.start..].rotate_right(length_bytes);
        packed.extend_from_slice(b"\r\n");
        self.command.count += 1;
    }
}

/// The line that announces a text.
fn push_length(packed: &mut Vec<u8>, length: usize) {
    packed.push(b'$');
    packed.extend_from_slice(Decimal::new(length as u64).as_bytes());
    packed.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::{Keys, Script};
    use crate::domain::CouponId;

    #[test]
    fn a_call_is_packed_as_the_redis_crate_packs_it() {
        let (keys, id) = (Keys::new("cr:"), CouponId(u64::MAX));
        let names = [keys.live(), keys.coupon(id), keys.outbox()];
        let mut ours = Script::Claim.call(&names);
        ours.arg("text").arg(String::new()).arg(7_u8).arg(-7_i64).arg(&[1_u32, 22]).arg(1.5);
        let mut packed = Vec::new();
        ours.write_to(&mut packed);

        let sha = redis::Script::new(include_str!("../../lua/claim.lua")).get_hash().to_owned();
        let mut theirs = redis::cmd("EVALSHA");
        theirs.arg(sha).arg(3).arg(names.map(|name| name.to_string()).to_vec());
        theirs.arg("text").arg(String::new()).arg(7_u8).arg(-7_i64).arg(&[1_u32, 22]).arg(1.5);
        assert_eq!(String::from_utf8(packed), String::from_utf8(theirs.get_packed_command()));
    }
}
