//! A batch as keys and arguments of `lua/claim.lua`, which documents their order.

use std::sync::Arc;

use redis::Cmd;

use super::WaitingAttempt;
use crate::domain::{ActivityId, CouponId, Epoch, Nth, UserId};
use crate::kv::{Keys, Script};

/// Letter of the first question. As many questions as attempts are still ASCII.
const FIRST_LETTER: u8 = b'A';
/// Keys and arguments of one attempt, and their bytes: room for them is made at once.
const PARTS_OF_ATTEMPT: usize = 4;
const BYTES_OF_ATTEMPT: usize = 64;

/// An attempt as the script takes it.
#[derive(Debug, Clone)]
pub struct ClaimArguments {
    pub keys: Keys,
    /// What the key `live` must hold, and the epoch in it. Attempts of one batch have it in common.
    pub live: Arc<str>,
    pub epoch: Epoch,
    /// Claims that the outbox may hold.
    pub outbox_max: u32,
    /// The deadline by the clock of Redis, in ms. The first attempt's counts for the whole batch. Attempts behind it came later,
    /// so none is made after its own deadline; one that waited for room may be refused before.
    pub not_after: u64,
    pub user: UserId,
    pub question: ClaimQuestion,
}

/// Everything about an attempt that does not name the user. Equal questions are written once a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimQuestion {
    pub coupon: CouponId,
    /// The n-th claim of this coupon by the user; 0: one more than the user holds.
    pub nth: Nth,
    /// The revision of the coupon's activities that the caller knows; 0: none.
    pub activity_revision: u64,
    pub activity: Option<ActivityArguments>,
}

/// The activity that the caller found to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityArguments {
    pub id: ActivityId,
    pub status: u8,
    /// Seconds since 1970.
    pub start: u64,
    pub end: u64,
    pub draw_is_won: bool,
    pub speed: u32,
    pub total: u32,
    pub buy_limit: Nth,
}

/// The call of the script for a batch that is not empty.
pub(super) fn claim_call(batch: &[WaitingAttempt]) -> Cmd {
    let (questions, letters) = questions(batch);
    let first = &batch[0].arguments;
    let keys = &first.keys;
    let activities = questions.iter().filter(|question| question.activity.is_some()).count();
    let parts = PARTS_OF_ATTEMPT * batch.len();
    let key_count = 3 + 2 * questions.len() + activities + batch.len();
    let mut cmd = Script::Claim.begin(key_count, parts, BYTES_OF_ATTEMPT * (batch.len() + questions.len()));

    cmd.arg(keys.live()).arg(keys.outbox()).arg(keys.waiting());
    for question in &questions {
        cmd.arg(keys.coupon(question.coupon)).arg(keys.holes(question.coupon));
        if let Some(activity) = &question.activity {
            cmd.arg(keys.activity(activity.id));
        }
    }
    for attempt in batch {
        cmd.arg(keys.holder(attempt.arguments.user));
    }

    cmd.arg(&*first.live).arg(first.epoch.0).arg(first.outbox_max).arg(first.not_after);
    cmd.arg(questions.len()).arg(letters.as_slice());
    for question in questions {
        write_question(question, &mut cmd);
    }
    for attempt in batch {
        cmd.arg(attempt.arguments.user.0);
    }
    cmd
}

/// The questions of a batch, each once, and for each attempt the letter of its question.
fn questions(batch: &[WaitingAttempt]) -> (Vec<&ClaimQuestion>, Vec<u8>) {
    let mut questions: Vec<&ClaimQuestion> = Vec::new();
    let mut letters = Vec::with_capacity(batch.len());
    for attempt in batch {
        let question = &attempt.arguments.question;
        let place = questions.iter().position(|known| *known == question).unwrap_or_else(|| {
            questions.push(question);
            questions.len() - 1
        });
        letters.push(FIRST_LETTER + u8::try_from(place).expect("there are no more questions than attempts"));
    }
    (questions, letters)
}

fn write_question(question: &ClaimQuestion, cmd: &mut Cmd) {
    cmd.arg(question.coupon.0).arg(question.nth).arg(question.activity_revision);
    let Some(activity) = &question.activity else {
        cmd.arg(0);
        return;
    };
    cmd.arg(activity.id.0).arg(activity.status).arg(activity.start).arg(activity.end);
    cmd.arg(u8::from(activity.draw_is_won)).arg(activity.speed).arg(activity.total).arg(activity.buy_limit);
}
