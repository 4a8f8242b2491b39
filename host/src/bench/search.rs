//! Where the time of a search goes: whole searches, the query's vector by itself, and the same searches through an engine
//! that knows all vectors of queries beforehand, so that the rest is measured and not computed as a difference.
use std::sync::Arc;

use anyhow::ensure;

use super::known::{Extent, Known};
use super::measure::{Figures, Kind, parts};
use super::report::Report;
use super::site::{Site, answered};
use super::workload::{self, Op};
use super::{BenchArgs, facts, machine};
use crate::contract::memory::Query;
use crate::contract::types::{Content, Scope};
use crate::embedder::{Lane, Purpose};
use crate::engine::Engine;
use crate::open::ModelChoice;

/// Each with its searches as a whole and without the model.
const CASES: [(&str, &str); 3] = [("all", "all-rest"), ("user", "user-rest"), ("filtered", "filtered-rest")];
const EMBEDDING: &str = "embedding";
/// Parts of one pass over the queries that show the spread.
const USUALLY: u32 = 5;
const BATCH: usize = 100;

pub(super) fn cases() -> Vec<&'static str> {
    CASES.into_iter().flat_map(|(whole, rest)| [whole, rest]).chain([EMBEDDING]).collect()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    const STORE: &str = "search";
    let facts = facts::facts(args)?;
    let queries = facts::queries(args)?;
    let heavy = facts::heavy_user(&facts);
    let user = heavy.user.clone().unwrap_or_default();
    report.remark(&format!(
        "{} memories, {} queries with limit 10, one after the other: over all, within user {user:?}, and over all under the \
         filter {FILTER}; -rest: the same with every vector of a query known beforehand",
        facts.len(),
        queries.len()
    ))?;
    report.columns()?;
    let contents = facts.iter().map(facts::Fact::whole).collect::<anyhow::Result<Vec<Content>>>()?;
    let engine = site.open(STORE)?;
    site.runtime.block_on(load(&engine, &contents))?;
    let ask = Ask { site, report, args, queries: &queries, heavy };
    machine::settle();
    for (whole, _) in CASES.into_iter().filter(|(whole, _)| args.wants(whole)) {
        ask.run(&engine, whole, whole, None)?;
    }
    if args.wants(EMBEDDING) {
        ask.embedding()?;
    }
    site.close(engine);
    let known = Arc::new(Known::new(site.encoder.clone(), Extent::Vectors));
    let engine = site.open_with(STORE, ModelChoice::Given(site.info.clone(), known.clone()))?;
    for (whole, rest) in CASES.into_iter().filter(|(_, rest)| args.wants(rest)) {
        ask.run(&engine, whole, rest, Some(&known))?;
    }
    site.close(engine);
    site.remove(STORE)
}

/// Adds all in calls of a hundred, and proves it.
pub(super) async fn load(engine: &Engine, contents: &[Content]) -> anyhow::Result<Vec<String>> {
    let calls = contents.chunks(BATCH).map(|some| Op::Add(some.to_vec())).collect();
    let (_, ids) = workload::together(engine, vec![calls]).await?;
    workload::prove(engine, contents, contents.len()).await?;
    Ok(ids)
}

/// One in six of our own facts.
const FILTER: &str = r#"{"metadata.category":"work"}"#;

struct Ask<'a> {
    site: &'a Site,
    report: &'a Report,
    args: &'a BenchArgs,
    queries: &'a [String],
    heavy: Scope,
}

impl Ask<'_> {
    /// All queries as `which` asks them, told under the name of the case.
    fn run(&self, engine: &Engine, which: &str, case: &str, known: Option<&Known>) -> anyhow::Result<()> {
        let ops = || self.queries.iter().map(|text| Op::Search(self.query(which, text))).collect::<Vec<_>>();
        let searches = self.site.runtime.block_on(async {
            // The first pass fills what is known; without that, some queries are enough to be warm.
            let warm = if known.is_some() { ops() } else { ops().into_iter().take(20).collect() };
            workload::together(engine, vec![warm]).await?;
            let before = known.map_or(0, Known::computed);
            let (searches, _) = workload::together(engine, vec![ops()]).await?;
            ensure!(known.map_or(0, Known::computed) == before, "the model took part in {case}");
            Ok(searches)
        })?;
        let passes = parts(1, &searches.calls, self.repeats()?, searches.cpu);
        self.report.figures(&Figures::new(self.kind(case), &passes))
    }

    fn query(&self, which: &str, text: &str) -> Query {
        let query = Query::new(text, Scope::default());
        match which {
            "user" => Query { scope: self.heavy.clone(), ..query },
            "filtered" => Query { filter: Some(FILTER.to_owned()), ..query },
            _ => query,
        }
    }

    /// The vectors of the queries, one after the other, as the engine asks for them.
    fn embedding(&self) -> anyhow::Result<()> {
        let embedder = self.site.embedder(self.site.workers);
        let embed = |text: &String| {
            let begun = std::time::Instant::now();
            for pending in embedder.embed(vec![text.clone()], Purpose::Query, Lane::Interactive) {
                answered(self.site.runtime.block_on(pending.wait()).map_err(Into::into))?;
            }
            anyhow::Ok(begun.elapsed())
        };
        self.queries.iter().take(20).try_for_each(|text| embed(text).map(|_| ()))?;
        let pass = super::measure::Pass::of(self.queries.len(), || self.queries.iter().map(embed).collect())?;
        let passes = parts(1, &pass.calls, self.repeats()?, pass.cpu);
        self.report.figures(&Figures::new(self.kind(EMBEDDING), &passes))
    }

    fn repeats(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.args.repeats(USUALLY))?)
    }

    fn kind<'a>(&self, case: &'a str) -> Kind<'a> {
        Kind { bench: self.report.bench, case, durable: true, threads: self.site.workers }
    }
}
