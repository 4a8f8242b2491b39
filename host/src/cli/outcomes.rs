//! What writes did, printed alike for every verb.
use serde::Serialize;

use super::failure::{Exit, Failure, with_hint};
use super::output::{Form, Output, complain, note};
use super::session::Session;
use crate::contract::memory::{Change, Outcome, Reason};
use crate::contract::types::Error;
use crate::wire::{OutcomeObject, change_name, reason_name};

/// Prints the outcomes of one call. `key` gives the key by which the request named an item.
pub(crate) fn show<'a>(
    outcomes: &'a [Result<Outcome, Error>],
    key: impl Fn(usize) -> Option<&'a str>,
    session: &Session,
) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        outcomes: Vec<OutcomeObject<'a>>,
    }
    let object = |(place, outcome)| match OutcomeObject::new(outcome, key(place)) {
        OutcomeObject::Refused { error } => OutcomeObject::Refused { error: with_hint(error) },
        done @ OutcomeObject::Done(_) => done,
    };
    let objects: Vec<OutcomeObject> = outcomes.iter().enumerate().map(object).collect();
    for object in &objects {
        if let OutcomeObject::Refused { error } = object {
            complain(error);
        }
    }
    match session.output.form {
        Form::Json => Output::object(&Document { outcomes: objects })?,
        Form::Lines => Output::objects(&objects)?,
        Form::People => {
            for outcome in outcomes.iter().flatten() {
                session.output.say(&sentence(outcome))?;
            }
        }
    }
    let truncated: u32 = outcomes.iter().flatten().map(|outcome| outcome.truncated_tokens).sum();
    if truncated > 0 {
        note(&format!("note: the model did not read the last {truncated} tokens; the words are found all the same"));
    }
    Ok(exit(outcomes))
}

/// 3 if all that was asked for is missing, 1 if anything else went wrong.
fn exit(outcomes: &[Result<Outcome, Error>]) -> Exit {
    let missing = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::NotFound(_)))).count();
    if !outcomes.is_empty() && missing == outcomes.len() {
        Exit::Nothing
    } else if outcomes.iter().any(Result::is_err) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn sentence(outcome: &Outcome) -> String {
    let item = &outcome.item;
    let named = item.change == Change::Unchanged || item.reason != Reason::Requested;
    let reason = if named { format!(", {}", reason_name(item.reason)) } else { String::new() };
    let mut lines = vec![format!("{} {} (version {}{reason})", change_name(item.change), item.id, item.version)];
    for other in &outcome.others {
        lines.push(format!("  {} {} ({})", change_name(other.change), other.id, reason_name(other.reason)));
    }
    lines.join("\n")
}

/// How many items of a long write became what.
#[derive(Default)]
pub(crate) struct Tally {
    added: u64,
    updated: u64,
    unchanged: u64,
    pub(crate) failed: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &Result<Outcome, Error>) {
        match outcome.as_ref().map(|outcome| outcome.item.change) {
            Ok(Change::Added) => self.added += 1,
            Ok(Change::Unchanged) => self.unchanged += 1,
            Ok(_) => self.updated += 1,
            Err(_) => self.failed += 1,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        let mut parts = vec![format!("{} added", self.added)];
        for (number, name) in [(self.updated, "updated"), (self.unchanged, "unchanged"), (self.failed, "failed")] {
            if number > 0 {
                parts.push(format!("{number} {name}"));
            }
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::memory::Effect;

    fn done(change: Change, reason: Reason) -> Outcome {
        let effect = |id: &str, change, reason| Effect { id: id.into(), version: 2, change, reason, similarity: None };
        Outcome {
            item: effect("a", change, reason),
            others: vec![effect("b", Change::Linked, Reason::NearDuplicate)],
            truncated_tokens: 0,
        }
    }

    #[test]
    fn people_read_what_happened_and_why() {
        assert_eq!(
            sentence(&done(Change::Added, Reason::Requested)),
            "added a (version 2)\n  linked b (near-duplicate)"
        );
        assert_eq!(
            sentence(&done(Change::Unchanged, Reason::SameText)),
            "unchanged a (version 2, same-text)\n  linked b (near-duplicate)"
        );
    }

    #[test]
    fn the_exit_code_tells_missing_from_failed() {
        let ok = || Ok(done(Change::Deleted, Reason::Requested));
        let missing = || Err(Error::NotFound(String::new()));
        assert_eq!(exit(&[ok()]), Exit::Done);
        assert_eq!(exit(&[missing(), missing()]), Exit::Nothing);
        assert_eq!(exit(&[ok(), missing()]), Exit::Failed);
        assert_eq!(exit(&[]), Exit::Done);
    }

    #[test]
    fn a_tally_names_what_there_is() {
        let mut tally = Tally::default();
        assert_eq!(tally.sentence(), "0 added");
        tally.count(&Ok(done(Change::Added, Reason::Requested)));
        tally.count(&Ok(done(Change::Unchanged, Reason::SameText)));
        tally.count(&Err(Error::Timeout));
        assert_eq!(tally.sentence(), "1 added, 1 unchanged, 1 failed");
    }
}
