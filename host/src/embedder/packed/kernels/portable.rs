//! The kernels for processors of which nothing is known: plain Rust, eight numbers at a time. Also what the others are
//! compared with.
use super::lanes::{self, ByteDot, ByteTiles, HalfDot, HalfTiles, Lanes, instantiate};
use super::{Gelu, Scores};

/// Eight numbers. Needs no instructions of its own: the compiler makes of it what it may.
#[derive(Clone, Copy)]
pub(super) struct Eight([f32; 8]);

/// Added and taken away again, it leaves a number of up to 22 bits rounded to a whole one, halves to even.
const ROUNDING: f32 = 12_582_912.0;

impl Eight {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Eight {
    const N: usize = 8;
    const ROWS: usize = 2;
    const QUERIES: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's; an array has the alignment of its element.
        Self(unsafe { *from.cast::<[f32; 8]>() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { *to.cast::<[f32; 8]>() = self.0 };
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let bytes = self.round().0.map(|x| x as u8);
        // SAFETY: the caller's.
        unsafe { *to.cast::<[u8; 8]>() = bytes };
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    fn reciprocal(self) -> Self {
        Self(self.0.map(|x| 1.0 / x))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // Rounded twice: one rounding would be a call to a library on processors without the instruction.
        self.mul(by).add(plus)
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.map(|x| (x + ROUNDING) - ROUNDING))
    }
    #[inline(always)]
    fn scale(self, power: Self) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 254")]
        self.with(power, |x, power| x * f32::from_bits(((power + 127.0) as u32) << 23))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn smallest(self) -> f32 {
        self.0.into_iter().fold(f32::INFINITY, f32::min)
    }
}

impl ByteDot for Eight {
    /// Four weights of a column are one number.
    type Sums = [i32; 8];

    #[inline(always)]
    unsafe fn zero() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> [i32; 8] {
        // SAFETY: the caller's.
        unsafe { from.cast::<[i32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn dot(sums: [i32; 8], activations: i32, weights: [i32; 8]) -> [i32; 8] {
        let activations = activations.to_ne_bytes();
        std::array::from_fn(|i| {
            let weights = weights[i].to_ne_bytes();
            let products = activations.iter().zip(weights).map(|(a, w)| i32::from(*a) * i32::from(w.cast_signed()));
            sums[i] + products.sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn floats(sums: [i32; 8]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "the error is far below that of the bytes")]
        Self(sums.map(|sum| sum as f32))
    }
}

impl HalfDot for Eight {
    type Pairs = [u32; 8];

    #[inline(always)]
    unsafe fn weights(from: *const u16) -> [u32; 8] {
        // SAFETY: the caller's.
        unsafe { from.cast::<[u32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn dot(self, activations: u32, weights: [u32; 8]) -> Self {
        // The lower half of a pair comes first in memory on the machines that this is built for.
        let low = |pair: u32| f32::from_bits(pair << 16);
        let high = |pair: u32| f32::from_bits(pair & 0xffff_0000);
        let (a, b) = (low(activations), high(activations));
        Self(std::array::from_fn(|i| self.0[i] + a * low(weights[i]) + b * high(weights[i])))
    }
}

instantiate!(Eight);

/// # Safety
/// As [`lanes::product`].
pub(super) unsafe fn product_i8(tiles: &ByteTiles<Eight>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}

/// # Safety
/// As [`lanes::product`].
pub(super) unsafe fn product_bf16(tiles: &HalfTiles<Eight>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}

/// The twin of the one with instructions for it.
pub(super) fn halve(numbers: &[f32], halves: &mut [u16]) {
    for (half, x) in halves.iter_mut().zip(numbers) {
        *half = super::half(*x);
    }
}
