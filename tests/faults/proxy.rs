//! A TCP proxy with faults. A fault applies to all connections at once, open and new.
//!
//! A proxy stands between an instance and a server, so that a single instance can be cut off.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK: usize = 16 * 1024;

/// The treatment of data on the way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Resets every open and every new connection.
    Reset,
    /// Holds back all data and new connections. Delivers them when the mode ends, as after a network outage.
    BlackHole,
    /// Delays data by this time.
    Delay(Duration),
    /// Limits the bytes a second from the client, as a slow server does.
    Slow {
        bytes_per_second: u32,
    },
    /// Resets a connection in the middle of the data from a side, after a number of bytes.
    Cut(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    pub port: u16,
    to: Arc<Mutex<SocketAddr>>,
    mode: watch::Sender<Mode>,
    bytes_left: Arc<AtomicI64>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Relay {
    mode: watch::Receiver<Mode>,
    bytes_left: Arc<AtomicI64>,
}

impl Proxy {
    /// Starts a proxy that listens on `ip` and leads to a port of this machine.
    pub async fn start(ip: Ipv4Addr, to: u16) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("the listener is bound").port();
        let (mode, receiver) = watch::channel(Mode::Pass);
        let (to, bytes_left) = (Arc::new(Mutex::new(here(to))), Arc::new(AtomicI64::new(0)));
        let target = Arc::clone(&to);
        let relay = Relay { mode: receiver, bytes_left: Arc::clone(&bytes_left) };
        let accepting = tokio::spawn(async move {
            // A connection ends with its sockets, or with the mode of the dropped proxy.
            while let Ok((client, _)) = listener.accept().await {
                let to = *target.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::spawn(relay.clone().run(client, to));
            }
        });
        Self { port, to, mode, bytes_left, accepting }
    }

    /// Leads new connections to another server of this machine. Open connections stay, as behind an address that moves.
    pub fn lead_to(&self, port: u16) {
        self.lead_to_address(here(port));
    }

    /// The same for a server at another loopback address.
    pub fn lead_to_address(&self, to: SocketAddr) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets a connection after `bytes` more from `side`.
    pub fn cut_after(&self, side: Side, bytes: i64) {
        self.bytes_left.store(bytes, Ordering::SeqCst);
        self.set(Mode::Cut(side));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Relay {
    async fn run(mut self, client: TcpStream, to: SocketAddr) {
        // Both ends are reset instead of closed, as after an unexpected end.
        let _ = client.set_zero_linger();
        if self.mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() || *self.mode.borrow() == Mode::Reset {
            return;
        }
        let Ok(server) = TcpStream::connect(to).await else { return };
        let _ = (server.set_zero_linger(), server.set_nodelay(true), client.set_nodelay(true));
        let ((client_read, client_write), (server_read, server_write)) = (client.into_split(), server.into_split());
        let mut mode = self.mode.clone();
        tokio::select! {
            () = self.clone().pump(Side::Client, client_read, server_write) => {}
            () = self.clone().pump(Side::Server, server_read, client_write) => {}
            _ = mode.wait_for(|mode| *mode == Mode::Reset) => {}
        }
    }

    async fn pump(mut self, from: Side, mut read: OwnedReadHalf, mut write: OwnedWriteHalf) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(mut length @ 1..) = read.read(&mut buffer).await else { return };
            if self.mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() {
                return;
            }
            let mode = *self.mode.borrow();
            match mode {
                Mode::Delay(delay) => tokio::time::sleep(delay).await,
                Mode::Slow { bytes_per_second } if from == Side::Client => {
                    let bytes = u32::try_from(length).expect("a chunk is small");
                    tokio::time::sleep(Duration::from_secs(1) * bytes / bytes_per_second).await;
                }
                _ => {}
            }
            let mut is_last = false;
            if mode == Mode::Cut(from) {
                let left =
                    self.bytes_left.fetch_sub(i64::try_from(length).expect("a chunk is small"), Ordering::SeqCst);
                is_last = left <= i64::try_from(length).expect("a chunk is small");
                length = length.min(usize::try_from(left.max(0)).expect("a maximum with 0 is not negative"));
            }
            if write.write_all(&buffer[..length]).await.is_err() || is_last {
                return;
            }
        }
    }
}
