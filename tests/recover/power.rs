//! The whole engine on a disk that fails at each of its calls once: power cuts, syncs that fail, no room left. Whatever was
//! acknowledged is there and found, and nothing is there by half.
use std::collections::BTreeMap;
use std::sync::Arc;

use cairn::contract::memory::{
    Deletion, Edit, Erasure, Including, ListRequest, Outcomes, Patch, Promise, ScopedKey, Target, WriteOptions,
};
use cairn::contract::memory::{Pipeline, Tuning};
use cairn::contract::types::State;
use cairn::embedder::HashEncoder;
use cairn::store::Store;
use cairn::{AddOptions, Content, Engine, Error, ModelChoice, Options, Query, Scope};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::files::Chance;
use super::shelf::{Fault, Shelf};

/// Text and state of every memory, by the name it was given.
type Memories = BTreeMap<String, (String, State)>;

/// Opens engines on shelves; the component is compiled once.
struct Workshop {
    runtime: Runtime,
    cache: TempDir,
}

impl Workshop {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, cache: tempfile::tempdir().unwrap() }
    }

    fn open(&self, shelf: &Shelf) -> Option<Engine> {
        let encoder = HashEncoder::new(64, 256);
        let model = ModelChoice::Given(encoder.info(), Arc::new(encoder));
        let _inside = self.runtime.enter();
        let store = Store::in_place(shelf.clone()).ok()?;
        Options { model, cache: Some(self.cache.path().to_owned()), ..Options::default() }.on(store).ok()
    }

    fn does<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// What happens to memories, one step a commit or none. The names stand in the keys, so that they can be told apart even
/// where the id was never answered.
#[derive(Clone, Copy)]
enum Step {
    Add(&'static [(&'static str, &'static str)], Promise),
    Update(&'static str, &'static str),
    Delete(&'static str),
    Forget(&'static str),
    Compact,
    Flush,
}

const STEPS: [Step; 9] = [
    Step::Add(&[("a", "the amber lamp hums"), ("b", "the brass bell rings")], Promise::Indexed),
    Step::Add(&[("c", "a cedar chest is locked")], Promise::Deferred),
    Step::Update("a", "the amber lamp broke"),
    Step::Forget("b"),
    Step::Flush,
    Step::Compact,
    Step::Delete("c"),
    Step::Add(
        &[("d", "the dented door sticks"), ("e", "an ember glows"), ("f", "fog hides the ford")],
        Promise::Indexed,
    ),
    Step::Update("d", "the dented door was planed"),
];

fn scope() -> Scope {
    Scope::user("ana")
}

const NOTHING: Patch = Patch {
    text: None,
    metadata: None,
    kind: None,
    at: None,
    valid_from: None,
    valid_to: None,
    expires_at: None,
    links: None,
};

fn one(outcomes: Outcomes) -> Result<(), Error> {
    outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
}

fn target(name: &str) -> Target {
    Target::Key(ScopedKey { scope: scope(), key: name.to_owned() })
}

impl Step {
    async fn take(self, engine: &Engine) -> Result<(), Error> {
        let options = WriteOptions::default;
        match self {
            Step::Add(memories, promise) => {
                let content = |(name, text): &(&str, &str)| Content {
                    key: Some((*name).to_owned()),
                    ..Content::fact(*text, scope())
                };
                let options =
                    AddOptions { write: WriteOptions { promise, idempotency_key: None }, ..AddOptions::default() };
                one(engine.add(memories.iter().map(content).collect(), options).await?.items)?;
            }
            Step::Update(name, text) => {
                let patch = Patch { text: Some(text.to_owned()), ..NOTHING };
                let edit = Edit { target: target(name), patch, expect_version: None };
                one(engine.update(vec![edit], options()).await?)?;
            }
            Step::Delete(name) | Step::Forget(name) => {
                let erasure = if matches!(self, Step::Forget(_)) { Erasure::Erase } else { Erasure::KeepHistory };
                let deletion = Deletion { target: target(name), expect_version: None };
                one(engine.delete(vec![deletion], erasure, options()).await?)?;
            }
            Step::Compact => drop(engine.compact().await?),
            Step::Flush => engine.flush(10_000).await?,
        }
        Ok(())
    }

    fn apply(self, memories: &mut Memories) {
        match self {
            Step::Add(added, _) => memories
                .extend(added.iter().map(|(name, text)| ((*name).to_owned(), ((*text).to_owned(), State::Live)))),
            Step::Update(name, text) => text.clone_into(&mut memories.get_mut(name).unwrap().0),
            Step::Delete(name) => memories.get_mut(name).unwrap().1 = State::Deleted,
            Step::Forget(name) => *memories.get_mut(name).unwrap() = (String::new(), State::Deleted),
            Step::Compact | Step::Flush => {}
        }
    }
}

/// What there should be after so many steps.
fn after(steps: usize) -> Vec<(String, State)> {
    let mut memories = Memories::new();
    STEPS[..steps].iter().for_each(|step| step.apply(&mut memories));
    sorted(memories.into_values())
}

fn sorted(memories: impl Iterator<Item = (String, State)>) -> Vec<(String, State)> {
    let mut memories: Vec<_> = memories.collect();
    memories.sort_by(|a, b| a.0.cmp(&b.0));
    memories
}

/// Takes steps until one fails, and answers how many were acknowledged.
async fn take_steps(engine: &Engine, from: usize) -> usize {
    for (number, step) in STEPS.iter().enumerate().skip(from) {
        if step.take(engine).await.is_err() {
            return number;
        }
    }
    STEPS.len()
}

/// What is there.
async fn memories(engine: &Engine) -> Result<Vec<(String, State)>, Error> {
    let mut request = ListRequest::new(scope());
    request.view.including = Including::DELETED;
    let page = engine.list(request).await?;
    Ok(sorted(page.memories.into_iter().map(|memory| (memory.content.text, memory.state))))
}

/// Checks what is there after so many acknowledged steps and perhaps one more, that each live memory is found by its
/// words, and that nothing disagrees. Answers how many steps were taken.
#[track_caller]
fn check(workshop: &Workshop, engine: &Engine, acknowledged: usize, context: &str) -> usize {
    let taken = check_memories(workshop, engine, acknowledged, context);
    assert_eq!(workshop.does(engine.doctor(true)).unwrap(), [""; 0], "{context}");
    taken
}

/// As [`check`], where nothing can be written.
#[track_caller]
fn check_memories(workshop: &Workshop, engine: &Engine, acknowledged: usize, context: &str) -> usize {
    let taken = count_steps(workshop, engine, acknowledged, context);
    workshop.does(async {
        for (text, _) in after(taken).iter().filter(|(_, state)| *state == State::Live) {
            // By words alone: its vector may be owed.
            let words = Tuning { pipeline: Some(Pipeline::Lexical), ..Tuning::default() };
            let query = Query { tuning: Some(words), ..Query::new(text, scope()) };
            let found = engine.search(vec![query]).await.unwrap().remove(0).unwrap();
            assert_eq!(&found.hits[0].memory.content.text, text, "{context}");
        }
    });
    taken
}

/// How many steps were taken: the step in flight may have been or not, but not by half; steps that change nothing look
/// like both.
#[track_caller]
fn count_steps(workshop: &Workshop, engine: &Engine, acknowledged: usize, context: &str) -> usize {
    let there = workshop.does(memories(engine)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let taken = (acknowledged..=(acknowledged + 1).min(STEPS.len())).rev().find(|taken| after(*taken) == there);
    taken.unwrap_or_else(|| panic!("{context}, {acknowledged} steps acknowledged: there is {there:#?}"))
}

/// How many calls the steps take on a disk that works, from opening to closing.
fn calls(workshop: &Workshop) -> u64 {
    let shelf = Shelf::with(vec![]);
    let engine = workshop.open(&shelf).unwrap();
    assert_eq!(workshop.does(take_steps(&engine, 0)), STEPS.len());
    workshop.does(engine.close());
    let image = shelf.image();
    let traces = |text: &str| image.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
    assert_eq!((traces("brass"), traces("bell rings")), (0, 0), "of what was forgotten there is no byte");
    assert!(traces("amber lamp") > 0, "of what was updated there is");
    shelf.calls()
}

/// Where the fault comes: at each call once, or with `CAIRN_STRIDE` at every so manieth.
fn each_call(workshop: &Workshop) -> impl Iterator<Item = u64> {
    let stride = std::env::var("CAIRN_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(1);
    let calls = calls(workshop);
    assert!(calls > 100, "only {calls} calls: the steps mean nothing");
    println!("{calls} calls");
    (0..calls).step_by(stride)
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_acknowledged() {
    let workshop = Workshop::new();
    let mut chance = Chance::new();
    for call in each_call(&workshop) {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::Dies, call);
        let acknowledged = workshop.open(&shelf).map_or(0, |engine| {
            let acknowledged = workshop.does(take_steps(&engine, 0));
            // A dead machine closes nothing, but its threads have to end.
            workshop.does(engine.close());
            acknowledged
        });
        let after_cut = Shelf::with(shelf.after_cut(&mut |end| chance.below(end)));
        let context = format!("power lost at call {call}");
        let engine = workshop.open(&after_cut).unwrap_or_else(|| panic!("{context}: does not open"));
        let taken = check(&workshop, &engine, acknowledged, &context);
        assert_eq!(workshop.does(take_steps(&engine, taken)), STEPS.len(), "{context}: the rest can be done");
        check(&workshop, &engine, STEPS.len(), &context);
        workshop.does(engine.close());
    }
}

#[test]
fn a_sync_that_fails_is_told_and_what_is_acknowledged_afterwards_survives_a_power_cut() {
    let workshop = Workshop::new();
    let mut chance = Chance::new();
    for call in each_call(&workshop) {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::LosesSync, call);
        // Opening may be what fails; then it succeeds the second time.
        let engine = workshop.open(&shelf).or_else(|| workshop.open(&shelf)).expect("the disk works again");
        let taken = workshop.does(take_steps(&engine, 0));
        let context = format!("a sync failed at call {call} or later");
        if taken < STEPS.len() {
            assert!(shelf.has_failed(), "{context}: step {taken} failed by itself");
            // A commit of which it is not known whether it will last is refused and may be there all the same.
            let taken = check_memories(&workshop, &engine, taken, &context);
            workshop.does(engine.flush(10_000)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            assert_eq!(workshop.does(take_steps(&engine, taken)), STEPS.len(), "{context}: the rest can be done");
        }
        let after_cut = Shelf::with(shelf.after_cut(&mut |end| chance.below(end)));
        workshop.does(engine.close());
        let engine = workshop.open(&after_cut).unwrap_or_else(|| panic!("{context}: does not open after a power cut"));
        check(&workshop, &engine, STEPS.len(), &context);
        workshop.does(engine.close());
    }
}

#[test]
fn a_disk_that_is_full_at_any_call_refuses_serves_and_goes_on_when_there_is_room() {
    let workshop = Workshop::new();
    for call in each_call(&workshop) {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::Full, call);
        let context = format!("no room from call {call} on");
        let Some(engine) = workshop.open(&shelf) else {
            shelf.recover();
            let engine = workshop.open(&shelf).unwrap_or_else(|| panic!("{context}: does not open with room"));
            check(&workshop, &engine, 0, &context);
            continue;
        };
        let acknowledged = workshop.does(take_steps(&engine, 0));
        let taken = check_memories(&workshop, &engine, acknowledged, &context);
        if taken < STEPS.len() {
            let refused = workshop.does(Step::Add(&[("x", "is there room")], Promise::Indexed).take(&engine));
            assert!(
                matches!(&refused, Err(Error::Unavailable(text)) if text.contains("is full") || text.contains("no storage space")),
                "{context}: {refused:?}"
            );
        }
        shelf.recover();
        assert_eq!(workshop.does(take_steps(&engine, taken)), STEPS.len(), "{context}: the rest can be done");
        check(&workshop, &engine, STEPS.len(), &context);
        workshop.does(engine.close());
    }
}
