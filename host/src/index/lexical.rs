//! Terms to rows, and BM25 over them. Counts are as if dead rows had never been; rows only ascend. Knows no entries.
use std::cell::RefCell;
use std::collections::HashMap;

use super::entries::{NONE, Names, count};
use super::fuzzy::{self, Shelves};
use super::{analyzer, varint};
use crate::contract::index::{Commonness, Passage};

/// What the analyzer made of one passage. Everything is counted in halves, because terms may weigh half.
#[derive(Default)]
pub(super) struct Words {
    /// Each term once, with its count and the first word that became it.
    terms: HashMap<String, (u16, String)>,
    /// Sum over the terms.
    length: u32,
    /// Words as one would count them: with stop words, without pairs of characters.
    pub(super) n_spoken: u32,
}

impl Words {
    pub(super) fn new(passage: &Passage) -> Self {
        let mut words = Self::default();
        for text in &passage.words {
            let weight = halves(text.weight);
            for token in analyzer::analyze(&text.text) {
                if !analyzer::is_pair(&token.term) {
                    words.n_spoken += u32::from(weight);
                }
                if !token.stop_word {
                    let (times, _) = words.terms.entry(token.term).or_insert((0, token.word));
                    *times = times.saturating_add(weight);
                    words.length += u32::from(weight);
                }
            }
        }
        words
    }

    /// Each term with the first word that became it, without pairs of characters.
    pub(super) fn spoken(&self) -> impl Iterator<Item = (&str, &str)> {
        let words = self.terms.iter().filter(|(term, _)| !analyzer::is_pair(term));
        words.map(|(term, (_, word))| (term.as_str(), word.as_str()))
    }
}

/// 0.5 to 8 in steps of a half; what is no number counts least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to 16")]
fn halves(weight: f32) -> u16 {
    ((weight * 2.0).round().clamp(1.0, 16.0) as u16).max(1)
}

/// The rows with a term, ascending, dead ones among them until the next compaction: of each the distance to the one
/// before and the count.
#[derive(Default)]
struct Postings {
    bytes: Vec<u8>,
    last: u32,
    live: u32,
    /// The greatest count.
    most: u16,
}

impl Postings {
    fn push(&mut self, row: u32, halves: u16) {
        varint::put(&mut self.bytes, row - self.last);
        varint::put(&mut self.bytes, u32::from(halves));
        (self.last, self.live, self.most) = (row, self.live + 1, self.most.max(halves));
    }

    fn iter(&self) -> impl Iterator<Item = (u32, u16)> {
        let (mut at, mut row) = (0, 0);
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                row += varint::take(&self.bytes, &mut at);
                (row, narrow(varint::take(&self.bytes, &mut at)))
            })
        })
    }
}

/// What having a term is worth that so many of all have.
#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn rarity(all: u32, having: u32) -> f32 {
    // Texts of several passages are counted once in one place and passage by passage in another.
    let having = f64::from(having.min(all));
    (1.0 + (f64::from(all) - having + 0.5) / (having + 0.5)).ln() as f32
}

/// Counts are stored from 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "it was one of 16 bits")]
fn narrow(halves: u32) -> u16 {
    halves as u16
}

/// What the nearest word counts for one that no row has.
const MISSPELT: f32 = 0.5;
/// So many words of a query may be misspelt.
const GUESSES: usize = 16;

#[derive(Default)]
pub(super) struct Lexical {
    names: Names,
    shelves: Shelves,
    postings: Vec<Postings>,
    /// Of each row how many terms it has, and of each term the distance to the number of the one before and the count.
    forward: Vec<u8>,
    /// Where a row begins in there; none once dead.
    starts: Vec<usize>,
    /// Of each row the sum over its terms, in halves.
    lengths: Vec<u32>,
    /// Live rows with at least one term.
    documents: u32,
    /// Their lengths together, in halves.
    length: u64,
}

/// The words of a probe, ready to score rows.
pub(super) struct Query {
    /// Ascending by number.
    terms: Vec<QueryTerm>,
    k1: f32,
    b: f32,
    /// Mean length of a row, in halves.
    mean: f32,
}

struct QueryTerm {
    name: String,
    number: u32,
    /// Where it stands in the query.
    place: usize,
    /// What does not depend on the row.
    weight: f32,
    /// Live rows with it.
    live: u32,
    /// No row gets more for it.
    bound: f32,
}

impl Lexical {
    /// The next row.
    pub(super) fn push(&mut self, words: &Words) {
        let row = count(self.starts.len());
        let mut terms: Vec<(u32, u16)> =
            words.terms.iter().map(|(name, (halves, _))| (self.number(name), *halves)).collect();
        terms.sort_unstable();
        self.postings.resize_with(self.names.len(), Postings::default);
        for (term, halves) in &terms {
            self.postings[*term as usize].push(row, *halves);
        }
        if !terms.is_empty() {
            self.documents += 1;
            self.length += u64::from(words.length);
        }
        self.lengths.push(words.length);
        self.append(&terms);
    }

    fn number(&mut self, name: &str) -> u32 {
        let known = self.names.len();
        let number = self.names.number(name);
        if number as usize == known {
            self.shelves.insert(number, name);
        }
        number
    }

    fn append(&mut self, terms: &[(u32, u16)]) {
        self.starts.push(self.forward.len());
        varint::put(&mut self.forward, count(terms.len()));
        let mut before = 0;
        for (term, halves) in terms {
            varint::put(&mut self.forward, term - before);
            varint::put(&mut self.forward, u32::from(*halves));
            before = *term;
        }
    }

    /// The terms of a row with their counts, ascending; none once dead.
    fn terms(&self, row: u32) -> impl Iterator<Item = (u32, u16)> {
        let mut at = self.starts[row as usize];
        let mut left = if at == DEAD { 0 } else { varint::take(&self.forward, &mut at) };
        let mut term = 0;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            term += varint::take(&self.forward, &mut at);
            Some((term, narrow(varint::take(&self.forward, &mut at))))
        })
    }

    /// Takes a row out of all counts.
    pub(super) fn kill(&mut self, row: u32) {
        let terms: Vec<(u32, u16)> = self.terms(row).collect();
        for (term, _) in &terms {
            self.postings[*term as usize].live -= 1;
        }
        let length = std::mem::take(&mut self.lengths[row as usize]);
        if !terms.is_empty() {
            self.documents -= 1;
            self.length -= u64::from(length);
        }
        self.starts[row as usize] = DEAD;
    }

    /// Whether the row was made of just these words.
    pub(super) fn equals(&self, row: u32, words: &Words) -> bool {
        self.lengths[row as usize] == words.length
            && self.terms(row).count() == words.terms.len()
            && self
                .terms(row)
                .all(|(term, halves)| words.terms.get(self.names.name(term)).is_some_and(|(count, _)| *count == halves))
    }

    /// None where the words hold no term.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "scores are f32")]
    pub(super) fn query(&self, words: &str, common: Option<&Commonness>, k1: f32, b: f32) -> Option<Query> {
        let common: HashMap<&str, f32> = common
            .iter()
            .flat_map(|common| {
                common.terms.iter().map(|(term, having)| (term.as_str(), rarity(common.entries, *having)))
            })
            .collect();
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
        let mean = (self.length as f64 / f64::from(self.documents.max(1))) as f32;
        let mut query = Query { terms: vec![], k1, b, mean };
        let mut guesses = GUESSES;
        for (place, (name, times)) in names.into_iter().enumerate() {
            let written = self.names.find(&name).filter(|number| self.postings[*number as usize].live > 0);
            let near = || Some((self.near(&name, &mut guesses)?, times * MISSPELT));
            let Some((number, times)) = written.map(|number| (number, times)).or_else(near) else { continue };
            let Postings { live, most, .. } = self.postings[number as usize];
            let rarity = rarity(self.documents, live);
            let rarity = common.get(name.as_str()).map_or(rarity, |there| rarity.min(*there));
            let weight = times * rarity * (k1 + 1.0);
            let bound = query.summand(weight, most, 0);
            if let Some(same) = query.terms.iter_mut().find(|term| term.number == number) {
                (same.weight, same.bound) = (same.weight + weight, same.bound + bound);
            } else {
                let name = self.names.name(number).to_owned();
                query.terms.push(QueryTerm { name, number, place, weight, live, bound });
            }
        }
        query.terms.sort_unstable_by_key(|term| term.number);
        Some(query)
    }

    /// What having a term is worth.
    pub(super) fn rarity(&self, term: &str) -> f32 {
        rarity(self.documents, self.frequency(term))
    }

    /// The nearest term to one that no row has, as long as there are guesses left.
    fn near(&self, name: &str, guesses: &mut usize) -> Option<u32> {
        let shelves = self.shelves.around(name)?;
        *guesses = guesses.checked_sub(1)?;
        let told = |number: u32| (number, self.names.name(number), self.postings[number as usize].live);
        fuzzy::nearest(name, shelves.map(told))
    }

    /// BM25 of a row; 0 where no term is shared.
    pub(super) fn score(&self, query: &Query, row: u32) -> f32 {
        // Not `sum`, which of nothing is -0.
        self.shared(query, row).fold(0.0, |sum, (_, summand)| sum + summand)
    }

    /// The terms that the query and a row share, with their summands.
    fn shared<'a>(&'a self, query: &'a Query, row: u32) -> impl Iterator<Item = (&'a QueryTerm, f32)> {
        let length = self.lengths[row as usize];
        let mut asked = query.terms.iter().peekable();
        self.terms(row).filter_map(move |(number, halves)| {
            while asked.next_if(|term| term.number < number).is_some() {}
            let term = asked.next_if(|term| term.number == number)?;
            Some((term, query.summand(term.weight, halves, length)))
        })
    }

    /// The terms that the query and a row share, with their summands, in the order of the query.
    pub(super) fn summands(&self, query: &Query, row: u32) -> Vec<(String, f32)> {
        let mut shared: Vec<(&QueryTerm, f32)> = self.shared(query, row).collect();
        shared.sort_unstable_by_key(|(term, _)| term.place);
        shared.into_iter().map(|(term, summand)| (term.name.clone(), summand)).collect()
    }

    /// Finds rows of the `limit` best owners and of all that score as the last of them. `owner` tells whose a row is, none
    /// where that is not admitted or the row is dead; `shared` says whether an owner may have several.
    ///
    /// Terms are added up from the weightiest on. That ends as soon as those that are left cannot lift another row to the
    /// height of the last of the best: they are looked up for the rows that are close (Turtle and Flood 1995).
    pub(super) fn best(
        &self,
        query: &Query,
        limit: usize,
        shared: bool,
        owner: impl Fn(u32) -> Option<u32>,
    ) -> Vec<u32> {
        let nth = |rows: &mut dyn Iterator<Item = (u32, f32)>| {
            if !shared {
                return nth(rows.map(|(_, sum)| sum), limit);
            }
            let mut best: HashMap<u32, f32> = HashMap::new();
            for (row, sum) in rows {
                if let Some(owner) = owner(row) {
                    let best = best.entry(owner).or_insert(sum);
                    *best = best.max(sum);
                }
            }
            nth(best.into_values(), limit)
        };
        let mut terms: Vec<&QueryTerm> = query.terms.iter().collect();
        terms.sort_by(|left, right| right.bound.total_cmp(&left.bound));
        SUMS.with_borrow_mut(|sums| {
            sums.resize(sums.len().max(self.starts.len()), 0.0);
            let mut rows: Vec<u32> = Vec::new();
            let (mut reached, mut rest, mut pruned) = (0.0, 0.0, false);
            for (place, term) in terms.iter().enumerate() {
                let left = &terms[place..];
                if left.iter().map(|term| term.live as usize).sum::<usize>() > 2 * rows.len() {
                    rest = left.iter().map(|term| term.bound).sum::<f32>() * ROUNDING;
                    reached = nth(&mut rows.iter().map(|row| (*row, sums[*row as usize])));
                    if rest < reached {
                        pruned = true;
                        break;
                    }
                }
                let postings = self.postings[term.number as usize].iter();
                for (row, halves) in postings.filter(|(row, _)| owner(*row).is_some()) {
                    let sum = &mut sums[row as usize];
                    if *sum == 0.0 {
                        rows.push(row);
                    }
                    *sum += query.summand(term.weight, halves, self.lengths[row as usize]);
                }
            }
            let taken = |row: &u32| (*row, std::mem::take(&mut sums[*row as usize]));
            let mut close: Vec<(u32, f32)> = rows.iter().map(taken).collect();
            if pruned {
                close.retain(|(_, sum)| (sum + rest) * ROUNDING >= reached);
                for (row, sum) in &mut close {
                    *sum = self.score(query, *row);
                }
            }
            let reached = nth(&mut close.iter().copied());
            close.retain(|(_, sum)| sum * ROUNDING >= reached);
            close.into_iter().map(|(row, _)| row).collect()
        })
    }

    /// Live and dead rows with a term, ascending.
    pub(super) fn rows_with(&self, term: &str) -> impl Iterator<Item = u32> {
        let postings = self.names.find(term).map(|number| &self.postings[number as usize]);
        postings.into_iter().flat_map(Postings::iter).map(|(row, _)| row)
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
        let mut terms: Vec<_> = self.terms(row).map(|(term, halves)| (self.names.name(term), halves)).collect();
        terms.sort_unstable();
        (self.lengths[row as usize], terms)
    }

    /// Drops dead rows and what only they had. `renumbered` gives each row its number, which ascend, or none if dead.
    pub(super) fn compact(&mut self, renumbered: &[u32]) {
        let mut kept = Self { documents: self.documents, length: self.length, ..Self::default() };
        let mut numbers = vec![NONE; self.postings.len()];
        for (number, postings) in self.postings.iter().enumerate().filter(|(_, postings)| postings.live > 0) {
            numbers[number] = kept.number(self.names.name(count(number)));
            let mut compacted = Postings::default();
            for (row, halves) in postings.iter().filter(|(row, _)| renumbered[*row as usize] != NONE) {
                compacted.push(renumbered[row as usize], halves);
            }
            compacted.bytes.shrink_to_fit();
            kept.postings.push(compacted);
        }
        // Numbers keep their order, so the terms of a row still ascend.
        for row in (0..count(renumbered.len())).filter(|row| renumbered[*row as usize] != NONE) {
            let terms: Vec<(u32, u16)> =
                self.terms(row).map(|(term, halves)| (numbers[term as usize], halves)).collect();
            kept.lengths.push(self.lengths[row as usize]);
            kept.append(&terms);
        }
        *self = kept;
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        let postings = self.postings.iter().map(|postings| postings.bytes.capacity() + size_of::<Postings>());
        let rows = self.forward.capacity() + 8 * self.starts.capacity() + 4 * self.lengths.capacity();
        self.names.bytes() + self.shelves.bytes() + (postings.sum::<usize>() + rows) as u64
    }
}

/// What sums in another order may differ by.
const ROUNDING: f32 = 1.000_01;

const DEAD: usize = usize::MAX;

thread_local! {
    /// By row; all 0 between two queries.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The n-th greatest value, counted from 1; 0 where there are fewer.
fn nth(values: impl Iterator<Item = f32>, n: usize) -> f32 {
    let mut values: Vec<f32> = values.collect();
    if n == 0 || values.len() < n {
        return 0.0;
    }
    *values.select_nth_unstable_by(n - 1, |left, right| right.total_cmp(left)).1
}

impl Query {
    /// Live rows with its terms, those with several counted as often.
    pub(super) fn rows(&self) -> usize {
        self.terms.iter().map(|term| term.live as usize).sum()
    }

    fn summand(&self, weight: f32, halves: u16, length: u32) -> f32 {
        let times = f32::from(halves) / 2.0;
        #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2²⁴")]
        let relative = length as f32 / self.mean;
        weight * times / (times + self.k1 * (1.0 - self.b + self.b * relative))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::contract::index::WeightedText;

    fn words(text: &str) -> Words {
        let words = vec![WeightedText { text: text.to_owned(), weight: 1.0 }];
        Words::new(&Passage { words, vector: None })
    }

    /// Few terms are frequent and most are rare, as in any language.
    fn term(below: &mut impl FnMut(u64) -> u64) -> String {
        let most = 1 + below(300);
        format!("w{}", below(most))
    }

    #[test]
    fn pruning_finds_what_all_sums_find() {
        let mut state = 9u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut lexical = Lexical::default();
        let (mut pruned, mut dead) = (0, vec![]);
        for round in 0..400u32 {
            for _ in 0..10 {
                let text: Vec<String> = (0..=below(20)).map(|_| term(&mut below)).collect();
                lexical.push(&words(&text.join(" ")));
            }
            dead.resize(dead.len() + 10, false);
            if round % 3 == 0 {
                let row = usize::try_from(below(dead.len() as u64)).unwrap();
                if !std::mem::replace(&mut dead[row], true) {
                    lexical.kill(count(row));
                }
            }
            if round == 200 {
                let mut next = 0;
                let live = |dead: &bool| if *dead { NONE } else { (next, next += 1).0 };
                let renumbered: Vec<u32> = dead.iter().map(live).collect();
                lexical.compact(&renumbered);
                dead.retain(|dead| !dead);
            }
            let asked: Vec<String> = (0..=below(6)).map(|_| term(&mut below)).collect();
            let query = lexical.query(&asked.join(" "), None, 0.9, 0.4).unwrap();
            let limit = usize::try_from(1 + below(20)).unwrap();
            let admits = |row: u32| !dead[row as usize] && row % 5 != 1;
            let mut expected: Vec<(f32, u32)> = (0..count(dead.len()))
                .filter(|row| admits(*row))
                .map(|row| (lexical.score(&query, row), row))
                .filter(|(score, _)| *score > 0.0)
                .collect();
            expected.sort_by(|left, right| right.0.total_cmp(&left.0));
            let last = expected.get(limit - 1).map_or(0.0, |(score, _)| *score);
            for shared in [false, true] {
                let looked_at = std::cell::Cell::new(0);
                let owner = |row: u32| {
                    looked_at.set(looked_at.get() + 1);
                    admits(row).then_some(row)
                };
                let best = lexical.best(&query, limit, shared, owner);
                assert!(expected.iter().filter(|(score, _)| *score >= last).all(|(_, row)| best.contains(row)));
                assert!(best.iter().all(|row| lexical.score(&query, *row) >= last * 0.999), "{last}");
                pruned += usize::from(!shared && looked_at.get() < query.rows());
            }
            let owner = |row: u32| admits(row).then_some(row / 3);
            let best: BTreeSet<u32> = lexical.best(&query, limit, true, owner).into_iter().map(|row| row / 3).collect();
            let mut owners: BTreeMap<u32, f32> = BTreeMap::new();
            for (score, row) in &expected {
                owners.entry(row / 3).or_insert(*score);
            }
            let mut scores: Vec<f32> = owners.values().copied().collect();
            scores.sort_by(|left, right| right.total_cmp(left));
            let last = scores.get(limit - 1).copied().unwrap_or(0.0);
            assert!(owners.iter().filter(|(_, score)| **score >= last).all(|(owner, _)| best.contains(owner)));
        }
        assert!(pruned > 20, "{pruned}");
    }

    #[test]
    fn a_word_weighs_by_where_it_is_most_common() {
        let mut lexical = Lexical::default();
        for text in ["der cat", "der dog", "bird", "fish"] {
            lexical.push(&words(text));
        }
        let summands = |common: Option<Commonness>| {
            let query = lexical.query("der cat", common.as_ref(), 0.9, 0.0).unwrap();
            lexical.summands(&query, 0).into_iter().map(|(_, summand)| summand).collect::<Vec<f32>>()
        };
        let common = |der: u32, cat: u32| Commonness {
            entries: 2,
            terms: vec![("der".to_owned(), der), ("cat".to_owned(), cat)],
        };
        let [der, cat] = summands(None)[..] else { panic!() };
        // ln(1 + 2.5/2.5), ln(1 + 3.5/1.5); among the two: ln(1 + 0.5/2.5), ln(1 + 1.5/1.5).
        assert!((der - 2_f32.ln()).abs() < 1e-6 && (cat - (1.0 + 3.5 / 1.5_f32).ln()).abs() < 1e-6);
        let [der, cat] = summands(Some(common(2, 1)))[..] else { panic!() };
        assert!((der - 1.2_f32.ln()).abs() < 1e-6 && (cat - 2_f32.ln()).abs() < 1e-6);
        // Nobody there has it: it weighs what it weighs everywhere.
        let [der, _] = summands(Some(common(0, 0)))[..] else { panic!() };
        assert!((der - 6_f32.ln().min(2_f32.ln())).abs() < 1e-6);
    }

    #[test]
    fn no_row_gets_more_than_the_bound() {
        let mut lexical = Lexical::default();
        for text in ["cat", "cat cat cat dog", "dog bird bird"] {
            lexical.push(&words(text));
        }
        let query = lexical.query("cat dog bird", None, 0.9, 0.4).unwrap();
        for row in 0..3 {
            assert!(lexical.shared(&query, row).all(|(term, summand)| summand > 0.0 && summand <= term.bound));
        }
    }
}
