//! Checks the layout of `src`: import directions, owners of stores, cycles between files, duplicate type names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::files;
use super::imports::{ImportGraph, top_module};
use super::rust_lines::code;

/// Each module with its allowed imports. A module may import only modules listed above. `main` and `lib` are not
/// modules.
const IMPORTS: [(&str, &[&str]); 16] = [
    ("base", &[]),
    ("domain", &[]),
    ("config", &["domain"]),
    ("auth", &["domain"]),
    ("mysql", &["base", "domain"]),
    ("redis", &["base", "domain"]),
    ("etcd", &["base"]),
    ("memory", &["base", "domain", "auth", "mysql"]),
    ("admission", &["domain", "memory"]),
    ("claim", &["base", "domain", "mysql", "redis", "memory"]),
    ("sales", &["base", "domain", "mysql", "redis", "etcd", "memory", "claim"]),
    ("recovery", &["base", "domain", "mysql", "redis", "claim"]),
    ("ops", &["base", "domain", "mysql", "redis", "memory", "claim", "sales"]),
    ("http", &["base", "domain", "auth", "mysql", "redis", "memory", "admission", "claim", "sales", "ops"]),
    (
        "app",
        &[
            "base",
            "domain",
            "config",
            "auth",
            "mysql",
            "redis",
            "etcd",
            "memory",
            "admission",
            "claim",
            "sales",
            "recovery",
            "ops",
            "http",
        ],
    ),
    ("cli", &["base", "domain", "config", "auth", "mysql", "redis", "ops", "app"]),
];
/// Maximum number of edges. An edge is a distinct pair of modules, an importing and an imported module.
const MODULE_EDGES_MAX: usize = 70;

/// Libraries for a store or for HTTP, with the only modules that may name them.
const OWNERS: [(&[&str], &[&str]); 5] = [
    (&["redis", "deadpool_redis"], &["redis"]),
    (&["diesel", "diesel_async", "diesel_migrations", "mysql_async"], &["mysql"]),
    (&["etcd_client"], &["etcd"]),
    (&["actix_web"], &["http", "app"]),
    (&["jsonwebtoken"], &["auth"]),
];

fn graph() -> ImportGraph {
    ImportGraph::read(&files("src", ".rs"))
}

#[test]
fn imports_point_one_way() {
    let above: Vec<&str> = IMPORTS.iter().map(|(module, _)| *module).collect();
    for (place, (module, imports)) in IMPORTS.iter().enumerate() {
        let below = imports.iter().find(|import| !above[..place].contains(import));
        assert_eq!(below, None, "the table lists {module} above one of its imports");
    }
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.into_iter().collect();
    let graph = graph();
    let mut wrong = Vec::new();
    for (from, targets) in &graph.edges {
        let module = top_module(from);
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = allowed.get(&*module).unwrap_or_else(|| panic!("{module} is not in the table of imports"));
        for target in targets {
            let imported = top_module(target);
            if imported != module && imported != "lib" && !allowed.contains(&&*imported) {
                wrong.push(format!("{} imports {}", from.display(), target.display()));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
    assert_eq!(graph.unresolved, BTreeSet::new(), "paths into the crate that lead to no item");
}

#[test]
fn modules_import_few_others() {
    let graph = graph();
    let is_module = |name: &String| !["lib", "main"].contains(&&**name);
    let modules: BTreeSet<String> = graph.edges.keys().map(|path| top_module(path)).filter(is_module).collect();
    let edges = graph.module_edges().into_iter().filter(|(from, to)| is_module(from) && is_module(to));
    let edges: BTreeSet<(String, String)> = edges.collect();
    println!("{} modules, {} edges between modules", modules.len(), edges.len());
    assert_eq!(modules.len(), IMPORTS.len(), "the modules differ from the table of imports");
    assert!(edges.len() <= MODULE_EDGES_MAX, "{} edges: {edges:?}", edges.len());
    let unused = |(module, imports): &(&str, &[&str])| {
        let unused = imports.iter().filter(|import| !edges.contains(&((*module).to_owned(), (**import).to_owned())));
        unused.map(|import| format!("{module} imports nothing of {import}")).collect::<Vec<_>>()
    };
    assert_eq!(IMPORTS.iter().flat_map(unused).collect::<Vec<_>>(), [] as [String; 0]);
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    assert_eq!(graph().cycles(), [] as [BTreeSet<&Path>; 0]);
}

#[test]
fn no_type_name_stands_twice() {
    let twice: Vec<_> = graph().types.into_iter().filter(|(_, files)| files.len() > 1).collect();
    assert_eq!(twice, []);
}

#[test]
fn each_library_has_its_owner() {
    let mut wrong = Vec::new();
    for (path, text) in files("src", ".rs") {
        let (code, module) = (code(&text), top_module(&path));
        for (libraries, owners) in OWNERS {
            let named = libraries.iter().find(|library| names_crate(&code, library));
            if let (Some(library), false) = (named, owners.contains(&&*module)) {
                wrong.push(format!("{} names {library}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

/// Whether a path in `code` begins with the crate `name`. The path `crate::redis::Link` does not begin with the crate
/// `redis`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].trim_end_matches("::");
        let is_root = before.len() == at || at - before.len() > 2;
        is_root && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn a_crate_is_told_from_a_module_of_the_same_name() {
    assert!(names_crate("use redis::Client;", "redis"));
    assert!(names_crate("fn f() -> redis::Value {}", "redis"));
    assert!(!names_crate("use crate::redis::Link;", "redis"));
    assert!(!names_crate("use deadpool_redis::Pool;", "redis"));
}
