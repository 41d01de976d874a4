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
