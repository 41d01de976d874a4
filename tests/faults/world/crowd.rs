//! The customers of a run, and what they are offered.

use couponrush::auth::{Secrets, UserTokens};
use couponrush::base::now_seconds;
use couponrush::domain::{Kind, User, UserId, UserName};

use super::{FEW, PLAIN, QUOTA, SEVERAL};
use crate::clients::{Customer, Offer};
use crate::mysql;
use crate::servers::{MariaDb, SECRET};

const CUSTOMERS: u32 = 2_000;

/// Makes the customers, `scale` times as many as usual.
pub(super) async fn customers(mariadb: &MariaDb, scale: u32) -> Vec<Customer> {
    let values: Vec<String> = (0..CUSTOMERS * scale).map(|n| format!("('customer-{n}', 'customer', '')")).collect();
    let insert = format!("INSERT INTO users (username, kind, password_hash) VALUES {}", values.join(","));
    mysql::execute(&mariadb.root_url(), &insert).await;
    let mut connection = mysql::connect(&mariadb.root_url()).await.expect("MySQL answers");
    let rows = "SELECT CONCAT_WS(' ', id, username) AS value FROM users WHERE kind = 'customer' ORDER BY id";
    let rows = mysql::query_texts(&mut connection, rows).await.expect("MySQL answers");
    let secrets = Secrets::parse("the suite's secret", SECRET).expect("the secret is long enough");
    let tokens = UserTokens::new(&secrets, 36_000);
    let customer = |row: &String| {
        let (id, name) = row.split_once(' ').expect("two columns");
        let (id, name) = (id.parse().expect("an id"), UserName::parse(name.to_owned()).expect("a name"));
        let user = User { id: UserId(id), name, kind: Kind::Customer };
        // Issued in the past: an instance's clock may be behind.
        Customer { user: id, token: tokens.issue(&user, 0, now_seconds() - 7_200) }
    };
    rows.iter().map(customer).collect()
}

pub(super) fn offers() -> Vec<Offer> {
    let all = [(PLAIN, "plain", 1, 30), (SEVERAL, "several", 3, 40), (QUOTA, "quota", 1, 25), (FEW, "few", 1, 5)];
    let offer = |(coupon, name, wanted, share)| Offer {
        coupon,
        path: format!("/api/users/shop/coupons/{name}"),
        wanted,
        share,
    };
    all.map(offer).into()
}
