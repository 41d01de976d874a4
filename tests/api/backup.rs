//! `scripts/backup` saves and restores a backup while a sale is open.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    Client, Customer, Got, MysqlServer, Stores, TestApp, audit, customers, eventually, proof, rush, without_rates,
};

const CLAIMS: &str = "SELECT COUNT(*) FROM claims";
const PATIENCE: Duration = Duration::from_secs(60);

/// A file that is deleted with the value.
struct BackupFile(PathBuf);

impl BackupFile {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("couponrush-backup-{:016x}.sql.gz", rand::random::<u64>())))
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `scripts/backup` on the database of `url`. Returns whether the exit code was 0, and the output.
async fn backup(url: &str, arguments: &[&str], file: &Path) -> (bool, String) {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/backup"));
    command.args(arguments).arg(file).env("COUPONRUSH_MYSQL_URL", url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the task does not panic");
    let output = output.expect("the script can be run");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), printed)
}

/// The customers claim one after the other, and repeat until an answer. `asked` counts the customers.
fn selling(client: &Client, crowd: &[Customer], stop: CancellationToken) -> (JoinHandle<Vec<Got>>, Arc<AtomicUsize>) {
    let (client, crowd, asked) = (client.clone(), crowd.to_vec(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let running = tokio::spawn(async move {
        let mut all = Vec::new();
        for customer in crowd.chunks(1) {
            if stop.is_cancelled() {
                break;
            }
            all.extend(rush(std::slice::from_ref(&client), customer, ("shop", "rush"), 1, PATIENCE).await);
            count.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        all
    });
    (running, asked)
}

async fn gate(app: &TestApp) -> String {
    let ready = app.instances[0].ops.get("/readyz", "").await;
    ready.json()["gate"]["state"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_that_is_restored_while_a_sale_is_open_loses_nothing_that_redis_has() {
    let mysql = MysqlServer::start().await;
    let app = TestApp::start_on(Stores::create_on(&mysql.url(), None).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 5_000).await;
    let crowd = customers(&app.stores, "crowd", 5_000).await;
    let (file, stop) = (BackupFile::new(), CancellationToken::new());
    let (running, asked) = selling(app.client(), &crowd, stop.clone());
    let more = async |count: usize| {
        let from = asked.load(Ordering::SeqCst);
        eventually("the sale goes on", || async { asked.load(Ordering::SeqCst) >= from + count }).await;
    };
    more(100).await;
    let (done, printed) = backup(&app.stores.mysql_url, &["save"], &file.0).await;
    assert!(done && printed.starts_with("saved "), "{printed}");
    more(100).await;
    app.client().create_coupon("shop", &saler, "later", 30).await;
    app.client().user("lost", "customer").await;
    let lost = app.stores.number("SELECT CAST(MAX(id) AS SIGNED) FROM users").await;
    let rows = app.stores.number(CLAIMS).await;

    let (done, printed) = backup(&app.stores.mysql_url, &["restore"], &file.0).await;
    assert!(done && printed.contains("couponrush audit --repair"), "{printed}");
    eventually("the loss is noticed", || async { gate(&app).await == "mysql-went-back" }).await;
    assert!(app.stores.number(CLAIMS).await < rows, "the backup is older");
    let (holds, printed) = audit(&app.stores, &["--repair"]).await;
    assert!(holds && printed.contains("1 coupons were written to MySQL"), "{printed}");
    eventually("sales go on", || async { gate(&app).await == "open" }).await;
    more(100).await;
    stop.cancel();
    let got = running.await.expect("the customers do not panic");
    assert!(got.len() > 300 && got.iter().all(Got::has_unit));
    app.settle().await;
    assert_eq!(app.stores.number(CLAIMS).await, i64::try_from(got.len()).expect("few"));
    for (customer, got) in crowd.iter().zip(&got).step_by(7) {
        let again = app.client().claim("shop", "rush", &customer.token).await;
        let first = proof(got.answer.as_ref().expect("the customer was answered"));
        assert_eq!((again.result(), proof(&again).seq), ("already-claimed", first.seq));
    }
    app.client().user("new", "customer").await;
    let id = app.stores.number("SELECT CAST(id AS SIGNED) FROM users WHERE username = 'new'").await;
    assert!(id > lost, "id {id} was issued after the backup for the second time");
    assert_eq!(app.client().log_in("lost", crate::helpers::PASSWORD).await.status, 401, "the account is lost");
    drop_replaced(&app.stores).await;
    drop(app);
}

/// Deletes the databases that a restoration keeps.
async fn drop_replaced(stores: &Stores) {
    let like = "schema_name LIKE CONCAT(DATABASE(), '_replaced_%')";
    let names =
        stores.texts(&format!("SELECT schema_name AS value FROM information_schema.schemata WHERE {like}")).await;
    assert_eq!(names.len(), 1, "the earlier tables are kept");
    for name in names {
        let kept = format!("SELECT COUNT(*) FROM {name}.users WHERE username = 'lost'");
        assert_eq!(stores.number(&kept).await, 1, "the earlier tables are complete");
        stores.execute(&format!("DROP DATABASE {name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_restores_a_lost_database_and_an_incomplete_file_changes_nothing() {
    let mysql = MysqlServer::start().await;
    let mut app = TestApp::start_on(Stores::create_on(&mysql.url(), None).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 100).await;
    let crowd = customers(&app.stores, "crowd", 40).await;
    let got = rush(&[app.client().clone()], &crowd[..30], ("shop", "rush"), 4, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
    app.settle().await;
    let file = BackupFile::new();
    let (done, printed) = backup(&app.stores.mysql_url, &["save"], &file.0).await;
    assert!(done, "{printed}");
    let (done, printed) = backup(&app.stores.mysql_url, &["save"], &file.0).await;
    assert!(!done && printed.contains("exists already"), "{printed}");

    let cut = BackupFile::new();
    let bytes = std::fs::read(&file.0).expect("the file is written");
    std::fs::write(&cut.0, &bytes[..bytes.len() / 2]).expect("the folder can be written");
    let (done, printed) = backup(&app.stores.mysql_url, &["restore"], &cut.0).await;
    assert!(!done && printed.contains("is not complete"), "{printed}");
    assert_eq!(app.stores.number(CLAIMS).await, 30, "the database is as before");
    app.stores.execute("DELETE FROM __diesel_schema_migrations ORDER BY version DESC LIMIT 1").await;
    let (done, printed) = backup(&app.stores.mysql_url, &["restore"], &file.0).await;
    assert!(!done && printed.contains("another version"), "{printed}");

    // Both stores are lost. The backup lacks the last user.
    app.client().user("lost", "customer").await;
    let lost = app.stores.number("SELECT CAST(MAX(id) AS SIGNED) FROM users").await;
    app.stop().await;
    app.stores.remove().await;
    let (done, printed) = backup(&app.stores.mysql_url, &["restore"], &file.0).await;
    assert!(done && !printed.contains("earlier tables"), "{printed}");
    app.start_another().await;
    assert_eq!(app.stores.number(CLAIMS).await, 30);
    let again = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!(proof(&again).seq, proof(got[0].answer.as_ref().expect("an answer")).seq);
    let got = rush(&[app.client().clone()], &crowd[30..], ("shop", "rush"), 4, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
    app.client().user("new", "customer").await;
    let id = app.stores.number("SELECT CAST(id AS SIGNED) FROM users WHERE username = 'new'").await;
    assert!(id > lost, "id {id} was issued after the backup for the second time");
    drop(app);
}
