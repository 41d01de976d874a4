//! Free ports for servers of a test.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Above the ports of the server stacks, and below the kernel's ports for outgoing connections. Tests open thousands of
/// connections, and an outgoing connection could take a port before its server starts.
const PORTS: Range<u16> = 24_000..32_000;
const TRIES_MAX: usize = 1_000;

/// The place of the next port in `PORTS`. It begins anywhere, so that two runs at once rarely meet.
static NEXT: LazyLock<AtomicUsize> = LazyLock::new(|| AtomicUsize::new(rand::random_range(0..PORTS.len())));

/// A local address without a listener. No address is given twice, because a server binds its port some time after it
/// was chosen, and a killed server comes back to it. Two servers with one port would answer for each other.
pub fn free_address() -> SocketAddr {
    let next = || {
        let place = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len();
        SocketAddr::from(([127, 0, 0, 1], PORTS.start + u16::try_from(place).expect("a place in a range of ports")))
    };
    let mut some = std::iter::repeat_with(next).take(TRIES_MAX);
    some.find(|address| TcpListener::bind(address).is_ok()).expect("a port is free")
}
