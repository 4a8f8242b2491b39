//! The documents of `--json`, whole. Ids, times and measured numbers are masked; everything else is as scripts read it.
use serde_json::{Value, json};

use crate::common::Home;

/// Replaces what differs from run to run.
fn masked(mut value: Value) -> Value {
    mask(&mut value);
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "id" | "created_at" | "updated_at" | "fingerprint" | "sha256" => *value = json!("…"),
                    "ms" | "score" | "raw" | "bytes" | "oldest_snapshot_ms" => *value = json!(0),
                    "ids" => *value = json!(value.as_array().map(Vec::len)),
                    _ => mask(value),
                }
            }
        }
        _ => {}
    }
}

/// Runs a command and compares its whole document.
#[track_caller]
fn check(home: &Home, arguments: &[&str], expected: &Value) {
    assert_eq!(&masked(home.json(arguments)), expected, "{arguments:?}");
}

fn done(version: u32, change: &str) -> Value {
    json!({"outcomes": [
        {"id": "…", "key": "k", "version": version, "change": change, "reason": "requested", "truncated_tokens": 0, "others": []}
    ]})
}

#[test]
fn of_one_memory_from_add_to_forget() {
    let home = Home::new();
    let memory = |version: u32, text: &str| {
        json!({
            "id": "…", "key": "k", "text": text, "user": "ana", "run": "r1", "actor": "Ana", "role": "user",
            "kind": "episode", "metadata": {"project": "books", "n": 1.50}, "at": "2025-03-05T00:00:00.000Z",
            "created_at": "…", "updated_at": "…", "version": version
        })
    };
    let add = [
        "add",
        "Ana likes short answers",
        "-u",
        "ana",
        "-r",
        "r1",
        "--key",
        "k",
        "--actor",
        "Ana",
        "--role",
        "user",
        "--kind",
        "episode",
        "-m",
        "project=books",
        "-m",
        "n:=1.50",
        "--at",
        "2025-03-05",
    ];
    let named = ["--key", "k", "-u", "ana", "-r", "r1"];
    let verb = |name: &'static str, more: &[&'static str]| [&[name], &named[..], more].concat();
    check(&home, &add, &done(1, "added"));
    let mut again = done(1, "unchanged");
    again["outcomes"][0]["reason"] = json!("same-key");
    check(&home, &add, &again);
    let first = memory(1, "Ana likes short answers");
    check(&home, &verb("get", &[]), &json!({"memories": [first]}));
    check(&home, &["list"], &json!({"memories": [first]}));
    let scope = json!({"value": "ana", "memories": 1, "created_at": "…", "updated_at": "…"});
    check(&home, &["scopes"], &json!({"scopes": [scope]}));
    let mut hit = memory(1, "Ana likes short answers");
    for (name, value) in [("score", json!(0)), ("raw", json!(0)), ("folded", json!([]))] {
        hit[name] = value;
    }
    check(&home, &["search", "short answers"], &json!({"hits": [hit], "pending": 0, "doubts": [], "ms": 0}));

    check(&home, &verb("update", &["Ana likes long answers", "--expect-version", "1"]), &done(2, "updated"));
    let second = memory(2, "Ana likes long answers");
    let version = |version: u32, change: &str, memory: &Value| json!({"version": version, "change": change, "reason": "requested", "updated_at": "…", "memory": memory});
    let versions = json!({"versions": [version(2, "updated", &second), version(1, "added", &first)]});
    check(&home, &verb("history", &[]), &versions);
    check(&home, &verb("restore", &["--version", "1"]), &done(3, "restored"));
    check(&home, &verb("delete", &[]), &done(4, "deleted"));
    check(&home, &["list"], &json!({"memories": []}));
    let mut gone = memory(4, "Ana likes short answers");
    gone["state"] = json!("deleted");
    check(&home, &["list", "--include", "deleted"], &json!({"memories": [gone]}));
    let missing = home.cairn(&[&verb("get", &[])[..], &["--json"]].concat());
    assert_eq!((missing.code, missing.out.as_str()), (Some(3), "{\"memories\":[null]}\n"));
}

#[test]
fn of_many_memories() {
    let home = Home::new();
    let lines: String = (0..5).map(|n| format!("{{\"text\":\"note {n}\",\"user\":\"ana\"}}\n")).collect();
    let mut imported =
        home.fed(&["import", "-", "--format", "jsonl", "--tag", "notes", "--json", "--deferred"], lines.as_bytes());
    imported.err.clear();
    let document = masked(crate::common::parse(&imported.done(&["import"])));
    let expected =
        json!({"lines": 5, "added": 5, "updated": 0, "unchanged": 0, "failed": 0, "interrupted": false, "ms": 0});
    assert_eq!(document, expected);

    let page = home.json(&["list", "--limit", "3"]);
    assert_eq!(page["memories"].as_array().unwrap().len(), 3);
    let rest = home.json(&["list", "--limit", "3", "--after", page["next"].as_str().unwrap()]);
    assert_eq!(rest["memories"].as_array().unwrap().len(), 2);
    assert_eq!(rest.get("next"), None);

    let matching = ["delete", "--matching", "--filter", "{\"metadata.import\":\"notes\"}"];
    check(&home, &[&matching[..], &["--dry-run"]].concat(), &json!({"ids": 5, "remaining": 0}));
    check(&home, &[&matching[..], &["--yes"]].concat(), &json!({"ids": 5, "remaining": 0}));
    check(&home, &[&matching[..], &["--yes"]].concat(), &json!({"ids": 0, "remaining": 0}));
    check(&home, &["flush"], &json!({"flushed": true, "ms": 0}));
    let model = json!({"name": "all-MiniLM-L6-v2", "fingerprint": "…"});
    check(
        &home,
        &["stats"],
        &json!({
            "live": 0, "outdated": 0, "expired": 0, "deleted": 5, "pending": 0, "lag": 0, "oldest_snapshot_ms": 0, "bytes": 0,
            "model": model, "stale": 0
        }),
    );
    check(&home, &["doctor", "--deep"], &json!({"data": home.path().to_str().unwrap(), "problems": []}));
    check(&home, &["component"], &json!({"sha256": "…", "bytes": 0}));
    assert_eq!(home.does(&["export"]).lines().count(), 1, "the deleted ones are left out");
}

#[test]
fn many_queries_are_answered_in_order() {
    let home = Home::new();
    home.does(&["add", "Ana is vegetarian", "-u", "ana", "--key", "a"]);
    let queries = "{\"query_id\":\"q1\",\"query\":\"vegetarian\",\"user\":\"ana\"}\n{\"query_id\":\"q2\",\"query\":\"\"}\n{\"query_id\":\"q3\",\"query\":\"x\",\"user\":\"ben\"}\n";
    let file = home.path().join("queries.jsonl");
    std::fs::write(&file, queries).unwrap();
    let answer = home.cairn(&["search", "--queries", file.to_str().unwrap(), "--jsonl"]);
    assert_eq!(answer.code, Some(1));
    let lines: Vec<Value> = crate::common::lines(&answer.out).into_iter().map(masked).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["query_id"], &lines[0]["hits"][0]["key"]), (&json!("q1"), &json!("a")));
    assert_eq!((&lines[1]["query_id"], &lines[1]["error"]["kind"]), (&json!("q2"), &json!("invalid-argument")));
    assert_eq!(lines[2], json!({"query_id": "q3", "hits": [], "ms": 0}));
}

#[test]
fn a_setting_tells_where_it_comes_from() {
    let home = Home::new();
    std::fs::write(home.path().join("cairn.toml"), "user = \"ana\"\nwait = 30\n").unwrap();
    let settings = home.json(&["config", "--wait", "7"]);
    let find = |name: &str| {
        let settings = settings["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(find("user")["value"], "ana");
    assert_eq!(find("wait")["value"], "7");
    assert_eq!(find("data")["origin"], "CAIRN_DATA in the environment");
    assert_eq!(find("run"), json!({"name": "run", "origin": "default"}));
}
