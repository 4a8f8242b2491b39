//! The dot products, compiled for several instruction sets and chosen once at run time. The only file of the index with
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

/// Dot product of a coded query and a coded row of equal length.
pub(super) type CodeDot = fn(&[i16], &[i8]) -> i32;

/// The fastest product of codes that this machine can run.
pub(super) fn code_dot() -> CodeDot {
    static CHOSEN: OnceLock<CodeDot> = OnceLock::new();
    *CHOSEN.get_or_init(choose_codes)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calling code compiled for instructions that not every machine has")]
fn choose_codes() -> CodeDot {
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has the feature, as was just asked.
        return |query, row| unsafe { code_dot_avx2(query, row) };
    }
    code_dot_portable
}

#[cfg(not(target_arch = "x86_64"))]
fn choose_codes() -> CodeDot {
    code_dot_portable
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn code_dot_avx2(query: &[i16], row: &[i8]) -> i32 {
    code_sum(query, row)
}

fn code_dot_portable(query: &[i16], row: &[i8]) -> i32 {
    code_sum(query, row)
}

#[expect(clippy::inline_always, reason = "has to take over the instruction set of its caller")]
#[inline(always)]
fn code_sum(query: &[i16], row: &[i8]) -> i32 {
    query.iter().zip(row).map(|(query, row)| i32::from(*query) * i32::from(*row)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_codes_gives_the_same_number() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16).to_le_bytes()
        };
        for length in 0..=400 {
            let query: Vec<i16> = (0..length).map(|_| i16::from_le_bytes([next()[0], next()[1]]) / 4).collect();
            let row: Vec<i8> = (0..length).map(|_| i8::from_le_bytes([next()[0]])).collect();
            let exact: i64 = query.iter().zip(&row).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            for kernel in [code_dot(), code_dot_portable] {
                assert_eq!(i64::from(kernel(&query, &row)), exact, "length {length}");
            }
        }
    }

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
