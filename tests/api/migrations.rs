//! Migrations: applied, reverted and applied again. `src/mysql/schema.rs` must match the tables.

use std::collections::BTreeMap;

use couponrush::mysql::migrate::{migrate, revert_all};

use crate::helpers::Stores;

const SCHEMA: &str = include_str!("../../src/mysql/schema.rs");
/// The result of the migrations: columns and keys.
const COLUMNS: &str = "SELECT CONCAT_WS('|', table_name, column_name, column_type, is_nullable, column_key, extra, \
    IFNULL(column_default, '-'), IFNULL(collation_name, '-'), column_comment) AS value \
    FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";
const KEYS: &str = "SELECT CONCAT_WS('|', table_name, index_name, seq_in_index, column_name, non_unique) AS value \
    FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index";
const TABLES: &str = "SELECT table_name AS value FROM information_schema.tables WHERE table_schema = DATABASE()";

/// The columns of `schema.rs`, with the MySQL type and whether NULL is allowed.
type Declared = BTreeMap<(String, String), (String, bool)>;

/// Translates `Nullable<Unsigned<Bigint>>` into the spelling of `information_schema`.
fn in_mysql(declared: &str) -> (String, bool) {
    let (inner, nullable) = match declared.strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>')) {
        Some(inner) => (inner, true),
        None => (declared, false),
    };
    let (inner, unsigned) = match inner.strip_prefix("Unsigned<").and_then(|rest| rest.strip_suffix('>')) {
        Some(inner) => (inner, " unsigned"),
        None => (inner, ""),
    };
    let name = match inner {
        "Bigint" => "bigint",
        "Integer" => "int",
        "TinyInt" => "tinyint",
        "Smallint" => "smallint",
        "Datetime" => "datetime",
        "Varchar" => "varchar",
        "Binary" => "binary",
        "Varbinary" => "varbinary",
        "Text" => "text",
        "Bool" => "bool",
        "Double" => "double",
        other => panic!("unknown type in schema.rs: {other}"),
    };
    (format!("{name}{unsigned}"), nullable)
}

/// The columns declared in `schema.rs`, and the primary keys as written there.
fn declared() -> (Declared, BTreeMap<String, String>) {
    let (mut columns, mut keys) = (Declared::new(), BTreeMap::new());
    for table in SCHEMA.split("diesel::table! {").skip(1) {
        let (head, rest) = table.split_once('{').expect("a table has columns");
        let (name, key) = head.split_once('(').expect("a table has a primary key");
        let name = name.lines().last().unwrap_or_default().trim();
        keys.insert(name.to_owned(), key.trim_end().trim_end_matches(')').to_owned());
        let (body, _) = rest.split_once('}').expect("a table ends");
        for (column, declared) in body.lines().filter_map(|line| line.trim().split_once(" -> ")) {
            columns.insert((name.to_owned(), column.to_owned()), in_mysql(declared.trim_end_matches(',')));
        }
    }
    (columns, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_taken_back_and_made_again() {
    let stores = Stores::create(None).await;
    let made = migrate(&stores.db).await.expect("an empty database can be migrated");
    assert!(made.len() >= 7, "{made:?}");
    let (columns, keys) = (stores.texts(COLUMNS).await, stores.texts(KEYS).await);
    assert_eq!(migrate(&stores.db).await.expect("a migrated database can be migrated again"), [] as [String; 0]);
    assert_eq!(stores.number("SELECT COUNT(*) FROM shards WHERE shard = 's0'").await, 1);

    revert_all(stores.db.connect_alone().await.expect("MySQL answers")).expect("all migrations can be reverted");
    assert_eq!(stores.texts(TABLES).await, ["__diesel_schema_migrations"]);
    assert_eq!(stores.number("SELECT COUNT(*) FROM __diesel_schema_migrations").await, 0);

    assert_eq!(migrate(&stores.db).await.expect("an emptied database can be migrated"), made);
    assert_eq!((stores.texts(COLUMNS).await, stores.texts(KEYS).await), (columns, keys));
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_instances_that_migrate_at_once_make_each_table_once() {
    let stores = Stores::create(None).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let db = stores.db.clone();
        tasks.spawn(async move { migrate(&db).await.expect("concurrent migrations wait for each other") });
    }
    let mut made: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    let count = made.len();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), count, "every migration is run by a single instance");
    let rows = i64::try_from(count).expect("few migrations");
    assert_eq!(stores.number("SELECT COUNT(*) FROM __diesel_schema_migrations").await, rows);
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_in_the_source_is_the_schema_of_the_tables() {
    let stores = Stores::create(None).await;
    migrate(&stores.db).await.expect("an empty database can be migrated");
    // MariaDB reports display widths of integers, later MySQL versions do not. Only `tinyint(1)` matters: it is a
    // boolean.
    let real = "SELECT CONCAT_WS('|', table_name, column_name, IF(column_type = 'tinyint(1)', 'bool', \
        CONCAT(data_type, IF(column_type LIKE '%unsigned%', ' unsigned', ''))), is_nullable) AS value \
        FROM information_schema.columns WHERE table_schema = DATABASE()";
    let mut columns = Declared::new();
    for row in stores.texts(real).await {
        let [table, column, kind, nullable] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        columns.insert((table.to_owned(), column.to_owned()), (kind.to_owned(), nullable == "YES"));
    }
    let (declared, keys) = declared();
    assert!(declared.len() > 30, "schema.rs was parsed: {declared:?}");
    for (column, kind) in &declared {
        assert_eq!(columns.get(column), Some(kind), "{column:?}");
    }
    for (table, key) in keys {
        let real = "SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') AS value \
            FROM information_schema.statistics WHERE table_schema = DATABASE() AND index_name = 'PRIMARY'";
        assert_eq!(stores.texts(&format!("{real} AND table_name = '{table}'")).await, [key], "{table}");
    }
    stores.remove().await;
}
