//! The vectors of a tenant, one after the other in the order of arrival, and the graph over the older ones. A vector's
//! *place* is never given again before a compaction. Knows rows, but no entries.
use std::sync::Arc;

use super::codes::{Coded, Codes};
use super::entries::{NONE, count};
use super::graph::{Graph, Snapshot};
use super::kernels::{Dot, dot};

/// Vectors in one allocation. While a graph is built over them they are shared, and only the last is copied for that.
const CHUNK: usize = 512;

pub(super) struct Dense {
    dimensions: usize,
    dot: Dot,
    chunks: Vec<Arc<Vec<f32>>>,
    /// The same vectors in a quarter of the space.
    codes: Codes,
    /// By place: the row, or none if dead.
    rows: Vec<u32>,
    live: usize,
    graph: Option<Covered>,
    /// Grows when places change their numbers.
    epoch: u64,
}

/// A graph and what it stands for.
struct Covered {
    graph: Graph,
    /// By point of the graph: the place, or none if dead.
    places: Vec<u32>,
    /// Places from here on are not in the graph.
    bound: u32,
    dead: usize,
}

impl Dense {
    pub(super) fn new(dimensions: usize) -> Self {
        let (chunks, rows, codes) = (Vec::new(), Vec::new(), Codes::new(dimensions));
        Self { dimensions, dot: dot(), chunks, codes, rows, live: 0, graph: None, epoch: 0 }
    }

    /// Whether a vector may be stored or asked for.
    pub(super) fn accepts(&self, vector: &[f32]) -> bool {
        vector.len() == self.dimensions && self.dimensions > 0 && vector.iter().all(|value| value.is_finite())
    }

    /// Stores an accepted vector and returns its place.
    pub(super) fn push(&mut self, row: u32, vector: &[f32]) -> u32 {
        let place = self.rows.len();
        if place.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK * self.dimensions)));
        }
        let chunk = self.chunks.last_mut().expect("pushed above at the latest");
        Arc::make_mut(chunk).extend_from_slice(vector);
        self.codes.push(vector);
        self.rows.push(row);
        self.live += 1;
        count(place)
    }

    pub(super) fn kill(&mut self, place: u32) {
        self.rows[place as usize] = NONE;
        self.live -= 1;
        if let Some(covered) = &mut self.graph {
            covered.dead += usize::from(place < covered.bound);
        }
    }

    pub(super) fn vector(&self, place: u32) -> &[f32] {
        let (chunk, start) = (place as usize / CHUNK, place as usize % CHUNK * self.dimensions);
        &self.chunks[chunk][start..start + self.dimensions]
    }

    /// Bounds of the cosine of a query and the vector at a place, from their codes.
    pub(super) fn between(&self, query: &Coded, place: u32) -> (f32, f32) {
        self.codes.between(query, place as usize)
    }

    pub(super) fn cosine(&self, left: &[f32], right: &[f32]) -> f32 {
        (self.dot)(left, right).clamp(-1.0, 1.0)
    }

    /// Live vectors in the graph.
    pub(super) fn graph_rows(&self) -> usize {
        self.graph.as_ref().map_or(0, |covered| covered.places.len() - covered.dead)
    }

    /// Rows near the query as the graph finds them, and all newer rows that are admitted. None without a graph.
    pub(super) fn near(&self, query: &[f32], effort: usize, admits: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
        let covered = self.graph.as_ref()?;
        let row = |point: usize| match covered.places[point] {
            NONE => NONE,
            place => self.rows[place as usize],
        };
        let admitted = |row: u32| row != NONE && admits(row);
        let points = covered.graph.search(query, effort, &|point| admitted(row(point)));
        let newer = self.rows[covered.bound as usize..].iter().copied().filter(|row| admitted(*row));
        Some(points.into_iter().map(row).chain(newer).collect())
    }

    /// What a new graph is to be built over, if one is due: when more than `threshold` vectors are in none, or when a
    /// third of those in one is dead.
    pub(super) fn due(&self, threshold: usize) -> Option<Snapshot> {
        let due = match &self.graph {
            None => self.live > threshold,
            Some(covered) => {
                self.live - self.graph_rows() > threshold
                    || covered.dead * 3 > covered.places.len() && self.live > threshold
            }
        };
        due.then(|| Snapshot {
            epoch: self.epoch,
            bound: count(self.rows.len()),
            places: (0..count(self.rows.len())).filter(|place| self.rows[*place as usize] != NONE).collect(),
            chunks: self.chunks.clone(),
            chunk: CHUNK,
            dimensions: self.dimensions,
        })
    }

    /// Takes a finished graph in and returns one that is of no more use: the one before, or the new one if places were
    /// renumbered meanwhile. Dropping it takes long.
    pub(super) fn install(&mut self, graph: Graph, snapshot: Snapshot) -> Option<Graph> {
        if snapshot.epoch != self.epoch {
            return Some(graph);
        }
        let Snapshot { places, bound, .. } = snapshot;
        let dead = places.iter().filter(|place| self.rows[**place as usize] == NONE).count();
        self.graph.replace(Covered { graph, places, bound, dead }).map(|covered| covered.graph)
    }

    /// Takes the graph out, for dropping it elsewhere.
    pub(super) fn take_graph(&mut self) -> Option<Graph> {
        self.graph.take().map(|covered| covered.graph)
    }

    pub(super) fn is_mostly_dead(&self) -> bool {
        let dead = self.rows.len() - self.live;
        dead > 1_024 && dead * 3 > self.rows.len()
    }

    /// Gives rows their new numbers.
    pub(super) fn renumber(&mut self, renumbered: &[u32]) {
        for row in self.rows.iter_mut().filter(|row| **row != NONE) {
            *row = renumbered[*row as usize];
        }
    }

    /// Drops dead vectors; `moved` is told the row and the new place of each that lives.
    pub(super) fn compact(&mut self, mut moved: impl FnMut(u32, u32)) {
        let mut compacted = Self::new(self.dimensions);
        let mut places = vec![NONE; self.rows.len()];
        for (place, row) in self.rows.iter().enumerate().filter(|(_, row)| **row != NONE) {
            places[place] = compacted.push(*row, self.vector(count(place)));
            moved(*row, places[place]);
        }
        compacted.epoch = self.epoch + 1;
        compacted.graph = self.graph.take().map(|mut covered| {
            covered.bound = count(places[..covered.bound as usize].iter().filter(|place| **place != NONE).count());
            for place in covered.places.iter_mut().filter(|place| **place != NONE) {
                *place = places[*place as usize];
            }
            covered
        });
        *self = compacted;
    }

    /// Estimate of the memory held. A graph keeps a copy of its vectors.
    pub(super) fn bytes(&self) -> u64 {
        let graph = self.graph.as_ref().map_or(0, |covered| covered.places.len() * (self.dimensions * 4 + 2_700));
        let chunks = self.chunks.len() * CHUNK * self.dimensions * 4;
        (graph + chunks + chunks / 4 + self.rows.len() * 12) as u64
    }
}
