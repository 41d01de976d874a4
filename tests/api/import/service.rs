//! Imports while the service runs, before its start and after its stop.

use couponrush::app::passwords;
use couponrush::cli::import::{ImportError, import};
use couponrush::cli::progress::ProgressLine;
use couponrush::config::cores;
use couponrush::domain::{Kind, UserName};
use couponrush::mysql::import::users::{self, ImportedUser};
use couponrush::mysql::import::{SourceId, TakeError, open_source};
use couponrush::mysql::new_ids::move_on;
use serde_json::json;

use super::{Databases, NOW_MS, USERS, counts, import_at};
use crate::helpers::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn imported_users_log_in_hold_what_they_held_and_claim_what_is_left() {
    let Databases { go, ours } = Databases::create(&[
        USERS,
        "INSERT INTO coupons VALUES (1, 'sara', 'c', 9, 1, 7, 'nice'), (2, 'bob', 'c', 1, 1, 1, ''),
            (3, 'alice', 'c', 1, 1, 1, ''), (4, 'sara', 'gone', 1, 0, 7, ''), (5, 'bob', 'gone', 1, 1, 7, '')",
    ])
    .await;
    // The service loads Redis before the import. The rows are imported after its stop.
    let mut app = TestApp::start_on(ours, |_| {}).await;
    assert!(matches!(import_at(&go.db, &app.stores.db, NOW_MS).await, Err(ImportError::ServiceAlive { .. })));
    app.stop().await;
    let passwords = passwords(cores()).expect("password hashes can be computed");
    let wrap = async |md5: &str| passwords.wrap_md5(md5).await;
    let report = import(&app.stores.db, &go.db, wrap, NOW_MS, ProgressLine::Hidden, &mut std::io::sink()).await;
    assert_eq!(report.expect("the import succeeds").passwords_wrapped, 5);
    app.start_another().await;

    let client = app.client();
    let answer = client.log_in("bob", "b").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"kind":"customer","errMsg":""}"#));
    let bob = answer.header("Authorization").to_owned();
    assert_eq!(client.log_in("bob", "92eb5ffee6ae2fec3ad71c777531578f").await.status, 401);
    let items = client.list("bob", &bob).await.json()["data"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(2), "{items}");
    assert_eq!(client.claim("sara", "c", &bob).await.result(), "already-claimed");
    assert_eq!(client.claim("sara", "gone", &bob).await.result(), "already-claimed");
    let third = client.log_in("名前", "n").await.header("Authorization").to_owned();
    assert_eq!(client.claim("sara", "gone", &third).await.result(), "sold-out");
    assert_eq!(client.claim("sara", "c", &third).await.result(), "claimed");
    let late = client.user("late", "customer").await;
    assert_eq!(client.claim("sara", "c", &late).await.result(), "sold-out");
    let offered = client.list("sara", &bob).await.json()["data"].clone();
    let coupon_c = offered.as_array().and_then(|items| items.iter().find(|item| item["name"] == "c")).cloned();
    let mut wanted =
        json!({"name": "c", "stock": 7, "description": "nice", "amount": 3, "left": 0, "scheduled": false});
    wanted["product_id"] = coupon_c.as_ref().map(|item| item["product_id"].clone()).unwrap_or_default();
    assert_eq!(coupon_c, Some(wanted));

    eventually("the hash is replaced", || async {
        let hash = app.stores.texts("SELECT password_hash AS value FROM users WHERE username = 'bob'").await;
        hash[0].starts_with("$argon2id$")
    })
    .await;
    assert_eq!(client.log_in("bob", "b").await.status, 200);
    assert_eq!(client.log_in("sara", "s").await.json()["kind"], "saler");
    go.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_service_runs_rows_are_refused_and_passwords_go_on() {
    let databases = Databases::create(&[USERS, "INSERT INTO coupons VALUES (1, 'sara', 'c', 1, 1, 1, '')"]).await;
    let beat = "REPLACE INTO instances (instance, process, beat_at, format) VALUES ('here', 'p', NOW(3), 2)";
    databases.ours.execute(beat).await;
    let refused = import_at(&databases.go.db, &databases.ours.db, NOW_MS).await;
    assert!(matches!(refused, Err(ImportError::ServiceAlive { instance }) if instance == "here"));
    assert_eq!(databases.stored().await, [""; 0]);

    databases.ours.execute("UPDATE instances SET beat_at = NOW(3) - INTERVAL 11 SECOND").await;
    databases.import().await;
    databases.ours.execute("UPDATE users SET password_hash = ''").await;
    databases.ours.execute(beat).await;
    let (report, _) = databases.import().await;
    assert_eq!((report.rows_skipped.as_deref(), report.passwords_wrapped), (Some("here"), 5));
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_during_an_import_stops_it_at_the_next_transaction() {
    let databases = Databases::create(&[]).await;
    let db = &databases.ours.db;
    let source = open_source(db, "somewhere").await.expect("the source can be registered");
    let name = UserName::parse("ann".to_owned()).expect("a name");
    let new = [ImportedUser { source_id: SourceId(1), name, kind: Kind::Customer }];
    databases
        .ours
        .execute("INSERT INTO instances (instance, process, beat_at, format) VALUES ('here', 'p', NOW(3), 2)")
        .await;
    let taken = users::take(db, source, &new).await;
    assert!(matches!(taken, Err(TakeError::ServiceAlive { instance }) if instance == "here"));
    assert_eq!(databases.stored().await, [""; 0]);
    let refused = import_at(&databases.go.db, db, NOW_MS).await;
    assert!(matches!(refused, Err(ImportError::ServiceAlive { .. })), "the import is refused even without rows");
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_not_taken_for_known_to_redis_and_what_redis_knows_is_left_alone() {
    let databases = Databases::create(&[
        USERS,
        "INSERT INTO coupons VALUES (1, 'sara', 'old', 1, 1, 1, ''), (2, 'alice', 'old', 1, 1, 1, '')",
    ])
    .await;
    let loaded = "UPDATE shards SET state = 'live', run_id = 'redis'";
    let shards = "SELECT CONCAT_WS('|', state, run_id) AS value FROM shards";
    databases.ours.execute(loaded).await;
    databases.import().await;
    assert_eq!(databases.ours.texts(shards).await, ["recovering|"]);

    // A service has run meanwhile. Claims of the coupon may exist in Redis alone, so the import must not assign its
    // next seqs.
    databases.ours.execute(loaded).await;
    let again = databases.import().await;
    assert_eq!(databases.ours.texts(shards).await, ["live|redis"], "the import stored no rows");
    assert_eq!(again.0.claims, counts(0, 1, 0));
    databases
        .go
        .execute(
            "INSERT INTO coupons VALUES (3, 'bob', 'old', 1, 1, 1, ''), (4, 'sam', 'new', 1, 0, 1, ''),
            (5, 'bob', 'new', 1, 1, 1, '')",
        )
        .await;
    let (report, lines_written) = databases.import().await;
    assert_eq!((report.coupons, report.claims), (counts(1, 1, 0), counts(1, 1, 1)));
    assert!(
        lines_written.contains("coupons 3 \"old\" of \"bob\": the coupon has been on sale here"),
        "{lines_written}"
    );
    assert_eq!(databases.ours.texts(shards).await, ["recovering|"]);
    let stored = databases.stored().await;
    assert!(stored.contains(&"sara|old|2|1|1||0|1|1".to_owned()), "{stored:?}");
    assert!(stored.contains(&"sam|new|1|0|1||0|1|0".to_owned()), "{stored:?}");

    let (last, _) = databases.import().await;
    assert_eq!(last.claims, counts(0, 2, 1), "a later run refuses the row again");
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_were_moved_on_are_not_given_to_imported_coupons() {
    let databases = Databases::create(&[
        USERS,
        "INSERT INTO coupons VALUES (1, 'sara', 'left', 2, 2, 1, ''), (2, 'sara', 'sold', 1, 0, 1, ''),
            (3, 'alice', 'sold', 1, 1, 1, '')",
    ])
    .await;
    move_on(&databases.ours.db, "a test").await.expect("MySQL answers");
    databases.import().await;
    for table in ["users", "coupons"] {
        let lowest = databases.ours.number(&format!("SELECT MIN(id) FROM {table}")).await;
        assert!(lowest > 1_000_000, "{table}: {lowest}");
    }
    databases.remove().await;
}
