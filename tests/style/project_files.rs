//! Rules for Redis scripts, migrations and mutants.

use std::fs;

use super::{files, root};

#[test]
fn every_script_of_redis_says_what_it_takes_and_replies() {
    for (path, text) in files("lua", ".lua") {
        let (header, body): (Vec<&str>, Vec<&str>) = {
            let end = text.lines().position(|line| !line.starts_with("--")).expect("a script is not comments only");
            (text.lines().take(end).collect(), text.lines().skip(end).collect())
        };
        let header = header.join("\n");
        assert!(header.len() > 3, "{} begins with what it is for", path.display());
        for line in ["-- KEYS[1]", "-- ARGV[1]", "-- Replies"] {
            assert!(header.lines().any(|text| text.starts_with(line)), "{} has no line {line}", path.display());
        }
        let body = body.iter().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
        for table in ["KEYS", "ARGV"] {
            for (at, _) in body.match_indices(table) {
                let index =
                    body[at + 4..].strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or_default();
                if index.parse::<u32>().is_ok() {
                    let said = [format!("{table}[{index}]"), format!("{table}[{index}...]")];
                    assert!(said.iter().any(|said| header.contains(said)), "{}: {table}[{index}]", path.display());
                }
            }
        }
    }
}

#[test]
fn every_migration_can_be_taken_back() {
    let folders = fs::read_dir(root().join("migrations")).expect("there are migrations");
    for folder in folders {
        let folder = folder.expect("the folder can be read").path();
        for name in ["up.sql", "down.sql"] {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            let statements = text.lines().filter(|line| !line.trim_start().starts_with("--"));
            assert!(statements.into_iter().any(|line| line.contains(';')), "{}: {name} is empty", folder.display());
        }
    }
}

/// A mutant whose anchor is missing or ambiguous proves nothing, and only `make faults-prove` would report it.
#[test]
fn every_mutant_finds_what_it_replaces_once() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = read("tests/faults/mutants.txt");
    assert!(text.contains("\n=== "), "there are some");
    for mutant in text.split("\n=== ").skip(1) {
        let (head, rest) = mutant.split_once('\n').expect("a line of name, scenarios and file");
        let file = head.rsplit('|').next().expect("a file").trim();
        assert!(rest.contains("<<<\n"), "{head} replaces nothing");
        for pair in rest.split("<<<\n").skip(1) {
            let (replaced, _) = pair.split_once("\n>>>\n").unwrap_or_else(|| panic!("{head} replaces nothing"));
            assert_eq!(read(file).matches(replaced).count(), 1, "{head}");
        }
    }
}
