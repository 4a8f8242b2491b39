//! Searches find what they should: a small set of our own, whole through the binary, with floors. Says nothing about other
//! data; `cairn bench quality` does, for any folder.
use crate::common::{Home, lines, text};

const SET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/quality");

fn bench(home: &Home, more: &[&str]) -> crate::common::Answer {
    // The stores of a bench lie on a real disk.
    let dir = env!("CARGO_TARGET_TMPDIR");
    home.cairn(&[&["bench", "quality", SET, "--dir", dir, "--json"][..], more].concat())
}

#[test]
fn no_step_is_below_its_floor() {
    let home = Home::new();
    let floors = format!("{SET}/floors.json");
    for pipeline in ["lexical", "core", "context"] {
        let answer = bench(&home, &["--pipeline", pipeline, "--floors", &floors]);
        let rows = lines(&answer.done(&["bench", "quality", pipeline]));
        let whole = rows.iter().find(|row| row["row"] == "all" && row["unit"] == "memory").expect("a row for all");
        assert_eq!(whole["n"], 46, "{whole}");
    }
}

#[test]
fn what_is_below_its_floor_fails() {
    let home = Home::new();
    let floors = home.path().join("floors.json");
    std::fs::write(&floors, r#"{"quality":{"context":{"memory":{"R@1":100.1}}}}"#).expect("a file of the test");
    let out = home.path().join("run.jsonl");
    let (floors, out) = (floors.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    let answer = bench(&home, &["--floors", floors, "--out", out]);
    assert_eq!(answer.code, Some(1), "{}", answer.err);
    assert!(answer.err.contains("below the floor: quality context R@1 is "), "{}", answer.err);
    let run = lines(&std::fs::read_to_string(out).expect("the rankings were written"));
    assert_eq!(run.len(), 46);
    assert_eq!(text(&run[0], "query_id"), "q1");
    assert_eq!(run[0]["ranking"][0], "s1:2");
}
