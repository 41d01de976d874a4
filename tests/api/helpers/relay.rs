//! A TCP relay with changeable targets, like an address that leads to another server after a failover.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running relay. Dropping the value ends the relay. Open connections keep their target.
pub struct Relay {
    pub address: SocketAddr,
    targets: Arc<Targets>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Targets {
    addresses: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    refused: AtomicUsize,
    /// Bytes of the targets, and the bytes of the same length that clients get instead.
    disguise: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Relay {
    /// Starts a relay. New connections lead to each of `targets` in turn.
    pub async fn start(targets: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let shared = Arc::new(Targets::default());
        let relay = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            // A connection ends with the sockets of both sides.
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&relay).run(client));
            }
        });
        let relay = Self { address, targets: shared, accepting };
        relay.lead_to(targets);
        relay
    }

    /// Leads new connections to each of `targets` in turn, the next one to the first.
    pub fn lead_to(&self, targets: &[SocketAddr]) {
        let mut addresses = self.targets.addresses.lock().expect("no thread panicked");
        *addresses = targets.to_vec();
        self.targets.next.store(0, Ordering::Relaxed);
    }

    /// Shows clients zeros in the place of the digits of `text`, wherever the targets send `text` at once, on open
    /// connections, too. A server then seems to have an old version.
    pub fn hide_digits_of(&self, text: &str) {
        let shown = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect::<String>();
        *self.targets.disguise() = Some((text.as_bytes().to_vec(), shown.into_bytes()));
    }

    /// Shows clients again what the targets send.
    pub fn hide_nothing(&self) {
        *self.targets.disguise() = None;
    }

    /// The number of connections since the targets were set.
    pub fn accepted(&self) -> usize {
        self.targets.next.load(Ordering::Relaxed)
    }

    /// The number of connections without a target or refused by the target.
    pub fn refused(&self) -> usize {
        self.targets.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Targets {
    async fn run(self: Arc<Self>, client: TcpStream) {
        let server = match self.next() {
            Some(target) => TcpStream::connect(target).await.ok(),
            None => None,
        };
        let Some(server) = server else {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((mut client_in, client_out), (server_in, mut server_out)) = (client.into_split(), server.into_split());
        let asking = async {
            let _ = copy(&mut client_in, &mut server_out).await;
            let _ = server_out.shutdown().await;
        };
        tokio::join!(asking, self.pass_answers(server_in, client_out));
    }

    async fn pass_answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            self.disguise_in(&mut bytes[..count]);
            if to.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }

    fn disguise_in(&self, bytes: &mut [u8]) {
        let Some((hidden, shown)) = &*self.disguise() else { return };
        for start in 0..=bytes.len().saturating_sub(hidden.len()) {
            if bytes[start..].starts_with(hidden) {
                bytes[start..start + shown.len()].copy_from_slice(shown);
            }
        }
    }

    fn disguise(&self) -> MutexGuard<'_, Option<(Vec<u8>, Vec<u8>)>> {
        self.disguise.lock().expect("no thread panicked")
    }

    fn next(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.lock().expect("no thread panicked");
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        (!addresses.is_empty()).then(|| addresses[place % addresses.len()])
    }
}
