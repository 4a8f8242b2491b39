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
        let (k, n) = (self.inputs(), self.outputs());
        let packed = match precision {
            Precision::F32 => Packed::Full(panels(&self.weights, n, 1, |x, _| x)),
            Precision::Bf16 => Packed::Half(panels(&self.weights, n, 2, |x, _| kernels::half(x))),
            Precision::Int8 => bytes(&self.weights, n, cpu.largest_weight()),
        };
        Weights::new(cpu, k, packed, self.bias)
    }
}

/// Each column symmetric: its largest number becomes the largest weight.
fn bytes(weights: &[f32], n: usize, largest: f32) -> Packed {
    let mut scales = vec![0.0_f32; n];
    for row in weights.chunks_exact(n) {
        for (scale, x) in scales.iter_mut().zip(row) {
            *scale = scale.max(x.abs());
        }
    }
    for scale in &mut scales {
        // A column of zeros stays one.
        *scale = (*scale / largest).max(1e-12);
    }
    let mut sums = vec![0; n];
    let weights = panels(weights, n, 4, |x, column| {
        #[expect(clippy::cast_possible_truncation, reason = "at most 127 in size")]
        let weight = (x / scales[column]).round() as i8;
        sums[column] += i32::from(weight);
        weight
    });
    Packed::Byte { weights, scales, sums }
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
