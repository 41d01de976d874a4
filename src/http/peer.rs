//! The client's address.
//!
//! A client can send any `X-Forwarded-For`. Only the entries at its end, added by trusted proxies, are reliable. From
//! the right, the first address that is no trusted proxy is the client's. An entry that is no address ends the search.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};

use super::state::Edge;
use crate::domain::{Address, Networks};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, as used by limits and blocks.
pub fn address(request: &HttpRequest, edge: &Edge) -> Address {
    // Only a test of actix has no peer. A connection always has one.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    Address::new(client(peer, request.headers(), &edge.trusted_proxies))
}

fn client(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    if !trusted.contains(peer) {
        return peer;
    }
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).map(|line| line.to_str().unwrap_or("?")).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim).filter(|hop| !hop.is_empty());
    let mut nearest = peer;
    for hop in hops.map_while(hop_address) {
        nearest = hop;
        if !trusted.contains(hop) {
            break;
        }
    }
    nearest
}

/// Parses an address as written by proxies, with or without a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn found(peer: &str, lines: &[&str]) -> String {
        let trusted = "10.0.0.0/8,192.0.2.1,2001:db8::/32".parse().expect("networks");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).expect("a header's value"));
        }
        client(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_says_nothing_about_where_he_is() {
        assert_eq!(found("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(found("203.0.113.9", &["198.51.100.1, 10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
        for (lines, client) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1,10.9.9.9 , 192.0.2.1"], "198.51.100.1"),
            (&["1.1.1.1", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:dead::1]:4711"], "2001:dead::1"),
            (&["[2001:dead::1]"], "2001:dead::1"),
            (&["2001:dead::1, 2001:db8::1"], "2001:dead::1"),
            (&["garbage, 198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1, ,"], "198.51.100.1"),
        ] {
            assert_eq!(found("10.0.0.1", lines), client, "{lines:?}");
        }
    }

    #[test]
    fn nothing_behind_garbage_is_believed() {
        for lines in
            [&["198.51.100.1, unknown"][..], &["\u{e9}"], &["198.51.100.1 x"], &["", ","], &["-", "1.2.3"], &[]]
        {
            assert_eq!(found("10.0.0.1", lines), "10.0.0.1", "{lines:?}");
        }
        assert_eq!(found("10.0.0.1", &["198.51.100.1, x, 192.0.2.1"]), "192.0.2.1", "the last proxy that is known");
    }

    #[test]
    fn where_all_are_trusted_the_first_of_them_asks() {
        assert_eq!(found("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }
}
