//! The answer of a sentinel: its id, the primary of a name, and the other sentinels of that name.

use std::collections::HashMap;

use redis::{Pipeline, Value};

use super::answer::{Answer, Named};

pub(super) fn question(name: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SENTINEL").arg("MYID");
    pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    pipeline.cmd("SENTINEL").arg("SENTINELS").arg(name);
    pipeline
}

/// Reads the replies. `None` if they are not those of a sentinel that knows the name.
pub(super) fn read(replies: &[Value]) -> Option<Answer> {
    let [id, primary, others] = replies else { return None };
    let member: String = redis::from_redis_value_ref(id).ok()?;
    let primary: Option<(String, u16)> = redis::from_redis_value_ref(primary).ok()?;
    let others: Vec<HashMap<String, String>> = redis::from_redis_value_ref(others).ok()?;
    let named =
        primary.map(|(host, port)| Named { server: format!("{host}:{port}"), address: (host, port), is_moving: false });
    let field = |other: &HashMap<String, String>, name: &str| other.get(name).cloned();
    let address = |other| Some((field(other, "ip")?, field(other, "port")?.parse().ok()?));
    Some(Answer {
        member,
        votes: true,
        voters: 1 + others.len(),
        addresses: others.iter().filter_map(address).collect(),
        others: others.iter().filter_map(|other| field(other, "runid")).collect(),
        named,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect())
    }

    #[test]
    fn the_primary_and_the_other_sentinels_are_found() {
        let id = Value::BulkString(b"s1".to_vec());
        let other = texts(&["name", "s2", "ip", "10.0.0.2", "port", "26379", "runid", "s2"]);
        let answer = read(&[id.clone(), texts(&["10.0.0.9", "6379"]), Value::Array(vec![other])]).expect("a sentinel");
        assert_eq!((answer.voters, answer.others, answer.member.as_str()), (2, vec!["s2".to_owned()], "s1"));
        assert_eq!(answer.addresses, [("10.0.0.2".to_owned(), 26_379)]);
        assert_eq!(answer.named.map(|named| named.server), Some("10.0.0.9:6379".to_owned()));
        assert_eq!(read(&[id, Value::Nil]), None);
    }
}
