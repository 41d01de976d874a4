//! The files of `deploy/`, `Dockerfile` and `compose.yaml` name only settings that exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::program::{run, text};

/// The settings named in a text.
fn settings(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let ends = |at: usize| text[at..].find(|c| !is_part(c)).map_or(text.len(), |end| at + end);
    text.match_indices("COUPONRUSH_").map(|(at, _)| &text[at..ends(at)]).collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_setting_in_the_files_of_a_deployment_exists() {
    let helps = ["serve", "import"].map(|command| text(&run(&[command, "--help"], &[]).stdout));
    let known: BTreeSet<&str> = helps.iter().flat_map(|help| settings(help)).collect();
    assert!(known.contains("COUPONRUSH_JWT_SECRET_FILE"), "{known:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let more = ["Dockerfile", "compose.yaml", ".github/workflows/release.yml"].map(|name| root.join(name));
    let mut named = 0;
    for path in files(&root.join("deploy")).into_iter().chain(more) {
        let text = std::fs::read_to_string(&path).expect("the file is text");
        for setting in settings(&text) {
            named += 1;
            assert!(known.contains(setting), "{} names {setting}, which is no setting", path.display());
        }
    }
    assert!(named > 20, "only {named} were found");
}
