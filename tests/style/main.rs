//! Checks the rules of `docs/ARCHITECTURE.md` and `CONTRIBUTING.md` in the source.

mod imports;
mod layout;
mod project_files;
mod rust_lines;
mod script_lines;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum lines of a file, in any language.
const FILE_LINES_MAX: usize = 400;
/// Maximum lines of a function, in any language.
const FUNCTION_LINES_MAX: usize = 69;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with names that end with `ending`, as paths and texts.
fn files(folder: &str, ending: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                found.insert(path.strip_prefix(root()).expect("it is below the root").to_owned(), text);
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {folder} ends in {ending}");
    found
}
