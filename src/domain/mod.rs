//! The types of a sale: users, coupons, activities, claims, refusals, blocks.
//!
//! Holds the rules that depend only on arguments, without IO, clock, framework or wire format. Constructors check
//! values, so other modules never check a value again.

mod activity;
mod address;
mod author;
mod block;
mod characters;
mod claim;
mod commits;
mod conditions;
mod coupon;
mod durability;
mod format;
mod holding;
mod id;
mod mandate;
mod name;
mod origins;
mod page;
mod password;
mod quotas;
mod ranking;
mod rate_share;
mod shard;
mod skeleton;
mod trail;
mod user;

pub use activity::{Activity, Phase, Rate, Schedule, Status, Terms, Window};
pub use address::{Address, AddressError, Network, Networks};
pub use author::Author;
pub use block::{Block, BlockReason, Subject, Until};
pub use claim::{Claim, ClaimError, EntryId, Nth, Refusal, Seq};
pub use commits::Commits;
pub use conditions::{Conditions, RegisteredBefore, TicketRule};
pub use coupon::{Amount, Coupon, Description, FaceValue, PublishedCoupon, StoredUnits, left};
pub use durability::{Durability, DurabilityError};
pub use format::Format;
pub use holding::{HeldClaim, HeldCoupon, held_coupons};
pub use id::{ActivityId, CouponId, Epoch, KeyId, UserId};
pub use mandate::{KEYS_MAX, KeyHash, Mandate, MerchantRight, Rights, STAFF_MAX};
pub use name::{ActivityName, CouponName, ERASED, NameError, UserName, normalized};
pub use origins::{OriginError, Origins};
pub use page::{Page, PageError, PageStart};
pub use password::{Password, PasswordError, PasswordMin};
pub use quotas::{OfferTotals, OpenOffer, QuotaCheck, QuotaReached, Quotas};
pub use ranking::{Placed, rank};
pub use rate_share::{RateShare, RateShareError};
pub use shard::ShardId;
pub use skeleton::Skeleton;
pub use trail::TrailEntry;
pub use user::{Kind, User};
