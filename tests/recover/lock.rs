//! Two commands at once: the second waits for the first, and says who that is when it has waited long enough.
use crate::common::Home;

#[test]
fn the_second_command_waits_and_then_names_the_first() {
    let home = Home::new();
    let mut holder = home.start(&["import", "-", "--format", "jsonl", "--jsonl", "--deferred"]);
    holder.feed("{\"text\":\"the holder was here\"}\n");
    assert_eq!(holder.line().unwrap()["acknowledged"], 1);

    let refused = home.cairn(&["list", "--wait", "0.2"]);
    assert_eq!(refused.code, Some(1));
    let expected =
        format!("error: the store at {} is in use by process {} (cairn import)", home.path().display(), holder.id());
    assert_eq!(refused.err.lines().next(), Some(expected.as_str()));
    assert!(refused.err.contains("\nhint: --wait SECONDS"), "{}", refused.err);

    let mut second = home.start(&["list", "--wait", "60", "--jsonl"]);
    holder.close();
    assert_eq!(holder.code(), Some(0));
    assert_eq!(second.line().unwrap()["text"], "the holder was here");
    assert_eq!(second.code(), Some(0));
}
