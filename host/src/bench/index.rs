//! The index by itself, without store, component and model: what it costs to take vectors in, to build graphs over them and
//! to find the nearest again, and how many of the nearest are found.
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use serde::Serialize;

use super::measure::{Figures, Kind, Pass};
use super::report::Report;
use super::site::{Site, answered};
use super::{BenchArgs, facts, npy};
use crate::contract::index::{Attribute, Condition, Entry, Passage, Probe, Test, Value};
use crate::contract::types::Scope;
use crate::embedder::{Lane, Purpose};
use crate::entry::{Change, Seq, StoredEntry};
use crate::index::Index;

const ADD: &str = "add";
const BUILD: &str = "build";
const OPEN: &str = "open";
const SCAN: &str = "scan";
/// Walks, and the effort of each.
const WALKS: [(&str, u32); 5] =
    [("walk-32", 32), ("walk-64", 64), ("walk-128", 128), ("walk-256", 256), ("walk-512", 512)];
/// Filters that admit one of so many, as the planner answers them.
const FILTERED: [(&str, usize); 6] = [
    ("filtered-1", 1),
    ("filtered-1e-1", 10),
    ("filtered-1e-2", 100),
    ("filtered-1e-3", 1_000),
    ("filtered-1e-4", 10_000),
    ("filtered-1e-5", 100_000),
];
/// Vectors where nothing else is said.
const SIZE: usize = 10_000;
const QUERIES: usize = 1_000;
const NEAREST: usize = 10;
const BATCH: usize = 1_000;
const USUALLY: u32 = 5;

pub(super) fn cases() -> Vec<&'static str> {
    let searches = WALKS.iter().map(|(case, _)| *case).chain(FILTERED.iter().map(|(case, _)| *case));
    [ADD, BUILD, OPEN, SCAN].into_iter().chain(searches).collect()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    let (given, size) = match &args.vectors {
        Some(path) => (npy::rows(path)?, args.size),
        None => (embedded(site)?, Some(args.size.unwrap_or(SIZE))),
    };
    let given_queries = args.queries.as_deref().map(npy::rows).transpose()?;
    let queries = given_queries.unwrap_or_else(|| perturbed(&given, 1).take(QUERIES.min(given.len())).collect());
    let size = size.unwrap_or(given.len());
    let real = given.len().min(size);
    let vectors: Vec<Vec<f32>> = given.iter().take(size).cloned().chain(perturbed(&given, 2)).take(size).collect();
    ensure!(!vectors.is_empty() && !queries.is_empty(), "there are no vectors or no queries");
    let width = vectors[0].len();
    ensure!(queries.iter().all(|query| query.len() == width), "vectors and queries are of different length");
    let extent = Extent { bench: report.bench, vectors: size, made: size - real, width, queries: queries.len() };
    report.told(
        &format!(
            "{size} vectors of {width} values, {} of them others with noise, {} queries with limit {NEAREST}, one thread; \
             recall against all products in f32",
            extent.made, extent.queries
        ),
        &extent,
    )?;
    report.columns()?;
    Measured { site, report, args, folder: site.folder("index"), width, vectors, queries }.all()
}

/// What the figures belong to.
#[derive(Serialize)]
struct Extent<'a> {
    bench: &'a str,
    vectors: usize,
    /// Vectors that are others with noise.
    made: usize,
    width: usize,
    queries: usize,
}

/// What a vector takes.
#[derive(Serialize)]
struct Space<'a> {
    bench: &'a str,
    case: &'a str,
    vectors: usize,
    in_graphs: usize,
    /// Of everything that is kept of an entry, mapped files not counted.
    memory_bytes_each: u64,
    file_bytes_each: u64,
}

struct Measured<'a> {
    site: &'a Site,
    report: &'a Report,
    args: &'a BenchArgs,
    folder: std::path::PathBuf,
    width: usize,
    vectors: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

impl Measured<'_> {
    fn all(&self) -> anyhow::Result<()> {
        // A graph over everything, whatever the size: so `walk` and `scan` stand beside each other.
        let graphed = self.index(self.vectors.len() / 2);
        let add = self.filled(&graphed)?;
        let build = Pass::of(self.vectors.len(), || {
            let begun = Instant::now();
            graphed.absorb(Seq(1), vec![]);
            graphed.settle();
            Ok(vec![begun.elapsed()])
        })?;
        // The thread that built has ended and taken with it what it computed.
        let build = Pass { cpu: None, ..build };
        self.tell(ADD, &[add], None)?;
        self.tell(BUILD, &[build], None)?;
        let n = self.vectors.len() as u64;
        let space = Space {
            bench: self.report.bench,
            case: BUILD,
            vectors: self.vectors.len(),
            in_graphs: graphed.graph_rows(),
            memory_bytes_each: graphed.progress().bytes / n,
            file_bytes_each: size(&self.folder)? / n,
        };
        self.report.told(
            &format!(
                "{} of {n} vectors in graphs; each takes {} bytes of memory and {} of mapped files",
                space.in_graphs, space.memory_bytes_each, space.file_bytes_each
            ),
            &space,
        )?;
        if self.args.wants(SCAN) {
            // Nothing is beyond this threshold.
            let scanned = Index::with_graph_threshold(self.width, usize::MAX);
            self.filled(&scanned)?;
            self.searches(SCAN, &scanned, &Self::probe(), 1)?;
        }
        for (case, effort) in WALKS.into_iter().filter(|(case, _)| self.args.wants(case)) {
            self.searches(case, &graphed, &Probe { effort: Some(effort), ..Self::probe() }, 1)?;
        }
        if FILTERED.iter().any(|(case, _)| self.args.wants(case)) {
            let planned = Index::new(self.width);
            self.filled(&planned)?;
            planned.absorb(Seq(1), vec![]);
            planned.settle();
            for (case, one_of) in FILTERED.into_iter().filter(|(case, _)| self.args.wants(case)) {
                let admits = Condition {
                    field: "one-of".to_owned(),
                    test: Test::AnyOf(vec![Value::Text(one_of.to_string())]),
                    negated: false,
                };
                self.searches(case, &planned, &Probe { conditions: vec![vec![admits]], ..Self::probe() }, one_of)?;
            }
        }
        drop(graphed);
        if self.args.wants(OPEN) {
            let passes: anyhow::Result<Vec<Pass>> = (0..self.args.repeats(USUALLY))
                .map(|_| {
                    Pass::of(1, || {
                        let begun = Instant::now();
                        let opened = self.index(self.vectors.len());
                        let took = begun.elapsed();
                        drop(opened);
                        Ok(vec![took])
                    })
                })
                .collect();
            self.tell(OPEN, &passes?, None)?;
        }
        Ok(())
    }

    fn index(&self, threshold: usize) -> Index {
        Index::kept_with_graph_threshold(self.width, threshold, &self.folder, 1)
    }

    /// Takes all vectors in, a thousand at once, and begins no graph.
    fn filled(&self, index: &Index) -> anyhow::Result<Pass> {
        let change = |(number, vector): (usize, &Vec<f32>)| {
            let text = |one_of: usize| Value::Text(one_of.to_string());
            let shares = FILTERED.iter().filter(|(_, one_of)| number.is_multiple_of(*one_of));
            let entry = Entry {
                key: number.to_string(),
                scope: Scope::default(),
                at: 0,
                actor: None,
                attributes: shares
                    .map(|(_, one_of)| Attribute { name: "one-of".to_owned(), value: text(*one_of) })
                    .collect(),
                passages: Some(vec![Passage { words: vec![], vector: None }]),
            };
            let order = number as u64;
            Change::Put(Box::new(StoredEntry { entry, order, vectors: vec![Some(vector.clone())], owed: vec![false] }))
        };
        let numbered: Vec<(usize, &Vec<f32>)> = self.vectors.iter().enumerate().collect();
        let commits: Vec<Vec<Change>> =
            numbered.chunks(BATCH).map(|some| some.iter().copied().map(change).collect()).collect();
        Pass::of(self.vectors.len(), || {
            let timed = |changes: Vec<Change>| {
                let begun = Instant::now();
                index.fill(Seq(1), changes);
                begun.elapsed()
            };
            Ok(commits.into_iter().map(timed).collect())
        })
    }

    fn probe() -> Probe {
        Probe {
            vector: Some(0),
            common: None,
            words: String::new(),
            scope: Scope::default(),
            conditions: vec![],
            among: None,
            limit: 10,
            neighbours: false,
            k1: 0.9,
            b: 0.4,
            effort: None,
            terms: false,
            attributes: vec![],
        }
    }

    /// All queries, one after the other; `one_of` says which vectors the probe admits.
    fn searches(&self, case: &str, index: &Index, probe: &Probe, one_of: usize) -> anyhow::Result<()> {
        let mut passes = vec![];
        let mut found = vec![];
        for repeat in 0..=self.args.repeats(USUALLY) {
            found.clear();
            let pass = Pass::of(self.queries.len(), || {
                let search = |query: &Vec<f32>| {
                    let begun = Instant::now();
                    let candidates = index.search(probe, Some(query));
                    let took = begun.elapsed();
                    found.push(candidates.entries);
                    took
                };
                Ok(self.queries.iter().map(search).collect())
            })?;
            // The first pass warms.
            if repeat > 0 {
                passes.push(pass);
            }
        }
        let (mut hits, mut wanted) = (0, 0);
        for (query, found) in self.queries.iter().zip(&found) {
            let nearest = self.nearest(query, one_of);
            ensure!(found.len() == nearest.len(), "{case} found {} of {}", found.len(), nearest.len());
            wanted += nearest.len();
            hits += found.iter().filter(|found| nearest.contains(&found.key)).count();
        }
        self.tell(case, &passes, Some(super::measure::count(hits) / super::measure::count(wanted.max(1))))
    }

    /// The keys of the nearest of the admitted vectors, by all products.
    fn nearest(&self, query: &[f32], one_of: usize) -> Vec<String> {
        let admitted = self.vectors.iter().enumerate().step_by(one_of);
        let mut scored: Vec<(f32, usize)> = admitted.map(|(number, vector)| (product(vector, query), number)).collect();
        let wanted = NEAREST.min(scored.len());
        if wanted < scored.len() {
            scored.select_nth_unstable_by(wanted, |left, right| right.0.total_cmp(&left.0));
        }
        scored[..wanted].iter().map(|(_, number)| number.to_string()).collect()
    }

    fn tell(&self, case: &str, passes: &[Pass], recall: Option<f64>) -> anyhow::Result<()> {
        if !self.args.wants(case) {
            return Ok(());
        }
        let kind = Kind { bench: self.report.bench, case, durable: false, threads: self.site.workers };
        let recall = recall.map(|recall| (recall * 1e4).round() / 1e4);
        self.report.figures(&Figures { recall, ..Figures::new(kind, passes) })
    }
}

/// Sixteen sums, which compilers make fast.
fn product(left: &[f32], right: &[f32]) -> f32 {
    let (blocks, tail) = left.as_chunks::<16>();
    let (right_blocks, right_tail) = right.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for (left, right) in blocks.iter().zip(right_blocks) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += left * right;
        }
    }
    sums.iter().sum::<f32>() + tail.iter().zip(right_tail).map(|(left, right)| left * right).sum::<f32>()
}

/// Bytes of the files in a folder, 0 where there is none.
fn size(folder: &Path) -> anyhow::Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let files = std::fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len()));
    files.sum()
}

/// The vectors of the facts that come with the program.
fn embedded(site: &Site) -> anyhow::Result<Vec<Vec<f32>>> {
    let embedder = site.embedder(site.workers);
    let texts = facts::own()?.into_iter().map(|fact| fact.text).collect();
    let pending = embedder.embed(texts, Purpose::Document, Lane::Background);
    let vector = |pending: crate::embedder::Pending| {
        let vector = answered(site.runtime.block_on(pending.wait()).map_err(Into::into))?;
        Ok(vector.to_vec())
    };
    pending.into_iter().map(vector).collect()
}

/// Vectors without end, each one of those given and chance half as long, scaled to unit length. The same for each seed.
fn perturbed(vectors: &[Vec<f32>], seed: u64) -> impl Iterator<Item = Vec<f32>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed);
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).expect("sixteen bits")) / 32_768.0 - 1.0
    };
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vectors.iter().cycle().map(move |vector| {
        let noise: Vec<f32> = vector.iter().map(|_| uniform()).collect();
        let share = 0.5 / length(&noise);
        let moved: Vec<f32> = vector.iter().zip(&noise).map(|(value, noise)| value + share * noise).collect();
        let length = length(&moved);
        moved.into_iter().map(|value| value / length).collect()
    })
}
