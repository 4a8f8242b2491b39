//! Tells two views of one tenant apart, for the check of an index against one rebuilt from the store. Changes neither.
use std::collections::{BTreeSet, HashMap};

use half::f16;

use super::entries::{Fact, Slot};
use super::view::View;
use crate::contract::index::Value;

/// Sentences about what differs, `own` named first. At most so many a kind of difference.
const SENTENCES: usize = 100;

pub(super) fn compare(own: &View, other: &View) -> Vec<String> {
    let mut entries = entries(own, other);
    entries.truncate(SENTENCES);
    let mut terms = terms(own, other);
    terms.truncate(SENTENCES);
    let mut runs = runs(own, other);
    runs.truncate(SENTENCES);
    let mut differences = entries;
    if own.absorbed != other.absorbed {
        differences.push(format!("position {} is absorbed instead of {}", own.absorbed.0, other.absorbed.0));
    }
    differences.extend(terms);
    differences.extend(runs);
    differences
}

fn entries(own: &View, other: &View) -> Vec<String> {
    let mut differences = Vec::new();
    for (_, entry) in own.entries.iter() {
        let Some(slot) = other.entries.find(&entry.key) else {
            differences.push(format!("entry {} should not be there", entry.key));
            continue;
        };
        let expected = other.entries.get(slot);
        for (what, differs) in [
            ("scope", own.entries.scope(entry.facts.place) != other.entries.scope(expected.facts.place)),
            ("time", entry.facts.at != expected.facts.at),
            ("place in the order of creation", entry.facts.order != expected.facts.order),
            ("actor", own.entries.actor(entry) != other.entries.actor(expected)),
            ("attributes", attributes(own, entry) != attributes(other, expected)),
            ("words", words(own, entry) != words(other, expected)),
            ("vectors", !vectors(own, entry).eq(vectors(other, expected))),
            ("owed vectors", entry.counted.owed != expected.counted.owed),
        ] {
            if differs {
                differences.push(format!("entry {} differs in its {what}", entry.key));
            }
        }
    }
    let missing = other.entries.iter().filter(|(_, entry)| own.entries.find(&entry.key).is_none());
    differences.extend(missing.map(|(_, entry)| format!("entry {} is missing", entry.key)));
    differences.sort_unstable();
    differences
}

/// By name; values of one name in the order given.
fn attributes<'a>(view: &'a View, entry: &Slot) -> Vec<(&'a str, Value)> {
    let named = |(name, fact): &(u32, Fact)| (view.entries.attribute_names.name(*name), view.entries.value(*fact));
    let mut attributes: Vec<_> = entry.facts.attributes.iter().map(named).collect();
    attributes.sort_by_key(|(name, _)| *name);
    attributes
}

fn words<'a>(view: &'a View, entry: &Slot) -> (u32, Vec<(u32, Vec<(&'a str, u16)>)>) {
    (entry.counted.words, entry.rows().map(|row| view.lexical.row(row)).collect())
}

fn vectors<'a>(view: &'a View, entry: &Slot) -> impl Iterator<Item = Option<&'a [f16]>> {
    entry.rows().map(|row| view.vector(row))
}

fn terms(own: &View, other: &View) -> Vec<String> {
    let mut differences = Vec::new();
    if own.lexical.totals() != other.lexical.totals() {
        let [own, other] = [own, other].map(|view| view.lexical.totals());
        differences.push(format!(
            "{} passages with {} half words are counted instead of {} with {}",
            own.0, own.1, other.0, other.1
        ));
    }
    let names: BTreeSet<&str> =
        own.lexical.frequencies().chain(other.lexical.frequencies()).map(|(name, _)| name).collect();
    for name in names {
        let [is, should] = [own, other].map(|view| view.lexical.frequency(name));
        if is != should {
            differences.push(format!("term {name} is counted in {is} passages instead of {should}"));
        }
    }
    differences
}

fn runs(own: &View, other: &View) -> Vec<String> {
    let sequences = |view: &View| -> HashMap<String, Vec<String>> {
        let named = |(place, slots): (_, Vec<u32>)| {
            let keys = slots.into_iter().map(|slot| view.entries.get(slot).key.to_string());
            (format!("{:?}", view.entries.scope(place)), keys.collect())
        };
        view.entries.runs.iter().map(named).collect()
    };
    let [is, should] = [own, other].map(sequences);
    let scopes: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
    let differs = scopes.into_iter().filter(|scope| is.get(*scope) != should.get(*scope));
    differs.map(|scope| format!("the run in {scope} has another sequence")).collect()
}
