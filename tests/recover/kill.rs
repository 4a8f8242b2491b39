//! Processes that end in the middle of what they do. The random delay before a kill is the one sleep of all tests.
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::files::{Batch, Chance, check_sound};
use crate::common::{Home, lines, text};

/// A moment within the time that `work` takes, and a little after.
fn moment(chance: &mut Chance, work: Duration) -> Duration {
    let micros = u64::try_from(work.as_micros()).expect("less than a day") * 11 / 10;
    Duration::from_micros(chance.below(micros))
}

/// Starts a command, kills it after the delay, and gives the lines that it had printed.
fn killed(home: &Home, arguments: &[&str], delay: Duration) -> Vec<Value> {
    let mut running = home.start(arguments);
    running.close();
    sleep(delay);
    running.kill();
    std::iter::from_fn(|| running.line()).collect()
}

fn count(value: &Value) -> usize {
    value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
}

fn first_hit(home: &Home, query: &str) -> String {
    text(&home.json(&["search", query, "--limit", "3"])["hits"][0], "text").to_owned()
}

#[test]
fn a_killed_import_keeps_what_it_acknowledged_and_can_be_repeated() {
    let home = Home::new();
    let mut chance = Chance::new();
    let mut work = Duration::ZERO;
    let mut batches = Vec::new();
    for round in 0..13 {
        let batch = Batch::new(&format!("round{round}"), 300);
        let file = batch.file(&home, "import.jsonl");
        let import = ["import", file.to_str().unwrap(), "--deferred", "--jsonl"];
        // The first round is not killed: it says how long the others take.
        if round > 0 {
            let delay = moment(&mut chance, work);
            let printed = killed(&home, &import, delay);
            let acknowledged = printed.last().map_or(0, |line| count(&line["acknowledged"]));
            batch.check(&home, acknowledged);
            if round % 4 == 0 {
                check_sound(&home);
            }
        }
        let start = Instant::now();
        home.does(&import);
        if round == 0 {
            work = start.elapsed();
        }
        assert_eq!(batch.check(&home, batch.len()), batch.len());
        batches.push(batch);
    }
    check_sound(&home);
    let total: usize = batches.iter().map(Batch::len).sum();
    assert_eq!(count(&home.json(&["stats"])["live"]), total);
    for (round, n) in [(0, 0), (5, 123), (12, 299)] {
        let batch = &batches[round];
        assert_eq!(first_hit(&home, batch.text(n)), batch.text(n));
    }
}

#[test]
fn a_kill_within_a_call_leaves_no_part_of_it_that_is_not_whole() {
    const PIECE: usize = 20;
    let home = Home::new();
    let mut chance = Chance::new();
    let batch = Batch::new("piece", 240);
    for _ in 0..4 {
        let mut running = home.start(&["import", "-", "--format", "jsonl", "--jsonl"]);
        let mut acknowledged = 0;
        let pieces = usize::try_from(1 + chance.below(5)).expect("below 6");
        let mut call = Duration::from_millis(50);
        for piece in 0..pieces {
            let start = Instant::now();
            running.feed(&batch.jsonl(piece * PIECE..(piece + 1) * PIECE));
            while acknowledged < (piece + 1) * PIECE {
                acknowledged = count(&running.line().expect("the import goes on")["acknowledged"]);
            }
            call = start.elapsed();
        }
        running.feed(&batch.jsonl(acknowledged..batch.len()));
        sleep(moment(&mut chance, call * 4));
        running.kill();
        while let Some(line) = running.line() {
            acknowledged = count(&line["acknowledged"]);
        }
        batch.check(&home, acknowledged);
        check_sound(&home);
    }
    let file = batch.file(&home, "import.jsonl");
    let done = home.json(&["import", file.to_str().unwrap()]);
    assert_eq!((&done["failed"], &done["updated"]), (&json!(0), &json!(0)));
    assert_eq!(batch.check(&home, batch.len()), batch.len());
    home.does(&["flush"]);
    check_sound(&home);
    assert_eq!(home.json(&["stats"])["pending"], 0);
    for n in [1, 77, 239] {
        assert_eq!(first_hit(&home, batch.text(n)), batch.text(n));
    }
}

#[test]
fn a_killed_delete_took_all_or_nothing() {
    let home = Home::new();
    let mut chance = Chance::new();
    let batch = Batch::new("gone", 1000);
    let file = batch.file(&home, "import.jsonl");
    home.does(&["import", file.to_str().unwrap(), "--deferred"]);
    let delete = |user: &str| ["delete", "--matching", "-u", user, "--yes", "--jsonl"].map(str::to_owned);
    let start = Instant::now();
    home.does(&delete("u0").each_ref().map(String::as_str));
    let work = start.elapsed();
    for user in ["u1", "u2", "u3", "u4"] {
        killed(&home, &delete(user).each_ref().map(String::as_str), moment(&mut chance, work));
        let left = home.json(&["stats", "-u", user]);
        let (live, deleted) = (count(&left["live"]), count(&left["deleted"]));
        assert_eq!(live + deleted, 200, "{left}");
        assert!(live == 0 || deleted == 0, "half of {user} is gone: {left}");
    }
    check_sound(&home);
}

#[test]
fn a_killed_update_left_the_old_version_or_made_the_new_one() {
    let home = Home::new();
    let mut chance = Chance::new();
    home.does(&["add", "-u", "ana", "--key", "k", "text of version 1"]);
    let mut known = 1;
    let mut work = Duration::ZERO;
    for _ in 0..5 {
        let next = format!("text of version {}", known + 1);
        let update = ["update", "-u", "ana", "--key", "k", &next, "--jsonl"];
        if work == Duration::ZERO {
            let start = Instant::now();
            home.does(&update);
            work = start.elapsed();
        } else {
            killed(&home, &update, moment(&mut chance, work));
        }
        let history = home.json(&["history", "-u", "ana", "--key", "k"]);
        let versions = history["versions"].as_array().unwrap();
        assert!((known..=known + 1).contains(&versions.len()), "{history}");
        known = versions.len();
        for (version, number) in versions.iter().zip((1..=known).rev()) {
            assert_eq!(text(&version["memory"], "text"), format!("text of version {number}"));
        }
    }
    check_sound(&home);
}

#[test]
#[cfg(unix)]
fn an_interrupted_import_finishes_what_it_writes_and_goes_on_when_repeated() {
    let home = Home::new();
    let batch = Batch::new("interrupted", 90);
    let mut running = home.start(&["import", "-", "--format", "jsonl", "--jsonl"]);
    running.feed(&batch.jsonl(0..30));
    let mut acknowledged = 0;
    while acknowledged < 30 {
        acknowledged = count(&running.line().expect("the import goes on")["acknowledged"]);
    }
    running.feed(&batch.jsonl(30..60));
    let sent = std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(sent.success());
    while let Some(line) = running.line() {
        acknowledged = count(&line["acknowledged"]);
    }
    assert_eq!(running.code(), Some(130));
    let there = batch.check(&home, acknowledged);
    let file = batch.file(&home, "import.jsonl");
    let mut repeated = home.json(&["import", file.to_str().unwrap()]);
    repeated["ms"] = json!(0);
    let expected = json!({
        "lines": 90, "added": 90 - there, "updated": 0, "unchanged": there, "failed": 0, "interrupted": false, "ms": 0
    });
    assert_eq!(repeated, expected);
    assert_eq!(batch.check(&home, batch.len()), batch.len());
}

#[test]
fn everything_but_the_store_comes_back() {
    let home = Home::new();
    let batch = Batch::new("kept", 40);
    let file = batch.file(&home, "import.jsonl");
    home.does(&["import", file.to_str().unwrap()]);
    let search = || {
        let mut found = home.json(&["search", "the blue lamp", "--limit", "10"]);
        found["ms"] = json!(0);
        found
    };
    let (listed, found) = (home.does(&["list", "--limit", "100", "--jsonl"]), search());
    assert_eq!((lines(&listed).len(), found["hits"].as_array().unwrap().len()), (40, 10));
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "cairn.redb") {
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
    check_sound(&home);
    assert_eq!(home.does(&["list", "--limit", "100", "--jsonl"]), listed);
    assert_eq!(search(), found);
}
