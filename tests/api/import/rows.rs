//! Imports of the Go system's rows, and refused rows.

use couponrush::cli::import::ImportError;

use super::{Databases, NOW_MS, USERS, counts, import_at};

#[tokio::test(flavor = "multi_thread")]
async fn salers_rows_become_coupons_and_customers_rows_their_claims() {
    let databases = Databases::create(&[
        USERS,
        "INSERT INTO coupons VALUES
            (1, 'sara', 'sums up', 10, 8, 100, 'ten'), (2, 'sara', 'has a gap', 10, 5, 16777215, NULL),
            (3, 'sara', 'sold out', 2, 0, 0, ''), (4, 'sara', 'oversold', 1, -3, 1, ''), (5, 'sam', 'nobody''s', 3, 3, 1, ''),
            (6, '名前', 'sums up', 1, 1, 1, ''), (7, 'bob', 'sums up', 1, 1, 1, ''), (8, 'alice', 'has a gap', 1, 1, 1, ''),
            (9, 'bob', 'sold out', 1, 1, 1, ''), (10, 'alice', 'sold out', 1, 1, 1, ''), (11, 'bob', 'oversold', 1, 1, 1, '')",
    ])
    .await;
    let (report, lines) = databases.import().await;
    assert_eq!(
        databases.stored().await,
        [
            "alice|customer|wrapped 0cc175b9c0f1b6a831c399e269772661",
            "bob|customer|wrapped 92eb5ffee6ae2fec3ad71c777531578f",
            "sam|saler|wrapped 03c7c0ace395d80182db07ae2c30f034",
            "sara|saler|wrapped 03c7c0ace395d80182db07ae2c30f034",
            "名前|customer|wrapped 7b8b965ad4bca0e41ab51de7b31363a1",
            "sam|nobody's|3|3|1||0|1|0",
            "sara|has a gap|6|5|16777215||0|1|0",
            "sara|oversold|1|0|1||0|1|0",
            "sara|sold out|2|0|0||0|1|0",
            "sara|sums up|10|8|100|ten|0|1|0",
            "has a gap|1|alice|1|0|1700000000123",
            "oversold|1|bob|1|0|1700000000123",
            "sold out|1|bob|1|0|1700000000123",
            "sold out|2|alice|1|0|1700000000123",
            "sums up|1|名前|1|0|1700000000123",
            "sums up|2|bob|1|0|1700000000123",
        ]
    );
    assert_eq!(lines, "gap: coupons 2 \"has a gap\" of \"sara\": amount 10 is now 6, 1 held and 5 left\n");
    assert_eq!((report.users, report.coupons, report.claims), (counts(5, 0, 0), counts(5, 0, 0), counts(6, 0, 0)));
    assert_eq!((report.passwords_wrapped, report.passwords_missing), (5, 0));
    assert_eq!(databases.broken_coupons().await, [""; 0]);
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_that_cannot_be_taken_over_is_refused_by_name_and_the_rest_goes_on() {
    let databases = Databases::create(&[
        USERS,
        "INSERT INTO users VALUES (6, 'a/b', 'customer', MD5('x')), (7, 'kindless', 'seller', MD5('x')),
            (8, 'chief', 'admin', MD5('x')), (9, 'plain', 'customer', 'secret'), (10, 'no password', 'customer', NULL),
            (11, 'bad\\nname', 'saler', MD5('x')), (12, 'taken', 'customer', MD5('x'))",
        "INSERT INTO coupons VALUES (1, 'sara', 'both', 5, 5, 1, ''), (2, 'sam', 'both', 5, 5, 1, ''),
            (3, 'sara', 'empty', 5, 0, 1, ''), (4, 'sara', 'huge', 1, 10000001, 1, ''), (5, 'sara', 'half', 1, 1, 0.5, ''),
            (6, 'sara', 'no left', 1, NULL, 1, ''), (7, 'sara', 'a/b', 1, 1, 1, ''), (8, 'sara', 'shared', 1, 1, 1, ''),
            (9, 'bad\\nname', 'shared', 1, 1, 1, ''), (10, 'sara', 'fine', 1, 1, 1, ''),
            (11, 'alice', 'both', 1, 1, 1, ''), (12, 'alice', 'half', 1, 1, 1, ''), (13, 'alice', 'nowhere', 1, 1, 1, ''),
            (14, 'ghost', 'fine', 1, 1, 1, ''), (15, 'plain', 'fine', 1, 1, 1, ''), (16, 'alice', 'shared', 1, 1, 1, ''),
            (17, 'taken', 'fine', 1, 1, 1, ''), (18, 'alice', 'Fine', 1, 1, 1, ''), (19, 'bob', 'fine', 1, 1, 1, '')",
    ])
    .await;
    databases
        .ours
        .execute("INSERT INTO users (username, kind, password_hash) VALUES ('taken', 'customer', 'his own')")
        .await;
    let (report, lines) = databases.import().await;
    let refused: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("refused: ")).collect();
    assert_eq!(
        refused,
        [
            r#"users 6 "a/b": the name has a character that is not allowed"#,
            r#"users 7 "kindless": the kind is neither customer nor saler"#,
            r#"users 8 "chief": the kind is neither customer nor saler"#,
            r#"users 9 "plain": the password is not an MD5 of 32 hex digits"#,
            r#"users 10 "no password": the password is not an MD5 of 32 hex digits"#,
            r#"users 11 "bad\nname": the name has a character that is not allowed"#,
            r#"users 12 "taken": the name is taken here, by somebody who is not that database's user of that id"#,
            r#"coupons 4 "huge" of "sara": left is not a whole number up to 10000000"#,
            r#"coupons 5 "half" of "sara": stock is not a whole number from 0 to 1000000000"#,
            r#"coupons 6 "no left" of "sara": left is not a whole number up to 10000000"#,
            r#"coupons 7 "a/b" of "sara": the name has a character that is not allowed"#,
            r#"coupons 9 "shared" of "bad\nname": the user was refused"#,
            r#"coupons 11 "both" of "alice": salers "sara" and "sam" offer a coupon of that name, and the row does not say whose it is"#,
            r#"coupons 12 "half" of "alice": the coupon was refused"#,
            r#"coupons 13 "nowhere" of "alice": no saler offers a coupon of that name"#,
            r#"coupons 14 "fine" of "ghost": that database has no user of that name"#,
            r#"coupons 15 "fine" of "plain": the user was refused"#,
            r#"coupons 16 "shared" of "alice": salers "sara" and "bad\nname" offer a coupon of that name, and the row does not say whose it is"#,
            r#"coupons 17 "fine" of "taken": the user was refused"#,
            r#"coupons 18 "Fine" of "alice": no saler offers a coupon of that name"#,
            r#"coupons 3 "empty" of "sara": it has no units: none are left, and nobody whose row was taken over holds one"#,
        ]
    );
    assert_eq!((report.users, report.coupons, report.claims), (counts(5, 0, 7), counts(4, 0, 6), counts(1, 0, 8)));
    assert_eq!((report.refused_count(), report.refused.len()), (21, 20));
    assert_eq!(lines.lines().filter(|line| line.starts_with("gap: ")).count(), 1);
    let stored = databases.stored().await;
    assert!(stored.contains(&"taken|customer|his own".to_owned()));
    assert!(stored.contains(&"sara|fine|2|1|1||0|1|0".to_owned()));
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_another_case_is_whom_the_go_systems_server_means_by_it() {
    let databases = Databases::create(&[
        USERS,
        "INSERT INTO coupons VALUES (1, 'SARA', 'c', 2, 1, 1, ''), (2, 'Alice', 'c', 1, 1, 1, '')",
    ])
    .await;
    let (report, _) = databases.import().await;
    assert_eq!((report.coupons, report.claims), (counts(1, 0, 0), counts(1, 0, 0)));
    let stored = databases.stored().await;
    assert!(stored.contains(&"sara|c|2|1|1||0|1|0".to_owned()), "{stored:?}");
    assert!(stored.contains(&"c|1|alice|1|0|1700000000123".to_owned()), "{stored:?}");
    databases.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_the_go_systems_is_not_imported() {
    let databases = Databases::create(&[]).await;
    databases.go.execute("DROP TABLE coupons").await;
    let error = import_at(&databases.go.db, &databases.ours.db, NOW_MS).await;
    assert!(matches!(error, Err(ImportError::NotTheGoSystem)));
    let error = import_at(&databases.ours.db, &databases.ours.db, NOW_MS).await;
    assert!(matches!(error, Err(ImportError::NotTheGoSystem)));
    databases.remove().await;
}
