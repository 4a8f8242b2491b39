//! The model by itself: texts that are split already, in the runs that the embedder makes of them or in runs of a given
//! size, and the splitting. No engine, no store.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::known::{Extent, Known};
use super::measure::{Compared, Figures, Kind, Pass};
use super::report::Report;
use super::site::{self, Site};
use super::{BenchArgs, facts, workload};
use crate::embedder::{Embedder, Encoder, Precision, Purpose};

/// The cases of one precision.
struct Of {
    precision: Precision,
    /// With so many threads, runs as the embedder forms them.
    workers: [(&'static str, usize); 2],
    /// One thread, runs of at most so many texts of one length.
    runs: [(&'static str, usize); 3],
    /// The same with a vector for each token, and beside the last of the runs, in turn with it.
    tokens: (&'static str, &'static str),
}

const PRECISIONS: [Of; 3] = [
    Of {
        precision: Precision::F32,
        workers: [("f32-1", 1), ("f32-2", 2)],
        runs: [("f32-1-run-1", 1), ("f32-1-run-8", 8), ("f32-1-run-32", 32)],
        tokens: ("f32-1-tokens", "f32-1-tokens/f32-1-run-32"),
    },
    Of {
        precision: Precision::Bf16,
        workers: [("bf16-1", 1), ("bf16-2", 2)],
        runs: [("bf16-1-run-1", 1), ("bf16-1-run-8", 8), ("bf16-1-run-32", 32)],
        tokens: ("bf16-1-tokens", "bf16-1-tokens/bf16-1-run-32"),
    },
    Of {
        precision: Precision::Int8,
        workers: [("int8-1", 1), ("int8-2", 2)],
        runs: [("int8-1-run-1", 1), ("int8-1-run-8", 8), ("int8-1-run-32", 32)],
        tokens: ("int8-1-tokens", "int8-1-tokens/int8-1-run-32"),
    },
];
const TOKENIZER: &str = "tokenizer";
const USUALLY: u32 = 5;

pub(super) fn cases() -> Vec<&'static str> {
    let named = |of: &'static Of| of.workers.iter().chain(&of.runs).map(|(name, _)| *name).chain([of.tokens.0]);
    PRECISIONS.iter().flat_map(named).chain([TOKENIZER]).collect()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    let texts = facts::texts(args)?;
    let known = Arc::new(Known::new(site.encoder.clone(), Extent::Tokens));
    let mut ids = Vec::with_capacity(texts.len());
    for text in &texts {
        ids.push(known.tokens(text, Purpose::Document)?.ids);
    }
    let tokens: usize = ids.iter().map(Vec::len).sum();
    let n_texts = texts.len();
    report.remark(&format!(
        "{n_texts} texts with {tokens} tokens; PRECISION-N: N threads, runs as the embedder forms them; -run-N: at most N texts of \
         one length a run, percentiles of single runs"
    ))?;
    report.columns()?;
    let repeats = args.repeats(USUALLY);
    for of in &PRECISIONS {
        let names = of.workers.iter().chain(&of.runs).map(|(name, _)| *name).chain([of.tokens.0]);
        if names.into_iter().any(|case| args.wants(case)) {
            one(site, report, args, of, &texts, &ids)?;
        }
    }
    if args.wants(TOKENIZER) {
        let pass = || {
            Pass::of(n_texts, || {
                let mut calls = Vec::with_capacity(n_texts);
                for text in &texts {
                    let begun = Instant::now();
                    site.encoder.tokens(text, Purpose::Document)?;
                    calls.push(begun.elapsed());
                }
                Ok(calls)
            })
        };
        report.figures(&Figures::new(kind(report, TOKENIZER, 1), &warm(repeats, pass)?))?;
    }
    Ok(())
}

fn one(
    site: &Site,
    report: &Report,
    args: &BenchArgs,
    of: &Of,
    texts: &[String],
    ids: &[Vec<u32>],
) -> anyhow::Result<()> {
    let (_, model) = site::loaded(of.precision)?;
    let known = Arc::new(Known::new(model.clone(), Extent::Tokens));
    for text in texts {
        known.tokens(text, Purpose::Document)?;
    }
    let repeats = args.repeats(USUALLY);
    for (case, workers) in of.workers.into_iter().filter(|(case, _)| args.wants(case)) {
        let encoder: Arc<dyn Encoder> = known.clone();
        let embedder = Embedder::start(site.info.clone(), move || Ok(encoder), workers, None);
        workload::embed(&embedder, texts.to_vec())?;
        let mut passes = vec![];
        for _ in 0..repeats {
            let pass = workload::embed(&embedder, texts.to_vec())?;
            // All texts are one call, whose duration is the rate once more.
            passes.push(Pass { calls: vec![], ..pass });
        }
        report.figures(&Figures::new(kind(report, case, workers), &passes))?;
    }
    for (case, most) in of.runs.into_iter().filter(|(case, _)| args.wants(case)) {
        let runs = runs(ids, most);
        let pass = || {
            Pass::of(texts.len(), || {
                let mut calls = Vec::with_capacity(runs.len());
                for run in &runs {
                    let begun = Instant::now();
                    model.encode(run)?;
                    calls.push(begun.elapsed());
                }
                Ok(calls)
            })
        };
        report.figures(&Figures::new(kind(report, case, 1), &warm(repeats, pass)?))?;
    }
    if args.wants(of.tokens.0) {
        with_tokens(report, of, &*model, &runs(ids, of.runs[2].1), repeats)?;
    }
    Ok(())
}

/// Runs with a vector for each token, each followed by the same without.
fn with_tokens(
    report: &Report,
    of: &Of,
    model: &dyn Encoder,
    runs: &[Vec<&[u32]>],
    repeats: u32,
) -> anyhow::Result<()> {
    let n_texts = runs.iter().map(Vec::len).sum();
    let pass = |encode: &dyn Fn(&[&[u32]]) -> anyhow::Result<()>| {
        Pass::of(n_texts, || {
            runs.iter().try_for_each(|run| encode(run))?;
            Ok(vec![])
        })
    };
    let with = |run: &[&[u32]]| Ok(model.encode_tokens(run).map(|_| ())?);
    let without = |run: &[&[u32]]| Ok(model.encode(run).map(|_| ())?);
    pass(&with)?;
    let (mut ours, mut beside) = (vec![], vec![]);
    for _ in 0..repeats {
        ours.push(pass(&with)?);
        beside.push(pass(&without)?);
    }
    report.figures(&Figures::new(kind(report, of.tokens.0, 1), &ours))?;
    report.ratio(&Compared::new(report.bench, of.tokens.1, &ours, &beside))
}

fn kind<'a>(report: &Report, case: &'a str, threads: usize) -> Kind<'a> {
    Kind { bench: report.bench, case, durable: false, threads }
}

/// So many passes after one that does not count.
fn warm(repeats: u32, pass: impl Fn() -> anyhow::Result<Pass>) -> anyhow::Result<Vec<Pass>> {
    pass()?;
    (0..repeats).map(|_| pass()).collect()
}

/// Sequences of one length together, shortest first, at most so many.
fn runs(sequences: &[Vec<u32>], most: usize) -> Vec<Vec<&[u32]>> {
    let mut by_length: BTreeMap<usize, Vec<&[u32]>> = BTreeMap::new();
    for ids in sequences {
        by_length.entry(ids.len()).or_default().push(ids);
    }
    by_length.values().flat_map(|group| group.chunks(most).map(<[_]>::to_vec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_length_and_a_bound() {
        let sequences = [vec![1, 2], vec![3], vec![4, 5], vec![6], vec![7, 8]];
        let expected: Vec<Vec<&[u32]>> = vec![vec![&[3], &[6]], vec![&[1, 2], &[4, 5]], vec![&[7, 8]]];
        assert_eq!(runs(&sequences, 2), expected);
    }
}
