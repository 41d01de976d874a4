//! Line limits for Lua, Python, shell and JavaScript.
//!
//! Indentation marks the end of a function. The end is the first closing line with the indentation of the function's
//! first line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, files, root};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Language {
    Lua,
    Python,
    Shell,
    JavaScript,
}

impl Language {
    /// Finds the language by the file name's ending, or by the first line if the name has no ending.
    fn of(path: &Path, text: &str) -> Option<Self> {
        let first_line = text.lines().next().unwrap_or_default();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("lua") => Some(Self::Lua),
            Some("py") => Some(Self::Python),
            Some("sh") => Some(Self::Shell),
            Some("js") => Some(Self::JavaScript),
            Some(_) => None,
            None if first_line.ends_with("python3") => Some(Self::Python),
            None if first_line.ends_with("sh") => Some(Self::Shell),
            None if first_line.ends_with("node") => Some(Self::JavaScript),
            None => None,
        }
    }

    /// Whether a function begins in this line and ends in a later one.
    fn begins_function(self, line: &str) -> bool {
        let words = || line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let line = line.trim();
        match self {
            Self::Lua => {
                !line.starts_with("--") && words().any(|word| word == "function") && words().all(|word| word != "end")
            }
            Self::Python => line.starts_with("def ") || line.starts_with("async def "),
            Self::Shell => line.split(" #").next().is_some_and(|code| code.trim_end().ends_with("() {")),
            Self::JavaScript => {
                let statement = ["if", "for", "while", "switch", "catch", "else"];
                let is_method =
                    || line.ends_with(") {") && words().next().is_some_and(|word| !statement.contains(&word));
                let is_function =
                    words().any(|word| word == "function") && (line.ends_with('{') || line.ends_with('('));
                !line.starts_with(['/', '*']) && (is_function || line.ends_with("=> {") || is_method())
            }
        }
    }

    /// Whether a line with the indentation of a function's first line ends the function. In Python, any line except the
    /// end of a long signature ends the function, and is the first line after it.
    fn ends_function(self, line: &str) -> bool {
        match self {
            Self::Lua => line.trim_start().starts_with("end"),
            Self::Python => !line.trim_start().starts_with(')'),
            Self::Shell | Self::JavaScript => line.trim_start().starts_with('}'),
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The line numbers and lengths of all functions, nested ones too.
fn functions(language: Language, text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| language.begins_function(line)) {
        let depth = indentation(line);
        let is_end = |line: &str| {
            !line.is_empty()
                && (indentation(line) == depth || language == Language::Python && indentation(line) < depth)
                && language.ends_function(line)
        };
        let after = lines[start + 1..].iter().position(|line| is_end(line)).map_or(lines.len(), |at| start + 1 + at);
        let length = match language {
            Language::Python => lines[start..after].iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0) + 1,
            _ => after + 1 - start,
        };
        found.push((start + 1, length));
    }
    found
}

fn too_long(path: &Path, text: &str) -> Vec<String> {
    let Some(language) = Language::of(path, text) else {
        return vec![format!("{} is in a language without line limits", path.display())];
    };
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        wrong.push(format!("{} has {lines} lines", path.display()));
    }
    for (line, length) in functions(language, text) {
        if length > FUNCTION_LINES_MAX {
            wrong.push(format!("{}:{line}: a function has {length} lines", path.display()));
        }
    }
    wrong
}

/// The files directly in `scripts`.
fn commands() -> BTreeMap<PathBuf, String> {
    let folder = fs::read_dir(root().join("scripts")).expect("the folder can be read");
    let paths = folder.map(|entry| entry.expect("the folder can be read").path()).filter(|path| path.is_file());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("source is UTF-8");
        (path.strip_prefix(root()).expect("it is below the root").to_owned(), text)
    };
    paths.map(read).collect()
}

#[test]
fn no_script_and_no_function_of_a_script_is_too_long() {
    let packages = files("scripts", ".py");
    let sources = commands().into_iter().chain(packages).chain(files("lua", ".lua")).chain(files("static/js", ".js"));
    let wrong: Vec<String> = sources.flat_map(|(path, text)| too_long(&path, &text)).collect();
    assert_eq!(wrong, [] as [String; 0]);
}

#[test]
fn functions_of_scripts_are_measured() {
    let lua = "-- a function\nlocal function f(a)\n  if a then\n    return 1\n  end\nend\nlocal g = function() end\n";
    assert_eq!(functions(Language::Lua, lua), [(2, 5)]);
    let python = "class A:\n    def f(\n        self,\n    ):\n        x = 1\n\n        return x\n\n    def g(self):\n        pass\n\n\nh = 2\n";
    assert_eq!(functions(Language::Python, python), [(2, 6), (9, 2)]);
    let shell = "f() { true; }\ng() { # NAME\n    cat <<END\nusage\nEND\n}\nif true; then {\n    f\n}; fi\n";
    assert_eq!(functions(Language::Shell, shell), [(2, 5)]);
    let script =
        "export function f(a) {\n    if (a) {\n        b();\n    }\n    each((c) => {\n        d(c);\n    });\n}\n";
    assert_eq!(functions(Language::JavaScript, script), [(1, 8), (5, 3)]);
}
