//! Claims lost with Redis before the users were told.

use super::*;

/// User 10 may hold three claims and was told of the second. The outcome of the first claim varies. Then the user asks
/// for the first claim again.
#[test]
fn i6_a_claim_that_was_lost_before_he_was_told_of_it_is_granted_anew_and_no_other() {
    let told_again = |first: fn(u64) -> EventKind| {
        let mut story = Story::new(5);
        story.changed((1, 2), Change::Sale(Sale { buy_limit: 3, ..sale(0, 100) }), Outcome::Done);
        let (second, anew) =
            (Claim { nth: 2, activity: 1, ..claim(2, 3_000) }, Claim { activity: 1, ..claim(3, 4_000) });
        story.ask(10, Some(1), (2_000, 2_010), first);
        story.ask(10, Some(2), (2_999, 3_001), |attempt| EventKind::Claimed { attempt, claim: second });
        story.ask(10, Some(1), (3_999, 4_001), |attempt| EventKind::Claimed { attempt, claim: anew });
        story.broken().contains(&"I6")
    };
    assert!(!told_again(|attempt| EventKind::Unknown { attempt, why: "broken".to_owned() }));
    assert!(told_again(|attempt| EventKind::Nothing { attempt, code: "unavailable".to_owned() }));
    assert!(told_again(|attempt| EventKind::Claimed { attempt, claim: Claim { activity: 1, ..claim(1, 2_005) } }));
}

#[test]
fn i7_sold_out_is_true_where_a_lost_claim_of_unknown_outcome_may_have_had_the_last_unit() {
    let mut story = Story::new(1);
    story.ask(10, None, (100, 200), |attempt| EventKind::Unknown { attempt, why: "broken".to_owned() });
    story.refused(11, 300, "sold-out");
    story.sold(12, 900, 1);
    assert_eq!(story.broken(), NONE);
}

/// Users 10 and 11 were told of claims, the second as stored. Then all instances died while Redis lost its memory.
/// Returns the violated invariants, and the number of excused claims.
fn everything_lost(stored: bool, found: Option<bool>, fault: &str) -> (Vec<&'static str>, usize) {
    let mut story = Story::new(9);
    story.note(1_000, EventKind::FaultBegins { fault: 1, name: fault.to_owned() });
    story.claimed(10, 1_100, claim(1, 1_100));
    story.claimed(11, 1_200, claim(2, 1_200));
    story.note(1_202, EventKind::Stored { attempt: 2, found });
    if stored {
        story.stored(11, claim(2, 1_200));
    }
    story.note(2_000, EventKind::FaultEnds { fault: 1 });
    story.sold(12, 3_000, 1);
    let excused = story.verdict().excused;
    (story.broken(), excused)
}

#[test]
fn i2_a_claim_that_was_answered_as_stored_is_never_excused() {
    assert_eq!(everything_lost(true, Some(true), "EverythingLost"), (vec![], 1), "the other claim was not promised");
    assert_eq!(everything_lost(true, None, "EverythingLost"), (vec![], 1), "MySQL did not answer");
    assert_eq!(everything_lost(false, None, "EverythingLost"), (vec!["I2"], 1));
    assert!(everything_lost(true, Some(true), "Kill").0.contains(&"I2"), "nothing else excuses a loss");
}

#[test]
fn i2_a_row_that_was_missing_after_the_answer_is_named_unless_mysql_went_back() {
    assert_eq!(everything_lost(true, Some(false), "EverythingLost"), (vec!["I2"], 1));
    let found_later = |fault: &str| {
        let mut story = Story::new(9);
        story.note(50, EventKind::FaultBegins { fault: 1, name: fault.to_owned() });
        story.sold(10, 100, 1);
        story.note(102, EventKind::Stored { attempt: 1, found: Some(false) });
        story.note(150, EventKind::FaultEnds { fault: 1 });
        story.sold(11, 200, 2);
        story.broken()
    };
    assert_eq!((found_later("Kill"), found_later("WentBack")), (vec!["I2"], vec![]));
}
