//! Bursts of adds that do not wait for the model: those whose vectors follow in the background, and those whose vectors
//! the cache knows. Every repetition has an empty store and proves itself.
use std::time::Instant;

use anyhow::{Context, ensure};

use super::BenchArgs;
use super::facts::{self, Fact};
use super::measure::{Figures, Kind, Pass};
use super::report::Report;
use super::site::{Site, answered};
use super::workload::{self, Op};
use crate::contract::memory::Promise;
use crate::contract::types::{Content, Scope};
use crate::engine::Engine;
use crate::open::{ModelChoice, Options};

/// A burst: its name, that of the same adds until their vectors are there, texts a call, and callers.
struct Burst {
    name: &'static str,
    paid: &'static str,
    batch: usize,
    callers: usize,
}

const BURSTS: [Burst; 3] = [
    Burst { name: "deferred-100", paid: "deferred-100-paid", batch: 100, callers: 1 },
    Burst { name: "deferred-100-4", paid: "deferred-100-4-paid", batch: 100, callers: 4 },
    Burst { name: "deferred-1000", paid: "deferred-1000-paid", batch: 1_000, callers: 1 },
];
const CACHED: [(&str, usize); 2] = [("cached-100", 100), ("cached-1000", 1_000)];
const TEXTS: usize = 20_000;
const USUALLY: u32 = 3;
const STORE: &str = "burst";
const CACHE: &str = "cache";
/// Longer than any machine takes for these vectors.
const PATIENCE_MS: u32 = 600_000;

pub(super) fn cases() -> Vec<&'static str> {
    let bursts = BURSTS.iter().flat_map(|burst| [burst.name, burst.paid]);
    bursts.chain(CACHED.map(|(name, _)| name)).collect()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    report.remark(&format!(
        "{TEXTS} distinct texts in calls of 100 and 1,000 from one caller (-4: four); -paid: the same until the last vector is \
         there; cached: every vector is known to the cache on disk, and the call waits for meaning as usual"
    ))?;
    report.columns()?;
    let contents = contents(&facts::facts(args)?);
    for burst in &BURSTS {
        if args.wants(burst.name) || args.wants(burst.paid) {
            deferred(site, report, args, burst, &contents)?;
        }
    }
    if CACHED.iter().any(|(name, _)| args.wants(name)) {
        cached(site, report, args, &contents)?;
    }
    Ok(())
}

/// Many texts from few: each fact with many others, so that none comes twice and none is nearer to a text than itself.
fn contents(facts: &[Fact]) -> Vec<Content> {
    let paired = (0..TEXTS).map(|i| {
        let (first, round) = (i % facts.len(), i / facts.len());
        let second = (first * 7 + round * 131 + 1) % facts.len();
        let text = format!("{}. {}.", facts[first].text, facts[second].text);
        Content::fact(text, facts[first].scope())
    });
    paired.collect()
}

/// The calls of each caller.
fn calls(contents: &[Content], batch: usize, callers: usize, promise: Promise) -> Vec<Vec<Op>> {
    let mut calls = vec![vec![]; callers];
    for (i, contents) in contents.chunks(batch).enumerate() {
        calls[i % callers].push(Op::AddAs(contents.to_vec(), promise));
    }
    calls
}

fn deferred(site: &Site, report: &Report, args: &BenchArgs, burst: &Burst, all: &[Content]) -> anyhow::Result<()> {
    let (mut answered_passes, mut paid_passes) = (vec![], vec![]);
    for _ in 0..args.repeats(USUALLY) {
        let engine = site.open(STORE)?;
        let (answers, paid, owed) = site.runtime.block_on(async {
            warm(&engine).await?;
            let begun = Instant::now();
            let calls = calls(all, burst.batch, burst.callers, Promise::Deferred);
            let (answers, _) = workload::together(&engine, calls).await?;
            let owed = answered(engine.stats(Scope::default()).await)?.pending;
            answered(engine.flush(PATIENCE_MS).await)?;
            let paid = Pass { items: all.len(), wall: begun.elapsed(), calls: vec![], cpu: None };
            workload::prove(&engine, all, all.len() + 1).await?;
            anyhow::Ok((answers, paid, owed))
        })?;
        ensure!(owed > 0, "every vector was there with the last answer: nothing was deferred");
        report.remark(&format!("{}: {owed} vectors are owed with the last answer", burst.name))?;
        answered_passes.push(answers);
        paid_passes.push(paid);
        site.close(engine);
        site.remove(STORE)?;
    }
    report.figures(&Figures::new(kind(site, report, burst.name), &answered_passes))?;
    report.figures(&Figures::new(kind(site, report, burst.paid), &paid_passes))
}

fn cached(site: &Site, report: &Report, args: &BenchArgs, all: &[Content]) -> anyhow::Result<()> {
    let open = || -> anyhow::Result<Engine> {
        let _runtime = site.runtime.enter();
        let options = Options {
            model: ModelChoice::Default,
            precision: Some(site.precision),
            holder: "cairn bench".to_owned(),
            cache_file: Some(site.folder(CACHE)),
            ..Options::default()
        };
        Ok(options.open(site.folder(STORE))?)
    };
    let add = |batch: usize| -> anyhow::Result<(Pass, u64)> {
        let engine = open()?;
        let pass = site.runtime.block_on(async {
            warm(&engine).await?;
            let (pass, _) = workload::together(&engine, calls(all, batch, 1, Promise::Indexed)).await?;
            workload::prove(&engine, all, all.len() + 1).await?;
            anyhow::Ok(pass)
        })?;
        let known = engine.model_metrics().context("the engine has no model")?.cache.disk_hits;
        site.close(engine);
        site.remove(STORE)?;
        Ok((pass, known))
    };
    add(1_000)?;
    for (name, batch) in CACHED.into_iter().filter(|(name, _)| args.wants(name)) {
        let mut passes = vec![];
        for _ in 0..args.repeats(USUALLY) {
            let (pass, known) = add(batch)?;
            ensure!(known >= all.len() as u64, "the cache knew {known} of {} vectors", all.len());
            passes.push(pass);
        }
        report.figures(&Figures::new(kind(site, report, name), &passes))?;
    }
    std::fs::remove_file(site.folder(CACHE)).context("cannot remove the cache")
}

async fn warm(engine: &Engine) -> anyhow::Result<()> {
    let scope = Scope::user("warm-up");
    let first = Op::AddAs(vec![Content::fact("a first memory to warm up", scope)], Promise::Indexed);
    workload::together(engine, vec![vec![first]]).await.map(|_| ())
}

fn kind<'a>(site: &Site, report: &Report, case: &'a str) -> Kind<'a> {
    Kind { bench: report.bench, case, durable: true, threads: site.workers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_comes_twice() {
        let texts: std::collections::HashSet<String> =
            contents(&facts::own().unwrap()).into_iter().map(|c| c.text).collect();
        assert_eq!(texts.len(), TEXTS);
    }

    #[test]
    fn every_text_has_one_caller() {
        let contents = contents(&facts::own().unwrap());
        let calls = calls(&contents, 100, 4, Promise::Deferred);
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [50; 4]);
    }
}
