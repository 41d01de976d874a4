//! The sentences of the pages, read from the catalogues, so that tests look for the text on the page.

use std::collections::BTreeMap;
use std::path::Path;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    /// The language tag that the browser sends.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// The sentence of `key`, for a sentence without values.
    pub fn says(self, key: &str) -> String {
        self.says_with(key, &[])
    }

    /// The sentence of `key`, with formatted values.
    pub fn says_with(self, key: &str, values: &[(&str, &str)]) -> String {
        let mut sentence = self.catalogue().remove(key).unwrap_or_else(|| panic!("no sentence {key}"));
        for (name, value) in values {
            for form in [format!("{{{name}}}"), format!("{{{name}:ordinal}}")] {
                sentence = sentence.replace(&form, value);
            }
        }
        sentence
    }

    fn catalogue(self) -> BTreeMap<String, String> {
        let name = if self == Self::English { "en" } else { "zh" };
        let mut all = BTreeMap::new();
        for part in [
            "",
            "account/",
            "customer/",
            "staff/",
            "saler/",
            "admin/",
            "admin/limits/",
            "admin/accounts/",
            "admin/factor/",
            "admin/audit/",
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("static/js/i18n/{part}{name}.js"));
            let text = std::fs::read_to_string(path).expect("the catalogue is there");
            let json = text.trim().strip_prefix("export default ").and_then(|rest| rest.strip_suffix(';'));
            let sentences: BTreeMap<String, String> =
                serde_json::from_str(json.expect("a catalogue is one object")).expect("a catalogue is JSON of texts");
            all.extend(sentences);
        }
        all
    }
}
