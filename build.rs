//! Puts the web pages of `static/` into the program: each asset under a name that holds the hash of its content, each with
//! the smaller forms that browsers take, made here and never again.
//!
//! A name must change when anything that it leads to changes, so imports are replaced by hashed names before a module is
//! hashed itself; an import that leads nowhere, or round in a circle, ends the build. A page says beforehand which modules
//! it will need (`modulepreload`), so that the browser asks for all of them at once. There is no other build step: what is
//! sent is what is in `static/`, but for these names, imported style sheets in the place of their imports, and comments on
//! source maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

/// What libraries import by name, and where it is.
const BY_NAME: [(&str, &str); 1] = [("preact", "vendor/preact.js")];
/// Libraries that are no modules, and the name that each defines: it becomes what the module has to give.
const SCRIPTS: [(&str, &str); 1] = [("vendor/uplot.js", "uPlot")];
/// Replaced by the page's modules.
const PRELOADS: &str = "<!-- modulepreload -->";
/// Hex digits of a hash in a name.
const HASH_DIGITS: usize = 16;

/// A file of `static/` that browsers ask for by a hashed name.
struct Asset {
    /// Where it is served.
    url: String,
    bytes: Vec<u8>,
    /// The modules that it imports, by their paths in `static/`.
    imports: BTreeSet<String>,
}

/// Everything found so far, by the path in `static/`.
struct Site {
    root: PathBuf,
    assets: BTreeMap<String, Asset>,
}

fn main() {
    println!("cargo::rerun-if-changed=static");
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("static");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let paths = paths_below(&root, &root);
    let mut site = Site { root, assets: BTreeMap::new() };
    for path in paths.iter().filter(|path| media_type(path).is_some_and(|_| !path.ends_with(".html"))) {
        site.add(path, &mut Vec::new());
    }
    let mut code = String::from("pub static ASSETS: &[Asset] = &[\n");
    // By their addresses, so that one can be found by halves.
    let by_url: BTreeMap<&str, (&str, &[u8])> =
        site.assets.iter().map(|(path, asset)| (asset.url.as_str(), (path.as_str(), asset.bytes.as_slice()))).collect();
    for (url, (path, bytes)) in by_url {
        write_asset(&mut code, &out, url, path, bytes);
    }
    code.push_str("];\npub static PAGES: &[Asset] = &[\n");
    for path in paths.iter().filter(|path| path.ends_with(".html")) {
        let page = site.page(path);
        let name = path.strip_suffix(".html").expect("it is a page");
        let url = if name == "index" { "/".to_owned() } else { format!("/{name}") };
        write_asset(&mut code, &out, &url, path, page.as_bytes());
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code).expect("cargo made the folder");
}

/// Every file below `folder`, as a path from `root` with slashes.
fn paths_below(root: &Path, folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("static can be read") {
        let path = entry.expect("static can be read").path();
        if path.is_dir() {
            found.extend(paths_below(root, &path));
        } else {
            found.insert(path.strip_prefix(root).expect("it is below").to_string_lossy().replace('\\', "/"));
        }
    }
    found
}

/// What a file is sent as; `None` for what is not sent.
fn media_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

impl Site {
    /// Adds a file and, before it, what it imports. `above` is what led here.
    fn add(&mut self, path: &str, above: &mut Vec<String>) {
        assert!(!above.iter().any(|other| other == path), "{above:?} import each other in a circle, by {path}");
        if self.assets.contains_key(path) {
            return;
        }
        let bytes = fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{above:?} need {path}: {error}"));
        let (mut bytes, mut imports) = (bytes, BTreeSet::new());
        above.push(path.to_owned());
        if path.ends_with(".js") {
            let text = String::from_utf8(bytes).expect("modules are UTF-8");
            let mut linked = self.link(path, &text, above, &mut imports);
            if let Some((_, name)) = SCRIPTS.iter().find(|(known, _)| *known == path) {
                writeln!(linked, "export default {name};").expect("a string takes everything");
            }
            bytes = linked.into_bytes();
        } else if path.ends_with(".css") {
            let text = String::from_utf8(bytes).expect("style sheets are UTF-8");
            bytes = self.inline(path, &text, above).into_bytes();
        }
        above.pop();
        let digest: String = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes everything");
            hex
        });
        let (stem, ending) = path.rsplit_once('.').expect("it has a media type");
        let url = format!("/assets/{stem}.{}.{ending}", &digest[..HASH_DIGITS]);
        self.assets.insert(path.to_owned(), Asset { url, bytes, imports });
    }

    /// A module with hashed names in its imports.
    fn link(&mut self, path: &str, text: &str, above: &mut Vec<String>, imports: &mut BTreeSet<String>) -> String {
        let text = text.split("//# sourceMappingURL=").next().unwrap_or(text);
        let mut linked = String::with_capacity(text.len());
        // Odd pieces are between double quotes, unless one is escaped; then nothing that looks like an import follows it.
        for (place, piece) in text.split('"').enumerate() {
            if place > 0 {
                linked.push('"');
            }
            let before = linked.trim_end_matches('"').trim_end();
            // What is imported when it is needed, `import("./x.js")`, is not asked for with the page.
            let later = before.ends_with("import(");
            let imported = later || before.ends_with("from") || before.ends_with("import");
            match (imported && linked.ends_with('"')).then(|| target(path, piece)).flatten() {
                Some(target) => {
                    self.add(&target, above);
                    linked.push_str(&self.assets[&target].url);
                    if !later {
                        imports.insert(target);
                    }
                }
                None => linked.push_str(piece),
            }
        }
        linked
    }

    /// A style sheet with what it imports in it, which saves a round trip.
    fn inline(&mut self, path: &str, text: &str, above: &mut Vec<String>) -> String {
        let mut whole = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let imported = line.strip_prefix("@import \"").and_then(|rest| rest.trim_end().strip_suffix("\";"));
            match imported.map(|name| target(path, name).unwrap_or_else(|| panic!("{path} imports {name}"))) {
                Some(target) => {
                    self.add(&target, above);
                    whole.push_str(std::str::from_utf8(&self.assets[&target].bytes).expect("it was text before"));
                }
                None => whole.push_str(line),
            }
        }
        whole
    }

    /// A page with hashed names, and with all that its modules will import.
    fn page(&self, path: &str) -> String {
        let text = fs::read_to_string(self.root.join(path)).expect("pages are UTF-8");
        let mut needed = BTreeSet::new();
        let mut linked = String::with_capacity(text.len());
        for (place, piece) in text.split('"').enumerate() {
            if place > 0 {
                linked.push('"');
            }
            match piece.strip_prefix("./") {
                Some(named) if place % 2 == 1 => {
                    let asset = self.assets.get(named).unwrap_or_else(|| panic!("{path}: there is no {named}"));
                    linked.push_str(&asset.url);
                    self.need(named, &mut needed);
                }
                _ => linked.push_str(piece),
            }
        }
        let preloads: Vec<String> = needed
            .iter()
            .map(|named| format!("<link rel=\"modulepreload\" href=\"{}\">", self.assets[named].url))
            .collect();
        linked.replace(PRELOADS, &preloads.join("\n"))
    }

    /// Notes a module and what it imports.
    fn need(&self, path: &str, needed: &mut BTreeSet<String>) {
        if path.ends_with(".js") && needed.insert(path.to_owned()) {
            for import in &self.assets[path].imports {
                self.need(import, needed);
            }
        }
    }
}

/// The file that `name` means in the module at `path`; `None` where it is no module of ours.
fn target(path: &str, name: &str) -> Option<String> {
    if let Some((_, target)) = BY_NAME.iter().find(|(known, _)| *known == name) {
        return Some((*target).to_owned());
    }
    if !name.starts_with("./") && !name.starts_with("../") {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop().unwrap_or_else(|| panic!("{path} imports {name}, outside of static"))),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Writes an asset's bytes in each form, and the line of code that holds them.
fn write_asset(code: &mut String, out: &Path, url: &str, path: &str, bytes: &[u8]) {
    let file = |form: &str, bytes: &[u8]| {
        let file = out.join(format!("{}.{form}", path.replace('/', "-")));
        fs::write(&file, bytes).expect("cargo made the folder");
        format!("include_bytes!({:?})", file.to_str().expect("cargo's folders are UTF-8"))
    };
    let hash = Sha256::digest(bytes).iter().take(HASH_DIGITS / 2).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    });
    writeln!(
        code,
        "    Asset {{ url: {url:?}, media_type: {:?}, etag: {:?}, identity: {}, gzip: {}, brotli: {} }},",
        media_type(path).expect("only such files are added"),
        format!("W/\"{hash}\""),
        file("identity", bytes),
        file("gzip", &gzip(bytes)),
        file("brotli", &brotli(bytes)),
    )
    .expect("a string takes everything");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let (mut compressed, mut bytes) = (Vec::new(), bytes);
    let best = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut bytes, &mut compressed, &best).expect("memory takes everything");
    compressed
}
