//! An encoder whose weights are packed for one processor and one precision, and what a layer of it does to the rows of
//! some texts.
use std::ops::Range;

use super::Precision;
use super::kernels::{self, Cpu, Gelu, Scratch, Weights};
use super::linear::Dense;
use super::numbers::Numbers;
use super::ops::Table;
use super::recognise::{Encoder, Layer};

/// Tokens that go through a layer together, at least, in whole texts: what lies between its parts stays near.
const TOGETHER: usize = 96;

/// The constants of an encoder, in the order in which they are used.
#[derive(Debug, PartialEq)]
pub(super) struct Blocks {
    pub(super) cpu: Cpu,
    pub(super) width: usize,
    pub(super) words: Table,
    /// A row for each place in a text, with the vector of the token type added.
    pub(super) positions: Numbers<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Block>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Block {
    pub(super) cpu: Cpu,
    pub(super) heads: usize,
    /// Queries, keys and values side by side; the scale of the scores is part of the queries.
    pub(super) qkv: Weights,
    pub(super) output: Weights,
    pub(super) attention_norm: Norm,
    pub(super) up: Weights,
    pub(super) gelu: Gelu,
    pub(super) down: Weights,
    pub(super) norm: Norm,
}

/// The constants of a norm.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Norm {
    pub(super) gain: Numbers<f32>,
    pub(super) bias: Numbers<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    pub(super) fn apply(&self, cpu: Cpu, rows: &mut [f32]) {
        kernels::normalise(cpu, rows, &self.gain, &self.bias, self.epsilon);
    }
}

/// What lies between the parts of a layer, kept from run to run.
#[derive(Default)]
pub(super) struct Work {
    scratch: Scratch,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    inner: Vec<f32>,
}

/// Room for so many numbers, whatever they are.
fn room(numbers: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if numbers.len() < len {
        numbers.resize(len, 0.0);
    }
    &mut numbers[..len]
}

impl Blocks {
    /// # Panics
    /// Panics where widths are no multiples of [`super::kernels::PANEL`].
    pub(super) fn new(encoder: Encoder, cpu: Cpu, precision: Precision) -> Self {
        let largest = (precision == Precision::Int8).then(|| super::calibrate::largest_inputs(&encoder, cpu));
        let Encoder { width, words, positions, norm, layers } = encoder;
        let pack = |(place, layer): (usize, Layer)| {
            let largest = largest.as_ref().map(|largest| &largest[place]);
            Block::new(layer, cpu, precision, largest.map(|[qkv, up]| [&qkv[..], &up[..]]))
        };
        let layers = layers.into_iter().enumerate().map(pack).collect();
        Self { cpu, width, words, positions: positions.into(), norm, layers }
    }
}

impl Block {
    /// `largest`: the size that each input of the first product and of the one after attention reaches, if that is known.
    pub(super) fn new(layer: Layer, cpu: Cpu, precision: Precision, largest: Option<[&[f32]; 2]>) -> Self {
        let Layer { heads, query, key, value, output, attention_norm, up, gelu, down, norm } = layer;
        let qkv = Dense::joined([&query, &key, &value]);
        let smooth = |dense: Dense, largest: Option<&[f32]>| {
            let factors = largest.map_or_else(|| vec![1.0; dense.inputs()], |largest| dense.smoothing(largest));
            dense.packed_for(cpu, precision, factors)
        };
        Self {
            cpu,
            heads,
            qkv: smooth(qkv, largest.map(|[qkv, _]| qkv)),
            output: output.packed(cpu, precision),
            attention_norm,
            up: smooth(up, largest.map(|[_, up]| up)),
            gelu,
            down: down.packed(cpu, precision),
            norm,
        }
    }

    /// Takes the tokens of all texts, behind each other, through the layer, in place. What becomes of a text depends on
    /// that text alone.
    ///
    /// # Panics
    /// Panics where the texts are not all of the rows.
    pub(super) fn run(&self, rows: &mut [f32], texts: &[Range<usize>], work: &mut Work) {
        let mut rest = texts;
        while !rest.is_empty() {
            let start = rest[0].start;
            let n_texts = rest.iter().position(|text| text.end - start >= TOGETHER).map_or(rest.len(), |last| last + 1);
            let (group, after) = rest.split_at(n_texts);
            self.attend(rows, group, work);
            let width = self.norm.gain.len();
            self.feed_forward(&mut rows[start * width..group[n_texts - 1].end * width], work);
            rest = after;
        }
    }

    /// The first half of the layer, on neighbouring texts.
    pub(super) fn attend(&self, rows: &mut [f32], texts: &[Range<usize>], work: &mut Work) {
        let width = self.norm.gain.len();
        let start = texts[0].start;
        let x = &mut rows[start * width..texts[texts.len() - 1].end * width];
        let qkv = room(&mut work.qkv, 3 * x.len());
        self.qkv.product(x, qkv, &mut work.scratch);
        let mixed = room(&mut work.mixed, x.len());
        for text in texts {
            let (from, to) = ((text.start - start) * width, (text.end - start) * width);
            let heads = (self.heads, width / self.heads);
            kernels::attend(self.cpu, &qkv[3 * from..3 * to], &mut mixed[from..to], heads, &mut work.scratch);
        }
        self.output.add_product(mixed, x, &mut work.scratch);
        self.attention_norm.apply(self.cpu, x);
    }

    /// The second half of the layer; rows are independent.
    pub(super) fn feed_forward(&self, rows: &mut [f32], work: &mut Work) {
        let (width, between) = (self.norm.gain.len(), self.up.outputs());
        for x in rows.chunks_mut(TOGETHER * width) {
            let inner = room(&mut work.inner, x.len() / width * between);
            self.up.product(x, inner, &mut work.scratch);
            kernels::gelu(self.cpu, inner, self.gelu);
            self.down.add_product(inner, x, &mut work.scratch);
            self.norm.apply(self.cpu, x);
        }
    }
}
