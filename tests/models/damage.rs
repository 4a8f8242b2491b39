//! Models that are not what they should be: each is refused with what is wrong with it, wherever it is met, and the store
//! goes on.
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use tract_onnx::pb::ModelProto;

use super::server::Server;
use crate::common::Home;
use crate::tiny::{self, Kind};

fn model(home: &Home) -> PathBuf {
    let folder = home.path().join("source");
    tiny::write(&folder, "tiny", Kind::Mean);
    folder
}

fn replace(folder: &Path, file: &str, old: &str, new: &str) {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(folder.join(file), text.replace(old, new)).unwrap();
}

fn change(folder: &Path, change: impl FnOnce(&mut ModelProto)) {
    let bytes = fs::read(folder.join("model.onnx")).unwrap();
    let mut file = ModelProto::decode(&*bytes).unwrap();
    change(&mut file);
    fs::write(folder.join("model.onnx"), file.encode_to_vec()).unwrap();
}

/// `model add` and `model info` say what is wrong, and so does an add, which stores nothing.
#[track_caller]
fn check(damage: impl FnOnce(&Path), expected: &str) {
    let home = Home::new();
    let folder = model(&home);
    damage(&folder);
    let folder = folder.to_str().unwrap();
    let added = home.cairn(&["model", "add", "tiny", "--from", folder]);
    assert_eq!(added.code, Some(1), "{added:?}");
    assert!(added.err.contains(expected), "add: {}", added.err);
    assert!(!home.path().join("models/tiny").exists(), "what is no model is not there");
    let info = home.cairn(&["model", "info", folder]);
    assert_ne!(info.code, Some(0));
    assert!(info.err.contains(expected), "info: {}", info.err);
    let stored = home.cairn(&["add", "ana likes tea", "--model", folder]);
    assert_eq!(stored.code, Some(1));
    assert!(stored.err.contains(expected), "store: {}", stored.err);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let home = Home::new();
    let folder = model(&home);
    let add = |from: &str| home.cairn(&["model", "add", "tiny", "--from", from]);
    let server = Server::of(&folder);
    for (file, expected) in [("tokenizer.json", "has no tokenizer.json"), ("manifest.json", "has no manifest.json")] {
        fs::remove_file(folder.join(file)).unwrap();
        for from in [folder.to_str().unwrap(), server.address()] {
            let refused = add(from);
            assert_eq!(refused.code, Some(1));
            assert!(refused.err.contains(expected), "{file}: {}", refused.err);
        }
    }
}

#[test]
fn a_wrong_checksum_keeps_nothing() {
    let home = Home::new();
    let folder = model(&home);
    let sum = "0".repeat(64);
    replace(
        &folder,
        "manifest.json",
        r#"{"name":"model.onnx"}"#,
        &format!(r#"{{"name":"model.onnx","sha256":"{sum}"}}"#),
    );
    let server = Server::of(&folder);
    for from in [folder.to_str().unwrap(), server.address()] {
        let refused = home.cairn(&["model", "add", "tiny", "--from", from]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains("model.onnx has the checksum"), "{}", refused.err);
        assert!(!home.path().join("models/.tiny.part/model.onnx").exists());
    }
}

#[test]
fn a_place_that_is_not_there_says_so() {
    let home = Home::new();
    let none = home.cairn(&["model", "add", "bge-small-en-v1.5", "--from", "no-such-folder"]);
    assert!(none.code == Some(1) && none.err.contains("no-such-folder has no model.onnx"), "{none:?}");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let offline = home.cairn(&["model", "add", "bge-small-en-v1.5", "--from", &format!("http://{free}")]);
    assert_eq!(offline.code, Some(1));
    assert!(offline.err.contains("cannot reach http://") && offline.err.contains("--from DIR"), "{}", offline.err);
    let unknown = home.cairn(&["model", "add", "nobody", "--from", "no-such-folder"]);
    assert!(unknown.err.contains("bge-small-en-v1.5, multilingual-e5-small"), "{}", unknown.err);
}

#[test]
fn another_name_is_refused() {
    let home = Home::new();
    let folder = model(&home);
    let refused = home.cairn(&["model", "add", "other", "--from", folder.to_str().unwrap()]);
    assert!(refused.code == Some(1) && refused.err.contains("it is of `tiny`"), "{refused:?}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let damage = |folder: &Path| replace(folder, "manifest.json", "tokenizer.json", "../tokenizer.json");
    check(damage, r#""../tokenizer.json" is no plain name of a file"#);
}

#[test]
fn unknown_operators_are_named() {
    let damage = |folder: &Path| {
        change(folder, |file| {
            let node = file.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Softmax").unwrap();
            node.op_type = "Softestmax".to_owned();
        });
    };
    check(damage, "Softestmax");
}

#[test]
fn weights_that_lie_elsewhere_are_missed() {
    let damage = |folder: &Path| {
        change(folder, |file| {
            let weights = &mut file.graph.as_mut().unwrap().initializer;
            let largest = weights.iter_mut().max_by_key(|weight| weight.raw_data.len()).unwrap();
            largest.raw_data.clear();
            largest.data_location = Some(1);
        });
    };
    check(damage, "cannot load the weights of the model");
}

#[test]
fn a_width_of_its_own_is_refused() {
    check(
        |folder| replace(folder, "manifest.json", r#""dimensions":64"#, r#""dimensions":48"#),
        "has not 48 numbers a token",
    );
}

#[test]
fn lengths_beyond_the_table_are_refused() {
    let home = Home::new();
    let folder = model(&home);
    replace(&folder, "manifest.json", r#""max_tokens":24"#, r#""max_tokens":40"#);
    for verb in [&["model", "info"][..], &["model", "add", "tiny", "--from"]] {
        let refused = home.cairn(&[verb, &[folder.to_str().unwrap()]].concat());
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains("the model"), "{}", refused.err);
    }
    // Shorter texts are read, and a longer one is refused alone.
    let embed = ["embed", "--jsonl", "--model", folder.to_str().unwrap()];
    assert_eq!(home.fed(&embed, b"ana likes tea").code, Some(0));
    assert_eq!(home.fed(&embed, "tea ".repeat(40).as_bytes()).code, Some(1));
}

/// Twenty tokens more than the table has.
fn more_tokens(folder: &Path) {
    let more: String = (56..76).map(|id| format!(r#","more{id}":{id}"#)).collect();
    replace(folder, "tokenizer.json", r#""[PAD]":0"#, &format!(r#""[PAD]":0{more}"#));
}

#[test]
fn tokens_beyond_the_table_are_refused() {
    check(more_tokens, "its tokens go up to 75, the weights have 64");
}

#[test]
fn a_stock_graph_refuses_them_too() {
    let damage = |folder: &Path| {
        more_tokens(folder);
        unrecognised(folder);
    };
    check(damage, "its tokens go up to 75, which the weights do not take");
}

/// Another activation than a BERT has: not recognised, and still a model.
fn unrecognised(folder: &Path) {
    change(folder, |file| {
        let node = file.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Erf").unwrap();
        "Tanh".clone_into(&mut node.op_type);
    });
}

#[test]
fn what_is_not_recognised_says_why_and_runs() {
    let home = Home::new();
    let folder = model(&home);
    unrecognised(&folder);
    let folder = folder.to_str().unwrap();
    let info = home.json(&["model", "info", folder]);
    assert_eq!((&info["path"]["graph"], &info["path"]["precision"]), (&"stock".into(), &"f32".into()));
    let because = crate::common::text(&info["path"], "because");
    assert!(because.contains("not recognised") && because.contains("GELU"), "{because}");
    home.does(&["add", "ana likes tea", "--model", folder]);
    let told = home.does(&["model", "info", folder]);
    assert!(told.contains("precision") && told.contains("not recognised"), "{told}");
}

/// Texts at the edges of what a model reads have an answer, and the process goes on with the next.
#[track_caller]
fn check_texts(kind: Kind) {
    let home = Home::new();
    let folder = home.path().join("source");
    tiny::write(&folder, "tiny", kind);
    let folder = folder.to_str().unwrap();
    let texts = ["", "\u{200b}", "日本語 ✨ 42", &"tea ".repeat(100_000), "ana likes tea"];
    let arguments = ["embed", "--jsonl", "--model", folder];
    let answer = home.fed(&arguments, texts.join("\n").as_bytes());
    let lines = crate::common::lines(&answer.out);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    // Lines without a text may be passed over; those with one have a vector, and the last is what it is alone.
    let last = lines.last().unwrap();
    assert_eq!(last["text"], "ana likes tea");
    assert!(lines.iter().all(|line| line["vector"].as_array().unwrap().len() == tiny::WIDTH));
    let long = lines.iter().find(|line| crate::common::text(line, "text").len() > 100_000).unwrap();
    assert!(long["tokens"].as_u64().unwrap() > 100_000, "{}", long["tokens"]);
    assert!(answer.err.contains("does not read the last"), "{}", answer.err);
    let alone = home.fed(&arguments, b"ana likes tea");
    assert_eq!(last["vector"], crate::common::parse(alone.out.trim())["vector"]);
}

#[test]
fn texts_at_the_edges_are_read() {
    check_texts(Kind::Mean);
    check_texts(Kind::Multilingual);
}
