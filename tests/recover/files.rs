//! Import files whose lines can be told apart, and the look at a store that has taken some of them. Kills nothing.
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::common::{Home, lines, text};

/// Chance that can be repeated: the seed is printed when the test fails.
pub(super) struct Chance(u64);

impl Chance {
    /// From the clock, or from `CAIRN_SEED`.
    pub(super) fn new() -> Self {
        let given = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let seed = given.unwrap_or_else(|| now.into());
        println!("CAIRN_SEED={seed} repeats this");
        Self(seed)
    }

    /// A number below `bound`, by `SplitMix64`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// Lines of an import, each with a key of its own, over several scopes.
pub(super) struct Batch(Vec<Value>);

impl Batch {
    pub(super) fn new(name: &str, count: usize) -> Self {
        let line = |n: usize| {
            json!({
                "text": format!("{name} {n}: the {} lamp stands in room {n}", ["red", "blue", "green"][n % 3]),
                "user": format!("u{}", n * 7 % 5),
                "run": format!("r{}", n / 2 % 2),
                "key": format!("{name}-{n}"),
            })
        };
        Self((0..count).map(line).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Text of a line.
    pub(super) fn text(&self, n: usize) -> &str {
        text(&self.0[n], "text")
    }

    /// Some of its lines as they stand in a file.
    pub(super) fn jsonl(&self, range: std::ops::Range<usize>) -> String {
        self.0[range].iter().map(|line| format!("{line}\n")).collect()
    }

    /// The whole as a file beside the store.
    pub(super) fn file(&self, home: &Home, name: &str) -> PathBuf {
        let path = home.path().join(name);
        fs::write(&path, self.jsonl(0..self.len())).unwrap();
        path
    }

    /// Checks what a store has of it: every acknowledged line, of each scope the first lines without a gap, each line as
    /// it was given and once. Answers how many there are.
    #[track_caller]
    pub(super) fn check(&self, home: &Home, acknowledged: usize) -> usize {
        let exported = lines(&home.does(&["export"]));
        let (head, memories) = exported.split_first().expect("an export has a first line");
        assert_eq!(head["memories"], memories.len(), "the first line counts the rest");
        let mut found: HashMap<&str, &Value> = HashMap::new();
        for memory in memories {
            assert!(found.insert(text(memory, "key"), memory).is_none(), "twice in the store: {memory}");
        }
        let mut ended: HashSet<(&str, &str)> = HashSet::new();
        let mut count = 0;
        for (n, line) in self.0.iter().enumerate() {
            let scope = (text(line, "user"), text(line, "run"));
            if let Some(memory) = found.get(text(line, "key")) {
                assert!(!ended.contains(&scope), "line {n} is there, an earlier one of {scope:?} is not");
                for name in ["text", "user", "run"] {
                    assert_eq!(memory[name], line[name], "{name} of line {n}");
                }
                assert_eq!(memory["version"], 1, "line {n}");
                count += 1;
            } else {
                assert!(n >= acknowledged, "line {n} is lost, {acknowledged} were acknowledged");
                ended.insert(scope);
            }
        }
        count
    }
}

/// Every record is read and compared with the indexes.
#[track_caller]
pub(super) fn check_sound(home: &Home) {
    assert_eq!(home.json(&["doctor", "--deep"])["problems"], json!([]));
}
