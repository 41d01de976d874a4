//! `couponrush import` from a database with the Go system's tables.

mod again;
mod rows;
mod service;

use std::convert::Infallible;

use couponrush::cli::import::{ImportCounts, ImportError, ImportReport, import};
use couponrush::cli::progress::ProgressLine;
use couponrush::mysql::Db;
use couponrush::mysql::migrate::migrate;
use md5::{Digest, Md5};

use crate::helpers::Stores;

/// The tables of the Go system.
const TABLES: &str = "
    CREATE TABLE users (id BIGINT AUTO_INCREMENT PRIMARY KEY, username VARCHAR(20) NOT NULL UNIQUE, kind VARCHAR(20),
        password VARCHAR(32)) CHARACTER SET utf8mb4;
    CREATE TABLE coupons (id BIGINT AUTO_INCREMENT PRIMARY KEY, username VARCHAR(20) NOT NULL,
        coupon_name VARCHAR(60) NOT NULL, amount BIGINT, `left` BIGINT, stock FLOAT, description VARCHAR(60),
        UNIQUE KEY (username, coupon_name)) CHARACTER SET utf8mb4;";

const NOW_MS: u64 = 1_700_000_000_123;

/// Two salers and three customers.
const USERS: &str = "
    INSERT INTO users VALUES (1, 'sara', 'saler', MD5('s')), (2, 'sam', 'saler', MD5('s')),
        (3, 'alice', 'customer', MD5('a')), (4, 'bob', 'customer', UPPER(MD5('b'))), (5, '名前', 'customer', MD5('n'))";

/// The databases of the Go system and of couponrush.
struct Databases {
    go: Stores,
    ours: Stores,
}

impl Databases {
    /// Creates the Go system's tables with these rows, and an empty couponrush database.
    async fn create(rows: &[&str]) -> Self {
        let databases = Self { go: Stores::create(None).await, ours: Stores::create(None).await };
        migrate(&databases.ours.db).await.expect("an empty database can be migrated");
        databases.go.execute(TABLES).await;
        for rows in rows {
            databases.go.execute(&with_hashes(rows)).await;
        }
        databases
    }

    /// Runs an import. Returns its report and the lines of its report file.
    async fn import(&self) -> (ImportReport, String) {
        import_at(&self.go.db, &self.ours.db, NOW_MS).await.expect("the import succeeds")
    }

    /// All imported rows, without ids that depend on other rows.
    async fn stored(&self) -> Vec<String> {
        let users = "SELECT CONCAT_WS('|', username, kind, password_hash) AS value FROM users ORDER BY username";
        let coupons = "SELECT CONCAT_WS('|', username, name, amount, left_count, face_value, description, scheduled, \
            revision, published_revision) AS value FROM coupons JOIN users ON users.id = coupons.saler_id ORDER BY username, name";
        let claims = "SELECT CONCAT_WS('|', name, seq, username, nth, activity_id, claimed_at) AS value FROM claims \
            JOIN coupons ON coupons.id = coupon_id JOIN users ON users.id = user_id ORDER BY coupons.saler_id, name, seq";
        let mut all = Vec::new();
        for query in [users, coupons, claims] {
            all.extend(self.ours.texts(query).await);
        }
        all
    }

    /// The import's bookkeeping rows, and the shard's state for the next start.
    async fn bookkeeping(&self) -> Vec<String> {
        let mut all = Vec::new();
        for query in [
            "SELECT CONCAT_WS('|', state, run_id, epoch) AS value FROM shards",
            "SELECT CONCAT_WS('|', id, name, rows_taken_at) AS value FROM import_sources",
            "SELECT CONCAT_WS('|', source_id, user_id) AS value FROM imported_users ORDER BY source_id",
        ] {
            all.extend(self.ours.texts(query).await);
        }
        all
    }

    /// The names of coupons that violate an invariant of every transaction.
    async fn broken_coupons(&self) -> Vec<String> {
        let query = "SELECT MIN(name) AS value FROM coupons LEFT JOIN claims ON coupon_id = coupons.id \
            GROUP BY coupons.id HAVING MIN(left_count) <> CAST(MIN(amount) AS SIGNED) - COUNT(seq) \
            OR COUNT(seq) <> COALESCE(MAX(seq), 0)";
        self.ours.texts(query).await
    }

    async fn remove(self) {
        self.go.remove().await;
        self.ours.remove().await;
    }
}

/// Replaces each `MD5('...')` by its value, because MySQL 9.7 has no such function.
fn with_hashes(sql: &str) -> String {
    let mut parts = sql.split("MD5('");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (text, rest) = part.split_once("')").expect("the text ends");
        replaced.push_str(&format!("'{:032x}'{rest}", u128::from_be_bytes(Md5::digest(text).into())));
    }
    replaced
}

/// Runs an import with a fake password hash that shows its input.
async fn import_at(go: &Db, ours: &Db, now_ms: u64) -> Result<(ImportReport, String), ImportError> {
    let wrap = async |md5: &str| Ok::<_, Infallible>(format!("wrapped {md5}"));
    let mut lines = Vec::new();
    let report = import(ours, go, wrap, now_ms, ProgressLine::Hidden, &mut lines).await?;
    Ok((report, String::from_utf8(lines).expect("the report is text")))
}

const fn counts(taken: u64, already: u64, refused: u64) -> ImportCounts {
    ImportCounts { taken, already, refused }
}
