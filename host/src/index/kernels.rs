//! The dot products, compiled for several instruction sets and chosen once at run time. Each has a portable twin that the
//! tests compare it with; loads take whole blocks of slices and never read outside them.
#![expect(unsafe_code, reason = "instructions that not every machine has; see the safety comments")]
use std::sync::OnceLock;

use half::f16;

/// Products of two slices of equal length. The same function gives the same value for the same two slices.
pub(super) struct Kernels {
    /// A stored vector and a query.
    pub(super) stored: fn(&[f16], &[f32]) -> f32,
    /// Two stored vectors.
    pub(super) both: fn(&[f16], &[f16]) -> f32,
    /// A row of codes, each 128 above its value, and a coded query.
    pub(super) codes: fn(&[u8], &[i8]) -> i32,
    /// The same for some of the rows that lie side by side, in their order; the vector is filled anew.
    pub(super) listed: fn(&[u8], &[i8], &[u32], &mut Vec<i32>),
    /// Two rows of codes, each 128 above its value, as the product of the values.
    pub(super) rows: fn(&[u8], &[u8]) -> i32,
}

/// The fastest products that this machine can run.
pub(super) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| best(PORTABLE))
}

const PORTABLE: Kernels = Kernels {
    stored: portable::stored,
    both: portable::both,
    codes: portable::codes,
    listed: portable::listed,
    rows: portable::rows,
};

#[cfg(not(target_arch = "x86_64"))]
fn best(kernels: Kernels) -> Kernels {
    kernels
}

#[cfg(target_arch = "x86_64")]
fn best(mut kernels: Kernels) -> Kernels {
    use std::arch::is_x86_feature_detected as has;
    if has!("avx2") && has!("fma") && has!("f16c") {
        // SAFETY, here and below: the machine has the features, as was just asked.
        kernels.stored = |stored, query| unsafe { avx2::stored(stored, query) };
        kernels.both = |left, right| unsafe { avx2::both(left, right) };
        kernels.codes = |codes, query| unsafe { avx2::codes(codes, query) };
        kernels.listed = |codes, query, rows, sums| unsafe { avx2::listed(codes, query, rows, sums) };
        kernels.rows = |left, right| unsafe { avx2::rows(left, right) };
    }
    if has!("avx512f") && has!("avx512bw") && has!("avx512vnni") {
        kernels.stored = |stored, query| unsafe { avx512::stored(stored, query) };
        kernels.both = |left, right| unsafe { avx512::both(left, right) };
        kernels.codes = |codes, query| unsafe { avx512::codes(codes, query) };
        kernels.listed = |codes, query, rows, sums| unsafe { avx512::listed(codes, query, rows, sums) };
        kernels.rows = |left, right| unsafe { avx512::rows(left, right) };
    }
    kernels
}

/// So many rows ahead one is asked for.
pub(super) const AHEAD: usize = 8;

/// One product after the other, compiled for the instructions of the caller.
#[expect(clippy::inline_always, reason = "has to take over the instruction set of its caller")]
#[inline(always)]
fn each(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut Vec<i32>, dot: impl Fn(&[u8], &[i8]) -> i32) {
    let row = |row: u32| &codes[row as usize * query.len()..][..query.len()];
    sums.clear();
    for (at, number) in rows.iter().enumerate() {
        if let Some(ahead) = rows.get(at + AHEAD) {
            prefetch(row(*ahead));
        }
        sums.push(dot(row(*number), query));
    }
}

/// Asks for a row before it is needed.
#[inline]
pub(super) fn prefetch(row: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address lies in the slice, and a prefetch reads nothing.
        unsafe { _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

mod portable {
    use half::f16;

    pub(super) fn stored(stored: &[f16], query: &[f32]) -> f32 {
        const LANES: usize = 16;
        let (blocks, tail) = stored.as_chunks::<LANES>();
        let (query_blocks, query_tail) = query.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for (block, query) in blocks.iter().zip(query_blocks) {
            for (sum, (value, query)) in sums.iter_mut().zip(block.iter().zip(query)) {
                *sum += value.to_f32() * query;
            }
        }
        sums.iter().sum::<f32>() + rest(tail, query_tail)
    }

    pub(super) fn both(left: &[f16], right: &[f16]) -> f32 {
        left.iter().zip(right).map(|(left, right)| left.to_f32() * right.to_f32()).sum()
    }

    /// What is left over behind whole blocks.
    pub(super) fn rest(stored: &[f16], query: &[f32]) -> f32 {
        stored.iter().zip(query).map(|(value, query)| value.to_f32() * query).sum()
    }

    pub(super) fn codes(codes: &[u8], query: &[i8]) -> i32 {
        codes.iter().zip(query).map(|(code, query)| i32::from(*code) * i32::from(*query)).sum()
    }

    pub(super) fn listed(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut Vec<i32>) {
        super::each(codes, query, rows, sums, self::codes);
    }

    pub(super) fn rows(left: &[u8], right: &[u8]) -> i32 {
        left.iter().zip(right).map(|(left, right)| (i32::from(*left) - 128) * (i32::from(*right) - 128)).sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm_set1_epi8, _mm_xor_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16,
        _mm256_cvtepu8_epi16, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256,
    };

    use half::f16;

    use super::portable;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn stored(stored: &[f16], query: &[f32]) -> f32 {
        let (blocks, tail) = stored.as_chunks::<32>();
        let (query_blocks, query_tail) = query.as_chunks::<32>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for (block, query) in blocks.iter().zip(query_blocks) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block holds four times eight values.
                let (values, query) = unsafe {
                    (
                        _mm_loadu_si128(block.as_ptr().add(8 * lane).cast()),
                        _mm256_loadu_ps(query.as_ptr().add(8 * lane)),
                    )
                };
                *sum = _mm256_fmadd_ps(_mm256_cvtph_ps(values), query, *sum);
            }
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let mut lanes = [0.0f32; 8];
        // SAFETY: there is room for eight values.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        lanes.iter().sum::<f32>() + portable::rest(tail, query_tail)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn both(left: &[f16], right: &[f16]) -> f32 {
        let (blocks, tail) = left.as_chunks::<16>();
        let (right_blocks, right_tail) = right.as_chunks::<16>();
        let mut sums = [_mm256_setzero_ps(); 2];
        for (left, right) in blocks.iter().zip(right_blocks) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block holds two times eight values.
                let (left, right) = unsafe {
                    (
                        _mm_loadu_si128(left.as_ptr().add(8 * lane).cast()),
                        _mm_loadu_si128(right.as_ptr().add(8 * lane).cast()),
                    )
                };
                *sum = _mm256_fmadd_ps(_mm256_cvtph_ps(left), _mm256_cvtph_ps(right), *sum);
            }
        }
        let mut lanes = [0.0f32; 8];
        // SAFETY: there is room for eight values.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(sums[0], sums[1])) };
        lanes.iter().sum::<f32>() + portable::both(tail, right_tail)
    }

    /// Widened to 16 bits: `vpmaddubsw` would be shorter, but 255 · 127 · 2 does not fit its sums.
    #[target_feature(enable = "avx2")]
    pub(super) fn codes(codes: &[u8], query: &[i8]) -> i32 {
        let (blocks, tail) = codes.as_chunks::<16>();
        let (query_blocks, query_tail) = query.as_chunks::<16>();
        let mut sum = _mm256_setzero_si256();
        for (block, query) in blocks.iter().zip(query_blocks) {
            // SAFETY: a block holds sixteen bytes.
            let (codes, query) =
                unsafe { (_mm_loadu_si128(block.as_ptr().cast()), _mm_loadu_si128(query.as_ptr().cast())) };
            let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(codes), _mm256_cvtepi8_epi16(query));
            sum = _mm256_add_epi32(sum, products);
        }
        total(sum) + portable::codes(tail, query_tail)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn listed(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut Vec<i32>) {
        super::each(codes, query, rows, sums, |row, query| self::codes(row, query));
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn rows(left: &[u8], right: &[u8]) -> i32 {
        let (blocks, tail) = left.as_chunks::<16>();
        let (right_blocks, right_tail) = right.as_chunks::<16>();
        let flip = _mm_set1_epi8(-128);
        let mut sum = _mm256_setzero_si256();
        for (left, right) in blocks.iter().zip(right_blocks) {
            // SAFETY: a block holds sixteen bytes.
            let (left, right) =
                unsafe { (_mm_loadu_si128(left.as_ptr().cast()), _mm_loadu_si128(right.as_ptr().cast())) };
            let [left, right] = [left, right].map(|codes| _mm256_cvtepi8_epi16(_mm_xor_si128(codes, flip)));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(left, right));
        }
        total(sum) + portable::rows(tail, right_tail)
    }

    #[target_feature(enable = "avx2")]
    fn total(sums: __m256i) -> i32 {
        let mut lanes = [0i32; 8];
        // SAFETY: there is room for eight values.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
        lanes.iter().sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi8,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_xor_si512,
    };

    use half::f16;

    use super::portable;

    #[target_feature(enable = "avx512f")]
    pub(super) fn stored(stored: &[f16], query: &[f32]) -> f32 {
        let (blocks, tail) = stored.as_chunks::<64>();
        let (query_blocks, query_tail) = query.as_chunks::<64>();
        let mut sums = [_mm512_setzero_ps(); 4];
        for (block, query) in blocks.iter().zip(query_blocks) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block holds four times sixteen values.
                let (values, query) = unsafe {
                    (
                        _mm256_loadu_si256(block.as_ptr().add(16 * lane).cast()),
                        _mm512_loadu_ps(query.as_ptr().add(16 * lane)),
                    )
                };
                *sum = _mm512_fmadd_ps(_mm512_cvtph_ps(values), query, *sum);
            }
        }
        let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
        _mm512_reduce_add_ps(sum) + portable::rest(tail, query_tail)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn both(left: &[f16], right: &[f16]) -> f32 {
        let (blocks, tail) = left.as_chunks::<32>();
        let (right_blocks, right_tail) = right.as_chunks::<32>();
        let mut sums = [_mm512_setzero_ps(); 2];
        for (left, right) in blocks.iter().zip(right_blocks) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block holds two times sixteen values.
                let (left, right) = unsafe {
                    (
                        _mm256_loadu_si256(left.as_ptr().add(16 * lane).cast()),
                        _mm256_loadu_si256(right.as_ptr().add(16 * lane).cast()),
                    )
                };
                *sum = _mm512_fmadd_ps(_mm512_cvtph_ps(left), _mm512_cvtph_ps(right), *sum);
            }
        }
        _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1])) + portable::both(tail, right_tail)
    }

    /// `vpdpbusd` takes just this pair, which is why codes are stored 128 above their values.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn codes(codes: &[u8], query: &[i8]) -> i32 {
        let (pairs, _) = codes.as_chunks::<128>();
        let (query_pairs, _) = query.as_chunks::<128>();
        let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (pair, query) in pairs.iter().zip(query_pairs) {
            // SAFETY: a pair holds two blocks of 64 bytes.
            unsafe {
                even = _mm512_dpbusd_epi32(
                    even,
                    _mm512_loadu_si512(pair.as_ptr().cast()),
                    _mm512_loadu_si512(query.as_ptr().cast()),
                );
                odd = _mm512_dpbusd_epi32(
                    odd,
                    _mm512_loadu_si512(pair.as_ptr().add(64).cast()),
                    _mm512_loadu_si512(query.as_ptr().add(64).cast()),
                );
            }
        }
        let done = pairs.len() * 128;
        _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd)) + portable::codes(&codes[done..], &query[done..])
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn listed(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut Vec<i32>) {
        super::each(codes, query, rows, sums, |row, query| self::codes(row, query));
    }

    /// Neither side has signs, so the 128 of one is taken off with a second product against ones.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn rows(left: &[u8], right: &[u8]) -> i32 {
        let (blocks, tail) = left.as_chunks::<64>();
        let (right_blocks, right_tail) = right.as_chunks::<64>();
        let (flip, ones) = (_mm512_set1_epi8(-128), _mm512_set1_epi8(1));
        let (mut products, mut values) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (left, right) in blocks.iter().zip(right_blocks) {
            // SAFETY: a block holds 64 bytes.
            let (left, right) =
                unsafe { (_mm512_loadu_si512(left.as_ptr().cast()), _mm512_loadu_si512(right.as_ptr().cast())) };
            let right = _mm512_xor_si512(right, flip);
            products = _mm512_dpbusd_epi32(products, left, right);
            values = _mm512_dpbusd_epi32(values, ones, right);
        }
        let sum = _mm512_reduce_add_epi32(products) - 128 * _mm512_reduce_add_epi32(values);
        sum + portable::rows(tail, right_tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn byte(&mut self) -> u8 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_be_bytes()[0]
        }

        fn value(&mut self) -> f32 {
            f32::from(self.byte()) / 128.0 - 1.0
        }
    }

    /// Every set of kernels that this machine can run.
    fn sets() -> Vec<Kernels> {
        let mut sets = vec![PORTABLE, best(PORTABLE)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            // SAFETY: the machine has the features, as was just asked.
            sets.push(Kernels {
                stored: |stored, query| unsafe { avx2::stored(stored, query) },
                both: |left, right| unsafe { avx2::both(left, right) },
                codes: |codes, query| unsafe { avx2::codes(codes, query) },
                listed: |codes, query, rows, sums| unsafe { avx2::listed(codes, query, rows, sums) },
                rows: |left, right| unsafe { avx2::rows(left, right) },
            });
        }
        sets
    }

    #[test]
    fn every_kernel_of_codes_gives_the_exact_sum() {
        let mut random = Random(7);
        for length in 0..=400 {
            let left: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            let right: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            let query: Vec<i8> = right.iter().map(|code| code.cast_signed().max(-127)).collect();
            let codes: i64 = left.iter().zip(&query).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            let rows: i64 = left.iter().zip(&right).map(|(x, y)| (i64::from(*x) - 128) * (i64::from(*y) - 128)).sum();
            for kernels in sets() {
                assert_eq!(i64::from((kernels.codes)(&left, &query)), codes, "length {length}");
                assert_eq!(i64::from((kernels.rows)(&left, &right)), rows, "length {length}");
                let (twice, mut sums) = ([left.as_slice(), &right].concat(), vec![7]);
                (kernels.listed)(&twice, &query, &[1, 0, 0], &mut sums);
                let one = |row: &[u8]| (kernels.codes)(row, &query);
                assert_eq!(sums, [one(&right), one(&left), one(&left)], "length {length}");
            }
        }
    }

    #[test]
    fn every_kernel_of_stored_vectors_is_near_the_exact_sum() {
        let mut random = Random(7);
        for length in 0..=400 {
            let stored: Vec<f16> = (0..length).map(|_| f16::from_f32(random.value())).collect();
            let query: Vec<f32> = (0..length).map(|_| random.value()).collect();
            let exact: f64 = stored.iter().zip(&query).map(|(x, y)| x.to_f64() * f64::from(*y)).sum();
            for kernels in sets() {
                let value = (kernels.stored)(&stored, &query);
                assert!((f64::from(value) - exact).abs() < 1e-4, "length {length}: {value} and {exact}");
                let narrow: Vec<f16> = query.iter().map(|value| f16::from_f32(*value)).collect();
                let exact: f64 = stored.iter().zip(&narrow).map(|(x, y)| x.to_f64() * y.to_f64()).sum();
                let value = (kernels.both)(&stored, &narrow);
                assert!((f64::from(value) - exact).abs() < 1e-4, "length {length}: {value} and {exact}");
            }
        }
    }
}
