//! Rules of the house that no compiler knows: which room may name which, where a library is at home, how long a file may
//! be. Each rule is a function of a path and a text, so that a sample can show it fail. Reads sources, changes nothing.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of `host/src` and the rooms that each may name. `lib.rs`, `main.rs`, `open.rs` and `bench/` may name everything
/// but a door.
const ARROWS: &[(&str, &[&str])] = &[
    ("entry", &["contract"]),
    ("guarded", &[]),
    ("times", &[]),
    ("system", &["contract"]),
    // The records of the contract that are resources are the component's types.
    ("contract", &["component"]),
    ("index", &["contract", "entry"]),
    ("embedder", &["contract", "guarded"]),
    ("models", &["contract", "embedder"]),
    // What the writer hands over is the writer's type.
    ("store", &["contract", "entry", "guarded", "writer"]),
    ("writer", &["contract", "entry", "store"]),
    ("serving", &["embedder"]),
    ("room", &["contract", "embedder", "entry", "index", "serving", "store", "writer"]),
    ("component", &["contract", "embedder", "entry", "index", "room", "serving", "store", "system", "writer"]),
    ("reembed", &["component", "contract", "embedder", "store"]),
    // Of the store what the administrative verbs answer.
    ("engine", &["component", "contract", "embedder", "entry", "index", "reembed", "store"]),
    ("wire", &["contract", "times"]),
    ("config", &["contract", "open"]),
    ("transfer", &["contract", "engine", "times"]),
    // Of the component only what `cairn component` hands out.
    (
        "cli",
        &[
            "bench",
            "component",
            "config",
            "contract",
            "engine",
            "models",
            "open",
            "reembed",
            "times",
            "transfer",
            "wire",
        ],
    ),
];

/// Doors: nothing but `lib.rs` and `main.rs` names them.
const DOORS: &[&str] = &["cli"];

/// Libraries and the files of `host/src`, or folders with a slash at their end, where each is at home.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmtime", &["component/", "contract.rs"]),
    // In `store/mod.rs` the word is the module's name.
    ("redb", &["store/redb/", "store/mod.rs"]),
    ("tract_onnx", &["embedder/tract.rs", "embedder/packed/"]),
    ("tokenizers", &["embedder/tokens.rs"]),
    ("hnsw_rs", &["index/graph.rs"]),
    ("memmap2", &["index/parts.rs", "embedder/packed/"]),
    ("zerocopy", &["index/parts.rs", "embedder/packed/"]),
    ("crc32fast", &["index/parts.rs", "embedder/packed/"]),
    ("rust_stemmers", &["index/analyzer.rs"]),
    ("unicode_normalization", &["index/analyzer.rs"]),
    ("getrandom", &["system.rs"]),
    ("toml", &["config.rs"]),
    ("ureq", &["models/download.rs"]),
    ("clap", &["cli/", "config.rs", "bench/"]),
    ("indicatif", &["cli/"]),
    (
        "serde_json",
        &[
            "wire.rs",
            "wire/",
            "transfer/",
            "bench/",
            "cli/output.rs",
            "cli/metadata.rs",
            "cli/failure.rs",
            "cli/queries.rs",
            "embedder/manifest.rs",
            "embedder/model.rs",
            "embedder/packed/tests.rs",
        ],
    ),
    // The memory logic is known by its component alone.
    ("guest", &[]),
];

/// Lines that a file may have before its unit tests.
const LINES: usize = 600;

/// Files above the limit, which hold two nouns, and the lines that each may have until it is divided.
const LONG: &[(&str, usize)] = &[
    ("guest/src/filter.rs", 640),
    ("host/src/embedder/packed/recognise.rs", 640),
    ("host/src/index/tests.rs", 700),
    ("host/src/transfer/line.rs", 750),
];

/// A source file, by its path from the repository's root.
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below a folder whose name ends in one of these, in order.
fn sources(folder: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = vec![];
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// All Rust sources.
fn rust() -> Vec<Source> {
    ["guest", "host", "tests"].iter().flat_map(|folder| sources(folder, &[".rs"])).collect()
}

/// Applies a rule to every source and shows all that breaks it.
#[track_caller]
fn hold(sources: &[Source], rule: impl Fn(&str, &str) -> Vec<String>) {
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|source| rule(&source.path, &source.text).into_iter().map(|what| format!("{}: {what}", source.path)))
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// The text without comments. A string with two slashes ends there, too.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// A name at the beginning of the text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The modules that `crate::…` names, also in braces.
fn named(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut names = BTreeSet::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(word(rest).to_owned());
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (place, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && !c.is_whitespace() => {
                    names.insert(word(&group[place..]).to_owned());
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// The path within `host/src`, if it is there.
fn in_host(path: &str) -> Option<&str> {
    path.strip_prefix("host/src/")
}

fn room(path: &str) -> Option<&str> {
    in_host(path).map(|path| path.split('/').next().unwrap_or(path).trim_end_matches(".rs"))
}

/// A room that names one that it may not.
fn wrong_arrows(path: &str, text: &str) -> Vec<String> {
    let Some(room) = room(path) else { return vec![] };
    if matches!(room, "lib" | "main") {
        return vec![];
    }
    let all: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).chain(["bench", "open"]).collect();
    let may = |to: &str| match ARROWS.iter().find(|(from, _)| *from == room) {
        Some((_, to_rooms)) => to_rooms.contains(&to),
        None => !DOORS.contains(&to),
    };
    if !all.contains(&room) {
        return vec![format!("{room} is a new room: say in `tests/tidy.rs` what it may name")];
    }
    let names = named(text);
    let wrong = names.iter().filter(|to| all.contains(&to.as_str()) && *to != room && !may(to));
    wrong.map(|to| format!("names {to}, which {room} does not know")).collect()
}

/// A library that is named outside its home.
fn strangers(path: &str, text: &str) -> Vec<String> {
    let Some(path) = in_host(path) else { return vec![] };
    let code = code(text);
    let at_home =
        |homes: &[&str]| homes.iter().any(|home| path == *home || (home.ends_with('/') && path.starts_with(home)));
    let homeless = HOMES.iter().filter(|(_, homes)| !at_home(homes));
    let seen = homeless.filter(|(library, _)| {
        code.match_indices(library).any(|(place, _)| {
            let (before, after) = (&code[..place], &code[place + library.len()..]);
            // A path that goes on, and not one that came here: `super::redb::…` is a module.
            let begins = !before.ends_with("::") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            begins && (after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' '])))
        })
    });
    seen.map(|(library, _)| format!("names {library}, which is at home elsewhere")).collect()
}

/// A file that is too long.
fn too_long(path: &str, text: &str) -> Vec<String> {
    let most = LONG.iter().find(|(long, _)| *long == path).map_or(LINES, |(_, most)| *most);
    // A file that only declares its tests has them elsewhere, wherever that line stands.
    let tests = text.match_indices("\n#[cfg(test)]\n").map(|(place, _)| place);
    let inside = |place: &usize| text[*place..].lines().nth(2).is_some_and(|line| line.ends_with("mod tests {"));
    let lines = text[..tests.into_iter().find(inside).unwrap_or(text.len())].lines().count();
    if lines > most { vec![format!("has {lines} lines, at most {most} are for one noun")] } else { vec![] }
}

/// A file that does not say what it is for. One that others include cannot say it with `//!`.
fn speechless(_: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") || text.starts_with("// ") {
        return vec![];
    }
    vec!["does not begin with what it is for: `//! …`".to_owned()]
}

/// Work that is left open, and lints that are silenced. The marks are written in two pieces, as this file is read, too.
fn left_open(_: &str, text: &str) -> Vec<String> {
    let marks = [concat!("to", "do!"), concat!("d", "bg!("), concat!("un", "implemented!"), concat!("#[ig", "nore")];
    let mut found: Vec<String> =
        marks.iter().filter(|mark| text.contains(*mark)).map(|mark| format!("has a {mark}")).collect();
    let silenced = |line: &&str| line.contains(concat!("[al", "low(")) && !line.contains("reason = \"generated\"");
    found.extend(text.lines().filter(silenced).map(|line| format!("`expect` with a reason, not {}", line.trim())));
    found
}

/// Paths that exist on one machine only.
fn homesick(_: &str, text: &str) -> Vec<String> {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp", "/h-")];
    places
        .iter()
        .filter(|place| text.contains(*place))
        .map(|place| format!("names {place}, a place of one machine"))
        .collect()
}

/// The files that the `mod` lines and the inclusions of a file lead to, each as the names that it may have.
fn modules(path: &str, text: &str, is_root: bool) -> Vec<[String; 2]> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let below = if is_root || name == "mod.rs" { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() };
    let mut found = vec![];
    for line in code(text).lines() {
        let line = line.trim();
        if let Some((name, _)) = line.strip_prefix("include!(\"").and_then(|rest| rest.split_once('"')) {
            found.push([format!("{folder}/{name}"), String::new()]);
        }
        let declared = line.strip_suffix(';').and_then(|line| match line.rsplit_once("mod ") {
            Some((before, name)) if before.is_empty() || before.starts_with("pub") => Some(name),
            _ => None,
        });
        if let Some(name) = declared.filter(|name| *name == word(name)) {
            found.push([format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")]);
        }
    }
    found
}

/// Files that no `mod` line leads to from the roots.
fn orphans(sources: &[Source], roots: &[String]) -> Vec<String> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = open.pop() {
        let Some(source) = sources.iter().find(|source| source.path == path) else { continue };
        if reached.insert(path.clone()) {
            open.extend(modules(&path, &source.text, is_root).into_iter().flatten().map(|path| (path, false)));
        }
    }
    sources.iter().map(|source| source.path.clone()).filter(|path| !reached.contains(path)).collect()
}

#[test]
fn rooms_name_only_the_rooms_below_them() {
    hold(&rust(), wrong_arrows);
}

#[test]
fn libraries_stay_at_home() {
    hold(&rust(), strangers);
}

#[test]
fn files_are_of_one_noun() {
    hold(&rust(), too_long);
}

#[test]
fn files_say_what_they_are_for() {
    hold(&rust(), speechless);
}

#[test]
fn nothing_is_left_open() {
    hold(&rust(), left_open);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let endings = [".rs", ".md", ".toml", ".wit", ".py", ".yml", "justfile", "run"];
    hold(&sources(".", &endings), homesick);
}

#[test]
fn every_file_belongs_to_a_target() {
    let mut roots: Vec<String> =
        ["guest/src/lib.rs", "guest/build.rs", "host/src/lib.rs", "host/src/main.rs", "host/build.rs"]
            .map(str::to_owned)
            .to_vec();
    let manifest = fs::read_to_string(root().join("host/Cargo.toml")).unwrap();
    let targets =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"../")).map(|path| path.trim_end_matches('"'));
    roots.extend(targets.map(str::to_owned));
    assert_eq!(orphans(&rust(), &roots), [""; 0]);
}

#[test]
fn each_rule_can_be_broken() {
    let arrow = |path: &str, text: &str| wrong_arrows(path, text).len();
    assert_eq!(arrow("host/src/store/redb/mod.rs", "use crate::index::Index;"), 1);
    assert_eq!(arrow("host/src/index/mod.rs", "use crate::{contract::index, store::{Store, entry}, entry::Seq};"), 1);
    assert_eq!(arrow("host/src/cli/add.rs", "fn f() { crate::embedder::resolve() }"), 1);
    assert_eq!(arrow("host/src/bench/mod.rs", "use crate::cli::Session;"), 1);
    assert_eq!(arrow("host/src/cellar.rs", ""), 1);
    assert_eq!(arrow("host/src/store/mod.rs", "// crate::index\nuse crate::entry::Seq;\nuse crate::store::lock;"), 0);

    let stranger = |path: &str, text: &str| strangers(path, text).len();
    assert_eq!(stranger("host/src/writer.rs", "use redb::Database;"), 1);
    assert_eq!(stranger("host/src/engine.rs", "let x = wasmtime::Engine::default();"), 1);
    assert_eq!(stranger("host/src/cli/add.rs", "use serde_json;"), 1);
    assert_eq!(stranger("host/src/room.rs", "use guest::add;"), 1);
    assert_eq!(stranger("host/src/store/draft.rs", "use super::redb::Writing; // not redb::Writing"), 0);

    let long = |lines: usize, end: &str| too_long("host/src/x.rs", &("x\n".repeat(lines) + end)).len();
    assert_eq!((long(600, ""), long(601, "")), (0, 1));
    assert_eq!(long(600, &format!("#[cfg(test)]\nmod tests {{\n{}", "x\n".repeat(100))), 0);

    assert_eq!(speechless("", "use std::io;").len(), 1);
    assert_eq!(left_open("", concat!("fn f() { to", "do!() }")).len(), 1);
    assert_eq!(left_open("", concat!("#[al", "low(dead_code)]")).len(), 1);
    assert_eq!(homesick("", concat!("see /ro", "ot/notes")).len(), 1);

    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let files = [
        source("a/lib.rs", "mod b;\npub mod c;\n// mod d;"),
        source("a/b.rs", "pub(crate) mod e;"),
        source("a/b/e.rs", ""),
        source("a/c/mod.rs", ""),
        source("a/d.rs", ""),
    ];
    assert_eq!(orphans(&files, &["a/lib.rs".to_owned()]), ["a/d.rs"]);
}
