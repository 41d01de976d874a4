//! A TCP relay with changeable targets, like an address that leads to another server after a failover.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
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
    async fn run(self: Arc<Self>, mut client: TcpStream) {
        let server = match self.next() {
            Some(target) => TcpStream::connect(target).await.ok(),
            None => None,
        };
        let Some(mut server) = server else {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }

    fn next(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.lock().expect("no thread panicked");
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        (!addresses.is_empty()).then(|| addresses[place % addresses.len()])
    }
}
