//! Line limits for Rust, and words banned from Rust source.

use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, files};

/// Removes comments, and the contents of strings and characters. Line numbers stay the same.
pub fn code(text: &str) -> String {
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

/// The length in bytes of the quoted text at the beginning of `rest`.
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

/// The length in bytes of the raw string at the beginning of `rest`, or 0 without a raw string.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let inner = 2 + hashes;
    rest[inner..].find(&end).map_or(rest.len(), |at| inner + at + end.len())
}

/// Whether `rest` begins with a character, not with a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => true,
        (Some(_), second) => second == Some('\''),
        _ => false,
    }
}

/// Every function's first line number, name and number of lines, found by the braces of the body.
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
                // A declaration without a body.
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
fn code_is_told_from_comments_strings_and_characters() {
    let text =
        "a // todo!\n\"dbg! \\\" {\" r#\"} \"x\"#; '{' '\\'' b'}' &'a str\n/// doc {\nfn f() {\n    '\\u{7f}';\n}\n";
    let code = code(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(code.lines().nth(1), Some(" ;   b &'a str"));
    assert_eq!(functions(&code), [(4, "f", 3)]);
}
