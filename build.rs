//! Puts the files of `static/` into the program: plain, and compressed by gzip and brotli.
//!
//! One hash of the whole folder names a version of the pages. Assets are served below `/assets/<hash>/`. So browsers may cache
//! assets for ever, and the relative imports of modules work unchanged. Pages keep their addresses. The build makes two changes
//! to a page: `"./` at the start of an attribute becomes `"/assets/<hash>/`, and [`PRELOADS`] becomes a list of modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

/// Changes that make modules of libraries: the file, the old text, the new text. Each old text occurs once.
const CHANGES: [(&str, &str, &str); 2] = [
    ("vendor/preact-hooks.js", r#"from"preact""#, r#"from"./preact.js""#),
    ("vendor/uplot.js", "var uPlot=", "var uPlot;export{uPlot as default};uPlot="),
];
/// The place in a page for `modulepreload` links. With the links, a browser fetches all modules at once.
const PRELOADS: &str = "<!-- modulepreload -->";
/// Hex digits of the hash in an address.
const HASH_DIGITS: usize = 16;

/// The content of files by path below `static/`.
type Files = BTreeMap<String, Vec<u8>>;

fn main() {
    println!("cargo::rerun-if-changed=static");
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("static");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let mut files = Files::new();
    read_folder(&root, "", &mut files);
    change_libraries(&mut files);
    let hash = hash(&files);
    let (pages, assets): (Files, Files) = files.into_iter().partition(|(path, _)| path.ends_with(".html"));

    let mut code = format!("/// The version of the pages.\npub const HASH: &str = {hash:?};\n");
    code.push_str("pub static ASSETS: &[Asset] = &[\n");
    for (path, bytes) in &assets {
        write_asset(&mut code, &out, &format!("/assets/{hash}/{path}"), path, bytes);
    }
    code.push_str("];\npub static PAGES: &[Asset] = &[\n");
    for (path, bytes) in pages {
        let page = String::from_utf8(bytes).expect("pages are UTF-8");
        let page = page.replace(PRELOADS, &preloads(&page, &assets)).replace("\"./", &format!("\"/assets/{hash}/"));
        let name = path.strip_suffix(".html").filter(|name| *name != "index").unwrap_or_default();
        write_asset(&mut code, &out, &format!("/{name}"), &path, page.as_bytes());
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code).expect("cargo made the folder");
}

/// Reads the files below `folder` that have a media type.
fn read_folder(root: &Path, folder: &str, files: &mut Files) {
    for entry in fs::read_dir(root.join(folder)).expect("static can be read") {
        let entry = entry.expect("static can be read");
        let path = format!("{folder}{}", entry.file_name().to_str().expect("file names are UTF-8"));
        if entry.path().is_dir() {
            read_folder(root, &format!("{path}/"), files);
        } else if media_type(&path).is_some() {
            files.insert(path, fs::read(entry.path()).expect("static can be read"));
        }
    }
}

/// The value of `Content-Type`. A file without one is not served.
fn media_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

fn change_libraries(files: &mut Files) {
    for (path, old, new) in CHANGES {
        let bytes = files.get_mut(path).unwrap_or_else(|| panic!("static has no {path}"));
        let text = std::str::from_utf8(bytes).expect("modules are UTF-8");
        assert_eq!(text.matches(old).count(), 1, "{path} has {old} once");
        *bytes = text.replace(old, new).into_bytes();
    }
}

/// Covers the source of this program too, because a page depends on both.
fn hash(files: &Files) -> String {
    let mut hasher = Sha256::new_with_prefix(include_str!("build.rs"));
    for (path, bytes) in files {
        hasher.update(format!("{path} {}\n", bytes.len()));
        hasher.update(bytes);
    }
    hasher.finalize().iter().take(HASH_DIGITS / 2).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Links to all modules that a page's scripts import, directly or through further modules. Dynamic imports,
/// `import("./x.js")`, do not count.
fn preloads(page: &str, assets: &Files) -> String {
    let mut modules = BTreeSet::new();
    for script in quoted_after(page, "src=") {
        add_module("index.html", script, assets, &mut modules);
    }
    let links: Vec<String> =
        modules.iter().map(|path| format!("<link rel=\"modulepreload\" href=\"./{path}\">")).collect();
    links.join("\n")
}

fn add_module(importer: &str, name: &str, assets: &Files, modules: &mut BTreeSet<String>) {
    let mut parts: Vec<&str> = importer.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let bytes = assets.get(&path).unwrap_or_else(|| panic!("{importer} imports {name}, which is missing"));
    if modules.insert(path.clone()) {
        let text = std::str::from_utf8(bytes).expect("modules are UTF-8");
        for name in quoted_after(text, "from").filter(|name| name.starts_with('.')) {
            add_module(&path, name, assets, modules);
        }
    }
}

/// The texts in double quotes that follow `word`.
fn quoted_after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(word).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

/// Writes the three forms of a file, and the line of code that includes them.
fn write_asset(code: &mut String, out: &Path, url: &str, path: &str, bytes: &[u8]) {
    let file = |form: &str, bytes: &[u8]| {
        let file = out.join(format!("{}.{form}", path.replace('/', "-")));
        fs::write(&file, bytes).expect("cargo made the folder");
        format!("include_bytes!({:?})", file.to_str().expect("cargo's folders are UTF-8"))
    };
    writeln!(
        code,
        "    Asset {{ url: {url:?}, media_type: {:?}, identity: {}, gzip: {}, brotli: {} }},",
        media_type(path).expect("only such files are read"),
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
