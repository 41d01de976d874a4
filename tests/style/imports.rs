//! Resolves every path in the source to the file that defines the item, and builds the graph of files.
//!
//! An edge leads from a file to another file that defines a named item. `mod` lines, `pub use` and test code make no
//! edge. A method call names no path, and makes no edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// The name of the library, as used by the binary.
const LIBRARY: &str = "couponrush";
/// Maximum length of a chain of aliases. A longer chain is a mistake in this resolver.
const ALIASES_MAX: usize = 16;
/// The name under which `use module::*` is kept among the imported names of a module. A module has at most one.
const GLOB: &str = "*";

type ModulePath = Vec<String>;

/// The graph of all files of the crate.
pub struct ImportGraph {
    /// Every file below `src`, with the files that define its named items.
    pub edges: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Every type name, with the files that define a type of the name.
    pub types: BTreeMap<String, Vec<PathBuf>>,
    /// Paths into the crate that lead to no item. Empty unless the resolver misses a form of Rust.
    pub unresolved: BTreeSet<String>,
}

/// A module, in a file of its own or inside another file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Whether `include!` brings items that the source does not show.
    includes_items: bool,
    /// Imported names with their paths, relative to this module.
    aliases: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Modules {
    modules: BTreeMap<ModulePath, Module>,
    types: BTreeMap<String, Vec<PathBuf>>,
}

/// The target of a path.
enum Target {
    Item(PathBuf),
    /// A module. Only named items inside the module make edges.
    Module,
    /// Another crate, or a local name.
    Outside,
    Unresolved,
}

impl ImportGraph {
    /// Builds the graph from `sources`: paths relative to the project (`src/redis/link.rs`), with their text.
    pub fn read(sources: &BTreeMap<PathBuf, String>) -> Self {
        let parsed: Vec<(PathBuf, ModulePath, syn::File)> = sources
            .iter()
            .map(|(path, text)| {
                let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                (path.clone(), module_path(path), file)
            })
            .collect();
        let mut modules = Modules::default();
        for (path, module, file) in &parsed {
            modules.declare(path, module, &file.items);
        }
        let mut graph = Self { edges: BTreeMap::new(), types: modules.types.clone(), unresolved: BTreeSet::new() };
        for (path, module, file) in &parsed {
            let mut named = NamedPaths { modules: &modules, module: module.clone(), file: path, graph: &mut graph };
            named.visit_file(file);
        }
        for path in sources.keys() {
            graph.edges.entry(path.clone()).or_default();
        }
        graph
    }

    /// The distinct pairs of top modules with an edge between their files.
    pub fn module_edges(&self) -> BTreeSet<(String, String)> {
        let pairs = self.edges.iter().flat_map(|(from, to)| to.iter().map(|to| (top_module(from), top_module(to))));
        pairs.filter(|(from, to)| from != to).collect()
    }

    /// Groups of files that import each other in a cycle, largest group first. Empty without cycles.
    pub fn cycles(&self) -> Vec<BTreeSet<&Path>> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> =
            self.edges.keys().map(|file| (&**file, self.reach(file))).collect();
        let mut groups: BTreeSet<BTreeSet<&Path>> = BTreeSet::new();
        for (file, targets) in &reached {
            let group: BTreeSet<&Path> =
                targets.iter().copied().filter(|other| reached[other].contains(file)).collect();
            if !group.is_empty() {
                groups.insert(group);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        groups
    }

    fn reach(&self, from: &Path) -> BTreeSet<&Path> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&Path> = vec![from];
        while let Some(file) = open.pop() {
            for next in self.edges.get(file).into_iter().flatten() {
                if reached.insert(&**next) {
                    open.push(next);
                }
            }
        }
        reached
    }
}

/// The top module of a file: `redis` for `src/redis/link.rs`, `config` for `src/config/mod.rs`.
pub fn top_module(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("a file below src");
    let first = below.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The module path of a file: `["redis", "link"]` for `src/redis/link.rs`, `["redis"]` for `src/redis/mod.rs`, empty
/// for `src/lib.rs`.
fn module_path(path: &Path) -> ModulePath {
    let below = path.strip_prefix("src").expect("a file below src").with_extension("");
    let mut parts: ModulePath = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"));
        is_cfg_test || attribute.path().is_ident("test")
    })
}

impl Modules {
    fn declare(&mut self, file: &Path, path: &ModulePath, items: &[Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => {
                    module.children.insert(inner.ident.to_string());
                    if let Some((_, items)) = &inner.content {
                        let path = [path.clone(), vec![inner.ident.to_string()]].concat();
                        self.declare(file, &path, items);
                    }
                }
                Item::Use(import) if !is_test(&import.attrs) => {
                    collect_aliases(&import.tree, &mut Vec::new(), &mut module.aliases);
                }
                Item::Macro(invocation) if invocation.ident.is_none() => {
                    module.includes_items |= invocation.mac.path.is_ident("include");
                    names_in_macro(invocation.mac.tokens.clone(), &mut module.items);
                }
                _ => {
                    let Some((name, is_type)) = defined_name(item) else { continue };
                    if is_type {
                        self.types.entry(name.clone()).or_default().push(file.to_owned());
                    }
                    module.items.insert(name);
                }
            }
        }
        self.modules.insert(path.clone(), module);
    }

    fn resolve(&self, from: &ModulePath, segments: &[String], depth: usize) -> Target {
        let Some(module) = self.modules.get(from) else { return Target::Unresolved };
        let (Some(first), true) = (segments.first(), depth < ALIASES_MAX) else { return Target::Module };
        match first.as_str() {
            "crate" => self.resolve_inside(&Vec::new(), &segments[1..], depth),
            LIBRARY => self.resolve_inside(&Vec::new(), &segments[1..], depth),
            "self" => self.resolve_inside(from, &segments[1..], depth),
            "super" => self.resolve_inside(&from[..from.len().saturating_sub(1)].to_vec(), &segments[1..], depth),
            name if module.children.contains(name) && (segments.len() > 1 || !module.items.contains(name)) => {
                self.resolve_inside(from, segments, depth)
            }
            name if module.items.contains(name) => Target::Item(module.file.clone()),
            name => match module.aliases.get(name) {
                Some(path) if path.first() != Some(first) || path.len() > 1 => {
                    self.resolve(from, &[path, &segments[1..]].concat(), depth + 1)
                }
                _ => Target::Outside,
            },
        }
    }

    /// Follows `segments` inside the module `at`.
    fn resolve_inside(&self, at: &ModulePath, segments: &[String], depth: usize) -> Target {
        let Some(module) = self.modules.get(at) else { return Target::Unresolved };
        let Some(first) = segments.first() else { return Target::Module };
        if first == "super" {
            return self.resolve_inside(&at[..at.len().saturating_sub(1)].to_vec(), &segments[1..], depth);
        }
        let is_last = segments.len() == 1;
        if module.children.contains(first) && !(is_last && module.items.contains(first)) {
            return self.resolve_inside(&[at.clone(), vec![first.clone()]].concat(), &segments[1..], depth);
        }
        if module.items.contains(handler_of(first)) {
            return Target::Item(module.file.clone());
        }
        match module.aliases.get(first) {
            Some(path) if depth < ALIASES_MAX => self.resolve(at, &[path, &segments[1..]].concat(), depth + 1),
            None if module.includes_items => Target::Item(module.file.clone()),
            _ => match module.aliases.get(GLOB) {
                Some(path) if depth < ALIASES_MAX => self.resolve(at, &[path, segments].concat(), depth + 1),
                _ => Target::Unresolved,
            },
        }
    }
}

/// The name defined by an item, and whether the item is a type.
fn defined_name(item: &Item) -> Option<(String, bool)> {
    let (name, is_type, attributes) = match item {
        Item::Struct(item) => (&item.ident, true, &item.attrs),
        Item::Enum(item) => (&item.ident, true, &item.attrs),
        Item::Trait(item) => (&item.ident, true, &item.attrs),
        Item::Type(item) => (&item.ident, true, &item.attrs),
        Item::Union(item) => (&item.ident, true, &item.attrs),
        Item::Fn(item) => (&item.sig.ident, false, &item.attrs),
        Item::Const(item) => (&item.ident, false, &item.attrs),
        Item::Static(item) => (&item.ident, false, &item.attrs),
        Item::Macro(item) => return item.ident.as_ref().map(|name| (name.to_string(), false)),
        _ => return None,
    };
    (!is_test(attributes)).then(|| (name.to_string(), is_type))
}

/// The name of the function behind a name made by `#[utoipa::path]`. The macro puts `__path_f` beside the handler `f`.
fn handler_of(name: &str) -> &str {
    name.strip_prefix("__path_").unwrap_or(name)
}

/// Collects the names in a macro invocation between items, for example `diesel::table!`. The macro may define any of
/// the names.
fn names_in_macro(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => drop(names.insert(name.to_string())),
            TokenTree::Group(group) => names_in_macro(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn collect_aliases(tree: &UseTree, prefix: &mut Vec<String>, aliases: &mut BTreeMap<String, Vec<String>>) {
    for_each_leaf(tree, prefix, &mut |name, path| {
        aliases.insert(name, path);
    });
}

/// Calls `leaf` with each imported name and its path.
fn for_each_leaf(tree: &UseTree, prefix: &mut Vec<String>, leaf: &mut impl FnMut(String, Vec<String>)) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            for_each_leaf(&path.tree, prefix, leaf);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaf(prefix.last().cloned().unwrap_or_default(), prefix.clone());
        }
        UseTree::Name(name) => leaf(name.ident.to_string(), [&**prefix, &[name.ident.to_string()]].concat()),
        UseTree::Rename(rename) => {
            let is_self = rename.ident == "self";
            let path = if is_self { prefix.clone() } else { [&**prefix, &[rename.ident.to_string()]].concat() };
            leaf(rename.rename.to_string(), path);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| for_each_leaf(tree, prefix, leaf)),
        UseTree::Glob(_) => leaf(GLOB.to_owned(), prefix.clone()),
    }
}

/// Walks a file, and notes each path to an item of another file.
struct NamedPaths<'a> {
    modules: &'a Modules,
    module: ModulePath,
    file: &'a Path,
    graph: &'a mut ImportGraph,
}

impl NamedPaths<'_> {
    fn note(&mut self, segments: &[String]) {
        match self.modules.resolve(&self.module, segments, 0) {
            Target::Item(file) if file != self.file => {
                self.graph.edges.entry(self.file.to_owned()).or_default().insert(file);
            }
            Target::Unresolved => {
                self.graph.unresolved.insert(format!("{}: {}", self.file.display(), segments.join("::")));
            }
            Target::Item(_) | Target::Module | Target::Outside => {}
        }
    }

    /// Notes paths of at least two names inside a macro's arguments, because `syn` does not parse the arguments.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut follows_dot) = (0, false);
        for token in tokens {
            match &token {
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.note_path(&mut path);
                    if !follows_dot {
                        path.push(name.to_string());
                    }
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.note_path(&mut path);
                    self.note_tokens(group.stream());
                }
                _ => self.note_path(&mut path),
            }
            colons = 0;
            follows_dot = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '.');
        }
        self.note_path(&mut path);
    }

    fn note_path(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.note(path);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for NamedPaths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, inner: &'ast syn::ItemMod) {
        if inner.content.is_some() {
            self.module.push(inner.ident.to_string());
            visit::visit_item_mod(self, inner);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        if matches!(import.vis, Visibility::Inherited) {
            let mut paths = Vec::new();
            for_each_leaf(&import.tree, &mut Vec::new(), &mut |_, path| paths.push(path));
            paths.iter().for_each(|path| self.note(path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 && path.leading_colon.is_none() {
            self.note(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.visit_path(&invocation.path);
        self.note_tokens(invocation.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}
