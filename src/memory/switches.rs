//! Switches for parts of the service. During a rush, an operator can switch off all parts but the sale.

use serde::Serialize;
use serde_json::{Map, Value};

use super::BadSetting;

/// `true` means on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Switches {
    /// Registration of users of any kind.
    pub register: bool,
    /// Registration of salers.
    pub register_saler: bool,
    pub login: bool,
    /// If off, lists are answered from a cache up to a second old.
    pub list: bool,
    pub pages: bool,
    pub docs: bool,
    pub events: bool,
    pub claim: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            register: true,
            register_saler: true,
            login: true,
            list: true,
            pages: true,
            docs: true,
            events: true,
            claim: true,
        }
    }
}

impl Switches {
    /// Parses an object with lower-case keys. A missing key means on.
    ///
    /// # Errors
    /// [`BadSetting`] names the first invalid field.
    pub fn parse(object: &Map<String, Value>) -> Result<Self, BadSetting> {
        let mut switches = Self::default();
        for (name, field) in switches.fields() {
            if let Some(value) = object.get(name) {
                *field = value.as_bool().ok_or_else(|| BadSetting::new(name, "true or false".to_owned()))?;
            }
        }
        Ok(switches)
    }

    fn fields(&mut self) -> [(&'static str, &mut bool); 8] {
        [
            ("register", &mut self.register),
            ("register_saler", &mut self.register_saler),
            ("login", &mut self.login),
            ("list", &mut self.list),
            ("pages", &mut self.pages),
            ("docs", &mut self.docs),
            ("events", &mut self.events),
            ("claim", &mut self.claim),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_switch_can_be_turned_off_alone_and_reads_back() {
        let (names, off): (Vec<_>, Vec<_>) = Switches::default().fields().into_iter().map(|(n, on)| (n, *on)).unzip();
        assert!(off.iter().all(|on| *on), "everything is on unless told otherwise");
        for name in names {
            let object = json!({name: false, "unknown": 1});
            let switches = Switches::parse(object.as_object().expect("an object")).expect("it is good");
            let mut written = serde_json::to_value(switches).expect("JSON");
            assert_eq!(Switches::parse(written.as_object().expect("an object")), Ok(switches));
            assert_eq!(written[name].take(), json!(false));
            assert_eq!(written.as_object().expect("an object").values().filter(|on| **on == json!(true)).count(), 7);
        }
    }

    #[test]
    fn what_is_no_switch_is_refused_by_name() {
        for bad in [json!(0), json!("off"), json!("true"), json!([]), json!({})] {
            let object = json!({"list": bad});
            let error = Switches::parse(object.as_object().expect("an object")).expect_err("it is wrong");
            assert_eq!(error.to_string(), "list must be true or false.");
        }
    }
}
