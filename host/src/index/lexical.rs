//! Terms to rows, and BM25 over them. Counts are as if dead rows had never been; rows only ascend. Knows no entries.
use std::collections::HashMap;

use super::analyzer;
use super::entries::{NONE, Names, count};
use crate::contract::index::Passage;

/// What the analyzer made of one passage. Everything is counted in halves, because terms may weigh half.
#[derive(Default)]
pub(super) struct Words {
    /// Each term once.
    terms: HashMap<String, u16>,
    /// Sum over the terms.
    length: u32,
    /// Words as one would count them: with stop words, without pairs of characters.
    pub(super) spoken: u32,
}

impl Words {
    pub(super) fn new(passage: &Passage) -> Self {
        let mut words = Self::default();
        for text in &passage.words {
            let weight = halves(text.weight);
            for token in analyzer::analyze(&text.text) {
                if !analyzer::is_pair(&token.term) {
                    words.spoken += u32::from(weight);
                }
                if !token.stop_word {
                    let times = words.terms.entry(token.term).or_default();
                    *times = times.saturating_add(weight);
                    words.length += u32::from(weight);
                }
            }
        }
        words
    }
}

/// 0.5 to 8 in steps of a half; what is no number counts least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to 16")]
fn halves(weight: f32) -> u16 {
    ((weight * 2.0).round().clamp(1.0, 16.0) as u16).max(1)
}

/// The rows with a term, ascending, dead ones among them until the next compaction.
#[derive(Default)]
struct Postings {
    rows: Vec<u32>,
    halves: Vec<u16>,
    live: u32,
}

/// A row as its words see it; empty once dead.
#[derive(Default)]
struct Row {
    /// Terms with their counts, ascending.
    terms: Box<[(u32, u16)]>,
    length: u32,
}

#[derive(Default)]
pub(super) struct Lexical {
    names: Names,
    postings: Vec<Postings>,
    rows: Vec<Row>,
    /// Live rows with at least one term.
    documents: u32,
    /// Their lengths together, in halves.
    length: u64,
}

/// The words of a probe, ready to score rows.
pub(super) struct Query {
    terms: Vec<QueryTerm>,
    k1: f32,
    b: f32,
    /// Mean length of a row, in halves.
    mean: f32,
}

struct QueryTerm {
    name: String,
    number: u32,
    /// What does not depend on the row.
    weight: f32,
}

/// BM25 of rows.
pub(super) struct Scores {
    /// By row; 0 where no term is shared.
    sums: Vec<f32>,
    /// The rows above 0, in no order.
    pub(super) matched: Vec<u32>,
}

impl Scores {
    pub(super) fn of(&self, row: u32) -> f32 {
        self.sums[row as usize]
    }

    /// The row with the highest score, the first of equals.
    pub(super) fn best(&self, rows: std::ops::Range<u32>) -> Option<u32> {
        rows.reduce(|best, row| if self.of(row) > self.of(best) { row } else { best })
    }
}

impl Lexical {
    /// The next row.
    pub(super) fn push(&mut self, words: &Words) {
        let row = count(self.rows.len());
        let terms = self.numbered(words);
        for (term, halves) in &terms {
            let postings = &mut self.postings[*term as usize];
            postings.rows.push(row);
            postings.halves.push(*halves);
            postings.live += 1;
        }
        if !terms.is_empty() {
            self.documents += 1;
            self.length += u64::from(words.length);
        }
        self.rows.push(Row { terms, length: words.length });
    }

    /// Takes a row out of all counts.
    pub(super) fn kill(&mut self, row: u32) {
        let row = std::mem::take(&mut self.rows[row as usize]);
        for (term, _) in &row.terms {
            self.postings[*term as usize].live -= 1;
        }
        if !row.terms.is_empty() {
            self.documents -= 1;
            self.length -= u64::from(row.length);
        }
    }

    /// Whether the row was made of just these words.
    pub(super) fn equals(&self, row: u32, words: &Words) -> bool {
        let row = &self.rows[row as usize];
        row.length == words.length
            && row.terms.len() == words.terms.len()
            && row.terms.iter().all(|(term, halves)| words.terms.get(self.names.name(*term)) == Some(halves))
    }

    /// None where the words hold no term.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "scores are f32")]
    pub(super) fn query(&self, words: &str, k1: f32, b: f32) -> Option<Query> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut names: Vec<(String, f32)> = Vec::new();
        for token in analyzer::analyze(words).into_iter().filter(|token| !token.stop_word) {
            let place = *places.entry(token.term.clone()).or_insert_with(|| {
                names.push((token.term, 0.0));
                names.len() - 1
            });
            names[place].1 += 1.0;
        }
        if names.is_empty() {
            return None;
        }
        let terms = names.into_iter().filter_map(|(name, times)| {
            let number = self.names.find(&name)?;
            let live = f64::from(self.postings[number as usize].live);
            let rarity = (1.0 + (f64::from(self.documents) - live + 0.5) / (live + 0.5)).ln();
            (live > 0.0).then_some(QueryTerm { name, number, weight: times * rarity as f32 * (k1 + 1.0) })
        });
        let mean = self.length as f64 / f64::from(self.documents.max(1));
        Some(Query { terms: terms.collect(), k1, b, mean: mean as f32 })
    }

    /// Scores the rows that are admitted; dead rows must not be.
    pub(super) fn scores(&self, query: &Query, admits: impl Fn(u32) -> bool) -> Scores {
        let mut scores = Scores { sums: vec![0.0; self.rows.len()], matched: Vec::new() };
        for term in &query.terms {
            let postings = &self.postings[term.number as usize];
            for (row, halves) in postings.rows.iter().zip(&postings.halves) {
                if !admits(*row) {
                    continue;
                }
                let sum = &mut scores.sums[*row as usize];
                if *sum == 0.0 {
                    scores.matched.push(*row);
                }
                *sum += query.summand(term, *halves, self.rows[*row as usize].length);
            }
        }
        scores
    }

    /// The terms that the query and a row share, with their summands.
    pub(super) fn summands(&self, query: &Query, row: u32) -> Vec<(String, f32)> {
        let row = &self.rows[row as usize];
        let summand = |term: &QueryTerm| {
            let place = row.terms.binary_search_by_key(&term.number, |(number, _)| *number).ok()?;
            Some((term.name.clone(), query.summand(term, row.terms[place].1, row.length)))
        };
        query.terms.iter().filter_map(summand).collect()
    }

    /// Live and dead rows with a term, ascending.
    pub(super) fn rows_with(&self, term: &str) -> &[u32] {
        self.names.find(term).map_or(&[], |number| &self.postings[number as usize].rows)
    }

    /// Live rows with terms, and their lengths together in halves.
    pub(super) fn totals(&self) -> (u32, u64) {
        (self.documents, self.length)
    }

    /// Terms of live rows and how many rows have each.
    pub(super) fn frequencies(&self) -> impl Iterator<Item = (&str, u32)> {
        let live = |(number, postings): (usize, &Postings)| (self.names.name(count(number)), postings.live);
        self.postings.iter().enumerate().map(live).filter(|(_, live)| *live > 0)
    }

    /// How many live rows have the term.
    pub(super) fn frequency(&self, term: &str) -> u32 {
        self.names.find(term).map_or(0, |number| self.postings[number as usize].live)
    }

    /// Length of a row and its terms by name, both in halves.
    pub(super) fn row(&self, row: u32) -> (u32, Vec<(&str, u16)>) {
        let row = &self.rows[row as usize];
        let mut terms: Vec<_> = row.terms.iter().map(|(term, halves)| (self.names.name(*term), *halves)).collect();
        terms.sort_unstable();
        (row.length, terms)
    }

    /// Drops dead rows and what only they had. `renumbered` gives each row its number, which ascend, or none if dead.
    pub(super) fn compact(&mut self, renumbered: &[u32]) {
        let mut names = Names::default();
        let mut numbers = vec![NONE; self.postings.len()];
        let mut kept = Vec::new();
        for (number, mut postings) in std::mem::take(&mut self.postings).into_iter().enumerate() {
            if postings.live == 0 {
                continue;
            }
            let live = |row: &u32| renumbered[*row as usize] != NONE;
            let halves =
                postings.rows.iter().zip(&postings.halves).filter(|(row, _)| live(row)).map(|(_, halves)| *halves);
            postings.halves = halves.collect();
            postings.rows.retain(live);
            for row in &mut postings.rows {
                *row = renumbered[*row as usize];
            }
            postings.rows.shrink_to_fit();
            numbers[number] = names.number(self.names.name(count(number)));
            kept.push(postings);
        }
        let mut rows = std::mem::take(&mut self.rows);
        let mut numbered = renumbered.iter();
        rows.retain(|_| numbered.next().is_some_and(|number| *number != NONE));
        for (term, _) in rows.iter_mut().flat_map(|row| &mut row.terms) {
            *term = numbers[*term as usize];
        }
        (self.names, self.postings, self.rows) = (names, kept, rows);
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        let postings: usize = self.postings.iter().map(|postings| postings.rows.capacity() * 6 + 56).sum();
        let rows: usize = self.rows.iter().map(|row| row.terms.len() * 8 + 24).sum();
        self.names.bytes() + postings as u64 + rows as u64
    }

    fn numbered(&mut self, words: &Words) -> Box<[(u32, u16)]> {
        let number = |(name, halves): (&String, &u16)| (self.names.number(name), *halves);
        let mut terms: Box<[(u32, u16)]> = words.terms.iter().map(number).collect();
        terms.sort_unstable();
        self.postings.resize_with(self.names.len(), Postings::default);
        terms
    }
}

impl Query {
    fn summand(&self, term: &QueryTerm, halves: u16, length: u32) -> f32 {
        let times = f32::from(halves) / 2.0;
        #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2²⁴")]
        let relative = length as f32 / self.mean;
        term.weight * times / (times + self.k1 * (1.0 - self.b + self.b * relative))
    }
}
