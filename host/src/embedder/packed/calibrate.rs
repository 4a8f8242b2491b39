//! How large the inputs of an encoder's products become, found by running it on texts of its own words. The inputs that
//! stick out do so whatever the text says, so words drawn at random show them.
use super::Precision;
use super::blocks::{Block, Work};
use super::kernels::Cpu;
use super::recognise::Encoder;

/// Texts, and words in each.
const TEXTS: usize = 32;
const WORDS: usize = 16;

/// For each layer the greatest size of each input of its first product, and of the one after attention.
pub(super) fn largest_inputs(encoder: &Encoder, cpu: Cpu) -> Vec<[Vec<f32>; 2]> {
    let width = encoder.width;
    let words = WORDS.min(encoder.positions.len() / width);
    let texts: Vec<_> = (0..TEXTS).map(|text| text * words..(text + 1) * words).collect();
    let mut rows = vec![0.0; TEXTS * words * width];
    let vocabulary = encoder.words.len() / width;
    // A step that meets all words before any comes again, and never two neighbours.
    let step = (vocabulary * 5 / 8) | 1;
    for (place, row) in rows.chunks_exact_mut(width).enumerate() {
        let position = place % words * width;
        encoder.words.read(place * step % vocabulary, row);
        for (x, y) in row.iter_mut().zip(&encoder.positions[position..]) {
            *x += y;
        }
        encoder.norm.apply(cpu, row);
    }
    let mut work = Work::default();
    let layers = encoder.layers.iter().map(|layer| {
        let block = Block::new(layer.clone(), cpu, Precision::F32, None);
        let qkv = largest(&rows, width);
        block.attend(&mut rows, &texts, &mut work);
        let up = largest(&rows, width);
        block.feed_forward(&mut rows, &mut work);
        [qkv, up]
    });
    layers.collect()
}

fn largest(rows: &[f32], width: usize) -> Vec<f32> {
    let mut largest = vec![0.0_f32; width];
    for row in rows.chunks_exact(width) {
        for (most, x) in largest.iter_mut().zip(row) {
            *most = most.max(x.abs());
        }
    }
    largest
}
