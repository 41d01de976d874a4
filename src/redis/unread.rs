//! The stream `unread`: entries of the outbox that could not be read. Rebuilds keep the stream.

use std::time::Duration;

use redis::Cmd;

use super::{Calls, Keys, KvError, parse};
use crate::domain::Epoch;

/// Ids and fields of entries, in the form of `XRANGE`.
type RawEntries = Vec<(String, Vec<Vec<u8>>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadEntry {
    /// The id in `unread`.
    pub id: String,
    /// The id that the entry had in the outbox.
    pub entry: String,
    /// The epoch in which the entry was read. Empty if somebody has edited the stream.
    pub epoch: String,
    /// The names and values of the entry's fields. Bytes that are not UTF-8 are replaced.
    pub fields: Vec<String>,
}

/// Whether the last entry was read in `epoch`. Redis may then have a claim that MySQL lacks.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn has_entry_of(calls: &Calls, keys: &Keys, epoch: Epoch, wait: Duration) -> Result<bool, KvError> {
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(keys.unread()).arg("+").arg("-").arg("COUNT").arg(1);
    let last = read(calls, &cmd, wait).await?;
    Ok(last.first().is_some_and(|entry| entry.epoch == epoch.to_string()))
}

/// Up to `count` entries behind the id `after`, oldest first. All from the beginning for `None`.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn page(
    calls: &Calls,
    keys: &Keys,
    after: Option<&str>,
    count: usize,
    wait: Duration,
) -> Result<Vec<UnreadEntry>, KvError> {
    let from = after.map_or("-".to_owned(), |id| format!("({id}"));
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(keys.unread()).arg(from).arg("+").arg("COUNT").arg(count);
    read(calls, &cmd, wait).await
}

/// Deletes entries by their ids in `unread`. Returns how many existed.
///
/// # Errors
/// [`KvError`]. Some entries may have been deleted. Repeating the call is safe.
pub async fn delete(calls: &Calls, keys: &Keys, ids: &[String], wait: Duration) -> Result<u64, KvError> {
    let mut cmd = redis::cmd("XDEL");
    cmd.arg(keys.unread()).arg(ids);
    parse(calls.call(&cmd, wait).await?)
}

/// The number of entries.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn count(calls: &Calls, keys: &Keys, wait: Duration) -> Result<u64, KvError> {
    parse(calls.call(redis::cmd("XLEN").arg(keys.unread()), wait).await?)
}

async fn read(calls: &Calls, cmd: &Cmd, wait: Duration) -> Result<Vec<UnreadEntry>, KvError> {
    let entries: RawEntries = parse(calls.call(cmd, wait).await?)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let fields = |fields: Vec<_>| fields.into_iter().map(text).collect();
    Ok(entries.into_iter().map(|(id, read)| unread(id, fields(read))).collect())
}

fn unread(id: String, mut fields: Vec<String>) -> UnreadEntry {
    let (mut entry, mut epoch) = (String::new(), String::new());
    for (name, value) in [("entry", &mut entry), ("epoch", &mut epoch)] {
        if fields.len() >= 2 && fields[0] == name {
            *value = fields.remove(1);
            fields.remove(0);
        }
    }
    UnreadEntry { id, entry, epoch, fields }
}
