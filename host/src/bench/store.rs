//! What the store does without model, component and indexes: memories with their vectors, committed by the writer for many
//! callers at once, against one commit a memory and against the engine below it in one thread; reading; the bytes on disk;
//! compacting.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::{Barrier, Mutex};
use tokio::task::JoinSet;

use super::BenchArgs;
use super::machine::CpuClock;
use super::measure::{Compared, Figures, Kind, Pass, Spread, count, rounded};
use super::report::Report;
use super::rows::{self, Memories};
use super::site::Site;
use super::slow::Slow;
use crate::contract::storage::{Applied, Durability};
use crate::store::{Store, Tenant};
use crate::writer::{Batch, Writer};

const CASES: [&str; 18] = [
    "group-1",
    "one-1",
    "group-8",
    "one-8",
    "group-32",
    "one-32",
    "group-128",
    "one-128",
    "raw-128",
    "group-128-1ms",
    "one-128-1ms",
    "group-128-5ms",
    "one-128-5ms",
    "lone-durable",
    "lone-relaxed",
    "get-100",
    "bytes",
    "compact",
];
const USUALLY: u32 = 5;
/// Memories of the cases that read, weigh and compact.
const MEMORIES: usize = 20_000;
/// Memories of one commit in `raw-128`.
const GROUP: usize = 128;
const READ: usize = 100;

pub(super) fn cases() -> Vec<&'static str> {
    CASES.to_vec()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    report.remark(
        "rows as an add makes them, with a text of 200 characters and a vector of 384; group-N: N callers, each one memory \
         after the other; one-N: the same, with one commit a memory; raw-128: the same rows in one thread below the writer, \
         128 memories a commit; -1ms and -5ms: every sync takes that long at least",
    )?;
    report.columns()?;
    let bench = Stores { site, report, args };
    for (callers, least) in [(1, None), (8, None), (32, None), (128, None), (128, Some(1)), (128, Some(5))] {
        bench.grouped(callers, least)?;
    }
    bench.lone()?;
    if ["get-100", "bytes", "compact"].iter().any(|case| args.wants(case)) {
        bench.large()?;
    }
    Ok(())
}

struct Stores<'a> {
    site: &'a Site,
    report: &'a Report,
    args: &'a BenchArgs,
}

/// A store that is measured, with its writer.
struct Rig {
    store: Store,
    writer: Writer,
    tenant: Tenant,
}

/// Whether adds share commits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commits {
    Shared,
    OneEach,
}

impl Rig {
    fn open(folder: &Path, least_sync: Option<Duration>) -> anyhow::Result<Rig> {
        let store = match least_sync {
            None => Store::open(folder, &rows::options())?,
            Some(least) => Store::in_place(Slow::new(folder, least)?)?,
        };
        let tenant = store.tenant("bench")?;
        let writer = Writer::start(store.clone(), |_| {});
        Ok(Rig { store, writer, tenant })
    }

    /// Lets so many callers add memories, one after the other, beginning at one moment.
    async fn add(
        &self,
        memories: &mut Memories,
        callers: usize,
        each: usize,
        commits: Commits,
    ) -> anyhow::Result<Pass> {
        let gate = Arc::new(Barrier::new(callers + 1));
        // Whoever holds it has the store to himself.
        let alone = Arc::new(Mutex::new(()));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let batches: Vec<Batch> = memories.take(each, self.tenant, Durability::Durable);
            let (writer, gate, alone) = (self.writer.clone(), gate.clone(), alone.clone());
            tasks.spawn(async move {
                gate.wait().await;
                let mut calls = Vec::with_capacity(batches.len());
                for batch in batches {
                    let begun = Instant::now();
                    let _alone = if commits == Commits::OneEach { Some(alone.lock().await) } else { None };
                    committed(&writer, batch).await?;
                    calls.push(begun.elapsed());
                }
                anyhow::Ok(calls)
            });
        }
        let cpu = CpuClock::now();
        let begun = Instant::now();
        gate.wait().await;
        let mut calls = vec![];
        while let Some(its) = tasks.join_next().await {
            calls.extend(its??);
        }
        Ok(Pass { items: callers * each, wall: begun.elapsed(), calls, cpu: CpuClock::now().since(&cpu) })
    }
}

async fn committed(writer: &Writer, batch: Batch) -> anyhow::Result<()> {
    let applied = writer.apply(batch).await?;
    ensure!(matches!(applied, Applied::Committed(_)), "a new memory met one that was there");
    Ok(())
}

impl Stores<'_> {
    fn repeats(&self) -> u32 {
        self.args.repeats(USUALLY)
    }

    fn show(&self, case: &str, passes: &[Pass]) -> anyhow::Result<()> {
        if passes.is_empty() {
            return Ok(());
        }
        let kind = Kind { bench: self.report.bench, case, durable: case != "lone-relaxed", threads: 1 };
        self.report.figures(&Figures::new(kind, passes))
    }

    fn compare(&self, ours: &str, theirs: &str, passes: [&[Pass]; 2]) -> anyhow::Result<()> {
        if passes.iter().any(|passes| passes.is_empty()) {
            return Ok(());
        }
        self.report.ratio(&Compared::new(self.report.bench, &format!("{ours}/{theirs}"), passes[0], passes[1]))
    }

    /// Runs some work on a new store, after a first memory.
    fn on_new<T>(
        &self,
        least: Option<Duration>,
        work: impl AsyncFnOnce(&Rig, &mut Memories) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        const STORE: &str = "store";
        let rig = Rig::open(&self.site.folder(STORE), least)?;
        let mut memories = Memories::new(self.site.info.dimensions);
        let done = self.site.runtime.block_on(async {
            rig.add(&mut memories, 1, 1, Commits::Shared).await?;
            work(&rig, &mut memories).await
        })?;
        rig.writer.close();
        drop(rig.store);
        self.site.remove(STORE)?;
        Ok(done)
    }

    /// Callers with shared commits and with one each, alternating; below the writer, where there are 128 of them.
    fn grouped(&self, callers: usize, least_ms: Option<u64>) -> anyhow::Result<()> {
        let suffix = least_ms.map(|ms| format!("-{ms}ms")).unwrap_or_default();
        let least = least_ms.map(Duration::from_millis);
        let names =
            [format!("group-{callers}{suffix}"), format!("one-{callers}{suffix}"), format!("raw-{callers}{suffix}")];
        let wanted = names.each_ref().map(|name| CASES.contains(&name.as_str()) && self.args.wants(name));
        let (shared, alone) = ((4_096 / callers).clamp(32, 200), (256 / callers).clamp(2, 100));
        let mut passes = [const { Vec::new() }; 3];
        for _ in 0..self.repeats() {
            for (place, (commits, each)) in
                [(Commits::Shared, shared), (Commits::OneEach, alone)].into_iter().enumerate()
            {
                if wanted[place] {
                    let add =
                        async |rig: &Rig, memories: &mut Memories| rig.add(memories, callers, each, commits).await;
                    passes[place].push(self.on_new(least, add)?);
                }
            }
            if wanted[2] {
                passes[2].push(self.raw(callers * shared)?);
            }
        }
        for (name, passes) in names.iter().zip(&passes) {
            self.show(name, passes)?;
        }
        self.compare(&names[0], &names[1], [&passes[0], &passes[1]])?;
        self.compare(&names[0], &names[2], [&passes[0], &passes[2]])
    }

    /// The rows of so many memories, made by the writer first, then written by one thread below it.
    fn raw(&self, memories: usize) -> anyhow::Result<Pass> {
        let groups = self.on_new(None, async |rig: &Rig, given: &mut Memories| {
            rig.add(given, GROUP, memories / GROUP, Commits::Shared).await?;
            rows::groups(&rig.store, GROUP)
        })?;
        self.on_new(None, async |rig: &Rig, _: &mut Memories| {
            Pass::of(memories, || {
                let mut calls = vec![];
                for group in &groups {
                    let begun = Instant::now();
                    rig.store.put_rows(group)?;
                    calls.push(begun.elapsed());
                }
                Ok(calls)
            })
        })
    }

    /// One caller, durable and relaxed.
    fn lone(&self) -> anyhow::Result<()> {
        const ADDS: usize = 200;
        let mut passes = [vec![], vec![]];
        let cases = [("lone-durable", Durability::Durable), ("lone-relaxed", Durability::Relaxed)];
        for _ in 0..self.repeats() {
            for (place, (case, durability)) in
                cases.into_iter().enumerate().filter(|(_, (case, _))| self.args.wants(case))
            {
                let _ = case;
                passes[place].push(self.on_new(None, async |rig: &Rig, memories: &mut Memories| {
                    let batches = memories.take(ADDS, rig.tenant, durability);
                    let cpu = CpuClock::now();
                    let begun = Instant::now();
                    let mut calls = vec![];
                    for batch in batches {
                        let begun = Instant::now();
                        committed(&rig.writer, batch).await?;
                        calls.push(begun.elapsed());
                    }
                    Ok(Pass { items: ADDS, wall: begun.elapsed(), calls, cpu: CpuClock::now().since(&cpu) })
                })?);
            }
        }
        self.show("lone-durable", &passes[0])?;
        self.show("lone-relaxed", &passes[1])?;
        self.compare("lone-relaxed", "lone-durable", [&passes[1], &passes[0]])
    }

    /// Reading, bytes and compacting, on one store of many memories of which a third is deleted at last.
    fn large(&self) -> anyhow::Result<()> {
        self.on_new(None, async |rig: &Rig, memories: &mut Memories| {
            rig.add(memories, GROUP, MEMORIES / GROUP, Commits::Shared).await?;
            let there = MEMORIES / GROUP * GROUP + 1;
            if self.args.wants("get-100") {
                let mut passes = vec![];
                for _ in 0..self.repeats() {
                    passes.push(Pass::of(READ * 100, || {
                        let mut calls = vec![];
                        for call in 0..100 {
                            let keys = memories.keys(READ, call);
                            let begun = Instant::now();
                            let got = rig.store.snapshot()?.get(rig.tenant, "memory", &keys)?;
                            calls.push(begun.elapsed());
                            ensure!(got.iter().all(Option::is_some), "a memory is not there");
                        }
                        Ok(calls)
                    })?);
                }
                self.show("get-100", &passes)?;
            }
            let weigh = || Ok::<_, anyhow::Error>(count(usize::try_from(rig.store.usage(rig.tenant)?.bytes)?));
            if self.args.wants("bytes") {
                self.report.bytes("bytes", "file, a memory", rounded(weigh()? / count(there)))?;
            }
            if self.args.wants("compact") {
                let begun = Instant::now();
                rig.store.compact()?;
                self.report.part("compact", "full of live memories", Spread::of_ms([begun.elapsed()]))?;
                self.report.bytes("compact", "file, a memory", rounded(weigh()? / count(there)))?;
                for batch in memories.removals(3, rig.tenant) {
                    committed(&rig.writer, batch).await?;
                }
                let before = weigh()?;
                let begun = Instant::now();
                rig.store.compact()?;
                self.report.part("compact", "a third deleted", Spread::of_ms([begun.elapsed()]))?;
                self.report.bytes("compact", "file before", before)?;
                self.report.bytes("compact", "file after", weigh()?)?;
            }
            Ok(())
        })
    }
}
