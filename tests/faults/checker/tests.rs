//! Tests of the checker with hand-made histories: a good history has no violation, and every kind of violation is
//! reported.

mod clocks;
mod cut_off;
mod lost;

use std::collections::BTreeSet;

use super::{Verdict, check};
use crate::history::{
    Backlog, Change, Claim, CouponInMysql, CouponInRedis, Event, EventKind, MysqlCounts, NO_ANSWER, Outcome,
    RedisCounts, Sale, Sample,
};
use crate::stores::{InMysql, InRedis, Row, Settled};

/// The begin of every hand-made run, by the machine's clock.
const BEGIN_MS: u64 = 1_800_000_000_000;
const BEGIN_S: u64 = BEGIN_MS / 1_000;

/// A hand-made run with a single coupon. Times are in ms after the begin.
struct Story {
    history: Vec<Event>,
    settled: Settled,
    attempts: u64,
}

fn claim(seq: u32, at_ms: u64) -> Claim {
    Claim { seq, nth: 1, activity: 0, claimed_at_ms: BEGIN_MS + at_ms }
}

impl Story {
    /// A run with coupon 1 of `amount` units and no claims.
    fn new(amount: u32) -> Self {
        let in_mysql = CouponInMysql { amount, left: i64::from(amount), ..CouponInMysql::default() };
        let in_redis = CouponInRedis { amount, ..CouponInRedis::default() };
        let mut story = Self { history: Vec::new(), settled: Settled::default(), attempts: 0 };
        story.settled.mysql.counts.coupons.insert(1, in_mysql);
        story.settled.redis.counts.coupons.insert(1, in_redis);
        story.note(0, EventKind::Coupon { coupon: 1, amount, shard: 0 });
        story
    }

    fn note(&mut self, at_ms: u64, kind: EventKind) {
        self.history.push(Event { at_us: at_ms * 1_000, wall_ms: BEGIN_MS + at_ms, kind });
    }

    /// Records an attempt from its request to its answer.
    fn ask(&mut self, user: u64, nth: Option<u8>, (from, to): (u64, u64), answer: impl FnOnce(u64) -> EventKind) {
        self.attempts += 1;
        let attempt = self.attempts;
        self.note(from, EventKind::Invoke { attempt, instance: 0, user, coupon: 1, nth });
        self.note(to, answer(attempt));
    }

    fn claimed(&mut self, user: u64, at_ms: u64, claim: Claim) {
        self.ask(user, None, (at_ms - 1, at_ms + 1), |attempt| EventKind::Claimed { attempt, claim });
    }

    fn refused(&mut self, user: u64, at_ms: u64, reason: &str) {
        let reason = reason.to_owned();
        self.ask(user, None, (at_ms - 1, at_ms + 1), |attempt| EventKind::Refused { attempt, reason });
    }

    /// Adds the claim to the final contents of both stores.
    fn stored(&mut self, user: u64, claim: Claim) {
        let row = Row { coupon: 1, user, claim };
        let InMysql { rows, counts, .. } = &mut self.settled.mysql;
        rows.push(row);
        counts.coupons.get_mut(&1).expect("coupon 1 exists").left -= 1;
        let InRedis { rows, counts, sold } = &mut self.settled.redis;
        rows.push(row);
        counts.coupons.get_mut(&1).expect("coupon 1 exists").claimed += 1;
        if claim.activity != 0 {
            *sold.entry(1).or_default() += 1;
        }
    }

    fn sold(&mut self, user: u64, at_ms: u64, seq: u32) {
        self.claimed(user, at_ms, claim(seq, at_ms));
        self.stored(user, claim(seq, at_ms));
    }

    fn changed(&mut self, (from, to): (u64, u64), change: Change, outcome: Outcome) {
        self.note(from, EventKind::ChangeBegins { change: from, coupon: 1, to: change });
        self.note(to, EventKind::ChangeEnds { change: from, outcome });
    }

    fn verdict(&mut self) -> Verdict {
        self.history.sort_by_key(|event| event.at_us);
        check(&self.history, &self.settled)
    }

    /// The names of the violated invariants.
    fn broken(mut self) -> Vec<&'static str> {
        let verdict = self.verdict();
        verdict.violations.iter().map(|violation| violation.invariant).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn sale(start: u64, end: u64) -> Sale {
    Sale { start: BEGIN_S + start, end: BEGIN_S + end, total: 0, speed: 0, buy_limit: 1 }
}

const NONE: [&str; 0] = [];

#[test]
fn a_good_run_has_no_violation() {
    let mut story = Story::new(2);
    story.sold(10, 100, 1);
    story.ask(11, None, (110, 200), |attempt| EventKind::Unknown { attempt, why: "unknown-outcome".to_owned() });
    story.stored(11, claim(2, 150));
    story.ask(11, None, (300, 310), |attempt| EventKind::Already { attempt, claim: claim(2, 150) });
    story.refused(12, 400, "sold-out");
    story.ask(12, None, (410, 420), |attempt| EventKind::Nothing { attempt, code: "unavailable".to_owned() });
    story.note(500, EventKind::Healed);
    assert_eq!(story.broken(), NONE);
}

#[test]
fn i1_more_claims_than_units_are_named() {
    let mut story = Story::new(1);
    story.sold(10, 100, 1);
    story.sold(11, 200, 2);
    assert!(story.broken().contains(&"I1"));
    // Two users are told of a single unit, even if MySQL lost a row.
    let mut story = Story::new(1);
    story.sold(10, 100, 1);
    story.claimed(11, 200, claim(1, 200));
    assert_eq!(story.broken(), ["I1", "I2"]);
}

#[test]
fn i1_counts_by_what_was_in_force_when_it_was_claimed() {
    let raised = |done_at| {
        let mut story = Story::new(1);
        story.sold(10, 100, 1);
        story.sold(11, 1_000, 2);
        story.changed((done_at - 100, done_at), Change::Amount(2), Outcome::Done);
        story.settled.mysql.counts.coupons.get_mut(&1).expect("coupon 1 exists").amount = 2;
        story.settled.mysql.counts.coupons.get_mut(&1).expect("coupon 1 exists").left = 0;
        story.settled.redis.counts.coupons.get_mut(&1).expect("coupon 1 exists").amount = 2;
        story.broken()
    };
    assert_eq!(raised(800), NONE);
    assert_eq!(raised(1_050), NONE, "the change was in progress");
    assert_eq!(raised(3_000), ["I1"]);
}

#[test]
fn i2_a_claim_that_was_answered_and_is_not_stored_is_named() {
    let mut story = Story::new(5);
    story.claimed(10, 100, claim(1, 100));
    assert_eq!(story.broken(), ["I2"]);
    let mut story = Story::new(5);
    story.claimed(10, 100, claim(1, 100));
    story.stored(10, claim(2, 100));
    assert!(story.broken().contains(&"I2"), "another seq is another claim");
}

#[test]
fn i3_a_row_of_a_user_who_was_refused_or_never_asked_is_named() {
    let mut story = Story::new(5);
    story.stored(10, claim(1, 100));
    assert_eq!(story.broken(), ["I3"]);
    let mut story = Story::new(5);
    story.ask(10, None, (90, 110), |attempt| EventKind::Nothing { attempt, code: "overloaded".to_owned() });
    story.stored(10, claim(1, 100));
    assert_eq!(story.broken(), ["I3", "I7"], "the answer said that nothing happened");
}

#[test]
fn i4_a_user_who_holds_more_than_he_may_is_named() {
    let mut story = Story::new(5);
    story.sold(10, 100, 1);
    let second = Claim { nth: 2, ..claim(2, 200) };
    story.claimed(10, 200, second);
    story.stored(10, second);
    assert!(story.broken().contains(&"I4"));
}

#[test]
fn i4_and_i1_a_quota_and_a_total_are_counted() {
    let with = |sale: Sale| {
        let mut story = Story::new(5);
        story.changed((1, 2), Change::Sale(sale), Outcome::Done);
        for (user, at_ms) in [(10, 1_100), (11, 1_200)] {
            let seq = u32::try_from(user - 9).expect("small");
            let claim = Claim { activity: 1, ..claim(seq, at_ms) };
            story.claimed(user, at_ms, claim);
            story.stored(user, claim);
        }
        story.broken()
    };
    assert_eq!(with(sale(0, 10)), NONE);
    assert_eq!(with(Sale { speed: 1, ..sale(0, 10) }), ["I4"]);
    assert_eq!(with(Sale { total: 1, ..sale(0, 10) }), ["I1"]);
    assert_eq!(with(sale(2, 10)), ["I7"], "before the window");
    assert_eq!(with(sale(0, 1)), ["I7"], "after the window");
}

#[test]
fn i5_seqs_that_are_not_dense_are_named() {
    let mut story = Story::new(2);
    story.sold(10, 100, 1);
    story.sold(11, 200, 3);
    assert_eq!(story.broken(), ["I5"]);
}

#[test]
fn i6_an_answer_that_changes_is_named() {
    let mut story = Story::new(5);
    story.sold(10, 100, 1);
    story.ask(10, None, (200, 210), |attempt| EventKind::Already { attempt, claim: claim(2, 100) });
    assert!(story.broken().contains(&"I6"));
    let mut story = Story::new(1);
    story.sold(10, 100, 1);
    story.refused(10, 300, "sold-out");
    assert_eq!(story.broken(), ["I6"], "a holder is told of the claim");
    let mut story = Story::new(5);
    story.sold(10, 100, 1);
    story.claimed(10, 300, claim(1, 100));
    assert_eq!(story.broken(), ["I6"], "a claim is granted only once");
}

#[test]
fn i7_a_refusal_that_is_not_true_is_named() {
    let refused = |reason: &str| {
        let mut story = Story::new(5);
        story.sold(10, 100, 1);
        story.changed((1, 2), Change::Sale(sale(0, 1)), Outcome::Refused);
        story.refused(11, 5_000, reason);
        story.broken()
    };
    for reason in ["sold-out", "not-started", "ended", "no-such-coupon", "not-on-sale", "try-again", "500 what?"] {
        assert_eq!(refused(reason), ["I7"], "{reason}");
    }
}

#[test]
fn a_row_is_taken_by_the_unknown_attempt_that_can_wait_least() {
    let mut story = Story::new(5);
    let several = Sale { buy_limit: 2, ..sale(0, 100) };
    story.changed((0, 1), Change::Sale(several), Outcome::Done);
    let unknown = |why: &'static str| move |attempt| EventKind::Unknown { attempt, why: why.to_owned() };
    // The instance was frozen until 3 s, and read the first request only then.
    story.ask(10, None, (100, 110), unknown(NO_ANSWER));
    story.ask(10, None, (200, 210), unknown("unknown-outcome"));
    let other = Claim { activity: 2, ..claim(3, 3_000) };
    story.ask(11, None, (3_000, 3_001), |attempt| EventKind::Claimed { attempt, claim: other });
    story.stored(11, other);
    story.stored(10, Claim { activity: 2, ..claim(1, 205) });
    story.stored(10, Claim { activity: 2, nth: 2, ..claim(2, 3_500) });
    assert_eq!(story.broken(), NONE);
}

#[test]
fn i7_a_window_that_was_open_all_the_time_refuses_nobody() {
    let refused = |reason: &str, at_ms: u64| {
        let mut story = Story::new(5);
        story.changed((1, 2), Change::Sale(sale(1, 10)), Outcome::Done);
        story.refused(10, at_ms, reason);
        story.broken()
    };
    assert_eq!(refused("not-started", 500), NONE);
    assert_eq!(refused("not-started", 1_500), ["I7"]);
    assert_eq!(refused("ended", 10_500), NONE);
    assert_eq!(refused("ended", 9_000), ["I7"]);
}

#[test]
fn i7_an_unknown_outcome_that_is_applied_late_is_named() {
    let applied = |why: &str, at_ms| {
        let mut story = Story::new(5);
        story.ask(10, None, (100, 200), |attempt| EventKind::Unknown { attempt, why: why.to_owned() });
        story.stored(10, claim(1, at_ms));
        story.refused(11, 5_000, "try-again");
        story.changed((1, 2), Change::Sale(Sale { speed: 1, ..sale(0, 99) }), Outcome::Unknown);
        story.broken()
    };
    assert_eq!(applied("unknown-outcome", 1_100), NONE);
    assert_eq!(applied("unknown-outcome", 3_000), ["I7"]);
    assert_eq!(applied(NO_ANSWER, 3_000), NONE, "the instance gave no answer before");
    assert_eq!(applied(NO_ANSWER, 7_000), ["I7"]);
}

#[test]
fn i8_stores_that_disagree_are_named() {
    let disagree: [fn(&mut Settled); 5] = [
        |settled| settled.mysql.counts.coupons.get_mut(&1).expect("coupon 1 exists").left = 5,
        |settled| settled.redis.counts.coupons.get_mut(&1).expect("coupon 1 exists").claimed = 2,
        |settled| settled.redis.rows.clear(),
        |settled| settled.redis.counts.outbox = 1,
        |settled| settled.redis.counts.coupons.get_mut(&1).expect("coupon 1 exists").amount = 6,
    ];
    for (number, disagree) in disagree.into_iter().enumerate() {
        let mut story = Story::new(5);
        story.sold(10, 100, 1);
        disagree(&mut story.settled);
        assert_eq!(story.broken(), ["I8"], "{number}");
    }
}

#[test]
fn i9_units_left_though_more_are_wanted_are_named() {
    let mut story = Story::new(2);
    story.sold(10, 100, 1);
    story.note(200, EventKind::Healed);
    assert_eq!(story.broken(), ["I9"]);
}

#[test]
fn i10_an_instance_that_does_not_come_back_is_named() {
    let resumed = |at_ms: u64| {
        let mut story = Story::new(1);
        story.sold(10, 100, 1);
        story.note(200, EventKind::FaultBegins { fault: 1, name: "flush".to_owned() });
        story.note(300, EventKind::FaultEnds { fault: 1 });
        story.ask(11, None, (400, 410), |attempt| EventKind::Nothing { attempt, code: "unavailable".to_owned() });
        story.refused(11, at_ms - 1_000, "sold-out");
        story.ask(10, None, (at_ms - 1, at_ms + 1), |attempt| EventKind::Already { attempt, claim: claim(1, 100) });
        let verdict = story.verdict();
        (verdict.resumed_ms["flush"], story.broken())
    };
    assert_eq!(resumed(2_000), ((1, 1_701), vec![]));
    assert_eq!(resumed(40_000), ((1, 39_701), vec!["I10"]));
}

#[test]
fn what_is_seen_during_the_run_must_hold_too() {
    let good = CouponInMysql { amount: 5, left: 3, rows: 2, highest: 2, most_held: 1 };
    let seen = |in_mysql: CouponInMysql, in_redis: CouponInRedis, waiting: u64| {
        let mut story = Story::new(5);
        let mysql = MysqlCounts { coupons: [(1, in_mysql)].into(), poisoned: 0 };
        let redis = RedisCounts { live: String::new(), outbox: waiting, coupons: [(1, in_redis)].into() };
        let backlogs = vec![Backlog { waiting, max: 10 }];
        story.note(100, EventKind::Sample(Sample { redis: Some(redis), mysql: Some(mysql), backlogs }));
        story.broken()
    };
    let redis = CouponInRedis { amount: 5, claimed: 5, holes: 0 };
    assert_eq!(seen(good, redis, 10), NONE);
    assert_eq!(seen(CouponInMysql { rows: 6, left: -1, ..good }, redis, 0), ["I1"]);
    assert_eq!(seen(CouponInMysql { left: 4, ..good }, redis, 0), ["I8"]);
    assert_eq!(seen(CouponInMysql { highest: 6, ..good }, redis, 0), ["I5"]);
    assert_eq!(seen(CouponInMysql { most_held: 2, ..good }, redis, 0), ["I4"]);
    assert_eq!(seen(good, CouponInRedis { claimed: 6, ..redis }, 0), ["I1"]);
    assert_eq!(seen(good, redis, 11), ["I11"]);
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let mut story = Story::new(1);
    story.sold(10, 100, 1);
    story.changed((1, 2), Change::Sale(sale(0, 1)), Outcome::Unknown);
    let Settled { redis, mysql } = story.settled.clone();
    let (redis, mysql) = (Some(redis.counts), Some(mysql.counts));
    story.note(200, EventKind::Sample(Sample { redis, mysql, backlogs: Vec::new() }));
    for event in &story.history {
        let line = serde_json::to_string(event).expect("an event is JSON");
        assert_eq!(&serde_json::from_str::<Event>(&line).expect("the line is an event"), event, "{line}");
    }
}

#[test]
fn what_was_granted_in_vain_is_found_but_for_what_is_promised_to_nobody() {
    let put_aside = |fault: &str, reason: &str, answered_ms: Option<u64>| {
        let mut story = Story::new(2);
        if let Some(ms) = answered_ms {
            story.claimed(10, ms, claim(1, ms));
        }
        story.note(200, EventKind::FaultBegins { fault: 1, name: fault.to_owned() });
        story.note(300, EventKind::FaultEnds { fault: 1 });
        story.sold(11, 400, 1);
        story.sold(10, 500, 2);
        story.settled.mysql.poisoned.push(format!("1:10:1:1:0:1 {reason}"));
        story.broken()
    };
    let (late, contradicts) = ("late: made before", "contradicts a stored claim");
    assert_eq!(put_aside("Unpromised", late, Some(100)), NONE);
    assert_ne!(put_aside("Unpromised", late, Some(250)), NONE, "the claim was answered after the loss");
    assert_ne!(put_aside("Unpromised", contradicts, Some(100)), NONE);
    assert_ne!(put_aside("Redis(Flush)", late, Some(100)), NONE);
    assert_eq!(put_aside("Unpromised", late, None), NONE);
    assert_eq!(put_aside("Redis(Flush)", late, None), ["I2"], "even if no user was told");
    assert_eq!(put_aside("Redis(Flush)", contradicts, None), ["I1"]);
    assert_eq!(put_aside("Redis(Truncated)", contradicts, None), NONE, "Redis applied the lost data again");
}
