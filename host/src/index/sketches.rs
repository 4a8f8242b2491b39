//! Vectors that stand in for those that are owed: sums over the words of a passage, each word by a table, in a space of
//! their own. Made when a passage comes, gone when its vector does; nothing of it is kept on disk.
use std::collections::HashMap;
use std::sync::Arc;

use half::f16;
use half::vec::HalfFloatVecExt;

use super::analyzer;
use super::entries::NONE;
use super::kernels::{Kernels, kernels};
use super::lexical::{Lexical, Words};

/// Makes a unit vector of words with their weights; none where it knows none of them.
pub type Sketching = Arc<dyn Fn(&[(&str, f32)]) -> Option<Vec<f32>> + Send + Sync>;

#[derive(Default)]
pub(super) struct Sketches {
    /// None: there are no sketches.
    make: Option<Sketching>,
    /// By row.
    vectors: HashMap<u32, Vec<f16>>,
}

impl Sketches {
    pub(super) fn make_with(&mut self, make: Sketching) {
        self.make = Some(make);
    }

    /// Makes the sketch of a row whose vector is owed. Words weigh as they do in BM25 at this moment.
    pub(super) fn put(&mut self, row: u32, words: &Words, lexical: &Lexical) {
        let Some(make) = &self.make else { return };
        let mut weighed: Vec<(&str, f32)> = words.spoken().map(|(term, word)| (word, lexical.rarity(term))).collect();
        // In one order, so that the same words give the same sketch to the last bit.
        weighed.sort_unstable_by_key(|(word, _)| *word);
        if let Some(vector) = make(&weighed) {
            self.vectors.insert(row, Vec::from_f32_slice(&vector));
        }
    }

    pub(super) fn remove(&mut self, row: u32) {
        self.vectors.remove(&row);
    }

    /// The sketch of a query; none where there is nothing to compare it with.
    pub(super) fn of(&self, query: &str, lexical: &Lexical) -> Option<Vec<f32>> {
        let make = self.make.as_ref().filter(|_| !self.vectors.is_empty())?;
        let tokens = analyzer::analyze(query);
        let tokens = tokens.iter().filter(|token| !token.stop_word && !analyzer::is_pair(&token.term));
        let weighed: Vec<(&str, f32)> =
            tokens.map(|token| (token.word.as_str(), lexical.rarity(&token.term))).collect();
        make(&weighed)
    }

    /// Cosine of a row's sketch with another; none for a row without.
    pub(super) fn cosine(&self, row: u32, with: &[f32]) -> Option<f32> {
        let Kernels { stored, .. } = kernels();
        let vector = self.vectors.get(&row).filter(|vector| vector.len() == with.len())?;
        Some(stored(vector, with).clamp(-1.0, 1.0))
    }

    /// Gives rows their new numbers.
    pub(super) fn renumber(&mut self, renumbered: &[u32]) {
        let vectors = std::mem::take(&mut self.vectors).into_iter();
        let vectors = vectors.map(|(row, vector)| (renumbered[row as usize], vector));
        self.vectors = vectors.filter(|(row, _)| *row != NONE).collect();
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        self.vectors.values().map(|vector| 2 * vector.len() as u64 + 48).sum()
    }
}
