//! A layer's weights in one of the precisions, packed once when a model is loaded. Decides what becomes of a number;
//! how it is multiplied is the kernels'.
use super::kernels::{Cpu, PANEL, Packed, Weights};
use super::{Precision, kernels};

/// A layer as the model's file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    /// [inputs, outputs], row-major.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Dense {
    pub(super) fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Layers of the same inputs as one, their outputs side by side.
    pub(super) fn joined(layers: [&Self; 3]) -> Self {
        let inputs = layers[0].inputs();
        let row =
            |i: usize| layers.into_iter().filter_map(move |layer| layer.weights.chunks_exact(layer.outputs()).nth(i));
        Self {
            weights: (0..inputs).flat_map(row).flatten().copied().collect(),
            bias: layers.into_iter().flat_map(|layer| &layer.bias).copied().collect(),
        }
    }

    /// # Panics
    /// Panics where inputs or outputs are no multiple of [`PANEL`].
    pub(super) fn packed(self, cpu: Cpu, precision: Precision) -> Weights {
        let ones = vec![1.0; self.inputs()];
        self.packed_for(cpu, precision, ones)
    }

    /// For inputs of which each is first multiplied by a factor, where the precision gains by it.
    ///
    /// # Panics
    /// Panics where inputs or outputs are no multiple of [`PANEL`], and where factors are not as many as inputs.
    pub(super) fn packed_for(self, cpu: Cpu, precision: Precision, factors: Vec<f32>) -> Weights {
        let (k, n) = (self.inputs(), self.outputs());
        let packed = match precision {
            Precision::F32 => Packed::Full(panels(&self.weights, n, 1, |x, _| x).into()),
            Precision::Bf16 => Packed::Half(panels(&self.weights, n, 2, |x, _| kernels::half(x)).into()),
            Precision::Int8 => bytes(self.weights, n, factors, cpu.largest_weight()),
        };
        Weights::new(cpu, k, packed, self.bias.into()).expect("the caller looked at the sizes")
    }

    /// Factors that take from inputs what makes them coarse as bytes, a few that are large, and give it to the weights,
    /// half of the difference to each (`SmoothQuant`, Xiao and others 2023). `largest` has the size that each input
    /// reaches.
    pub(super) fn smoothing(&self, largest: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.outputs());
        let size = |numbers: &[f32]| numbers.iter().fold(1e-5_f32, |most, x| most.max(x.abs()));
        let factors = largest.iter().zip(rows).map(|(largest, row)| (size(row) / largest.max(1e-5)).sqrt());
        let factors: Vec<f32> = factors.collect();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
        let mean = (factors.iter().map(|factor| factor.ln()).sum::<f32>() / factors.len() as f32).exp();
        factors.into_iter().map(|factor| (factor / mean).clamp(0.01, 100.0)).collect()
    }
}

/// Each column symmetric: its largest number becomes the largest weight. Inputs are divided by what they will have been
/// multiplied with.
fn bytes(mut weights: Vec<f32>, n: usize, factors: Vec<f32>, largest: f32) -> Packed {
    assert_eq!(factors.len() * n, weights.len());
    let mut scales = vec![0.0_f32; n];
    for (row, factor) in weights.chunks_exact_mut(n).zip(&factors) {
        for (scale, x) in scales.iter_mut().zip(row) {
            *x /= factor;
            *scale = scale.max(x.abs());
        }
    }
    for scale in &mut scales {
        // A column of zeros stays one.
        *scale = (*scale / largest).max(1e-12);
    }
    let mut sums = vec![0.0_f32; n];
    let weights = panels(&weights, n, 4, |x, column| {
        let weight = (x / scales[column]).round();
        sums[column] += weight;
        #[expect(clippy::cast_possible_truncation, reason = "at most 127 in size")]
        let weight = weight as i8;
        weight
    });
    for (sum, scale) in sums.iter_mut().zip(&scales) {
        *sum *= scale;
    }
    Packed::Byte { weights: weights.into(), factors: factors.into(), scales: scales.into(), sums: sums.into() }
}

/// The numbers in panels, with so many rows of a column together, which divide the rows.
fn panels<T: Copy + Default>(
    weights: &[f32],
    n: usize,
    together: usize,
    mut convert: impl FnMut(f32, usize) -> T,
) -> Vec<T> {
    let k = weights.len() / n;
    let mut packed = vec![T::default(); weights.len()];
    for (panel, packed) in packed.chunks_exact_mut(PANEL * k).enumerate() {
        for (group, packed) in packed.chunks_exact_mut(PANEL * together).enumerate() {
            for i in 0..together {
                let row = &weights[(group * together + i) * n + panel * PANEL..][..PANEL];
                for (column, x) in row.iter().enumerate() {
                    packed[column * together + i] = convert(*x, panel * PANEL + column);
                }
            }
        }
    }
    packed
}
