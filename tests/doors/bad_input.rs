//! What no store should hold: each is refused with a message that names it, and leaves nothing behind.
use serde_json::{Value, json};

use crate::common::{Answer, Home};

/// Compares the exit code, looks for the words that name the fault, and sees that nothing was stored.
#[track_caller]
fn check(home: &Home, what: &str, answer: &Answer, code: i32, named: &str) {
    assert_eq!(answer.code, Some(code), "{what}: {answer:?}");
    assert!(
        answer.err.starts_with("error: ") && answer.err.contains(named),
        "{what}: no {named:?} in {:?}",
        answer.err
    );
    assert!(!answer.err.contains("panicked"), "{what}: {}", answer.err);
    let listed = home.cairn(&["list", "--include", "outdated,expired,deleted", "--json"]);
    assert_eq!(listed.out, "{\"memories\":[]}\n", "{what} left something behind");
}

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn arguments() {
    let deep = format!("deep:={}{}", "[".repeat(200), "]".repeat(200));
    let name = "k".repeat(300);
    let query = "q".repeat(9000);
    let rows: &[(&[&str], i32, &str)] = &[
        (&["add", ""], 1, "text is blank"),
        (&["add", " \t\u{3000}"], 1, "text is blank"),
        (&["add", "x", "-u", ""], 2, "--user is empty"),
        (&["add", "x", "-u", "  "], 1, "user is blank"),
        (&["add", "x", "-u", " ana"], 1, "user begins or ends with white space"),
        (&["add", "x", "-u", "a\tb"], 1, "user has a control character"),
        (&["add", "x", "--run", "r\u{7f}"], 1, "run has a control character"),
        (&["add", "x", "--key", ""], 1, "key is empty"),
        (&["add", "x", "--key", &name], 1, "key has 300 bytes, at most 256"),
        (&["add", "x", "--actor", "Ana "], 1, "actor begins or ends with white space"),
        (&["add", "x", "--kind", "feeling"], 2, "feeling"),
        (&["add", "x", "--role", "boss"], 2, "boss"),
        (&["add", "x", "--at", "never"], 2, "\"never\" is not a time"),
        (&["add", "x", "--at", "10000-01-01"], 2, "\"10000-01-01\" is not a time"),
        (&["add", "x", "--at", "99999999999999999"], 2, "outside the years 1 to 9999"),
        (&["add", "x", "--at", "2025-02-30"], 2, "\"2025-02-30\" is not a time"),
        (
            &["add", "x", "--valid-from", "2025-01-02", "--valid-to", "2025-01-01"],
            1,
            "the validity ends before it begins",
        ),
        (&["add", "x", "-m", "colour"], 2, "there is no `=` in it"),
        (&["add", "x", "-m", "[1]"], 2, "--metadata \"[1]\""),
        (&["add", "x", "-m", "{\"a\":1,\"a\":2}"], 2, "the name \"a\" comes twice"),
        (&["add", "x", "-m", "{\"a\":"], 2, "--metadata"),
        (&["add", "x", "-m", &deep], 1, "64 levels"),
        (&["list", "--limit", "0"], 1, "the limit is 0"),
        (&["list", "--limit", "-1"], 2, "-1"),
        (&["list", "--limit", "1001"], 1, "the limit is 1001, at most 1000"),
        (&["list", "--after", "elsewhere"], 1, "this is no cursor"),
        (&["list", "--filter", "{"], 1, "filter"),
        (&["list", "--filter", "[]"], 1, "filter"),
        (&["list", "--filter", "{\"colour\":1}"], 1, "there is no field \"colour\"; did you mean \"metadata.colour\"?"),
        (&["list", "--filter", "{\"user\":{\"gtee\":1}}"], 1, "there is no operator \"gtee\"; did you mean \"gte\"?"),
        (&["list", "--filter", "{\"metadata.x\":{\"in\":5}}"], 1, "in and nin take a list"),
        (&["list", "--wait", "long"], 2, "--wait is no number of seconds"),
        (&["search", ""], 1, "the query is blank"),
        (&["search", &query], 1, "the query has 9000 bytes, at most 8192"),
        (&["search", "x", "--limit", "0"], 1, "the limit is 0"),
        (&["search", "x", "--limit", "5000"], 1, "the limit is 5000, at most 1000"),
        (&["search", "x", "--filter", "{\"colour\":1}"], 1, "there is no field \"colour\""),
        (&["search", "x", "--min-similarity", "many"], 2, "many"),
        (&["get", "nobody"], 1, "this is no id"),
        (&["get", NOBODY], 3, NOBODY),
        (&["get", "--key", "k", "-u", "ana"], 3, "there is no memory k"),
        (&["update", NOBODY, "x"], 3, NOBODY),
        (&["update", NOBODY], 2, "nothing to change"),
        (&["delete", NOBODY], 3, NOBODY),
        (&["delete"], 2, "no memory is named"),
        (&["delete", "--matching"], 2, "--matching without a scope or filter would delete everything"),
        (&["delete", "--matching", "-u", "ana"], 2, "nobody can be asked"),
        (&["forget", NOBODY], 3, NOBODY),
        (&["history", NOBODY], 3, NOBODY),
        (&["restore", NOBODY, "--version", "1"], 3, NOBODY),
        (&["import", "no-such-file"], 1, "cannot read no-such-file"),
        (&["import", "."], 1, "it is a directory"),
        (&["export", "no-such-folder/file"], 1, "no-such-folder"),
        (&["search", "--queries", "no-such-file"], 1, "no-such-file"),
        (&["add"], 2, "TEXT"),
        (&["ad", "x"], 2, "'ad'"),
        (&["add", "x", "--colour"], 2, "--colour"),
        (&["list", "--model", "no-such-model"], 1, "no-such-model"),
    ];
    let home = Home::new();
    for (arguments, code, named) in rows {
        let answer = home.cairn(arguments);
        assert_eq!(answer.out, "", "{arguments:?}");
        check(&home, &format!("{arguments:?}"), &answer, *code, named);
    }
}

#[test]
fn lines_of_an_import() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let metadata = |value: &Value| json!({"text": "x", "metadata": value}).to_string().into_bytes();
    let many: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("k{n}"), json!(n))).collect();
    let few: serde_json::Map<String, Value> = (0..2_000).map(|n| (format!("k{n}"), json!(n))).collect();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (bytes(r#"{"text":"  "}"#), "blank"),
        (
            json!({"text": "a".repeat((1 << 20) + 1)}).to_string().into_bytes(),
            "text has 1048577 bytes, at most 1048576",
        ),
        (bytes(r#"{"text":"\ud800 x"}"#), "text: "),
        (b"{\"text\":\"\xff\xfe\"}".to_vec(), "not UTF-8"),
        (b"{\"text\":\"nul \0\"}".to_vec(), "not JSON"),
        (bytes(r#"{"text":"cut"#), "not JSON"),
        (bytes(r#"{"text":"x"} {"text":"y"}"#), "not JSON"),
        (bytes(r#"{"text":5}"#), "text: must be a text"),
        (bytes(r#"{"text":"x","text":"y"}"#), "twice"),
        (bytes("[1]"), "JSON object"),
        (bytes("null"), "JSON object"),
        (bytes(r#"{"txt":"x"}"#), "txt: is an unknown field; did you mean text?"),
        (bytes(r#"{"text":"x","user":""}"#), "user is empty"),
        (bytes(r#"{"text":"x","user":"   "}"#), "user is blank"),
        (bytes(r#"{"text":"x","actor":"a\u0007"}"#), "actor has a control character"),
        (bytes(r#"{"text":"x","kind":"feeling"}"#), "kind: "),
        (bytes(r#"{"text":"x","role":"boss"}"#), "role: "),
        (bytes(r#"{"text":"x","at":"10000-01-01"}"#), "at: "),
        (bytes(r#"{"text":"x","at":1e300}"#), "at: "),
        (bytes(r#"{"text":"x","at":true}"#), "at: "),
        (bytes(r#"{"text":"x","id":"nobody","version":1}"#), "line 1: "),
        (bytes(r#"{"text":"x","links":[{"relation":"about","target":"nobody"}]}"#), "links[0].target"),
        (bytes(r#"{"text":"x","metadata":{"a":1,"a":2}}"#), "twice"),
        (bytes(&format!(r#"{{"text":"x","metadata":{deep}}}"#)), "metadata: "),
        (bytes(&format!(r#"{{"text":"x","metadata":{{"a":{deep}}}}}"#)), "64 levels"),
        (bytes(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), "line 1: "),
        (metadata(&many.into()), "metadata has"),
        (metadata(&few.into()), "metadata has more than 1024 values"),
        (
            json!({"text": "x", "key": "k".repeat(1 << 20)}).to_string().into_bytes(),
            "key has 1048576 bytes, at most 256",
        ),
    ];
    let home = Home::new();
    for (line, named) in rows {
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let answer = home.fed(&["import", "-", "--format", "jsonl", "--deferred"], &line);
        assert!(answer.err.starts_with("error: line 1: "), "{shown}: {}", answer.err);
        check(&home, &shown, &answer, 1, named);
    }
}

#[test]
fn a_bad_line_stops_no_other() {
    let home = Home::new();
    let input = b"{\"text\":\"first\"}\n{\"text\":\"\"}\nnot json\n{\"text\":\"fourth\"}\n";
    let answer = home.fed(&["import", "-", "--format", "jsonl", "--json", "--deferred"], input);
    assert_eq!(answer.code, Some(1));
    let complaints: Vec<&str> = answer.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert!(
        complaints.len() == 2 && complaints[0].starts_with("line 2: ") && complaints[1].starts_with("line 3: "),
        "{complaints:?}"
    );
    assert_eq!(home.json(&["stats"])["live"], 2);

    let strict = home.fed(&["import", "-", "--format", "jsonl", "--strict", "-u", "strict"], input);
    assert_eq!(strict.code, Some(1));
    let end = "error: 2 of 4 lines are bad, so nothing was written\nhint: without --strict the good lines are taken\n";
    assert!(strict.err.ends_with(end), "{}", strict.err);
    assert_eq!(home.json(&["stats"])["live"], 2);
}

#[test]
fn an_error_is_an_object_as_well() {
    let home = Home::new();
    let answer = home.cairn(&["list", "--limit", "1001", "--json"]);
    let error = &crate::common::parse(&answer.out)["error"];
    assert_eq!(error["kind"], "limit-exceeded");
    assert_eq!(error["message"], "the limit is 1001, at most 1000 is taken");
    let answer = home.cairn(&["list", "--colour", "--json"]);
    let error = &crate::common::parse(&answer.out)["error"];
    assert_eq!(error["kind"], "invalid-argument");
    assert_eq!(error["message"], "unexpected argument '--colour' found");
}
