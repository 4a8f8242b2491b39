//! Vectors in one byte a value, for a first look: bounds of a cosine that hold for certain. Never has the last word.
use super::kernels::{CodeDot, code_dot};

/// Rows in one allocation.
const CHUNK: usize = 512;

/// What arithmetic in 32 bits may add to a product of unit vectors.
const ROUNDING: f32 = 1e-5;

pub(super) struct Codes {
    dimensions: usize,
    dot: CodeDot,
    chunks: Vec<Vec<i8>>,
    rows: Vec<Row>,
}

struct Row {
    /// A value is its code times this.
    scale: f32,
    /// Length of what the codes leave of the vector.
    rest: f32,
}

/// A query, finer than a row, so that nearly all uncertainty is the row's.
pub(super) struct Coded {
    values: Vec<i16>,
    scale: f32,
    rest: f32,
}

impl Codes {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, dot: code_dot(), chunks: Vec::new(), rows: Vec::new() }
    }

    /// The next row, of unit length.
    pub(super) fn push(&mut self, vector: &[f32]) {
        if self.rows.len().is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK * self.dimensions));
        }
        let scale = scale(vector, f32::from(i8::MAX));
        let chunk = self.chunks.last_mut().expect("pushed above at the latest");
        let mut rest = 0.0;
        for value in vector {
            let code = (value / scale).round();
            rest += (value - code * scale).powi(2);
            #[expect(clippy::cast_possible_truncation, reason = "at most 127 by the choice of the scale")]
            chunk.push(code as i8);
        }
        self.rows.push(Row { scale, rest: rest.sqrt() });
    }

    /// The cosine lies between the two: |q·x − q'·x'| ≤ |q − q'|·|x| + |q'|·|x − x'| (Cauchy and Schwarz).
    pub(super) fn between(&self, query: &Coded, row: usize) -> (f32, f32) {
        let start = row % CHUNK * self.dimensions;
        let codes = &self.chunks[row / CHUNK][start..start + self.dimensions];
        let Row { scale, rest } = &self.rows[row];
        #[expect(clippy::cast_precision_loss, reason = "within the rounding that is allowed for")]
        let cosine = (self.dot)(&query.values, codes) as f32 * query.scale * scale;
        let slack = query.rest + (1.0 + query.rest) * rest + ROUNDING;
        (cosine - slack, cosine + slack)
    }
}

impl Coded {
    pub(super) fn new(vector: &[f32]) -> Self {
        // 14 bits: with codes of 7 bits the sum of some thousand products stays within 32 bits.
        let scale = scale(vector, 8_191.0);
        let mut rest = 0.0;
        let values = vector
            .iter()
            .map(|value| {
                let code = (value / scale).round();
                rest += (value - code * scale).powi(2);
                #[expect(clippy::cast_possible_truncation, reason = "at most 8,191 by the choice of the scale")]
                let code = code as i16;
                code
            })
            .collect();
        Self { values, scale, rest: f32::sqrt(rest) }
    }
}

/// Maps the largest value to `most`.
fn scale(vector: &[f32], most: f32) -> f32 {
    let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    (largest / most).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_lies_between_the_bounds() {
        let mut state = 11u32;
        let mut vector = || {
            let values: Vec<f32> = (0..384)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
                })
                .collect();
            let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
            values.into_iter().map(|value| value / length).collect::<Vec<f32>>()
        };
        let mut codes = Codes::new(384);
        let rows: Vec<Vec<f32>> = (0..600).map(|_| vector()).collect();
        for row in &rows {
            codes.push(row);
        }
        for query in [vector(), rows[599].clone()] {
            let coded = Coded::new(&query);
            for (place, row) in rows.iter().enumerate() {
                let cosine: f32 = row.iter().zip(&query).map(|(x, y)| x * y).sum();
                let (least, most) = codes.between(&coded, place);
                assert!(least <= cosine && cosine <= most && most - least < 0.05, "{place}: {least} {cosine} {most}");
            }
        }
    }
}
