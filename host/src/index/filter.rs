//! Decides which entries a probe admits: scope, keys, conditions on attributes. Scores nothing.
use std::borrow::Cow;
use std::cmp::Ordering;

use super::entries::{Entries, Fact, Names, Place};
use super::set::{Bits, Set};
use crate::contract::index::{Condition, Probe, Test, Value};

/// The entries under scope, conditions and `among` of a probe.
pub(super) struct Admitted {
    pub(super) slots: Set,
    /// The same, a bit a slot.
    bits: Bits,
    /// Vectors of these.
    pub(super) vectors: usize,
    /// Of these, the entries that a vector is owed to.
    pub(super) pending: u32,
}

impl Admitted {
    pub(super) fn new(entries: &Entries, probe: &Probe) -> Self {
        let slots = match (entries.place(&probe.scope), compile(&probe.conditions, entries)) {
            (Some(place), Some(clauses)) => admitted(entries, place, &clauses, probe.among.as_deref()),
            _ => Set::default(),
        };
        let (vectors, pending) = (entries.vectors(&slots), entries.n_owing(&slots));
        Self { bits: slots.clone().into_bits(), slots, vectors, pending }
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.bits.contains(slot)
    }
}

/// What is known to hold all that is wanted is intersected, the smallest first; what that leaves open is asked of each
/// entry by itself.
fn admitted(entries: &Entries, place: Place, clauses: &[Clause], among: Option<&[String]>) -> Set {
    let mut around: Vec<Cow<'_, Set>> = entries.groups(place).map(|group| Cow::Borrowed(&group.slots)).collect();
    around.extend(among.map(|keys| Cow::Owned(Set::of(keys.iter().filter_map(|key| entries.find(key)).collect()))));
    around.extend(clauses.iter().filter_map(|clause| clause.within(entries)));
    around.sort_by_key(|set| set.len());
    let mut around = around.into_iter();
    let mut slots = around.next().map_or_else(|| entries.all.slots.clone(), Cow::into_owned);
    around.for_each(|set| slots.intersect(&set));
    for clause in clauses {
        let kept = clause.numbers(entries);
        let holds = |slot: u32| {
            let told = kept.as_ref().and_then(|kept| kept(slot));
            told.unwrap_or_else(|| clause.holds(&entries.get(slot).facts.attributes, &entries.texts))
        };
        match clause.outside(entries) {
            Some(outside) if clause.is_exact() => slots.subtract(&outside),
            Some(outside) if outside.len() < slots.len() => {
                let asked = outside.iter().filter(|slot| slots.contains(*slot) && !holds(*slot));
                let fails = Set::of(asked.collect());
                slots.subtract(&fails);
            }
            None if clause.is_exact() => {}
            _ => slots.retain(holds),
        }
    }
    slots
}

/// One of these must hold.
struct Clause<'a>(Vec<Leaf<'a>>);

impl Clause<'_> {
    fn holds(&self, attributes: &[(u32, Fact)], texts: &Names) -> bool {
        self.0.iter().any(|leaf| {
            let passes = |(field, fact): &(u32, Fact)| *field == leaf.field && leaf.check.passes(*fact, texts);
            attributes.iter().any(passes) != leaf.negated
        })
    }

    /// The answers that can be read from numbers side by side, if there are such.
    fn numbers<'e>(&'e self, entries: &'e Entries) -> Option<impl Fn(u32) -> Option<bool> + 'e> {
        let [Leaf { field, check: Check::Compared { with: Value::Number(with), passes }, negated }] = &self.0[..]
        else {
            return None;
        };
        let numbers = entries.numbers(*field);
        Some(move |slot: u32| {
            let ordering = numbers.get(slot as usize)?.partial_cmp(with)?;
            Some(passes(ordering) != *negated)
        })
    }

    /// A set that holds every entry for which this holds; none if that would be too many.
    fn within<'e>(&self, entries: &'e Entries) -> Option<Cow<'e, Set>> {
        (!self.0.iter().any(|leaf| leaf.negated)).then(|| self.passing(entries))
    }

    /// A set that holds every entry for which this does not hold; none if that would be too many.
    fn outside<'e>(&self, entries: &'e Entries) -> Option<Cow<'e, Set>> {
        matches!(self.0.as_slice(), [Leaf { negated: true, .. }]).then(|| self.passing(entries))
    }

    /// Whether those sets hold nothing else.
    fn is_exact(&self) -> bool {
        let one = self.0.len() == 1 || !self.0.iter().any(|leaf| leaf.negated);
        one && self.0.iter().all(|leaf| leaf.check.is_exact())
    }

    /// All that may pass one of the tests.
    fn passing<'e>(&self, entries: &'e Entries) -> Cow<'e, Set> {
        let mut sets: Vec<&Set> = self.0.iter().flat_map(|leaf| leaf.check.sets(leaf.field, entries)).collect();
        match sets.len() {
            0 => Cow::Owned(Set::default()),
            1 => Cow::Borrowed(sets.remove(0)),
            _ => Cow::Owned(Set::of(sets.into_iter().flat_map(Set::iter).collect())),
        }
    }
}

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
        let clause = Clause(alternatives.iter().map(used).filter_map(leaf).collect());
        if clause.0.is_empty() {
            return None;
        }
        clauses.push(clause);
    }
    Some(clauses)
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

    /// Sets that together hold every entry of which a value of the field passes.
    fn sets<'e>(&self, field: u32, entries: &'e Entries) -> Vec<&'e Set> {
        match self {
            Self::AnyOf { texts, others } if self.is_exact() => {
                let booleans = others.iter().filter_map(|value| match value {
                    Value::Boolean(boolean) => Some(Fact::Boolean(*boolean)),
                    Value::Text(_) | Value::Number(_) => None,
                });
                let facts = texts.iter().map(|text| Fact::Text(*text)).chain(booleans);
                facts.filter_map(|fact| entries.valued(field, fact)).collect()
            }
            _ => vec![entries.holders(field)],
        }
    }

    /// Whether those sets hold nothing else.
    fn is_exact(&self) -> bool {
        match self {
            Self::AnyOf { others, .. } => !others.iter().any(|value| matches!(value, Value::Number(_))),
            Self::Present => true,
            Self::Compared { .. } | Self::Contains(_) | Self::Icontains(_) => false,
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
