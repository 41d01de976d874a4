//! Watching the keys below a prefix. Changes arrive in order, and a new listing follows every possible gap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::etcd::{Etcd, EtcdConfig, Figures, KeyChange, KeyEntry, Listing, Notice, Value, Watcher};

use crate::helpers::{DEADLINE, EtcdServer, free_address};

/// A watcher whose notices are read one by one.
struct TestWatcher {
    inner: Watcher,
    figures: Arc<Figures>,
}

impl TestWatcher {
    async fn new(server: &EtcdServer) -> Self {
        let figures = Arc::new(Figures::default());
        Self { inner: Watcher::new(server.etcd().await, Arc::clone(&figures)), figures }
    }

    async fn next(&mut self) -> Notice {
        tokio::time::timeout(DEADLINE, self.inner.next()).await.expect("the watcher has a notice")
    }

    async fn listing(&mut self) -> Listing {
        match self.next().await {
            Notice::Listing(listing) => listing,
            Notice::Changes(changes) => panic!("changes instead of a listing: {changes:?}"),
        }
    }

    async fn changes(&mut self) -> Vec<KeyChange> {
        match self.next().await {
            Notice::Changes(changes) => changes,
            Notice::Listing(listing) => panic!("a listing instead of changes: {listing:?}"),
        }
    }

    /// Waits for a listing of `revision` or later.
    async fn listing_at(&mut self, revision: u64) -> Listing {
        loop {
            match self.next().await {
                Notice::Listing(listing) if listing.revision >= revision => return listing,
                Notice::Listing(_) | Notice::Changes(_) => {}
            }
        }
    }
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

fn put(key: &str, value: &str, revision: u64) -> KeyChange {
    KeyChange { key: key.to_owned(), value: Some(bytes(value)), revision }
}

async fn entry(etcd: &Etcd, key: &str) -> Option<KeyEntry> {
    etcd.get(key).await.expect("etcd answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_and_then_each_change_is_told_in_order() {
    let server = EtcdServer::start().await;
    let first = server.put("a", "1").await;
    let mut watcher = TestWatcher::new(&server).await;
    let listing = watcher.listing().await;
    assert_eq!(listing.revision, first);
    assert_eq!(
        listing.entries.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), KeyEntry { value: bytes("1"), revision: first })]
    );

    // Changes before and after the begin of the watch. The watch begins where the listing ended.
    let second = server.put("a", "2").await;
    assert_eq!(watcher.changes().await, [put("a", "2", second)]);
    let third = server.put("b/c", "3").await;
    assert_eq!(watcher.changes().await, [put("b/c", "3", third)]);
    let fourth = server.delete("a").await;
    assert_eq!(watcher.changes().await, [KeyChange { key: "a".to_owned(), value: None, revision: fourth }]);
    assert!(watcher.figures.is_up() && watcher.figures.failures() == 0);
    assert_eq!((watcher.figures.revision(), watcher.figures.keys()), (fourth, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outside_the_prefix_are_not_looked_at_and_values_that_are_too_long_are_not_taken() {
    let server = EtcdServer::start().await;
    let etcd = server.etcd().await;
    let mut client = etcd_client::Client::connect([server.url()], None).await.expect("the URL is valid");
    for key in ["/couponrush", "/couponrush0", "/couponrusi/a", "a"] {
        client.put(key, "not ours", None).await.expect("etcd stores the key");
    }
    client.put([EtcdServer::PREFIX.as_bytes(), &[255, 254]].concat(), "", None).await.expect("etcd stores the key");
    server.put("long", &"x".repeat(1_001)).await;
    server.put("short", &"x".repeat(1_000)).await;
    let listing = etcd.list().await.expect("etcd answers");
    let values: Vec<_> = listing.entries.iter().map(|(key, entry)| (key.as_str(), &entry.value)).collect();
    let short = bytes(&"x".repeat(1_000));
    assert_eq!(values, [("long", &Value::TooLong(1_001)), ("short", &short), ("\u{fffd}\u{fffd}", &bytes(""))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_many_pages_is_of_one_revision_and_one_of_too_many_keys_is_refused() {
    let server = EtcdServer::start().await;
    let etcd = server.etcd().await;
    for number in 0..100 {
        server.put(&format!("key/{number:03}"), &number.to_string()).await;
    }
    let last = server.delete("key/050").await;
    let listing = etcd.list().await.expect("etcd answers");
    assert_eq!((listing.revision, listing.entries.len()), (last, 99));
    assert_eq!(listing.entries["key/099"].value, bytes("99"));
    for number in 0..902 {
        server.put(&format!("more/{number}"), "").await;
    }
    let error = etcd.list().await.expect_err("1,001 keys are too many");
    assert_eq!(error.to_string(), "there are more than 1000 keys below the prefix");
    server.delete("more/0").await;
    assert_eq!(etcd.list().await.expect("1,000 keys are allowed").entries.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_or_a_deletion_replaces_only_what_its_sender_has_seen() {
    let server = EtcdServer::start().await;
    let etcd = server.etcd().await;
    assert_eq!(entry(&etcd, "a").await, None);
    let first = etcd.put("a", b"1".to_vec(), 0).await.expect("etcd answers").expect("the key is new");
    assert_eq!(entry(&etcd, "a").await, Some(KeyEntry { value: bytes("1"), revision: first }));

    assert_eq!(etcd.put("a", b"2".to_vec(), 0).await.expect("etcd answers"), None);
    let operator = server.put("a", "3").await;
    assert_eq!(etcd.put("a", b"4".to_vec(), first).await.expect("etcd answers"), None);
    assert_eq!(etcd.delete("a", first).await.expect("etcd answers"), None);
    assert_eq!(entry(&etcd, "a").await, Some(KeyEntry { value: bytes("3"), revision: operator }));

    let last = etcd.put("a", b"5".to_vec(), operator).await.expect("etcd answers").expect("the key is unchanged");
    assert_eq!(last, operator + 1);
    assert_eq!(etcd.delete("a", last).await.expect("etcd answers"), Some(last + 1));
    assert_eq!(entry(&etcd, "a").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_dead_is_not_asked_again_and_again() {
    let server = EtcdServer::start().await;
    for number in 0..100 {
        server.put(&number.to_string(), "").await;
    }
    let dead = format!("http://{}", free_address());
    for endpoints in [[dead.clone(), server.url()], [server.url(), dead]] {
        let etcd = Etcd::new(EtcdConfig { endpoints: endpoints.to_vec(), ..server.config() })
            .await
            .expect("the URLs are valid");
        // The first call finds out that the first member is dead.
        let _ = etcd.get("0").await;
        for _ in 0..10 {
            assert_eq!(etcd.list().await.expect("the other member answers").entries.len(), 100, "{endpoints:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compaction_under_the_watch_hides_is_listed() {
    let server = EtcdServer::start().await;
    let mut watcher = TestWatcher::new(&server).await;
    watcher.listing().await;
    // The compaction removes the changes before the watch begins.
    server.put("a", "1").await;
    server.put("b", "1").await;
    let last = server.put("a", "2").await;
    server.compact().await;
    let listing = watcher.listing().await;
    assert_eq!((listing.revision, &listing.entries["a"].value), (last, &bytes("2")));
    assert_eq!(watcher.figures.failures(), 1);
    let next = server.put("a", "3").await;
    assert_eq!(watcher.changes().await, [put("a", "3", next)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_again_when_etcd_was_killed_and_when_it_comes_back_empty() {
    let mut server = EtcdServer::start().await;
    let mut watcher = TestWatcher::new(&server).await;
    watcher.listing().await;
    let first = server.put("a", "1").await;
    assert_eq!(watcher.changes().await, [put("a", "1", first)]);
    server.kill();
    let down = tokio::time::timeout(Duration::from_secs(1), watcher.inner.next()).await;
    assert!(down.is_err(), "a dead etcd sends no notice: {down:?}");
    assert!(!watcher.figures.is_up() && watcher.figures.failures() > 0);
    server.restart().await;
    assert_eq!(watcher.listing().await.revision, first);

    server.kill();
    server.empty();
    server.restart().await;
    let listing = watcher.listing().await;
    assert!(listing.revision < first && listing.entries.is_empty(), "{listing:?}");
    assert!(watcher.figures.is_up());
    let again = server.put("a", "2").await;
    assert_eq!(watcher.changes().await, [put("a", "2", again)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_falls_silent_is_given_up() {
    let server = EtcdServer::start().await;
    let mut watcher = TestWatcher::new(&server).await;
    watcher.listing().await;
    let first = server.put("a", "1").await;
    watcher.changes().await;
    server.freeze();
    let frozen = Instant::now();
    let silent = async {
        while watcher.figures.is_up() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = silent => {}
        notice = watcher.inner.next() => panic!("a frozen etcd sends no notice: {notice:?}"),
        () = tokio::time::sleep(DEADLINE) => panic!("the silent watch is not noticed"),
    }
    assert!(frozen.elapsed() > Duration::from_secs(4), "a watch without changes is given up too early");
    server.thaw();
    assert_eq!(watcher.listing_at(first).await.entries["a"].value, bytes("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_again_after_half_a_minute_though_the_watch_is_well() {
    let server = EtcdServer::start().await;
    let mut watcher = TestWatcher::new(&server).await;
    let first = watcher.listing().await;
    let begun = Instant::now();
    let again = tokio::time::timeout(Duration::from_secs(40), watcher.inner.next()).await;
    assert_eq!(again.expect("the keys are listed again"), Notice::Listing(first));
    assert!(begun.elapsed() > Duration::from_secs(29) && watcher.figures.failures() == 0);
}
