//! `cairn stats`, `cairn flush` and `cairn doctor`: the store as a whole.
use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::is_empty;
use super::failure::{Exit, Failure};
use super::output::{Form, Output};
use super::search::milliseconds;
use super::session::{Access, Session};
use crate::contract::embedding::Purpose;
use crate::contract::memory::Statistics;
use crate::contract::types::Scope;
use crate::engine::Migration;
use crate::wire::StatisticsObject;

pub(crate) const STATS_EXAMPLES: &str = "\
Examples:
  cairn stats
  cairn stats -u ana --json                              counts of one user";

pub(crate) const FLUSH_EXAMPLES: &str = "\
Examples:
  cairn import big.jsonl --deferred && cairn flush       returns when all is found by meaning";

pub(crate) const DOCTOR_EXAMPLES: &str = "\
Examples:
  cairn doctor                                           does it open, do the indexes match
  cairn doctor --deep                                    reads every record

Exit code 1 if something is wrong. Changes nothing.";

pub(crate) async fn stats(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        statistics: StatisticsObject<'a>,
        /// A move to another model that is under way or was broken off.
        #[serde(skip_serializing_if = "Option::is_none")]
        moving: Option<Moving<'a>>,
    }
    #[derive(Serialize)]
    struct Moving<'a> {
        model: &'a str,
        moved: u64,
        memories: u64,
    }
    let scope = session.scope();
    let (statistics, moving) =
        session.with_engine(Access::Read, async |engine| Ok((engine.stats(scope).await?, engine.migration()?))).await?;
    if session.output.form != Form::People {
        let moving = moving.as_ref().map(|Migration { name, moved, entries, .. }| Moving {
            model: name,
            moved: *moved,
            memories: *entries,
        });
        Output::object(&Document { statistics: (&statistics).into(), moving })?;
        return Ok(Exit::Done);
    }
    let whole = is_empty(&session.scope());
    for (name, value) in figures(&statistics, whole) {
        session.output.say(&format!("{}  {value}", session.output.dim(&format!("{name:>16}"))))?;
    }
    if let Some(Migration { name, moved, entries, .. }) = moving {
        let head = session.output.dim(&format!("{:>16}", "moving to"));
        session.output.say(&format!("{head}  {name}: {moved} of {entries} memories; `cairn reembed` goes on"))?;
    }
    session.output.say(&format!(
        "{}  {}",
        session.output.dim(&format!("{:>16}", "store")),
        session.config.data.value.display()
    ))?;
    Ok(Exit::Done)
}

fn figures(statistics: &Statistics, whole: bool) -> Vec<(&'static str, String)> {
    let model = statistics.model.as_ref();
    let mut figures = vec![
        ("memories", format!("{}{}", statistics.live, if whole { "" } else { " in this scope" })),
        ("outdated", statistics.outdated.to_string()),
        ("expired", statistics.expired.to_string()),
        ("deleted", statistics.deleted.to_string()),
        ("wait for model", statistics.pending.to_string()),
        ("on disk", bytes(statistics.bytes)),
        ("model", model.map_or_else(|| "none: words alone".to_owned(), |model| model.name.clone())),
    ];
    if statistics.stale > 0 {
        figures.push(("stale", format!("{} made by another model or other rules", statistics.stale)));
    }
    if statistics.lag > 0 {
        figures.push(("index lag", format!("{} commits", statistics.lag)));
    }
    figures
}

pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let count = count as f64;
    match count {
        _ if count < 1024.0 => format!("{count} B"),
        _ if count < 1024.0 * 1024.0 => format!("{:.1} KiB", count / 1024.0),
        _ if count < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", count / (1024.0 * 1024.0)),
        _ => format!("{:.1} GiB", count / (1024.0 * 1024.0 * 1024.0)),
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct FlushArguments {
    /// Give up after this long; the work goes on with the next command
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u32,
}

pub(crate) async fn flush(arguments: &FlushArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document {
        flushed: bool,
        ms: f64,
    }
    let start = Instant::now();
    let timeout = Duration::from_secs(arguments.timeout.into()).as_millis();
    session
        .with_engine(Access::Read, async |engine| {
            engine.prepare_model();
            // What is owed cannot be paid by a model that does not run: that is the answer then, not a timeout.
            if engine.stats(Scope::default()).await?.pending > 0 {
                engine.embed(vec!["a text".to_owned()], Purpose::Query).await?;
            }
            Ok(engine.flush(u32::try_from(timeout).unwrap_or(u32::MAX)).await?)
        })
        .await?;
    let ms = milliseconds(start);
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&Document { flushed: true, ms })?,
        Form::People => session.output.say("all memories are durable and found by meaning")?,
    }
    Ok(Exit::Done)
}

#[derive(clap::Args, Debug)]
pub(crate) struct DoctorArguments {
    /// Read every record and compare it with the indexes
    #[arg(long)]
    deep: bool,
}

pub(crate) async fn doctor(arguments: &DoctorArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        data: String,
        problems: &'a [String],
    }
    #[derive(Serialize)]
    struct Line<'a> {
        problem: &'a str,
    }
    let checked = session.with_engine(Access::Read, async |engine| Ok(engine.doctor(arguments.deep).await?)).await;
    let problems = match checked {
        Ok(problems) => problems,
        // A store that does not open is what one asks a doctor about.
        Err(failure) => match failure.error() {
            Some(error) if error.kind == "corrupt" => vec![error.sentence()],
            _ => return Err(failure),
        },
    };
    let data = session.config.data.value.display().to_string();
    match session.output.form {
        Form::Json => Output::object(&Document { data, problems: &problems })?,
        Form::Lines => Output::objects(problems.iter().map(|problem| Line { problem }))?,
        Form::People if problems.is_empty() => session.output.say(&format!("{data}: no problems found"))?,
        Form::People => {
            for problem in &problems {
                session.output.say(&format!("problem: {problem}"))?;
            }
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
