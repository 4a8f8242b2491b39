//! One search: which entries are admitted, the best of them by meaning and by words, and what is told of each. Changes
//! nothing.
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::codes::Coded;
use super::entries::{Slot, count};
use super::filter::Admitted;
use super::lexical::{Query, Scores};
use super::view::View;
use crate::contract::index::{Candidate, Candidates, Extremes, Neighbour, Probe, Turn};

/// Points of the graph to look at, where the probe does not say.
const EFFORT: usize = 200;
/// Beyond so many admitted vectors their codes are looked at first, which are a quarter of the bytes.
const LOOKED_AT: usize = if cfg!(test) { 16 } else { 1_024 };

/// Answers one probe. A vector has the length of those in the index and is finite.
///
/// With more than `scanned` admitted vectors a graph is asked, if there is one; else every vector is compared.
pub(super) fn search(view: &View, scanned: usize, probe: &Probe, vector: Option<&[f32]>) -> Candidates {
    let admitted = Admitted::new(&view.entries, probe);
    let limit = probe.limit as usize;
    let meaning = vector.map(|vector| by_meaning(view, scanned, probe, &admitted, vector));
    let query = view.lexical.query(&probe.words, probe.k1, probe.b);
    let words = query.as_ref().map(|query| (query, by_words(view, limit, &admitted, query)));

    let mut slots: Vec<u32> = meaning.iter().flat_map(|branch| &branch.best).copied().collect();
    slots.extend(words.iter().flat_map(|(_, (branch, _))| &branch.best));
    if probe.neighbours {
        let positions = slots.iter().filter_map(|slot| view.entries.runs.position(view.entries.get(*slot)));
        let neighbours = positions.flat_map(|position| [position.previous, position.next]).flatten();
        let neighbours: Vec<u32> = neighbours.filter(|slot| admitted.contains(*slot)).collect();
        slots.extend(neighbours);
    }
    slots.sort_unstable();
    slots.dedup();

    let terms = probe.terms;
    let scores = words.as_ref().map(|(query, (_, scores))| (*query, scores));
    let neighbours = probe.neighbours;
    let mut telling =
        Telling { view, admitted: &admitted, vector, words: scores, terms, neighbours, runs: HashMap::new() };
    Candidates {
        entries: slots.into_iter().map(|slot| telling.candidate(view.entries.get(slot))).collect(),
        exact: meaning.as_ref().is_none_or(|branch| branch.exact),
        dense: meaning.and_then(|branch| branch.extremes),
        lexical: words.and_then(|(_, (branch, _))| branch.extremes),
        admitted: count(admitted.slots.len()),
        pending: admitted.pending,
    }
}

fn by_meaning(view: &View, scanned: usize, probe: &Probe, admitted: &Admitted, vector: &[f32]) -> Branch {
    let limit = probe.limit as usize;
    let score = |entry: &Slot| nearest(view, entry, vector);
    if admitted.vectors > scanned {
        let effort = probe.effort.map_or(EFFORT.max(2 * limit), |effort| effort as usize).max(limit).max(1);
        let admits = |row: u32| view.slot(row).is_some_and(|slot| admitted.contains(slot));
        let rows = view.dense.near(vector, effort, admits);
        let mut slots: Vec<u32> = rows.into_iter().flatten().filter_map(|row| view.slot(row)).collect();
        slots.sort_unstable();
        slots.dedup();
        // Fewer are found where many passages of one entry are near, or where admitted points lie apart.
        if slots.len() >= limit {
            let mut branch = Branch::new(view, limit, &slots, score);
            branch.exact = false;
            branch.extremes = branch.extremes.map(|extremes| Extremes { min: None, ..extremes });
            return branch;
        }
    }
    if admitted.vectors > LOOKED_AT {
        return Branch::new(view, limit, &promising(view, limit, &admitted.slots, vector), score);
    }
    Branch::new(view, limit, &admitted.slots, score)
}

/// The slots among which the best and the least near are for certain: all whose bounds do not rule them out.
fn promising(view: &View, limit: usize, slots: &[u32], vector: &[f32]) -> Vec<u32> {
    let query = Coded::new(vector);
    let mut bounds: Vec<(f32, f32, u32)> = Vec::with_capacity(slots.len());
    // The limit-th best of the lower bounds: what cannot reach it is not among the best.
    let mut best: BinaryHeap<Reverse<Score>> = BinaryHeap::with_capacity(limit + 1);
    let mut least = f32::INFINITY;
    for slot in slots {
        let rows = view.entries.get(*slot).rows().filter_map(|row| view.place(row));
        let wider = |(low, high): (f32, f32), next: (f32, f32)| (low.max(next.0), high.max(next.1));
        let Some((low, high)) = rows.map(|place| view.dense.between(&query, place)).reduce(wider) else { continue };
        bounds.push((low, high, *slot));
        least = least.min(high);
        if best.len() < limit {
            best.push(Reverse(Score(low)));
        } else if let Some(mut worst) = best.peek_mut()
            && worst.0.0 < low
        {
            worst.0 = Score(low);
        }
    }
    let reached = if best.len() < limit { f32::NEG_INFINITY } else { best.peek().map_or(f32::NEG_INFINITY, |b| b.0.0) };
    bounds.into_iter().filter(|(low, high, _)| *high >= reached || *low <= least).map(|(_, _, slot)| slot).collect()
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

fn by_words(view: &View, limit: usize, admitted: &Admitted, query: &Query) -> (Branch, Scores) {
    let scores = view.lexical.scores(query, |row| view.slot(row).is_some_and(|slot| admitted.contains(slot)));
    // An entry is found once, through its best row.
    let through = |row: &u32| {
        let slot = view.slot(*row)?;
        (scores.best(view.entries.get(slot).rows()) == Some(*row)).then_some(slot)
    };
    let slots: Vec<u32> = scores.matched.iter().filter_map(through).collect();
    let mut branch = Branch::new(view, limit, &slots, |entry| Some(scores.of(scores.best(entry.rows())?)));
    if slots.len() < admitted.slots.len() {
        let max = branch.extremes.map_or(0.0, |extremes| extremes.max);
        branch.extremes = Some(Extremes { min: Some(0.0), max });
    }
    (branch, scores)
}

/// The best cosine of an entry's passages.
fn nearest(view: &View, entry: &Slot, vector: &[f32]) -> Option<f32> {
    entry.rows().filter_map(|row| Some(view.dense.cosine(view.vector(row)?, vector))).reduce(f32::max)
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
    fn new(view: &View, limit: usize, slots: &[u32], score: impl Fn(&Slot) -> Option<f32>) -> Self {
        let mut best = BinaryHeap::with_capacity(limit.min(slots.len()) + 1);
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for slot in slots {
            let entry = view.entries.get(*slot);
            let Some(score) = score(entry) else { continue };
            (min, max) = (min.min(score), max.max(score));
            let ranked = Ranked { score, order: entry.facts.order, slot: *slot };
            if best.len() < limit {
                best.push(Reverse(ranked));
            } else if let Some(mut worst) = best.peek_mut()
                && worst.0 < ranked
            {
                worst.0 = ranked;
            }
        }
        let extremes = (min <= max).then_some(Extremes { min: Some(min), max });
        Self { best: best.into_iter().map(|Reverse(ranked)| ranked.slot).collect(), extremes, exact: true }
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
    vector: Option<&'a [f32]>,
    words: Option<(&'a Query, &'a Scores)>,
    terms: bool,
    neighbours: bool,
    /// For the number of a run in the index its number in this answer.
    runs: HashMap<u32, u32>,
}

impl Telling<'_> {
    fn candidate(&mut self, entry: &Slot) -> Candidate {
        let view = self.view;
        let cosine = |row: u32| Some((row, view.dense.cosine(view.vector(row)?, self.vector?)));
        let nearest = entry.rows().filter_map(cosine).reduce(|best, next| if next.1 > best.1 { next } else { best });
        let worded = self.words.and_then(|(query, scores)| Some((query, scores, scores.best(entry.rows())?)));
        let row = nearest.map(|(row, _)| row).or(worded.map(|(_, _, row)| row)).unwrap_or(entry.first_row);
        Candidate {
            key: entry.key.to_string(),
            dense: nearest.map(|(_, cosine)| cosine),
            lexical: worded.map_or(0.0, |(_, scores, row)| scores.of(row)),
            passage: row - entry.first_row,
            at: entry.facts.at,
            actor: view.entries.actor(entry).map(str::to_owned),
            turn: if self.neighbours { self.turn(entry, row) } else { None },
            terms: match worded {
                Some((query, _, row)) if self.terms => view.lexical.summands(query, row),
                _ => vec![],
            },
        }
    }

    /// The candidate's own vector is that of the row, or else its first one; a neighbour's is its first one.
    fn turn(&mut self, entry: &Slot, row: u32) -> Option<Turn> {
        let view = self.view;
        let position = view.entries.runs.position(entry)?;
        let run = count(self.runs.len());
        let run = *self.runs.entry(entry.run).or_insert(run);
        let own = (entry.rows > 0).then(|| view.vector(row)).flatten().or_else(|| view.first_vector(entry));
        let admitted = |slot: Option<u32>| Some(view.entries.get(slot.filter(|slot| self.admitted.contains(*slot))?));
        let cosine = |left: Option<&[f32]>, right: Option<&[f32]>| Some(view.dense.cosine(left?, right?));
        let [previous, next] = [admitted(position.previous), admitted(position.next)];
        let [before, after] = [previous, next].map(|neighbour| view.first_vector(neighbour?));
        let neighbour = |entry: &Slot, vector: Option<&[f32]>| Neighbour {
            key: entry.key.to_string(),
            dense: cosine(vector, self.vector),
            similarity: cosine(vector, own),
        };
        Some(Turn {
            run,
            position: position.number,
            across: cosine(before, after),
            previous: previous.map(|entry| neighbour(entry, before)),
            next: next.map(|entry| neighbour(entry, after)),
        })
    }
}
