//! Archived coupons while MySQL is away.

use super::Archive;
use crate::helpers::{MysqlServer, Stores, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_mysql_archived_coupons_answer_nothing_happened_and_the_others_are_sold() {
    let mut mysql = MysqlServer::start().await;
    let archive = Archive::start_on(Stores::create_on(&mysql.url(), None).await, 5).await;
    archive.coupon("old", 5, false).await;
    archive.coupon("new", 5, false).await;
    for customer in [0, 1] {
        archive.claims("old", customer, "claimed").await;
    }
    archive.claims("new", 2, "claimed").await;
    archive.archive("old").await;
    let first = archive.claims("old", 0, "already-claimed").await;
    let (holder, other) = (archive.list(0).await.text, archive.list(2).await.text);
    mysql.kill();
    // The answers known from before are given.
    let again = archive.claims("old", 0, "already-claimed").await;
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    assert_eq!((archive.list(0).await.text, archive.list(2).await.text), (holder, other));
    // Others are told that nothing happened, holder or not.
    for customer in [1, 3] {
        archive.cannot_claim("old", customer).await;
        assert_eq!(archive.list(customer).await.status, 503, "customer {customer}");
    }
    archive.claims("new", 3, "claimed").await;
    archive.claims("new", 3, "already-claimed").await;
    mysql.start_again();
    eventually("MySQL answers", || async { archive.app.stores.db.ping().await.is_ok() }).await;
    eventually("the list is back", || async { archive.list(1).await.status == 200 }).await;
    archive.claims("old", 1, "already-claimed").await;
    archive.claims("old", 4, "ended").await;
    drop(archive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_the_first_archiving_lists_need_mysql_once() {
    let mut mysql = MysqlServer::start().await;
    let archive = Archive::start_on(Stores::create_on(&mysql.url(), None).await, 2).await;
    archive.coupon("new", 5, false).await;
    archive.claims("new", 1, "claimed").await;
    archive.app.settle().await;
    assert_eq!(archive.list(0).await.status, 204);
    mysql.kill();
    assert_eq!(archive.held(1).await, [("new".to_owned(), 1)], "the list of a customer who never asked before");
    mysql.start_again();
    eventually("MySQL answers", || async { archive.app.stores.db.ping().await.is_ok() }).await;
    drop(archive);
}
