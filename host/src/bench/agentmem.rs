//! The workloads of `AgentMem`, string for string, real memories beside them, and the model alone on the same texts. Every
//! repetition has an empty store; one that lost an item has no rate.
use std::fmt::Display;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;

use super::BenchArgs;
use super::facts::{self, Fact};
use super::measure::{Compared, Figures, Kind, Pass, count, parts, rounded};
use super::report::Report;
use super::site::{Site, answered};
use super::workload::{self, Numbers, Op, Workload};
use crate::contract::memory::{ListRequest, Query};
use crate::contract::types::{Content, Scope};
use crate::embedder::{self, Purpose};
use crate::engine::Engine;
use crate::open::ModelChoice;
use crate::times;

/// A test of `AgentMem`.
struct Case {
    name: &'static str,
    workload: fn(&mut Numbers) -> Workload,
    /// The model alone on the same texts, repetition by repetition in turn: its name and that of the ratio.
    raw: Option<(&'static str, &'static str)>,
}

const fn case(name: &'static str, workload: fn(&mut Numbers) -> Workload) -> Case {
    Case { name, workload, raw: None }
}

const fn beside(
    name: &'static str,
    workload: fn(&mut Numbers) -> Workload,
    raw: &'static str,
    ratio: &'static str,
) -> Case {
    Case { name, workload, raw: Some((raw, ratio)) }
}

static CASES: [Case; 22] = [
    case("single", |numbers| in_a_row(tests(numbers, "Test memory ", 10))),
    case("single-100", |numbers| in_a_row(tests(numbers, "Test memory ", 100))),
    case("batch-10", |numbers| in_one_call(tests(numbers, "Batch test memory ", 10))),
    beside(
        "batch-100",
        |numbers| in_one_call(tests(numbers, "Large batch test memory ", 100)),
        "raw-batch-100",
        "batch-100/raw",
    ),
    beside(
        "batch-1000",
        |numbers| in_one_call(tests(numbers, "Large batch test memory ", 1_000)),
        "raw-batch-1000",
        "batch-1000/raw",
    ),
    case("compare-single", |numbers| in_a_row(tests(numbers, "Sequential test ", 10))),
    case("compare-batch", |numbers| Workload {
        before: each(tests(numbers, "Sequential test ", 10)),
        ..in_one_call(tests(numbers, "Batch comparison test ", 10))
    }),
    case("add-10", |numbers| side_by_side(by_users(numbers, "Concurrent memory item ", 10, 3))),
    case("search-10", |numbers| Workload {
        before: each(of_user(numbers, "Search test memory ", 20, "search-user")),
        pause: true,
        callers: numbers
            .take("test ", 10)
            .map(|i| vec![Op::Search(query(&format!("test {i}"), "search-user"))])
            .collect(),
    }),
    beside(
        "add-50",
        |numbers| side_by_side(of_user(numbers, "Batch memory item ", 50, "batch-user")),
        "raw-add-50",
        "add-50/raw",
    ),
    case("mixed", mixed),
    beside("pool-50", |numbers| side_by_side(by_users(numbers, "Stress test ", 50, 5)), "raw-pool-50", "pool-50/raw"),
    case("perf-single-50", |numbers| in_a_row(tests(numbers, "Test memory ", 50))),
    case("perf-batch-50", |numbers| in_one_call(tests(numbers, "Batch memory ", 50))),
    case("perf-concurrent-100", |numbers| {
        callers_of_five(numbers, "Concurrent single ", |i, j| {
            Content::fact(format!("Concurrent single {i} {j}"), Scope::user(format!("user-{}", i % 3)))
        })
    }),
    case("perf-batch-100", |numbers| in_one_call(tests(numbers, "Batch memory ", 100))),
    case("queue-20", |numbers| side_by_side(tests(numbers, "Queue test memory ", 20))),
    case("queue-30", |numbers| side_by_side(tests(numbers, "Batch processing test ", 30))),
    case("long-single-50", |numbers| in_a_row(long(numbers, 50))),
    case("long-batch-100", |numbers| in_one_call(long(numbers, 100))),
    case("long-concurrent-100", |numbers| {
        callers_of_five(numbers, "Concurrent test memory task ", |t, i| {
            Content::fact(format!("Concurrent test memory task {t} item {i}{LONG}"), long_scope())
        })
    }),
    case("stress-100", |numbers| in_a_row(dated(numbers, 100))),
];

/// Those of which a repetition is more than calls on an empty store.
static LAST: [Case; 2] = [
    case("stress-search-50", |numbers| Workload {
        before: vec![Op::Add(dated(numbers, 100))],
        pause: false,
        callers: vec![
            (0..50).map(|i| Op::Search(Query::new(format!("Test memory {}", i % 10), test_scope()))).collect(),
        ],
    }),
    case("stress-batches-200", |numbers| Workload {
        callers: vec![(0..10).map(|_| Op::Add(dated(numbers, 20))).collect()],
        ..Workload::default()
    }),
];

const FIRST: &str = "first-add";
const REAL_1K: [&str; 3] = ["real-1k-load", "real-1k-all", "real-1k-user"];
const REAL_10K: [&str; 3] = ["real-10k-load", "real-10k-all", "real-10k-user"];

/// Repetitions of what takes milliseconds, and of what takes longer.
const OFTEN: u32 = 10;
const USUALLY: u32 = 5;
/// Items up to which a case is short.
const SHORT: usize = 100;

fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(&LAST)
}

/// The cases in the order of the run. `first-add` opens an empty store, loads the model and adds.
pub(super) fn cases() -> Vec<&'static str> {
    let names = all().flat_map(|case| [case.name].into_iter().chain(case.raw.map(|(raw, _)| raw)));
    [FIRST].into_iter().chain(names).chain(REAL_1K).chain(REAL_10K).collect()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    report.remark(
        "n items a repetition, each on an empty warm store; every repetition proves itself: the count, and sampled texts \
         as first hits of themselves; raw-: the model alone on the same texts, in turn with the case",
    )?;
    report.columns()?;
    let mut numbers = Numbers::default();
    if args.wants(FIRST) {
        first(site, report, args, &mut numbers)?;
    }
    for case in all() {
        if args.wants(case.name) || case.raw.is_some_and(|(raw, _)| args.wants(raw)) {
            test(site, report, args, case, &mut numbers)?;
        }
    }
    real(site, report, args, REAL_1K, 1_000)?;
    real(site, report, args, REAL_10K, 10_000)
}

fn kind<'a>(site: &Site, report: &Report, case: &'a str, durable: bool) -> Kind<'a> {
    Kind { bench: report.bench, case, durable, threads: site.workers }
}

/// One case with all its repetitions, each followed by the model alone where that belongs to it.
fn test(site: &Site, report: &Report, args: &BenchArgs, case: &Case, numbers: &mut Numbers) -> anyhow::Result<()> {
    let first = (case.workload)(numbers);
    let repeats = args.repeats(if first.items() <= SHORT { OFTEN } else { USUALLY });
    let (mut ours, mut raw) = (vec![], vec![]);
    let embedder = site.embedder(site.workers);
    let mut next = Some(first);
    for _ in 0..repeats {
        let workload = next.take().unwrap_or_else(|| (case.workload)(numbers));
        let texts = workload.texts();
        ours.push(workload::run(site, numbers, workload)?);
        if case.raw.is_some() {
            if raw.is_empty() {
                // The threads of the queue, which the engine has had as well.
                workload::embed(&embedder, vec!["warm up".to_owned()])?;
            }
            raw.push(workload::embed(&embedder, texts)?);
        }
    }
    report.figures(&Figures::new(kind(site, report, case.name, true), &ours))?;
    if let Some((name, ratio)) = case.raw {
        report.figures(&Figures::new(kind(site, report, name, false), &raw))?;
        report.ratio(&Compared::new(report.bench, ratio, &ours, &raw))?;
    }
    Ok(())
}

/// Opens an empty store with a model that is not loaded, and adds.
fn first(site: &Site, report: &Report, args: &BenchArgs, numbers: &mut Numbers) -> anyhow::Result<()> {
    const STORE: &str = "first";
    let mut passes = vec![];
    for _ in 0..args.repeats(USUALLY) {
        let content = tests(numbers, "Test memory ", 1);
        passes.push(Pass::of(1, || {
            let begun = Instant::now();
            let model = embedder::resolve(None, &[])?;
            let engine = site.open_with(STORE, ModelChoice::Given(model.info(), model.encoder()))?;
            let added = site.runtime.block_on(workload::together(&engine, in_one_call(content.clone()).callers));
            let took = begun.elapsed();
            added?;
            site.runtime.block_on(workload::prove(&engine, &content, 1))?;
            site.close(engine);
            Ok(vec![took])
        })?);
        site.remove(STORE)?;
    }
    for pass in &mut passes {
        // Closing and proving are not part of it, and the threads that loaded have ended.
        pass.wall = pass.calls[0];
        pass.cpu = None;
    }
    report.figures(&Figures::new(kind(site, report, FIRST, true), &passes))
}

// ---- the texts

fn test_scope() -> Scope {
    Scope { agent: Some("test_agent".to_owned()), ..Scope::user("test_user") }
}

fn numbered(numbers: &mut Numbers, beginning: &'static str, n: usize, scope: impl Fn(usize) -> Scope) -> Vec<Content> {
    numbers.take(beginning, n).map(|i| Content::fact(format!("{beginning}{i}"), scope(i))).collect()
}

fn tests(numbers: &mut Numbers, beginning: &'static str, n: usize) -> Vec<Content> {
    numbered(numbers, beginning, n, |_| test_scope())
}

fn of_user(numbers: &mut Numbers, beginning: &'static str, n: usize, user: &str) -> Vec<Content> {
    numbered(numbers, beginning, n, |_| Scope::user(user))
}

fn by_users(numbers: &mut Numbers, beginning: &'static str, n: usize, users: usize) -> Vec<Content> {
    numbered(numbers, beginning, n, |i| Scope::user(format!("user-{}", i % users)))
}

const LONG: &str = ": This is a test memory for performance benchmarking.";

fn long_scope() -> Scope {
    Scope { agent: Some("test-agent".to_owned()), ..Scope::user("test-user") }
}

fn long(numbers: &mut Numbers, n: usize) -> Vec<Content> {
    let numbered = numbers.take("Test memory item ", n);
    numbered.map(|i| Content::fact(format!("Test memory item {i}{LONG}"), long_scope())).collect()
}

fn dated(numbers: &mut Numbers, n: usize) -> Vec<Content> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = times::format(i64::try_from(now).unwrap_or_default());
    let numbered = numbers.take("Test memory - Created at ", n);
    numbered.map(|i| Content::fact(format!("Test memory {i} - Created at {now}"), test_scope())).collect()
}

fn query(text: &str, user: impl Display) -> Query {
    Query::new(text, Scope::user(user.to_string()))
}

// ---- who calls

fn each(contents: Vec<Content>) -> Vec<Op> {
    contents.into_iter().map(|content| Op::Add(vec![content])).collect()
}

fn in_a_row(contents: Vec<Content>) -> Workload {
    Workload { callers: vec![each(contents)], ..Workload::default() }
}

fn in_one_call(contents: Vec<Content>) -> Workload {
    Workload { callers: vec![vec![Op::Add(contents)]], ..Workload::default() }
}

fn side_by_side(contents: Vec<Content>) -> Workload {
    let callers = each(contents).into_iter().map(|op| vec![op]).collect();
    Workload { callers, ..Workload::default() }
}

/// Twenty callers with five adds each.
fn callers_of_five(numbers: &mut Numbers, beginning: &'static str, content: fn(usize, usize) -> Content) -> Workload {
    let callers = numbers.take(beginning, 20).map(|i| each((0..5).map(|j| content(i, j)).collect())).collect();
    Workload { callers, ..Workload::default() }
}

fn mixed(numbers: &mut Numbers) -> Workload {
    let before = each(of_user(numbers, "Mixed test ", 10, "mixed-user"));
    // AgentMem numbers these adds after the ten before.
    let adds = numbers.take("Mixed add ", 5).map(|i| format!("Mixed add {}", i + 10));
    let adds = adds.map(|text| Op::Add(vec![Content::fact(text, Scope::user("mixed-user"))]));
    let searches = numbers.take("test ", 5).map(|i| Op::Search(query(&format!("test {i}"), "mixed-user")));
    let list = ListRequest { limit: 10, ..ListRequest::new(Scope::user("mixed-user")) };
    let lists = std::iter::repeat_n(Op::List(list), 5);
    let callers = adds.chain(searches).chain(lists).map(|op| vec![op]).collect();
    Workload { before, pause: true, callers }
}

// ---- real memories

const BATCH: usize = 100;
const NEAREST: usize = 10;

fn real(site: &Site, report: &Report, args: &BenchArgs, names: [&str; 3], n: usize) -> anyhow::Result<()> {
    const STORE: &str = "real";
    if !names.iter().any(|name| args.wants(name)) {
        return Ok(());
    }
    let facts = facts::facts(args)?;
    if facts.len() < n {
        let reason = format!("needs --memories FILE with {n} memories");
        return names.iter().try_for_each(|name| report.left_out(name, &reason));
    }
    let facts = &facts[..n];
    let queries = facts::queries(args)?;
    // Given memories come once in a process: the spread is that of equal parts of one run.
    let repeats = usize::try_from(args.repeats(USUALLY))?;
    let engine = site.open(STORE)?;
    let calls = facts.chunks(BATCH).map(|facts| Op::Add(facts.iter().map(Fact::bare).collect())).collect();
    let contents: Vec<Content> = facts.iter().map(Fact::bare).collect();
    let (load, ids) = site.runtime.block_on(async {
        // The threads, the model and an instance, without adding anything.
        answered(engine.embed(vec!["warm up".to_owned()], Purpose::Document).await)?;
        workload::hits(&engine, Query::new("warm up", Scope::default())).await?;
        let (load, ids) = workload::together(&engine, vec![calls]).await?;
        workload::prove(&engine, &contents, n).await?;
        anyhow::Ok((load, ids))
    })?;
    let loads = parts(BATCH, &load.calls, repeats, load.cpu);
    report.figures(&Figures::new(kind(site, report, names[0], true), &loads))?;
    let exact = Exact::new(site, &engine, facts, ids, &queries)?;
    for (name, scope) in [(names[1], Scope::default()), (names[2], facts::heavy_user(facts))] {
        let asked = queries.iter().map(|text| Op::Search(Query::new(text.clone(), scope.clone()))).collect();
        let (searches, _) = site.runtime.block_on(workload::together(&engine, vec![asked]))?;
        let recall = site.runtime.block_on(exact.recall(&engine, &queries, &scope))?;
        let passes = parts(1, &searches.calls, repeats, searches.cpu);
        let figures = Figures::new(kind(site, report, name, true), &passes);
        report.figures(&Figures { recall: Some(rounded(recall)), ..figures })?;
    }
    site.close(engine);
    site.remove(STORE)
}

/// All vectors of a store and of the queries, to compare them one by one.
struct Exact {
    rows: Vec<Row>,
    queries: Vec<Vec<f32>>,
}

struct Row {
    id: String,
    scope: Scope,
    vector: Vec<f32>,
}

impl Exact {
    fn new(
        site: &Site,
        engine: &Engine,
        facts: &[Fact],
        ids: Vec<String>,
        queries: &[String],
    ) -> anyhow::Result<Exact> {
        let vectors = answered(site.runtime.block_on(engine.vectors(&ids)))?;
        let mut rows = vec![];
        for ((id, fact), vectors) in ids.into_iter().zip(facts).zip(vectors) {
            let vector = vectors.into_iter().flatten().next();
            let vector = vector.ok_or_else(|| anyhow::anyhow!("memory {id} has no vector"))?;
            rows.push(Row { id, scope: fact.scope(), vector });
        }
        let queries = answered(site.runtime.block_on(engine.embed(queries.to_vec(), Purpose::Query)))?;
        Ok(Exact { rows, queries: queries.into_iter().map(|query| query.vector).collect() })
    }

    /// The share of the nearest memories of a scope that searches by meaning alone find.
    async fn recall(&self, engine: &Engine, queries: &[String], scope: &Scope) -> anyhow::Result<f64> {
        let (mut found, mut all) = (0, 0);
        for (text, vector) in queries.iter().zip(&self.queries) {
            let query = Query { tuning: Some(workload::by_meaning()), ..Query::new(text.clone(), scope.clone()) };
            let hits = workload::hits(engine, query).await?;
            let nearest = self.nearest(vector, scope);
            all += nearest.len();
            found += nearest.iter().filter(|id| hits.iter().any(|(hit, _)| hit == **id)).count();
        }
        ensure!(all > 0, "there is nothing to find");
        Ok(count(found) / count(all))
    }

    fn nearest(&self, query: &[f32], scope: &Scope) -> Vec<&str> {
        let within = self.rows.iter().filter(|row| scope.user.is_none() || row.scope == *scope);
        let dot = |row: &Row| row.vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let mut scored: Vec<(f64, &str)> = within.map(|row| (dot(row), row.id.as_str())).collect();
        scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().take(NEAREST).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items, callers, and the first and last text of what a fresh process adds or asks.
    #[track_caller]
    fn check(name: &str, items: usize, callers: usize, first: &str, last: &str) {
        let case = all().find(|case| case.name == name).unwrap();
        let workload = (case.workload)(&mut Numbers::default());
        let texts: Vec<String> = workload.callers.iter().flatten().flat_map(texts).collect();
        assert_eq!((workload.items(), workload.callers.len()), (items, callers));
        assert_eq!((texts.first().map(String::as_str), texts.last().map(String::as_str)), (Some(first), Some(last)));
    }

    fn texts(op: &Op) -> Vec<String> {
        match op {
            Op::Add(contents) | Op::AddAs(contents, _) => {
                contents.iter().map(|content| format!("{}: {}", user(&content.scope), content.text)).collect()
            }
            Op::Search(query) => vec![format!("{}? {}", user(&query.scope), query.text)],
            Op::List(request) => vec![format!("{}, {}", user(&request.scope), request.limit)],
        }
    }

    fn user(scope: &Scope) -> &str {
        scope.user.as_deref().unwrap_or_default()
    }

    #[test]
    fn the_texts_are_those_of_agentmem() {
        check("single", 10, 1, "test_user: Test memory 0", "test_user: Test memory 9");
        check("single-100", 100, 1, "test_user: Test memory 0", "test_user: Test memory 99");
        check("batch-10", 10, 1, "test_user: Batch test memory 0", "test_user: Batch test memory 9");
        check("batch-100", 100, 1, "test_user: Large batch test memory 0", "test_user: Large batch test memory 99");
        check("batch-1000", 1_000, 1, "test_user: Large batch test memory 0", "test_user: Large batch test memory 999");
        check("compare-single", 10, 1, "test_user: Sequential test 0", "test_user: Sequential test 9");
        check("compare-batch", 10, 1, "test_user: Batch comparison test 0", "test_user: Batch comparison test 9");
        check("add-10", 10, 10, "user-0: Concurrent memory item 0", "user-0: Concurrent memory item 9");
        check("search-10", 10, 10, "search-user? test 0", "search-user? test 9");
        check("add-50", 50, 50, "batch-user: Batch memory item 0", "batch-user: Batch memory item 49");
        check("mixed", 15, 15, "mixed-user: Mixed add 10", "mixed-user, 10");
        check("pool-50", 50, 50, "user-0: Stress test 0", "user-4: Stress test 49");
        check("perf-single-50", 50, 1, "test_user: Test memory 0", "test_user: Test memory 49");
        check("perf-batch-50", 50, 1, "test_user: Batch memory 0", "test_user: Batch memory 49");
        check("perf-concurrent-100", 100, 20, "user-0: Concurrent single 0 0", "user-1: Concurrent single 19 4");
        check("perf-batch-100", 100, 1, "test_user: Batch memory 0", "test_user: Batch memory 99");
        check("queue-20", 20, 20, "test_user: Queue test memory 0", "test_user: Queue test memory 19");
        check("queue-30", 30, 30, "test_user: Batch processing test 0", "test_user: Batch processing test 29");
        let long = |item: &str| format!("test-user: {item}: This is a test memory for performance benchmarking.");
        check("long-single-50", 50, 1, &long("Test memory item 0"), &long("Test memory item 49"));
        check("long-batch-100", 100, 1, &long("Test memory item 0"), &long("Test memory item 99"));
        let task = |t, i| long(&format!("Concurrent test memory task {t} item {i}"));
        check("long-concurrent-100", 100, 20, &task(0, 0), &task(19, 4));
        check("stress-search-50", 50, 1, "test_user? Test memory 0", "test_user? Test memory 9");
    }

    #[test]
    fn no_text_comes_twice_in_a_process() {
        let mut numbers = Numbers::default();
        let workloads = (0..3).flat_map(|_| all().map(|case| (case.workload)(&mut numbers)).collect::<Vec<_>>());
        let added = workloads.flat_map(|workload| {
            let before = workload.before.clone().into_iter();
            before.chain(workload.callers.into_iter().flatten()).flat_map(|op| match op {
                Op::Add(contents) | Op::AddAs(contents, _) => {
                    contents.into_iter().map(|content| content.text).collect()
                }
                Op::Search(_) | Op::List(_) => vec![],
            })
        });
        let mut seen = std::collections::HashSet::new();
        for text in added {
            assert!(seen.insert(text.clone()), "{text}");
        }
    }
}
