//! Copies of MySQL rows in memory, which every request reads without waiting.
//!
//! MySQL has the truth. Each copy is read completely before the program serves. Afterwards the copy is refreshed until
//! the stop. While MySQL is down, the last copy stays in force.

mod activities;
mod admin_names;
mod archived_claims;
mod blacklist;
mod closed_shards;
mod few_reads;
mod known_networks;
mod known_users;
mod limit_share;
mod limits;
mod merchant_keys;
mod revocations;
mod revoked_tokens;
mod setting_error;
mod settings;
mod switches;

pub use activities::Activities;
pub use admin_names::AdminNames;
pub use archived_claims::{ArchiveMark, ArchivedClaims, LISTED_CLAIMS_MAX};
pub use blacklist::{Blacklist, BlacklistLimits, BlockError};
pub use closed_shards::ClosedShards;
pub use few_reads::{FewReads, ReadCounts, ReadError, ReadLimits};
pub use known_networks::{KnownNetworkFigures, KnownNetworks};
pub use known_users::{KnownUsers, UserUnknown};
pub use limit_share::LimitShare;
pub use limits::Limits;
pub use merchant_keys::{KeyRefusal, KnownKey, MakeKeyError, MerchantKeys};
pub use revocations::{RevocationLimits, Revocations, RevokeError};
pub use revoked_tokens::RevocationCounts;
pub use setting_error::BadSetting;
pub use settings::{Setting, Settings};
pub use switches::Switches;
