//! Imports into the exact fake of the engine: order, counts, interruptions and refusals.
use std::fmt::Write as _;
use std::io::Write as _;

use super::super::fake::Fake;
use super::*;

fn options() -> ImportOptions {
    ImportOptions {
        format: None,
        scope: super::super::everywhere(),
        tag: None,
        lenient: false,
        strict: false,
        deferred: false,
        cancel: Arc::default(),
    }
}

/// Imports a text and returns the result with all reports.
async fn import_text(
    store: &Fake,
    text: &str,
    options: &ImportOptions,
) -> (Result<Imported, TransferError>, Vec<Progress>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut reports = Vec::new();
    let input = Input::File(file.path().to_owned());
    let result = run(store, input, options, &mut |progress| reports.push(progress)).await;
    (result, reports)
}

fn user(n: usize) -> Scope {
    Scope { user: Some(format!("u{n}")), ..super::super::everywhere() }
}

/// Lines of several users, mixed; without an order in their numbers.
fn mixed(n_lines: usize, n_users: usize) -> String {
    let mut text = String::new();
    for n in 0..n_lines {
        writeln!(text, r#"{{"text":"{n}","user":"u{}","key":"k{n}"}}"#, (n * n / 3) % n_users).unwrap();
    }
    text
}

fn summary(added: u64, unchanged: u64, failed: u64) -> Imported {
    Imported {
        lines: added + unchanged + failed,
        added,
        updated: 0,
        unchanged,
        failed,
        format: Format::Jsonl,
        interrupted: false,
    }
}

fn problems(reports: &[Progress]) -> Vec<(u64, String)> {
    let problems = reports.iter().filter_map(|progress| progress.problem.as_ref());
    problems.map(|problem| (problem.line, super::super::sentence(&problem.error))).collect()
}

#[tokio::test]
async fn lines_of_one_scope_keep_their_order_and_never_overlap() {
    for n_users in [1, 2, 7, 1_000] {
        let store = Fake::default();
        let (result, reports) = import_text(&store, &mixed(5_000, n_users), &options()).await;
        assert_eq!(result.unwrap(), summary(5_000, 0, 0));
        assert_eq!(store.store().overlaps, 0);
        for n in 0..n_users {
            let texts = store.texts(&user(n));
            let numbers: Vec<usize> = texts.iter().map(|text| text.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{n_users} users: {numbers:?}");
        }
        assert_eq!(store.store().most_in_flight > 1, n_users > 1);
        assert!(reports.is_sorted_by(|a, b| a.acknowledged < b.acknowledged));
        assert_eq!(
            reports.last().map(|progress| (progress.acknowledged, Some(progress.bytes))),
            Some((5_000, reports[0].total_bytes))
        );
    }
}

#[tokio::test]
async fn bad_lines_are_reported_in_order_and_the_others_go_on() {
    let store = Fake::default();
    let text = "\u{feff}{\"text\":\"a\"}\r\n\n{\"text\":1}\n{\"text\":\" \"}\n{\"txt\":\"b\"}\n{\"text\":\"c\"}";
    let (result, reports) = import_text(&store, text, &options()).await;
    assert_eq!(result.unwrap(), summary(2, 0, 3));
    let default = Scope { user: Some("default".to_owned()), ..super::super::everywhere() };
    assert_eq!(store.texts(&default), ["a", "c"]);
    let expected = [
        (3, "text: must be a text, not a number".to_owned()),
        (4, "text: the text is blank".to_owned()),
        (5, "txt: is an unknown field; did you mean text?".to_owned()),
    ];
    assert_eq!(problems(&reports), expected);
    assert_eq!(reports.last().unwrap().acknowledged, 6);
}

#[tokio::test]
async fn a_strict_import_with_a_bad_line_writes_nothing() {
    let store = Fake::default();
    let strict = ImportOptions { strict: true, ..options() };
    let text = format!("{}\n{{\"text\":\"\"}}\nno\n{{\"text\":\"a\",\"key\":\" k\"}}\n", mixed(3_000, 3));
    let (result, reports) = import_text(&store, &text, &strict).await;
    assert_eq!(result.unwrap_err().to_string(), "3 of 3003 lines are bad, so nothing was written");
    let expected = [
        (3_002, "text: the text is blank".to_owned()),
        (3_003, "not JSON: expected ident at column 2".to_owned()),
        (3_004, "key: has white space at its ends".to_owned()),
    ];
    assert_eq!(problems(&reports), expected);
    assert!(store.store().calls.is_empty());
    let (result, _) = import_text(&store, &mixed(3_000, 3), &strict).await;
    assert_eq!(result.unwrap(), summary(3_000, 0, 0));
}

#[tokio::test]
async fn a_stopped_import_has_what_it_acknowledged_and_can_be_repeated() {
    let store = Fake::default();
    store.store().errors.extend([None, None, None, Some(Error::Unavailable("the disk is full".to_owned()))]);
    let text = mixed(4_000, 5);
    let (result, reports) = import_text(&store, &text, &options()).await;
    let acknowledged = reports.last().map_or(0, |progress| progress.acknowledged);
    let message = format!(
        "the store stopped the import after {acknowledged} lines: the disk is full; the same command again continues"
    );
    assert_eq!(result.unwrap_err().to_string(), message);
    let stored: HashSet<String> = (0..5).flat_map(|n| store.texts(&user(n))).collect();
    assert!((0..acknowledged).all(|n| stored.contains(&n.to_string())));
    let n_stored = stored.len() as u64;
    assert!((1..4_000).contains(&n_stored));

    let (result, _) = import_text(&store, &text, &options()).await;
    assert_eq!(result.unwrap(), summary(4_000 - n_stored, n_stored, 0));
    for n in 0..5 {
        let numbers: Vec<usize> = store.texts(&user(n)).iter().map(|text| text.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
    }
}

#[tokio::test]
async fn a_busy_store_is_waited_for() {
    let store = Fake::default();
    store.store().errors.extend([
        Some(Error::Busy(1)),
        Some(Error::Busy(1)),
        Some(Error::Conflict("retry".to_owned())),
    ]);
    let (result, _) = import_text(&store, &mixed(10, 2), &options()).await;
    assert_eq!(result.unwrap(), summary(10, 0, 0));
}

#[tokio::test]
async fn what_is_too_much_for_one_call_is_halved_in_order() {
    let store = Fake::default();
    store.store().most_items = Some(10);
    let (result, _) = import_text(&store, &mixed(100, 1), &options()).await;
    assert_eq!(result.unwrap(), summary(100, 0, 0));
    assert!(store.texts(&user(0)).iter().map(|text| text.parse::<usize>().unwrap()).is_sorted());
}

#[tokio::test]
async fn memories_with_histories_fit_a_commit() {
    let mut text = String::new();
    for n in 0..1_300_usize {
        let line = |version: usize| {
            format!(
                r#"{{"id":"0197a3c4-0000-7000-8000-{n:012}","text":"{n}","run":"r","created_at":0,"updated_at":0,"version":{version}"#
            )
        };
        let n_earlier = if n == 650 { 2_500 } else { n / 600 * 6 };
        let entry = |version| format!(r#"{{"change":"updated","reason":"requested","memory":{}}}}}"#, line(version));
        let history: Vec<String> = (1..=n_earlier).rev().map(entry).collect();
        writeln!(text, r#"{},"history":[{}]}}"#, line(n_earlier + 1), history.join(",")).unwrap();
    }
    let store = Fake::default();
    let (result, _) = import_text(&store, &text, &options()).await;
    assert_eq!(result.unwrap(), summary(1_300, 0, 0));
    let store = store.store();
    let mut rest = store.memories.as_slice();
    for n_items in &store.calls {
        let (call, behind) = rest.split_at(*n_items);
        rest = behind;
        let n_versions: usize = call.iter().map(|archive| 1 + archive.earlier.len()).sum();
        assert!(
            call.len() <= 500 && (n_versions <= 2_000 || call.len() == 1),
            "{n_items} items, {n_versions} versions"
        );
    }
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_call_that_is_refused_for_one_item_goes_on_without_it() {
    let store = Fake::default();
    store.store().poison = Some("7".to_owned());
    let (result, reports) = import_text(&store, &mixed(20, 3), &options()).await;
    assert_eq!(result.unwrap(), summary(19, 0, 1));
    assert_eq!(problems(&reports), [(8, "text: is poison".to_owned())]);
}

#[tokio::test]
async fn a_later_interchange_version_is_refused() {
    let store = Fake::default();
    let text = "{\"cairn\":2,\"memories\":1}\n{\"text\":\"a\"}\n";
    let (result, _) = import_text(&store, text, &options()).await;
    let message = "line 1 says interchange version 2, and this program reads version 1";
    assert_eq!(result.unwrap_err().to_string(), message);
    let (result, reports) = import_text(&store, "{\"cairn\":1,\"memories\":1}\n{\"text\":\"a\"}\n", &options()).await;
    assert_eq!(result.unwrap(), summary(1, 0, 0));
    assert_eq!(reports.last().unwrap().acknowledged, 2);
}

#[tokio::test]
async fn a_cancelled_import_makes_no_further_calls() {
    let store = Fake::default();
    let cancelled = ImportOptions { cancel: Arc::new(AtomicBool::new(true)), ..options() };
    let (result, _) = import_text(&store, &mixed(10, 2), &cancelled).await;
    assert!(result.unwrap().interrupted);
    assert!(store.store().calls.is_empty());
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let input = Input::File("no/such/file".into());
    let error = run(&Fake::default(), input, &options(), &mut |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read no/such/file");
}

#[tokio::test]
async fn other_formats_are_guessed_and_said() {
    let cases = [
        ("# Tea\n\n- green\n- black\n", Format::Markdown, vec!["green", "black"]),
        ("She likes tea\n\nHe does not", Format::Text, vec!["She likes tea", "He does not"]),
        ("[{\"role\":\"user\",\"content\":\"Tea?\"},\n{\"content\":\"No\"}]", Format::Chat, vec!["Tea?", "No"]),
    ];
    for (text, format, expected) in cases {
        let store = Fake::default();
        let run = Scope { run: Some("r".to_owned()), ..super::super::everywhere() };
        let (result, _) = import_text(&store, text, &ImportOptions { scope: run.clone(), ..options() }).await;
        assert_eq!(result.unwrap(), Imported { format, ..summary(2, 0, 0) });
        assert_eq!(store.texts(&run), expected);
    }
}
