//! The arithmetic of an encoder on rows of numbers, for each instruction set: products with packed weights, attention,
//! norms, GELU. Safe to call: lengths are checked here, and a [`Cpu`] names only instructions that the processor has.
//!
//! AVX-512 and AVX2 on x86-64, NEON on aarch64; elsewhere the portable ones run, which are the twins that tests compare the
//! others with.
#![expect(unsafe_code, reason = "instructions of the processor; see the safety comments")]
#![expect(clippy::inline_always, reason = "a kernel must become part of the function compiled for its instructions")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::marker::PhantomData;

use lanes::Sink;

use super::numbers::Numbers;

/// Columns of a panel of packed weights. Outputs of a product are a multiple of it.
pub(in crate::embedder) const PANEL: usize = 32;

/// The instructions that the kernels may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    vectors: Vectors,
    has_vnni: bool,
    has_bf16: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vectors {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Cpu {
    /// All that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            if has_avx512 {
                let has_vnni = is_x86_feature_detected!("avx512vnni");
                return Self { vectors: Vectors::Avx512, has_vnni, has_bf16: is_x86_feature_detected!("avx512bf16") };
            }
            if has_avx2 {
                return Self { vectors: Vectors::Avx2, has_vnni: false, has_bf16: false };
            }
        }
        #[cfg(target_arch = "aarch64")]
        return Self { vectors: Vectors::Neon, has_vnni: false, has_bf16: false };
        #[cfg(not(target_arch = "aarch64"))]
        Self::portable()
    }

    #[must_use]
    pub fn portable() -> Self {
        Self { vectors: Vectors::Portable, has_vnni: false, has_bf16: false }
    }

    /// This processor's and every lesser set of instructions that it has too, for tests and measurements.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut sets = vec![Self::portable()];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            sets.push(Self { vectors: Vectors::Avx2, has_vnni: false, has_bf16: false });
        }
        if !sets.contains(&Self::detect()) {
            sets.push(Self::detect());
        }
        sets
    }

    /// What the kernels use of it, in one word.
    pub(in crate::embedder) fn name(self) -> &'static str {
        match (self.vectors, self.has_vnni, self.has_bf16) {
            (Vectors::Portable, ..) => "portable",
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx2, ..) => "avx2",
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx512, false, false) => "avx512",
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx512, true, false) => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx512, false, true) => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx512, true, true) => "avx512-vnni-bf16",
            #[cfg(target_arch = "aarch64")]
            (Vectors::Neon, ..) => "neon",
        }
    }

    /// Whether it multiplies 16-bit floats faster than others: AMD's processors do (measured 1.6 times as fast as 32 bits),
    /// Intel's have the instruction and are slower with it (0.65).
    #[must_use]
    pub fn has_fast_bf16(self) -> bool {
        self.has_bf16 && is_of_amd()
    }

    /// Whether it multiplies bytes faster than floats, with weights of all eight bits. AVX2 does with seven, which costs
    /// twice the error.
    #[must_use]
    pub fn has_bytes(self) -> bool {
        match self.vectors {
            #[cfg(target_arch = "aarch64")]
            Vectors::Neon => true,
            _ => self.has_vnni,
        }
    }

    /// The instructions that products with weights of this kind use.
    pub(in crate::embedder) fn instructions(self, weights: &Packed) -> &'static str {
        match (weights, self.vectors) {
            (_, Vectors::Portable) => "portable",
            #[cfg(target_arch = "x86_64")]
            (Packed::Half(_), _) if self.has_bf16 => "AVX-512 BF16",
            #[cfg(target_arch = "x86_64")]
            (Packed::Byte { .. }, Vectors::Avx512) if self.has_vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            (Packed::Byte { .. }, Vectors::Avx512) => "portable",
            #[cfg(target_arch = "x86_64")]
            (Packed::Full(_), Vectors::Avx512) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            (Packed::Full(_) | Packed::Byte { .. }, Vectors::Avx2) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            (Packed::Full(_) | Packed::Byte { .. }, Vectors::Neon) => "NEON",
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (Packed::Half(_), _) => "portable",
        }
    }

    /// Largest size of a weight in bytes.
    pub(in crate::embedder) fn largest_weight(self) -> f32 {
        match self.vectors {
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => avx2::MAX_WEIGHT,
            _ => 127.0,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn is_of_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_of_amd() -> bool {
    false
}

/// Forms of the activation between the two layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedder) enum Gelu {
    Erf,
    Tanh,
}

/// Weights in panels of [`PANEL`] columns: a panel after the other, in each the inputs in order, one, two or four of a
/// column together.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::embedder) enum Packed {
    Full(Numbers<f32>),
    Half(Numbers<u16>),
    Byte {
        weights: Numbers<i8>,
        /// One an input, which is multiplied by it before it becomes a byte.
        factors: Numbers<f32>,
        /// One a column.
        scales: Numbers<f32>,
        /// The sum of a column's weights, scaled.
        sums: Numbers<f32>,
    },
}

/// The activations of a product as its weights want them, and what attention keeps of one sequence.
#[derive(Debug, Default)]
pub(in crate::embedder) struct Scratch {
    halves: Vec<u16>,
    bytes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
    scores: Scores,
}

/// Of one head: keys a row for each of their numbers, values a row for each token, both padded.
#[derive(Debug, Default)]
struct Scores {
    keys: Vec<f32>,
    values: Vec<f32>,
    shares: Vec<f32>,
    mixed: Vec<f32>,
}

/// A layer's weights, ready for the kernels of one processor.
#[derive(Debug, PartialEq)]
pub(in crate::embedder) struct Weights {
    cpu: Cpu,
    inputs: usize,
    packed: Packed,
    bias: Numbers<f32>,
}

impl Weights {
    /// `packed` was made for this processor, with one column for each number of `bias`. `None` where the sizes disagree, or
    /// are no multiples of what the kernels need.
    pub(in crate::embedder) fn new(cpu: Cpu, inputs: usize, packed: Packed, bias: Numbers<f32>) -> Option<Self> {
        let outputs = bias.len();
        let count = match &packed {
            Packed::Full(weights) => weights.len(),
            Packed::Half(weights) => weights.len(),
            Packed::Byte { weights, factors, scales, sums } => {
                let is_whole = (factors.len(), scales.len(), sums.len()) == (inputs, outputs, outputs);
                if is_whole { weights.len() } else { return None }
            }
        };
        let fits = inputs.is_multiple_of(16) && outputs.is_multiple_of(PANEL);
        (fits && inputs.checked_mul(outputs) == Some(count)).then_some(Self { cpu, inputs, packed, bias })
    }

    /// Inputs, weights and bias.
    pub(in crate::embedder) fn parts(&self) -> (usize, &Packed, &[f32]) {
        (self.inputs, &self.packed, &self.bias)
    }

    pub(in crate::embedder) fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub(in crate::embedder) fn instructions(&self) -> &'static str {
        self.cpu.instructions(&self.packed)
    }

    /// `out = rows · weights + bias`, all row-major.
    ///
    /// # Panics
    /// Panics where the lengths are not those of the same rows.
    pub(in crate::embedder) fn product(&self, rows: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        self.multiply(rows, out, false, scratch);
    }

    /// `out += rows · weights + bias`, all row-major.
    ///
    /// # Panics
    /// Panics where the lengths are not those of the same rows.
    pub(in crate::embedder) fn add_product(&self, rows: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        self.multiply(rows, out, true, scratch);
    }

    fn multiply(&self, rows: &[f32], out: &mut [f32], adds: bool, scratch: &mut Scratch) {
        let (k, n) = (self.inputs, self.bias.len());
        let m = rows.len() / k;
        assert_eq!((rows.len(), out.len()), (m * k, m * n));
        let sink = Sink { n, bias: self.bias.as_ptr(), adds, out: out.as_mut_ptr() };
        match &self.packed {
            Packed::Full(weights) => full(self.cpu, rows, weights, k, m, sink),
            Packed::Half(weights) => {
                scratch.halves.resize(rows.len(), 0);
                halve(self.cpu, rows, &mut scratch.halves);
                halves(self.cpu, &scratch.halves, weights, k, m, sink);
            }
            Packed::Byte { weights, factors, scales, sums } => {
                scratch.bytes.resize(m * k, 0);
                scratch.scales.clear();
                scratch.zeros.clear();
                for (row, bytes) in rows.chunks_exact(k).zip(scratch.bytes.chunks_exact_mut(k)) {
                    let (scale, zero) = quantise(self.cpu, row, factors, bytes);
                    scratch.scales.push(scale);
                    scratch.zeros.push(zero);
                }
                bytes(self.cpu, scratch, weights, (scales, sums), k, m, sink);
            }
        }
    }
}

/// The nearest 16-bit float with the exponent of 32 bits; halves to even.
pub(in crate::embedder) fn half(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    rounded as u16
}

/// Calls the instance for these vectors. What is called is unsafe in that the processor must have the instructions.
macro_rules! dispatch {
    ($cpu:expr, $kernel:ident($($argument:expr),*)) => {
        match $cpu.vectors {
            Vectors::Portable => portable::$kernel($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => avx2::$kernel($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 => avx512::$kernel($($argument),*),
            #[cfg(target_arch = "aarch64")]
            Vectors::Neon => neon::$kernel($($argument),*),
        }
    };
}

fn halve(cpu: Cpu, numbers: &[f32], halves: &mut [u16]) {
    assert!(numbers.len() == halves.len() && numbers.len().is_multiple_of(16));
    #[cfg(target_arch = "x86_64")]
    if cpu.has_bf16 {
        // SAFETY: `Cpu` has only what was detected; the lengths were compared.
        return unsafe { avx512::halve(numbers, halves) };
    }
    let _ = cpu;
    portable::halve(numbers, halves);
}

fn full(cpu: Cpu, rows: &[f32], weights: &[f32], k: usize, m: usize, sink: Sink) {
    let n = sink.n;
    let (rows, panels) = (rows.as_ptr(), weights.as_ptr());
    // SAFETY: `Cpu` has only what was detected; the caller, `Weights::product`, compared all lengths.
    unsafe { dispatch!(cpu, product_f32(&lanes::FloatTiles { rows, panels, k, sink, lanes: PhantomData }, m, n)) }
}

fn halves(cpu: Cpu, rows: &[u16], weights: &[u16], k: usize, m: usize, sink: Sink) {
    let n = sink.n;
    let (rows, panels) = (rows.as_ptr(), weights.as_ptr());
    // SAFETY: as of `full`.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if cpu.has_bf16 {
            let tiles = lanes::HalfTiles { rows, panels, k, sink, lanes: PhantomData };
            return avx512::product_bf16(&tiles, m, n);
        }
        let _ = cpu;
        portable::product_bf16(&lanes::HalfTiles { rows, panels, k, sink, lanes: PhantomData }, m, n);
    }
}

fn bytes(cpu: Cpu, rows: &Scratch, weights: &[i8], (scales, sums): (&[f32], &[f32]), k: usize, m: usize, sink: Sink) {
    let n = sink.n;
    macro_rules! tiles {
        () => {
            lanes::ByteTiles {
                rows: rows.bytes.as_ptr(),
                scales: rows.scales.as_ptr(),
                zeros: rows.zeros.as_ptr(),
                panels: weights.as_ptr(),
                column_scales: scales.as_ptr(),
                column_sums: sums.as_ptr(),
                k,
                sink,
                lanes: PhantomData,
            }
        };
    }
    // SAFETY: as of `full`; there is a scale and a zero for each row.
    unsafe {
        match cpu.vectors {
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 if cpu.has_vnni => avx512::product_i8(&tiles!(), m, n),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => avx2::product_i8(&tiles!(), m, n),
            #[cfg(target_arch = "aarch64")]
            Vectors::Neon => neon::product_i8(&tiles!(), m, n),
            _ => portable::product_i8(&tiles!(), m, n),
        }
    }
}

fn quantise(cpu: Cpu, row: &[f32], factors: &[f32], bytes: &mut [u8]) -> (f32, f32) {
    assert!(row.len() == bytes.len() && row.len() == factors.len() && row.len().is_multiple_of(16));
    // SAFETY: `Cpu` has only what was detected; the lengths were compared.
    unsafe { dispatch!(cpu, quantise(row, factors, bytes)) }
}

/// In place.
///
/// # Panics
/// Panics where the length is no multiple of 16.
pub(in crate::embedder) fn gelu(cpu: Cpu, values: &mut [f32], form: Gelu) {
    assert!(values.len().is_multiple_of(16));
    // SAFETY: `Cpu` has only what was detected; the length was looked at.
    unsafe { dispatch!(cpu, gelu(values, form)) }
}

/// Normalises each row in place.
///
/// # Panics
/// Panics where the lengths are not those of rows of one width, which is a multiple of 16.
pub(in crate::embedder) fn normalise(cpu: Cpu, rows: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    assert!(gain.len().is_multiple_of(16) && gain.len() == bias.len() && rows.len().is_multiple_of(gain.len()));
    // SAFETY: `Cpu` has only what was detected; the lengths were compared.
    unsafe { dispatch!(cpu, normalise(rows, gain, bias, epsilon)) }
}

/// Attention of one sequence: rows of queries, keys and values side by side, each `heads` times `size` numbers. Scores
/// are taken as they are: whatever scales them is part of the queries.
///
/// # Panics
/// Panics where the lengths are not those of the same rows, at least one.
pub(in crate::embedder) fn attend(
    cpu: Cpu,
    qkv: &[f32],
    out: &mut [f32],
    (heads, size): (usize, usize),
    scratch: &mut Scratch,
) {
    let width = heads * size;
    assert!(!out.is_empty() && out.len().is_multiple_of(width) && qkv.len() == 3 * out.len());
    // SAFETY: `Cpu` has only what was detected; the lengths were compared.
    unsafe { dispatch!(cpu, attend(qkv, out, heads, size, &mut scratch.scores)) }
}

#[cfg(test)]
pub(super) mod tests;
