//! Stores that move to another model: what they answer meanwhile, what a kill in the middle leaves, and that in the end
//! every vector is of the new one.
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use cairn::contract::memory::{Deletion, Edit, Erasure, Found, Patch, Promise, Target, WriteOptions};
use cairn::embedder::{EmbedError, Embedder, Encoder, HashEncoder, ModelInfo, Purpose, Tokens};
use cairn::{AddOptions, Content, Engine, Error, ModelChoice, Options, Query, Scope};
use serde_json::Value;

use super::add::{cosine, vector};
use crate::common::{Home, lines, text};
use crate::tiny::{self, Kind};

/// Hashes words, so many runs and no more, until more are allowed.
struct Metered {
    hash: HashEncoder,
    allowed: Mutex<usize>,
    more: Condvar,
    fails: AtomicUsize,
}

const ALL: usize = usize::MAX / 2;

impl Metered {
    fn new(dimensions: u32, allowed: usize) -> Arc<Self> {
        let hash = HashEncoder::new(dimensions, 256);
        Arc::new(Self { hash, allowed: Mutex::new(allowed), more: Condvar::new(), fails: AtomicUsize::new(0) })
    }

    fn allow(&self, runs: usize) {
        *self.allowed.lock().unwrap() = runs;
        self.more.notify_all();
    }

    fn info(&self) -> ModelInfo {
        self.hash.info()
    }

    fn options(self: &Arc<Self>) -> Options {
        Options { model: ModelChoice::Given(self.info(), self.clone()), ..Options::default() }
    }

    fn embedder(self: &Arc<Self>) -> Embedder {
        self.options().embedder().unwrap().unwrap()
    }
}

impl Encoder for Metered {
    fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError> {
        self.hash.tokens(text, purpose)
    }
    fn prepare(&self) -> Result<(), EmbedError> {
        Ok(())
    }
    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut allowed = self.more.wait_while(self.allowed.lock().unwrap(), |allowed| *allowed == 0).unwrap();
        *allowed -= 1;
        drop(allowed);
        if self.fails.load(Ordering::SeqCst) > 0 {
            return Err(EmbedError::Run { reason: "asked to".to_owned() });
        }
        self.hash.encode(sequences)
    }
}

async fn add(engine: &Engine, text: &str, promise: Promise) -> String {
    let options = AddOptions { write: WriteOptions { promise, idempotency_key: None }, ..AddOptions::default() };
    let item = Content { actor: Some("Mel".to_owned()), ..Content::fact(text, Scope::user("ana")) };
    engine.add(vec![item], options).await.unwrap().items.remove(0).unwrap().item.id
}

/// Text and raw similarity of the best hit.
async fn best(engine: &Engine, query: &str) -> (String, f32) {
    let found: Found = engine.search(vec![Query::new(query, Scope::user("ana"))]).await.unwrap().remove(0).unwrap();
    let hit = &found.hits[0];
    (hit.memory.content.text.clone(), hit.raw.dense.unwrap_or_default())
}

/// Every memory has the vector that the model makes of its texts, and the store is whole.
async fn check_moved(engine: &Engine, model: &Metered, ids: &[String]) {
    assert_eq!(engine.model(), Some(model.info()));
    let texts = engine.embedded_texts(ids.to_vec()).await.unwrap();
    let stored = engine.vectors(ids).await.unwrap();
    for ((id, texts), stored) in ids.iter().zip(texts).zip(stored) {
        let (texts, stored) = (texts.unwrap(), stored.unwrap());
        assert_eq!(texts.len(), stored.len(), "{id}");
        for (text, stored) in texts.iter().zip(stored) {
            let ids = model.hash.tokens(text, Purpose::Document).unwrap().ids;
            let expected = model.hash.encode(&[&ids]).unwrap().remove(0);
            let cosine: f32 = expected.iter().zip(&stored).map(|(x, y)| x * y).sum();
            assert!(expected.len() == stored.len() && cosine > 0.999, "{text}: {cosine}");
        }
    }
    assert_eq!(engine.doctor(true).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_go_on_with_the_model_before_until_all_is_moved() {
    let (old, new) = (Metered::new(64, ALL), Metered::new(32, 0));
    let engine = old.options().in_memory().unwrap();
    let mut ids = vec![];
    for n in 0..40 {
        ids.push(add(&engine, &format!("note {n} about tea{n}"), Promise::Indexed).await);
    }
    ids.push(add(&engine, &"word ".repeat(400), Promise::Indexed).await);
    let moving = {
        let (engine, new) = (engine.clone(), new.embedder());
        tokio::spawn(async move { engine.reembed(new, |_| {}).await })
    };
    // The new model answers nothing yet; all verbs do.
    assert_eq!(best(&engine, "tea7").await.0, "note 7 about tea7");
    ids.push(add(&engine, "added meanwhile", Promise::Indexed).await);
    ids.push(add(&engine, "deferred meanwhile", Promise::Deferred).await);
    let patch = Patch { text: Some("changed meanwhile".to_owned()), ..unpatched() };
    let edit = Edit { target: Target::Id(ids[3].clone()), patch, expect_version: None };
    engine.update(vec![edit], plain()).await.unwrap()[0].as_ref().unwrap();
    let deletion = Deletion { target: Target::Id(ids[5].clone()), expect_version: None };
    engine.delete(vec![deletion], Erasure::Erase, plain()).await.unwrap()[0].as_ref().unwrap();
    ids.remove(5);
    assert_eq!(engine.model(), Some(old.info()));
    assert_eq!(best(&engine, "changed meanwhile").await.0, "changed meanwhile");
    let second = engine.reembed(Metered::new(16, ALL).embedder(), |_| {}).await;
    assert!(matches!(&second, Err(Error::Unavailable(text)) if text.contains("already")), "{second:?}");
    // Now a few runs, then as many as it likes, with writes in between.
    new.allow(2);
    ids.push(add(&engine, "added in the middle", Promise::Indexed).await);
    new.allow(ALL);
    let mut n = 0;
    while !moving.is_finished() {
        ids.push(add(&engine, &format!("written while it ends {n}"), Promise::Indexed).await);
        n += 1;
    }
    let done = moving.await.unwrap().unwrap();
    assert!(done.moved == done.memories && done.memories >= 43, "{done:?}");
    ids.push(add(&engine, "added afterwards", Promise::Indexed).await);
    assert_eq!(best(&engine, "added afterwards").await.0, "added afterwards");
    assert!(best(&engine, "Mel note 9 about tea9").await.1 > 0.7, "queries are of the new model too");
    engine.flush(10_000).await.unwrap();
    check_moved(&engine, &new, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_dropped_or_failed_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Metered::new(64, ALL), Metered::new(64 + 32, 0));
    let engine = old.options().open(directory.path()).unwrap();
    let mut ids = vec![];
    for n in 0..20 {
        ids.push(add(&engine, &format!("note {n} about tea{n}"), Promise::Indexed).await);
    }
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(50), engine.reembed(new.embedder(), |_| {}));
    assert!(dropped.await.is_err(), "the new model is held back");
    new.fails.store(1, Ordering::SeqCst);
    new.allow(ALL);
    let failed = engine.reembed(new.embedder(), |_| {}).await.unwrap_err();
    assert!(matches!(&failed, Error::Unavailable(text) if text.contains("asked to")), "{failed:?}");
    assert_eq!(engine.model(), Some(old.info()));
    assert_eq!(best(&engine, "tea7").await.0, "note 7 about tea7");
    engine.close().await;
    // Another start with the model before; the one after is refused with both names.
    let refused = new.options().open(directory.path()).err().unwrap();
    let (before, after) = (old.info().fingerprint, new.info().fingerprint);
    let expected = format!("the store was written with model hash ({before}), not hash ({after})");
    assert_eq!((refused.to_string(), refused.is_other_model()), (expected, true));
    let engine = old.options().open(directory.path()).unwrap();
    ids.push(add(&engine, "added in between", Promise::Indexed).await);
    new.fails.store(0, Ordering::SeqCst);
    let mut seen = vec![];
    let done = engine.reembed(new.embedder(), |progress| seen.push(progress)).await.unwrap();
    assert_eq!((done.moved, done.memories), (21, 21));
    assert_eq!(seen.last(), Some(&done));
    check_moved(&engine, &new, &ids).await;
    // To the model that serves already, there is nothing to do.
    let done = engine.reembed(new.embedder(), |_| {}).await.unwrap();
    assert_eq!((done.moved, done.memories), (0, 0));
    engine.close().await;
    let engine = new.options().open(directory.path()).unwrap();
    check_moved(&engine, &new, &ids).await;
    engine.close().await;
    assert!(old.options().open(directory.path()).is_err(), "the way back is a move too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_move_together() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Metered::new(64, ALL), Metered::new(32, ALL));
    let open = |model: &Arc<Metered>, tenant: &str| {
        Options { tenant: tenant.to_owned(), ..model.options() }.open(directory.path()).unwrap()
    };
    let mut ids = vec![];
    for tenant in ["one", "two"] {
        let engine = open(&old, tenant);
        ids.push(add(&engine, &format!("a note of {tenant}"), Promise::Indexed).await);
        engine.close().await;
    }
    let engine = open(&old, "one");
    let done = engine.reembed(new.embedder(), |_| {}).await.unwrap();
    assert_eq!(done.memories, 2);
    engine.close().await;
    for (tenant, id) in ["one", "two"].into_iter().zip(ids) {
        let engine = open(&new, tenant);
        check_moved(&engine, &new, &[id]).await;
        engine.close().await;
    }
}

fn plain() -> WriteOptions {
    WriteOptions { promise: Promise::Indexed, idempotency_key: None }
}

fn unpatched() -> Patch {
    Patch {
        text: None,
        metadata: None,
        kind: None,
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: None,
    }
}

/// The same by the binary: killed in the middle, used with the model before, and taken up again.
#[test]
fn a_killed_move_goes_on_and_the_store_serves_meanwhile() {
    const MEMORIES: usize = 5_000;
    let home = Home::new();
    let folder = |name: &str, kind: Kind| {
        let folder = home.path().join("models").join(name);
        tiny::write(&folder, name, kind);
    };
    folder("before", Kind::Mean);
    folder("after", Kind::Multilingual);
    let line = |n: usize| format!("note {n} about {}", ["tea", "coffee", "milk", "water", "wine"][n % 5]);
    let file = home.path().join("notes.txt");
    fs::write(&file, (0..MEMORIES).map(|n| line(n) + "\n").collect::<String>()).unwrap();
    let file = file.to_str().unwrap();
    home.does(&["import", file, "--format", "text", "--model", "before"]);

    let refused = home.cairn(&["search", "tea", "--model", "after"]);
    assert_eq!(refused.code, Some(1));
    for part in ["before (", "not after (", "cairn reembed"] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }

    let mut moving = home.start(&["reembed", "--model", "after", "--jsonl"]);
    let first = moving.line().expect("it says how far it is");
    moving.kill();
    let moved = first["moved"].as_u64().unwrap();
    assert!(moved > 0 && first["memories"].as_u64() == Some(MEMORIES as u64), "{first}");

    let before = ["--model", "before"];
    let search = |model: &str, query: &str| home.json(&["search", query, "--limit", "1", "--model", model]);
    assert_eq!(text(&search("before", &line(7))["hits"][0], "text"), line(7));
    assert_eq!(home.cairn(&["search", "tea", "--model", "after"]).code, Some(1), "nothing was swapped yet");
    home.does(&[&["add", "written in between"], &before[..]].concat());
    let id = text(&search("before", &line(11))["hits"][0], "id").to_owned();
    home.does(&[&["update", &id, "changed in between"], &before[..]].concat());
    let id = text(&search("before", &line(13))["hits"][0], "id").to_owned();
    home.does(&[&["forget", &id], &before[..]].concat());
    assert_eq!(home.cairn(&[&["doctor", "--deep"], &before[..]].concat()).code, Some(0));

    let answer = home.does(&["reembed", "--model", "after", "--jsonl"]);
    let told = lines(&answer);
    let resumed = told[0]["moved"].as_u64().unwrap();
    assert!(resumed > moved, "it goes on behind {moved}, not at the beginning: {resumed}");
    let last = told.last().unwrap();
    assert_eq!((text(last, "model"), last["memories"].as_u64()), ("after", Some(MEMORIES as u64)));
    assert_eq!(home.cairn(&["search", "tea", "--model", "before"]).code, Some(1));
    for query in ["written in between", "changed in between", &line(4_321)] {
        assert_eq!(text(&search("after", query)["hits"][0], "text"), query);
    }
    assert_eq!(home.cairn(&["doctor", "--deep", "--model", "after"]).code, Some(0));
    check_vectors(&home, &["written in between", "changed in between", &line(0), &line(4_999)]);
}

/// What is stored for these texts is what the model makes of them.
#[track_caller]
fn check_vectors(home: &Home, texts: &[&str]) {
    let exported = lines(&home.does(&["export", "--vectors", "--model", "after"]));
    for wanted in texts {
        let line = exported.iter().find(|line| text(line, "text") == *wanted).expect("it is there");
        let stored: Vec<f64> = line["vectors"][0].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let cosine = cosine(&stored, &vector(home, "after", "document", wanted));
        assert!(cosine > 0.999, "{wanted}: {cosine}");
    }
}

#[test]
fn a_move_can_be_given_up_or_lead_elsewhere() {
    let home = Home::new();
    for (name, kind) in [("one", Kind::Mean), ("two", Kind::Cls), ("three", Kind::Multilingual)] {
        tiny::write(&home.path().join("models").join(name), name, kind);
    }
    let file = home.path().join("notes.txt");
    fs::write(&file, (0..2_000).map(|n| format!("note {n}\n")).collect::<String>()).unwrap();
    home.does(&["import", file.to_str().unwrap(), "--format", "text", "--model", "one"]);
    let begin = |model: &str| {
        let mut moving = home.start(&["reembed", "--model", model, "--jsonl"]);
        let moved = moving.line().expect("it says how far it is")["moved"].as_u64().unwrap();
        moving.kill();
        moved
    };
    // To another model from the beginning: what was computed for the first one is of no use.
    assert!(begin("two") > 0);
    assert_eq!(begin("three"), 512);
    let given_up = home.json(&["reembed", "--model", "one"]);
    assert_eq!(given_up["memories"], 0);
    assert_eq!(begin("three"), 512, "and nothing of a move that was given up");
    home.does(&["search", "note 5", "--model", "one"]);
    let done = home.json(&["reembed", "--model", "three"]);
    assert_eq!(done["memories"], 2_000);
    // The model before need not be there any more.
    fs::remove_dir_all(home.path().join("models/three")).unwrap();
    assert_eq!(home.json(&["reembed", "--model", "two"])["memories"], 2_000);
    assert!(Path::new(&home.path().join("models/two")).exists());
}
