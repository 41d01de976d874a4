//! Following the keys below a prefix: everything is handed over, in order, and again where something may have been missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::etcd::{Change, Entry, Etcd, EtcdConfig, Figures, Listing, Notice, Value, Watcher};

use crate::helpers::{DEADLINE, EtcdServer, free_address};

/// A watcher whose notices are asked for one by one.
struct Followed {
    watcher: Watcher,
    figures: Arc<Figures>,
}

impl Followed {
    async fn new(server: &EtcdServer) -> Self {
        let figures = Arc::new(Figures::default());
        Self { watcher: Watcher::new(server.etcd().await, Arc::clone(&figures)), figures }
    }

    async fn next(&mut self) -> Notice {
        tokio::time::timeout(DEADLINE, self.watcher.next()).await.expect("there is something to know")
    }

    async fn listing(&mut self) -> Listing {
        match self.next().await {
            Notice::Listing(listing) => listing,
            Notice::Changes(changes) => panic!("not a listing: {changes:?}"),
        }
    }

    async fn changes(&mut self) -> Vec<Change> {
        match self.next().await {
            Notice::Changes(changes) => changes,
            Notice::Listing(listing) => panic!("not changes: {listing:?}"),
        }
    }

    /// Asks until a listing comes that has `revision`, or a later one.
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

fn put(key: &str, value: &str, revision: u64) -> Change {
    Change { key: key.to_owned(), value: Some(bytes(value)), revision }
}

async fn entry(etcd: &Etcd, key: &str) -> Option<Entry> {
    etcd.get(key).await.expect("etcd answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_and_then_each_change_is_told_in_order() {
    let server = EtcdServer::start().await;
    let first = server.put("a", "1").await;
    let mut followed = Followed::new(&server).await;
    let listing = followed.listing().await;
    assert_eq!(listing.revision, first);
    assert_eq!(
        listing.entries.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), Entry { value: bytes("1"), revision: first })]
    );

    // Before the watch has begun, and after: it begins where the listing ended.
    let second = server.put("a", "2").await;
    assert_eq!(followed.changes().await, [put("a", "2", second)]);
    let third = server.put("b/c", "3").await;
    assert_eq!(followed.changes().await, [put("b/c", "3", third)]);
    let fourth = server.delete("a").await;
    assert_eq!(followed.changes().await, [Change { key: "a".to_owned(), value: None, revision: fourth }]);
    assert!(followed.figures.is_up() && followed.figures.failures() == 0);
    assert_eq!((followed.figures.revision(), followed.figures.keys()), (fourth, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outside_the_prefix_are_not_looked_at_and_values_that_are_too_long_are_not_taken() {
    let server = EtcdServer::start().await;
    let etcd = server.etcd().await;
    let mut client = etcd_client::Client::connect([server.url()], None).await.expect("the URL is good");
    for key in ["/couponrush", "/couponrush0", "/couponrusi/a", "a"] {
        client.put(key, "not ours", None).await.expect("etcd does it");
    }
    client.put([EtcdServer::PREFIX.as_bytes(), &[255, 254]].concat(), "", None).await.expect("etcd does it");
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
    let error = etcd.list().await.expect_err("there are 1,001 keys");
    assert_eq!(error.to_string(), "there are more than 1000 keys below the prefix");
    server.delete("more/0").await;
    assert_eq!(etcd.list().await.expect("there are 1,000 keys").entries.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_or_a_deletion_replaces_only_what_its_sender_has_seen() {
    let server = EtcdServer::start().await;
    let etcd = server.etcd().await;
    assert_eq!(entry(&etcd, "a").await, None);
    let first = etcd.put("a", b"1".to_vec(), 0).await.expect("etcd answers").expect("there was no such key");
    assert_eq!(entry(&etcd, "a").await, Some(Entry { value: bytes("1"), revision: first }));

    assert_eq!(etcd.put("a", b"2".to_vec(), 0).await.expect("etcd answers"), None);
    let operator = server.put("a", "3").await;
    assert_eq!(etcd.put("a", b"4".to_vec(), first).await.expect("etcd answers"), None);
    assert_eq!(etcd.delete("a", first).await.expect("etcd answers"), None);
    assert_eq!(entry(&etcd, "a").await, Some(Entry { value: bytes("3"), revision: operator }));

    let last = etcd.put("a", b"5".to_vec(), operator).await.expect("etcd answers").expect("nobody was faster");
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
        let etcd =
            Etcd::new(EtcdConfig { endpoints: endpoints.to_vec(), ..server.config() }).await.expect("URLs are good");
        // Of the first member the first call learns that it is dead.
        let _ = etcd.get("0").await;
        for _ in 0..10 {
            assert_eq!(etcd.list().await.expect("the other member answers").entries.len(), 100, "{endpoints:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compaction_under_the_watch_hides_is_listed() {
    let server = EtcdServer::start().await;
    let mut followed = Followed::new(&server).await;
    followed.listing().await;
    // The watch has not begun, and when it does, what it must show is forgotten.
    server.put("a", "1").await;
    server.put("b", "1").await;
    let last = server.put("a", "2").await;
    server.compact().await;
    let listing = followed.listing().await;
    assert_eq!((listing.revision, &listing.entries["a"].value), (last, &bytes("2")));
    assert_eq!(followed.figures.failures(), 1);
    let next = server.put("a", "3").await;
    assert_eq!(followed.changes().await, [put("a", "3", next)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_again_when_etcd_was_killed_and_when_it_comes_back_empty() {
    let mut server = EtcdServer::start().await;
    let mut followed = Followed::new(&server).await;
    followed.listing().await;
    let first = server.put("a", "1").await;
    assert_eq!(followed.changes().await, [put("a", "1", first)]);
    server.kill();
    let down = tokio::time::timeout(Duration::from_secs(1), followed.watcher.next()).await;
    assert!(down.is_err(), "there is nothing to know: {down:?}");
    assert!(!followed.figures.is_up() && followed.figures.failures() > 0);
    server.restart().await;
    assert_eq!(followed.listing().await.revision, first);

    server.kill();
    server.empty();
    server.restart().await;
    let listing = followed.listing().await;
    assert!(listing.revision < first && listing.entries.is_empty(), "{listing:?}");
    assert!(followed.figures.is_up());
    let again = server.put("a", "2").await;
    assert_eq!(followed.changes().await, [put("a", "2", again)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_falls_silent_is_given_up() {
    let server = EtcdServer::start().await;
    let mut followed = Followed::new(&server).await;
    followed.listing().await;
    let first = server.put("a", "1").await;
    followed.changes().await;
    server.freeze();
    let frozen = Instant::now();
    let silent = async {
        while followed.figures.is_up() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = silent => {}
        notice = followed.watcher.next() => panic!("a frozen etcd says nothing: {notice:?}"),
        () = tokio::time::sleep(DEADLINE) => panic!("it is still taken to be up"),
    }
    assert!(frozen.elapsed() > Duration::from_secs(4), "a quiet watch is not a silent one");
    server.thaw();
    assert_eq!(followed.listing_at(first).await.entries["a"].value, bytes("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_again_after_half_a_minute_though_the_watch_is_well() {
    let server = EtcdServer::start().await;
    let mut followed = Followed::new(&server).await;
    let first = followed.listing().await;
    let begun = Instant::now();
    let again = tokio::time::timeout(Duration::from_secs(40), followed.watcher.next()).await;
    assert_eq!(again.expect("it is listed again"), Notice::Listing(first));
    assert!(begun.elapsed() > Duration::from_secs(29) && followed.figures.failures() == 0);
}
