//! Parameters of the flash-sale interface. The first non-blank byte tells a form from JSON, not the `Content-Type`.
//!
//! Names match without regard to case. Unknown names are ignored. A known parameter sent twice is refused, in a form
//! and in JSON, because its intended value is unknown. Every refusal names the parameter.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;

use actix_web::web;
use percent_encoding::percent_decode;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::http::body;
use crate::http::error::{ApiError, Code};
use crate::http::state::BodyLimits;

/// Parameters by name in lower case.
pub struct Parameters(HashMap<String, Sent>);

enum Sent {
    Once(Raw),
    Twice,
}

#[derive(Debug, Clone, PartialEq)]
enum Raw {
    Text(String),
    Number(serde_json::Number),
    /// Invalid for every parameter: a list, an object, a boolean, or bytes that are not UTF-8.
    Other,
}

/// A parameter that was sent once.
pub struct Parameter<'a> {
    name: &'static str,
    raw: &'a Raw,
}

impl Parameters {
    /// Reads a body as a form or as JSON.
    ///
    /// # Errors
    /// 413 and 400 as [`body::read`]. 400 if the body starts like a JSON object but is not valid JSON.
    pub async fn of_body(payload: web::Payload, limits: BodyLimits) -> Result<Self, ApiError> {
        let bytes = body::read(payload, limits).await?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let object: Object = serde_json::from_slice(&bytes)
                .map_err(|_| ApiError::bad_request("The body begins as JSON and is not JSON."))?;
            Ok(Self::collect(object.0.into_iter().filter_map(|(name, value)| Some((name, of_json(value)?)))))
        } else {
            Self::of_form(&bytes)
        }
    }

    /// Parses the query of a URL.
    ///
    /// # Errors
    /// 400 for a name that is not UTF-8.
    pub fn of_query(query: &str) -> Result<Self, ApiError> {
        Self::of_form(query.as_bytes())
    }

    fn of_form(bytes: &[u8]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let name = decoded(name).ok_or_else(|| ApiError::bad_request("A parameter's name is not UTF-8."))?;
            pairs.push((name, decoded(value).map_or(Raw::Other, Raw::Text)));
        }
        Ok(Self::collect(pairs))
    }

    fn collect(pairs: impl IntoIterator<Item = (String, Raw)>) -> Self {
        let mut all = HashMap::new();
        for (name, raw) in pairs {
            all.entry(name.to_lowercase()).and_modify(|sent| *sent = Sent::Twice).or_insert(Sent::Once(raw));
        }
        Self(all)
    }

    /// The parameter `name` (lower case), or `None` if not sent.
    ///
    /// # Errors
    /// 400 if sent twice.
    pub fn optional(&self, name: &'static str) -> Result<Option<Parameter<'_>>, ApiError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Sent::Once(raw)) => Ok(Some(Parameter { name, raw })),
            Some(Sent::Twice) => Err(wrong(name, "it was sent twice")),
        }
    }

    /// The parameter `name` (lower case).
    ///
    /// # Errors
    /// 400 if not sent, or sent twice.
    pub fn required(&self, name: &'static str) -> Result<Parameter<'_>, ApiError> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }
}

impl Parameter<'_> {
    /// A whole number in `range`, sent as a number or as digits.
    ///
    /// # Errors
    /// 400 for any other value.
    pub fn number<T: TryFrom<u64> + Into<u64> + Copy + fmt::Display>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, ApiError> {
        let number = match self.raw {
            Raw::Number(number) => number.as_u64(),
            // `parse` alone would accept a sign.
            Raw::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Raw::Text(_) | Raw::Other => None,
        };
        let (min, max) = (*range.start(), *range.end());
        let number = number.filter(|number| (min.into()..=max.into()).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.wrong(format!("it must be a whole number from {min} to {max}")))
    }

    /// Any number, sent as a number or as text. The caller checks the range, and that the number is finite.
    ///
    /// # Errors
    /// 400 for any other value.
    pub fn fraction(&self) -> Result<f64, ApiError> {
        let number = match self.raw {
            Raw::Number(number) => number.as_f64(),
            Raw::Text(text) => text.parse().ok(),
            Raw::Other => None,
        };
        number.ok_or_else(|| self.wrong("it must be a number"))
    }

    /// The text as sent.
    ///
    /// # Errors
    /// 400 for another type, or for bytes that are not UTF-8.
    pub fn text(&self) -> Result<String, ApiError> {
        match self.raw {
            Raw::Text(text) => Ok(text.clone()),
            Raw::Number(_) | Raw::Other => Err(self.wrong("it must be a text in UTF-8")),
        }
    }

    /// A 400 that names this parameter, followed by `what`.
    pub fn wrong(&self, what: impl fmt::Display) -> ApiError {
        wrong(self.name, what)
    }
}

pub fn missing(name: &str) -> ApiError {
    wrong(name, "it is missing")
}

/// A 400 that names the parameter, followed by `what`.
pub fn wrong(name: &str, what: impl fmt::Display) -> ApiError {
    ApiError::formatted(Code::BadRequest, format!("{name}: {what}."))
}

/// Decodes a form value. Returns `None` if the result is not UTF-8.
fn decoded(bytes: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// A null counts as absent.
fn of_json(value: Value) -> Option<Raw> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Raw::Text(text)),
        Value::Number(number) => Some(Raw::Number(number)),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Some(Raw::Other),
    }
}

/// A JSON object with all its keys, duplicates included.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Parameters {
        Parameters::of_query(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn json(text: &str) -> Parameters {
        let object: Object = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Parameters::collect(object.0.into_iter().filter_map(|(name, value)| Some((name, of_json(value)?))))
    }

    fn number(sent: &Parameters) -> Option<u32> {
        sent.required("n").and_then(|n| n.number(1..=100)).ok()
    }

    #[test]
    fn a_number_is_a_number_as_a_form_and_as_json_and_as_text() {
        for sent in [query("n=7"), query("a=b&&N=7&"), query("n=%37"), json(r#"{"n":7}"#), json(r#"{"N":"7"}"#)] {
            assert_eq!(number(&sent), Some(7));
        }
        for text in ["", "n", "n=", "n=0", "n=101", "n=-1", "n=%2B1", "n=1.0", "n=+1", "n=1e1", "n=%ff", "n=x"] {
            assert_eq!(number(&query(text)), None, "{text}");
        }
        for text in [
            "{}",
            r#"{"n":null}"#,
            r#"{"n":0}"#,
            r#"{"n":101}"#,
            r#"{"n":-1}"#,
            r#"{"n":1.0}"#,
            r#"{"n":18446744073709551617}"#,
            r#"{"n":true}"#,
            r#"{"n":[1]}"#,
            r#"{"n":{"n":1}}"#,
            r#"{"n":""}"#,
        ] {
            assert_eq!(number(&json(text)), None, "{text}");
        }
    }

    #[test]
    fn twice_is_malformed_and_named_and_only_where_it_is_asked_for() {
        for sent in [query("n=1&n=1"), query("n=1&%4E=2"), json(r#"{"n":1,"n":1}"#), json(r#"{"n":1,"N":"1"}"#)] {
            let error = sent.optional("n").err().expect("it was sent twice");
            assert_eq!(error.message(), "n: it was sent twice.");
            assert!(sent.optional("m").is_ok_and(|sent| sent.is_none()));
        }
    }

    #[test]
    fn a_text_is_decoded_once_and_is_utf_8() {
        for (sent, expected) in [
            (query("n=a+b%2Bc%26"), Some("a b+c&")),
            (query("n=%E5%88%B8=1"), Some("券=1")),
            (query("n="), Some("")),
            (query("n=%2525"), Some("%25")),
            (json(r#"{"n":"a+b%2B"}"#), Some("a+b%2B")),
            (query("n=%c3%28"), None),
            (json(r#"{"n":1}"#), None),
        ] {
            assert_eq!(sent.required("n").and_then(|n| n.text()).ok().as_deref(), expected);
        }
        assert!(Parameters::of_query("%ff=1").is_err(), "which parameter it is cannot be known");
    }
}
