//! The web pages and what they load, as `build.rs` has put them into the program: nothing is read from a disk.
//!
//! Deliberately knows nothing of HTTP: how they are sent is `api/pages.rs`.

/// A file in each form that it is sent in.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served. An asset's name holds the hash of its content, and so never means anything else; a page's does
    /// not.
    pub url: &'static str,
    pub media_type: &'static str,
    /// Weak, because it is the same for every form.
    pub etag: &'static str,
    pub identity: &'static [u8],
    pub gzip: &'static [u8],
    pub brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The asset at `url`; `None` where there is none of that content.
pub fn find(url: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.url.cmp(url)).ok().map(|place| &ASSETS[place])
}

/// The page at `url`.
///
/// # Panics
/// Where `static/` has no such page.
pub fn page(url: &str) -> &'static Asset {
    PAGES.iter().find(|page| page.url == url).unwrap_or_else(|| panic!("static has no page {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_by_its_address_and_no_other() {
        for asset in ASSETS {
            assert_eq!(find(asset.url).map(|found| found.url), Some(asset.url));
        }
        assert!(find("/assets/css/app.css").is_none() && find("").is_none());
    }

    #[test]
    fn what_pages_and_modules_load_exists() {
        let texts = ASSETS.iter().chain(PAGES).filter_map(|asset| std::str::from_utf8(asset.identity).ok());
        let mut loaded = 0;
        for url in texts.flat_map(|text| text.split('"').filter(|piece| piece.starts_with("/assets/"))) {
            assert!(find(url).is_some(), "{url}");
            loaded += 1;
        }
        assert!(loaded > 10, "only {loaded} were found");
    }
}
