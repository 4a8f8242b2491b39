//! `cairn import`: hands a file to the transfer and shows how far it is. Which lines are good is decided there.
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::{Exit, Failure, with_hint};
use super::output::{Form, Output, clean, note};
use super::session::{Access, Session};
use crate::transfer::{self, ImportOptions, Imported, Input, Progress};
use crate::wire::ErrorObject;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn import memories.jsonl -u ana                     one memory a line, such as
    {\"text\":\"…\",\"key\":\"…\",\"actor\":\"…\",\"at\":\"2025-03-05\",\"metadata\":{…}}
  cairn import export.jsonl                              restores ids, times and history
  cairn import notes.md --tag notes                      a paragraph or list item each; undone by:
  cairn delete --matching --filter '{\"metadata.import\":\"notes\"}'
  other-program | cairn import - --jsonl                 {\"acknowledged\":N} as lines become durable

Interrupted or killed, the same command again finishes without duplicates.";

/// How often the bar moves at most.
const TICK: Duration = Duration::from_millis(100);
const SPINNER: &str = "{spinner} {msg}";
const BAR: &str = "{bar:30} {percent:>3} %  {msg}, {eta} left";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One memory a line
    Jsonl,
    /// One memory a line
    Text,
    /// One memory a paragraph, list item or block of code
    Markdown,
    /// A JSON list of chat messages
    Chat,
}

impl From<Format> for transfer::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Jsonl => Self::Jsonl,
            Format::Text => Self::Text,
            Format::Markdown => Self::Markdown,
            Format::Chat => Self::Chat,
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What to import; `-` for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Format of the file; else guessed, and said
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Sets `metadata.import` to NAME in each memory
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Keep unknown fields under `metadata`
    #[arg(long)]
    lenient: bool,
    /// Write nothing if any line is bad
    #[arg(long)]
    strict: bool,
    /// Do not wait for the model: durable, found by words, and by meaning soon
    #[arg(long)]
    deferred: bool,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let options = ImportOptions {
        format: arguments.format.map(Into::into),
        scope: session.scope(),
        tag: arguments.tag.clone(),
        lenient: arguments.lenient,
        strict: arguments.strict,
        deferred: arguments.deferred,
        cancel: session.interrupt.flag(),
    };
    let input = if arguments.file.as_os_str() == "-" { Input::Stdin } else { Input::File(arguments.file.clone()) };
    let start = Instant::now();
    let watch = Watch::new(session);
    let imported = session
        .with_engine(Access::Write, async |engine| {
            if !arguments.deferred {
                engine.prepare_model();
            }
            let imported = transfer::import(engine, input, &options, &mut |progress| watch.see(&progress)).await;
            watch.done();
            Ok(imported?)
        })
        .await?;
    watch.failure()?;
    if arguments.format.is_none() && imported.format != transfer::Format::Jsonl {
        note(&format!("note: read as {}; --format says otherwise", imported.format));
    }
    summary(&imported, start.elapsed(), session)?;
    Ok(if imported.failed > 0 { Exit::Failed } else { Exit::Done })
}

/// What the reports of an import lead to: a bar on a terminal, lines for programs, complaints about lines.
pub(super) struct Watch {
    bar: ProgressBar,
    /// Whether programs are told how far it is.
    tells: bool,
    acknowledged: RefCell<u64>,
    /// The output can break while the import goes on.
    broken: RefCell<Option<Failure>>,
}

impl Watch {
    fn new(session: &Session) -> Self {
        let visible = session.output.form == Form::People && std::io::stderr().is_terminal();
        let bar = if visible { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.set_style(style(SPINNER));
        bar.set_message("opening the store");
        if visible {
            bar.enable_steady_tick(TICK);
        }
        let tells = session.output.form == Form::Lines;
        Self { bar, tells, acknowledged: RefCell::new(0), broken: RefCell::new(None) }
    }

    /// Without lines for programs.
    pub(super) fn quiet(session: &Session) -> Self {
        Self { tells: false, ..Self::new(session) }
    }

    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn see(&self, progress: &Progress) {
        #[derive(Serialize)]
        struct Line {
            acknowledged: u64,
        }
        if let Some(problem) = &progress.problem {
            let error = with_hint(ErrorObject::from(&problem.error).line(problem.line));
            self.bar.suspend(|| note(&complaint(&error)));
        }
        self.draw(progress);
        if progress.acknowledged == self.acknowledged.replace(progress.acknowledged) {
            return;
        }
        if self.tells && self.broken.borrow().is_none() {
            let printed = Output::object(&Line { acknowledged: progress.acknowledged });
            *self.broken.borrow_mut() = printed.err();
        }
    }

    fn draw(&self, progress: &Progress) {
        if progress.total_bytes != self.bar.length() {
            self.bar.set_style(style(BAR));
            self.bar.set_length(progress.total_bytes.unwrap_or_default());
        }
        self.bar.set_position(progress.bytes);
        let seconds = self.bar.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
        let rate = if seconds > 0.0 { progress.acknowledged as f64 / seconds } else { 0.0 };
        self.bar.set_message(format!("{} lines, {rate:.0} a second", progress.acknowledged));
    }

    fn failure(&self) -> Result<(), Failure> {
        self.broken.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// A template of this file; they are checked by a test.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn complaint(error: &ErrorObject) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("error: {}{hint}", clean(&error.sentence()))
}

fn summary(imported: &Imported, took: Duration, session: &Session) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Document {
        lines: u64,
        added: u64,
        updated: u64,
        unchanged: u64,
        failed: u64,
        interrupted: bool,
        ms: u64,
    }
    let document = Document {
        lines: imported.lines,
        added: imported.added,
        updated: imported.updated,
        unchanged: imported.unchanged,
        failed: imported.failed,
        interrupted: imported.interrupted,
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    };
    let sentence = format!(
        "{} lines in {:.1} s: {} added, {} updated, {} unchanged, {} failed",
        imported.lines,
        took.as_secs_f64(),
        imported.added,
        imported.updated,
        imported.unchanged,
        imported.failed
    );
    match session.output.form {
        Form::Json => Output::object(&document)?,
        Form::Lines => note(&sentence),
        Form::People => session.output.say(&sentence)?,
    }
    if imported.interrupted {
        note("interrupted: what was acknowledged is durable; the same command again goes on");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates() {
        for template in [SPINNER, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_complaint_names_the_line() {
        let mut error =
            ErrorObject::new("invalid-argument", "unknown field `txt`").line(12).hint("did you mean `text`?");
        error.place = Some("txt".into());
        assert_eq!(complaint(&error), "error: line 12: txt: unknown field `txt`\nhint: did you mean `text`?");
    }
}
