//! The rules of `docs/ARCHITECTURE.md` and `CONTRIBUTING.md` that a program can check, over the source as it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "style/script_lines.rs"]
mod script_lines;

/// Lines of a file, and of a function, at most.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 69;

/// Each module with those it may import. A module imports only what stands above it here, so that imports point one way.
const IMPORTS: [(&str, &[&str]); 27] = [
    // Nothing, unless a test wants the program to die.
    ("crash", &[]),
    ("figures", &[]),
    ("domain", &[]),
    ("assets", &[]),
    ("config", &["domain"]),
    // The stores do not know each other.
    ("kv", &["figures", "domain"]),
    ("db", &["figures", "domain"]),
    ("etcd", &[]),
    // What a claim passes through; none of them knows another.
    ("auth", &["domain", "db"]),
    ("gate", &["domain", "kv", "db"]),
    ("stock", &["domain", "kv"]),
    ("ledger", &["figures", "domain", "kv", "db"]),
    ("activities", &["domain", "db"]),
    ("audit", &["domain", "kv", "db"]),
    ("durability", &["kv", "db"]),
    // What puts them together. A claim itself never waits for MySQL.
    ("refusals", &["figures", "domain", "kv", "db", "activities", "gate", "stock"]),
    ("claiming", &["figures", "domain", "kv", "activities", "gate", "stock", "ledger", "refusals"]),
    ("directory", &["domain", "kv", "db", "gate", "stock"]),
    ("events", &["domain", "kv", "activities", "gate", "stock"]),
    ("publishing", &["domain", "kv", "db", "gate", "stock"]),
    ("scheduling", &["domain", "kv", "db", "activities", "publishing"]),
    ("mirroring", &["domain", "kv", "db", "etcd", "gate", "scheduling"]),
    ("recovery", &["domain", "kv", "db", "gate", "stock", "ledger"]),
    ("health", &["kv", "db", "activities", "gate", "ledger", "recovery", "mirroring"]),
    (
        "api",
        &[
            "figures",
            "domain",
            "assets",
            "kv",
            "db",
            "auth",
            "activities",
            "gate",
            "stock",
            "refusals",
            "claiming",
            "directory",
            "publishing",
            "scheduling",
            "events",
            "health",
        ],
    ),
    (
        "app",
        &[
            "domain",
            "config",
            "kv",
            "db",
            "etcd",
            "durability",
            "auth",
            "activities",
            "gate",
            "stock",
            "ledger",
            "refusals",
            "claiming",
            "directory",
            "publishing",
            "scheduling",
            "mirroring",
            "recovery",
            "events",
            "health",
            "api",
        ],
    ),
    ("commands", &["domain", "config", "kv", "db", "auth", "stock", "audit", "api", "app"]),
];
/// What `lib.rs` itself offers to all of them.
const SHARED: [&str; 4] = ["crash", "error_chain", "now_ms", "now_seconds"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends so, as path and text.
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

/// Rust without comments and without what is between quotes; every line stays where it is.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = match character {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '"' => quoted(rest, '"'),
            '\'' if is_character(rest) => quoted(rest, '\''),
            _ => 0,
        };
        let taken = if skipped == 0 { character.len_utf8() } else { skipped };
        if skipped == 0 {
            code.push(character);
        } else {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        }
        rest = &rest[taken..];
    }
    code
}

/// How long the quoted text is that `rest` begins with.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// How long the raw string is that `rest` begins with; 0 where it begins with none.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let inner = 2 + hashes;
    rest[inner..].find(&end).map_or(rest.len(), |at| inner + at + end.len())
}

/// A character, not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => true,
        (Some(_), second) => second == Some('\''),
        _ => false,
    }
}

/// The identifiers that follow `prefix`, those of a group in braces too.
fn names_after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let name = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        &text[..end]
    };
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => names.extend([name(rest)]),
            Some(group) => {
                let mut depth = 0;
                let mut part = 0;
                for (at, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' | ',' if depth == 0 => {
                            names.extend(
                                [name(group[part..at].trim_start())].into_iter().filter(|name| !name.is_empty()),
                            );
                            part = at + 1;
                            if character == '}' {
                                break;
                            }
                        }
                        '}' => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

/// The module that a file of `src` belongs to: `kv` for `src/kv/link.rs`, `stock` for `src/stock.rs`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("a file of src");
    let first = below.iter().next().expect("it has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Where each function begins, its name and its lines, by the braces around its body.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name = code[at + 3..].split(['(', '<']).next().unwrap_or_default();
        let (mut depth, mut nested) = (0_usize, 0_usize);
        for (offset, character) in code[at..].char_indices() {
            match character {
                '(' | '[' => nested += 1,
                ')' | ']' => nested = nested.saturating_sub(1),
                // Declared, not defined.
                ';' if depth == 0 && nested == 0 => break,
                '{' => depth += 1,
                '}' if depth == 1 => {
                    let line_of = |end| 1 + code[..end].matches('\n').count();
                    found.push((line_of(at), name, 1 + line_of(at + offset) - line_of(at)));
                    break;
                }
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    let above: Vec<&str> = IMPORTS.iter().map(|(module, _)| *module).collect();
    for (place, (module, imports)) in IMPORTS.iter().enumerate() {
        let below = imports.iter().find(|import| !above[..place].contains(import));
        assert_eq!(below, None, "the table itself points down: {module}");
    }
    let may: BTreeMap<&str, &[&str]> = IMPORTS.into_iter().collect();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, text) in files("src", ".rs") {
        let module = module(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = may.get(module.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{module} has no place in the table of imports"));
        let code = code(&text);
        // A file directly in src reaches its neighbours by `super` too, one in a folder by two of them.
        let up = if path.iter().count() == 2 { "super::" } else { "super::super::" };
        let named = names_after(&code, "crate::")
            .into_iter()
            .chain(names_after(&code, up).into_iter().filter(|name| may.contains_key(name)));
        for name in named {
            if name != module && !allowed.contains(&name) && !SHARED.contains(&name) {
                wrong.push(format!("{} imports {name}", path.display()));
            }
        }
        seen.insert(module);
    }
    assert_eq!(wrong, [] as [String; 0]);
    assert_eq!(seen.len(), IMPORTS.len(), "every module of the table exists");
}

#[test]
fn only_the_interface_and_the_application_know_the_http_framework() {
    for (path, text) in files("src", ".rs") {
        let knows = code(&text).contains("actix");
        assert!(!knows || ["api", "app"].contains(&module(&path).as_str()), "{} knows actix", path.display());
    }
}

#[test]
fn no_file_and_no_function_is_too_long() {
    let mut wrong = Vec::new();
    let sources = files("src", ".rs").into_iter().chain(files("tests", ".rs")).chain(files("lua", ".lua"));
    let sources = sources.chain(files("static/js", ".js")).chain(files("static/css", ".css"));
    for (path, text) in sources {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
        if path.to_string_lossy().ends_with(".rs") {
            let code = code(&text);
            for (line, name, lines) in functions(&code) {
                if lines > FUNCTION_LINES_MAX {
                    wrong.push(format!("{}:{line}: {name} has {lines} lines", path.display()));
                }
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

#[test]
fn nothing_is_unfinished_or_unbounded() {
    let banned = ["todo!", "unimplemented!", "dbg!", "unbounded_channel", "UnboundedSender", "mpsc::channel()"];
    for (path, text) in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        let code = code(&text);
        for word in banned {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
    }
}

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

/// Otherwise what the mutant shows is no longer shown, and nobody hears of it before `make faults-prove`.
#[test]
fn every_mutant_finds_what_it_replaces_once() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = read("tests/faults/mutants.txt");
    assert!(text.contains("\n=== "), "there are some");
    for mutant in text.split("\n=== ").skip(1) {
        let (head, rest) = mutant.split_once('\n').expect("a line of name, scenarios and file");
        let file = head.rsplit('|').next().expect("a file").trim();
        let replaced = rest.split_once("<<<\n").and_then(|(_, rest)| rest.split_once("\n>>>\n"));
        let (replaced, _) = replaced.unwrap_or_else(|| panic!("{head} replaces nothing"));
        assert_eq!(read(file).matches(replaced).count(), 1, "{head}");
    }
}

#[test]
fn code_is_told_from_comments_strings_and_characters() {
    let text =
        "a // todo!\n\"dbg! \\\" {\" r#\"} \"x\"#; '{' '\\'' b'}' &'a str\n/// doc {\nfn f() {\n    '\\u{7f}';\n}\n";
    let code = code(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(code.lines().nth(1), Some(" ;   b &'a str"));
    assert_eq!(functions(&code), [(4, "f", 3)]);
    assert_eq!(
        names_after("crate::{a, b::{c, d}, e as f}; crate::g::h", "crate::"),
        BTreeSet::from(["a", "b", "e", "g"])
    );
}
