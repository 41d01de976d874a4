//! The address of Redis, and the making of connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::KvError;
use super::beats::BeatWriter;
use super::crate_settings::crate_settings;
use super::dial::{self, Dialer, Stream};
use super::majority::{HostPort, Majority, Named};
use crate::base::{Histogram, Tls, error_chain};

/// Future that drives the socket until the connection ends.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A socket to a Redis server that has answered.
pub(super) struct Socket {
    pub(super) redis: MultiplexedConnection,
    pub(super) driver: Driver,
    /// The address of the server: IP and port, or the path of a Unix socket.
    pub(super) peer: String,
    /// The server that the majority named for this connection. `None` for a single address.
    pub(super) named: Option<Named>,
}

/// Address and credentials of a Redis server.
#[derive(Clone)]
pub struct LinkConfig {
    place: ServerAddress,
    /// For connections that the crate opens. Of several hosts, that of the first.
    info: ConnectionInfo,
    dialer: Dialer,
    times: Arc<Histogram>,
    /// Sent with every probe.
    beat: Option<BeatWriter>,
}

#[derive(Clone)]
enum ServerAddress {
    Tcp(String, u16),
    Unix(PathBuf),
    /// The primary that a majority names, asked for each connection.
    Named(Box<Majority>),
}

/// The tag of the shard of a new configuration.
const FIRST_TAG: &str = "s0";
const CLUSTER: &str = "redis-cluster://";
const SENTINEL: &str = "redis-sentinel://";
const CLUSTER_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
const TLS_SCHEMES: [&str; 3] = ["rediss://", "rediss-cluster://", "rediss-sentinel://"];

impl LinkConfig {
    /// Whether `url` asks for TLS.
    pub fn asks_for_tls(url: &str) -> bool {
        TLS_SCHEMES.iter().any(|scheme| url.starts_with(scheme))
    }

    /// Parses a URL: of one server, of the nodes of a cluster (`redis-cluster://user:password@host:port,host:port`), or
    /// of sentinels (`redis-sentinel://user:password@host:port,host:port/name`). The password is that of the servers,
    /// and of sentinels that want one. A scheme with `rediss` asks for TLS, of sentinels, too.
    ///
    /// # Errors
    /// A sentence if `url` is not valid, if `tls` cannot be used, or if `url` asks for TLS without `tls`. The sentence
    /// never repeats the URL, because URLs may hold passwords.
    pub fn new(url: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let dialer = match tls.filter(|_| Self::asks_for_tls(url)) {
            Some(tls) => Dialer::with_tls(tls).map_err(|error| error_chain(&error))?,
            None if Self::asks_for_tls(url) => return Err("TLS needs certificates".to_owned()),
            None => Dialer::default(),
        };
        // The rest is the same with TLS.
        let plain = url.strip_prefix("rediss").map_or_else(|| url.to_owned(), |rest| format!("redis{rest}"));
        if let Some(rest) = plain.strip_prefix(CLUSTER) {
            let several = SeveralHosts::read(rest, CLUSTER_PORT)?;
            if !several.path.is_empty() {
                return Err("a cluster has no database numbers".to_owned());
            }
            let (info, _) = Self::one(&several.first_url())?;
            let settings = info.redis_settings().clone();
            let majority = Majority::of_cluster(several.hosts, settings, FIRST_TAG, dialer.clone());
            return Self::with(info, ServerAddress::Named(Box::new(majority)), dialer);
        }
        if let Some(rest) = plain.strip_prefix(SENTINEL) {
            let several = SeveralHosts::read(rest, SENTINEL_PORT)?;
            if several.path.is_empty() || several.path.contains('/') {
                return Err("the name of the primary is missing behind the sentinels".to_owned());
            }
            let (info, _) = Self::one(&several.first_url())?;
            let settings = info.redis_settings().clone();
            let majority = Majority::of_sentinels(several.hosts, settings, several.path.to_owned(), dialer.clone());
            return Self::with(info, ServerAddress::Named(Box::new(majority)), dialer);
        }
        let (info, place) = Self::one(&plain)?;
        Self::with(info, place, dialer)
    }

    /// Parses the URL of one server.
    fn one(url: &str) -> Result<(ConnectionInfo, ServerAddress), String> {
        let info = url.into_connection_info().map_err(|error| error.category().to_owned())?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => ServerAddress::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => ServerAddress::Unix(path.clone()),
            _ => return Err("the scheme is not known".to_owned()),
        };
        let tcp_settings = info.tcp_settings().clone().set_nodelay(true);
        // Replies are read in the forms of RESP2, whatever protocol the URL names.
        let redis_settings =
            info.redis_settings().clone().set_skip_set_lib_name().set_protocol(redis::ProtocolVersion::RESP2);
        Ok((info.set_tcp_settings(tcp_settings).set_redis_settings(redis_settings), place))
    }

    fn with(info: ConnectionInfo, place: ServerAddress, dialer: Dialer) -> Result<Self, String> {
        let info = match (dialer.certificates(), info.addr()) {
            (Some(certificates), ConnectionAddr::Tcp(host, port)) => {
                let address =
                    ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None };
                let client = redis::Client::build_with_tls(info.set_addr(address), certificates.clone());
                client.map_err(|error| error.to_string())?.get_connection_info().clone()
            }
            _ => info,
        };
        Ok(Self { place, info, dialer, times: Arc::new(Histogram::of_times()), beat: None })
    }

    /// The same servers, for the shard whose keys have the hash tag `tag`. A new configuration is for the tag `s0`.
    #[must_use]
    pub fn for_shard(mut self, tag: &str) -> Self {
        if let ServerAddress::Named(majority) = &mut self.place {
            **majority = majority.for_tag(tag);
        }
        self
    }

    /// Whether a majority names the primary. A single address has no majority and no lease.
    pub fn has_majority(&self) -> bool {
        matches!(self.place, ServerAddress::Named(_))
    }

    /// Whether the servers form a cluster, so that the slot of a shard can move.
    pub fn is_cluster(&self) -> bool {
        matches!(&self.place, ServerAddress::Named(majority) if majority.is_cluster())
    }

    /// The primary of the shard that a majority names, and when the majority was asked: now, or at most `age` ago for
    /// another shard. `None` if no majority answers within a second, or without a majority to ask.
    pub async fn ask_majority(&self, age: Duration) -> Option<(Named, Instant)> {
        match &self.place {
            ServerAddress::Named(majority) => majority.ask(age).await,
            ServerAddress::Tcp(..) | ServerAddress::Unix(_) => None,
        }
    }

    /// Connections write `beat` with every probe.
    #[must_use]
    pub fn with_beat(self, beat: BeatWriter) -> Self {
        Self { beat: Some(beat), ..self }
    }

    /// Durations of calls over all connections of this configuration and of clones.
    pub fn times(&self) -> &Arc<Histogram> {
        &self.times
    }

    pub(super) fn beat(&self) -> Option<&BeatWriter> {
        self.beat.as_ref()
    }

    /// The address and credentials of the primary. A majority is asked.
    ///
    /// # Errors
    /// [`KvError::NoMajority`].
    pub(super) async fn info(&self) -> Result<ConnectionInfo, KvError> {
        let ServerAddress::Named(majority) = &self.place else { return Ok(self.info.clone()) };
        let (named, _) = majority.ask(Duration::ZERO).await.ok_or(KvError::NoMajority)?;
        Ok(self.info_of(&named))
    }

    /// The address and credentials of a server that was named.
    pub(super) fn info_of(&self, named: &Named) -> ConnectionInfo {
        let (host, port) = named.address.clone();
        let address = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.info.clone().set_addr(address)
    }

    /// Connects, authenticates and selects the database. The caller must run the driver. The primary is resolved for
    /// each connection: a host name, or the answer of a majority.
    ///
    /// # Errors
    /// [`KvError::NoMajority`] and [`KvError::Unreachable`].
    pub(super) async fn connect(&self) -> Result<Socket, KvError> {
        match &self.place {
            ServerAddress::Tcp(host, port) => self.connect_to(host, *port, None).await,
            ServerAddress::Unix(path) => {
                let socket = dial::unix(path).await.map_err(unreachable)?;
                self.greet(socket, path.display().to_string(), None).await
            }
            ServerAddress::Named(majority) => {
                let (named, _) = majority.ask(Duration::ZERO).await.ok_or(KvError::NoMajority)?;
                let (host, port) = named.address.clone();
                self.connect_to(&host, port, Some(named)).await
            }
        }
    }

    async fn connect_to(&self, host: &str, port: u16, named: Option<Named>) -> Result<Socket, KvError> {
        let (socket, peer) = self.dialer.tcp(host, port).await.map_err(unreachable)?;
        self.greet(socket, peer, named).await
    }

    async fn greet(&self, socket: Box<dyn Stream>, peer: String, named: Option<Named>) -> Result<Socket, KvError> {
        let settings = self.info.redis_settings();
        let greeted = MultiplexedConnection::new_with_config(settings, socket, crate_settings()).await;
        let (redis, driver) = greeted.map_err(KvError::Unreachable)?;
        Ok(Socket { redis, driver: Box::pin(driver), peer, named })
    }
}

fn unreachable(error: std::io::Error) -> KvError {
    KvError::Unreachable(error.into())
}

/// `user:password@host:port,host:port/path`, the part of a URL behind the scheme.
struct SeveralHosts<'a> {
    /// `user:password`, as in the URL.
    credentials: Option<&'a str>,
    hosts: Vec<HostPort>,
    path: &'a str,
}

impl<'a> SeveralHosts<'a> {
    fn read(rest: &'a str, port: u16) -> Result<Self, String> {
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').map(|host| host_and_port(host, port)).collect::<Option<_>>();
        Ok(Self { credentials, hosts: hosts.ok_or("a host or a port is not valid")?, path })
    }

    /// The URL of the first host, to read the credentials as in the URL of one server.
    fn first_url(&self) -> String {
        let credentials = self.credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default();
        format!("redis://{credentials}{}:{}/", self.hosts[0].0, self.hosts[0].1)
    }
}

/// `host:port`, or `host` with the `default` port.
fn host_and_port(text: &str, default: u16) -> Option<HostPort> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, default),
    };
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    is_name.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        LinkConfig::new(url, None).err().unwrap_or_default()
    }

    #[test]
    fn clusters_and_sentinels_are_addresses() {
        for (url, is_cluster) in [
            ("redis-cluster://127.0.0.1:7000,127.0.0.2:7001", true),
            ("redis-cluster://user:p%40ss@node-1,node-2:7001/", true),
            ("redis-sentinel://127.0.0.1:26379,127.0.0.2:26380/shop", false),
            ("redis-sentinel://:secret@sentinel/shop", false),
        ] {
            let config = LinkConfig::new(url, None).expect(url);
            assert!(config.has_majority() && config.is_cluster() == is_cluster, "{url}");
        }
        let config = LinkConfig::new("redis-cluster://user:p%40ss@node-1,node-2:7001", None).expect("a cluster");
        let settings = config.info.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("user"), Some("p@ss")));
        assert!(!LinkConfig::new("redis://127.0.0.1:6379/", None).expect("a server").has_majority());
    }

    #[test]
    fn what_is_missing_is_said_without_the_url() {
        for (url, named) in [
            ("redis-cluster://:secret@127.0.0.1:7000/3", "no database numbers"),
            ("redis-cluster://:secret@127.0.0.1:port", "a host or a port"),
            ("redis-cluster://:secret@", "a host or a port"),
            ("redis-sentinel://:secret@127.0.0.1:26379", "name of the primary"),
            ("redis-sentinel://:secret@127.0.0.1:26379/", "name of the primary"),
            ("rediss-cluster://:secret@127.0.0.1:7000", "TLS"),
            ("rediss-sentinel://:secret@127.0.0.1:26379/shop", "TLS"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(named) && !refusal.contains("secret"), "{url}: {refusal}");
        }
    }
}
