//! The web pages and their assets, embedded into the program by `build.rs`. No file is read at run time.
//!
//! The module knows nothing about HTTP. `api/pages.rs` sends the files.

/// A file in each content encoding.
#[derive(Debug)]
pub struct Asset {
    /// The path of the file. An asset's path contains the hash of the content, so a path always serves the same bytes.
    /// A page's path has no hash.
    pub url: &'static str,
    pub media_type: &'static str,
    /// A weak ETag, shared by all encodings.
    pub etag: &'static str,
    pub identity: &'static [u8],
    pub gzip: &'static [u8],
    pub brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The asset at `url`, or `None` if no asset has the path.
pub fn find(url: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.url.cmp(url)).ok().map(|place| &ASSETS[place])
}

/// The page at `url`.
///
/// # Panics
/// Panics if `static/` has no page of this name.
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
