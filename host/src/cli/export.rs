//! `cairn export`: memories as JSON lines, to stdout or into a file that is there whole or not at all.
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Form, Output, note};
use super::session::{Access, Session};
use crate::engine::Engine;
use crate::transfer::{self, ExportOptions};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn export backup.jsonl                              everything, with history
  cairn export -u ana | jq .text                         one user, to stdout
  cairn export --filter '{\"kind\":\"core\"}' core.jsonl

`cairn import` of an export restores the same ids, times and history.";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Where to; stdout if left out
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only memories that match, such as '{"metadata.project":"books"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// With the vectors
    #[arg(long)]
    vectors: bool,
    /// Deleted memories too
    #[arg(long)]
    deleted: bool,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let options = ExportOptions {
        scope: session.scope(),
        filter: arguments.filter.clone(),
        vectors: arguments.vectors,
        deleted: arguments.deleted,
    };
    session
        .with_engine(Access::Read, async |engine| {
            let Some(path) = arguments.file.as_deref().filter(|path| path.as_os_str() != "-") else {
                let mut stdout = BufWriter::new(io::stdout());
                write(engine, &mut stdout, &options, false).await?;
                stdout.flush()?;
                return Ok(());
            };
            let partial = partial(path);
            let count = match into_file(engine, &partial, &options).await {
                Ok(count) => count,
                Err(failure) => {
                    // What is half there helps nobody; if it cannot be removed, the failure above says more.
                    let _ = fs::remove_file(&partial);
                    return Err(failure);
                }
            };
            fs::rename(&partial, path).map_err(|error| Failure::file("write", path, &error))?;
            report(count, path, session)
        })
        .await?;
    Ok(Exit::Done)
}

async fn into_file(engine: &Engine, path: &Path, options: &ExportOptions) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::file("write", path, &error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let count = write(engine, &mut file, options, io::stderr().is_terminal()).await?;
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    Ok(count)
}

async fn write(engine: &Engine, out: &mut dyn Write, options: &ExportOptions, visible: bool) -> Result<u64, Failure> {
    let bar = if visible { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let exported = transfer::export(engine, out, options, &mut |written, of| {
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        bar.set_message(format!("{written}{of} memories"));
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    Ok(exported?)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn report(memories: u64, path: &Path, session: &Session) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Document {
        memories: u64,
    }
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&Document { memories }),
        Form::People => {
            note(&format!("memories written to {}: {memories}", path.display()));
            Ok(())
        }
    }
}
