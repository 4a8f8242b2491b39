//! Disks that are full, files that are damaged, stores of another program: each is told in so many words, nothing that
//! was acknowledged is lost, and the store works again when the cause is gone.
use std::fs;
use std::path::Path;
use std::process::Command;

use redb::{Database, TableDefinition};
use serde_json::{Value, json};

use super::files::check_sound;
use crate::common::{Answer, Home, finish, isolate, lines};

/// A failure that names what is wrong, and never a panic.
#[track_caller]
fn check_told(answer: &Answer, expected: &str) {
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let told = answer.err.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(told.contains(expected), "no {expected:?} in {:?}", answer.err);
    assert!(!answer.err.contains("panicked"), "{}", answer.err);
}

fn filled(home: &Home) -> String {
    let lines: String =
        (0..200).map(|n| format!("{}\n", json!({"text": format!("memory {n}"), "user": "ana"}))).collect();
    home.fed(&["import", "-", "--format", "jsonl", "--deferred"], lines.as_bytes()).done(&["import"]);
    home.does(&["list", "--limit", "500", "--jsonl"])
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
    let set = |path: &Path, format: u32| {
        let database = Database::open(path).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(META).unwrap().insert(&b"format"[..], &format.to_be_bytes()[..]).unwrap();
        writing.commit().unwrap();
    };
    let home = Home::new();
    let listed = filled(&home);
    let path = home.path().join("cairn.redb");
    set(&path, 7);
    for verb in [&["list"][..], &["add", "x"], &["export"]] {
        check_told(&home.cairn(verb), "has format 7; this program reads formats up to");
    }
    set(&path, 1);
    assert_eq!(home.does(&["list", "--limit", "500", "--jsonl"]), listed);
    check_sound(&home);
}

#[test]
fn an_export_of_a_newer_format_is_refused() {
    let home = Home::new();
    let answer = home.fed(&["import", "-", "--format", "jsonl"], b"{\"cairn\":2,\"memories\":1}\n{\"text\":\"x\"}\n");
    check_told(&answer, "line 1 says interchange version 2, and this program reads version 1");
    assert_eq!(home.json(&["list"])["memories"], json!([]));
}

#[test]
fn damage_is_told_or_does_not_matter() {
    let home = Home::new();
    let listed = filled(&home);
    let path = home.path().join("cairn.redb");
    let whole = fs::read(&path).unwrap();
    let cut = |length: usize| whole[..length].to_vec();
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x5a;
        bytes
    };
    let size = whole.len();
    let mut damaged =
        vec![cut(1), cut(10), cut(4095), cut(size / 2), cut(size - 4096), cut(size - 1), b"not a store".to_vec()];
    damaged.extend([0, 9, 64, 200].map(flipped));
    damaged.extend((1..12).map(|part| flipped(size * part / 12)));
    // Every copy of one text: of the record, of what is found by it, and of the changelog.
    let word = b"memory 77";
    let copies = whole.windows(word.len()).enumerate().filter(|(_, bytes)| bytes == word);
    damaged.extend(copies.map(|(place, _)| flipped(place + 2)));
    let mut told = 0;
    for bytes in damaged {
        fs::write(&path, &bytes).unwrap();
        let answer = home.cairn(&["list", "--limit", "500", "--jsonl"]);
        if answer.code == Some(0) {
            // What was damaged is not read for this, or is found by who reads everything.
            if answer.out != listed {
                let checked = home.cairn(&["doctor", "--deep"]);
                assert_eq!(checked.code, Some(1), "a list that differs, and {}", checked.out);
            }
        } else {
            check_told(&answer, "is damaged: ");
            assert!(answer.out.starts_with("{\"error\":"), "{}", answer.out);
            told += 1;
        }
    }
    assert!(told >= 7, "only {told} were told");
    fs::write(&path, &whole).unwrap();
    check_sound(&home);
}

/// The command as somebody else would run it; none where this cannot be done.
#[cfg(unix)]
fn as_nobody(home: &Home, arguments: &[&str]) -> Option<Answer> {
    let own = home.command(arguments);
    let mut command = Command::new("setpriv");
    isolate(&mut command, home.path());
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    command.arg(own.get_program()).args(own.get_args());
    let may_run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let mut probe = Command::new("setpriv");
    probe
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(own.get_program())
        .arg("--version");
    may_run(&mut probe).then(|| finish(command, b""))
}

#[test]
#[cfg(unix)]
fn a_store_without_permission_is_told_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let listed = filled(&home);
    let permit = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (directory, file) in [(0o755, 0o600), (0o755, 0o644), (0o777, 0o644)] {
        permit(home.path(), directory);
        for name in ["cairn.redb", "cairn.lock"] {
            permit(&home.path().join(name), file);
        }
        for verb in [&["list"][..], &["add", "x", "--deferred"], &["backup", "/nowhere/at/all"]] {
            let Some(answer) = as_nobody(&home, verb) else {
                println!("skipped: nobody else can be who runs this");
                return;
            };
            check_told(&answer, "no permission to ");
            assert!(answer.err.contains("hint: "), "{}", answer.err);
        }
    }
    permit(home.path(), 0o700);
    assert_eq!(home.does(&["list", "--limit", "500", "--jsonl"]), listed);
}

#[test]
fn a_directory_that_is_a_file_is_told() {
    let home = Home::new();
    let file = home.path().join("file");
    fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    let answer = home.cairn(&["--data", path, "list"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("file/cairn.toml: Not a directory"), "{}", answer.err);
    filled(&home);
    check_told(&home.cairn(&["backup", path]), "file is not a directory");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

/// One long text a line, so that a small disk fills within a few hundred lines.
fn long_lines(count: usize) -> String {
    let words = "lamp ".repeat(800);
    (0..count).map(|n| format!("{}\n", json!({"text": format!("{n} {words}"), "key": format!("k{n}")}))).collect()
}

/// Imports until the disk is full, then again when it is not, and compares.
#[track_caller]
fn check_full(home: &Home, full: &Answer, expected: &str, count: usize) {
    check_told(full, expected);
    let acknowledged =
        lines(&full.out).iter().filter_map(|line| line["acknowledged"].as_u64()).max().unwrap_or_default();
    let keys = |home: &Home| {
        let exported = lines(&home.does(&["export"]));
        let mut keys: Vec<String> =
            exported[1..].iter().map(|memory| memory["key"].as_str().unwrap()[1..].to_owned()).collect();
        keys.sort_by_key(|key| key.parse::<usize>().unwrap());
        keys
    };
    let there = keys(home);
    let first: Vec<String> = (0..there.len()).map(|n| n.to_string()).collect();
    assert_eq!(there, first, "the lines of one scope are the first of the file");
    assert!(
        there.len() >= usize::try_from(acknowledged).unwrap(),
        "{acknowledged} were acknowledged, {} are there",
        there.len()
    );
    assert!(there.len() < count, "the disk was never full");
    check_sound(home);
    home.fed(&["import", "-", "--format", "jsonl", "--deferred"], long_lines(count).as_bytes()).done(&["import"]);
    assert_eq!(keys(home).len(), count);
    check_sound(home);
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_grow_loses_nothing() {
    const LINES: usize = 3000;
    let home = Home::new();
    let mut command = Command::new("sh");
    isolate(&mut command, home.path());
    // Without the trap the system would end the process; so it gets an error, as from a disk.
    let script = "trap '' XFSZ; ulimit -f 24000; exec \"$0\" import - --format jsonl --jsonl --deferred";
    command.args(["-c", script, env!("CARGO_BIN_EXE_cairn")]);
    let full = finish(command, long_lines(LINES).as_bytes());
    check_full(&home, &full, "File too large", LINES);
}

/// A disk of a few megabytes over a directory, gone with this.
struct SmallDisk<'h>(&'h Home);

impl<'h> SmallDisk<'h> {
    /// None where this is not allowed.
    fn mount(home: &'h Home, size: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(home.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(home))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,{size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // If it stays mounted, the directory stays as well, and the system says so.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    const LINES: usize = 3000;
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home, "size=12m") else {
        println!("skipped: no disk can be mounted here");
        return;
    };
    let full = home.fed(&["import", "-", "--format", "jsonl", "--jsonl", "--deferred"], long_lines(LINES).as_bytes());
    disk.grow("size=200m");
    check_full(&home, &full, "is full", LINES);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    let home = Home::new();
    let Some(_disk) = SmallDisk::mount(&home, "size=4k") else {
        println!("skipped: no disk can be mounted here");
        return;
    };
    check_told(&home.cairn(&["add", "x", "--deferred"]), "is full");
}

#[test]
fn a_model_that_is_cut_short_stores_nothing() {
    let home = Home::new();
    let folder = crate::doors::cut_model(home.path());
    for arguments in [&["add", "a text"][..], &["search", "a text"], &["import", "-"], &["add", "-"]] {
        let arguments = [arguments, &["--model", &folder]].concat();
        let answer = home.fed(&arguments, b"a text\n");
        check_told(&answer, "model.onnx has 1000 bytes, not the");
        assert!(answer.err.contains("it may have been cut short"), "{}", answer.err);
    }
    let listed: Value = home.json(&["list"]);
    assert_eq!(listed["memories"], json!([]));
}
