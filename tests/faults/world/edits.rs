//! Coupons whose rows are edited by hand. The checker does not judge them, because an edit may harm its own coupon.

use std::time::Duration;

use serde_json::json;

use super::World;
use crate::history::{Coupon, Sale};
use crate::mysql;
use crate::servers::until;

const AMOUNT: u32 = 50;
/// Customers who claim before the edit, by their place in the crowd. The next one claims afterwards.
const HOLDERS: usize = 2;
/// The pause before a claim, so that no customer is refused for asking too often.
const PAUSE: Duration = Duration::from_millis(200);

/// How the row of a coupon is edited, and how claims are refused after the next rebuild.
const EDITS: [Edit; 3] = [
    Edit {
        coupon: 5,
        name: "without-units",
        refusal: "unavailable",
        sql: "UPDATE coupons SET amount = 0 WHERE id = 5",
    },
    Edit {
        coupon: 6,
        name: "without-a-sale",
        refusal: "not-on-sale",
        // The new revision makes instances read the activity. Otherwise they would see the edit within half a minute.
        sql: "UPDATE activities SET end_time = start_time WHERE coupon_id = 6; \
              UPDATE coupons SET revision = revision + 1, activity_revision = revision WHERE id = 6",
    },
    Edit { coupon: 7, name: "deleted", refusal: "no-such-coupon", sql: "DELETE FROM coupons WHERE id = 7" },
];

struct Edit {
    coupon: Coupon,
    name: &'static str,
    refusal: &'static str,
    sql: &'static str,
}

impl World {
    /// Makes the coupons, lets customers claim them, and edits the rows behind the back of the instances.
    pub async fn edit_rows(&mut self) {
        for Edit { coupon, name, .. } in EDITS {
            let body = json!({"name": name, "amount": AMOUNT, "stock": 1, "description": ""});
            assert!(matches!(self.send(0, "POST", "/api/users/shop/coupons", &body).await, Ok((201, _))));
            self.write_edited_sale(coupon).await;
            for customer in 0..HOLDERS {
                let (result, token) = self.claim(0, name, customer).await;
                assert_eq!(result, "claimed", "{name}");
                self.tokens_of_edited.push(token);
            }
            let url = self.mariadb.root_url();
            until("the claims are stored", || mysql::has_claims(&url, coupon, HOLDERS)).await;
        }
        for Edit { sql, .. } in EDITS {
            mysql::execute(&self.mariadb.root_url(), sql).await;
        }
    }

    /// Undoes the edits after a rebuild. Panics unless every instance has refused claims of the coupons, grants them
    /// afterwards, and tells the holders of the same claims as before.
    pub async fn mend_rows(&mut self) {
        for (instance, Edit { name, refusal, .. }) in self.at_every_instance() {
            let what = format!("{name} is {refusal}");
            until(&what, || async { self.claim(instance, name, HOLDERS).await.0 == refusal }).await;
        }
        let sql = format!(
            "UPDATE coupons SET amount = {AMOUNT}, revision = revision + 1, changed_at = NOW(3) WHERE id = 5;\
             INSERT INTO coupons (id, saler_id, name, amount, left_count, face_value, description) \
             SELECT 7, id, 'deleted', {AMOUNT}, {AMOUNT} - {HOLDERS}, 1, '' FROM users WHERE username = 'shop'"
        );
        mysql::execute(&self.mariadb.root_url(), &sql).await;
        self.write_edited_sale(6).await;
        for (instance, Edit { coupon, name, .. }) in self.at_every_instance() {
            let place = usize::try_from(coupon - EDITS[0].coupon).expect("few coupons");
            for (customer, token) in self.tokens_of_edited[HOLDERS * place..][..HOLDERS].iter().enumerate() {
                let what = format!("customer {customer} is told of the same claim of {name}");
                let held = ("already-claimed".to_owned(), token.clone());
                until(&what, || async { self.claim(instance, name, customer).await == held }).await;
            }
            let what = format!("{name} is sold");
            until(&what, || async { !self.claim(instance, name, HOLDERS).await.1.is_empty() }).await;
        }
    }

    fn at_every_instance(&self) -> impl Iterator<Item = (usize, Edit)> + use<> {
        (0..self.instances.len()).flat_map(|instance| EDITS.into_iter().map(move |edit| (instance, edit)))
    }

    /// Makes or mends the activity of the coupon that has one.
    async fn write_edited_sale(&self, coupon: Coupon) {
        if coupon == 6 {
            let url = self.mariadb.root_url();
            mysql::write_sale(&url, coupon, &Sale { total: 0, speed: 0, ..self.sale }).await;
            until("the sale is published", || mysql::is_published(&url, coupon)).await;
        }
    }

    /// A claim that the checker does not see. Returns the result or the code of the error, and the token of the claim.
    async fn claim(&self, instance: usize, name: &str, customer: usize) -> (String, String) {
        tokio::time::sleep(PAUSE).await;
        let url = format!("http://{}/api/users/shop/coupons/{name}", self.instances[instance].http);
        let request = self.http.patch(url).header("Authorization", &self.crowd.customers[customer].token);
        let Ok(response) = request.send().await else { return Default::default() };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (result, token) = (header("claim-result").to_owned(), header("claim-token").to_owned());
        if !result.is_empty() {
            return (result, token);
        }
        let error: serde_json::Value = response.json().await.unwrap_or_default();
        (error["code"].as_str().unwrap_or_default().to_owned(), token)
    }
}
