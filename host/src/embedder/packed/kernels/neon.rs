//! The kernels for aarch64, every one of which has NEON: four numbers at a time. Bytes are multiplied eight at a time and
//! summed in pairs, with the instructions that all processors have.
use std::arch::aarch64::{
    float32x4_t, int32x4_t, vaddq_f32, vaddq_s32, vaddvq_f32, vcombine_u16, vcvtnq_u32_f32, vcvtq_f32_s32,
    vcvtq_s32_f32, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vget_high_s8, vget_low_s8, vld1q_f32, vld1q_s8, vmaxq_f32,
    vmaxvq_f32, vminq_f32, vminvq_f32, vmull_s8, vmulq_f32, vpaddlq_s16, vpaddq_s32, vqmovn_u16, vqmovn_u32,
    vrecpeq_f32, vrecpsq_f32, vreinterpret_u32_u8, vreinterpretq_f32_s32, vreinterpretq_s8_s32, vreinterpretq_s32_s8,
    vrndnq_f32, vshlq_n_s32, vst1_lane_u32, vst1q_f32, vsubq_f32,
};

use super::lanes::{self, ByteDot, ByteTiles, Lanes, instantiate};
use super::{Gelu, Scores};

#[derive(Clone, Copy)]
pub(super) struct Four(float32x4_t);

impl Lanes for Four {
    const N: usize = 4;
    const ROWS: usize = 12;
    const QUERIES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: every aarch64 has NEON.
        Self(unsafe { vdupq_n_f32(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the caller's; four bytes are one lane, at whatever address.
        unsafe {
            let halves = vqmovn_u32(vcvtnq_u32_f32(self.0));
            let bytes = vqmovn_u16(vcombine_u16(halves, halves));
            vst1_lane_u32::<0>(to.cast(), vreinterpret_u32_u8(bytes));
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: every aarch64 has NEON.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: as above.
        unsafe {
            // Eight bits, and two steps of Newton's that double them each.
            let near = vrecpeq_f32(self.0);
            let nearer = vmulq_f32(near, vrecpsq_f32(self.0, near));
            Self(vmulq_f32(nearer, vrecpsq_f32(self.0, nearer)))
        }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vminq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vfmaq_f32(plus.0, self.0, by.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vrndnq_f32(self.0) })
    }
    #[inline(always)]
    fn scale(self, power: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            // The exponent's bits of 2^power.
            let exponent = vaddq_s32(vcvtq_s32_f32(power.0), vdupq_n_s32(127));
            Self(vmulq_f32(self.0, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: as above.
        unsafe { vmaxvq_f32(self.0) }
    }
    #[inline(always)]
    fn smallest(self) -> f32 {
        // SAFETY: as above.
        unsafe { vminvq_f32(self.0) }
    }
}

impl ByteDot for Four {
    type Sums = int32x4_t;
    // Activations are made signed by taking 128 from them, which is given back as so many times the sum of a column.
    const OFFSET: f32 = 128.0;

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        // SAFETY: every aarch64 has NEON.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_s32_s8(vld1q_s8(from)) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, activations: i32, weights: int32x4_t) -> int32x4_t {
        // SAFETY: every aarch64 has NEON. Two products of 128 by 127 fit 16 bits.
        unsafe {
            let activations = vreinterpretq_s8_s32(vdupq_n_s32(activations ^ 0x8080_8080_u32.cast_signed()));
            let weights = vreinterpretq_s8_s32(weights);
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(activations), vget_low_s8(weights)));
            let high = vpaddlq_s16(vmull_s8(vget_high_s8(activations), vget_high_s8(weights)));
            vaddq_s32(sums, vpaddq_s32(low, high))
        }
    }
    #[inline(always)]
    unsafe fn floats(sums: int32x4_t) -> Self {
        // SAFETY: as above.
        Self(unsafe { vcvtq_f32_s32(sums) })
    }
}

instantiate!(Four);

/// # Safety
/// As [`lanes::product`].
pub(super) unsafe fn product_i8(tiles: &ByteTiles<Four>, m: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe { lanes::product(tiles, m, n) }
}
