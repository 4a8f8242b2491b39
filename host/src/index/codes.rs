//! Vectors in one byte a value, for a first look: bounds of a cosine that hold for certain. Never has the last word.
use half::f16;

/// What arithmetic in 32 bits may add to a product of unit vectors, and the little by which 16-bit floats miss unit
/// length.
const ROUNDING: f32 = 3e-5;

/// The largest value of a code.
const LARGEST: f32 = 127.0;

/// The step of codes for vectors like this one; larger values are cut off.
pub(super) fn step_like(vector: &[f32]) -> f32 {
    let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    (1.5 * largest / LARGEST).max(f32::MIN_POSITIVE)
}

/// The step of codes for all these values: one in 20,000 is cut off, which makes the others finer.
pub(super) fn step_for<'a>(vectors: impl Iterator<Item = &'a [f16]>) -> f32 {
    let mut sizes: Vec<f32> = vectors.flatten().map(|value| value.to_f32().abs()).collect();
    if sizes.is_empty() {
        return f32::MIN_POSITIVE;
    }
    let place = sizes.len() - 1 - sizes.len() / 20_000;
    let (_, size, _) = sizes.select_nth_unstable_by(place, f32::total_cmp);
    (*size / LARGEST).max(f32::MIN_POSITIVE)
}

/// Appends the codes of a vector, each 128 above its value, and returns the length of what they leave of it.
pub(super) fn encode(vector: &[f32], step: f32, codes: &mut Vec<u8>) -> f32 {
    let mut rest = 0.0;
    codes.extend(vector.iter().map(|value| {
        // Rounded by cutting off, which needs no call.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to 255")]
        let code = ((value / step).clamp(-LARGEST, LARGEST) + 128.5) as u8;
        rest += (value - (f32::from(code) - 128.0) * step).powi(2);
        code
    }));
    rest.sqrt()
}

/// A query in codes.
pub(super) struct Coded {
    pub(super) values: Vec<i8>,
    step: f32,
    rest: f32,
    /// What the 128 of each code adds to a product.
    bias: i32,
}

impl Coded {
    pub(super) fn new(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let step = (largest / LARGEST).max(f32::MIN_POSITIVE);
        let mut codes = Vec::with_capacity(vector.len());
        let rest = encode(vector, step, &mut codes);
        // 1 to 255 become −127 to 127.
        let values: Vec<i8> = codes.into_iter().map(|code| (code ^ 128).cast_signed()).collect();
        let bias = 128 * values.iter().map(|value| i32::from(*value)).sum::<i32>();
        Self { values, step, rest, bias }
    }

    /// About the cosine, from the product of the codes and the query's.
    #[inline]
    pub(super) fn estimate(&self, product: i32, step: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "within the rounding that is allowed for")]
        let product = (product - self.bias) as f32;
        product * self.step * step
    }

    /// The cosine lies between the two: |q·x − q'·x'| ≤ |q − q'|·|x| + |q'|·|x − x'| (Cauchy and Schwarz).
    #[inline]
    pub(super) fn bounds(&self, product: i32, step: f32, rest: f32) -> (f32, f32) {
        let cosine = self.estimate(product, step);
        let slack = self.rest + (1.0 + self.rest) * rest + ROUNDING;
        (cosine - slack, cosine + slack)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernels::kernels;
    use super::*;

    fn check(widest: f32, step: impl Fn(&[Vec<f32>]) -> f32) {
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
        let rows: Vec<Vec<f32>> = (0..600).map(|_| vector()).collect();
        let step = step(&rows);
        for query in [vector(), rows[599].clone()] {
            let coded = Coded::new(&query);
            for row in &rows {
                let mut codes = vec![];
                let rest = encode(row, step, &mut codes);
                let cosine: f32 = row.iter().zip(&query).map(|(x, y)| x * y).sum();
                let (least, most) = coded.bounds((kernels().codes)(&codes, &coded.values), step, rest);
                assert!(least <= cosine && cosine <= most && most - least < widest, "{least} {cosine} {most}");
            }
        }
    }

    #[test]
    fn the_cosine_lies_between_the_bounds() {
        check(0.05, |rows| step_like(&rows[0]));
        check(0.03, |rows| {
            let halves: Vec<Vec<f16>> =
                rows.iter().map(|row| row.iter().map(|value| f16::from_f32(*value)).collect()).collect();
            step_for(halves.iter().map(Vec::as_slice))
        });
    }

    #[test]
    fn values_that_are_cut_off_only_widen_the_bounds() {
        check(3.0, |rows| step_like(&rows[0]) / 20.0);
    }
}
