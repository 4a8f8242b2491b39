//! The vectors of a tenant: segments with a graph each, and behind them the newest without. A vector's *place* is its
//! number among all; a merge may give it a smaller one. Knows rows, but no entries.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

use super::codes::Coded;
use super::entries::{NONE, count};
use super::kernels::{Kernels, kernels};
use super::parts::checksum;
use super::segment::{Block, Segment, Slices, Stopped};
use super::shelf::{self, Kept};

/// Vectors in a piece of the newest ones.
const PIECE: usize = if cfg!(test) { 16 } else { 512 };
/// So many segments of about one size become one.
const FANOUT: usize = 4;

pub(super) struct Dense {
    dimensions: usize,
    kernels: &'static Kernels,
    /// In the order of their places.
    segments: Vec<Placed>,
    /// The newest vectors, in full pieces but for the last.
    pieces: Vec<Arc<Block>>,
    /// Place of the first vector in `pieces`.
    newest: u32,
    /// Of the vectors in `pieces` the row, or none if dead.
    rows: Vec<u32>,
    live: usize,
    /// While an index is filled: of each vector in a segment of an earlier process the place, by checksum, until it is
    /// claimed.
    unclaimed: HashMap<u32, Vec<u32>>,
    /// While a merge is being computed no place may change its number.
    merging: bool,
}

/// A segment and what it stands for.
struct Placed {
    segment: Arc<Segment>,
    file: Option<PathBuf>,
    /// Place of its first vector.
    first: u32,
    /// Of each vector the row, or none if dead.
    rows: Vec<u32>,
    dead: usize,
    /// Of the dead, those of which nothing is left in the file.
    erased: usize,
}

/// A segment of which dead vectors are still in its file.
pub(super) struct Worn {
    at: usize,
    segment: Arc<Segment>,
    dead: Vec<bool>,
}

impl Worn {
    /// The same segment without them. Takes long.
    pub(super) fn erased(&self) -> Segment {
        self.segment.without(|node| self.dead[node as usize])
    }
}

impl Placed {
    fn places(&self) -> Range<u32> {
        self.first..self.first + count(self.rows.len())
    }

    fn live(&self) -> usize {
        self.rows.len() - self.dead
    }
}

/// Segments, and perhaps the newest vectors, that are to become one segment, as they were at one moment.
pub(super) struct Merge {
    segments: Range<usize>,
    /// Pieces that take part, from the first.
    pieces: usize,
    /// Of the live vectors, ascending.
    places: Vec<u32>,
    sources: Vec<(u32, Source)>,
}

enum Source {
    Segment(Arc<Segment>),
    Piece(Arc<Block>),
}

impl Merge {
    /// The new segment: none where nothing lives. Takes long.
    pub(super) fn build(&self, stop: impl Fn() -> bool) -> Result<Option<Segment>, Stopped> {
        let vector = |place: &u32| {
            let source = self.sources.partition_point(|(first, _)| first <= place) - 1;
            let (first, source) = &self.sources[source];
            match source {
                Source::Segment(segment) => segment.slices().vector((place - first) as usize),
                Source::Piece(block) => block.slices().vector((place - first) as usize),
            }
        };
        let vectors: Vec<&[f16]> = self.places.iter().map(vector).collect();
        if vectors.is_empty() { Ok(None) } else { Segment::build(&vectors, stop).map(Some) }
    }
}

/// What was replaced.
pub(super) struct Replaced(Vec<Placed>);

impl Replaced {
    /// Takes long, and may not be left out: files are removed.
    pub(super) fn discard(self) {
        for file in self.0.into_iter().filter_map(|placed| placed.file) {
            shelf::discard(&file);
        }
    }
}

impl Dense {
    pub(super) fn new(dimensions: usize) -> Self {
        let (segments, pieces, rows, unclaimed) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        Self { dimensions, kernels: kernels(), segments, pieces, newest: 0, rows, live: 0, unclaimed, merging: false }
    }

    /// Starts with segments of an earlier process, in which everything is dead until a vector that is stored claims its
    /// place. Nothing is stored yet.
    pub(super) fn adopt(&mut self, kept: Vec<Kept>) {
        for Kept { segment, file } in kept {
            let (first, len) = (self.newest, segment.slices().len());
            for (place, at) in (first..).zip(0..len) {
                self.unclaimed.entry(checksum(segment.slices().vector(at))).or_default().push(place);
            }
            self.newest += count(len);
            self.segments.push(Placed {
                segment: Arc::new(segment),
                file,
                first,
                rows: vec![NONE; len],
                dead: len,
                erased: 0,
            });
        }
        // Given back in the order of their places.
        self.unclaimed.values_mut().for_each(|places| places.reverse());
    }

    /// What was not claimed by now stays dead.
    pub(super) fn filled(&mut self) {
        self.unclaimed = HashMap::new();
    }

    /// The place of just this vector in a segment of an earlier process.
    fn claim(&mut self, row: u32, vector: &[f32]) -> Option<u32> {
        if self.unclaimed.is_empty() {
            return None;
        }
        let stored = Vec::<f16>::from_f32_slice(vector);
        let places = self.unclaimed.get(&checksum(&stored))?;
        let at = places.iter().rposition(|place| self.vector(*place) == stored)?;
        let place = self.unclaimed.get_mut(&checksum(&stored))?.remove(at);
        let segment = self.segment_of(place);
        let segment = &mut self.segments[segment];
        segment.rows[(place - segment.first) as usize] = row;
        segment.dead -= 1;
        Some(place)
    }

    /// Whether a vector may be stored or asked for.
    pub(super) fn accepts(&self, vector: &[f32]) -> bool {
        vector.len() == self.dimensions && self.dimensions > 0 && vector.iter().all(|value| value.is_finite())
    }

    /// Vectors that live.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Stores an accepted vector and returns its place.
    pub(super) fn push(&mut self, row: u32, vector: &[f32]) -> u32 {
        self.live += 1;
        if let Some(place) = self.claim(row, vector) {
            return place;
        }
        if self.rows.len().is_multiple_of(PIECE) {
            self.pieces.push(Arc::new(Block::like(vector, PIECE)));
        }
        let piece = self.pieces.last_mut().expect("pushed above at the latest");
        Arc::get_mut(piece).expect("only full pieces are shared").push(vector);
        self.rows.push(row);
        self.newest + count(self.rows.len() - 1)
    }

    pub(super) fn kill(&mut self, place: u32) {
        self.live -= 1;
        if let Some(at) = place.checked_sub(self.newest) {
            self.rows[at as usize] = NONE;
        } else {
            let segment = self.segment_of(place);
            let segment = &mut self.segments[segment];
            segment.rows[(place - segment.first) as usize] = NONE;
            segment.dead += 1;
        }
    }

    pub(super) fn vector(&self, place: u32) -> &[f16] {
        let Around { slices, first } = self.around(place);
        slices.vector((place - first) as usize)
    }

    /// Cosine of the vector at a place and another.
    pub(super) fn cosine(&self, place: u32, vector: &[f32]) -> f32 {
        (self.kernels.stored)(self.vector(place), vector).clamp(-1.0, 1.0)
    }

    /// Cosine of the vectors at two places.
    pub(super) fn similarity(&self, left: u32, right: u32) -> f32 {
        (self.kernels.both)(self.vector(left), self.vector(right)).clamp(-1.0, 1.0)
    }

    /// Tells bounds of the cosines of a query and the vectors at these places, in their order; quickest if they ascend.
    pub(super) fn bounds(&self, query: &Coded, places: &[u32], mut tell: impl FnMut((f32, f32))) {
        let (mut inside, mut sums) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
        let mut left = places;
        while let Some(place) = left.first() {
            let around = self.around(*place);
            let n = left.iter().take_while(|place| around.contains(**place)).count();
            inside.clear();
            inside.extend(left[..n].iter().map(|place| place - around.first));
            around.slices.bounds(self.kernels, query, &inside, &mut sums).for_each(&mut tell);
            left = &left[n..];
        }
    }

    /// How many segments there are.
    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Live vectors in segments.
    pub(super) fn graph_rows(&self) -> usize {
        self.segments.iter().map(Placed::live).sum()
    }

    /// Rows whose vectors seem nearest to the query, of those that are admitted: of each segment as many as the effort,
    /// and so many of the newest. None where all are among the newest.
    pub(super) fn near(&self, query: &Coded, effort: usize, admits: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
        if self.segments.is_empty() {
            return None;
        }
        let admitted = |row: u32| row != NONE && admits(row);
        let mut found = Vec::new();
        for Placed { segment, rows, .. } in &self.segments {
            let nodes = segment.walk(query, effort, |node| admitted(rows[node]));
            found.extend(nodes.into_iter().map(|node| rows[node as usize]));
        }
        found.extend(self.nearest_of_newest(query, effort, admitted));
        Some(found)
    }

    fn nearest_of_newest(&self, query: &Coded, effort: usize, admitted: impl Fn(u32) -> bool) -> Vec<u32> {
        // Estimates that are not negative ascend as their bits do.
        let mut best: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::with_capacity(effort.min(self.rows.len()) + 1);
        let (mut inside, mut sums) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
        for (piece, rows) in self.pieces.iter().zip(self.rows.chunks(PIECE)) {
            let places = (0..count(rows.len())).filter(|at| admitted(rows[*at as usize]));
            inside.clear();
            inside.extend(places);
            let slices = piece.slices();
            let estimates = slices.estimates(self.kernels, query, &inside, &mut sums);
            for (at, near) in inside.iter().zip(estimates) {
                let (near, row) = ((near + 2.0).max(0.0).to_bits(), rows[*at as usize]);
                if best.len() < effort {
                    best.push(Reverse((near, row)));
                } else if let Some(mut worst) = best.peek_mut()
                    && worst.0.0 < near
                {
                    worst.0 = (near, row);
                }
            }
        }
        best.into_iter().map(|Reverse((_, row))| row).collect()
    }

    /// Whether [`Dense::due`] might find something.
    pub(super) fn is_due(&self, threshold: usize) -> bool {
        !self.merging && (self.rows.len() / PIECE * PIECE > threshold || self.dying().is_some())
    }

    /// What is to become a segment, if that is due: the newest vectors when more than `threshold` are in full pieces,
    /// with the segments behind which four would be of one size; or a segment of which a third is dead. The caller
    /// must hand the outcome to [`Dense::install`] or to [`Dense::abandon`].
    pub(super) fn due(&mut self, threshold: usize) -> Option<Merge> {
        if self.merging {
            return None;
        }
        let full = self.rows.len() / PIECE * PIECE;
        let newest = if full > threshold { self.rows[..full].iter().filter(|row| **row != NONE).count() } else { 0 };
        let (segments, pieces) = match self.dying() {
            _ if newest > threshold => (self.mergeable(newest)..self.segments.len(), full / PIECE),
            Some(dying) => (dying..dying + 1, 0),
            None => return None,
        };
        let mut merge = Merge { segments: segments.clone(), pieces, places: Vec::new(), sources: Vec::new() };
        let live = |(place, row): (u32, &u32)| (*row != NONE).then_some(place);
        for placed in &self.segments[segments] {
            merge.places.extend(placed.places().zip(&placed.rows).filter_map(live));
            merge.sources.push((placed.first, Source::Segment(Arc::clone(&placed.segment))));
        }
        merge.places.extend((self.newest..).zip(&self.rows[..pieces * PIECE]).filter_map(live));
        let firsts = (self.newest..).step_by(PIECE);
        let shared = firsts.zip(&self.pieces[..pieces]).map(|(first, piece)| (first, Source::Piece(Arc::clone(piece))));
        merge.sources.extend(shared);
        self.merging = true;
        Some(merge)
    }

    /// A segment of which a third is dead.
    fn dying(&self) -> Option<usize> {
        self.segments.iter().position(|segment| segment.dead * 3 > segment.rows.len())
    }

    /// The first of the last segments that are merged with so many new vectors.
    fn mergeable(&self, newest: usize) -> usize {
        let (mut first, mut size) = (self.segments.len(), newest);
        loop {
            let alike = self.segments[..first].iter().rev().take_while(|segment| segment.live() < 2 * size).count();
            if alike < FANOUT - 1 {
                return first;
            }
            size += self.segments[first - alike..first].iter().map(Placed::live).sum::<usize>();
            first -= alike;
        }
    }

    /// Puts a new segment where the merged vectors were; `moved` is told the row and the new place of each.
    pub(super) fn install(&mut self, kept: Option<Kept>, merge: &Merge, mut moved: impl FnMut(u32, u32)) -> Replaced {
        let rows: Vec<u32> = merge.places.iter().map(|place| self.row(*place)).collect();
        let first = self.segments[merge.segments.clone()].first().map_or(self.newest, |segment| segment.first);
        for (place, row) in (first..).zip(&rows).filter(|(_, row)| **row != NONE) {
            moved(*row, place);
        }
        let dead = rows.iter().filter(|row| **row == NONE).count();
        let placed = kept.map(|Kept { segment, file }| Placed {
            segment: Arc::new(segment),
            file,
            first,
            rows,
            dead,
            erased: 0,
        });
        let replaced = self.segments.splice(merge.segments.clone(), placed).collect();
        self.pieces.drain(..merge.pieces);
        self.rows.drain(..merge.pieces * PIECE);
        self.newest += count(merge.pieces * PIECE);
        self.merging = false;
        Replaced(replaced)
    }

    /// A segment that has a file with dead vectors in it. No merge may be under way until it is renewed.
    pub(super) fn worn(&self) -> Option<Worn> {
        let is_worn = |placed: &Placed| placed.file.is_some() && placed.dead > placed.erased;
        let at = self.segments.iter().position(is_worn)?;
        let Placed { segment, rows, .. } = &self.segments[at];
        Some(Worn { at, segment: Arc::clone(segment), dead: rows.iter().map(|row| *row == NONE).collect() })
    }

    /// Puts the same segment without dead vectors in its place, and returns the file that is of no more use.
    pub(super) fn renew(&mut self, worn: &Worn, Kept { segment, file }: Kept) -> Option<PathBuf> {
        let placed = &mut self.segments[worn.at];
        placed.segment = Arc::new(segment);
        placed.erased = worn.dead.iter().filter(|dead| **dead).count();
        std::mem::replace(&mut placed.file, file)
    }

    /// A merge came to nothing.
    pub(super) fn abandon(&mut self) {
        self.merging = false;
    }

    /// Whether dead vectors outside of segments are worth a compaction.
    pub(super) fn is_mostly_dead(&self) -> bool {
        let dead = self.rows.len() - (self.live - self.graph_rows());
        !self.merging && dead > 1_024 && dead * 3 > self.rows.len()
    }

    /// Gives rows their new numbers.
    pub(super) fn renumber(&mut self, renumbered: &[u32]) {
        let segments = self.segments.iter_mut().flat_map(|segment| &mut segment.rows);
        for row in segments.chain(&mut self.rows).filter(|row| **row != NONE) {
            *row = renumbered[*row as usize];
        }
    }

    /// Drops dead vectors outside of segments; `moved` is told the row and the new place of each that lives.
    pub(super) fn compact(&mut self, mut moved: impl FnMut(u32, u32)) {
        let (pieces, rows) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.rows));
        for (piece, rows) in pieces.iter().zip(rows.chunks(PIECE)) {
            for (at, row) in rows.iter().enumerate().filter(|(_, row)| **row != NONE) {
                let vector = piece.slices().vector(at).to_f32_vec();
                self.live -= 1;
                moved(*row, self.push(*row, &vector));
            }
        }
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|placed| placed.segment.bytes() + 4 * placed.rows.capacity());
        let pieces = self.pieces.iter().map(|piece| piece.bytes());
        (segments.chain(pieces).sum::<usize>() + 4 * self.rows.capacity()) as u64
    }

    /// The segment of a place that is in one.
    fn segment_of(&self, place: u32) -> usize {
        self.segments.partition_point(|segment| segment.first <= place) - 1
    }

    /// The row of the vector at a place.
    fn row(&self, place: u32) -> u32 {
        if let Some(at) = place.checked_sub(self.newest) {
            self.rows[at as usize]
        } else {
            let segment = &self.segments[self.segment_of(place)];
            segment.rows[(place - segment.first) as usize]
        }
    }

    fn around(&self, place: u32) -> Around<'_> {
        if let Some(at) = place.checked_sub(self.newest) {
            let piece = &self.pieces[at as usize / PIECE];
            Around { slices: piece.slices(), first: place - at % count(PIECE) }
        } else {
            let segment = &self.segments[self.segment_of(place)];
            Around { slices: segment.segment.slices(), first: segment.first }
        }
    }
}

/// What lies around a place.
struct Around<'a> {
    slices: Slices<'a>,
    /// Place of the first vector in it.
    first: u32,
}

impl Around<'_> {
    fn contains(&self, place: u32) -> bool {
        place.checked_sub(self.first).is_some_and(|at| (at as usize) < self.slices.len())
    }
}
