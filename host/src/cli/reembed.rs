//! `cairn reembed`: moves the store to the model of the settings, and shows how far it is.
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Form, Output, note};
use super::session::{Access, Session};
use crate::config::Origin;
use crate::open::{ModelChoice, OpenError, Options};
use crate::reembed::Reembedding;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn reembed --model multilingual-e5-small            `cairn model add` brings a model

Until all memories are done, the store goes on with the model before: other commands name it with --model.
Interrupted or killed, the same command goes on where it was. Naming the model before ends the move.";

const BAR: &str = "{bar:30} {percent:>3} %  {pos} of {len} memories, {eta} left";
const TICK: Duration = Duration::from_millis(100);

pub(crate) async fn run(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        model: &'a str,
        fingerprint: &'a str,
        memories: u64,
        ms: u64,
    }
    let start = Instant::now();
    let options = session.options();
    let model = options
        .embedder()
        .map_err(OpenError::from)?
        .ok_or_else(|| Failure::usage("there is no model to move to", "--model NAME"))?;
    let info = model.info().clone();
    // Nobody searches in this process, so the model before is not needed, and need not be there any more.
    let engine = Options { model: ModelChoice::None, ..options }.open(&session.config.data.value)?;
    let bar = bar(session);
    let mut broken = None;
    let moved = session
        .with(engine, Access::Write, async |engine| {
            let watch = |progress: Reembedding| {
                bar.set_length(progress.memories);
                bar.set_position(progress.moved);
                if session.output.form == Form::Lines && broken.is_none() {
                    broken = line(progress).err();
                }
            };
            tokio::select! {
                moved = engine.reembed(model, watch) => Ok(Some(moved?)),
                () = session.interrupt.wait() => Ok(None),
            }
        })
        .await;
    bar.finish_and_clear();
    let Some(moved) = moved? else {
        note("interrupted: what was done is kept; the same command again goes on");
        return Ok(Exit::Interrupted);
    };
    if let Some(failure) = broken {
        return Err(failure);
    }
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let document = Document { model: &info.name, fingerprint: &info.fingerprint, memories: moved.memories, ms };
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&document)?,
        Form::People => {
            session
                .output
                .say(&format!("the store has vectors of {}: {} memories moved", info.name, moved.memories))?;
        }
    }
    if let (Some(name), Origin::Flag(_) | Origin::Environment(_)) =
        (&session.config.model.value, &session.config.model.origin)
    {
        note(&format!("note: `model = {name:?}` in cairn.toml makes it the model of every command"));
    }
    Ok(Exit::Done)
}

fn line(progress: Reembedding) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Line {
        moved: u64,
        memories: u64,
    }
    Output::object(&Line { moved: progress.moved, memories: progress.memories })
}

fn bar(session: &Session) -> ProgressBar {
    if session.output.form != Form::People || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    // The template is checked by a test.
    bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
