//! `couponrush size`: the tables of `docs/SIZING.md`, and arguments that are refused.

use std::process::Output;

use crate::program::{run, text};

const GUIDE: &str = include_str!("../../docs/SIZING.md");
/// The first cell of a table of sizes. Rows that begin with an argument are arguments, and all others are figures.
const FIRST_ARGUMENT: &str = "`--attempts-per-second`";

fn size(arguments: &[&str]) -> Output {
    run(&[&["size"], arguments].concat(), &[])
}

/// Cells of the lines of a Markdown table.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// The tables of sizes in the guide, without the lines below their heads.
fn tables() -> Vec<Vec<Vec<&'static str>>> {
    let lines: Vec<&str> = GUIDE.lines().collect();
    let heads = (0..lines.len()).filter(|line| lines[*line].contains(FIRST_ARGUMENT) && lines[*line].starts_with('|'));
    let table = |head: usize| {
        let rows = lines[head..].iter().take_while(|line| line.starts_with('|'));
        rows.filter(|line| !line.starts_with("|--")).map(|line| cells(line)).collect()
    };
    heads.map(table).collect()
}

/// Names and figures that the command prints. At least two spaces stand between both.
fn figures(output: &str) -> Vec<(&str, &str)> {
    let pairs = output.lines().filter_map(|line| line.split_once("  "));
    pairs.map(|(name, figure)| (name.trim(), figure.trim())).collect()
}

#[test]
fn the_tables_of_the_guide_are_what_the_command_prints() {
    let tables = tables();
    assert_eq!(tables.len(), 2, "a table for one coupon, and a table for many");
    for table in tables {
        let (arguments, rows): (Vec<_>, Vec<_>) = table.into_iter().partition(|row| row[0].starts_with("`--"));
        let columns = arguments[0].len();
        assert_eq!(arguments[0][1..], ["1,000", "10,000", "100,000", "1,000,000"]);
        for column in 1..columns {
            let words: Vec<String> = arguments
                .iter()
                .flat_map(|row| [row[0].trim_matches('`').to_owned(), row[column].replace(',', "")])
                .collect();
            let output = size(&words.iter().map(String::as_str).collect::<Vec<_>>());
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{words:?}");
            let printed = figures(&out);
            let written: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[column])).collect();
            assert_eq!(written, printed, "docs/SIZING.md has other figures for {words:?}");
        }
    }
}

#[test]
fn numbers_that_make_no_sale_are_refused_by_a_sentence() {
    let sale = |attempts: &'static str, claims: &'static str, users: &'static str| {
        ["--attempts-per-second", attempts, "--claims", claims, "--users", users]
    };
    let cases = [
        (sale("0", "1", "1"), "attempts-per-second: 0 is not between 1 and 1000000"),
        (sale("1000001", "1", "1"), "attempts-per-second: 1000001 is not between 1 and 1000000"),
        (sale("1", "201", "2"), "2 users cannot make 201 claims, because a user gets a coupon at most 100 times"),
    ];
    for (arguments, sentence) in cases {
        let output = size(&arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{arguments:?}");
        assert_eq!(text(&output.stderr), format!("couponrush: {sentence}\n"));
    }
    // The parser of arguments refuses texts that are no numbers.
    for number in ["-1", "1.5", "many", ""] {
        let output = size(&["--attempts-per-second", number, "--claims", "1", "--users", "1"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{number}: {error}");
        assert!(error.contains("--attempts-per-second"), "{number}: {error}");
    }
}

#[test]
fn a_file_of_costs_is_used_or_refused_by_a_sentence() {
    let sale = ["--attempts-per-second", "50000", "--claims", "1000", "--users", "1000", "--costs"];
    let with = |path: &str| size(&[&sale[..], &[path]].concat());
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks/cost.json");
    let built_in = size(&sale[..6]);
    assert_eq!(text(&with(published).stdout), text(&built_in.stdout));

    let folder = std::env::temp_dir().join(format!("couponrush-costs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let path = folder.join("cost.json");
    let mut file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(published).expect("the file is there")).expect("it is JSON");
    file["constants"]["redis_call_us"] = 1.0.into();
    std::fs::write(&path, file.to_string()).expect("the folder is writable");
    let other = with(path.to_str().expect("the path is UTF-8"));
    assert_eq!(other.status.code(), Some(0));
    assert_ne!(text(&other.stdout), text(&built_in.stdout), "cheaper calls need another plan");

    std::fs::write(&path, "{}").expect("the folder is writable");
    for (path, sentence) in [
        (path.clone(), "is no file of costs, as scripts/cost writes it: missing field `constants`"),
        (folder.join("none.json"), "could not be read: No such file or directory"),
    ] {
        let output = with(path.to_str().expect("the path is UTF-8"));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("couponrush: ") && error.contains(sentence) && error.lines().count() == 1, "{error}");
    }
    std::fs::remove_dir_all(folder).expect("the folder is there");
}
