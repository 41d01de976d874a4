//! Writes a batch as keys and arguments of `lua/claim.lua`. The script documents the order.

use std::sync::Arc;

use redis::Cmd;
use tokio::sync::oneshot;

use crate::domain::{ActivityId, CouponId, Epoch, Nth, UserId};
use crate::redis::{Keys, KvError, Script};

/// An attempt in the channel, with the sender of the answer.
pub(in crate::redis) struct WaitingAttempt {
    pub(in crate::redis) arguments: ClaimArguments,
    pub(in crate::redis) answer: oneshot::Sender<Result<String, KvError>>,
}

/// Letter of the first question. A question for every attempt of a batch is still ASCII.
const FIRST_LETTER: u8 = b'A';
/// Reserved keys, arguments and bytes for one attempt.
const PARTS_OF_ATTEMPT: usize = 4;
const BYTES_OF_ATTEMPT: usize = 64;

#[derive(Debug, Clone)]
pub struct ClaimArguments {
    pub keys: Keys,
    /// The required value of the key `live`, and the epoch in the value. Common to all attempts of a batch.
    pub live: Arc<str>,
    pub epoch: Epoch,
    /// Limit of claims in the outbox.
    pub outbox_max: u32,
    /// Deadline by the clock of Redis, in ms since 1970. The deadline of the first attempt applies to the whole batch.
    /// Later attempts have later deadlines, so no claim is granted too late. A refusal may be a little too early.
    pub not_after: u64,
    pub user: UserId,
    pub question: ClaimQuestion,
}

/// The part of an attempt without the user. Equal questions are written once a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimQuestion {
    pub coupon: CouponId,
    /// The n-th claim of the coupon by the user. 0: one more than the user holds.
    pub nth: Nth,
    /// The revision of the coupon's activities that the caller knows. 0: none.
    pub activity_revision: u64,
    pub activity: Option<ActivityArguments>,
}

/// Terms of the activity that decides, as the caller knows them.
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

/// Packs the call of the script. The batch must not be empty.
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

/// Collects the distinct questions of a batch, and the letter of the question for every attempt.
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
