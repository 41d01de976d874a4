//! Settings of limits, and the profile that chooses their defaults.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::domain::{AddressError, Networks, Origins, RateShare};

/// Who can reach the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Nobody is refused whom earlier releases served.
    Open,
    /// Strangers. Strict limits.
    Public,
}

/// The listeners that have the routes of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdminOn {
    /// The operators' listener alone.
    Ops,
    /// Both listeners.
    Users,
}

/// Which new merchants sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Merchants {
    /// All.
    Open,
    /// Those whom an admin has approved.
    Approved,
}

/// The proxies in front of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Networks,
    /// The operator has said so, also by `none`.
    pub is_set: bool,
}

impl FromStr for TrustedProxies {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let networks = if text == "none" { Networks::default() } else { text.parse()? };
        Ok(Self { networks, is_set: !text.is_empty() })
    }
}

#[derive(Debug, Args, Clone)]
pub struct AdmissionArgs {
    /// Defaults for a service behind which the operator stands alone, or for strangers: `open` keeps the limits of earlier
    /// releases, `public` switches on strict limits and needs COUPONRUSH_TRUSTED_PROXIES. Single settings override both.
    #[arg(long, env = "COUPONRUSH_PROFILE", value_parser = word::<Profile>, default_value = "open", value_name = "open|public")]
    pub profile: Profile,
    /// The listeners that have `/admin` and the routes below it: the operators' listener alone (`ops`), or both (`users`).
    /// Default: `users`, or `ops` in the public profile.
    #[arg(long, env = "COUPONRUSH_ADMIN_ON", value_parser = word::<AdminOn>, value_name = "ops|users")]
    pub admin_on: Option<AdminOn>,
    /// Which new merchants sell: all (`open`), or those whom an admin has approved (`approved`). Default: `open`, or `approved` in
    /// the public profile.
    #[arg(long, env = "COUPONRUSH_MERCHANTS", value_parser = word::<Merchants>, value_name = "open|approved")]
    pub merchants: Option<Merchants>,
    /// The part of each limit that an instance admits: `divided`, by the number of serving instances and rounded up, or
    /// `whole`. Choose `whole` if the load balancer sends each user and each address to a single instance.
    #[arg(long, env = "COUPONRUSH_RATE_SHARE", default_value = "divided", value_name = "divided|whole")]
    pub rate_share: RateShare,
    /// Claims of a user per second, 0 (no limit) to 1000000. Applies until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_USER_PER_SECOND", default_value_t = 20, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub user_per_second: u32,
    /// Claims of a user per minute, 0 (no limit) to 1000000. Applies until an admin or etcd sets limits.
    #[arg(long, env = "COUPONRUSH_USER_PER_MINUTE", default_value_t = 300, value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub user_per_minute: u32,
    /// Claims from an address per second, 0 (no limit) to 1000000. Applies until an admin or etcd sets limits. Default: 0, or
    /// 50 in the public profile.
    #[arg(long, env = "COUPONRUSH_IP_PER_SECOND", value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_per_second: Option<u32>,
    /// Claims from an address per minute, 0 (no limit) to 1000000. Applies until an admin or etcd sets limits. Default: 0, or
    /// 1200 in the public profile.
    #[arg(long, env = "COUPONRUSH_IP_PER_MINUTE", value_name = "CLAIMS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_per_minute: Option<u32>,
    /// Failed logins of a name from an address per minute, 0 (no limit) to 1000000, and ten times as many of the name from
    /// all addresses. Above a limit even the right password is answered 429 until the minute is over.
    #[arg(long, env = "COUPONRUSH_FAILED_LOGINS_PER_MINUTE", default_value_t = 10, value_name = "LOGINS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub failed_logins_per_minute: u32,
    /// Failed logins from an address per minute, 0 (no limit) to 1000000. Above the limit even the right password is
    /// answered 429 until the minute is over.
    #[arg(long, env = "COUPONRUSH_IP_FAILED_LOGINS_PER_MINUTE", default_value_t = 100, value_name = "LOGINS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ip_failed_logins_per_minute: u32,
    /// Registrations from an address per minute, 0 (no limit) to 1000000. Each registration costs 15 ms of a core. Default:
    /// 6000, or 30 in the public profile.
    #[arg(long, env = "COUPONRUSH_REGISTRATIONS_PER_MINUTE", value_name = "USERS",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub registrations_per_minute: Option<u32>,
    /// Event streams of live units that an address may have open at the same time, 0 (no limit) to 90000. Default: 0, or 20 in the
    /// public profile.
    #[arg(long, env = "COUPONRUSH_IP_VIEWERS_MAX", value_name = "VIEWERS",
          value_parser = clap::value_parser!(u32).range(0..=90_000))]
    pub ip_viewers_max: Option<u32>,
    /// Addresses and networks (10.0.0.0/8) of the proxies in front of the service, separated by commas, or `none`.
    /// X-Forwarded-For is trusted only from these proxies. The public profile needs this setting. Default: none.
    #[arg(
        long,
        env = "COUPONRUSH_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        value_name = "NETWORKS|none"
    )]
    pub trusted_proxies: TrustedProxies,
    /// Origins of other sites, scheme and host, whose pages may send changes, separated by commas. Browsers say where a
    /// request comes from, and changes from all other sites are refused. Default: none.
    #[arg(
        long,
        env = "COUPONRUSH_ALLOWED_ORIGINS",
        default_value = "",
        hide_default_value = true,
        value_name = "ORIGINS"
    )]
    pub allowed_origins: Origins,
}

impl AdmissionArgs {
    /// Whether new merchants sell only after an admin's approval.
    pub fn salers_need_approval(&self) -> bool {
        match (self.merchants, self.profile) {
            (Some(merchants), _) => merchants == Merchants::Approved,
            (None, profile) => profile == Profile::Public,
        }
    }

    /// The listeners that have the routes of operators.
    pub fn admin_on(&self) -> AdminOn {
        self.admin_on.unwrap_or(match self.profile {
            Profile::Open => AdminOn::Users,
            Profile::Public => AdminOn::Ops,
        })
    }
}

/// Parses one of the words of `T`. The message does not repeat the text, which may be a secret in the wrong variable.
fn word<T: ValueEnum>(text: &str) -> Result<T, String> {
    let words = T::value_variants().iter().filter_map(T::to_possible_value).map(|word| word.get_name().to_owned());
    T::from_str(text, false).map_err(|_| format!("must be {}", words.collect::<Vec<_>>().join(" or ")))
}
