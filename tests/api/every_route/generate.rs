//! Random requests from a seed.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value, json};

use super::Actors;
use super::routes::Route;
use crate::helpers::now_seconds;

/// The largest body in bytes, far above the service's limit.
const BODY_MAX: u64 = 64 * 1_024;

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"];
const SEGMENTS: [&str; 24] = [
    "ten",
    "nobody",
    "",
    ".",
    "..",
    "%00",
    "%2f",
    "%ff",
    "%zz",
    "%",
    "%c3%28",
    "%ed%a0%80",
    "+",
    "a%20",
    ";a=b",
    "*",
    "'",
    "%22%3b--",
    "@",
    "{user}",
    "%F0%9F%8E%89",
    "127.0.0.1",
    "2001:db8::7",
    "-1",
];
const QUERIES: [&str; 20] = [
    "page=1",
    "page=2",
    "page=",
    "page=0",
    "page=-1",
    "page=x",
    "page=1.5",
    "page=9223372036854775807",
    "page=99999999999999999999",
    "page=1&page=2",
    "page=%31",
    "page=%",
    "product_id=1",
    "product_id=2",
    "product_id=-1",
    "product_id=x",
    "product_id=18446744073709551616",
    "=",
    "&&&",
    "%00=%ff",
];
const ODD_TEXTS: [&str; 12] =
    ["", " ", "\0", "\n", "'; DROP TABLE users; --", "../..", "é", "🎉", "$new", "null", "1e9", "\u{202e}x"];

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// True once in `cases` calls, on average.
    fn once_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).expect("below a length")]
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..self.below(max)).map(|_| u8::try_from(self.below(256)).expect("below 256")).collect()
    }
}

/// A request: its first line with headers, and its body.
pub struct Case {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether an HTTP parser must refuse the request. A bare 400 is allowed then.
    pub unparsable: bool,
}

pub struct Generator<'a> {
    pub random: &'a mut Random,
    pub actors: &'a Actors,
    pub number: usize,
    pub sender: usize,
}

impl Generator<'_> {
    pub fn case(&mut self, route: &Route) -> Case {
        let method =
            if self.random.once_in(12) { *self.random.pick(&METHODS) } else { *self.random.pick(route.methods) };
        let path = self.path(route.path);
        let mut target = path.clone();
        if self.random.once_in(3) {
            target = format!("{target}?{}", self.random.pick(&QUERIES));
        }
        let body = self.body(route);
        let mut head = format!("{method} {target} HTTP/1.1");
        self.headers(&mut head);
        let unparsable = self.random.once_in(40);
        if unparsable {
            let odd = ["\r\nno colon", "\r\nX: \x01", "\r\nContent-Length: x", "\r\nContent-Length: -1", "\r\n: empty"];
            let line: &&str = self.random.pick(&odd);
            head.push_str(line);
        }
        let body = if body.is_empty() {
            body
        } else if self.random.once_in(8) {
            head.push_str("\r\nTransfer-Encoding: chunked");
            chunked(&body)
        } else {
            head.push_str(&format!("\r\nContent-Length: {}", body.len()));
            body
        };
        Case { method: method.to_owned(), path, head, body, unparsable }
    }

    /// The route's path, filled with existing or unknown names.
    fn path(&mut self, template: &str) -> String {
        let mut path = String::new();
        for segment in template.split('/').skip(1) {
            path.push('/');
            path.push_str(&match segment {
                "{user}" => self.segment(|actors| &actors.saler.0),
                "{name}" => self.segment(|_| "ten"),
                "{kind}" => (*self.random.pick(&["users", "ips", "others"])).to_owned(),
                "{value}" => self.segment(|actors| &actors.customer.0),
                "{staff}" => self.segment(|_| "till"),
                "{id}" => self.segment(|_| "1"),
                "{file}" => self.segment(|_| "start.js"),
                placeholder if placeholder.starts_with('{') => panic!("{template}: nothing fills {placeholder}"),
                plain => plain.to_owned(),
            });
        }
        match self.random.below(12) {
            0 => path + "/",
            1 if self.random.once_in(4) => path.replacen('/', "//", 1),
            _ => path,
        }
    }

    /// Usually the value of `known`.
    fn segment(&mut self, known: impl Fn(&Actors) -> &str) -> String {
        match self.random.below(8) {
            0 => (*self.random.pick(&SEGMENTS)).to_owned(),
            1 => percent_encode(&self.random.bytes(100), NON_ALPHANUMERIC).to_string(),
            2 if self.random.once_in(4) => "x".repeat(3_000),
            3 => self.actors.customer.0.clone(),
            _ => known(self.actors).to_owned(),
        }
    }

    fn headers(&mut self, head: &mut String) {
        let Actors { customer, saler, admin } = self.actors;
        let token = match self.random.below(20) {
            0 => String::new(),
            1 => "x.y.z".to_owned(),
            2 => customer.1[..customer.1.len() - 1].to_owned(),
            3 => "a".repeat(5_000),
            4..=8 => customer.1.clone(),
            9..=14 => saler.1.clone(),
            _ => admin.1.clone(),
        };
        if !token.is_empty() {
            let bearer = if self.random.once_in(4) { "Bearer " } else { "" };
            head.push_str(&format!("\r\nAuthorization: {bearer}{token}"));
        }
        let odd = [
            "Claim-Nth: 1",
            "Claim-Nth: 0",
            "Claim-Nth: x",
            "Claim-Nth: 99999999999999999999",
            "Claim-Wait: stored",
            "Claim-Wait: x",
            "X-Request-Id: abc",
            "X-Request-Id: \u{e9}",
            "X-Forwarded-For: 1.2.3.4, x",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Type: application/json",
            "Content-Type: ;;;",
            "Content-Encoding: gzip",
            "Accept: x/y",
            "Range: bytes=0-1",
            "Cookie: a=b",
            "AuthSign: 0",
            "Referer: http://elsewhere/",
            "If-None-Match: *",
        ];
        while self.random.once_in(3) {
            head.push_str("\r\n");
            let line: &&str = self.random.pick(&odd);
            head.push_str(line);
        }
    }

    /// A body: none, valid, with a changed field, as a form, or garbage.
    fn body(&mut self, route: &Route) -> Vec<u8> {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(route.body) else { return self.garbage_sometimes() };
        for value in fields.values_mut() {
            self.fill(value);
        }
        if self.random.once_in(3) {
            self.spoil(&mut fields);
        }
        match self.random.below(10) {
            0 => Vec::new(),
            1 => self.garbage(),
            2 | 3 => form(&fields).into_bytes(),
            4 if self.random.once_in(2) => {
                let text = Value::Object(fields).to_string();
                let cut = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                text.as_bytes()[..cut].to_vec()
            }
            _ => Value::Object(fields).to_string().into_bytes(),
        }
    }

    fn fill(&mut self, value: &mut Value) {
        let now = now_seconds();
        let filled = match value.as_str() {
            Some("$new") => json!(format!("new {} {}", self.sender, self.number)),
            Some("$customer") => json!(self.actors.customer.0),
            Some("$now") => json!(now),
            Some("$later") => json!(now + 1 + self.random.below(100)),
            Some("$token") => json!(self.actors.customer.1),
            _ => return,
        };
        *value = filled;
    }

    /// Removes a field, or changes its value, or the case of its name.
    fn spoil(&mut self, fields: &mut Map<String, Value>) {
        let keys: Vec<String> = fields.keys().cloned().collect();
        let key = self.random.pick(&keys).clone();
        let old = fields.remove(&key);
        let number = [json!(-1), json!(0), json!(1.5), json!(1e300), json!(u64::MAX), json!(i64::MAX), json!("10")];
        let other = [json!(null), json!([]), json!({}), json!(true), json!([1, [2, [3]]]), json!({"a": {"b": null}})];
        match self.random.below(6) {
            0 => {}
            1 => drop(fields.insert(key, self.random.pick(&number).clone())),
            2 => drop(fields.insert(key, self.random.pick(&other).clone())),
            3 => drop(fields.insert(key, json!(self.random.pick(&ODD_TEXTS)))),
            4 => drop(fields.insert(key, json!("é".repeat(1 + usize::from(self.random.once_in(2)) * 500)))),
            _ => drop(fields.insert(key.to_uppercase(), old.unwrap_or(Value::Null))),
        }
    }

    fn garbage_sometimes(&mut self) -> Vec<u8> {
        if self.random.once_in(5) { self.garbage() } else { Vec::new() }
    }

    fn garbage(&mut self) -> Vec<u8> {
        match self.random.below(5) {
            0 => self.random.bytes(500),
            1 => vec![b'['; usize::try_from(self.random.below(4_000)).expect("it is small")],
            2 => vec![b'x'; usize::try_from(self.random.below(BODY_MAX)).expect("it is small")],
            3 => b"{\"a\":1}{\"a\":2}".to_vec(),
            _ => b"&&=%zz&a=%ff&a".to_vec(),
        }
    }
}

fn form(fields: &Map<String, Value>) -> String {
    let encode = |text: &str| percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs: Vec<String> =
        fields.iter().map(|(key, value)| format!("{}={}", encode(key), encode(&text(value)))).collect();
    pairs.join("&")
}

/// The body in chunked encoding, in two chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let (first, second) = body.split_at(body.len() / 2);
    let mut bytes = Vec::new();
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(2_000).collect();
        write!(f, "-- sent:\n{}\n{body}\n({} bytes of body)", self.head, self.body.len())
    }
}
