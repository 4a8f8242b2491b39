//! What makes a memory findable: the index entry of a record, and the texts whose vectors it needs.
use crate::filter::{attributes, number};
use crate::index::{Attribute, Candidate, Condition, Entry, Passage, Test, Value, WeightedText};
use crate::memory::Including;
use crate::record::Record;
use crate::text::{embedded, indexed, passages, words_of_question};
use crate::view::Eyes;

/// The attribute that says from when a memory is superseded. No filter can name it.
const SUPERSEDED_FROM: &str = "#superseded_from";
/// The attribute of a text that ends in a question mark: its words.
pub(crate) const ASKS: &str = "#asks";

/// What of an entry a change renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renew {
    /// Its words and vectors too.
    All,
    /// What conditions ask about.
    Facts,
}

/// The entry of a record, and with [`Renew::All`] the texts to embed, one a passage in order. `first` is the place that
/// the first of them will have among the vectors of the call.
pub(crate) fn entry(record: &Record, renew: Renew, first: u32) -> (Entry, Vec<String>) {
    let content = &record.content;
    let mut facts: Vec<Attribute> =
        attributes(record).into_iter().map(|(name, value)| Attribute { name, value }).collect();
    if let Some(superseded) = record.superseded {
        facts.push(Attribute { name: SUPERSEDED_FROM.to_owned(), value: Value::Number(number(superseded.from)) });
    }
    if let Some(words) = words_of_question(&content.text) {
        facts.push(Attribute { name: ASKS.to_owned(), value: Value::Number(words) });
    }
    let mut texts = vec![];
    let passages = (renew == Renew::All).then(|| {
        let embedded = embedded(content);
        (first..)
            .zip(passages(&content.text))
            .map(|(place, bytes)| {
                let passage = &content.text[bytes];
                texts.push(embedded(passage));
                let words = vec![WeightedText { text: indexed(content, passage), weight: 1.0 }];
                Passage { words, vector: Some(place) }
            })
            .collect()
    });
    let entry = Entry {
        key: record.id.text(),
        scope: content.scope.clone(),
        at: content.at.unwrap_or(record.created_at),
        actor: content.actor.clone(),
        attributes: facts,
        passages,
    };
    (entry, texts)
}

/// How many words a candidate asks with; none: its text ends in no question mark. The probe has to ask for [`ASKS`].
pub(crate) fn asks(candidate: &Candidate) -> Option<f32> {
    candidate.attributes.iter().find(|attribute| attribute.name == ASKS).and_then(|attribute| match attribute.value {
        #[expect(clippy::cast_possible_truncation, reason = "words are few")]
        Value::Number(words) => Some(words as f32),
        _ => None,
    })
}

/// Whether two versions have the same words, vectors and place in their run.
pub(crate) fn same_passages(before: &Record, after: &Record) -> bool {
    before.content.text == after.content.text
        && before.content.actor == after.content.actor
        && before.content.at == after.content.at
}

/// What a view shows, as conditions on entries. Deleted memories have none.
pub(crate) fn admission(eyes: &Eyes) -> Vec<Vec<Condition>> {
    let never = |field: &str, test: Test| vec![Condition { field: field.to_owned(), test, negated: true }];
    let mut out = vec![];
    if !eyes.including.contains(Including::EXPIRED) {
        out.push(never("expires_at", Test::AtMost(Value::Number(number(eyes.now)))));
    }
    if !eyes.including.contains(Including::OUTDATED) {
        let at = || Value::Number(number(eyes.valid_at));
        let outdated = [
            never("valid_from", Test::Above(at())),
            never("valid_to", Test::AtMost(at())),
            never(SUPERSEDED_FROM, Test::AtMost(at())),
        ];
        out.extend(outdated.map(|mut clause| {
            // What has expired is expired first, and shown as that.
            if eyes.including.contains(Including::EXPIRED) {
                let test = Test::AtMost(Value::Number(number(eyes.now)));
                clause.push(Condition { field: "expires_at".to_owned(), test, negated: false });
            }
            clause
        }));
    }
    out
}
