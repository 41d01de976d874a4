//! An instance that is cut off together with the primary of a shard, and the time without sales.

use super::*;

/// User 10 was told of a claim at `at_ms` by the instance, which is cut off from 3 s on. MySQL has no row of it. Then the
/// unit is sold again. Returns the violated invariants, and the number of excused claims.
fn told_while_cut_off(at_ms: u64, instance: usize, stored: bool) -> (Vec<&'static str>, usize) {
    let mut story = Story::new(9);
    story.note(3_000, EventKind::CutOff { instance: 0, shard: 0 });
    story.note(2_999, EventKind::FaultBegins { fault: 1, name: "Cluster(CutOffPair(0))".to_owned() });
    story.note(at_ms - 1, EventKind::Invoke { attempt: 90, instance, user: 10, coupon: 1, nth: None });
    story.note(at_ms + 1, EventKind::Claimed { attempt: 90, claim: claim(1, at_ms) });
    if stored {
        story.note(at_ms + 2, EventKind::Stored { attempt: 90, found: None });
    }
    story.note(20_000, EventKind::FaultEnds { fault: 1 });
    story.sold(12, 21_000, 1);
    let excused = story.verdict().excused;
    (story.broken(), excused)
}

#[test]
fn i2_claims_of_the_last_seconds_of_a_cut_off_instance_may_be_lost_and_no_others() {
    assert_eq!(told_while_cut_off(7_900, 0, false), (vec![], 1));
    for (at_ms, instance, stored) in [(7_900, 0, true), (7_900, 1, false), (9_100, 0, false), (1_900, 0, false)] {
        let (broken, excused) = told_while_cut_off(at_ms, instance, stored);
        assert!(broken.contains(&"I2") && excused == 0, "{at_ms} ms, instance {instance}, stored {stored}: {broken:?}");
    }
}

#[test]
fn i2_a_late_claim_is_poisoned_only_by_a_cut_off_instance() {
    let poisoned = |asked_ms: u64| {
        let mut story = Story::new(9);
        story.note(1_000, EventKind::CutOff { instance: 0, shard: 0 });
        story.ask(10, None, (asked_ms, asked_ms + 4), |attempt| EventKind::Unknown {
            attempt,
            why: NO_ANSWER.to_owned(),
        });
        story.settled.mysql.poisoned.push("1:10:1:1:0 late: of epoch 1".to_owned());
        story.broken()
    };
    assert_eq!(poisoned(2_000), NONE);
    assert_eq!(poisoned(8_000), ["I2"]);
}

#[test]
fn i10_a_shard_that_sells_nothing_for_long_is_named_with_the_time() {
    let mut story = Story::new(9);
    story.sold(10, 900, 1);
    story.note(1_000, EventKind::FaultBegins { fault: 1, name: "Kill".to_owned() });
    story.sold(11, 1_200, 2);
    story.note(2_000, EventKind::FaultEnds { fault: 1 });
    story.sold(12, 6_200, 3);
    story.sold(13, 6_300, 4);
    let verdict = story.verdict();
    assert_eq!((verdict.pauses_ms["Kill"][&0], verdict.violations.len()), (5_000, 0));
    story.sold(14, 40_000, 5);
    story.sold(15, 40_100, 6);
    assert_eq!(story.verdict().pauses_ms["Kill"][&0], 33_700);
    assert_eq!(story.broken(), ["I10"]);
}
