//! What a bench says: a table for people, or one JSON object a line. Never computes a figure.
use std::io::{self, Write};

use serde::Serialize;

use super::machine;
use super::measure::{Compared, Figures, Spread};
use super::site::{Conditions, Site};

/// Where the findings of one bench go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) bench: &'static str,
    json: bool,
}

/// The first line: what any figure depends on.
#[derive(Serialize)]
struct Head<'a> {
    bench: &'a str,
    measures: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
    cores: usize,
    features: Vec<&'static str>,
    model: &'a str,
    fingerprint: &'a str,
    precision: String,
    store: Store<'a>,
    /// Appending 4 KiB and syncing it, median of 50.
    sync_ms: f64,
}

#[derive(Serialize)]
struct Store<'a> {
    promise: &'a str,
    syncs_a_commit: u32,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_system: Option<&'a str>,
}

/// The last line: whether the run was quiet enough to believe.
#[derive(Serialize)]
struct Foot<'a> {
    bench: &'a str,
    sync_ms: f64,
    sync_ms_before: f64,
    /// Share of the machine that other processes used.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<f64>,
    /// Whether the figures can be quoted.
    valid: bool,
}

/// Others may use so much of the machine, and the sync may change so much, before a run is void.
const MOST_OTHERS: f64 = 0.2;
const MOST_DRIFT: f64 = 2.0;

impl Report {
    pub(super) fn new(bench: &'static str, json: bool) -> Self {
        Self { bench, json }
    }

    pub(super) fn head(&self, site: &Site, measures: &str, conditions: &Conditions) -> anyhow::Result<()> {
        let head = Head {
            bench: self.bench,
            measures,
            version: env!("CARGO_PKG_VERSION"),
            cpu: machine::cpu(),
            cores: machine::cores(),
            features: machine::features(),
            model: &site.info.name,
            fingerprint: &site.info.fingerprint,
            precision: site.precision.to_string(),
            store: Store {
                promise: "indexed",
                syncs_a_commit: 1,
                place: site.parent().display().to_string(),
                file_system: site.file_system.as_deref(),
            },
            sync_ms: conditions.sync_ms,
        };
        if self.json {
            return line(&head);
        }
        let cpu = head.cpu.as_deref().unwrap_or("unknown processor");
        let disk = head.store.file_system.unwrap_or("unknown file system");
        say(measures)?;
        say(&format!("cairn {} · {cpu}, {} cores, {}", head.version, head.cores, head.features.join(" ")))?;
        say(&format!(
            "{} {} · writes durable and indexed when they answer, one sync a commit",
            head.model, head.precision
        ))?;
        say(&format!("stores on {disk} at {} · 4 KiB append and sync {} ms", head.store.place, head.sync_ms))
    }

    /// The heads of the columns that [`Report::figures`] fills.
    pub(super) fn columns(&self) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        say(&format!(
            "\n{:<20}{:>5}{:>4}{:>9}{:>21}{:>9}{:>9}{:>9}{:>11}",
            "case", "n", "×", "ops/s", "(min–max)", "p50 ms", "p95 ms", "p99 ms", "CPU ms/op"
        ))
    }

    pub(super) fn figures(&self, figures: &Figures<'_>) -> anyhow::Result<()> {
        if self.json {
            return line(figures);
        }
        let range = format!("({:.1}–{:.1})", figures.ops_per_s_min, figures.ops_per_s_max);
        let told = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let recall = figures.recall.map_or_else(String::new, |recall| format!("  recall@10 {recall:.3}"));
        say(&format!(
            "{:<20}{:>5}{:>4}{:>9.1}{range:>21}{:>9}{:>9}{:>9}{:>11}{recall}",
            figures.case,
            figures.n,
            figures.repeats,
            figures.ops_per_s,
            told(figures.p50_ms),
            told(figures.p95_ms),
            told(figures.p99_ms),
            told(figures.cpu_ms_per_op),
        ))
    }

    /// A finding of another form: its object, or how it is said to people.
    pub(super) fn row<T: Serialize>(&self, row: &T, said: impl Fn(&T) -> String) -> anyhow::Result<()> {
        if self.json { line(row) } else { say(&said(row)) }
    }

    pub(super) fn ratio(&self, ratio: &Compared<'_>) -> anyhow::Result<()> {
        if self.json {
            return line(ratio);
        }
        say(&format!("ratio {:<22} {:.3} ({:.3}–{:.3})", ratio.ratio, ratio.median, ratio.min, ratio.max))
    }

    /// A share of a case: where its time goes.
    pub(super) fn part(&self, case: &str, part: &str, ms: Spread) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Share<'a> {
            bench: &'a str,
            case: &'a str,
            part: &'a str,
            median_ms: f64,
            min_ms: f64,
            max_ms: f64,
        }
        let Spread { median, min, max } = ms;
        if self.json {
            return line(&Share { bench: self.bench, case, part, median_ms: median, min_ms: min, max_ms: max });
        }
        say(&format!("  {case}: {part:<28} {median:>9.2} ms ({min:.2}–{max:.2})"))
    }

    /// What something weighs.
    pub(super) fn bytes(&self, case: &str, what: &str, bytes: f64) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Weight<'a> {
            bench: &'a str,
            case: &'a str,
            what: &'a str,
            bytes: f64,
        }
        if self.json {
            return line(&Weight { bench: self.bench, case, what, bytes });
        }
        say(&format!("  {case}: {what:<28} {bytes:>9.0} bytes"))
    }

    /// A case without figures, and why.
    pub(super) fn left_out(&self, case: &str, reason: &str) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Absence<'a> {
            bench: &'a str,
            case: &'a str,
            left_out: &'a str,
        }
        if self.json {
            return line(&Absence { bench: self.bench, case, left_out: reason });
        }
        say(&format!("{case:<20} left out: {reason}"))
    }

    /// What belongs to the figures: a sentence for people, an object for programs.
    pub(super) fn told(&self, sentence: &str, object: &impl Serialize) -> anyhow::Result<()> {
        if self.json { line(object) } else { say(sentence) }
    }

    /// A sentence about how what follows was measured; programs know.
    pub(super) fn remark(&self, sentence: &str) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { say(sentence) }
    }

    pub(super) fn foot(&self, before: &Conditions, after: &Conditions) -> anyhow::Result<()> {
        let others = after.load.zip(before.load).and_then(|(after, before)| after.others_since(before));
        let drift = after.sync_ms.max(before.sync_ms) / after.sync_ms.min(before.sync_ms).max(f64::MIN_POSITIVE);
        let valid = drift < MOST_DRIFT && others.is_none_or(|others| others <= MOST_OTHERS);
        let others = others.map(super::measure::rounded);
        if self.json {
            let (sync_ms, sync_ms_before) = (after.sync_ms, before.sync_ms);
            return line(&Foot { bench: self.bench, sync_ms, sync_ms_before, others, valid });
        }
        let busy =
            others.map_or_else(String::new, |share| format!(", others used {:.0} % of the machine", share * 1e2));
        say(&format!("\nsync {} ms before and {} ms after{busy}", before.sync_ms, after.sync_ms))?;
        if !valid {
            say("these figures are not to be quoted: the machine or its disk was busy with something else")?;
        }
        Ok(())
    }
}

fn line(object: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string(object)?)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    // What takes minutes is read as it comes.
    Ok(stdout.flush()?)
}
