//! Ports for servers that are about to be started.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;

/// Above those of the stacks, and below those that the kernel gives to outgoing connections: of the thousands that tests make
/// one would be there before the server is.
const PORTS: Range<u16> = 24_000..32_000;
const TRIES_MAX: usize = 1_000;

/// An address of this machine that nobody listens on.
pub fn free_address() -> SocketAddr {
    let any = || SocketAddr::from(([127, 0, 0, 1], rand::random_range(PORTS)));
    let mut some = std::iter::repeat_with(any).take(TRIES_MAX);
    some.find(|address| TcpListener::bind(address).is_ok()).expect("a port is free")
}
