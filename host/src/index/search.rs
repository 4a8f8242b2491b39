//! One search: which entries are admitted, the best of them by meaning and by words, and what is told of each. Changes
//! nothing.
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::codes::Coded;
use super::entries::{NONE, Slot, count};
use super::filter::Admitted;
use super::lexical::Query;
use super::set::Set;
use super::view::View;
use crate::contract::index::{Attribute, Candidate, Candidates, Extremes, Neighbour, Probe, Turn};

/// Points of the graph to look at, where the probe does not say.
const EFFORT: usize = 200;
/// Beyond so many admitted vectors their codes are looked at first, which are a quarter of the bytes.
const LOOKED_AT: usize = if cfg!(test) { 16 } else { 1_024 };

/// So many vectors are compared at once.
const TOGETHER: usize = 256;

/// Answers one probe. A vector has the length of those in the index and is finite.
///
/// With more than `scanned` admitted vectors graphs may be asked, if there are any; else every vector is compared.
pub(super) fn search(view: &View, scanned: usize, probe: &Probe, vector: Option<&[f32]>) -> Candidates {
    let admitted = Admitted::new(&view.entries, probe);
    let limit = probe.limit as usize;
    let meaning = vector.map(|vector| by_meaning(view, scanned, probe, &admitted, vector));
    let query = view.lexical.query(&probe.words, probe.common.as_ref(), probe.k1, probe.b);
    let words = query.as_ref().map(|query| by_words(view, limit, &admitted, query));

    let sketch = vector.filter(|_| admitted.pending > 0).and_then(|_| view.sketches.of(&probe.words, &view.lexical));
    let sketched = sketch.as_deref().map(|sketch| by_sketch(view, limit, &admitted, sketch));

    let mut slots: Vec<u32> = meaning.iter().chain(&sketched).flat_map(|branch| &branch.best).copied().collect();
    slots.extend(words.iter().flat_map(|branch| &branch.best));
    if probe.neighbours {
        let positions = slots.iter().filter_map(|slot| view.entries.runs.position(view.entries.get(*slot)));
        let neighbours = positions.flat_map(|position| [position.previous, position.next]).flatten();
        let neighbours: Vec<u32> = neighbours.filter(|slot| admitted.contains(*slot)).collect();
        slots.extend(neighbours);
    }
    slots.sort_unstable();
    slots.dedup();

    let (words_asked, terms, neighbours) = (query.as_ref(), probe.terms, probe.neighbours);
    let attributes = probe.attributes.iter().filter_map(|name| view.entries.attribute_names.find(name)).collect();
    let mut telling = Telling {
        view,
        admitted: &admitted,
        slots: &slots,
        vector,
        sketch: sketch.as_deref(),
        words: words_asked,
        terms,
        attributes,
        neighbours,
        runs: Numbers::default(),
        actors: Numbers::default(),
    };
    let entries = slots.iter().map(|slot| telling.candidate(view.entries.get(*slot))).collect();
    let actors = telling.actors.all.iter().map(|actor| view.entries.actors.name(*actor).to_owned()).collect();
    Candidates {
        entries,
        actors,
        exact: meaning.as_ref().is_none_or(|branch| branch.exact),
        dense: meaning.and_then(|branch| branch.extremes),
        sketch: sketched.and_then(|branch| branch.extremes),
        lexical: words.and_then(|branch| branch.extremes),
        admitted: count(admitted.slots.len()),
        pending: admitted.pending,
    }
}

fn by_meaning(view: &View, scanned: usize, probe: &Probe, admitted: &Admitted, vector: &[f32]) -> Branch {
    let limit = probe.limit as usize;
    let score = |entry: &Slot| nearest(view, entry, vector);
    let effort = probe.effort.map_or(EFFORT.max(2 * limit), |effort| effort as usize).max(limit).max(1);
    if walks(admitted.vectors, view.dense.len(), scanned, effort) {
        let admits = |row: u32| view.slot(row).is_some_and(|slot| admitted.contains(slot));
        let rows = view.dense.near(&Coded::new(vector), effort, admits);
        let mut slots: Vec<u32> = rows.into_iter().flatten().filter_map(|row| view.slot(row)).collect();
        slots.sort_unstable();
        slots.dedup();
        // Fewer are found where many passages of one entry are near, or where admitted points lie apart.
        if slots.len() >= limit {
            let mut branch = Branch::new(view, limit, slots.into_iter(), score);
            branch.exact = false;
            branch.extremes = branch.extremes.map(|extremes| Extremes { min: None, ..extremes });
            return branch;
        }
    }
    if admitted.vectors > LOOKED_AT {
        return Branch::new(view, limit, promising(view, limit, &admitted.slots, vector), score);
    }
    Branch::new(view, limit, admitted.slots.iter(), score)
}

/// Whether walking graphs is quicker than comparing all that are admitted: never up to `scanned`; beyond, a walk is as
/// dear as comparing an eighth of those for each 64 of effort, and dearer the fewer of all are admitted.
fn walks(admitted: usize, all: usize, scanned: usize, effort: usize) -> bool {
    admitted > scanned && admitted * admitted > scanned / 8 * effort.div_ceil(64) * all
}

/// The slots among which the best and the least near are for certain: all whose bounds do not rule them out.
fn promising(view: &View, limit: usize, slots: &Set, vector: &[f32]) -> impl Iterator<Item = u32> {
    let query = Coded::new(vector);
    // Those that were not ruled out by what was known when they were looked at.
    let mut open: Vec<(f32, f32, u32)> = Vec::new();
    // The limit-th best of the lower bounds: what cannot reach it is not among the best.
    let mut best: BinaryHeap<Reverse<Score>> = BinaryHeap::with_capacity(limit.min(slots.len()) + 1);
    let (mut reached, mut least) = (f32::NEG_INFINITY, f32::INFINITY);
    let mut consider = |slot: u32, low: f32, high: f32| {
        if high < reached && low > least {
            return;
        }
        open.push((low, high, slot));
        least = least.min(high);
        if best.len() < limit {
            best.push(Reverse(Score(low)));
        } else if let Some(mut worst) = best.peek_mut()
            && worst.0.0 < low
        {
            worst.0 = Score(low);
        }
        if best.len() == limit {
            reached = best.peek().map_or(f32::INFINITY, |worst| worst.0.0);
        }
    };
    // Many at once, all rows of an entry together.
    let (mut owners, mut places) = (Vec::with_capacity(2 * TOGETHER), Vec::with_capacity(2 * TOGETHER));
    let mut compare = |owners: &mut Vec<u32>, places: &mut Vec<u32>| {
        let mut entry: Option<(u32, f32, f32)> = None;
        let mut next = owners.iter();
        view.dense.bounds(&query, places, |(low, high)| {
            let Some(slot) = next.next() else { return };
            entry = match entry {
                Some((before, least, most)) if before == *slot => Some((*slot, least.max(low), most.max(high))),
                Some((before, least, most)) => {
                    consider(before, least, most);
                    Some((*slot, low, high))
                }
                None => Some((*slot, low, high)),
            };
        });
        if let Some((slot, low, high)) = entry {
            consider(slot, low, high);
        }
        owners.clear();
        places.clear();
    };
    slots.iter().for_each(|slot| {
        for place in view.entries.rows(slot).filter_map(|row| view.place(row)) {
            owners.push(slot);
            places.push(place);
        }
        if places.len() >= TOGETHER {
            compare(&mut owners, &mut places);
        }
    });
    compare(&mut owners, &mut places);
    open.into_iter().filter(move |(low, high, _)| *high >= reached || *low <= least).map(|(_, _, slot)| slot)
}

/// A number in the order of [`f32::total_cmp`].
#[derive(PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Those that a vector is owed to, by what stands in for it.
fn by_sketch(view: &View, limit: usize, admitted: &Admitted, sketch: &[f32]) -> Branch {
    let slots = view.entries.owing().filter(|slot| admitted.contains(*slot));
    Branch::new(view, limit, slots, |entry| sketched(view, entry, sketch))
}

/// The best cosine with the sketches of an entry's passages.
fn sketched(view: &View, entry: &Slot, sketch: &[f32]) -> Option<f32> {
    entry.rows().filter_map(|row| view.sketches.cosine(row, sketch)).reduce(f32::max)
}

/// Of entries that share no term the score is 0; such are never among the best.
fn by_words(view: &View, limit: usize, admitted: &Admitted, query: &Query) -> Branch {
    let score = |entry: &Slot| worded(view, entry, query).map(|(_, score)| score).filter(|score| *score > 0.0);
    let (n_admitted, n_sharing) = (admitted.slots.len(), query.rows());
    // Passing over what is not admitted is some thirty times cheaper than reading the terms of a row.
    let branch = if n_sharing > 32 * n_admitted {
        Branch::new(view, limit, admitted.slots.iter(), score)
    } else {
        let owner = |row: u32| view.slot(row).filter(|slot| admitted.contains(*slot));
        let rows = view.lexical.best(query, limit, view.entries.widest() > 1, owner);
        let mut slots: Vec<u32> = rows.into_iter().filter_map(|row| view.slot(row)).collect();
        slots.sort_unstable();
        slots.dedup();
        Branch::new(view, limit, slots.into_iter(), score)
    };
    if n_admitted == 0 {
        return branch;
    }
    let max = branch.extremes.map_or(0.0, |extremes| extremes.max);
    let min = if n_sharing < n_admitted { Some(0.0) } else { least_worded(view, &admitted.slots, query) };
    Branch { extremes: Some(Extremes { min, max }), ..branch }
}

/// Entries to look at for one that shares no term with the query.
const LOOKED_FOR: usize = if cfg!(test) { 32 } else { 1_024 };

/// The least BM25 of all, if it can be told from a few: 0 because one of them shares nothing, or because they are all.
fn least_worded(view: &View, slots: &Set, query: &Query) -> Option<f32> {
    let scores = slots.iter().take(LOOKED_FOR).map(|slot| worded(view, view.entries.get(slot), query));
    let mut least = f32::INFINITY;
    for score in scores.map(|worded| worded.map_or(0.0, |(_, score)| score)) {
        least = least.min(score);
        if least <= 0.0 {
            return Some(0.0);
        }
    }
    (slots.len() <= LOOKED_FOR).then_some(least)
}

/// The row of an entry with the best BM25, the first of equals.
fn worded(view: &View, entry: &Slot, query: &Query) -> Option<(u32, f32)> {
    let scored = entry.rows().map(|row| (row, view.lexical.score(query, row)));
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// The best cosine of an entry's passages.
fn nearest(view: &View, entry: &Slot, vector: &[f32]) -> Option<f32> {
    entry.rows().filter_map(|row| view.cosine(row, vector)).reduce(f32::max)
}

/// What one way of scoring found.
struct Branch {
    /// Slots, in no order.
    best: Vec<u32>,
    /// None: no slot has a score.
    extremes: Option<Extremes>,
    exact: bool,
}

impl Branch {
    /// Keeps the best of the slots that have a score.
    fn new(view: &View, limit: usize, slots: impl Iterator<Item = u32>, score: impl Fn(&Slot) -> Option<f32>) -> Self {
        let mut best = BinaryHeap::with_capacity(limit.min(slots.size_hint().0) + 1);
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for slot in slots {
            let entry = view.entries.get(slot);
            let Some(score) = score(entry) else { continue };
            (min, max) = (min.min(score), max.max(score));
            let ranked = Ranked { score, order: entry.facts.order, slot };
            if best.len() < limit {
                best.push(Reverse(ranked));
            } else if let Some(mut worst) = best.peek_mut()
                && worst.0 < ranked
            {
                worst.0 = ranked;
            }
        }
        let extremes = (min <= max).then_some(Extremes { min: Some(min), max });
        let best = best.into_iter().map(|Reverse(ranked)| ranked.slot).collect();
        Self { best, extremes, exact: true }
    }
}

/// Greater is better: the higher score, and of equal scores the older entry.
#[derive(PartialEq)]
struct Ranked {
    score: f32,
    order: u64,
    slot: u32,
}

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Makes candidates of entries within one answer.
struct Telling<'a> {
    view: &'a View,
    admitted: &'a Admitted,
    /// Of the candidates, ascending.
    slots: &'a [u32],
    vector: Option<&'a [f32]>,
    sketch: Option<&'a [f32]>,
    words: Option<&'a Query>,
    terms: bool,
    /// Numbers of the names of attributes to tell.
    attributes: Vec<u32>,
    neighbours: bool,
    runs: Numbers,
    actors: Numbers,
}

/// Numbers within one answer for numbers in the index, in the order in which they were asked for.
#[derive(Default)]
struct Numbers {
    known: HashMap<u32, u32>,
    all: Vec<u32>,
}

impl Numbers {
    fn of(&mut self, number: u32) -> u32 {
        *self.known.entry(number).or_insert_with(|| {
            self.all.push(number);
            count(self.all.len() - 1)
        })
    }
}

impl Telling<'_> {
    fn candidate(&mut self, entry: &Slot) -> Candidate {
        let view = self.view;
        let cosine = |row: u32| Some((row, view.cosine(row, self.vector?)?));
        let nearest = entry.rows().filter_map(cosine).reduce(|best, next| if next.1 > best.1 { next } else { best });
        let worded = self.words.and_then(|query| worded(view, entry, query));
        let row = nearest.or(worded).map_or(entry.counted.first, |(row, _)| row);
        Candidate {
            key: (*entry.key).to_owned(),
            dense: nearest.map(|(_, cosine)| cosine),
            sketch: self.sketch.and_then(|sketch| sketched(view, entry, sketch)),
            lexical: worded.map_or(0.0, |(_, score)| score),
            passage: row - entry.counted.first,
            at: entry.facts.at,
            actor: (entry.facts.actor != NONE).then(|| self.actors.of(entry.facts.actor)),
            turn: if self.neighbours { self.turn(entry, row) } else { None },
            terms: match (self.words, worded) {
                (Some(query), Some((row, _))) if self.terms => view.lexical.summands(query, row),
                _ => vec![],
            },
            attributes: self.attributes(entry),
        }
    }

    fn attributes(&self, entry: &Slot) -> Vec<Attribute> {
        let entries = &self.view.entries;
        let asked = entry.facts.attributes.iter().filter(|(name, _)| self.attributes.contains(name));
        asked
            .map(|(name, fact)| Attribute {
                name: entries.attribute_names.name(*name).to_owned(),
                value: entries.value(*fact),
            })
            .collect()
    }

    /// The candidate's own vector is that of the row, or else its first one; a neighbour's is its first one.
    fn turn(&mut self, entry: &Slot, row: u32) -> Option<Turn> {
        let view = self.view;
        let position = view.entries.runs.position(entry)?;
        let run = self.runs.of(entry.run);
        let own = (entry.counted.len > 0 && view.place(row).is_some()).then_some(row).or_else(|| view.first_row(entry));
        let [previous, next] =
            [position.previous, position.next].map(|slot| slot.filter(|slot| self.admitted.contains(*slot)));
        let [before, after] = [previous, next].map(|slot| view.first_row(view.entries.get(slot?)));
        let similarity = |row: Option<u32>, with: Option<u32>| view.similarity(row?, with?);
        let neighbour = |slot: u32, row: Option<u32>| Neighbour {
            entry: self.slots.binary_search(&slot).ok().map(count),
            dense: row.and_then(|row| view.cosine(row, self.vector?)),
            similarity: similarity(row, own),
        };
        Some(Turn {
            run,
            position: position.number,
            across: similarity(before, after),
            previous: previous.map(|slot| neighbour(slot, before)),
            next: next.map(|slot| neighbour(slot, after)),
        })
    }
}
