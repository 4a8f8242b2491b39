//! `cairn why-not`: how one query sees one memory, and why it did not come back.
use super::arguments::by_id;
use super::asking::Asking;
use super::failure::{Exit, Failure};
use super::output::{Form, Output};
use super::search::told;
use super::session::{Access, Session};
use crate::contract::memory::{RawScores, Verdict};
use crate::contract::types::Error;
use crate::wire::{VerdictObject, state_name};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn why-not 0197f3c2-8a60-7c31-b0f4-3d6f9e3b5a10 \"what does Ana eat\" -u ana
  cairn why-not ID \"invoice\" --filter '{\"metadata.project\":\"books\"}' --json

It is filtered, hidden, in another scope, below the smallest score, folded into a duplicate, or ranked: at place N.";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Id of the memory that was expected
    #[arg(value_name = "ID")]
    id: String,
    /// The query that it was expected from
    #[arg(value_name = "QUERY")]
    query: String,
    #[command(flatten)]
    asking: Asking,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let query = arguments.asking.query(&arguments.query, session.scope());
    // By its id alone: that it lies in another scope is one of the answers.
    let target = by_id(&arguments.id, crate::contract::types::Scope::default());
    let verdict = session
        .with_engine(Access::Read, async |engine| {
            engine.prepare_model();
            Ok(engine.why_not(query, vec![target]).await?.pop())
        })
        .await?;
    let verdict = verdict.ok_or_else(|| Error::Internal("the engine gave no answer".to_owned()))?;
    match session.output.form {
        Form::People => show(&verdict, &session.output)?,
        Form::Json | Form::Lines => Output::object(&VerdictObject::new(&arguments.id, &verdict))?,
    }
    Ok(if verdict == Verdict::Unknown { Exit::Nothing } else { Exit::Done })
}

fn show(verdict: &Verdict, output: &Output) -> Result<(), Failure> {
    output.say(&in_words(verdict))?;
    if let Verdict::Ranked(ranked) = verdict {
        for line in told(&ranked.explanation) {
            output.say(&format!("  {line}"))?;
        }
    }
    Ok(())
}

fn in_words(verdict: &Verdict) -> String {
    let scores = |raw: &RawScores| {
        let dense = raw.dense.map_or_else(|| "no vector".to_owned(), |dense| format!("cosine {dense:.2}"));
        format!("{dense}, words {:.1}", raw.lexical)
    };
    match verdict {
        Verdict::Unknown => "there is no such memory".to_owned(),
        Verdict::Excluded(place) => format!("excluded by {place}"),
        Verdict::Hidden(state) => format!("hidden, because it is {}", state_name(*state)),
        Verdict::NoCandidate(raw) => format!("not among the candidates of any branch ({})", scores(raw)),
        Verdict::BelowMinimum(raw) => format!("below the smallest score ({})", scores(raw)),
        Verdict::Folded(into) => format!("it is there, folded into its duplicate {into}"),
        Verdict::Ranked(ranked) => {
            format!("ranked {} with score {:.2} ({})", ranked.place, ranked.score, scores(&ranked.raw))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::types::State;

    #[test]
    fn verdicts_are_said_in_words() {
        let raw = RawScores { dense: Some(0.25), lexical: 1.5 };
        for (verdict, said) in [
            (Verdict::Excluded("filter#/user".into()), "excluded by filter#/user"),
            (Verdict::Hidden(State::Outdated), "hidden, because it is outdated"),
            (Verdict::NoCandidate(raw), "not among the candidates of any branch (cosine 0.25, words 1.5)"),
            (
                Verdict::BelowMinimum(RawScores { dense: None, lexical: 0.0 }),
                "below the smallest score (no vector, words 0.0)",
            ),
        ] {
            assert_eq!(in_words(&verdict), said);
        }
    }
}
