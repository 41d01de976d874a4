use std::pin::Pin;
use std::task::Poll;

use futures_util::poll;

use super::*;

const LONG: Duration = Duration::from_secs(60);

type Call<'a> = Pin<Box<dyn Future<Output = Result<Turn, NoTurn>> + 'a>>;

fn address(last: u8) -> Address {
    Address::new([192, 0, 2, last].into())
}

fn line(last: u8) -> HashLine {
    HashLine::Address(address(last))
}

fn turns(places: usize) -> Arc<Turns> {
    Arc::new(Turns::new(NonZeroUsize::MIN, places))
}

/// A caller who waits.
async fn wait_in(turns: &Arc<Turns>, line: HashLine) -> Call<'_> {
    let mut call: Call = Box::pin(turns.take(line, "", LONG));
    assert!(poll!(&mut call).is_pending());
    call
}

async fn wait(turns: &Arc<Turns>, last: u8) -> Call<'_> {
    wait_in(turns, line(last)).await
}

#[tokio::test]
async fn a_caller_from_another_address_waits_for_one_turn_of_a_long_line() {
    let turns = turns(100);
    let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(wait(&turns, 1).await);
    }
    let other = wait(&turns, 2).await;
    assert_eq!(turns.waiting(), 51);
    drop(held);
    let first = crowd.remove(0).await.expect("the first of the long line");
    drop(first);
    let second = other.await.expect("the other line has the second turn");
    assert_eq!(turns.waiting(), 49);
    drop(second);
    assert!(crowd.remove(0).await.is_ok(), "and then the long line again");
}

#[tokio::test]
async fn of_one_name_64_callers_of_an_address_wait_and_others_still_have_a_place() {
    let turns = turns(1_000);
    let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    let mut waiting: Vec<Call<'_>> = (0..64).map(|_| Box::pin(turns.take(line(1), "ann", LONG)) as _).collect();
    for call in &mut waiting {
        assert!(poll!(call).is_pending());
    }
    assert_eq!(turns.take(line(1), "ann", LONG).await.err(), Some(NoTurn::Full));
    for (last, name) in [(1, "bob"), (2, "ann")] {
        let mut call: Call<'_> = Box::pin(turns.take(line(last), name, LONG));
        assert!(poll!(&mut call).is_pending());
    }
    drop(waiting.pop());
    let mut call: Call<'_> = Box::pin(turns.take(line(1), "ann", LONG));
    assert!(poll!(&mut call).is_pending(), "one has left");
    drop((call, waiting));
    drop(held);
    assert_eq!((turns.waiting(), turns.queue().of_name.len()), (0, 0));
}

#[tokio::test]
async fn a_known_address_gets_a_place_although_no_line_is_long() {
    let turns = turns(3);
    let _held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    let crowd = [wait(&turns, 1).await, wait(&turns, 2).await, wait(&turns, 3).await];
    assert_eq!(turns.take(line(4), "", LONG).await.err(), Some(NoTurn::Full), "a stranger has no better claim");
    let mut known = Vec::new();
    for last in 1..=3 {
        known.push(wait_in(&turns, HashLine::KnownAddress(address(last))).await);
    }
    assert_eq!(turns.queue().waiting, [3, 0, 0], "the strangers have lost all places");
    drop((crowd, known));
}

/// Lets a crowd take turns until `caller` gets one. Returns the turns of the crowd.
async fn turns_before(crowd: Vec<Call<'_>>, mut caller: Call<'_>) -> usize {
    for (before, other) in crowd.into_iter().enumerate() {
        if let Poll::Ready(turn) = poll!(&mut caller) {
            assert!(turn.is_ok());
            return before;
        }
        drop(other.await.expect("a turn of the crowd"));
    }
    panic!("the whole crowd came first");
}

#[tokio::test]
async fn a_crowd_in_one_group_delays_the_others_by_one_turn() {
    let groups: [fn(Address) -> HashLine; 3] = [HashLine::Address, HashLine::NewPassword, HashLine::KnownAddress];
    for (number, crowded) in groups.into_iter().enumerate() {
        for other in [groups[(number + 1) % 3], groups[(number + 2) % 3]] {
            let turns = turns(100);
            let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
            let mut crowd = Vec::new();
            for last in 1..=20 {
                crowd.push(wait_in(&turns, crowded(address(last))).await);
            }
            let caller = wait_in(&turns, other(address(99))).await;
            drop(held);
            let before = turns_before(crowd, caller).await;
            assert!(before <= 1, "{before} of {:?} came before {:?}", crowded(address(0)), other(address(0)));
        }
    }
}

#[tokio::test]
async fn in_a_full_queue_the_larger_group_of_strangers_makes_place() {
    for (crowded, other) in [
        (HashLine::Address as fn(_) -> _, HashLine::NewPassword as fn(_) -> _),
        (HashLine::NewPassword, HashLine::Address),
    ] {
        let turns = turns(4);
        let _held = turns.take(line(1), "", LONG).await.expect("nobody waits");
        let mut crowd = Vec::new();
        for last in 1..=4 {
            crowd.push(wait_in(&turns, crowded(address(last))).await);
        }
        let few = [wait_in(&turns, other(address(1))).await, wait_in(&turns, other(address(2))).await];
        assert_eq!(turns.queue().waiting.iter().max(), Some(&2), "half of the places each");
        let further = turns.take(other(address(3)), "", LONG).await;
        assert_eq!(further.err(), Some(NoTurn::Full), "no group takes more than half from the other");
        let known = wait_in(&turns, HashLine::KnownAddress(address(9))).await;
        assert_eq!(turns.waiting(), 4);
        drop((few, crowd, known));
    }
}

#[tokio::test]
async fn in_a_full_queue_the_newest_of_the_longest_line_makes_place_for_a_short_line() {
    let turns = turns(3);
    let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(wait(&turns, 1).await);
    }
    assert_eq!(turns.take(line(1), "", LONG).await.err(), Some(NoTurn::Full), "the long line gets no more places");
    let other = wait(&turns, 2).await;
    assert_eq!(crowd.pop().expect("three").await.err(), Some(NoTurn::Full), "the newest is put out");
    assert_eq!((turns.waiting(), turns.take(line(2), "", LONG).await.err()), (3, Some(NoTurn::Full)), "two, and one");
    drop(held);
    drop(crowd.remove(0).await);
    drop(other.await.expect("a turn"));
    drop(crowd.remove(0).await);
    assert_eq!(turns.waiting(), 0);
    assert!(turns.take(line(3), "", LONG).await.is_ok());
}

#[tokio::test]
async fn who_gives_up_leaves_the_line_and_the_turn_goes_on() {
    let turns = turns(10);
    let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    assert_eq!(turns.take(line(2), "", Duration::from_millis(1)).await.err(), Some(NoTurn::TooLate));
    assert_eq!(turns.waiting(), 0);
    let (gone, stays) = (wait(&turns, 2).await, wait(&turns, 3).await);
    drop(gone);
    assert_eq!(turns.waiting(), 1);
    drop(held);
    assert!(stays.await.is_ok());
    assert!(turns.take(line(1), "", LONG).await.is_ok(), "no turn is lost");
}

#[tokio::test]
async fn a_turn_that_is_given_to_a_caller_who_has_gone_is_not_lost() {
    let turns = turns(10);
    let held = turns.take(line(1), "", LONG).await.expect("nobody waits");
    let gone = wait(&turns, 2).await;
    drop(held);
    // The turn is in the channel, and nobody takes it out.
    drop(gone);
    assert!(turns.take(line(1), "", LONG).await.is_ok());
}
