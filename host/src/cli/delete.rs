//! `cairn delete` and `cairn forget`: one keeps the history, the other leaves nothing. Needs no model.
use std::io::{self, BufRead, IsTerminal, Write};

use serde::Serialize;

use super::arguments::{Several, in_words, is_empty, write_options};
use super::failure::{Exit, Failure};
use super::outcomes::show;
use super::output::{Form, Output, note};
use super::session::{Access, Session};
use crate::contract::memory::{Deletion, Erasure, Matched, Selection};
use crate::contract::types::Error;
use crate::engine::Engine;
use crate::wire::ErrorObject;

pub(crate) const DELETE_EXAMPLES: &str = "\
Examples:
  cairn delete ID
  cairn delete --key diet -u ana
  cairn delete --matching -u ana --dry-run               what would go
  cairn delete --matching --filter '{\"metadata.import\":\"notes\"}' --yes

Deleted memories are hidden; `cairn history ID` and `cairn restore ID --version N` still know them.
`cairn forget` erases for good.";

pub(crate) const FORGET_EXAMPLES: &str = "\
Examples:
  cairn forget ID
  cairn forget --key diet -u ana

Text, metadata, vectors, cache and all versions are removed, and nothing can bring them back.
`cairn delete` hides a memory and keeps its history.";

/// Memories of one call.
const ROUND: u32 = 1000;

#[derive(clap::Args, Debug)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    memories: Several,
    /// All memories of the scope or filter given
    #[arg(long, conflicts_with_all = ["ids", "keys"])]
    matching: bool,
    /// With --matching: only memories that match, such as '{"metadata.project":"books"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// With --matching: show what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// With --matching: do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn delete(arguments: &DeleteArguments, session: &Session) -> Result<Exit, Failure> {
    if arguments.matching {
        return matching(arguments, session).await;
    }
    if arguments.filter.is_some() || arguments.dry_run || arguments.yes {
        return Err(Failure::usage(
            "--filter, --dry-run and --yes are for --matching",
            "with IDs, `cairn delete` does not ask; `cairn restore` undoes it",
        ));
    }
    remove(&arguments.memories, Erasure::KeepHistory, session).await
}

#[derive(clap::Args, Debug)]
pub(crate) struct ForgetArguments {
    #[command(flatten)]
    memories: Several,
}

pub(crate) async fn forget(arguments: &ForgetArguments, session: &Session) -> Result<Exit, Failure> {
    remove(&arguments.memories, Erasure::Erase, session).await
}

async fn remove(memories: &Several, erasure: Erasure, session: &Session) -> Result<Exit, Failure> {
    let targets = memories.targets(&session.scope())?;
    let items = targets.into_iter().map(|target| Deletion { target, expect_version: None }).collect();
    let outcomes = session
        .with_engine(Access::Write, async |engine| {
            let outcomes = engine.delete(items, erasure, write_options(false)).await?;
            if erasure == Erasure::Erase && outcomes.iter().any(Result::is_ok) {
                // Nobody may be there to do it within the hour.
                match engine.compact().await {
                    Ok(_) => {
                        note("note: text, metadata, vectors and every version are gone for good, from the files too");
                    }
                    Err(error) => note(&format!(
                        "note: gone for good, but the files keep bytes of it until `cairn compact` succeeds: {}",
                        ErrorObject::from(&error).sentence()
                    )),
                }
            }
            Ok(outcomes)
        })
        .await?;
    show(&outcomes, |place| memories.key(place), session)
}

async fn matching(arguments: &DeleteArguments, session: &Session) -> Result<Exit, Failure> {
    let scope = session.scope();
    if is_empty(&scope) && arguments.filter.is_none() {
        return Err(Failure::usage(
            "--matching without a scope or filter would delete everything",
            "say whose: --user NAME, --run NAME …, or --filter '{\"metadata.import\":\"NAME\"}'",
        ));
    }
    let asks = !arguments.dry_run && !arguments.yes;
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::usage(
            "nobody can be asked: this is not a terminal",
            "--dry-run shows what would go, --yes deletes without asking",
        ));
    }
    let selection = Selection { scope, filter: arguments.filter.clone(), limit: ROUND, dry_run: true };
    session
        .with_engine(Access::Read, async |engine| {
            if arguments.dry_run {
                return report(&round(engine, &selection).await?, "would be deleted", session);
            }
            if asks {
                let matched = round(engine, &selection).await?;
                let count = u64::from(matched.remaining) + matched.ids.len() as u64;
                if count > 0 && !confirmed(&question(count, &selection))? {
                    note("nothing was deleted");
                    return Ok(Exit::Done);
                }
            }
            // Up to here Ctrl-C has ended everything.
            session.interrupt.finish_writes();
            let selection = Selection { dry_run: false, ..selection };
            let mut all = Matched { ids: Vec::new(), remaining: 0 };
            loop {
                let matched = match round(engine, &selection).await {
                    Ok(matched) => matched,
                    Err(error) => {
                        note(&format!("stopped: {} memories deleted", all.ids.len()));
                        return Err(error.into());
                    }
                };
                let stuck = matched.ids.is_empty();
                all.ids.extend(matched.ids);
                all.remaining = matched.remaining;
                if all.remaining == 0 || stuck || session.interrupt.requested() {
                    break;
                }
            }
            let exit = report(&all, "deleted", session)?;
            Ok(if all.remaining > 0 { Exit::Failed } else { exit })
        })
        .await
}

async fn round(engine: &Engine, selection: &Selection) -> Result<Matched, Error> {
    engine.delete_matching(selection.clone(), Erasure::KeepHistory, write_options(false)).await
}

fn report(matched: &Matched, done: &str, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        ids: &'a [String],
        remaining: u32,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
    }
    match session.output.form {
        Form::Json => Output::object(&Document { ids: &matched.ids, remaining: matched.remaining })?,
        Form::Lines => Output::objects(matched.ids.iter().map(|id| Line { id }))?,
        Form::People => {
            for id in &matched.ids {
                session.output.say(id)?;
            }
            let more =
                if matched.remaining > 0 { format!(", {} more match", matched.remaining) } else { String::new() };
            session.output.say(&format!("{} {done}{more}", memories(matched.ids.len() as u64)))?;
        }
    }
    Ok(Exit::Done)
}

fn question(count: u64, selection: &Selection) -> String {
    let whose = in_words(&selection.scope);
    let whose = if whose.is_empty() { whose } else { format!(" of {whose}") };
    let which = selection.filter.as_ref().map(|filter| format!(" that match {filter}")).unwrap_or_default();
    format!("delete {}{whose}{which}? [y/N] ", memories(count))
}

fn memories(count: u64) -> String {
    if count == 1 { "1 memory".to_owned() } else { format!("{count} memories") }
}

fn confirmed(question: &str) -> io::Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::types::Scope;

    #[test]
    fn the_question_says_how_many_and_whose() {
        let scope = Scope { user: Some("ana".into()), agent: None, app: None, run: None };
        let mut selection = Selection { scope, filter: None, limit: ROUND, dry_run: true };
        assert_eq!(question(1, &selection), "delete 1 memory of user ana? [y/N] ");
        selection.scope.user = None;
        selection.filter = Some(r#"{"kind":"fact"}"#.into());
        assert_eq!(question(12, &selection), r#"delete 12 memories that match {"kind":"fact"}? [y/N] "#);
    }
}
