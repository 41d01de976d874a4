//! A client for etcd: single keys, and the watch of a prefix.
//!
//! The rules of a sale and MySQL are not known here. The start never waits for etcd. A client connects at its first
//! call and reconnects after a lost connection. Every call has a deadline. Sizes are bounded, because anybody may write
//! to etcd. Keys are passed without the prefix.

mod figures;
mod member;
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, KeyValue, KvClient, ResponseHeader, Txn, TxnOp, WatchOptions, WatchStream,
};

use crate::base::{Tls, TooOld, check_version};

use member::Member;

pub use figures::Figures;
pub use watcher::Watcher;

/// Keys in a page of a listing, and the largest size of a page. etcd accepts values of up to 1.5 MiB.
const PAGE_KEYS_MAX: i64 = 32;
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
#[derive(Clone)]
pub struct EtcdConfig {
    /// Members, as `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// For members with `https`.
    pub tls: Option<Tls>,
    /// The prefix of all keys. Must not be empty.
    pub prefix: String,
    /// Timeout of connecting and of each call.
    pub wait: Duration,
    /// The largest number of keys in a listing.
    pub keys_max: usize,
    /// The largest size of a value in bytes. A longer value is reported as [`Value::TooLong`].
    pub value_bytes_max: usize,
}

/// A call to etcd without a usable answer.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nothing was sent, because the settings are unusable.
    #[error("the etcd settings are unusable")]
    Settings(#[source] Box<etcd_client::Error>),
    /// The outcome is unknown.
    #[error("etcd did not answer the call {operation} in time")]
    TimedOut { operation: &'static str },
    /// The outcome is unknown.
    #[error("the call {operation} to etcd failed")]
    Failed {
        operation: &'static str,
        #[source]
        source: Box<etcd_client::Error>,
    },
    #[error("etcd answered the call {operation} without a revision")]
    Unreadable { operation: &'static str },
    #[error("there are more than {0} keys below the prefix")]
    TooManyKeys(usize),
    /// The changes after the last listing are no longer kept by etcd. Some were missed.
    #[error("etcd cancelled the watch because revisions before {0} are compacted")]
    Compacted(i64),
    #[error("etcd cancelled the watch: {0}")]
    Cancelled(String),
    /// etcd was restored or wiped, or a member that lags behind has answered.
    #[error("etcd has gone back from revision {from} to {to}")]
    WentBack { from: u64, to: u64 },
    #[error("the watch ended")]
    Ended,
    #[error("the watch is silent and does not answer a progress request")]
    Silent,
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bytes(Vec<u8>),
    /// The size in bytes of a value above the limit.
    TooLong(usize),
}

/// A value with the revision of its put (`mod_revision` of etcd).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    pub value: Value,
    pub revision: u64,
}

/// All keys below the prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub revision: u64,
    pub entries: BTreeMap<String, KeyEntry>,
}

/// A put, or a deletion if `value` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    pub key: String,
    pub value: Option<Value>,
    pub revision: u64,
}

/// A message of a [`Watcher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Listing(Listing),
    /// The changes since the previous notice, in order. Never empty.
    Changes(Vec<KeyChange>),
}

/// A client. Clones share the connections. All calls go to the same member until a call fails. Each member has a client
/// of its own, because a single etcd client with several endpoints would also send calls to dead members.
#[derive(Clone)]
pub struct Etcd {
    members: Arc<[Member]>,
    /// The index of the member that is called.
    current: Arc<AtomicUsize>,
    config: EtcdConfig,
}

impl Etcd {
    /// Creates a client without connecting.
    ///
    /// # Errors
    /// Returns [`EtcdError::Settings`] if an endpoint is malformed or no endpoint is given.
    pub async fn new(config: EtcdConfig) -> Result<Self, EtcdError> {
        let mut members = Vec::new();
        for endpoint in &config.endpoints {
            let member = Member::new(endpoint, config.wait, config.user.clone(), config.tls.as_ref()).await;
            members.push(member.map_err(|error| EtcdError::Settings(error.into()))?);
        }
        if members.is_empty() {
            return Err(EtcdError::Settings(etcd_client::Error::InvalidArgs("no endpoints".to_owned()).into()));
        }
        Ok(Self { members: members.into(), current: Arc::default(), config })
    }

    /// Asks every member for its version, for up to `wait` in total.
    ///
    /// # Errors
    /// Returns [`TooOld`] of the first member that is too old. A member that does not answer passes.
    pub async fn refuse_old(&self, wait: Duration) -> Result<(), TooOld> {
        let asking = async {
            for member in &*self.members {
                match member.version().await {
                    Ok(version) => check(&version)?,
                    Err(error) => log::info!("etcd: a member does not tell its version: {error}"),
                }
            }
            Ok(())
        };
        tokio::time::timeout(wait, asking).await.unwrap_or(Ok(()))
    }

    /// Checks the version of the current member. If it is too old, the next call goes to the next member.
    ///
    /// # Errors
    /// Returns [`EtcdError::TooOld`], or the error of the call. A member that answers without its version passes.
    async fn check_version(&self) -> Result<(), EtcdError> {
        let member = self.current.load(Ordering::Relaxed);
        let version = self.call("status", async |client| member::version(client).await).await?;
        check(&version).inspect_err(|_| self.leave(member))?;
        Ok(())
    }

    /// The entry at `key`, or `None` if the key does not exist.
    ///
    /// # Errors
    /// Returns an [`EtcdError`].
    pub async fn get(&self, key: &str) -> Result<Option<KeyEntry>, EtcdError> {
        let response = self.call("get", async |client| kv(client).get(self.full(key), None).await).await?;
        Ok(response.kvs().first().map(|kv| self.entry(kv)))
    }

    /// Puts `value` if the key's last put has the revision `expected`. An `expected` of 0 means that the key must not
    /// exist.
    ///
    /// Returns the revision of the new put, or `None` if the key has changed and nothing was written. There is no
    /// unconditional put, so a put delayed in the network can never overwrite a later one.
    ///
    /// # Errors
    /// Returns an [`EtcdError`]. The value may have been put.
    pub async fn put(&self, key: &str, value: Vec<u8>, expected: u64) -> Result<Option<u64>, EtcdError> {
        self.change("put", key, expected, TxnOp::put(self.full(key), value, None)).await
    }

    /// Deletes the key if its last put has the revision `expected`. Returns `None` if the key has changed.
    ///
    /// # Errors
    /// Returns an [`EtcdError`]. The key may have been deleted.
    pub async fn delete(&self, key: &str, expected: u64) -> Result<Option<u64>, EtcdError> {
        self.change("delete", key, expected, TxnOp::delete(self.full(key), None)).await
    }

    async fn change(
        &self,
        operation: &'static str,
        key: &str,
        expected: u64,
        change: TxnOp,
    ) -> Result<Option<u64>, EtcdError> {
        let unchanged = Compare::mod_revision(self.full(key), CompareOp::Equal, signed(expected));
        let txn = Txn::new().when([unchanged]).and_then([change]);
        let response = self.call(operation, async |client| kv(client).txn(txn).await).await?;
        let revision = revision(operation, response.header())?;
        Ok(response.succeeded().then_some(revision))
    }

    /// Reads all keys below the prefix in pages. All pages show the revision of the first page.
    ///
    /// # Errors
    /// Returns an [`EtcdError`].
    pub async fn list(&self) -> Result<Listing, EtcdError> {
        let mut listing = Listing { revision: 0, entries: BTreeMap::new() };
        let mut from = self.config.prefix.clone().into_bytes();
        loop {
            let page = GetOptions::new()
                .with_range(self.end())
                .with_limit(PAGE_KEYS_MAX)
                .with_revision(signed(listing.revision));
            let response = self.call("list", async |client| kv(client).get(from, Some(page)).await).await?;
            if listing.revision == 0 {
                listing.revision = revision("list", response.header())?;
            }
            listing.entries.extend(response.kvs().iter().map(|kv| (self.short(kv.key()), self.entry(kv))));
            if listing.entries.len() > self.config.keys_max {
                return Err(EtcdError::TooManyKeys(self.config.keys_max));
            }
            match response.kvs().last() {
                // The next page begins with the smallest key after the last one.
                Some(last) if response.more() => from = [last.key(), &[0]].concat(),
                _ => return Ok(listing),
            }
        }
    }

    /// Watches the prefix from `revision` on.
    async fn watch(&self, revision: u64) -> Result<WatchStream, EtcdError> {
        let options = WatchOptions::new()
            .with_range(self.end())
            .with_start_revision(signed(revision))
            .with_progress_notify()
            .with_fragment();
        self.call("watch", async |client| {
            let mut client = client.watch_client().max_decoding_message_size(PAGE_BYTES_MAX);
            client.watch(self.config.prefix.as_str(), Some(options)).await
        })
        .await
    }

    /// Calls the current member with a deadline. After a failure the next call goes to the next member.
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl AsyncFnOnce(&Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, EtcdError> {
        let member = self.current.load(Ordering::Relaxed);
        let calling = async { call(self.members[member].client().await?).await };
        let error = match tokio::time::timeout(self.config.wait, calling).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(source)) => EtcdError::Failed { operation, source: source.into() },
            Err(_) => EtcdError::TimedOut { operation },
        };
        self.leave(member);
        Err(error)
    }

    /// Switches to the next member. A concurrent call that has already switched has met the same failure.
    fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn entry(&self, kv: &KeyValue) -> KeyEntry {
        KeyEntry { value: self.value(kv), revision: unsigned(kv.mod_revision()) }
    }

    fn value(&self, kv: &KeyValue) -> Value {
        let length = kv.value().len();
        if length > self.config.value_bytes_max { Value::TooLong(length) } else { Value::Bytes(kv.value().to_vec()) }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.config.prefix)
    }

    /// Removes the prefix from a key. Invalid UTF-8 is replaced, which gives a name that no valid key has.
    fn short(&self, key: &[u8]) -> String {
        let key = key.strip_prefix(self.config.prefix.as_bytes()).unwrap_or(key);
        String::from_utf8_lossy(key).into_owned()
    }

    /// The smallest key after all keys with the prefix.
    fn end(&self) -> Vec<u8> {
        let mut end = self.config.prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            // The last byte cannot overflow, because UTF-8 has no byte 255.
            *last += 1;
        }
        end
    }
}

fn check(version: &str) -> Result<(), TooOld> {
    check_version("etcd", version, [3, 4])
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(PAGE_BYTES_MAX)
}

fn revision(operation: &'static str, header: Option<&ResponseHeader>) -> Result<u64, EtcdError> {
    header.map(|header| unsigned(header.revision())).ok_or(EtcdError::Unreadable { operation })
}

/// Revisions are positive, but etcd's interface uses signed numbers.
fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
