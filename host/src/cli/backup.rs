//! `cairn compact` and `cairn backup`: the store's file written anew, in its place or somewhere else.
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Form, Output};
use super::search::milliseconds;
use super::session::{Access, Session};
use super::store::bytes;
use crate::config;

pub(crate) const COMPACT_EXAMPLES: &str = "\
Examples:
  cairn compact
  cairn compact --json                                   bytes before and after, and how long it took

Writes the store's file anew, without gaps and without a byte of what was forgotten, and needs room for it beside the old
one. If it is interrupted, the old one stays.";

pub(crate) const BACKUP_EXAMPLES: &str = "\
Examples:
  cairn backup /mnt/disk/memories-friday
  cairn --data /mnt/disk/memories-friday list            a backup is a store
  cairn --data /mnt/disk/memories-friday backup DIR      and so it comes back, to a directory that is empty

The backup is one moment of the store, and is opened and read as a whole before this says that it is there.";

pub(crate) async fn compact(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document {
        before: u64,
        after: u64,
        ms: f64,
    }
    let (compacted, ms) = session
        .with_engine(Access::Write, async |engine| {
            let start = Instant::now();
            Ok((engine.compact().await?, milliseconds(start)))
        })
        .await?;
    let (before, after) = (compacted.before, compacted.after);
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&Document { before, after, ms })?,
        Form::People => {
            session.output.say(&format!("{} before, {} now, in {}", bytes(before), bytes(after), seconds(ms)))?;
        }
    }
    Ok(Exit::Done)
}

#[derive(clap::Args, Debug)]
pub(crate) struct BackupArguments {
    /// Where to: a directory that is empty or not there yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) async fn backup(arguments: &BackupArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        directory: String,
        bytes: u64,
        ms: f64,
        problems: &'a [String],
    }
    let directory = &arguments.directory;
    let (made, ms) = session
        .with_engine(Access::Write, async |engine| {
            let start = Instant::now();
            Ok((engine.backup(directory.clone()).await?, milliseconds(start)))
        })
        .await?;
    // With its settings, such as the model, the copy opens as the store does.
    let settings = session.config.data.value.join(config::FILE);
    if settings.exists() {
        let copy = directory.join(config::FILE);
        std::fs::copy(&settings, &copy).map_err(|error| Failure::file("write", &copy, &error))?;
    }
    match session.output.form {
        Form::Json | Form::Lines => {
            let directory = directory.display().to_string();
            Output::object(&Document { directory, bytes: made.bytes, ms, problems: &made.problems })?;
        }
        Form::People => {
            for problem in &made.problems {
                session.output.say(&format!("problem: {problem}"))?;
            }
            let (size, took) = (bytes(made.bytes), seconds(ms));
            session.output.say(&format!("{}: {size}, written and checked in {took}", directory.display()))?;
        }
    }
    Ok(if made.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn seconds(ms: f64) -> String {
    if ms < 1e3 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}
