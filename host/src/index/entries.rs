//! The entries of a tenant and what a search may ask of them: keys, scopes, attributes, runs. Knows neither words nor
//! vectors, only which rows hold them.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::runs::Runs;
use super::set::Set;
use crate::contract::index::{Attribute, Value};
use crate::contract::types::{Scope, Timestamp};
use crate::entry::StoredEntry;

/// Stands where a number would: a field of a scope that is not set, a dead row, a row without a vector.
pub(super) const NONE: u32 = u32::MAX;

/// Of an attribute that fewer than one in so many entries have, numbers are not kept side by side.
const RARE: usize = 8;

/// Counts what is numbered by u32: slots, rows, terms.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("an index of this size does not fit in memory")
}

/// One entry in memory.
pub(super) struct Slot {
    pub(super) key: Arc<str>,
    pub(super) facts: Facts,
    /// Number of its run, or none.
    pub(super) run: u32,
    pub(super) counted: Rows,
}

impl Slot {
    pub(super) fn rows(&self) -> Range<u32> {
        self.counted.first..self.counted.first + self.counted.len
    }
}

/// What can change while the rows stay.
#[derive(Clone, PartialEq)]
pub(super) struct Facts {
    pub(super) order: u64,
    pub(super) at: Timestamp,
    /// Number of the actor's name, or none.
    pub(super) actor: u32,
    pub(super) place: Place,
    /// Ascending by the number of the field's name.
    pub(super) attributes: Box<[(u32, Fact)]>,
}

/// A value of an attribute.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fact {
    /// Number of the text.
    Text(u32),
    Number(f64),
    Boolean(bool),
}

impl Fact {
    /// Values that are often asked for have a number; two values of one number are equal.
    fn number(self) -> Option<u32> {
        match self {
            Self::Text(number) => Some(number),
            Self::Boolean(boolean) => Some(NONE - u32::from(boolean)),
            Self::Number(_) => None,
        }
    }
}

/// An exact scope: for user, agent, app and run the number of the name, or none.
pub(super) type Place = [u32; 4];

/// Whether the fields that the scope sets are equal.
pub(super) fn lies_in(own: Place, scope: Place) -> bool {
    own.iter().zip(scope).all(|(own, asked)| asked == NONE || *own == asked)
}

/// The fields of a scope in the order of [`Place`].
pub(super) fn fields(scope: &Scope) -> [Option<&str>; 4] {
    [scope.user.as_deref(), scope.agent.as_deref(), scope.app.as_deref(), scope.run.as_deref()]
}

/// Numbers for names, from 0. A name keeps its number.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = count(self.names.len());
        let name: Arc<str> = name.into();
        self.numbers.insert(Arc::clone(&name), number);
        self.names.push(name);
        number
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.names.iter().map(|name| name.len() as u64 + 64).sum()
    }
}

/// The rows of an entry as they were counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Rows {
    pub(super) first: u32,
    /// A row for each passage, one after the other.
    pub(super) len: u32,
    /// Of the rows, those that have a vector.
    pub(super) vectors: u32,
    /// Of the rows, those whose vector is owed.
    pub(super) owed: u32,
    /// Words of the passages with stop words, in halves.
    pub(super) words: u32,
}

/// Entries that have something in common, counted.
#[derive(Clone, Default)]
pub(super) struct Group {
    pub(super) slots: Set,
    /// Of all, in halves.
    pub(super) words: u64,
    /// How many entries have the actor, by its number.
    pub(super) actors: HashMap<u32, u32>,
}

#[derive(Default)]
pub(super) struct Entries {
    slots: Vec<Option<Slot>>,
    /// For each slot its first row and how many follow, side by side for scans.
    spans: Vec<(u32, u32)>,
    /// Places in `slots` that a deleted entry left.
    free: Vec<u32>,
    keys: HashMap<Arc<str>, u32>,
    scope_names: [Names; 4],
    pub(super) all: Group,
    /// For each field of a scope and each name in it those that have it.
    members: [Vec<Group>; 4],
    pub(super) actors: Names,
    pub(super) attribute_names: Names,
    /// For each name of an attribute those that have it.
    holders: Vec<Set>,
    /// For each name of an attribute and each value that can be numbered those that have it.
    valued: HashMap<(u32, u32), Set>,
    /// For each name of an attribute that many have its only number by slot, for filters that ask everybody; NaN where the
    /// attributes themselves have to be asked.
    numbers: Vec<Vec<f64>>,
    /// Those with a vector, with more than one, and those that a vector is owed to.
    vectored: Set,
    several: Set,
    owing: Set,
    /// The most rows that an entry ever had.
    widest: u32,
    /// How many attributes are live.
    n_attributes: usize,
    /// Texts of attributes, also some that no live one has.
    pub(super) texts: Names,
    pub(super) runs: Runs,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All that live, ascending by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| Some((count(slot), entry.as_ref()?)))
    }

    pub(super) fn find(&self, key: &str) -> Option<u32> {
        self.keys.get(key).copied()
    }

    pub(super) fn get(&self, slot: u32) -> &Slot {
        self.slots[slot as usize].as_ref().expect("only live slots are named")
    }

    /// No entry has more rows.
    pub(super) fn widest(&self) -> usize {
        self.widest as usize
    }

    /// The rows of an entry.
    pub(super) fn rows(&self, slot: u32) -> Range<u32> {
        let (first, len) = self.spans[slot as usize];
        first..first + len
    }

    fn get_mut(&mut self, slot: u32) -> &mut Slot {
        self.slots[slot as usize].as_mut().expect("only live slots are named")
    }

    /// Gives rows their new numbers.
    pub(super) fn renumber(&mut self, renumbered: &[u32]) {
        for (entry, span) in self.slots.iter_mut().zip(&mut self.spans) {
            if let Some(Slot { counted, .. }) = entry
                && counted.len > 0
            {
                counted.first = renumbered[counted.first as usize];
                span.0 = counted.first;
            }
        }
    }

    /// Takes the facts of an entry in and returns its slot, which has no rows yet if the key is new.
    pub(super) fn put(&mut self, stored: &StoredEntry) -> u32 {
        let facts = self.facts(stored);
        let Some(slot) = self.find(&stored.entry.key) else {
            return self.insert(&stored.entry.key, facts);
        };
        if self.get(slot).facts != facts {
            self.leave(slot);
            self.get_mut(slot).facts = facts;
            self.join(slot);
        }
        if self.texts.len() > 4_096.max(2 * self.n_attributes) {
            self.compact_texts();
        }
        slot
    }

    /// Says which rows an entry has.
    pub(super) fn set_rows(&mut self, slot: u32, counted: Rows) {
        let before = std::mem::replace(&mut self.get_mut(slot).counted, counted);
        self.widest = self.widest.max(counted.len);
        self.spans.resize(self.slots.len(), (0, 0));
        self.spans[slot as usize] = (counted.first, counted.len);
        let place = self.get(slot).facts.place;
        for group in self.groups_mut(place) {
            group.words = group.words - u64::from(before.words) + u64::from(counted.words);
        }
        for (set, has) in [
            (&mut self.vectored, counted.vectors > 0),
            (&mut self.several, counted.vectors > 1),
            (&mut self.owing, counted.owed > 0),
        ] {
            if has { set.insert(slot) } else { set.remove(slot) }
        }
    }

    /// Takes the entry of a key out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Slot> {
        let slot = self.keys.remove(key)?;
        self.leave(slot);
        for set in [&mut self.vectored, &mut self.several, &mut self.owing] {
            set.remove(slot);
        }
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    /// The groups of the fields that a scope sets; each holds all that lies in the scope.
    pub(super) fn groups(&self, place: Place) -> impl Iterator<Item = &Group> {
        let named = self.members.iter().zip(place).filter(|(_, number)| *number != NONE);
        named.map(|(members, number)| &members[number as usize])
    }

    /// Those of the slots that lie in a scope, counted.
    pub(super) fn counted(&self, slots: impl Iterator<Item = u32>, scope: Place) -> Group {
        let mut group = Group::default();
        for slot in slots {
            let entry = self.get(slot);
            if lies_in(entry.facts.place, scope) {
                group.slots.insert(slot);
                group.words += u64::from(entry.counted.words);
                if entry.facts.actor != NONE {
                    *group.actors.entry(entry.facts.actor).or_default() += 1;
                }
            }
        }
        group
    }

    /// Those that have an attribute of this name.
    pub(super) fn holders(&self, name: u32) -> &Set {
        &self.holders[name as usize]
    }

    /// The numbers of an attribute by slot, as far as they are kept; see the field.
    pub(super) fn numbers(&self, name: u32) -> &[f64] {
        &self.numbers[name as usize]
    }

    /// Those that have an attribute of this name and value. None: there are none, or such values are not kept.
    pub(super) fn valued(&self, name: u32, fact: Fact) -> Option<&Set> {
        self.valued.get(&(name, fact.number()?))
    }

    /// Vectors of these entries.
    pub(super) fn vectors(&self, slots: &Set) -> usize {
        let further = |slot: u32| self.get(slot).counted.vectors as usize - 1;
        let several = self.several.iter().filter(|slot| slots.contains(*slot));
        slots.shared(&self.vectored) + several.map(further).sum::<usize>()
    }

    /// Of these entries, how many a vector is owed to.
    pub(super) fn n_owing(&self, slots: &Set) -> u32 {
        count(slots.shared(&self.owing))
    }

    /// Those that a vector is owed to.
    pub(super) fn owing(&self) -> impl Iterator<Item = u32> {
        self.owing.iter()
    }

    /// Entries that a vector is owed to.
    pub(super) fn pending(&self) -> u32 {
        count(self.owing.len())
    }

    /// The scope in numbers; none if a field has a name that no entry has.
    pub(super) fn place(&self, scope: &Scope) -> Option<Place> {
        let mut place = [NONE; 4];
        for (field, name) in fields(scope).into_iter().enumerate() {
            if let Some(name) = name {
                place[field] = self.scope_names[field].find(name)?;
            }
        }
        Some(place)
    }

    /// The scope that a place stands for.
    pub(super) fn scope(&self, place: Place) -> Scope {
        let name = |field: usize| (place[field] != NONE).then(|| self.scope_names[field].name(place[field]).to_owned());
        Scope { user: name(0), agent: name(1), app: name(2), run: name(3) }
    }

    /// The value of an attribute in words.
    pub(super) fn value(&self, fact: Fact) -> Value {
        match fact {
            Fact::Text(number) => Value::Text(self.texts.name(number).to_owned()),
            Fact::Number(number) => Value::Number(number),
            Fact::Boolean(boolean) => Value::Boolean(boolean),
        }
    }

    pub(super) fn actor(&self, slot: &Slot) -> Option<&str> {
        (slot.facts.actor != NONE).then(|| self.actors.name(slot.facts.actor))
    }

    /// The number of an attribute's name that a live entry has.
    pub(super) fn used_attribute(&self, name: &str) -> Option<u32> {
        self.attribute_names.find(name).filter(|number| self.holders[*number as usize].len() > 0)
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        let attributes = self.n_attributes as u64 * 24;
        let names = [&self.actors, &self.attribute_names, &self.texts].into_iter().chain(&self.scope_names);
        let groups = self.members.iter().flatten().chain([&self.all]);
        let groups = groups.map(|group| group.slots.bytes() + 24 * group.actors.capacity() + 88);
        let sets = self.holders.iter().chain(self.valued.values()).map(|set| set.bytes() + 48);
        let sets = groups.chain(sets).sum::<usize>() as u64;
        let numbers = 8 * self.numbers.iter().map(Vec::capacity).sum::<usize>() as u64;
        self.slots.len() as u64 * 200 + numbers + attributes + sets + names.map(Names::bytes).sum::<u64>()
    }

    fn facts(&mut self, stored: &StoredEntry) -> Facts {
        let entry = &stored.entry;
        let mut place = [NONE; 4];
        for (field, name) in fields(&entry.scope).into_iter().enumerate() {
            if let Some(name) = name {
                place[field] = self.scope_names[field].number(name);
                self.members[field].resize_with(self.scope_names[field].len(), Group::default);
            }
        }
        let numbered = |Attribute { name, value }: &Attribute| {
            let fact = match value {
                Value::Text(text) => Fact::Text(self.texts.number(text)),
                Value::Number(number) => Fact::Number(*number),
                Value::Boolean(boolean) => Fact::Boolean(*boolean),
            };
            (self.attribute_names.number(name), fact)
        };
        let mut attributes: Box<[(u32, Fact)]> = entry.attributes.iter().map(numbered).collect();
        attributes.sort_by_key(|(name, _)| *name);
        self.holders.resize_with(self.attribute_names.len(), Set::default);
        self.numbers.resize_with(self.attribute_names.len(), Vec::new);
        let actor = entry.actor.as_ref().map_or(NONE, |actor| self.actors.number(actor));
        Facts { order: stored.order, at: entry.at, actor, place, attributes }
    }

    fn insert(&mut self, key: &str, facts: Facts) -> u32 {
        let key: Arc<str> = key.into();
        let entry = Slot { key: Arc::clone(&key), facts, run: NONE, counted: Rows::default() };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            count(self.slots.len() - 1)
        });
        self.slots[slot as usize] = Some(entry);
        self.keys.insert(key, slot);
        self.join(slot);
        slot
    }

    /// Enters a slot wherever its facts say, also in its run.
    fn join(&mut self, slot: u32) {
        let entry = self.slots[slot as usize].as_mut().expect("only live slots are named");
        let Facts { place, at, order, actor, ref attributes } = entry.facts;
        entry.run = self.runs.insert(place, at, order, slot);
        let words = u64::from(entry.counted.words);
        self.n_attributes += attributes.len();
        for same in attributes.chunk_by(|left, right| left.0 == right.0) {
            let [(name, Fact::Number(number))] = same else { continue };
            let column = &mut self.numbers[*name as usize];
            if self.holders[*name as usize].len() * RARE >= slot as usize {
                column.resize(column.len().max(slot as usize + 1), f64::NAN);
                column[slot as usize] = *number;
            }
        }
        for (name, fact) in attributes {
            self.holders[*name as usize].insert(slot);
            if let Some(number) = fact.number() {
                self.valued.entry((*name, number)).or_default().insert(slot);
            }
        }
        for group in self.groups_mut(place) {
            group.slots.insert(slot);
            group.words += words;
            if actor != NONE {
                *group.actors.entry(actor).or_default() += 1;
            }
        }
    }

    fn leave(&mut self, slot: u32) {
        let entry = self.slots[slot as usize].as_ref().expect("only live slots are named");
        let Facts { place, at, order, actor, ref attributes } = entry.facts;
        self.runs.remove(place, entry.run, at, order);
        let words = u64::from(entry.counted.words);
        self.n_attributes -= attributes.len();
        for (name, fact) in attributes {
            self.holders[*name as usize].remove(slot);
            if let Some(number) = self.numbers[*name as usize].get_mut(slot as usize) {
                *number = f64::NAN;
            }
            if let Some(number) = fact.number()
                && let Some(set) = self.valued.get_mut(&(*name, number))
            {
                set.remove(slot);
                if set.len() == 0 {
                    self.valued.remove(&(*name, number));
                }
            }
        }
        for group in self.groups_mut(place) {
            group.slots.remove(slot);
            group.words -= words;
            if let Some(times) = group.actors.get_mut(&actor) {
                *times -= 1;
                if *times == 0 {
                    group.actors.remove(&actor);
                }
            }
        }
    }

    fn groups_mut(&mut self, place: Place) -> impl Iterator<Item = &mut Group> {
        let named = self.members.iter_mut().zip(place).filter(|(_, number)| *number != NONE);
        named.map(|(members, number)| &mut members[number as usize]).chain([&mut self.all])
    }

    /// Forgets the texts that only dead attributes had.
    fn compact_texts(&mut self) {
        let mut texts = Names::default();
        for (_, fact) in self.slots.iter_mut().flatten().flat_map(|entry| &mut entry.facts.attributes) {
            if let Fact::Text(number) = fact {
                *number = texts.number(self.texts.name(*number));
            }
        }
        self.texts = texts;
        self.valued.clear();
        for (slot, entry) in (0..).zip(&self.slots) {
            for (name, fact) in entry.iter().flat_map(|entry| &entry.facts.attributes) {
                if let Some(number) = fact.number() {
                    self.valued.entry((*name, number)).or_default().insert(slot);
                }
            }
        }
    }
}
