//! The limits of admission, set by operators.
//!
//! Parses JSON objects of limits from requests, MySQL and etcd by the same rules. A missing key takes the default, an
//! unknown key is ignored, and an invalid value is refused with the key's name. Counting happens elsewhere.

use serde::Serialize;
use serde_json::{Map, Value};
use url::{Position, Url};

use super::BadSetting;
use crate::domain::{Address, Network, Networks};

/// The highest rate, per second or per minute.
const RATE_MAX: u32 = 1_000_000;
/// A year.
const SECONDS_MAX: u32 = 31_536_000;
/// Maximum entries of `allow_ips`.
const ALLOWED_NETWORKS_MAX: usize = 500;
/// Maximum entries of `allow_referers`.
const ALLOWED_REFERERS_MAX: usize = 100;
/// Maximum length of a host name, from RFC 1035.
const HOST_BYTES_MAX: usize = 253;

/// The limits in force. 0 means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Limits {
    /// Claims per second allowed for a user.
    pub user_per_second: u32,
    /// Claims per minute allowed for a user.
    pub user_per_minute: u32,
    /// Claims per second allowed from an address.
    pub ip_per_second: u32,
    /// Claims per minute allowed from an address.
    pub ip_per_minute: u32,
    /// Answers from memory per minute allowed to an address: sales and the document of the interface.
    pub ip_glances_per_minute: u32,
    /// Lists and checks of claim tokens per minute allowed for a user.
    pub user_reads_per_minute: u32,
    /// Lists and checks of claim tokens per minute allowed from an address.
    pub ip_reads_per_minute: u32,
    /// Exports per minute allowed for a user.
    pub user_exports_per_minute: u32,
    /// Exports per minute allowed from an address.
    pub ip_exports_per_minute: u32,
    /// Changes of coupons and activities per minute allowed for a user. As many redemptions, and as many logouts.
    pub user_writes_per_minute: u32,
    /// Changes per minute allowed from an address.
    pub ip_writes_per_minute: u32,
    /// Registrations, logins and changes of passwords per minute allowed from an address, also successful ones.
    pub ip_hashes_per_minute: u32,
    /// Rate refusals in a minute after which a user or an address is blocked.
    pub offences_per_minute: u32,
    /// Duration of that block in seconds.
    pub offender_seconds: u32,
    /// Addresses and networks exempt from counting by address and from automatic blocks.
    #[serde(serialize_with = "as_texts")]
    #[schema(value_type = Vec<String>)]
    pub allow_ips: Networks,
    /// Hosts, in lower case, whose pages may send the signed form of a claim.
    pub allow_referers: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            user_per_second: 20,
            user_per_minute: 300,
            ip_per_second: 0,
            ip_per_minute: 0,
            ip_glances_per_minute: 0,
            user_reads_per_minute: 0,
            ip_reads_per_minute: 0,
            user_exports_per_minute: 0,
            ip_exports_per_minute: 0,
            user_writes_per_minute: 0,
            ip_writes_per_minute: 0,
            ip_hashes_per_minute: 0,
            offences_per_minute: 1_000,
            offender_seconds: 600,
            allow_ips: Networks::default(),
            allow_referers: Vec::new(),
        }
    }
}

impl Limits {
    /// Limits for a service that strangers can reach.
    pub fn public() -> Self {
        Self {
            ip_per_second: 50,
            ip_per_minute: 1_200,
            ip_glances_per_minute: 1_200,
            user_reads_per_minute: 240,
            ip_reads_per_minute: 2_400,
            user_exports_per_minute: 6,
            ip_exports_per_minute: 12,
            user_writes_per_minute: 120,
            ip_writes_per_minute: 1_200,
            ip_hashes_per_minute: 120,
            ..Self::default()
        }
    }

    /// Names of the rates that admit more than `strict` does.
    pub fn weaker_than(&self, strict: &Self) -> Vec<&'static str> {
        let (mut ours, mut theirs) = (self.clone(), strict.clone());
        let pairs = ours.numbers().into_iter().zip(theirs.numbers());
        let is_rate = |name: &str| name.starts_with("user_") || name.starts_with("ip_");
        let weaker = pairs.filter(|((name, ours, _), (_, theirs, _))| {
            is_rate(name) && **theirs > 0 && (**ours == 0 || **ours > **theirs)
        });
        weaker.map(|((name, ..), _)| name).collect()
    }

    /// Parses an object with lower-case keys. A missing key takes its value from `defaults`.
    ///
    /// # Errors
    /// [`BadSetting`] names the first invalid field.
    pub fn parse(object: &Map<String, Value>, defaults: &Self) -> Result<Self, BadSetting> {
        let mut limits = defaults.clone();
        for (name, field, max) in limits.numbers() {
            if let Some(value) = object.get(name) {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|n| *n <= max);
                *field = number.ok_or_else(|| BadSetting::new(name, format!("a whole number from 0 to {max}")))?;
            }
        }
        if let Some(value) = object.get("allow_ips") {
            let networks = texts(value, ALLOWED_NETWORKS_MAX)
                .and_then(|texts| texts.map(|text| text.parse::<Network>().ok().map(Network::of_addresses)).collect());
            let wanted = || format!("a list of at most {ALLOWED_NETWORKS_MAX} addresses or networks (10.0.0.0/8)");
            limits.allow_ips = networks.ok_or_else(|| BadSetting::new("allow_ips", wanted()))?;
        }
        if let Some(value) = object.get("allow_referers") {
            let hosts = texts(value, ALLOWED_REFERERS_MAX).and_then(|texts| texts.map(host).collect());
            let wanted = || format!("a list of at most {ALLOWED_REFERERS_MAX} hosts (shop.example, without scheme)");
            limits.allow_referers = hosts.ok_or_else(|| BadSetting::new("allow_referers", wanted()))?;
        }
        Ok(limits)
    }

    /// Whether the `Referer` URL sent by a browser is of an allowed host. Only the host is compared, without scheme and
    /// port. Subdomains of an allowed host are not allowed.
    pub fn allows_referer(&self, referer: &str) -> bool {
        let Ok(url) = Url::parse(referer) else { return false };
        // The parser repairs URLs: `https:host`, `ho%73t` and `ho<tab>st` all name a host. Only a URL that was sent in
        // its final form counts, as browsers send it.
        let start = &url[..Position::AfterHost];
        let is_as_sent = referer.get(..start.len()).is_some_and(|sent| sent.eq_ignore_ascii_case(start));
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        is_as_sent && self.allow_referers.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Whether claims from `address` are counted by address and may get the address blocked.
    pub fn counts(&self, address: Address) -> bool {
        !self.allow_ips.contains(address.first())
    }

    /// Whether a limit by address is set.
    pub fn count_addresses(&self) -> bool {
        self.ip_per_second > 0 || self.ip_per_minute > 0
    }

    fn numbers(&mut self) -> [(&'static str, &mut u32, u32); 14] {
        [
            ("user_per_second", &mut self.user_per_second, RATE_MAX),
            ("user_per_minute", &mut self.user_per_minute, RATE_MAX),
            ("ip_per_second", &mut self.ip_per_second, RATE_MAX),
            ("ip_per_minute", &mut self.ip_per_minute, RATE_MAX),
            ("ip_glances_per_minute", &mut self.ip_glances_per_minute, RATE_MAX),
            ("user_reads_per_minute", &mut self.user_reads_per_minute, RATE_MAX),
            ("ip_reads_per_minute", &mut self.ip_reads_per_minute, RATE_MAX),
            ("user_exports_per_minute", &mut self.user_exports_per_minute, RATE_MAX),
            ("ip_exports_per_minute", &mut self.ip_exports_per_minute, RATE_MAX),
            ("user_writes_per_minute", &mut self.user_writes_per_minute, RATE_MAX),
            ("ip_writes_per_minute", &mut self.ip_writes_per_minute, RATE_MAX),
            ("ip_hashes_per_minute", &mut self.ip_hashes_per_minute, RATE_MAX),
            ("offences_per_minute", &mut self.offences_per_minute, RATE_MAX),
            ("offender_seconds", &mut self.offender_seconds, SECONDS_MAX),
        ]
    }
}

/// A list of up to `max` strings, or `None` for any other value.
fn texts(value: &Value, max: usize) -> Option<impl Iterator<Item = &str>> {
    let list = value.as_array().filter(|list| list.len() <= max)?;
    list.iter().all(Value::is_string).then(|| list.iter().filter_map(Value::as_str))
}

/// A host name or IP address in lower case, or `None` for anything else, for example a URL.
fn host(text: &str) -> Option<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    // A colon is valid only in an IPv6 address. A port is not allowed.
    let is_host = (1..=HOST_BYTES_MAX).contains(&text.len())
        && text.bytes().all(is_part)
        && (!text.contains(':') || text.parse::<std::net::Ipv6Addr>().is_ok());
    is_host.then(|| text.to_ascii_lowercase())
}

fn as_texts<S: serde::Serializer>(networks: &Networks, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<Limits, String> {
        let Value::Object(object) = value else { panic!("a test gives objects") };
        Limits::parse(&object, &Limits::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_weaker_rate_is_a_higher_one_or_none_at_all() {
        let names = |value| parse(value).map(|limits| limits.weaker_than(&Limits::public()).join(" "));
        let public = serde_json::to_value(Limits::public()).expect("JSON");
        assert_eq!(names(public.clone()).as_deref(), Ok(""));
        let mut weak = public;
        weak["ip_per_minute"] = json!(0);
        weak["user_reads_per_minute"] = json!(241);
        weak["ip_hashes_per_minute"] = json!(1);
        weak["offences_per_minute"] = json!(0);
        assert_eq!(names(weak).as_deref(), Ok("ip_per_minute user_reads_per_minute"));
    }

    #[test]
    fn limits_read_back_as_they_were_written() {
        let limits = parse(json!({
            "user_per_second": 1, "user_per_minute": 2, "ip_per_second": 3, "ip_per_minute": 4,
            "offences_per_minute": 5, "offender_seconds": 6, "allow_ips": ["10.0.0.0/8", "2001:db8:1:2::9", "192.0.2.1"],
            "allow_referers": ["Shop.example"], "something_else": [1],
        }));
        let written = serde_json::to_value(limits.as_ref().expect("they are good")).expect("JSON");
        assert_eq!(written["allow_ips"], json!(["10.0.0.0/8", "2001:db8:1:2::/64", "192.0.2.1"]));
        assert_eq!(written["allow_referers"], json!(["shop.example"]));
        assert_eq!(parse(written), limits);
        assert_eq!(parse(json!({})), Ok(Limits::default()));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for name in ["user_per_second", "user_per_minute", "ip_per_second", "ip_per_minute", "offences_per_minute"] {
            for bad in [json!(-1), json!(1.5), json!("20"), json!(true), json!([]), json!(1_000_001), json!(1e30)] {
                let message = parse(json!({ name: bad })).expect_err("it is wrong");
                assert_eq!(message, format!("{name} must be a whole number from 0 to 1000000."));
            }
        }
        assert!(parse(json!({"offender_seconds": u64::MAX})).expect_err("a year").contains("offender_seconds"));
        for bad in [json!("10.0.0.0/8"), json!([1]), json!(["x"]), json!(["10.0.0.0/33"]), json!(vec!["::"; 501])] {
            assert!(parse(json!({"allow_ips": bad})).expect_err("it is wrong").starts_with("allow_ips must be"));
        }
        for bad in [json!("x"), json!([""]), json!(["http://x"]), json!(["x:80"]), json!(["x y"]), json!([null])] {
            let message = parse(json!({"allow_referers": bad})).expect_err("it is wrong");
            assert!(message.starts_with("allow_referers must be"), "{message}");
        }
    }

    #[test]
    fn a_referer_is_allowed_by_its_host_alone() {
        let limits = parse(json!({"allow_referers": ["shop.example", "2001:db8::1"]})).expect("they are good");
        for good in [
            "https://shop.example/sale?x",
            "http://SHOP.example:8080",
            "https://u:p@shop.example#",
            "http://[2001:db8::1]:1/",
        ] {
            assert!(limits.allows_referer(good), "{good}");
        }
        for bad in [
            "",
            "shop.example",
            "https://",
            "https://evil.example/shop.example",
            "https://shop.example.evil",
            "https://shop.example@evil",
            "https://evil?@shop.example",
            "https://evil\\@shop.example",
            "https://a.shop.example",
            "https://shop.example.",
            "https://.shop.example",
            "https://shop.example%2eevil",
            "https://shop%2eexample",
            "https://shop.\texample",
            " https://shop.example",
            "https:shop.example",
            "https:/shop.example",
            "https:///shop.example",
            "https:\\\\shop.example",
            "https://[2001:db8:0::1]",
            "https://[2001:db8::1",
            "data:,shop.example",
            "javascript:https://shop.example",
        ] {
            assert!(!limits.allows_referer(bad), "{bad}");
        }
    }
}
