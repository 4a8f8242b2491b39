//! Calls that are timed: what they are, how callers make them side by side, and the proof that a store holds what was
//! added. Nothing here knows a benchmark's texts.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::machine::CpuClock;
use super::measure::Pass;
use super::site::{Site, answered};
use crate::contract::memory::{AddOptions, Change, ListRequest, Pipeline, Promise, Query, Tuning};
use crate::contract::types::{Content, Scope};
use crate::embedder::{Embedder, Lane, Purpose};
use crate::engine::Engine;

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    Add(Vec<Content>),
    AddAs(Vec<Content>, Promise),
    Search(Query),
    List(ListRequest),
}

impl Op {
    fn items(&self) -> usize {
        match self {
            Self::Add(contents) | Self::AddAs(contents, _) => contents.len(),
            Self::Search(_) | Self::List(_) => 1,
        }
    }

    fn contents(&self) -> &[Content] {
        match self {
            Self::Add(contents) | Self::AddAs(contents, _) => contents,
            Self::Search(_) | Self::List(_) => &[],
        }
    }

    /// Returns the ids of what was added. Anything but a full success is an error.
    async fn perform(self, engine: &Engine) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Add(contents) => Box::pin(Self::AddAs(contents, Promise::Indexed).perform(engine)).await,
            Self::AddAs(contents, promise) => {
                let n = contents.len();
                let mut options = AddOptions::default();
                options.write.promise = promise;
                let added = answered(engine.add(contents, options).await)?;
                let mut ids = Vec::with_capacity(n);
                for outcome in added.items {
                    let effect = answered(outcome)?.item;
                    ensure!(effect.change == Change::Added, "a new text was not added but {:?}", effect.change);
                    ids.push(effect.id);
                }
                ensure!(ids.len() == n, "{n} texts had {} answers", ids.len());
                Ok(ids)
            }
            Self::Search(query) => {
                let hits = hits(engine, query).await?;
                ensure!(!hits.is_empty(), "a search found nothing");
                Ok(vec![])
            }
            Self::List(request) => {
                ensure!(!answered(engine.list(request).await)?.memories.is_empty(), "a list is empty");
                Ok(vec![])
            }
        }
    }
}

/// Id and text of each hit, best first.
pub(super) async fn hits(engine: &Engine, query: Query) -> anyhow::Result<Vec<(String, String)>> {
    let Some(found) = answered(engine.search(vec![query]).await)?.pop() else { bail!("a search had no answer") };
    Ok(answered(found)?.hits.into_iter().map(|hit| (hit.memory.id, hit.memory.content.text)).collect())
}

/// One test on an empty store.
#[derive(Clone, Debug, Default)]
pub(super) struct Workload {
    /// Done before, one after the other, not timed.
    pub(super) before: Vec<Op>,
    /// Whether to wait 100 ms after that, as `AgentMem` does.
    pub(super) pause: bool,
    /// Callers that start together, each with its calls in a row.
    pub(super) callers: Vec<Vec<Op>>,
}

impl Workload {
    pub(super) fn items(&self) -> usize {
        self.callers.iter().flatten().map(Op::items).sum()
    }

    /// What the timed calls add.
    pub(super) fn texts(&self) -> Vec<String> {
        self.callers.iter().flatten().flat_map(Op::contents).map(|content| content.text.clone()).collect()
    }
}

/// Numbers for texts, carried on from repetition to repetition and from case to case, so that no text comes twice in a
/// process.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<&'static str, usize>);

impl Numbers {
    /// The next so many for texts that begin like this.
    pub(super) fn take(&mut self, beginning: &'static str, n: usize) -> Range<usize> {
        let next = self.0.entry(beginning).or_default();
        let first = *next;
        *next += n;
        first..*next
    }
}

const WARM_UP: &str = "a first memory to warm up ";
const PAUSE: Duration = Duration::from_millis(100);
/// Texts of a store that have to find themselves.
const SAMPLE: usize = 20;

/// Runs a workload on a store of its own, warm, and proves it.
pub(super) fn run(site: &Site, numbers: &mut Numbers, workload: Workload) -> anyhow::Result<Pass> {
    const STORE: &str = "workload";
    let warm_up = format!("{WARM_UP}{}", numbers.take(WARM_UP, 1).start);
    let engine = site.open(STORE)?;
    let pass = site.runtime.block_on(async {
        let scope = Scope::user("warm-up");
        Op::Add(vec![Content::fact(warm_up, scope.clone())]).perform(&engine).await?;
        Op::Search(Query::new("warm up", scope)).perform(&engine).await?;
        let added: Vec<Content> =
            workload.before.iter().chain(workload.callers.iter().flatten()).flat_map(Op::contents).cloned().collect();
        for op in workload.before {
            op.perform(&engine).await?;
        }
        if workload.pause {
            tokio::time::sleep(PAUSE).await;
        }
        let (pass, _) = together(&engine, workload.callers).await?;
        prove(&engine, &added, added.len() + 1).await?;
        anyhow::Ok(pass)
    })?;
    site.close(engine);
    site.remove(STORE)?;
    Ok(pass)
}

/// Lets callers begin at one moment, and returns when all are through, with the ids of what they added, caller by caller.
pub(super) async fn together(engine: &Engine, callers: Vec<Vec<Op>>) -> anyhow::Result<(Pass, Vec<String>)> {
    let items = callers.iter().flatten().map(Op::items).sum();
    let n_callers = callers.len();
    let gate = Arc::new(Barrier::new(n_callers + 1));
    let mut tasks = JoinSet::new();
    for (place, ops) in callers.into_iter().enumerate() {
        let (engine, gate) = (engine.clone(), gate.clone());
        tasks.spawn(async move {
            gate.wait().await;
            let (mut calls, mut ids) = (Vec::with_capacity(ops.len()), vec![]);
            for op in ops {
                let begun = Instant::now();
                ids.extend(op.perform(&engine).await?);
                calls.push(begun.elapsed());
            }
            anyhow::Ok((place, calls, ids))
        });
    }
    let cpu = CpuClock::now();
    let begun = Instant::now();
    gate.wait().await;
    let mut answers = Vec::with_capacity(n_callers);
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer??);
    }
    let wall = begun.elapsed();
    let cpu = CpuClock::now().since(&cpu);
    answers.sort_unstable_by_key(|(place, ..)| *place);
    let (mut calls, mut ids) = (vec![], vec![]);
    for (_, its_calls, its_ids) in answers {
        calls.extend(its_calls);
        ids.extend(its_ids);
    }
    Ok((Pass { items, wall, calls, cpu }, ids))
}

/// Fails unless the store holds so many memories, and each of twenty of these, spread over all, is the first hit of a
/// search for itself in its scope.
pub(super) async fn prove(engine: &Engine, added: &[Content], n_memories: usize) -> anyhow::Result<()> {
    let live = answered(engine.stats(Scope::default()).await)?.live as usize;
    ensure!(live == n_memories, "{n_memories} memories were added and the store counts {live}");
    for content in added.iter().step_by((added.len() / SAMPLE).max(1)).take(SAMPLE) {
        let query = Query { limit: 1, ..Query::new(content.text.clone(), content.scope.clone()) };
        let first = hits(engine, query).await?.into_iter().next().map(|(_, text)| text);
        ensure!(first.as_ref() == Some(&content.text), "a search for {:?} finds {first:?} first", content.text);
    }
    Ok(())
}

/// Embeds all texts at once and waits for the last.
pub(super) fn embed(embedder: &Embedder, texts: Vec<String>) -> anyhow::Result<Pass> {
    Pass::of(texts.len(), || {
        let begun = Instant::now();
        for pending in embedder.embed(texts, Purpose::Document, Lane::Interactive) {
            pending.wait_blocking()?;
        }
        Ok(vec![begun.elapsed()])
    })
}

/// Ranks by meaning alone, so that an answer can be compared with an exact scan.
pub(super) fn by_meaning() -> Tuning {
    Tuning {
        pipeline: Some(Pipeline::Core),
        dense: Some(1.0),
        actor: Some(0.0),
        date: Some(0.0),
        mask_share: Some(1.0),
        ..Tuning::default()
    }
}
