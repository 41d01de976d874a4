//! Checks of the files in `static/`. Libraries equal the releases on npm, both languages have every sentence, and every
//! sentence in use exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

const LOCKS: [&str; 2] = ["static/vendor", "tests/browser/vendor"];
const LANGUAGES: [&str; 2] = ["en", "zh"];
/// Licences allowed for libraries that are shipped with the program or used in tests.
const LICENSES: [&str; 3] = ["MIT", "Apache-2.0", "MPL-2.0"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every module below `static/js`, except the catalogues.
fn modules() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("static/js")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("static can be read") {
            let path = entry.expect("static can be read").path();
            match path.is_dir() {
                true if path.ends_with("i18n") => {}
                true => folders.push(path),
                false => drop(found.insert(path.clone(), read(path))),
            }
        }
    }
    found
}

/// Folders of the catalogues: for every page and its accounts, then for the pages of customers, staff, merchants and operators,
/// and for their limits, accounts, second factors and audit trail.
const CATALOGUES: [&str; 10] = [
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
];

/// All sentences of a language. A catalogue is JSON after `export default`.
fn catalogue(language: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for part in CATALOGUES {
        let text = read(format!("static/js/i18n/{part}{language}.js"));
        let json = text.trim().strip_prefix("export default ").and_then(|rest| rest.strip_suffix(';'));
        let sentences: BTreeMap<String, String> =
            serde_json::from_str(json.expect("a catalogue is one object")).expect("a catalogue is JSON of texts");
        assert_eq!(text.matches("\": \"").count(), sentences.len(), "{part}{language}: a key is written twice");
        for (key, sentence) in sentences {
            assert_eq!(all.insert(key.clone(), sentence), None, "{key} is in two catalogues of {language}");
        }
    }
    all
}

/// The names between braces in a sentence.
fn values(sentence: &str) -> BTreeSet<&str> {
    sentence.split('{').skip(1).filter_map(|rest| rest.split([':', '}']).next()).collect()
}

#[test]
fn libraries_are_what_their_lock_says_and_nothing_lies_beside_them() {
    for folder in LOCKS {
        let lock: Value = serde_json::from_str(&read(format!("{folder}/vendor.lock.json"))).expect("the lock is JSON");
        let mut named = BTreeSet::from(["vendor.lock.json".to_owned()]);
        for package in lock["packages"].as_array().expect("a list of packages") {
            let text = |key: &str| package[key].as_str().unwrap_or_else(|| panic!("{package} has no {key}")).to_owned();
            assert!(!text("version").is_empty() && !text("why").is_empty(), "{package}");
            assert!(LICENSES.contains(&text("license").as_str()), "{package}");
            let files = package["files"].as_array().expect("a list of files");
            for file in files {
                let name = file["as"].as_str().expect("a file has a name").to_owned();
                let bytes = fs::read(root().join(folder).join(&name)).expect("what is locked is there");
                let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(file["sha256"].as_str(), Some(sha256.as_str()), "{folder}/{name}; see scripts/vendor");
                assert!(named.insert(name), "{file}");
            }
            let licensed = files.iter().any(|file| file["as"].as_str().is_some_and(|name| name.ends_with(".LICENSE")));
            assert!(licensed, "{package} comes with its licence");
        }
        let entries = fs::read_dir(root().join(folder)).expect("the folder can be read");
        let there: BTreeSet<String> =
            entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(there, named, "{folder}");
    }
}

#[test]
fn every_language_says_the_same_things_with_the_same_values() {
    let [first, others @ ..] = LANGUAGES.map(catalogue);
    for other in others {
        assert_eq!(first.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (key, sentence) in &first {
            assert_eq!(values(sentence), values(&other[key]), "{key}");
        }
    }
}

#[test]
fn every_sentence_is_used_and_every_one_that_is_used_exists() {
    let known: BTreeSet<String> = catalogue("en").into_keys().collect();
    let code = modules().into_values().collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for quote in ['"', '`'] {
        for piece in code.split(quote) {
            // A whole key, or the start of several keys as in `outcome.${kind}`.
            let (start, open) = piece.split_once("${").map_or((piece, false), |(start, _)| (start, true));
            let all: Vec<&String> = known
                .iter()
                .filter(|key| if open && start.contains('.') { key.starts_with(start) } else { *key == piece })
                .collect();
            used.extend(all.into_iter().cloned());
        }
    }
    assert_eq!(known.difference(&used).collect::<Vec<_>>(), [] as [&String; 0], "never said");
    for (at, _) in code.match_indices(" t(\"").chain(code.match_indices("{t(\"")) {
        let key = code[at + 4..].split('"').next().unwrap_or_default();
        assert!(known.contains(key), "{key} is in no catalogue");
    }
}

#[test]
fn pages_have_no_script_style_or_address_of_another_origin_in_them() {
    for (path, text) in modules() {
        for banned in
            ["eval(", "new Function", "innerHTML", "document.write", "http://", "https://", "style=$", "style=\""]
        {
            let found = text.replace("http://www.w3.org/2000/svg", "").contains(banned);
            assert!(!found, "{} has {banned}", path.display());
        }
    }
}
