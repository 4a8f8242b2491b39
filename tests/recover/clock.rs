//! Clocks that are set back, within a run and between two: memories keep the order in which they were made.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cairn::contract::memory::{ListRequest, Target, View};
use cairn::system::Platform;
use cairn::{AddOptions, Content, Engine, ModelChoice, Options, Scope};

static NOW: AtomicI64 = AtomicI64::new(0);

/// One process, whose clock begins at that time.
fn run(directory: &Path, at: i64) -> Engine {
    NOW.store(at, Ordering::SeqCst);
    let system = Arc::new(Platform::with_clock(|| NOW.load(Ordering::SeqCst)));
    Options { model: ModelChoice::None, system, ..Options::default() }.open(directory).unwrap()
}

async fn add(engine: &Engine, text: &str) -> i64 {
    let content = Content::fact(text, Scope::user("ana"));
    let id = engine.add(vec![content], AddOptions::default()).await.unwrap().items.remove(0).unwrap().item.id;
    engine.get(vec![Target::Id(id)], View::default()).await.unwrap().remove(0).unwrap().created_at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_back_does_not_change_the_order_of_creation() {
    const HOUR: i64 = 3_600_000;
    let home = tempfile::tempdir().unwrap();
    let mut created = vec![];
    for (process, at) in [100 * HOUR, 99 * HOUR, 3 * HOUR, 100 * HOUR, 101 * HOUR].into_iter().enumerate() {
        let engine = run(home.path(), at);
        created.push(add(&engine, &format!("process {process} before")).await);
        NOW.store(at - HOUR, Ordering::SeqCst);
        created.push(add(&engine, &format!("process {process} after")).await);
        engine.close().await;
    }
    let engine = run(home.path(), 0);
    let listed = engine.list(ListRequest::new(Scope::default())).await.unwrap().memories;
    let texts: Vec<String> = listed.into_iter().map(|memory| memory.content.text).collect();
    let expected: Vec<String> =
        (0..5).flat_map(|process| ["before", "after"].map(|when| format!("process {process} {when}"))).collect();
    assert_eq!(texts, expected);
    // What is told of the time is the clock's, which within a process never goes back.
    assert_eq!(created, [100, 100, 99, 99, 3, 3, 100, 100, 101, 101].map(|hour| hour * HOUR));
    engine.close().await;
}
