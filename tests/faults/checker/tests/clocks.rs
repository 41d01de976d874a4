//! Steps of Redis' clock.

use super::*;

/// The clock is ahead by 10 s from second 100 to second 105 of the story.
fn stepped(amount: u32) -> Story {
    let mut story = Story::new(amount);
    for (at_ms, ahead_ms) in [(100_000, 10_000), (105_000, 0)] {
        story.note(at_ms, EventKind::ClockSteps { ahead_ms });
        story.note(at_ms + 1, EventKind::ClockStepped);
    }
    story
}

fn unknown(story: &mut Story, user: u64, at_ms: u64) {
    story.ask(user, None, (at_ms, at_ms + 5), |attempt| EventKind::Unknown { attempt, why: "broken".to_owned() });
}

#[test]
fn a_claim_is_compared_with_attempts_by_the_clock_in_force() {
    let made_at = |asked_ms, dated_ms| {
        let mut story = stepped(5);
        unknown(&mut story, 10, asked_ms);
        story.stored(10, claim(1, dated_ms));
        story.broken()
    };
    assert_eq!(made_at(102_000, 112_000), NONE);
    assert_eq!(made_at(112_000, 112_000), NONE);
    assert_eq!(made_at(102_000, 102_000), ["I3"], "the clock was ahead");
    assert_eq!(made_at(112_000, 122_000), ["I7"]);
    // The step back makes the deadline of an attempt later by the step.
    assert_eq!(made_at(104_500, 106_000), NONE);
    assert_eq!(made_at(107_000, 116_000), ["I7"], "the step is known");
}

#[test]
fn i4_a_second_that_is_shown_twice_has_its_quota_twice() {
    let sold_at = |moments: &[(u64, u64)]| {
        let mut story = stepped(5);
        story.changed((1, 2), Change::Sale(Sale { speed: 1, ..sale(0, 1_000) }), Outcome::Done);
        for (seq, (at_ms, dated_ms)) in (1..).zip(moments) {
            let claim = Claim { activity: 1, ..claim(seq, *dated_ms) };
            story.claimed(10 + u64::from(seq), *at_ms, claim);
            story.stored(10 + u64::from(seq), claim);
        }
        story.broken()
    };
    assert_eq!(sold_at(&[(102_000, 112_000), (112_001, 112_001)]), NONE);
    assert_eq!(sold_at(&[(102_000, 112_000), (102_001, 112_001)]), ["I4"]);
    assert_eq!(sold_at(&[(112_000, 112_000), (112_001, 112_001)]), ["I4"]);
}

#[test]
fn i7_a_window_follows_the_clock_of_redis() {
    let refused_at = |at_ms: u64, reason| {
        let mut story = stepped(5);
        story.changed((1, 2), Change::Sale(sale(0, 110)), Outcome::Done);
        story.refused(10, at_ms, reason);
        story.broken()
    };
    assert_eq!(refused_at(98_000, "ended"), ["I7"]);
    assert_eq!(refused_at(102_000, "ended"), NONE);
    assert_eq!(refused_at(105_900, "ended"), NONE, "the step back is not known yet");
    assert_eq!(refused_at(108_000, "ended"), ["I7"]);
}
