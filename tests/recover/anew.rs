//! The store's file written anew: compacted, backed up, and after something was forgotten. Reads the bytes of the files, as
//! someone would who got hold of the disk.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn::contract::memory::ListRequest;
use cairn::embedder::HashEncoder;
use cairn::{AddOptions, Content, Engine, ModelChoice, Options, Scope};
use serde_json::json;

use super::files::{Batch, Chance, check_sound};
use crate::common::{Home, lines, text};

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (vec![], vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Files with this word in them, in any case of its letters.
fn with_word(directory: &Path, word: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap().to_ascii_lowercase();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    files(directory).into_iter().filter(holds).collect()
}

#[test]
fn what_is_forgotten_leaves_no_byte_in_any_file() {
    let home = Home::new();
    let batch = Batch::new("beside", 60);
    let file = batch.file(&home, "import.jsonl");
    home.does(&["import", file.to_str().unwrap(), "--deferred"]);
    let secret = ["add", "-u", "ana", "--key", "k", "--metadata", "code=xylograph", "Quixotry was her password"];
    home.does(&secret);
    home.does(&["add", "-u", "ana", "--key", "l", "Thus spake nobody: fjordland", "--deferred"]);
    home.does(&["update", "-u", "ana", "--key", "k", "Now the password is zugzwang"]);
    let words = ["quixotry", "zugzwang", "xylograph", "fjordland"];
    for word in words {
        assert!(!with_word(home.path(), word).is_empty(), "{word} is nowhere: the search finds nothing");
    }
    home.does(&["search", "zugzwang"]);
    let forgotten = home.json(&["forget", "-u", "ana", "--key", "k", "--key", "l"]);
    assert_eq!(forgotten["outcomes"][0]["change"], "erased");
    for word in words {
        assert_eq!(with_word(home.path(), word), Vec::<PathBuf>::new(), "{word}");
    }
    assert_eq!(batch.check(&home, batch.len()), batch.len());
    check_sound(&home);
}

#[test]
fn forgetting_that_was_killed_is_finished_by_the_next_command() {
    let home = Home::new();
    let batch = Batch::new("beside", 200);
    home.does(&["import", batch.file(&home, "import.jsonl").to_str().unwrap(), "--deferred"]);
    fs::remove_file(home.path().join("import.jsonl")).unwrap();
    let mut chance = Chance::new();
    let mut work = Duration::ZERO;
    for round in 0..8 {
        let word = format!("secret{round}word");
        home.does(&["add", "-u", "ana", "--key", &word, &format!("The {word} is safe"), "--deferred"]);
        let forget = ["forget", "-u", "ana", "--key", &word];
        let start = Instant::now();
        if round == 0 {
            home.does(&forget);
            work = start.elapsed();
        } else {
            let mut running = home.start(&forget);
            running.close();
            sleep(Duration::from_micros(chance.below(u64::try_from(work.as_micros()).unwrap())));
            running.kill();
        }
        let stats = home.json(&["stats", "-u", "ana"]);
        let live = stats["live"].as_u64().unwrap();
        let traces = with_word(home.path(), &word);
        // The key is the word as well: where nothing was erased yet, there is the one memory.
        assert_eq!(traces.is_empty(), live == 0, "{live} live, traces in {traces:?}");
        if live == 1 {
            home.does(&forget);
            assert_eq!(with_word(home.path(), &word), Vec::<PathBuf>::new());
        }
    }
    check_sound(&home);
}

#[test]
fn compacting_gives_back_the_room_of_what_was_deleted() {
    let home = Home::new();
    let batch = Batch::new("room", 1500);
    home.does(&["import", batch.file(&home, "import.jsonl").to_str().unwrap(), "--deferred"]);
    for user in ["u0", "u1", "u2", "u3"] {
        home.does(&["delete", "--matching", "-u", user, "--yes"]);
    }
    let listed = home.does(&["list", "--limit", "1000", "--jsonl"]);
    let compacted = home.json(&["compact"]);
    let size = |name: &str| compacted[name].as_u64().unwrap();
    assert_eq!(size("after"), fs::metadata(home.path().join("cairn.redb")).unwrap().len());
    assert!(size("after") < size("before"), "{compacted}");
    let again = home.json(&["compact"]);
    assert_eq!(again["after"], compacted["after"], "there is nothing left to gain");
    assert_eq!(home.does(&["list", "--limit", "1000", "--jsonl"]), listed);
    check_sound(&home);
}

#[test]
fn killed_while_compacting_the_store_is_the_old_or_the_new_one() {
    let home = Home::new();
    let batch = Batch::new("compact", 1000);
    home.does(&["import", batch.file(&home, "import.jsonl").to_str().unwrap(), "--deferred"]);
    let mut chance = Chance::new();
    let start = Instant::now();
    home.does(&["compact"]);
    let work = start.elapsed();
    for _ in 0..8 {
        let mut running = home.start(&["compact"]);
        running.close();
        sleep(Duration::from_micros(chance.below(u64::try_from(work.as_micros()).unwrap())));
        running.kill();
        assert_eq!(batch.check(&home, batch.len()), batch.len());
        assert!(!home.path().join("cairn.redb.new").exists(), "what was begun is removed");
    }
    check_sound(&home);
}

#[test]
fn a_backup_is_a_store_and_comes_back() {
    let home = Home::new();
    let batch = Batch::new("kept", 100);
    home.does(&["import", batch.file(&home, "import.jsonl").to_str().unwrap()]);
    let key = ["--user", "u0", "--run", "r0", "--key", "kept-0"];
    home.does(&[&["update", "another text"][..], &key].concat());
    fs::write(home.path().join("cairn.toml"), "wait = 7\n").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let made = home.json(&["backup", &at("friday/noon")]);
    assert_eq!((&made["problems"], text(&made, "directory")), (&json!([]), at("friday/noon").as_str()));
    assert!(made["bytes"].as_u64().unwrap() > 0);
    home.does(&["add", "after the backup", "--deferred"]);
    home.does(&["--data", &at("friday/noon"), "backup", &at("again")]);

    let looks = |data: &str| {
        let mut found = home.json(&["--data", data, "search", "the blue lamp", "--limit", "10"]);
        found["ms"] = json!(0);
        let history = home.does(&[&["--data", data, "history", "--json"][..], &key].concat());
        (home.does(&["--data", data, "list", "--limit", "500", "--jsonl"]), found, history)
    };
    let first = looks(&at("friday/noon"));
    assert_eq!(lines(&first.0).len(), 100);
    assert_eq!(looks(&at("again")), first);
    assert_eq!(fs::read_to_string(Path::new(&at("again")).join("cairn.toml")).unwrap(), "wait = 7\n");
    assert_eq!(home.json(&["--data", &at("again"), "doctor", "--deep"])["problems"], json!([]));

    let refused = home.cairn(&["backup", &at("again")]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("again is not empty"), "{}", refused.err);
}

// ---- while serving

fn open(directory: &Path) -> Engine {
    let encoder = HashEncoder::new(64, 256);
    let model = ModelChoice::Given(encoder.info(), Arc::new(encoder));
    Options { model, ..Options::default() }.open(directory).unwrap()
}

async fn texts(engine: &Engine) -> Vec<String> {
    let mut request = ListRequest { limit: 1000, ..ListRequest::new(Scope::default()) };
    let mut texts = vec![];
    loop {
        let page = engine.list(request.clone()).await.unwrap();
        texts.extend(page.memories.into_iter().map(|memory| memory.content.text));
        match page.next {
            Some(next) => request.after = Some(next),
            None => return texts,
        }
    }
}

/// Callers that add until they are told to stop, while `meanwhile` runs; all that was acknowledged, in the order of each.
async fn while_adding(engine: &Engine, meanwhile: impl AsyncFnOnce(&Engine)) -> Vec<Vec<String>> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut callers = vec![];
    for caller in 0..4 {
        let (engine, stopped) = (engine.clone(), stopped.clone());
        callers.push(tokio::spawn(async move {
            let mut added = vec![];
            while !*stopped.borrow() {
                let text = format!("caller {caller} says {}", added.len());
                let content = Content::fact(text.clone(), Scope::user(format!("u{caller}")));
                engine.add(vec![content], AddOptions::default()).await.unwrap();
                added.push(text);
            }
            added
        }));
    }
    meanwhile(engine).await;
    stop.send(true).unwrap();
    let mut added = vec![];
    for caller in callers {
        added.push(caller.await.unwrap());
    }
    added
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacting_and_backing_up_while_others_add_loses_nothing() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = open(home.path());
    let before: Vec<String> = (0..300).map(|n| format!("before {n}")).collect();
    let contents = before.iter().map(|text| Content::fact(text.clone(), Scope::user("before"))).collect();
    engine.add(contents, AddOptions::default()).await.unwrap();
    let added = while_adding(&engine, async |engine| {
        for round in 0..4 {
            engine.compact().await.unwrap();
            let made = engine.backup(elsewhere.path().join(round.to_string())).await.unwrap();
            assert_eq!(made.problems, [""; 0]);
        }
    })
    .await;
    assert!(added.iter().all(|texts| texts.len() > 5), "nobody added anything meanwhile");
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let all = sorted(added.iter().flatten().chain(&before).cloned().collect());
    assert_eq!(sorted(texts(&engine).await), all);
    assert_eq!(engine.doctor(true).await.unwrap(), [""; 0]);
    engine.close().await;
    let engine = open(home.path());
    assert_eq!(sorted(texts(&engine).await), all);
    engine.close().await;

    let mut last = 0;
    for round in 0..4 {
        let engine = open(&elsewhere.path().join(round.to_string()));
        let there = texts(&engine).await;
        assert_eq!(engine.doctor(true).await.unwrap(), [""; 0]);
        engine.close().await;
        // One moment: of each caller the first so many, and no fewer than in the backup before.
        assert!(there.len() >= 300 + last);
        last = there.len() - 300;
        for texts in &added {
            let n = there.iter().filter(|text| texts.contains(text)).count();
            assert!(
                texts[..n].iter().all(|text| there.contains(text)),
                "a later memory is there without an earlier one"
            );
        }
    }
}
