//! `cairn model add` from folders and over the network, and what a model does once it is there.
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::server::Server;
use crate::common::{Home, parse, text};
use crate::tiny::{self, Kind, WIDTH};

/// The vector that the binary makes of a text.
#[track_caller]
pub(super) fn vector(home: &Home, model: &str, purpose: &str, of: &str) -> Vec<f64> {
    let arguments = ["embed", "--jsonl", "--purpose", purpose, "--precision", "f32", "--model", model];
    let line = parse(home.fed(&arguments, of.as_bytes()).done(&arguments).trim());
    let vector: Vec<f64> = line["vector"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert_eq!(vector.len(), WIDTH);
    vector
}

pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn manifest(folder: &Path) -> Value {
    parse(&fs::read_to_string(folder.join("manifest.json")).unwrap())
}

/// Sizes and checksums as `sha256sum` would give them are in the manifest of a model that was brought.
#[track_caller]
fn check_recorded(folder: &Path) {
    use sha2::{Digest, Sha256};
    let manifest = manifest(folder);
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = fs::read(folder.join(text(file, "name"))).unwrap();
        assert_eq!(file["bytes"], json!(bytes.len()));
        assert_eq!(file["sha256"], json!(format!("{:x}", Sha256::digest(&bytes))));
    }
    assert_eq!(manifest["source"]["model"], json!("random"), "what the manifest had is still there");
}

/// Brings a model, uses it by its name, and compares it with the folder that it came from.
#[track_caller]
fn check_added(kind: Kind, over_network: bool) {
    let home = Home::new();
    let source = home.path().join("source");
    tiny::write(&source, "tiny", kind);
    let server = Server::of(&source);
    let from = if over_network { server.address() } else { source.to_str().unwrap() };
    let added = home.json(&["model", "add", "tiny", "--from", from]);
    let folder = home.path().join("models/tiny");
    assert_eq!((text(&added, "name"), text(&added, "place")), ("tiny", folder.to_str().unwrap()));
    let names: Vec<_> =
        fs::read_dir(home.path().join("models")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["tiny"], "nothing is left beside it");
    check_recorded(&folder);
    let info = home.json(&["model", "info", "tiny"]);
    assert_eq!(info["fingerprint"], added["fingerprint"]);
    assert_eq!(info["path"]["graph"], json!("packed"), "{info}");
    assert!(text(&info["path"], "because").contains("2 layers"), "{info}");
    let path = source.to_str().unwrap();
    for purpose in ["document", "query"] {
        let here = vector(&home, "tiny", purpose, "ana likes tea");
        assert!(cosine(&here, &vector(&home, path, purpose, "ana likes tea")) > 0.999_999);
    }
    home.does(&["add", "ana likes tea", "--model", "tiny"]);
    let found = home.json(&["search", "ana likes tea", "--model", "tiny"]);
    assert_eq!(text(&found["hits"][0], "text"), "ana likes tea");
    // Again it does nothing but look.
    server.asked();
    assert!(home.does(&["model", "add", "tiny", "--from", from]).contains("is there already"));
    let asked: Vec<String> = server.asked().into_iter().map(|(path, _)| path).collect();
    assert!(asked.iter().all(|path| path == "manifest.json"), "{asked:?}");
}

#[test]
fn each_architecture_comes_from_a_folder() {
    for kind in [Kind::Mean, Kind::Cls, Kind::Multilingual] {
        check_added(kind, false);
    }
}

#[test]
fn each_architecture_comes_over_the_network() {
    for kind in [Kind::Mean, Kind::Cls, Kind::Multilingual] {
        check_added(kind, true);
    }
}

#[test]
fn prefixes_and_pooling_are_those_of_the_manifest() {
    let home = Home::new();
    let folder = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let [plain, asked, both] = ["plain", "asked", "both"].map(folder);
    tiny::write(Path::new(&plain), "plain", Kind::Mean);
    tiny::write(Path::new(&asked), "asked", Kind::Cls);
    tiny::write(Path::new(&both), "both", Kind::Multilingual);
    // A store holds vectors of one model: each has its own.
    let vector = |model: &str, purpose: &str, text: &str| vector(&Home::new(), model, purpose, text);
    let alike = |model: &str, one: (&str, &str), other: (&str, &str)| {
        cosine(&vector(model, one.0, one.1), &vector(model, other.0, other.1)) > 0.999_999
    };
    assert!(alike(&plain, ("document", "tea"), ("query", "tea")));
    assert!(!alike(&asked, ("document", "tea"), ("query", "tea")));
    assert!(alike(&asked, ("document", "find: tea"), ("query", "tea")));
    assert!(!alike(&both, ("document", "tea"), ("query", "tea")));
    // The weights are the same, so pooling alone tells these apart.
    let first = folder("first");
    tiny::write(Path::new(&first), "first", Kind::Mean);
    let manifest = fs::read_to_string(format!("{first}/manifest.json")).unwrap().replace("\"mean\"", "\"cls\"");
    fs::write(format!("{first}/manifest.json"), manifest).unwrap();
    assert!(cosine(&vector(&plain, "query", "tea"), &vector(&first, "query", "tea")) < 0.99);
}

#[test]
fn models_that_cairn_knows_need_no_manifest_and_may_lie_as_published() {
    let home = Home::new();
    let source = home.path().join("source");
    tiny::write(&source, "tiny", Kind::Multilingual);
    fs::remove_file(source.join("manifest.json")).unwrap();
    fs::create_dir(source.join("onnx")).unwrap();
    fs::rename(source.join("model.onnx"), source.join("onnx/model.onnx")).unwrap();
    let server = Server::of(&source);
    // Of the right architecture, but of another width: the files are taken, and the model is not.
    let refused = home.cairn(&["model", "add", "multilingual-e5-small", "--from", server.address()]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("has not 384 numbers a token"), "{}", refused.err);
    let asked: Vec<String> = server.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(asked, ["onnx/model.onnx", "tokenizer.json"]);
    assert_eq!(fs::read_dir(home.path().join("models")).unwrap().count(), 0, "nothing of it is left");
}

#[test]
fn the_default_model_can_be_brought_too() {
    let home = Home::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/all-MiniLM-L6-v2");
    let added = home.json(&["model", "add", "all-MiniLM-L6-v2", "--from", source.to_str().unwrap()]);
    let listed = home.json(&["model", "list"]);
    let listed: Vec<&str> =
        listed["models"].as_array().unwrap().iter().map(|model| text(model, "fingerprint")).collect();
    assert_eq!(listed, [text(&added, "fingerprint"); 2], "the same files are the same model");
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_was() {
    let home = Home::new();
    let source = home.path().join("source");
    tiny::write(&source, "tiny", Kind::Mean);
    let server = Server::of(&source);
    let size = usize::try_from(fs::metadata(source.join("model.onnx")).unwrap().len()).unwrap();
    assert!(size > 200_000, "{size}");
    // The first answer is the manifest.
    server.breaks(&[size, 50_000, 50_000, 50_000]);
    home.does(&["model", "add", "tiny", "--from", server.address()]);
    let weights = server.asked().into_iter().filter(|(path, _)| path == "model.onnx");
    let begins: Vec<Option<usize>> = weights.map(|(_, from)| from).collect();
    assert_eq!(begins, [None, Some(50_000), Some(100_000), Some(150_000)]);
    check_recorded(&home.path().join("models/tiny"));
}

#[test]
fn an_attempt_that_failed_is_taken_up_by_the_next() {
    let home = Home::new();
    let source = home.path().join("source");
    tiny::write(&source, "tiny", Kind::Mean);
    let server = Server::of(&source);
    let add = ["model", "add", "tiny", "--from", server.address()];
    // The manifest, some of the weights, and then nothing until the command gives up.
    server.breaks(&[10_000, 50_000, 0, 0, 0, 0, 0]);
    let broken = home.cairn(&add);
    assert_eq!(broken.code, Some(1));
    assert!(broken.err.contains("broke off 5 times in a row"), "{}", broken.err);
    assert!(broken.err.contains("the same command goes on"), "{}", broken.err);
    let listed = home.json(&["model", "list"]);
    assert_eq!(listed["models"].as_array().unwrap().len(), 1, "what is half there is no model");
    server.asked();
    home.does(&add);
    let there = fs::metadata(home.path().join("models/tiny/model.onnx")).unwrap().len();
    assert_eq!(there, fs::metadata(source.join("model.onnx")).unwrap().len());
    let asked = server.asked();
    let weights = asked.iter().find(|(path, _)| path == "model.onnx").unwrap();
    assert_eq!(weights.1, Some(50_000));
    check_recorded(&home.path().join("models/tiny"));
}

#[test]
fn a_file_that_changed_between_two_attempts_is_brought_anew() {
    let home = Home::new();
    let source = home.path().join("source");
    tiny::write(&source, "tiny", Kind::Mean);
    let server = Server::of(&source);
    let add = ["model", "add", "tiny", "--from", server.address()];
    let part = home.path().join("models/.tiny.part/model.onnx.part");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(part.with_file_name("origin"), server.address()).unwrap();
    fs::write(&part, b"the beginning of another file").unwrap();
    fs::write(part.with_file_name("model.onnx.part.tag"), "\"of another file\"").unwrap();
    home.does(&add);
    check_recorded(&home.path().join("models/tiny"));
    let same =
        fs::read(home.path().join("models/tiny/model.onnx")).unwrap() == fs::read(source.join("model.onnx")).unwrap();
    assert!(same);
}
