//! Decides which entries a probe admits: scope, keys, conditions on attributes. Scores nothing.
use std::cmp::Ordering;

use super::entries::{Entries, Fact, Facts, NONE, Names, Place, Slot};
use crate::contract::index::{Condition, Probe, Test, Value};

/// The entries under scope, conditions and `among` of a probe.
pub(super) struct Admitted {
    /// Ascending.
    pub(super) slots: Vec<u32>,
    /// The same, a bit a slot.
    bits: Vec<u64>,
    /// Vectors of these.
    pub(super) vectors: usize,
    /// Of these, the entries that a vector is owed to.
    pub(super) pending: u32,
}

impl Admitted {
    pub(super) fn new(entries: &Entries, probe: &Probe) -> Self {
        let mut admitted =
            Self { slots: Vec::new(), bits: vec![0; entries.slots().div_ceil(64)], vectors: 0, pending: 0 };
        let (Some(place), Some(clauses)) = (entries.place(&probe.scope), compile(&probe.conditions, entries)) else {
            return admitted;
        };
        let mut consider = |slot: u32, entry: &Slot| {
            if lies_in(&entry.facts, place)
                && clauses.iter().all(|clause| holds(clause, &entry.facts.attributes, &entries.texts))
            {
                admitted.slots.push(slot);
                admitted.bits[slot as usize / 64] |= 1 << (slot % 64);
                admitted.vectors += entry.vectors as usize;
                admitted.pending += u32::from(entry.owed > 0);
            }
        };
        if let Some(keys) = &probe.among {
            let mut slots: Vec<u32> = keys.iter().filter_map(|key| entries.find(key)).collect();
            slots.sort_unstable();
            slots.dedup();
            for slot in slots {
                consider(slot, entries.get(slot));
            }
        } else if let Some(slots) = entries.shortest(&probe.scope) {
            for slot in slots {
                consider(*slot, entries.get(*slot));
            }
        } else {
            for (slot, entry) in entries.iter() {
                consider(slot, entry);
            }
        }
        admitted
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.bits[slot as usize / 64] >> (slot % 64) & 1 == 1
    }
}

/// Whether the fields that the scope sets are equal.
pub(super) fn lies_in(facts: &Facts, scope: Place) -> bool {
    facts.place.iter().zip(scope).all(|(own, asked)| asked == NONE || *own == asked)
}

/// One of these must hold.
type Clause<'a> = Vec<Leaf<'a>>;

struct Leaf<'a> {
    field: u32,
    check: Check<'a>,
    negated: bool,
}

/// A test, made ready for many values.
enum Check<'a> {
    /// The numbers of the texts ascend.
    AnyOf {
        texts: Vec<u32>,
        others: Vec<&'a Value>,
    },
    Compared {
        with: &'a Value,
        passes: fn(Ordering) -> bool,
    },
    Contains(&'a str),
    /// Folded.
    Icontains(String),
    Present,
}

/// Leaves out clauses that hold for every entry; none if one holds for no entry. A field that no live entry has decides
/// its condition at once.
fn compile<'a>(conditions: &'a [Vec<Condition>], entries: &Entries) -> Option<Vec<Clause<'a>>> {
    let mut clauses = Vec::new();
    for alternatives in conditions {
        let used = |condition: &'a Condition| (condition, entries.used_attribute(&condition.field));
        if alternatives.iter().map(used).any(|(condition, field)| field.is_none() && condition.negated) {
            continue;
        }
        let leaf = |(condition, field): (&'a Condition, Option<u32>)| {
            Some(Leaf { field: field?, check: Check::new(&condition.test, &entries.texts), negated: condition.negated })
        };
        let clause: Clause = alternatives.iter().map(used).filter_map(leaf).collect();
        if clause.is_empty() {
            return None;
        }
        clauses.push(clause);
    }
    Some(clauses)
}

fn holds(clause: &Clause, attributes: &[(u32, Fact)], texts: &Names) -> bool {
    clause.iter().any(|leaf| {
        let passes = |(field, fact): &(u32, Fact)| *field == leaf.field && leaf.check.passes(*fact, texts);
        attributes.iter().any(passes) != leaf.negated
    })
}

impl<'a> Check<'a> {
    fn new(test: &'a Test, known: &Names) -> Self {
        match test {
            Test::AnyOf(values) => {
                let (mut texts, mut others) = (Vec::new(), Vec::new());
                for value in values {
                    match value {
                        Value::Text(text) => texts.extend(known.find(text)),
                        Value::Number(_) | Value::Boolean(_) => others.push(value),
                    }
                }
                texts.sort_unstable();
                Self::AnyOf { texts, others }
            }
            Test::Above(with) => Self::Compared { with, passes: Ordering::is_gt },
            Test::AtLeast(with) => Self::Compared { with, passes: Ordering::is_ge },
            Test::Below(with) => Self::Compared { with, passes: Ordering::is_lt },
            Test::AtMost(with) => Self::Compared { with, passes: Ordering::is_le },
            Test::Contains(part) => Self::Contains(part),
            Test::Icontains(part) => Self::Icontains(folded(part)),
            Test::Present => Self::Present,
        }
    }

    fn passes(&self, fact: Fact, texts: &Names) -> bool {
        match (self, fact) {
            (Self::Present, _) => true,
            (Self::AnyOf { texts, .. }, Fact::Text(number)) => texts.binary_search(&number).is_ok(),
            (Self::AnyOf { others, .. }, fact) => {
                others.iter().any(|value| compared(fact, value, texts).is_some_and(Ordering::is_eq))
            }
            (Self::Compared { with, passes }, fact) => compared(fact, with, texts).is_some_and(passes),
            (Self::Contains(part), Fact::Text(number)) => texts.name(number).contains(part),
            (Self::Icontains(part), Fact::Text(number)) => folded(texts.name(number)).contains(part),
            (Self::Contains(_) | Self::Icontains(_), _) => false,
        }
    }
}

/// None for values of two types and for NaN. Texts compare by code point, as their bytes do.
fn compared(fact: Fact, with: &Value, texts: &Names) -> Option<Ordering> {
    match (fact, with) {
        (Fact::Text(number), Value::Text(text)) => Some(texts.name(number).cmp(text)),
        (Fact::Number(number), Value::Number(with)) => number.partial_cmp(with),
        (Fact::Boolean(boolean), Value::Boolean(with)) => Some(boolean.cmp(with)),
        _ => None,
    }
}

/// Upper case first, so that "ß" and "SS" become one.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(test: &Test, value: &str, expected: bool) {
        let mut texts = Names::default();
        let fact = Fact::Text(texts.number(value));
        assert_eq!(Check::new(test, &texts).passes(fact, &texts), expected, "{value}");
    }

    #[track_caller]
    fn check_number(test: &Test, number: f64, expected: bool) {
        let texts = Names::default();
        assert_eq!(Check::new(test, &texts).passes(Fact::Number(number), &texts), expected, "{number}");
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn texts_compare_by_code_point() {
        check(&Test::Above(text("Z")), "a", true);
        check(&Test::AtMost(text("ﬀ")), "😀", false);
        check(&Test::AtLeast(text("a")), "a", true);
        check(&Test::Below(text("a")), "a", false);
    }

    #[test]
    fn values_of_another_type_fail() {
        check(&Test::AnyOf(vec![Value::Number(1.0), Value::Boolean(true)]), "1", false);
        check(&Test::Above(Value::Number(0.0)), "1", false);
        check_number(&Test::Contains("1".into()), 1.0, false);
    }

    #[test]
    fn parts_are_found_in_any_case() {
        check(&Test::Contains("ell".into()), "Hello", true);
        check(&Test::Contains("hell".into()), "Hello", false);
        check(&Test::Icontains("HELL".into()), "Hello", true);
        check(&Test::Icontains("strasse".into()), "Hauptstraße", true);
        check(&Test::Icontains("ς".into()), "ΟΔΟΣ", true);
    }

    #[test]
    fn any_of_nothing_fails() {
        check(&Test::AnyOf(vec![]), "a", false);
        check(&Test::AnyOf(vec![text("b"), text("a")]), "a", true);
    }

    #[test]
    fn numbers_equal_by_value() {
        check_number(&Test::AnyOf(vec![Value::Number(0.0)]), -0.0, true);
        check_number(&Test::AtMost(Value::Number(f64::NAN)), 1.0, false);
    }
}
