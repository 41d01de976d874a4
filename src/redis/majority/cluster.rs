//! The answer of a node of a Redis Cluster: its `CLUSTER NODES`.

use redis::{Pipeline, Value};

use super::answer::{Answer, HostPort, Named};

const SLOTS: u16 = 16_384;

/// The slot of all keys with the hash tag `tag`.
pub(super) fn slot(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % SLOTS
}

pub(super) fn question() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("NODES");
    pipeline
}

/// A line of `CLUSTER NODES`.
struct Node<'a> {
    id: &'a str,
    address: Option<HostPort>,
    is_myself: bool,
    is_primary: bool,
    has_slots: bool,
    owns_slot: bool,
    is_migrating: bool,
}

/// Reads the reply of the node reached at `host`. `None` if it is not that of a node in a cluster.
pub(super) fn read(replies: &[Value], slot: u16, host: &str) -> Option<Answer> {
    let text: String = redis::from_redis_value_ref(replies.first()?).ok()?;
    let nodes: Vec<Node<'_>> = text.lines().filter_map(|line| node(line, slot, host)).collect();
    let myself = nodes.iter().find(|node| node.is_myself)?;
    let owner = nodes.iter().find(|node| node.owns_slot);
    let named = owner.and_then(|owner| {
        let (server, address) = (owner.id.to_owned(), owner.address.clone()?);
        Some(Named { server, address, is_moving: owner.is_myself && owner.is_migrating })
    });
    Some(Answer {
        member: myself.id.to_owned(),
        votes: myself.is_primary && myself.has_slots,
        voters: nodes.iter().filter(|node| node.is_primary && node.has_slots).count(),
        others: Vec::new(),
        named,
        addresses: nodes.iter().filter_map(|node| node.address.clone()).collect(),
    })
}

/// `id host:port@bus flags primary ping pong epoch link slots...`
fn node<'a>(line: &'a str, slot: u16, host: &str) -> Option<Node<'a>> {
    let mut words = line.split(' ');
    let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
    let flags: Vec<&str> = flags.split(',').collect();
    let slots: Vec<&str> = words.skip(5).collect();
    let is_primary = flags.contains(&"master");
    let migrating = format!("[{slot}->-");
    Some(Node {
        id,
        address: address_of(address, host).filter(|_| !flags.contains(&"noaddr")),
        is_myself: flags.contains(&"myself"),
        is_primary,
        has_slots: slots.iter().any(|range| !range.starts_with('[')),
        owns_slot: is_primary && slots.iter().any(|range| has(range, slot)),
        is_migrating: slots.iter().any(|range| range.starts_with(&migrating)),
    })
}

/// A node that does not know its own host is at the `host` at which it was asked.
fn address_of(text: &str, host: &str) -> Option<HostPort> {
    let (address, _) = text.split_once('@').unwrap_or((text, ""));
    let (of_node, port) = address.rsplit_once(':')?;
    let of_node = if of_node.is_empty() { host } else { of_node };
    Some((of_node.to_owned(), port.parse().ok().filter(|port| *port != 0)?))
}

/// Whether the range (`first-last`, or a single slot) has `slot`.
fn has(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&slot),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
        a1 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460 [100->-b2] [200-<-c3]\n\
        b2 10.0.0.2:7002@17002,host master - 0 1 2 connected 5461-10922\n\
        c3 10.0.0.3:7003@17003 master - 0 1 3 connected 10923-16382 16383\n\
        d4 10.0.0.4:7004@17004 slave a1 0 1 1 connected\n\
        e5 10.0.0.5:7005@17005 master,fail - 0 1 1 disconnected\n\
        f6 :0@0 master,noaddr - 0 1 1 disconnected\n";

    fn read_text(text: &str, slot: u16) -> Option<Answer> {
        read(&[Value::BulkString(text.as_bytes().to_vec())], slot, "seed")
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot("123456789"), 0x31C3 % SLOTS);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("s0"), 11_097);
    }

    #[test]
    fn the_owner_of_the_slot_and_the_voters_are_found() {
        let answer = read_text(NODES, 16_383).expect("a node of a cluster");
        assert_eq!((answer.member.as_str(), answer.votes, answer.voters), ("a1", true, 3));
        let named = answer.named.expect("the slot has an owner");
        assert_eq!(
            (named.server.as_str(), named.address, named.is_moving),
            ("c3", ("10.0.0.3".to_owned(), 7003), false)
        );
        assert_eq!(answer.addresses.len(), 5, "a node without an address cannot be asked");
    }

    #[test]
    fn a_slot_that_leaves_its_owner_is_moving_and_one_that_arrives_is_not() {
        let is_moving = |slot| read_text(NODES, slot).and_then(|answer| answer.named).map(|named| named.is_moving);
        assert_eq!((is_moving(100), is_moving(200), is_moving(101)), (Some(true), Some(false), Some(false)));
    }

    #[test]
    fn a_node_without_a_host_is_where_it_was_asked() {
        let answer = read_text("a1 :7001@17001 myself,master - 0 0 1 connected 0-16383\n", 5).expect("a node");
        assert_eq!(answer.named.map(|named| named.address), Some(("seed".to_owned(), 7001)));
        assert_eq!(read_text("", 5), None);
        let refused = redis::Value::Nil;
        assert_eq!(read(&[refused], 5, "seed"), None);
    }
}
