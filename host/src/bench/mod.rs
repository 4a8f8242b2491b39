//! `cairn bench`: how fast this machine does what the engine does. Each bench works on stores of its own, proves what it
//! measured, and prints only figures of its own run. May reach below the engine; nothing else depends on it.
mod agentmem;
mod bursts;
mod embed;
mod index;
mod quality;
mod search;
mod start;
mod store;

mod facts;
mod known;
mod machine;
mod measure;
mod npy;
mod report;
mod rows;
mod site;
mod slow;
mod workload;

use std::path::PathBuf;

use anyhow::bail;

use crate::embedder::Precision;
use report::Report;
use site::Site;

/// What `cairn bench` takes beside the name.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// One object a line instead of a table.
    #[arg(skip)]
    pub json: bool,
    /// Memories to load, one JSON object a line [default: 1,000 facts of our own]
    #[arg(long, value_name = "FILE")]
    pub memories: Option<PathBuf>,
    /// Vectors to find, an npy file of 32-bit floats [default: those of our own facts]
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// So many of the vectors; of more than there are, the rest is made of them
    #[arg(long, value_name = "N")]
    pub size: Option<usize>,
    /// Queries to ask, one JSON object a line, or an npy file [default: 300 of our own]
    #[arg(long, value_name = "FILE")]
    pub queries: Option<PathBuf>,
    /// Texts to embed, one a line [default: 256 of the facts]
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,
    /// How often each case runs [default: 5, short ones 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: Option<u32>,
    /// Of the model; `None`: as the engine chooses.
    #[arg(skip)]
    pub precision: Option<Precision>,
    /// Folders with memories and queries whose answers are known, for `quality`
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<PathBuf>,
    /// How far ranking goes: lexical, core or context [default: as the engine chooses]
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<String>,
    /// A constant of ranking, such as run=0.2; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub tune: Vec<String>,
    /// Where the rankings go, one JSON object a query
    #[arg(long, value_name = "RUN.jsonl")]
    pub out: Option<PathBuf>,
    /// Least percentages: {"SET":{"PIPELINE":{"memory":{"R@5":71.3}}}}; below them the bench fails
    #[arg(long, value_name = "FILE")]
    pub floors: Option<PathBuf>,
    /// Only these cases, with commas between them
    #[arg(long, value_name = "CASES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Where the stores are made, on a real disk [default: beside the data directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl BenchArgs {
    fn repeats(&self, usual: u32) -> u32 {
        self.repeats.unwrap_or(usual)
    }

    fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == case)
    }

    /// Fails where `--only` names what is none of the cases.
    fn check(&self, cases: &[&str]) -> anyhow::Result<()> {
        match self.only.iter().find(|wanted| !cases.contains(&wanted.as_str())) {
            Some(unknown) => bail!("no case {unknown:?}; there are {}", cases.join(", ")),
            None => Ok(()),
        }
    }
}

/// A bench: its cases, what it measures in one line, and how.
struct Bench {
    name: &'static str,
    measures: &'static str,
    cases: fn() -> Vec<&'static str>,
    run: fn(&Site, &Report, &BenchArgs) -> anyhow::Result<()>,
}

static BENCHES: &[Bench] = &[
    Bench {
        name: "agentmem",
        measures: "the workloads of AgentMem's own benchmarks and of real memories: each add durable and indexed",
        cases: agentmem::cases,
        run: agentmem::run,
    },
    Bench {
        name: "bursts",
        measures: "adds whose vectors follow in the background, or are known to the cache; each add durable",
        cases: bursts::cases,
        run: bursts::run,
    },
    Bench {
        name: "embed",
        measures: "the model alone on texts that are split into tokens already; one operation is one text",
        cases: embed::cases,
        run: embed::run,
    },
    Bench {
        name: "index",
        measures: "the index by itself, one thread, nothing on disk but its own files; recall@10 beside each search",
        cases: index::cases,
        run: index::run,
    },
    Bench {
        name: "quality",
        measures: "how well searches find what they should, in percent: data sets with known answers, asked one by one",
        cases: quality::cases,
        run: quality::run,
    },
    Bench {
        name: "search",
        measures: "searches one after the other, whole, and with the model's vectors known beforehand (-rest)",
        cases: search::cases,
        run: search::run,
    },
    Bench {
        name: "start",
        measures: "commands as fresh processes on a store, from exec to exit, and where the time goes",
        cases: start::cases,
        run: start::run,
    },
    Bench {
        name: "store",
        measures: "memories with their vectors committed, read and compacted, without model, component and indexes",
        cases: store::cases,
        run: store::run,
    },
];

/// Runs the bench of that name and prints what it finds. Blocks; not on a thread of an async runtime.
///
/// # Errors
/// If there is no such bench or case, a file cannot be read, or what was measured does not prove itself.
pub fn run(name: &str, args: BenchArgs) -> anyhow::Result<()> {
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("no bench {name:?}; there are {}", names.join(", "));
    };
    args.check(&(bench.cases)())?;
    if bench.name != "quality" && !args.datasets.is_empty() {
        bail!("only `quality` takes data sets");
    }
    let report = Report::new(bench.name, args.json);
    let mut args = args;
    let site = Site::new(args.dir.take(), args.precision)?;
    let before = site.conditions()?;
    report.head(&site, bench.measures, &before)?;
    (bench.run)(&site, &report, &args)?;
    report.foot(&before, &site.conditions()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(only: &[&str]) -> BenchArgs {
        BenchArgs {
            json: true,
            memories: None,
            vectors: None,
            size: None,
            queries: None,
            texts: None,
            precision: None,
            repeats: None,
            datasets: vec![],
            pipeline: None,
            tune: vec![],
            out: None,
            floors: None,
            only: only.iter().map(|case| (*case).to_owned()).collect(),
            dir: None,
        }
    }

    #[test]
    fn unknown_names_are_told_with_those_there_are() {
        let error = run("speed", arguments(&[])).unwrap_err();
        let expected = r#"no bench "speed"; there are agentmem, bursts, embed, index, quality, search, start, store"#;
        assert_eq!(error.to_string(), expected);
        let error = run("start", arguments(&["get", "put"])).unwrap_err();
        assert_eq!(error.to_string(), r#"no case "put"; there are add, search, get, stats, version"#);
    }
}
