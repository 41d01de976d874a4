//! Limits and switches changed by operators through etcd.

use serde_json::{Value, json};

use super::{SOON, Sale};
use crate::helpers::eventually;

/// The settings in force on an instance.
async fn in_force(sale: &Sale, instance: usize, name: &str) -> Value {
    let settings = &sale.app.instances[instance].shared.edge.admission.settings;
    match name {
        "limits" => serde_json::to_value(&**settings.limits()),
        _ => serde_json::to_value(**settings.switches()),
    }
    .expect("settings are JSON")
}

/// Waits until the value is in force on every instance, for a second at most.
async fn wait_until_in_force(sale: &Sale, name: &str, field: &str, value: &Value) {
    let begun = std::time::Instant::now();
    for instance in 0..2 {
        while in_force(sale, instance, name).await[field] != *value {
            assert!(begun.elapsed() < SOON, "{name}.{field} is not {value} on instance {instance}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Waits until etcd has the value.
async fn wait_until_put(sale: &Sale, name: &str, field: &str, value: &Value) {
    eventually("etcd has the value", || async {
        let text = sale.etcd.get(name).await.map(|(text, _)| text).unwrap_or_default();
        serde_json::from_str::<Value>(&text).unwrap_or_default()[field] == *value
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_operator_puts_is_in_force_everywhere_within_a_second_and_stays() {
    let mut sale = Sale::start().await;
    sale.etcd.put("limits", r#"{"user_per_second": 3}"#).await;
    wait_until_in_force(&sale, "limits", "user_per_second", &json!(3)).await;
    sale.etcd.put("switches", r#"{"claim": false}"#).await;
    wait_until_in_force(&sale, "switches", "claim", &json!(false)).await;
    assert_eq!(sale.results().await, ["", ""], "claiming is switched off");
    sale.etcd.put("switches", r#"{"claim": true}"#).await;
    wait_until_in_force(&sale, "switches", "claim", &json!(true)).await;

    // Garbage changes nothing, and is counted once.
    let refused = sale.report().await["refused"].as_u64();
    for bad in ["", "[]", "{", r#"{"user_per_second": -1}"#, r#"{"user_per_second": "3"}"#] {
        sale.etcd.put("limits", bad).await;
    }
    eventually("the bad values are counted", || async { sale.report().await["refused"].as_u64() > refused }).await;
    assert_eq!(in_force(&sale, 0, "limits").await["user_per_second"], 3);

    // An instance started without etcd reads the settings from MySQL.
    sale.app.stop().await;
    let args = std::mem::take(&mut sale.app.args.etcd.etcd_endpoints);
    sale.app.start_another().await;
    assert_eq!(in_force(&sale, 0, "limits").await["user_per_second"], 3);
    sale.app.stop().await;
    sale.app.args.etcd.etcd_endpoints = args;
    for _ in 0..2 {
        sale.app.start_another().await;
    }
    sale.etcd.delete("limits").await;
    wait_until_in_force(&sale, "limits", "user_per_second", &json!(20)).await;
    wait_until_put(&sale, "limits", "user_per_second", &json!(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_admin_changes_is_put_and_survives_an_etcd_that_forgets() {
    let mut sale = Sale::start().await;
    let settings = std::sync::Arc::clone(&sale.app.instances[0].shared.edge.admission.settings);
    let wanted = |speed| {
        settings.parse_text(couponrush::mysql::settings::SettingName::Limits, speed).expect("the limits are valid")
    };
    settings.change(&wanted(r#"{"user_per_second": 7}"#), "root").await.expect("MySQL stores the setting");
    wait_until_put(&sale, "limits", "user_per_second", &json!(7)).await;
    sale.etcd.kill();
    settings.change(&wanted(r#"{"user_per_second": 8}"#), "root").await.expect("MySQL stores the setting");
    sale.etcd.restart().await;
    wait_until_put(&sale, "limits", "user_per_second", &json!(8)).await;
    wait_until_in_force(&sale, "limits", "user_per_second", &json!(8)).await;

    sale.etcd.kill();
    sale.etcd.empty();
    sale.etcd.restart().await;
    wait_until_put(&sale, "limits", "user_per_second", &json!(8)).await;
    wait_until_in_force(&sale, "limits", "user_per_second", &json!(8)).await;
}
