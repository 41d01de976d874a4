//! etcd: single keys, and a prefix that is watched.
//!
//! Plumbing. Deliberately knows no rule of a sale and nothing of MySQL. Nobody waits for etcd at the start: a client is made
//! without connecting, connects with the first call, and again after a connection was lost. Every call has a deadline of
//! its own, and what is read has a bound, because anybody may have written it.
//!
//! Keys are named here without the prefix.

mod figures;
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, KeyValue, KvClient, ResponseHeader, Txn, TxnOp,
    WatchOptions, WatchStream,
};

pub use figures::Figures;
pub use watcher::Watcher;

/// How often a connection with a call under way is probed, and how long etcd may take to answer. It drops clients that
/// probe more often than every 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Keys of one page, and what it may weigh: etcd takes values of up to 1.5 MiB.
const PAGE_KEYS_MAX: i64 = 32;
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where etcd is, and the bounds of what is asked of it.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// Each as `http://host:port`.
    pub endpoints: Vec<String>,
    /// What all keys begin with; not empty.
    pub prefix: String,
    /// How long connecting and each call may take.
    pub wait: Duration,
    /// Keys of a listing.
    pub keys_max: usize,
    /// Bytes of a value; a longer one is not handed over.
    pub value_bytes_max: usize,
}

/// A call to etcd that brought no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nothing was sent: the settings are not such that anything could be.
    #[error("etcd cannot be used")]
    Settings(#[source] Box<etcd_client::Error>),
    /// It may have happened.
    #[error("{operation}: etcd did not answer in time")]
    TimedOut { operation: &'static str },
    /// It may have happened.
    #[error("{operation}: etcd failed")]
    Failed {
        operation: &'static str,
        #[source]
        source: Box<etcd_client::Error>,
    },
    #[error("{operation}: an answer without a revision")]
    Unreadable { operation: &'static str },
    #[error("there are more than {0} keys below the prefix")]
    TooManyKeys(usize),
    /// What was to be watched next is no longer kept: changes have been missed.
    #[error("the watch was cancelled, etcd has forgotten everything before revision {0}")]
    Compacted(i64),
    #[error("the watch was cancelled: {0}")]
    Cancelled(String),
    /// It was restored or wiped since; or another member, which is a moment behind, has answered.
    #[error("etcd has gone back from revision {from} to {to}")]
    WentBack { from: u64, to: u64 },
    #[error("the watch ended")]
    Ended,
    #[error("the watch says nothing, not even when asked")]
    Silent,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bytes(Vec<u8>),
    /// It has this many bytes, more than are looked at.
    TooLong(usize),
}

/// A key's value, and the revision of the put that it came with (etcd's `mod_revision`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Value,
    pub revision: u64,
}

/// Every key below the prefix, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub revision: u64,
    pub entries: BTreeMap<String, Entry>,
}

/// A key was put or, where there is no value, deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub value: Option<Value>,
    pub revision: u64,
}

/// What a [`Watcher`] hands over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Listing(Listing),
    /// What came after the listing or the changes before, in order; never empty.
    Changes(Vec<Change>),
}

/// A client. Cloning it is cheap and shares the connections.
///
/// One client with several endpoints would spread its calls over them, also over one that is dead. So there is one for each
/// member, and all calls go to the same one until a call to it fails.
#[derive(Clone)]
pub struct Etcd {
    members: Arc<[Client]>,
    /// Which member is asked.
    current: Arc<AtomicUsize>,
    config: EtcdConfig,
}

impl Etcd {
    /// Makes a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`EtcdError::Settings`] where an endpoint is none, or there is none.
    pub async fn new(config: EtcdConfig) -> Result<Self, EtcdError> {
        let options = ConnectOptions::new()
            .with_connect_timeout(config.wait)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            // etcd counts probes against clients that have no call under way.
            .with_keep_alive_while_idle(false)
            // A member that is cut off from the others would say that nothing changes.
            .with_require_leader(true);
        let mut members = Vec::new();
        for endpoint in &config.endpoints {
            let client = Client::connect([endpoint], Some(options.clone())).await;
            members.push(client.map_err(|error| EtcdError::Settings(error.into()))?);
        }
        if members.is_empty() {
            let error = etcd_client::Error::InvalidArgs("no endpoints".to_owned());
            return Err(EtcdError::Settings(error.into()));
        }
        Ok(Self { members: members.into(), current: Arc::default(), config })
    }

    /// What `key` holds; `None` where there is no such key.
    ///
    /// # Errors
    /// [`EtcdError`]; reading changes nothing.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, EtcdError> {
        let response = self.call("get", async |client| kv(client).get(self.full(key), None).await).await?;
        Ok(response.kvs().first().map(|kv| self.entry(kv)))
    }

    /// Puts `value` where the key is still as it was put at revision `expected` (0: where it does not exist). Gives the
    /// revision of this put; `None` where the key has changed and nothing has happened.
    ///
    /// There is no other put: one that was held up in the network can never replace a later one.
    ///
    /// # Errors
    /// [`EtcdError`]; it may have been put.
    pub async fn put(&self, key: &str, value: Vec<u8>, expected: u64) -> Result<Option<u64>, EtcdError> {
        self.change("put", key, expected, TxnOp::put(self.full(key), value, None)).await
    }

    /// Deletes the key where it is still as it was put at revision `expected`; `None` where it is not.
    ///
    /// # Errors
    /// [`EtcdError`]; it may have been deleted.
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

    /// Reads everything below the prefix, page by page, all as of the revision of the first.
    ///
    /// # Errors
    /// [`EtcdError`]; reading changes nothing.
    pub async fn list(&self) -> Result<Listing, EtcdError> {
        const OPERATION: &str = "list";
        let mut listing = Listing { revision: 0, entries: BTreeMap::new() };
        let mut from = self.config.prefix.clone().into_bytes();
        loop {
            let page = GetOptions::new()
                .with_range(self.end())
                .with_limit(PAGE_KEYS_MAX)
                .with_revision(signed(listing.revision));
            let response = self.call(OPERATION, async |client| kv(client).get(from, Some(page)).await).await?;
            if listing.revision == 0 {
                listing.revision = revision(OPERATION, response.header())?;
            }
            let entries = response.kvs().iter().map(|kv| (self.short(kv.key()), self.entry(kv)));
            listing.entries.extend(entries);
            if listing.entries.len() > self.config.keys_max {
                return Err(EtcdError::TooManyKeys(self.config.keys_max));
            }
            match response.kvs().last() {
                // The least key that is greater than the last one.
                Some(last) if response.more() => from = [last.key(), &[0]].concat(),
                _ => return Ok(listing),
            }
        }
    }

    /// Watches everything below the prefix from `revision` on.
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

    /// Calls the member that is asked now, within the deadline. If that fails the next call goes to the next member.
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl AsyncFnOnce(&Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, EtcdError> {
        let member = self.current.load(Ordering::Relaxed);
        let error = match tokio::time::timeout(self.config.wait, call(&self.members[member])).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(source)) => EtcdError::Failed { operation, source: source.into() },
            Err(_) => EtcdError::TimedOut { operation },
        };
        let next = (member + 1) % self.members.len();
        // Where somebody has changed it meanwhile, he has met the same failure.
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        Err(error)
    }

    fn entry(&self, kv: &KeyValue) -> Entry {
        Entry { value: self.value(kv), revision: unsigned(kv.mod_revision()) }
    }

    fn value(&self, kv: &KeyValue) -> Value {
        match kv.value().len() {
            length if length > self.config.value_bytes_max => Value::TooLong(length),
            _ => Value::Bytes(kv.value().to_vec()),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.config.prefix)
    }

    /// A key without the prefix. One that is not UTF-8 gets a name that no key of ours has.
    fn short(&self, key: &[u8]) -> String {
        let key = key.strip_prefix(self.config.prefix.as_bytes()).unwrap_or(key);
        String::from_utf8_lossy(key).into_owned()
    }

    /// The least key that is greater than all that begin with the prefix.
    fn end(&self) -> Vec<u8> {
        let mut end = self.config.prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            // No byte of UTF-8 is 255.
            *last += 1;
        }
        end
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(PAGE_BYTES_MAX)
}

fn revision(operation: &'static str, header: Option<&ResponseHeader>) -> Result<u64, EtcdError> {
    header.map(|header| unsigned(header.revision())).ok_or(EtcdError::Unreadable { operation })
}

/// Revisions are positive; etcd's interface has them signed.
fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
