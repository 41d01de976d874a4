//! The value of an activity in etcd: JSON with the field names of `/activity/list`, and numbers as JSON numbers.

use serde::{Deserialize, Serialize};

use crate::domain::{Activity, ActivityId, ActivityName, Conditions, CouponId, Nth, Rate, Status, Terms, Window};
use crate::etcd::Value;

/// Folder of the activities' keys below etcd's prefix.
const FOLDER: &str = "activities/";

/// What is wrong with a key or value, worded for the operator who put it.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("the key does not end in an activity id")]
    Key,
    #[error("the value is too long with {0} bytes")]
    TooLong(usize),
    #[error("not a valid activity: {0}")]
    Json(#[source] serde_json::Error),
    #[error("activity_id is {0}, but the key names a different activity")]
    OtherId(u32),
    #[error("{0} is out of range")]
    Field(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Fields {
    activity_id: u32,
    activity_name: String,
    product_id: u64,
    start_time: u64,
    end_time: u64,
    total: u32,
    status: u64,
    #[serde(alias = "speed")]
    sec_speed: u32,
    buy_limit: Nth,
    buy_rate: f64,
}

/// The key of an activity, without the prefix.
pub fn key(id: ActivityId) -> String {
    format!("{FOLDER}{id}")
}

/// The activity named by a key, or `None` for a key outside the folder. [`ValueError::Key`] for an invalid id.
pub fn id(key: &str) -> Option<Result<ActivityId, ValueError>> {
    let id = key.strip_prefix(FOLDER)?;
    // `+1` and `01` parse as numbers but are not valid spellings of an id.
    let written = |parsed: &ActivityId| parsed.to_string() == id;
    Some(id.parse().ok().filter(written).ok_or(ValueError::Key))
}

pub fn write(activity: &Activity) -> Vec<u8> {
    let Activity { id, coupon, terms, .. } = activity;
    let fields = Fields {
        activity_id: id.0,
        activity_name: terms.name.as_str().to_owned(),
        product_id: coupon.0,
        start_time: terms.window.start(),
        end_time: terms.window.end(),
        total: terms.total,
        status: terms.status.number().into(),
        sec_speed: terms.speed,
        buy_limit: terms.buy_limit,
        buy_rate: terms.buy_rate.share(),
    };
    serde_json::to_vec(&fields).expect("texts and finite numbers can be written")
}

/// Parses the value of activity `id`. All fields are required. Unknown fields are ignored. A value has no conditions:
/// MySQL alone has them, so that no tool and no earlier release can take them away.
pub fn read(id: ActivityId, value: &Value) -> Result<Activity, ValueError> {
    let bytes = match value {
        Value::Bytes(bytes) => bytes,
        Value::TooLong(length) => return Err(ValueError::TooLong(*length)),
    };
    let fields: Fields = serde_json::from_slice(bytes).map_err(ValueError::Json)?;
    if fields.activity_id != id.0 {
        return Err(ValueError::OtherId(fields.activity_id));
    }
    let buy_limit = (1..=Terms::BUY_LIMIT_MAX).contains(&fields.buy_limit).then_some(fields.buy_limit);
    let terms = Terms {
        name: ActivityName::parse(fields.activity_name).map_err(|_| ValueError::Field("activity_name"))?,
        window: Window::new(fields.start_time, fields.end_time).ok_or(ValueError::Field("end_time"))?,
        total: fields.total,
        status: Status::from_number(fields.status).ok_or(ValueError::Field("status"))?,
        speed: fields.sec_speed,
        buy_limit: buy_limit.ok_or(ValueError::Field("buy_limit"))?,
        buy_rate: Rate::new(fields.buy_rate).ok_or(ValueError::Field("buy_rate"))?,
    };
    Ok(Activity { id, coupon: CouponId(fields.product_id), terms, conditions: Conditions::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"activity_id":7,"activity_name":"noon","product_id":3,"start_time":10,"end_time":20,"total":5,
        "status":0,"sec_speed":100,"buy_limit":2,"buy_rate":0.25}"#;

    fn parse(text: &str) -> Result<Activity, String> {
        read(ActivityId(7), &Value::Bytes(text.as_bytes().to_vec())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let activity = parse(GOOD).expect("it is good");
        assert_eq!((activity.coupon, activity.terms.speed, activity.terms.buy_limit), (CouponId(3), 100, 2));
        assert_eq!(read(activity.id, &Value::Bytes(write(&activity))).expect("it was written by us"), activity);
        assert_eq!(parse(&GOOD.replace("sec_speed", "speed")), Ok(activity.clone()));
        assert_eq!(parse(&GOOD.replace("{", r#"{"status_str":"normal","#)), Ok(activity));
    }

    #[test]
    fn every_field_is_needed_and_has_its_range() {
        for field in GOOD.trim_matches(['{', '}']).split(',') {
            let without = GOOD.replace(field, r#""other":0"#);
            assert!(parse(&without).expect_err("a field is missing").contains("missing field"), "{without}");
        }
        for (good, bad) in [
            (r#""noon""#, r#""""#),
            (r#""noon""#, "null"),
            (r#""end_time":20"#, r#""end_time":10"#),
            (r#""end_time":20"#, r#""end_time":-1"#),
            (r#""end_time":20"#, r#""end_time":"20""#),
            (r#""end_time":20"#, r#""end_time":20.5"#),
            (r#""end_time":20"#, r#""end_time":253402300800"#),
            (r#""total":5"#, r#""total":4294967296"#),
            (r#""status":0"#, r#""status":3"#),
            (r#""sec_speed":100"#, r#""sec_speed":100,"speed":100"#),
            (r#""buy_limit":2"#, r#""buy_limit":0"#),
            (r#""buy_limit":2"#, r#""buy_limit":101"#),
            (r#""buy_rate":0.25"#, r#""buy_rate":1.01"#),
            (r#""buy_rate":0.25"#, r#""buy_rate":-0.1"#),
            (r#""activity_id":7"#, r#""activity_id":8"#),
            (GOOD, ""),
            (GOOD, "[]"),
            (GOOD, "\u{0}"),
        ] {
            assert!(GOOD.contains(good) && parse(&GOOD.replace(good, bad)).is_err(), "{bad}");
        }
        assert!(read(ActivityId(7), &Value::TooLong(1 << 20)).is_err());
        assert!(read(ActivityId(7), &Value::Bytes(vec![0xff])).is_err());
    }

    #[test]
    fn a_key_names_an_activity_in_one_way_only() {
        let parsed = |key: &str| id(key).map(Result::ok);
        assert_eq!(parsed(&key(ActivityId(7))), Some(Some(ActivityId(7))));
        for bad in ["", "+7", "07", "7/", "x", "-1", "4294967296"] {
            assert_eq!(parsed(&format!("{FOLDER}{bad}")), Some(None), "{bad}");
        }
        assert_eq!(parsed("limits"), None);
    }
}
