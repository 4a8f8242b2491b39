//! Vectors that no longer grow: a segment with its graph, or a piece of the newest ones without. Knows no rows; nothing
//! in it changes, so threads share it.
use std::io;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

use super::codes::{Coded, encode, step_for, step_like};
use super::entries::{NONE, count};
use super::graph::link;
use super::kernels::Kernels;
use super::links::{Layer, Links, WIDTH};
use super::parts::{self, Array, Unusable, bytes};

/// Vectors that lie side by side, with their codes.
pub(super) struct Block {
    width: usize,
    /// Of the codes.
    step: f32,
    codes: Array<u8>,
    /// Length of what the codes leave of each vector.
    rests: Array<f32>,
    vectors: Array<f16>,
}

/// A block as it is read.
#[derive(Clone, Copy)]
pub(super) struct Slices<'a> {
    width: usize,
    step: f32,
    codes: &'a [u8],
    rests: &'a [f32],
    vectors: &'a [f16],
}

impl Block {
    /// An empty block that will hold `capacity` vectors of this width, the first of them like this one.
    pub(super) fn like(vector: &[f32], capacity: usize) -> Self {
        Self::new(vector.len(), step_like(vector), capacity)
    }

    fn new(width: usize, step: f32, capacity: usize) -> Self {
        let codes = Array::Owned(Vec::with_capacity(capacity * width));
        let vectors = Array::Owned(Vec::with_capacity(capacity * width));
        Self { width, step, codes, rests: Array::Owned(Vec::with_capacity(capacity)), vectors }
    }

    /// Appends a vector, which loses what does not fit into 16-bit floats.
    pub(super) fn push(&mut self, vector: &[f32]) {
        let rest = encode(vector, self.step, self.codes.owned());
        self.rests.owned().push(rest);
        self.vectors.owned().extend(Vec::<f16>::from_f32_slice(vector));
    }

    pub(super) fn slices(&self) -> Slices<'_> {
        let Self { width, step, codes, rests, vectors } = self;
        Slices { width: *width, step: *step, codes, rests, vectors }
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        self.codes.bytes() + self.rests.bytes() + self.vectors.bytes()
    }
}

impl<'a> Slices<'a> {
    pub(super) fn len(&self) -> usize {
        self.rests.len()
    }

    pub(super) fn vector(&self, at: usize) -> &'a [f16] {
        &self.vectors[at * self.width..(at + 1) * self.width]
    }

    /// Bounds of the cosines of a query and the vectors at some places, in their order.
    pub(super) fn bounds(
        &self,
        kernels: &Kernels,
        query: &Coded,
        places: &[u32],
        sums: &mut Vec<i32>,
    ) -> impl Iterator<Item = (f32, f32)> {
        (kernels.listed)(self.codes, &query.values, places, sums);
        let Self { step, rests, .. } = *self;
        sums.iter().zip(places).map(move |(product, at)| query.bounds(*product, step, rests[*at as usize]))
    }

    /// About the cosines of a query and the vectors at some places, in their order.
    pub(super) fn estimates(
        &self,
        kernels: &Kernels,
        query: &Coded,
        places: &[u32],
        sums: &mut Vec<i32>,
    ) -> impl Iterator<Item = f32> {
        (kernels.listed)(self.codes, &query.values, places, sums);
        let step = self.step;
        sums.iter().map(move |product| query.estimate(*product, step))
    }
}

/// Nobody wants the segment any more.
#[derive(Debug)]
pub(super) struct Stopped;

/// A block and the graph over it.
pub(super) struct Segment {
    block: Block,
    links: Links,
}

impl Segment {
    /// Of these vectors, in this order; there is at least one.
    pub(super) fn build(vectors: &[&[f16]], stop: impl Fn() -> bool) -> Result<Self, Stopped> {
        let width = vectors[0].len();
        let step = step_for(vectors.iter().copied());
        let mut block = Block::new(width, step, vectors.len());
        let mut wide = vec![0.0; width];
        for vector in vectors {
            vector.convert_to_f32_slice(&mut wide);
            block.push(&wide);
        }
        let links = link(&block.codes, width, step, stop)?;
        Ok(Self { block, links })
    }

    /// The same without the vectors of some nodes. Something near stands in their places, so that walks lead on.
    pub(super) fn without(&self, gone: impl Fn(u32) -> bool) -> Self {
        let Block { width, step, codes, rests, vectors } = &self.block;
        let (mut codes, mut rests, mut vectors) = (codes.to_vec(), rests.to_vec(), vectors.to_vec());
        let stays = |node: &u32| *node != NONE && !gone(*node);
        let n = count(rests.len());
        let any = (0..n).find(|node| stays(node));
        for node in (0..n).filter(|node| gone(*node)) {
            let links = &self.links.lowest[node as usize * WIDTH..][..WIDTH];
            let place = |node: u32| node as usize * width..(node as usize + 1) * width;
            if let Some(near) = links.iter().copied().find(stays).or(any) {
                codes.copy_within(place(near), place(node).start);
                vectors.copy_within(place(near), place(node).start);
                rests[node as usize] = rests[near as usize];
            } else {
                codes[place(node)].fill(128);
                vectors[place(node)].fill(f16::ZERO);
                rests[node as usize] = 0.0;
            }
        }
        let (codes, rests, vectors) = (Array::Owned(codes), Array::Owned(rests), Array::Owned(vectors));
        Self { block: Block { width: *width, step: *step, codes, rests, vectors }, links: self.links.copied() }
    }

    /// The places of the `effort` vectors that seem nearest, of those that are admitted; see [`Links::walk`].
    pub(super) fn walk(&self, query: &Coded, effort: usize, admits: impl Fn(usize) -> bool) -> Vec<u32> {
        self.links.walk(&self.block.codes, self.block.width, query, effort, |node| admits(node as usize))
    }

    pub(super) fn slices(&self) -> Slices<'_> {
        self.block.slices()
    }

    /// Memory held, files not counted.
    pub(super) fn bytes(&self) -> usize {
        self.block.bytes() + self.links.bytes()
    }

    /// Writes everything to a file.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let Block { width, step, codes, rests, vectors } = &self.block;
        let numbers = [*width as u64, rests.len() as u64, u64::from(step.to_bits())];
        let mut parts = vec![bytes(codes), bytes(rests), bytes(vectors), bytes(&self.links.lowest)];
        parts.extend(self.links.layers.iter().flat_map(|layer| [bytes(&layer.nodes), bytes(&layer.links)]));
        parts::write(path, &numbers, &parts)
    }

    /// The segment in a file, whose vectors must have this width. Every number is looked at before it is believed.
    pub(super) fn open(path: &Path, width: usize) -> Result<Self, Unusable> {
        let (numbers, parts) = parts::open(path)?;
        let [own_width, len, step] = numbers[..] else { return Err(Unusable::Damaged("it has other numbers")) };
        if own_width != width as u64 {
            return Err(Unusable::Damaged("its vectors are of another length"));
        }
        let mut parts = parts.into_iter();
        let mut next = || parts.next().ok_or(Unusable::Damaged("it has fewer parts"));
        let (codes, rests, vectors) = (Array::mapped(next()?)?, Array::mapped(next()?)?, Array::mapped(next()?)?);
        let lowest = Array::mapped(next()?)?;
        let mut layers = vec![];
        while let Ok(nodes) = next() {
            layers.push(Layer { nodes: Array::mapped(nodes)?, links: Array::mapped(next()?)? });
        }
        let step = u32::try_from(step).map_or(f32::NAN, f32::from_bits);
        let (block, links) = (Block { width, step, codes, rests, vectors }, Links { lowest, layers });
        let n = block.rests.len();
        let sound = n as u64 == len && n > 0 && block.codes.len() == n * width && block.vectors.len() == n * width;
        if sound && step.is_normal() && u32::try_from(n).is_ok() && links.is_sound(n) {
            Ok(Self { block, links })
        } else {
            Err(Unusable::Damaged("its parts do not fit together"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_the_same_from_a_file() {
        let vectors: Vec<Vec<f16>> = (0..700u16)
            .map(|n| (0..16u16).map(|at| f16::from_f32(f32::from((n * 31 + at * at * 7) % 101) / 400.0)).collect())
            .collect();
        let built = Segment::build(&vectors.iter().map(Vec::as_slice).collect::<Vec<_>>(), || false).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        built.write(&path).unwrap();
        let opened = Segment::open(&path, 16).unwrap();
        assert_eq!(opened.bytes(), 0);
        for vector in &vectors {
            let mut wide = vec![0.0; 16];
            vector.convert_to_f32_slice(&mut wide);
            let query = Coded::new(&wide);
            let found = |segment: &Segment| segment.walk(&query, 10, |node| node % 3 == 0);
            assert_eq!(found(&built), found(&opened));
            assert!(found(&built).iter().all(|node| node % 3 == 0));
        }
        assert!((0..700).all(|at| opened.slices().vector(at) == vectors[at].as_slice()));
        assert!(matches!(Segment::open(&path, 8), Err(Unusable::Damaged("its vectors are of another length"))));
    }

    #[test]
    fn links_that_lead_nowhere_are_not_believed() {
        let vectors: Vec<Vec<f16>> = (0..50u8).map(|n| vec![f16::from_f32(f32::from(n) / 50.0); 4]).collect();
        let vectors: Vec<&[f16]> = vectors.iter().map(Vec::as_slice).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let mut built = Segment::build(&vectors, || false).unwrap();
        built.links.lowest.owned()[17] = 50;
        built.write(&path).unwrap();
        assert!(matches!(Segment::open(&path, 4), Err(Unusable::Damaged("its parts do not fit together"))));
        built.links.lowest.owned()[17] = 49;
        built.write(&path).unwrap();
        assert!(Segment::open(&path, 4).is_ok());
        built.links.layers.push(Layer::new(vec![], vec![]));
        built.write(&path).unwrap();
        assert!(Segment::open(&path, 4).is_err());
    }
}
