//! The entries of a tenant and what a search may ask of them: keys, scopes, attributes, runs. Knows neither words nor
//! vectors, only which rows hold them.
use std::collections::HashMap;
use std::sync::Arc;

use super::runs::Runs;
use crate::contract::index::{Attribute, Value};
use crate::contract::types::{Scope, Timestamp};
use crate::entry::StoredEntry;

/// Stands where a number would: a field of a scope that is not set, a dead row, a row without a vector.
pub(super) const NONE: u32 = u32::MAX;

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
    /// A row for each passage, one after the other.
    pub(super) first_row: u32,
    pub(super) rows: u32,
    /// Of the rows, those that have a vector.
    pub(super) vectors: u32,
    /// Of the rows, those whose vector is owed.
    pub(super) owed: u32,
    /// Words of the passages with stop words, in halves.
    pub(super) words: u32,
}

impl Slot {
    pub(super) fn rows(&self) -> std::ops::Range<u32> {
        self.first_row..self.first_row + self.rows
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

/// An exact scope: for user, agent, app and run the number of the name, or none.
pub(super) type Place = [u32; 4];

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

#[derive(Default)]
pub(super) struct Entries {
    slots: Vec<Option<Slot>>,
    /// Places in `slots` that a deleted entry left.
    free: Vec<u32>,
    keys: HashMap<Arc<str>, u32>,
    scope_names: [Names; 4],
    /// For each field of a scope and each name in it the slots that have it, ascending.
    members: [Vec<Vec<u32>>; 4],
    pub(super) actors: Names,
    pub(super) attribute_names: Names,
    /// How many live attributes have the name.
    uses: Vec<u32>,
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

    /// One more than the highest slot ever used.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
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

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Slot {
        self.slots[slot as usize].as_mut().expect("only live slots are named")
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }

    /// Takes the facts of an entry in and returns its slot, which has no rows yet if the key is new.
    pub(super) fn put(&mut self, stored: &StoredEntry) -> u32 {
        let facts = self.facts(stored);
        for (name, _) in &facts.attributes {
            self.uses[*name as usize] += 1;
        }
        self.n_attributes += facts.attributes.len();
        let Some(slot) = self.find(&stored.entry.key) else {
            return self.insert(&stored.entry.key, facts);
        };
        let moved = {
            let before = &self.get(slot).facts;
            (before.place, before.at, before.order) != (facts.place, facts.at, facts.order)
        };
        if moved {
            self.leave(slot);
        }
        let before = std::mem::replace(&mut self.get_mut(slot).facts, facts);
        self.release(&before);
        if moved {
            self.join(slot);
        }
        if self.texts.len() > 4_096.max(2 * self.n_attributes) {
            self.compact_texts();
        }
        slot
    }

    /// Takes the entry of a key out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Slot> {
        let slot = self.keys.remove(key)?;
        self.leave(slot);
        self.free.push(slot);
        let entry = self.slots[slot as usize].take()?;
        self.release(&entry.facts);
        Some(entry)
    }

    /// The slots that the scope allows if one field of it were alone, ascending; the field with the fewest is taken.
    /// None: the scope restricts nothing.
    pub(super) fn shortest(&self, scope: &Scope) -> Option<&[u32]> {
        (0..4)
            .filter_map(|field| {
                let name = fields(scope)[field]?;
                let number = self.scope_names[field].find(name);
                Some(number.map_or(&[][..], |number| &self.members[field][number as usize]))
            })
            .min_by_key(|members| members.len())
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
        self.attribute_names.find(name).filter(|number| self.uses[*number as usize] > 0)
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        let attributes = self.n_attributes as u64 * 24;
        let names = [&self.actors, &self.attribute_names, &self.texts].into_iter().chain(&self.scope_names);
        self.slots.len() as u64 * 240 + attributes + names.map(Names::bytes).sum::<u64>()
    }

    fn facts(&mut self, stored: &StoredEntry) -> Facts {
        let entry = &stored.entry;
        let mut place = [NONE; 4];
        for (field, name) in fields(&entry.scope).into_iter().enumerate() {
            if let Some(name) = name {
                place[field] = self.scope_names[field].number(name);
                self.members[field].resize_with(self.scope_names[field].len(), Vec::new);
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
        self.uses.resize(self.attribute_names.len(), 0);
        let actor = entry.actor.as_ref().map_or(NONE, |actor| self.actors.number(actor));
        Facts { order: stored.order, at: entry.at, actor, place, attributes }
    }

    fn insert(&mut self, key: &str, facts: Facts) -> u32 {
        let key: Arc<str> = key.into();
        let entry =
            Slot { key: Arc::clone(&key), facts, run: NONE, first_row: 0, rows: 0, vectors: 0, owed: 0, words: 0 };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            count(self.slots.len() - 1)
        });
        self.slots[slot as usize] = Some(entry);
        self.keys.insert(key, slot);
        self.join(slot);
        slot
    }

    /// Enters a slot in the lists of its scope and in its run.
    fn join(&mut self, slot: u32) {
        let &Facts { place, at, order, .. } = &self.get(slot).facts;
        for (members, number) in self.members.iter_mut().zip(place) {
            if number != NONE {
                let members = &mut members[number as usize];
                if let Err(position) = members.binary_search(&slot) {
                    members.insert(position, slot);
                }
            }
        }
        self.get_mut(slot).run = self.runs.insert(place, at, order, slot);
    }

    fn leave(&mut self, slot: u32) {
        let &Facts { place, at, order, .. } = &self.get(slot).facts;
        for (members, number) in self.members.iter_mut().zip(place) {
            if number != NONE {
                let members = &mut members[number as usize];
                if let Ok(position) = members.binary_search(&slot) {
                    members.remove(position);
                }
            }
        }
        self.runs.remove(place, self.get(slot).run, at, order);
    }

    fn release(&mut self, facts: &Facts) {
        for (name, _) in &facts.attributes {
            self.uses[*name as usize] -= 1;
        }
        self.n_attributes -= facts.attributes.len();
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
    }
}
