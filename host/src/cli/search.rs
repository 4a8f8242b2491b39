//! `cairn search`: one query for people or programs. Many queries at once are in `queries.rs`.
use std::path::PathBuf;
use std::time::Instant;

use super::arguments::in_words;
use super::asking::Asking;
use super::failure::{Exit, Failure};
use super::output::{Form, Output, cut, note};
use super::queries;
use super::session::{Access, Session};
use crate::contract::memory::{Doubt, Explanation, Found, Hit, Query, Trace};
use crate::contract::types::{Error, Memory};
use crate::engine::Engine;
use crate::times;
use crate::wire::{FoundObject, HitObject};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn search \"what does Ana eat\" -u ana
  cairn search \"invoice\" --filter '{\"metadata.project\":\"books\"}' --limit 3
  cairn search \"who visits in April\" --explain           shows what each score is made of
  cairn search --queries queries.jsonl --jsonl           many at once, in order; a line of the file:
                                                         {\"query_id\":\"q1\",\"query\":\"…\",\"user\":\"ana\"}

A score compares hits of one answer. Thresholds apply to raw scores: --min-similarity 0.3";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What to look for, in words
    #[arg(value_name = "QUERY", required_unless_present = "queries", conflicts_with = "queries")]
    query: Option<String>,
    /// File of queries, one JSON object a line; `-` for stdin
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Show what each score is made of
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let asking = &arguments.asking;
    let pattern = Query { explain: arguments.explain, ..asking.query("", session.scope()) };
    session
        .with_engine(Access::Read, async |engine| {
            engine.prepare_model();
            if let Some(file) = &arguments.queries {
                return queries::run(engine, file, &pattern, session).await;
            }
            let text = arguments.query.clone().unwrap_or_default();
            one(engine, Query { text, ..pattern.clone() }, session).await
        })
        .await
}

async fn one(engine: &Engine, query: Query, session: &Session) -> Result<Exit, Failure> {
    let start = Instant::now();
    let found = engine.search(vec![query]).await?.pop();
    let ms = milliseconds(start);
    let found = found.unwrap_or_else(|| Err(Error::Internal("the engine gave no answer".to_owned())))?;
    match session.output.form {
        Form::Json => Output::object(&FoundObject::new(&found, ms))?,
        Form::Lines => Output::objects(found.hits.iter().map(HitObject::from))?,
        Form::People => show(&found, &session.output)?,
    }
    Ok(Exit::Done)
}

/// Milliseconds since then, to a thousandth.
pub(crate) fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Prints hits for people: rank, score and text, then to whom it belongs, and why if asked.
pub(crate) fn show(found: &Found, output: &Output) -> Result<(), Failure> {
    if found.hits.is_empty() {
        output.say("nothing found")?;
    }
    for (i, hit) in found.hits.iter().enumerate() {
        let text = hit.passage.as_ref().unwrap_or(&hit.memory.content.text);
        let text = cut(text, output.width.saturating_sub(11));
        output.say(&format!("{:>3}  {:.2}  {}", i + 1, hit.score, output.bold(&text)))?;
        output.say(&output.dim(&format!("           {}", about(&hit.memory))))?;
        for line in reasons(hit) {
            output.say(&format!("           {}", cut(&line, output.width.saturating_sub(11))))?;
        }
    }
    if let Some(trace) = &found.trace {
        output.say(&output.dim(&traced(trace)))?;
    }
    for doubt in &found.doubts {
        note(match doubt {
            Doubt::NothingNear => "note: nothing is as near as answers usually are",
            Doubt::UnknownLanguage => "note: the model does not know this language; found by words alone",
        });
    }
    if found.pending > 0 {
        note(&format!("note: {} memories are not yet found by meaning; `cairn flush` waits for them", found.pending));
    }
    Ok(())
}

/// Scope, actor, date and id of a memory.
pub(crate) fn about(memory: &Memory) -> String {
    let content = &memory.content;
    let date = times::format(content.at.unwrap_or(memory.created_at));
    let parts = [
        Some(in_words(&content.scope)).filter(|words| !words.is_empty()),
        content.actor.clone(),
        date.get(..10).map(str::to_owned),
        Some(memory.id.clone()),
    ];
    cut(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "), usize::MAX)
}

/// What the score is made of.
fn reasons(hit: &Hit) -> Vec<String> {
    hit.explanation.as_ref().map(told).unwrap_or_default()
}

/// The summands of a score, and the words that it shares with the query.
pub(crate) fn told(explanation: &Explanation) -> Vec<String> {
    let part =
        |part: &crate::contract::memory::Part| format!("{} {:.2} gives {:+.2}", part.name, part.value, part.share);
    let mut lines = vec![explanation.parts.iter().map(part).collect::<Vec<_>>().join(", ")];
    if !explanation.terms.is_empty() {
        let term = |term: &crate::contract::memory::TermShare| format!("{} {:.1}", term.term, term.share);
        lines.push(format!("words: {}", explanation.terms.iter().map(term).collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn traced(trace: &Trace) -> String {
    let mut parts = vec![format!("{} of {} memories compared", trace.candidates, trace.admitted)];
    if !trace.dense_text.is_empty() {
        parts.push(format!("by meaning: {:?}", trace.dense_text));
    }
    for (words, from, to) in &trace.dates {
        let day = |ms: &i64| times::format(*ms).chars().take(10).collect::<String>();
        parts.push(format!("{words:?} as {} to {}", day(from), day(to)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::memory::{Part, RawScores, TermShare};
    use crate::wire::tests::bare;

    #[test]
    fn people_read_whose_memory_it_is() {
        let mut memory = bare();
        assert_eq!(about(&memory), "1970-01-01 · 0197");
        memory.content.scope.user = Some("ana".into());
        memory.content.actor = Some("Ana".into());
        memory.content.at = Some(86_400_000);
        assert_eq!(about(&memory), "user ana · Ana · 1970-01-02 · 0197");
    }

    #[test]
    fn people_read_what_a_score_is_made_of() {
        let parts = vec![
            Part { name: "dense".into(), value: 0.6, share: 0.36 },
            Part { name: "superseded".into(), value: 1.0, share: -0.2 },
        ];
        let terms = vec![TermShare { term: "tea".into(), share: 7.12 }];
        let hit = Hit {
            memory: bare(),
            score: 0.16,
            raw: RawScores { dense: None, lexical: 0.0 },
            passage: None,
            folded: Vec::new(),
            explanation: Some(Explanation { parts, terms }),
        };
        assert_eq!(reasons(&hit), ["dense 0.60 gives +0.36, superseded 1.00 gives -0.20", "words: tea 7.1"]);
    }
}
