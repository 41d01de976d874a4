//! The words of a sale as types: who takes part, what is offered, what an attempt ends in.
//!
//! Owns the rules that need nothing but their arguments. Deliberately has no IO, no clock, no framework and no wire
//! format: a value that exists has been checked, so nothing behind the edge checks it again.

mod activity;
mod address;
mod block;
mod claim;
mod coupon;
mod id;
mod name;
mod page;
mod user;

pub use activity::{Activity, Phase, Rate, Schedule, Status, Terms, Window};
pub use address::{Address, AddressError, Network, Networks};
pub use block::{Block, BlockReason, Subject, Until};
pub use claim::{Claim, ClaimError, EntryId, Nth, Refusal, Seq};
pub use coupon::{Amount, Coupon, Description, FaceValue, left};
pub use id::{ActivityId, CouponId, Epoch, UserId};
pub use name::{ActivityName, CouponName, NameError, UserName};
pub use page::Page;
pub use user::{Kind, Password, PasswordError, User};
