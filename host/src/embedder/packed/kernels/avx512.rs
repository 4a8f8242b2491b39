//! The kernels for processors with AVX-512: sixteen numbers at a time; products of bytes with VNNI, of 16-bit floats
//! with BF16.
use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_storeu_si256,
    _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_cvtneps_pbh, _mm512_cvtps_epi32, _mm512_cvtusepi32_epi8,
    _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_max_epi32, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_rcp14_ps, _mm512_reduce_add_ps,
    _mm512_reduce_max_ps, _mm512_reduce_min_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::lanes::{self, ByteDot, ByteTiles, HalfDot, HalfTiles, Lanes, instantiate};
use super::{Gelu, Scores};

/// Exists only where the processor has AVX-512 F, BW and VL.
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Lanes for Zmm {
    const N: usize = 16;
    const ROWS: usize = 12;
    const QUERIES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the instructions are there, and the caller's.
        unsafe {
            let whole = _mm512_max_epi32(_mm512_cvtps_epi32(self.0), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(whole));
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions are there, or there would be no value.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: as above.
        unsafe {
            // Fourteen bits, and one step of Newton's that doubles them.
            let near = _mm512_rcp14_ps(self.0);
            let off = _mm512_fnmadd_ps(self.0, near, _mm512_set1_ps(2.0));
            Self(_mm512_mul_ps(near, off))
        }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_roundscale_ps::<8>(self.0) })
    }
    #[inline(always)]
    fn scale(self, power: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_scalef_ps(self.0, power.0) })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    fn smallest(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_min_ps(self.0) }
    }
    #[inline(always)]
    fn prefetch(at: *const u8) {
        // SAFETY: it reads nothing; the instruction is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
}

impl ByteDot for Zmm {
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, activations: i32, weights: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(activations), weights) }
    }
    #[inline(always)]
    unsafe fn floats(sums: __m512i) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_cvtepi32_ps(sums) })
    }
}

impl HalfDot for Zmm {
    type Pairs = __m512bh;

    #[inline(always)]
    unsafe fn weights(from: *const u16) -> __m512bh {
        // SAFETY: the caller's; both types are 512 bits of which all are values.
        unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(self, activations: u32, weights: __m512bh) -> Self {
        // SAFETY: the caller's; both types are 512 bits of which all are values.
        unsafe {
            let activations: __m512bh = std::mem::transmute(_mm512_set1_epi32(activations.cast_signed()));
            Self(_mm512_dpbf16_ps(self.0, activations, weights))
        }
    }
}

instantiate!(Zmm, "avx512f,avx512bw,avx512vl");

/// # Safety
/// As [`lanes::product`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn product_i8(tiles: &ByteTiles<Zmm>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}

/// # Safety
/// As [`lanes::product`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn product_bf16(tiles: &HalfTiles<Zmm>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}

/// Each number as the nearest 16-bit float with the exponent of 32 bits; halves to even.
///
/// # Safety
/// The processor has the instructions; the lengths are equal and multiples of 16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn halve(numbers: &[f32], halves: &mut [u16]) {
    for (numbers, halves) in numbers.chunks_exact(16).zip(halves.chunks_exact_mut(16)) {
        // SAFETY: both chunks have sixteen; the types are 256 bits of which all are values.
        unsafe {
            let near = _mm512_cvtneps_pbh(_mm512_loadu_ps(numbers.as_ptr()));
            _mm256_storeu_si256(halves.as_mut_ptr().cast(), std::mem::transmute::<__m256bh, __m256i>(near));
        }
    }
}
