//! Repeated imports.

use std::convert::Infallible;
use std::time::Duration;

use couponrush::cli::import::{ImportError, ImportReport, import};
use couponrush::cli::progress::ProgressLine;
use couponrush::mysql::{Db, DbLimits};

use super::{Databases, NOW_MS, USERS, counts, import_at};
use crate::helpers::Stores;

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_changes_nothing() {
    let databases = Databases::create(&[USERS, &several_pages()]).await;
    let (first, _) = databases.import().await;
    let before = (databases.stored().await, databases.bookkeeping().await);
    let (second, _) = import_at(&databases.go.db, &databases.ours.db, NOW_MS + 1).await.expect("the import succeeds");
    assert_eq!((databases.stored().await, databases.bookkeeping().await), before);
    assert_eq!(second.users, counts(0, first.users.taken, 0));
    assert_eq!(second.coupons, counts(0, first.coupons.taken, 0));
    assert_eq!(second.claims, counts(0, first.claims.taken, 0));
    assert_eq!((second.passwords_wrapped, second.passwords_missing), (0, 0));
    assert_eq!(second.gaps, first.gaps);
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_cut_short_again_and_again_ends_like_one_that_is_not() {
    let rows = [USERS, &several_pages()];
    let (whole, cut) = (Databases::create(&rows).await, Databases::create(&rows).await);
    whole.import().await;
    let mut wait = Duration::from_millis(5);
    let mut cuts = 0;
    // Every attempt has new connections, which end with it, like those of a killed process.
    while tokio::time::timeout(wait, import_at(&reopen(&cut.go), &reopen(&cut.ours), NOW_MS)).await.is_err() {
        assert_eq!(cut.broken_coupons().await, [""; 0]);
        wait = wait * 5 / 4;
        cuts += 1;
    }
    assert!(cuts > 5, "{cuts}");
    assert_eq!(cut.stored().await, whole.stored().await);
    whole.remove().await;
    cut.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_password_yet_gets_it_from_the_next_run() {
    let databases = Databases::create(&[USERS]).await;
    let failing = async |md5: &str| if md5.starts_with("92") { Err(std::fmt::Error) } else { Ok(md5.to_owned()) };
    let error = import_with(&databases, failing).await;
    assert!(matches!(error, Err(ImportError::Wrap(_))));
    let missing = "SELECT username AS value FROM users WHERE password_hash = '' AND username = 'bob'";
    assert_eq!(databases.ours.texts(missing).await, ["bob"]);
    let (report, _) = databases.import().await;
    assert_eq!(databases.ours.texts(missing).await, [""; 0]);
    assert_eq!(report.passwords_missing, 0);
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_set_while_hashes_are_computed_stays() {
    let databases = Databases::create(&[USERS]).await;
    let slow = async |md5: &str| {
        databases.ours.execute("UPDATE users SET password_hash = 'his own' WHERE username = 'alice'").await;
        Ok::<_, Infallible>(md5.to_owned())
    };
    let report = import_with(&databases, slow).await.expect("the import succeeds");
    assert_eq!((report.passwords_wrapped, report.passwords_missing), (4, 0));
    assert!(databases.stored().await.contains(&"alice|customer|his own".to_owned()));
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_another_database_are_never_taken_for_those_of_the_first() {
    let coupons = "INSERT INTO coupons VALUES (1, 'sara', 'c', 2, 1, 1, ''), (2, 'alice', 'c', 1, 1, 1, '')";
    let (first, second) = (Databases::create(&[USERS, coupons]).await, Databases::create(&[USERS, coupons]).await);
    first.import().await;
    let before = first.stored().await;
    let (report, _) = import_at(&second.go.db, &first.ours.db, NOW_MS).await.expect("the import succeeds");
    assert_eq!((report.users, report.coupons, report.claims), (counts(0, 0, 5), counts(0, 0, 1), counts(0, 0, 1)));
    assert_eq!(first.stored().await, before);
    first.remove().await;
    second.remove().await;
}

async fn import_with<E: std::error::Error + Send + Sync + 'static>(
    databases: &Databases,
    wrap: impl AsyncFn(&str) -> Result<String, E>,
) -> Result<ImportReport, ImportError> {
    let (db, from) = (&databases.ours.db, &databases.go.db);
    import(db, from, wrap, NOW_MS, ProgressLine::Hidden, &mut std::io::sink()).await
}

fn reopen(stores: &Stores) -> Db {
    let wait = Duration::from_secs(10);
    Db::new(&stores.mysql_url, None, DbLimits { connections_max: 4, connection_wait: wait, statement_wait: wait })
        .expect("the URL is valid")
}

/// Rows of several pages: 2,300 customers, 40 coupons of four salers, and 3,450 claims.
fn several_pages() -> String {
    let mut users = Vec::new();
    let mut coupons = Vec::new();
    for saler in 0..4 {
        users.push(format!("('saler{saler}', 'saler', MD5('{saler}'))"));
    }
    for coupon in 0..40 {
        coupons.push(format!("('saler{}', 'coupon{coupon}', 100, {}, 1, '')", coupon % 4, coupon % 5));
    }
    for customer in 0..2_300 {
        users.push(format!("('customer{customer}', 'customer', MD5('{customer}'))"));
        coupons.push(format!("('customer{customer}', 'coupon{}', 1, 1, 1, '')", customer * 7 % 40));
        if customer % 2 == 0 {
            coupons.push(format!("('customer{customer}', 'coupon{}', 1, 1, 1, '')", (customer * 7 + 1) % 40));
        }
    }
    format!(
        "INSERT INTO users (username, kind, password) VALUES {};
         INSERT INTO coupons (username, coupon_name, amount, `left`, stock, description) VALUES {}",
        users.join(","),
        coupons.join(",")
    )
}
