//! The kernels for processors with AVX2 and FMA: eight numbers at a time. Bytes are multiplied in pairs whose sums must
//! fit 16 bits, so weights have seven bits here.
use std::arch::x86_64::{
    __m256, __m256i, _mm_cvtsi128_si64, _mm_packus_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cvtepi32_ps, _mm256_cvtps_epi32, _mm256_extracti128_si256, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_packs_epi32, _mm256_rcp_ps, _mm256_round_ps, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps,
};

use super::lanes::{self, ByteDot, ByteTiles, Lanes, instantiate};
use super::{Gelu, Scores};

/// Largest weight: two products of 255 by 63 fit 16 bits.
pub(super) const MAX_WEIGHT: f32 = 63.0;

/// Exists only where the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256);

impl Ymm {
    #[inline(always)]
    fn array(self) -> [f32; 8] {
        let mut array = [0.0; 8];
        // SAFETY: the array has eight numbers.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for Ymm {
    const N: usize = 8;
    const ROWS: usize = 6;
    const QUERIES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the instructions are there, and the caller's.
        unsafe {
            let whole = _mm256_cvtps_epi32(self.0);
            let short = _mm256_packs_epi32(whole, whole);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(short), _mm256_extracti128_si256::<1>(short));
            // Each half lies there twice; the lower eight bytes have the first four of it twice.
            let pairs = _mm_cvtsi128_si64(bytes).to_ne_bytes();
            let upper = _mm_cvtsi128_si64(std::arch::x86_64::_mm_srli_si128::<8>(bytes)).to_ne_bytes();
            to.cast::<[u8; 4]>().write([pairs[0], pairs[1], pairs[2], pairs[3]]);
            to.add(4).cast::<[u8; 4]>().write([upper[0], upper[1], upper[2], upper[3]]);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions are there, or there would be no value.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: as above.
        unsafe {
            // Twelve bits, and one step of Newton's that doubles them.
            let near = _mm256_rcp_ps(self.0);
            let off = _mm256_fnmadd_ps(self.0, near, _mm256_set1_ps(2.0));
            Self(_mm256_mul_ps(near, off))
        }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_round_ps::<8>(self.0) })
    }
    #[inline(always)]
    fn scale(self, power: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(power.0), _mm256_set1_epi32(127));
            Self(_mm256_mul_ps(self.0, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let array = self.array();
        let halves: [f32; 4] = std::array::from_fn(|i| array[i] + array[i + 4]);
        (halves[0] + halves[2]) + (halves[1] + halves[3])
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.array().into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn smallest(self) -> f32 {
        self.array().into_iter().fold(f32::INFINITY, f32::min)
    }
}

impl ByteDot for Ymm {
    type Sums = __m256i;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, activations: i32, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi32(activations), weights);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn floats(sums: __m256i) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_cvtepi32_ps(sums) })
    }
}

instantiate!(Ymm, "avx2,fma");

/// # Safety
/// As [`lanes::product`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_i8(tiles: &ByteTiles<Ymm>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}
