//! `cairn add`: one memory, or one a line from stdin. What a memory may be is the engine's decision.
use std::path::Path;

use serde::Serialize;

use super::arguments::{is_empty, one_of, write_options};
use super::failure::{Exit, Failure, with_hint};
use super::lines::{Line, Lines};
use super::metadata;
use super::outcomes::{Tally, show};
use super::output::{Form, Output, complain, note};
use super::session::{Access, Session};
use crate::contract::memory::{AddOptions, Comparison, Extraction, Outcome};
use crate::contract::types::{Content, Error, Kind, Refusal, Role, Scope};
use crate::engine::Engine;
use crate::times;
use crate::wire::{KINDS, OutcomeObject, ROLES};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn add \"Ana is vegetarian\"                          goes to user `default`
  cairn add -u ana \"Rita visits on 14 April\" --at 2025-03-05
  cairn add -u ana \"Invoice 17 is paid\" --metadata project=books --metadata amount:=12.50
  cairn add -u ana --key diet \"Ana is vegetarian\"        again under the same key: an update
  cairn add -u ana \"Ana lives in Wien\" --compare similar   links what it repeats or corrects
  cat notes.txt | cairn add -u ana -                     one memory a line";

/// Memories of one call; small enough that an interrupt is answered soon.
const BATCH: usize = 256;
/// Who a memory belongs to when nobody is named.
const DEFAULT_USER: &str = "default";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What to remember; `-` reads one memory a line from stdin
    #[arg(value_name = "TEXT|-")]
    text: String,
    /// When it happened or was said: RFC 3339, a date or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    at: Option<i64>,
    /// Who said or did it
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Author of a message
    #[arg(long, value_parser = one_of(&ROLES))]
    role: Option<Role>,
    /// What the memory is good for
    #[arg(long, value_parser = one_of(&KINDS), default_value = "fact")]
    kind: Kind,
    /// name=text, name:=JSON or '{JSON}'; may be repeated
    #[arg(short, long, value_name = "METADATA")]
    metadata: Vec<String>,
    /// Your own name for it, unique in its scope; adding again under it updates
    #[arg(long)]
    key: Option<String>,
    /// True from here on
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    valid_from: Option<i64>,
    /// True until here
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    valid_to: Option<i64>,
    /// Forgotten from here on
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    expires: Option<i64>,
    /// Answer before the model has read it: durable, found by its words, and by its meaning soon
    #[arg(long)]
    deferred: bool,
    /// How it is compared with its scope: the same text is the same memory (exact); near duplicates and contradictions are
    /// linked too (similar), or contradictions supersede (supersede)
    #[arg(long, value_parser = one_of(&COMPARISONS), default_value = "exact")]
    compare: Comparison,
}

static COMPARISONS: [(&str, Comparison); 4] = [
    ("none", Comparison::None),
    ("exact", Comparison::Exact),
    ("similar", Comparison::Similar),
    ("supersede", Comparison::Supersede),
];

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let from_stdin = arguments.text == "-";
    if from_stdin && arguments.key.is_some() {
        return Err(Failure::usage(
            "--key names one memory, and stdin may hold many",
            "`cairn import` takes a key a line: {\"text\":\"…\",\"key\":\"…\"}",
        ));
    }
    let pattern = pattern(arguments, session.scope())?;
    let options = AddOptions {
        write: write_options(arguments.deferred),
        comparison: arguments.compare,
        extraction: Extraction::None,
    };
    session
        .with_engine(Access::Write, async |engine| {
            if !arguments.deferred {
                engine.prepare_model();
            }
            if from_stdin {
                return from_lines(engine, &pattern, &options, session).await;
            }
            let text = arguments.text.clone();
            let outcomes = add(engine, vec![Content { text, ..pattern.clone() }], &options).await?;
            show(&outcomes, |_| arguments.key.as_deref(), session)
        })
        .await
}

/// Everything but the text.
fn pattern(arguments: &Arguments, scope: Scope) -> Result<Content, Failure> {
    Ok(Content {
        text: String::new(),
        scope: place(scope),
        key: arguments.key.clone(),
        actor: arguments.actor.clone(),
        role: arguments.role,
        kind: arguments.kind,
        metadata: metadata::object(&arguments.metadata)?.unwrap_or_default(),
        at: arguments.at,
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        expires_at: arguments.expires,
        links: Vec::new(),
    })
}

fn place(scope: Scope) -> Scope {
    if is_empty(&scope) { Scope { user: Some(DEFAULT_USER.to_owned()), ..scope } } else { scope }
}

async fn from_lines(
    engine: &Engine,
    pattern: &Content,
    options: &AddOptions,
    session: &Session,
) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        outcomes: Vec<OutcomeObject<'a>>,
    }
    let mut lines = Lines::open(Path::new("-"))?;
    let mut tally = Tally::default();
    let mut kept = Vec::new();
    // Memories are added to the end, even if nobody reads what became of them.
    let mut heard = true;
    loop {
        let batch = lines.batch(BATCH, &session.interrupt).await?;
        if batch.is_empty() {
            break;
        }
        let answered = add_lines(engine, batch, pattern, options).await;
        for (number, outcome) in answered.inspect_err(|_| note(&format!("stopped: {}", tally.sentence())))? {
            tally.count(&outcome);
            let object = located(&outcome, number);
            if let OutcomeObject::Refused { error } = &object {
                complain(error);
            }
            match session.output.form {
                Form::Lines if heard => match Output::object(&object) {
                    Err(Failure::ClosedPipe) => heard = false,
                    printed => printed?,
                },
                Form::Json => kept.push((number, outcome)),
                Form::Lines | Form::People => {}
            }
        }
    }
    match session.output.form {
        Form::Json => {
            let outcomes = kept.iter().map(|(number, outcome)| located(outcome, *number)).collect();
            Output::object(&Document { outcomes })?;
        }
        Form::People => session.output.say(&tally.sentence())?,
        Form::Lines => {}
    }
    if session.interrupt.requested() {
        note(&format!("interrupted: {}", tally.sentence()));
    }
    Ok(if tally.failed > 0 { Exit::Failed } else { Exit::Done })
}

/// The outcome, with the line of an error.
fn located(outcome: &Result<Outcome, Error>, number: u64) -> OutcomeObject<'_> {
    match OutcomeObject::new(outcome, None) {
        OutcomeObject::Refused { error } => OutcomeObject::Refused { error: with_hint(error).line(number) },
        done @ OutcomeObject::Done(_) => done,
    }
}

/// Adds the lines that can be memories, and answers for each one with its number, in order.
async fn add_lines(
    engine: &Engine,
    lines: Vec<Line>,
    pattern: &Content,
    options: &AddOptions,
) -> Result<Vec<(u64, Result<Outcome, Error>)>, Failure> {
    let refusal = |message: &str| Refusal { place: "text".to_owned(), message: message.to_owned() };
    let mut answers: Vec<(u64, Option<Result<Outcome, Error>>)> = Vec::with_capacity(lines.len());
    let mut items = Vec::with_capacity(lines.len());
    for line in lines {
        let refused = match line.text {
            None => Some(refusal("the line is not UTF-8")),
            Some(text) if text.trim().is_empty() => Some(refusal("the line is empty")),
            Some(text) => {
                items.push(Content { text, ..pattern.clone() });
                None
            }
        };
        answers.push((line.number, refused.map(|refusal| Err(Error::InvalidArgument(refusal)))));
    }
    let mut added = if items.is_empty() { Vec::new() } else { add(engine, items, options).await? }.into_iter();
    let missing = || Err(Error::Internal("the engine answered fewer items than it was given".to_owned()));
    let answered = answers.into_iter().map(|(number, refused)| {
        let outcome = refused.or_else(|| added.next()).unwrap_or_else(missing);
        (number, outcome)
    });
    Ok(answered.collect())
}

/// Adds the items in one call. One that makes the engine refuse the whole call is taken out, so that it answers for
/// itself alone.
async fn add(engine: &Engine, items: Vec<Content>, options: &AddOptions) -> Result<Vec<Result<Outcome, Error>>, Error> {
    let mut waiting: Vec<(usize, Content)> = items.into_iter().enumerate().collect();
    let mut refused: Vec<(usize, Error)> = Vec::new();
    let added = loop {
        let call = waiting.iter().map(|(_, content)| content.clone()).collect();
        match engine.add(call, options.clone()).await {
            Ok(added) => break added.items,
            Err(error) => {
                let Some(culprit) = culprit(&error).filter(|culprit| *culprit < waiting.len()) else {
                    return Err(error);
                };
                let (place, _) = waiting.remove(culprit);
                refused.push((place, error));
                if waiting.is_empty() {
                    break Vec::new();
                }
            }
        }
    };
    let mut answers: Vec<(usize, Result<Outcome, Error>)> =
        waiting.iter().map(|(place, _)| *place).zip(added).collect();
    answers.extend(refused.into_iter().map(|(place, error)| (place, Err(error))));
    answers.sort_by_key(|(place, _)| *place);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// The item that a refusal of a whole call names.
fn culprit(error: &Error) -> Option<usize> {
    let (Error::InvalidArgument(refusal) | Error::LimitExceeded(refusal)) = error else { return None };
    refusal.place.strip_prefix("items[")?.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_memory_without_any_scope_goes_to_the_default_user() {
        let scope = |user: Option<&str>, run: Option<&str>| Scope {
            user: user.map(str::to_owned),
            agent: None,
            app: None,
            run: run.map(str::to_owned),
        };
        assert_eq!(place(scope(None, None)), scope(Some("default"), None));
        assert_eq!(place(scope(None, Some("s3"))), scope(None, Some("s3")));
    }

    #[test]
    fn a_refused_call_names_its_item() {
        let refused =
            |place: &str| culprit(&Error::LimitExceeded(Refusal { place: place.into(), message: String::new() }));
        assert_eq!(refused("items[12].text"), Some(12));
        assert_eq!(refused("items"), None);
        assert_eq!(culprit(&Error::Timeout), None);
    }
}
