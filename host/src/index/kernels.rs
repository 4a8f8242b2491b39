//! The dot product, compiled for several instruction sets and chosen once at run time. The only file of the index with
//! `unsafe`; it never reads outside the slices, as all arithmetic is plain Rust.
use std::sync::OnceLock;

/// Dot product of two slices of equal length. The same function gives the same value for the same two slices.
pub(super) type Dot = fn(&[f32], &[f32]) -> f32;

/// The fastest product that this machine can run.
pub(super) fn dot() -> Dot {
    static CHOSEN: OnceLock<Dot> = OnceLock::new();
    *CHOSEN.get_or_init(choose)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calling code compiled for instructions that not every machine has")]
fn choose() -> Dot {
    if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
        // SAFETY: the machine has both features, as was just asked.
        return |left, right| unsafe { dot_avx2(left, right) };
    }
    dot_portable
}

#[cfg(not(target_arch = "x86_64"))]
fn choose() -> Dot {
    dot_portable
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(left: &[f32], right: &[f32]) -> f32 {
    dot_lanes::<true>(left, right)
}

fn dot_portable(left: &[f32], right: &[f32]) -> f32 {
    dot_lanes::<false>(left, right)
}

/// Independent sums. With fewer the compiler unrolls the loop over them before it would use the machine's vectors, which
/// makes the product three times slower; wider vectors than those of AVX2 gain nothing here.
const LANES: usize = 64;

/// `FUSED` rounds once a product and sum; without the instruction for it that would be a slow call.
#[expect(clippy::inline_always, reason = "has to take over the instruction set of its caller")]
#[inline(always)]
fn dot_lanes<const FUSED: bool>(left: &[f32], right: &[f32]) -> f32 {
    debug_assert_eq!(left.len(), right.len());
    let (left_blocks, left_tail) = left.as_chunks::<LANES>();
    let (right_blocks, right_tail) = right.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum = if FUSED { left.mul_add(*right, *sum) } else { left * right + *sum };
        }
    }
    let tail: f32 = left_tail.iter().zip(right_tail).map(|(left, right)| left * right).sum();
    // Halved again and again rather than summed in a row, which would not vectorise.
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        width /= 2;
    }
    sums[0] + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_agrees_with_the_portable_one() {
        let mut state = 7u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
        };
        for length in 0..=400 {
            let left: Vec<f32> = (0..length).map(|_| next()).collect();
            let right: Vec<f32> = (0..length).map(|_| next()).collect();
            let exact: f64 = left.iter().zip(&right).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            for kernel in [dot(), dot_portable] {
                let value = kernel(&left, &right);
                assert!((f64::from(value) - exact).abs() < 1e-4, "length {length}: {value} and {exact}");
                assert_eq!(value.to_bits(), kernel(&left, &right).to_bits());
            }
        }
    }
}
