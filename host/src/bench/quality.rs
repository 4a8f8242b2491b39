//! How well searches find what they should: data sets with known answers, added and asked through the engine as any caller
//! would, and scored. Prints what was measured in this run, and fails below given floors.
mod dataset;
mod score;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use self::dataset::{Asked, Dataset, Unit};
use self::score::{NAMES, Row, measured, rows};
use super::BenchArgs;
use super::known::{Extent, Known};
use super::measure::rounded;
use super::report::Report;
use super::site::{Site, answered};
use crate::contract::memory::{AddOptions, Comparison, Pipeline, Query, Tuning};
use crate::contract::types::Scope;
use crate::engine::Engine;
use crate::open::ModelChoice;

const STORE: &str = "quality";
/// How deep a ranking goes.
const DEPTH: u32 = 100;
const BATCH: usize = 500;

/// There are no cases: the sets are named on the command line.
pub(super) fn cases() -> Vec<&'static str> {
    vec![]
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    if args.datasets.is_empty() {
        bail!("no data set is named: cairn bench quality FOLDER…");
    }
    if args.out.is_some() && args.datasets.len() > 1 {
        bail!("--out takes the rankings of one data set");
    }
    let tuning = tuning(args)?;
    let floors = args.floors.as_deref().map(floors).transpose()?;
    let mut below = vec![];
    for folder in &args.datasets {
        let set = Dataset::read(folder)?;
        let rankings = measure(site, report, &set, tuning)?;
        if let Some(out) = &args.out {
            write_run(out, &set, &rankings)?;
        }
        below.extend(tell(report, &set, &rankings, tuning, floors.as_ref())?);
    }
    if !below.is_empty() {
        bail!("below the floor: {}", below.join("; "));
    }
    Ok(())
}

/// The constants to search with: `--pipeline`, then each `--tune NAME=VALUE`.
fn tuning(args: &BenchArgs) -> anyhow::Result<Tuning> {
    let mut tuning = Tuning { pipeline: args.pipeline.as_deref().map(pipeline).transpose()?, ..Tuning::default() };
    for wish in &args.tune {
        let (name, value) = wish.split_once('=').with_context(|| format!("{wish:?} is not NAME=VALUE"))?;
        let value: f32 = value.parse().with_context(|| format!("{value:?} is no number"))?;
        let place = match name {
            "dense" => &mut tuning.dense,
            "k1" => &mut tuning.k1,
            "b" => &mut tuning.b,
            "actor" => &mut tuning.actor,
            "date" => &mut tuning.date,
            "neighbours" => &mut tuning.neighbours,
            "run" => &mut tuning.run,
            "answer" => &mut tuning.answer,
            "question" => &mut tuning.question,
            "recency" => &mut tuning.recency,
            "mask-share" => &mut tuning.mask_share,
            _ => bail!("no constant {name:?} of ranking can be set"),
        };
        *place = Some(value);
    }
    Ok(tuning)
}

fn pipeline(name: &str) -> anyhow::Result<Pipeline> {
    Ok(match name {
        "lexical" => Pipeline::Lexical,
        "core" => Pipeline::Core,
        "context" => Pipeline::Context,
        "late" => Pipeline::Late,
        _ => bail!("no pipeline {name:?}; there are lexical, core, context, late"),
    })
}

/// Adds a set and asks all its queries twice, the second time with their vectors known.
fn measure(site: &Site, report: &Report, set: &Dataset, tuning: Tuning) -> anyhow::Result<Vec<Vec<String>>> {
    let known = Arc::new(Known::new(site.encoder.clone(), Extent::Vectors));
    let engine = site.open_with(STORE, ModelChoice::Given(site.info.clone(), known))?;
    let begun = Instant::now();
    site.runtime.block_on(add(&engine, set))?;
    let added = begun.elapsed();
    let mut passes = vec![];
    for _ in 0..2 {
        passes.push(site.runtime.block_on(ask(&engine, set, tuning))?);
    }
    site.close(engine);
    site.remove(STORE)?;
    let [whole, rest]: [Pass; 2] = passes.try_into().unwrap_or_else(|_| unreachable!("there were two passes"));
    ensure!(whole.rankings == rest.rankings, "{}: the same queries were answered differently", set.name);
    report.row(&Times::new(set, added, &whole.times, &rest.times), Times::said)?;
    Ok(whole.rankings)
}

async fn add(engine: &Engine, set: &Dataset) -> anyhow::Result<()> {
    // Keys make every memory one of its own.
    let options = AddOptions { comparison: Comparison::None, ..AddOptions::default() };
    for some in set.memories.chunks(BATCH) {
        for outcome in answered(engine.add(some.to_vec(), options.clone()).await)?.items {
            answered(outcome)?;
        }
    }
    Ok(())
}

struct Pass {
    rankings: Vec<Vec<String>>,
    times: Vec<Duration>,
}

async fn ask(engine: &Engine, set: &Dataset, tuning: Tuning) -> anyhow::Result<Pass> {
    let mut pass = Pass { rankings: vec![], times: vec![] };
    for asked in &set.queries {
        let query = Query {
            limit: DEPTH,
            tuning: Some(tuning),
            ..Query::new(asked.text.clone(), Scope::user(asked.scope.clone()))
        };
        let begun = Instant::now();
        let found = answered(engine.search(vec![query]).await)?.pop().context("the engine gave no answer")?;
        pass.times.push(begun.elapsed());
        let hits = answered(found)?.hits.into_iter();
        pass.rankings.push(hits.filter_map(|hit| hit.memory.content.key).collect());
    }
    Ok(pass)
}

/// What a set cost.
#[derive(Serialize)]
struct Times<'a> {
    dataset: &'a str,
    memories: usize,
    queries: usize,
    add_s: f64,
    query_p50_ms: f64,
    query_p95_ms: f64,
    /// Without the model.
    rest_p50_ms: f64,
    rest_p95_ms: f64,
}

impl<'a> Times<'a> {
    fn new(set: &'a Dataset, added: Duration, whole: &[Duration], rest: &[Duration]) -> Times<'a> {
        Times {
            dataset: &set.name,
            memories: set.memories.len(),
            queries: set.queries.len(),
            add_s: rounded(added.as_secs_f64()),
            query_p50_ms: at_share(whole, 50),
            query_p95_ms: at_share(whole, 95),
            rest_p50_ms: at_share(rest, 50),
            rest_p95_ms: at_share(rest, 95),
        }
    }

    fn said(&self) -> String {
        format!(
            "\n{}: {} memories added in {:.1} s; a query takes {:.2} ms (p95 {:.2}), without the model {:.2} ms (p95 {:.2})",
            self.dataset,
            self.memories,
            self.add_s,
            self.query_p50_ms,
            self.query_p95_ms,
            self.rest_p50_ms,
            self.rest_p95_ms
        )
    }
}

/// Milliseconds that so many in a hundred stay within.
fn at_share(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    rounded(sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3))
}

/// Writes one line a query, as the scorer of the sets reads it.
fn write_run(path: &Path, set: &Dataset, rankings: &[Vec<String>]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        query_id: &'a str,
        ranking: &'a [String],
    }
    let mut out = String::new();
    for (query, ranking) in set.queries.iter().zip(rankings) {
        out.push_str(&serde_json::to_string(&Line { query_id: &query.id, ranking })?);
        out.push('\n');
    }
    std::fs::write(path, out).with_context(|| format!("cannot write {}", path.display()))
}

/// One row of the table.
#[derive(Serialize)]
struct Scored<'a> {
    dataset: &'a str,
    pipeline: &'a str,
    unit: &'a str,
    row: &'a str,
    n: usize,
    #[serde(flatten)]
    percent: BTreeMap<&'a str, f64>,
}

/// Prints the table and returns what lies below its floor.
fn tell(
    report: &Report,
    set: &Dataset,
    rankings: &[Vec<String>],
    tuning: Tuning,
    floors: Option<&Floors>,
) -> anyhow::Result<Vec<String>> {
    let pipeline = match tuning.pipeline {
        Some(Pipeline::Lexical) => "lexical",
        Some(Pipeline::Core) => "core",
        Some(Pipeline::Context) | None => "context",
        Some(Pipeline::Late) => "late",
    };
    let own = set.unit();
    let units = if own == Unit::Memory && set.has_sessions() { vec![own, Unit::Session] } else { vec![own] };
    let mut below = vec![];
    for unit in units {
        let table = scored(set, rankings, unit);
        if table.is_empty() {
            report.remark(&format!("{}: no query has gold; all {} were answered", set.name, set.queries.len()))?;
            continue;
        }
        let unit_name = if unit == Unit::Memory { "memory" } else { "session" };
        let heads: String = NAMES.iter().fold(String::new(), |mut heads, name| {
            let _ = write!(heads, "{name:>9}");
            heads
        });
        report.remark(&format!("{:<24}{:>6}{heads}", format!("{pipeline}, by {unit_name}"), "n"))?;
        for row in &table {
            let percent = NAMES.iter().copied().zip(row.percent).collect();
            let (name, n) = (row.name.as_str(), row.queries);
            report
                .row(&Scored { dataset: &set.name, pipeline, unit: unit_name, row: name, n, percent }, Scored::said)?;
        }
        let floor = floors.and_then(|floors| floors.get(&set.name)?.get(pipeline)?.get(unit_name));
        let whole = table.iter().find(|row| row.name == "all");
        if let (Some(floor), Some(whole)) = (floor, whole) {
            below.extend(too_low(set, pipeline, whole, floor)?);
        }
    }
    Ok(below)
}

impl Scored<'_> {
    fn said(&self) -> String {
        let values = NAMES.iter().fold(String::new(), |mut values, name| {
            let _ = write!(values, "{:>9.1}", self.percent[name]);
            values
        });
        format!("{:<24}{:>6}{values}", self.row, self.n)
    }
}

fn scored(set: &Dataset, rankings: &[Vec<String>], unit: Unit) -> Vec<Row> {
    let one = |(query, ranking): (&Asked, &Vec<String>)| {
        let gold = set.gold(query, unit);
        let category = query.category.clone();
        (!gold.is_empty()).then(|| (category, measured(&gold, &set.ranked(query, ranking, unit))))
    };
    let all: Vec<_> = set.queries.iter().zip(rankings).filter_map(one).collect();
    rows(&all.iter().map(|(category, metrics)| (category.as_deref(), *metrics)).collect::<Vec<_>>())
}

/// Data set → pipeline → unit → metric → least percent of the row `all`.
type Floors = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>>;

fn floors(path: &Path) -> anyhow::Result<Floors> {
    let read = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&read).with_context(|| path.display().to_string())
}

fn too_low(set: &Dataset, pipeline: &str, row: &Row, floor: &BTreeMap<String, f64>) -> anyhow::Result<Vec<String>> {
    let mut below = vec![];
    for (metric, least) in floor {
        let place = NAMES.iter().position(|name| name == metric);
        let place = place.with_context(|| format!("no metric {metric:?}; there are {}", NAMES.join(", ")))?;
        let reached = row.percent[place];
        if reached < *least {
            below.push(format!("{} {pipeline} {metric} is {reached:.1}, not {least:.1}", set.name));
        }
    }
    Ok(below)
}
