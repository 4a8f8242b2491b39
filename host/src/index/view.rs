//! Entries, words and vectors of one tenant, bound together by rows: a passage is a row, numbered in the order of
//! absorption. Takes changes in and counts; searching is `search.rs`, locks are `mod.rs`.
use std::borrow::Cow;
use std::collections::HashMap;

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

use super::dense::{Dense, Merge, Replaced};
use super::entries::{Entries, Group, NONE, Place, Rows, Slot, count};
use super::lexical::{Lexical, Words};
use super::set::Set;
use super::shelf::Kept;
use super::sketches::Sketches;
use crate::contract::index::{Corpus, TermCount};
use crate::contract::types::Scope;
use crate::entry::{Change, Seq, StoredEntry};

/// At most so many actors are named.
const ACTORS: usize = 100;

/// A change with all that can be computed before anything is locked.
pub(super) enum Prepared {
    Put(Box<StoredEntry>, Vec<Words>),
    Delete(String),
}

impl Prepared {
    /// Only the last change of each key is kept.
    pub(super) fn all(changes: Vec<Change>) -> Vec<Self> {
        let key = |change: &Change| match change {
            Change::Put(stored) => stored.entry.key.clone(),
            Change::Delete(key) => key.clone(),
        };
        let last: HashMap<String, usize> = changes.iter().enumerate().map(|(at, change)| (key(change), at)).collect();
        let kept = changes.into_iter().enumerate().filter(|(at, change)| last[&key(change)] == *at);
        kept.map(|(_, change)| Self::new(change)).collect()
    }

    fn new(change: Change) -> Self {
        match change {
            Change::Delete(key) => Self::Delete(key),
            Change::Put(stored) => {
                let words = stored.entry.passages.iter().flatten().map(Words::new).collect();
                Self::Put(stored, words)
            }
        }
    }
}

pub(super) struct View {
    pub(super) absorbed: Seq,
    pub(super) entries: Entries,
    pub(super) lexical: Lexical,
    pub(super) dense: Dense,
    pub(super) sketches: Sketches,
    rows: Vec<Row>,
    dead: usize,
}

struct Row {
    /// None once dead.
    slot: u32,
    /// Of its vector, or none.
    place: u32,
}

impl View {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            absorbed: Seq(0),
            entries: Entries::default(),
            lexical: Lexical::default(),
            dense: Dense::new(dimensions),
            sketches: Sketches::default(),
            rows: Vec::new(),
            dead: 0,
        }
    }

    pub(super) fn absorb(&mut self, seq: Seq, changes: Vec<Prepared>) {
        for change in changes {
            match change {
                Prepared::Put(stored, passages) => self.put(&stored, &passages),
                Prepared::Delete(key) => self.delete(&key),
            }
        }
        if self.dead > 1_024 && self.dead * 3 > self.rows.len() {
            self.compact_rows();
        }
        if self.dense.is_mostly_dead() {
            let rows = &mut self.rows;
            self.dense.compact(|row, place| rows[row as usize].place = place);
        }
        self.absorbed = seq;
    }

    /// The slot that a row belongs to; none for a dead row.
    pub(super) fn slot(&self, row: u32) -> Option<u32> {
        Some(self.rows[row as usize].slot).filter(|slot| *slot != NONE)
    }

    /// Where the vector of a row is.
    pub(super) fn place(&self, row: u32) -> Option<u32> {
        Some(self.rows[row as usize].place).filter(|place| *place != NONE)
    }

    /// The vector of a row.
    pub(super) fn vector(&self, row: u32) -> Option<&[f16]> {
        Some(self.dense.vector(self.place(row)?))
    }

    /// Cosine of a row's vector and another.
    pub(super) fn cosine(&self, row: u32, vector: &[f32]) -> Option<f32> {
        Some(self.dense.cosine(self.place(row)?, vector))
    }

    /// Cosine of the vectors of two rows.
    pub(super) fn similarity(&self, left: u32, right: u32) -> Option<f32> {
        Some(self.dense.similarity(self.place(left)?, self.place(right)?))
    }

    /// The row whose vector stands for a whole entry: the first that has one.
    pub(super) fn first_row(&self, entry: &Slot) -> Option<u32> {
        entry.rows().find(|row| self.place(*row).is_some())
    }

    /// Puts a merged segment in its place.
    pub(super) fn install(&mut self, kept: Option<Kept>, merge: &Merge) -> Replaced {
        let rows = &mut self.rows;
        self.dense.install(kept, merge, |row, place| rows[row as usize].place = place)
    }

    pub(super) fn statistics(&self, scope: &Scope, terms: &[String]) -> Corpus {
        let nothing = TermCount { entries: 0, capitalised: None };
        let Some(place) = self.entries.place(scope) else {
            return Corpus { entries: 0, mean_words: 0.0, actors: vec![], terms: vec![nothing; terms.len()] };
        };
        let group = self.group(place);
        let entries = count(group.slots.len());
        let inside = (place != [NONE; 4]).then_some(&group.slots);
        let named = group.actors.iter().map(|(actor, times)| (*times, self.entries.actors.name(*actor)));
        let mut actors: Vec<(u32, &str)> = named.collect();
        actors.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(right.1)));
        actors.truncate(ACTORS);
        #[expect(clippy::cast_precision_loss, reason = "a mean of words needs no more digits")]
        let mean_words = group.words as f32 / 2.0 / entries.max(1) as f32;
        Corpus {
            entries,
            mean_words,
            actors: actors.into_iter().map(|(_, name)| name.to_owned()).collect(),
            terms: terms
                .iter()
                .map(|term| TermCount { entries: self.having(term, inside), capitalised: None })
                .collect(),
        }
    }

    /// What lies in a scope, counted.
    fn group(&self, place: Place) -> Cow<'_, Group> {
        let mut groups = self.entries.groups(place);
        match (groups.next(), groups.next()) {
            (None, _) => Cow::Borrowed(&self.entries.all),
            (Some(group), None) => Cow::Borrowed(group),
            (Some(first), Some(second)) => {
                let smallest = groups.chain([second]).fold(first, |smallest, next| {
                    if next.slots.len() < smallest.slots.len() { next } else { smallest }
                });
                Cow::Owned(self.entries.counted(smallest.slots.iter(), place))
            }
        }
    }

    /// The vectors of an entry, passage by passage; none if the key is unknown.
    pub(super) fn vectors(&self, key: &str) -> Vec<Vec<f32>> {
        let Some(slot) = self.entries.find(key) else { return vec![] };
        self.entries.get(slot).rows().filter_map(|row| Some(self.vector(row)?.to_f32_vec())).collect()
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.bytes()
            + self.lexical.bytes()
            + self.dense.bytes()
            + self.sketches.bytes()
            + self.rows.len() as u64 * 8
    }

    fn put(&mut self, stored: &StoredEntry, passages: &[Words]) {
        let slot = self.entries.put(stored);
        let entry = self.entries.get(slot);
        let before = entry.rows();
        let same_words = before.len() == passages.len()
            && before.clone().zip(passages).all(|(row, words)| self.lexical.equals(row, words));
        let rows = if same_words {
            before
        } else {
            before.for_each(|row| self.kill(row));
            let first = count(self.rows.len());
            for words in passages {
                self.lexical.push(words);
                self.rows.push(Row { slot, place: NONE });
            }
            first..count(self.rows.len())
        };
        for (passage, row) in rows.clone().enumerate() {
            self.set_vector(row, stored.vectors.get(passage).and_then(Option::as_deref));
            match (stored.owed.get(passage), passages.get(passage)) {
                (Some(true), Some(words)) => self.sketches.put(row, words, &self.lexical),
                _ => self.sketches.remove(row),
            }
        }
        let has_vector = |row: &u32| self.rows[*row as usize].place != NONE;
        let counted = Rows {
            first: rows.start,
            len: count(rows.len()),
            vectors: count(rows.filter(has_vector).count()),
            owed: count(stored.owed.iter().filter(|owed| **owed).count()),
            words: passages.iter().map(|words| words.n_spoken).sum(),
        };
        self.entries.set_rows(slot, counted);
    }

    fn delete(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            entry.rows().for_each(|row| self.kill(row));
        }
    }

    fn kill(&mut self, row: u32) {
        self.set_vector(row, None);
        self.sketches.remove(row);
        self.lexical.kill(row);
        self.rows[row as usize].slot = NONE;
        self.dead += 1;
    }

    /// A vector that cannot be compared with the others counts as none: it would be near to everything.
    fn set_vector(&mut self, row: u32, vector: Option<&[f32]>) {
        if let (Some(vector), Some(stored)) = (vector, self.vector(row))
            && stored == Vec::<f16>::from_f32_slice(vector)
        {
            return;
        }
        let place = self.rows[row as usize].place;
        if place != NONE {
            self.dense.kill(place);
        }
        let accepted = vector.filter(|vector| self.dense.accepts(vector));
        if vector.is_some() && accepted.is_none() {
            tracing::error!(dimensions = vector.map(<[f32]>::len), "a stored vector is not of this index");
        }
        self.rows[row as usize].place = accepted.map_or(NONE, |vector| self.dense.push(row, vector));
    }

    /// How many entries have the term, of these if some are given. Rows of one entry are neighbours.
    fn having(&self, term: &str, inside: Option<&Set>) -> u32 {
        if inside.is_none() && self.entries.widest() <= 1 {
            return self.lexical.frequency(term);
        }
        let (mut before, mut having) = (NONE, 0);
        for slot in self.lexical.rows_with(term).filter_map(|row| self.slot(row)) {
            having += u32::from(slot != before && inside.is_none_or(|inside| inside.contains(slot)));
            before = slot;
        }
        having
    }

    fn compact_rows(&mut self) {
        let mut next = 0;
        let number = |row: &Row| {
            if row.slot == NONE {
                return NONE;
            }
            next += 1;
            next - 1
        };
        let renumbered: Vec<u32> = self.rows.iter().map(number).collect();
        self.rows.retain(|row| row.slot != NONE);
        self.dead = 0;
        self.lexical.compact(&renumbered);
        self.dense.renumber(&renumbered);
        self.sketches.renumber(&renumbered);
        self.entries.renumber(&renumbered);
    }
}
