use super::*;

fn units(claimed: u64) -> Units {
    let (scheduled, revision, activity_revision) = (false, 1, 0);
    Units { scheduled, revision, activity_revision, amount: 10, claimed, holes: 1, sold: 0 }
}

fn shown(claimed: u64, time_ms: u64) -> Option<Shown> {
    Some(Shown::new(CouponId(7), &units(claimed), 0, time_ms))
}

#[test]
fn an_event_is_one_line_of_data_that_browsers_read() {
    let shown = shown(4, 1_000).expect("it was made");
    let text = "event: units\ndata: {\"product_id\":7,\"left\":7,\"claimed\":3,\"time_ms\":1000}\n\n";
    assert_eq!(shown.bytes, text);
    assert_eq!(shown.at(2_000).bytes, text.replace("1000", "2000"));
}

#[test]
fn only_what_has_changed_is_news() {
    let mut state = ProductState::Unknown;
    assert!(state.become_later(shown(4, 1_000)));
    assert!(!state.become_later(shown(4, 2_000)));
    assert!(state.become_later(shown(5, 3_000)));
    assert!(!state.become_later(None), "it is being mended");
    assert!(matches!(state, ProductState::Shown(shown) if shown.claimed == 4 && shown.time_ms == 3_000));
}

#[tokio::test]
async fn a_slow_viewer_misses_states_and_gets_the_latest() {
    let (sender, states) = watch::channel(ProductState::Unknown);
    let place = ViewerPlaces::new(1).take().expect("a place");
    let mut viewer = Viewer { states, place };
    for claimed in 1..=9 {
        sender.send_if_modified(|state| state.become_later(shown(claimed, 1)));
    }
    let ProductState::Shown(first) = viewer.first(Duration::ZERO).await else { panic!("it was read") };
    assert_eq!(first.claimed, 8);
    for claimed in 5..=7 {
        sender.send_if_modified(|state| state.become_later(shown(claimed, 2)));
    }
    assert_eq!(viewer.next().await, shown(7, 2).map(|shown| shown.bytes));
    drop(sender);
    assert_eq!(viewer.next().await, None);
}

#[test]
fn a_product_that_was_never_there_is_nowhere_until_it_is_made() {
    let mut state = ProductState::Unknown;
    assert!(state.become_later(None));
    assert_eq!(state, ProductState::Nowhere);
    assert!(!state.become_later(None));
    assert!(state.become_later(shown(1, 1)));
}
