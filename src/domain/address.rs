//! IP addresses of clients, and networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Length of the IPv6 prefix that a provider usually gives to one customer.
const IPV6_PREFIX: u8 = 64;
/// Prefixes of IPv6 that one customer may hold as well, and how many times the limit of an [`Address`] they may use.
const WIDER_IPV6: [(u8, u32); 2] = [(56, 16), (48, 256)];
/// Prefixes of the networks whose claims are counted: those of a company, a dormitory, or a customer of a data centre.
const CLAIMING_IPV4: u8 = 24;
const CLAIMING_IPV6: u8 = 56;
/// Prefixes of a crowd: thousands of addresses, counted together where no single one has a place.
const CROWD_IPV4: u8 = 16;
const CROWD_IPV6: u8 = 48;

/// The unit of limits and blocks by address: an IPv4 address, or the /64 network of an IPv6 address. An IPv4-mapped
/// IPv6 address counts as the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither an address nor a network such as 10.0.0.0/8")]
pub struct AddressError;

/// A network in CIDR notation, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// A list of networks, separated by commas. An empty text is an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Address {
    pub fn new(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(IpAddr::V4(ip)),
            IpAddr::V6(ip) => {
                let prefix = u128::from(ip) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX);
                Self(IpAddr::V6(Ipv6Addr::from(prefix)))
            }
        }
    }

    /// The address, or the first address of a /64.
    pub fn first(self) -> IpAddr {
        self.0
    }

    /// The networks that a request from here counts for, the smallest first, each with the multiple of the limit that the
    /// network may use. Whoever rents a /48 has 65,536 networks of /64,
    /// and may use the limit of 256 of them. A mobile network of that size has thousands of customers.
    pub fn counted_networks(self) -> impl Iterator<Item = (Network, u32)> {
        let wider = if self.0.is_ipv6() { &WIDER_IPV6[..] } else { &[] };
        let own = if self.0.is_ipv6() { IPV6_PREFIX } else { 32 };
        [(own, 1)].into_iter().chain(wider.iter().copied()).map(move |(bits, times)| (self.prefix(bits), times))
    }

    /// The network of thousands of addresses around this one: the /16 of an IPv4 address, the /48 of an IPv6 address.
    pub fn crowd(self) -> Network {
        self.prefix(if self.0.is_ipv6() { CROWD_IPV6 } else { CROWD_IPV4 })
    }

    /// The network whose claims an activity may limit: the /24 of an IPv4 address, the /56 of an IPv6 address.
    pub fn claiming_network(self) -> Network {
        self.prefix(if self.0.is_ipv6() { CLAIMING_IPV6 } else { CLAIMING_IPV4 })
    }

    fn prefix(self, bits: u8) -> Network {
        Network(IpNet::new(self.0, bits).expect("no longer than an address").trunc())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Self::new).map_err(|_| AddressError)
    }
}

impl Network {
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }

    /// Widens an IPv6 network to at least a /64, for comparison with an [`Address`].
    #[must_use]
    pub fn of_addresses(self) -> Self {
        match self.0 {
            IpNet::V6(net) if net.prefix_len() > IPV6_PREFIX => {
                Self(IpNet::new(Address::new(IpAddr::V6(net.network())).first(), IPV6_PREFIX).unwrap_or(self.0))
            }
            net => Self(net),
        }
    }
}

impl fmt::Display for Network {
    /// Writes a single address without a prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl FromStr for Network {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let net = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip.to_canonical()),
            Err(_) => text.parse().map_err(|_| AddressError)?,
        };
        Ok(Self(net.trunc()))
    }
}

impl Networks {
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl FromStr for Networks {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<String, AddressError> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn an_ipv6_address_stands_for_its_64_and_a_mapped_one_for_its_ipv4_address() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6").as_deref(), Ok("2001:db8:1:2::"));
        assert_eq!(address("2001:db8:1:2::").as_deref(), Ok("2001:db8:1:2::"));
        assert_ne!(address("2001:db8:1:3::1"), address("2001:db8:1:2::1"));
        assert_eq!(address("::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(address("192.0.2.7").as_deref(), Ok("192.0.2.7"));
        for text in ["", "192.0.2", "192.0.2.7/32", "192.0.2.7:80", "x", " 192.0.2.7", "[::1]", "fe80::1%eth0"] {
            assert_eq!(address(text), Err(AddressError), "{text:?}");
        }
    }

    #[test]
    fn networks_are_addresses_and_prefixes_with_commas_between_them() {
        let networks: Networks = " 10.0.0.0/8,192.0.2.7,,2001:db8::/32 ".parse().expect("they are good");
        for inside in ["10.255.0.1", "192.0.2.7", "::ffff:10.1.1.1", "2001:db8:ffff::1"] {
            assert!(networks.contains(inside.parse().expect("an address")), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1"] {
            assert!(!networks.contains(outside.parse().expect("an address")), "{outside}");
        }
        assert_eq!("".parse(), Ok(Networks::default()));
        for text in ["10.0.0.0/33", "10.0.0.0/-1", "proxy.example", "10.0.0.0/8 10.1.0.0/16", "::/129"] {
            assert_eq!(text.parse::<Networks>(), Err(AddressError), "{text:?}");
        }
    }

    #[test]
    fn an_ipv6_address_counts_for_its_wider_networks_too() {
        let counted = |text: &str| {
            let address: Address = text.parse().expect("an address");
            let networks: Vec<_> = address.counted_networks().map(|(net, times)| format!("{net} x{times}")).collect();
            (networks.join(" "), address.crowd().to_string())
        };
        let (networks, crowd) = counted("2001:db8:1:2345:6::7");
        assert_eq!(networks, "2001:db8:1:2345::/64 x1 2001:db8:1:2300::/56 x16 2001:db8:1::/48 x256");
        assert_eq!(crowd, "2001:db8:1::/48");
        assert_eq!(counted("192.0.2.7"), ("192.0.2.7 x1".to_owned(), "192.0.0.0/16".to_owned()));
    }

    #[test]
    fn a_network_of_addresses_is_made_of_whole_64s() {
        let widened = |text: &str| text.parse::<Network>().map(|network| network.of_addresses().to_string());
        assert_eq!(widened("2001:db8:1:2::9").as_deref(), Ok("2001:db8:1:2::/64"));
        assert_eq!(widened("2001:db8::/32").as_deref(), Ok("2001:db8::/32"));
        assert_eq!(widened("192.0.2.7").as_deref(), Ok("192.0.2.7"));
    }
}
