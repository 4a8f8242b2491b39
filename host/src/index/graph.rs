//! The graph of large indexes, the only file that names `hnsw_rs`. It is built from a snapshot, without any lock, and
//! does not change afterwards.
use std::sync::Arc;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::kernels::{Dot, dot};

/// Links a point, and twice as many in the lowest layer.
const LINKS: usize = 16;
/// Points looked at to insert one.
const BUILDING_EFFORT: usize = 100;
const LAYERS: usize = 16;

/// The vectors that a graph is to hold, as they were at one moment.
pub(super) struct Snapshot {
    pub(super) epoch: u64,
    pub(super) bound: u32,
    /// Ascending; the point of the graph is the position in here.
    pub(super) places: Vec<u32>,
    pub(super) chunks: Vec<Arc<Vec<f32>>>,
    /// Vectors in a chunk.
    pub(super) chunk: usize,
    pub(super) dimensions: usize,
}

/// Dropping one takes up to seconds.
pub(super) struct Graph {
    points: Hnsw<'static, f32, OneMinusCosine>,
}

impl Graph {
    /// None as soon as `stop` says so.
    pub(super) fn build(snapshot: &Snapshot, stop: impl Fn() -> bool) -> Option<Self> {
        let distance = OneMinusCosine { dot: dot() };
        let mut points = Hnsw::new(LINKS, snapshot.places.len(), LAYERS, BUILDING_EFFORT, distance);
        for (point, place) in snapshot.places.iter().enumerate() {
            if stop() {
                return None;
            }
            let (chunk, start) = (*place as usize / snapshot.chunk, *place as usize % snapshot.chunk);
            let start = start * snapshot.dimensions;
            points.insert((&snapshot.chunks[chunk][start..start + snapshot.dimensions], point));
        }
        points.set_searching_mode(true);
        Some(Self { points })
    }

    /// The nearest points that are admitted, as many as the effort; a vector is as long as those in the graph, and
    /// finite.
    pub(super) fn search(&self, vector: &[f32], effort: usize, admits: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let filter = |point: &usize| admits(*point);
        let found = self.points.search_filter(vector, effort, effort, Some(&filter));
        found.into_iter().map(|neighbour| neighbour.d_id).collect()
    }
}

/// Never below 0, where rounding would put equal vectors and `hnsw_rs` panics.
struct OneMinusCosine {
    dot: Dot,
}

impl Distance<f32> for OneMinusCosine {
    fn eval(&self, left: &[f32], right: &[f32]) -> f32 {
        (1.0 - (self.dot)(left, right)).max(0.0)
    }
}
