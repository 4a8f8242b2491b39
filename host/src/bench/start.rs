//! Commands as a user or an agent runs them: this program as a fresh process on a store that is there. What each part of
//! the opening takes is what the program itself says in its messages.
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::measure::{Figures, Kind, Pass, Spread};
use super::report::Report;
use super::site::Site;
use super::{BenchArgs, facts, search};
use crate::contract::types::Content;

const CASES: [&str; 5] = ["add", "search", "get", "stats", "version"];
/// What the program says of itself while it starts, and the name of the part.
const PARTS: [(&str, &str); 5] = [
    ("store ready", "store"),
    ("indexes ready", "indexes"),
    ("component ready", "component"),
    ("tokenizer ready", "tokenizer"),
    ("model ready", "model"),
];
const USUALLY: u32 = 10;

pub(super) fn cases() -> Vec<&'static str> {
    CASES.to_vec()
}

pub(super) fn run(site: &Site, report: &Report, args: &BenchArgs) -> anyhow::Result<()> {
    const STORE: &str = "start";
    let facts = facts::facts(args)?;
    let query = facts::queries(args)?.swap_remove(0);
    report.remark(&format!(
        "{} memories; one operation is one process from exec to exit; its parts are told by runs of their own with messages \
         on, and the model and the tokenizer load beside the rest",
        facts.len()
    ))?;
    report.columns()?;
    let contents = facts.iter().map(facts::Fact::whole).collect::<anyhow::Result<Vec<Content>>>()?;
    let engine = site.open(STORE)?;
    let ids = site.runtime.block_on(search::load(&engine, &contents))?;
    site.close(engine);
    let data = site.folder(STORE);
    let user = facts::heavy_user(&facts).user.unwrap_or_default();
    let mut n_added = 0;
    for case in CASES.into_iter().filter(|case| args.wants(case)) {
        let mut arguments = || -> Vec<String> {
            let words: &[&str] = match case {
                "add" => {
                    n_added += 1;
                    return vec![
                        "add".to_owned(),
                        "-u".to_owned(),
                        user.clone(),
                        format!("Started for the {n_added}. time"),
                    ];
                }
                "search" => &["search", "-u", &user, &query],
                "get" => &["get", &ids[0]],
                other => &[other],
            };
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        command(&data, &arguments(), None)?;
        let (mut passes, mut messages) = (vec![], vec![]);
        for _ in 0..args.repeats(USUALLY) {
            let (took, _) = command(&data, &arguments(), None)?;
            passes.push(Pass { items: 1, wall: took, calls: vec![took], cpu: None });
            messages.push(command(&data, &arguments(), Some("cairn=debug"))?.1);
        }
        let kind = Kind { bench: report.bench, case, durable: true, threads: site.workers };
        report.figures(&Figures::new(kind, &passes))?;
        report.part(case, "whole", Spread::of_ms(passes.iter().map(|pass| pass.wall)))?;
        for (message, part) in PARTS {
            let told: Vec<f64> = messages.iter().filter_map(|said| duration_told(said, message)).collect();
            if !told.is_empty() {
                report.part(case, part, Spread::of(told))?;
            }
        }
    }
    Ok(())
}

/// Runs this program on the store, and returns how long it took and what it said on stderr.
fn command(data: &Path, arguments: &[String], messages: Option<&str>) -> anyhow::Result<(Duration, String)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.arg("--data").arg(data).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The user's settings are not measured.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CAIRN_")) {
        command.env_remove(name);
    }
    if let Some(filter) = messages {
        command.env("CAIRN_LOG", filter);
    }
    let begun = Instant::now();
    let output = command.output().context("cannot start this program")?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "`cairn {}` failed: {}", arguments.join(" "), said.trim());
    Ok((took, said))
}

/// The milliseconds beside the first such message.
fn duration_told(said: &str, message: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains(message))?;
    line.split_once("ms=")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_from_messages() {
        let said = "T DEBUG cairn::open: store ready ms=3.25\nT DEBUG cairn::open: indexes ready ms=10.5 entries=7\n";
        assert_eq!(duration_told(said, "store ready"), Some(3.25));
        assert_eq!(duration_told(said, "indexes ready"), Some(10.5));
        assert_eq!(duration_told(said, "model ready"), None);
    }
}
