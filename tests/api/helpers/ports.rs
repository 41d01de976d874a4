//! Free ports for servers of a test.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;

/// Above the ports of the server stacks, and below the kernel's ports for outgoing connections. Tests open thousands of
/// connections, and an outgoing connection could take a port before its server starts.
const PORTS: Range<u16> = 24_000..32_000;
const TRIES_MAX: usize = 1_000;

/// A local address without a listener.
pub fn free_address() -> SocketAddr {
    let any = || SocketAddr::from(([127, 0, 0, 1], rand::random_range(PORTS)));
    let mut some = std::iter::repeat_with(any).take(TRIES_MAX);
    some.find(|address| TcpListener::bind(address).is_ok()).expect("a port is free")
}
