//! Origins of web pages.

use std::str::FromStr;

/// A list of origins such as `https://shop.example:8443`, separated by commas. An empty text is an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of origins such as https://shop.example, separated by commas")]
pub struct OriginError;

impl Origins {
    /// Whether a browser's `Origin` is in the list. Browsers write scheme and host in lower case.
    pub fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|known| known == origin)
    }
}

impl FromStr for Origins {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins
            .map(|origin| is_origin(origin).then(|| origin.to_owned()).ok_or(OriginError))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port_as_browsers_write_them() {
        let origins: Origins = " https://shop.example,http://[::1]:8080 ,".parse().expect("they are good");
        assert!(origins.contains("https://shop.example") && origins.contains("http://[::1]:8080"));
        assert!(!origins.contains("http://shop.example") && !origins.contains("https://shop.example:8443"));
        assert_eq!("".parse(), Ok(Origins::default()));
        for text in
            ["shop.example", "https://", "https://Shop.example", "https://shop.example/", "null", "*", "ftp://x"]
        {
            assert_eq!(text.parse::<Origins>(), Err(OriginError), "{text}");
        }
    }
}
