//! The web pages and the files that pages load, as `build.rs` has put them into the program. No disk is read.
//!
//! This module does not depend on HTTP; `pages.rs` serves the files.

/// A file in all forms that the service sends.
#[derive(Debug)]
pub struct Asset {
    /// The path of the file in HTTP. An asset's path holds [`HASH`], a page's path does not.
    pub url: &'static str,
    pub media_type: &'static str,
    pub identity: &'static [u8],
    pub gzip: &'static [u8],
    pub brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The asset at `url`. `None` if the path holds another hash, or is unknown.
pub fn find(url: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.url.cmp(url)).ok().map(|place| &ASSETS[place])
}

/// The page at `url`.
///
/// # Panics
/// If `static/` does not have the page.
pub fn page(url: &str) -> &'static Asset {
    PAGES.iter().find(|page| page.url == url).unwrap_or_else(|| panic!("static has no page {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(asset: &Asset) -> &str {
        std::str::from_utf8(asset.identity).expect("every file is text")
    }

    /// The path that `name` means to a browser in a module at `importer`.
    fn resolved(importer: &str, name: &str) -> String {
        let mut parts: Vec<&str> = importer.split('/').collect();
        parts.pop();
        for part in name.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    fn quoted_after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(word).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    }

    #[test]
    fn every_asset_is_found_by_its_address_and_no_other() {
        for asset in ASSETS {
            assert_eq!(find(asset.url).map(|found| found.url), Some(asset.url));
            let of_another_version = asset.url.replace(HASH, "0123456789abcdef");
            assert!(find(&of_another_version).is_none(), "{of_another_version}");
        }
        assert!(find("/assets/css/app.css").is_none() && find("").is_none());
    }

    #[test]
    fn what_pages_load_exists() {
        let mut loaded = 0;
        for page in PAGES {
            for url in text(page).split('"').filter(|piece| piece.starts_with("/assets/")) {
                assert!(find(url).is_some(), "{} loads {url}", page.url);
                loaded += 1;
            }
        }
        assert!(loaded > 10, "only {loaded} were found");
    }

    #[test]
    fn what_modules_import_exists() {
        let mut imported = 0;
        for module in ASSETS.iter().filter(|asset| asset.url.ends_with(".js")) {
            let names = ["from", "import", "import("].iter().flat_map(|word| quoted_after(text(module), word));
            // A sentence may contain the word "from" too.
            for name in names.filter(|name| !name.contains(' ')) {
                assert!(name.starts_with('.'), "{} imports {name}, which browsers cannot resolve", module.url);
                assert!(find(&resolved(module.url, name)).is_some(), "{} imports {name}", module.url);
                imported += 1;
            }
        }
        assert!(imported > 100, "only {imported} were found");
    }
}
