//! The kernels that are alike for every processor, written once over the width of its vectors. Each instruction set
//! instantiates them inside functions compiled for it; nothing here asks what the processor has.
//!
//! Whatever a kernel computes for a row or a sequence depends on that row or sequence alone: the sums of a row run in
//! one order however many rows share a block.
use super::{Gelu, PANEL, Scores};

/// A vector of 32-bit floats. A value exists only where the processor has the instructions of its type; the makers are
/// unsafe for that reason.
pub(super) trait Lanes: Copy {
    const N: usize;
    /// Rows of a product's block, as the registers allow.
    const ROWS: usize;
    /// Queries of an attention's block.
    const QUERIES: usize;

    /// # Safety
    /// The processor has the instructions.
    unsafe fn splat(x: f32) -> Self;
    /// # Safety
    /// The processor has the instructions, and `N` numbers can be read.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `N` numbers can be written.
    unsafe fn store(self, to: *mut f32);
    /// Writes whole numbers, the nearest from 0 to 255.
    ///
    /// # Safety
    /// `N` bytes can be written.
    unsafe fn store_bytes(self, to: *mut u8);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `1 / self` with a relative error below 3e-7, for numbers from 1 to 1e36.
    fn reciprocal(self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    /// `self · by + plus`.
    fn mul_add(self, by: Self, plus: Self) -> Self;
    fn round(self) -> Self;
    /// `self · 2^power`; powers are whole and from -126 to 127.
    fn scale(self, power: Self) -> Self;
    fn sum(self) -> f32;
    fn largest(self) -> f32;
    fn smallest(self) -> f32;
    /// Asks for what is there, which need not be anything, to be brought near.
    fn prefetch(_at: *const u8) {}
}

/// Sums of products of bytes: four of a row by four of each column.
pub(super) trait ByteDot: Lanes {
    /// `N` sums of 32 bits, or `N` columns of four weights.
    type Sums: Copy;
    /// What is taken from each number of a row before it is multiplied.
    const OFFSET: f32 = 0.0;
    /// # Safety
    /// The processor has the instructions.
    unsafe fn zero() -> Self::Sums;
    /// # Safety
    /// The processor has the instructions, and 4·`N` weights can be read.
    unsafe fn weights(from: *const i8) -> Self::Sums;
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dot(sums: Self::Sums, activations: i32, weights: Self::Sums) -> Self::Sums;
    /// The sums as floats.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn floats(sums: Self::Sums) -> Self;
}

/// Sums of products of 16-bit floats: two of a row by two of each column.
pub(super) trait HalfDot: Lanes {
    type Pairs: Copy;
    /// # Safety
    /// The processor has the instructions, and 2·`N` halves can be read.
    unsafe fn weights(from: *const u16) -> Self::Pairs;
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dot(self, activations: u32, weights: Self::Pairs) -> Self;
}

/// Where a product goes: row-major, `n` numbers a row.
#[derive(Clone, Copy)]
pub(super) struct Sink {
    pub(super) n: usize,
    pub(super) bias: *const f32,
    /// Whether it is added to what is there.
    pub(super) adds: bool,
    pub(super) out: *mut f32,
}

impl Sink {
    /// # Safety
    /// Row and columns lie within the output.
    #[inline(always)]
    unsafe fn finish<V: Lanes>(&self, row: usize, column: usize, sums: [V; 2]) {
        let at = row * self.n + column;
        for (half, sum) in sums.into_iter().enumerate() {
            let at = at + half * V::N;
            // SAFETY: the caller's.
            unsafe {
                let out = self.out.add(at);
                let sum = if self.adds { sum.add(V::load(out)) } else { sum };
                sum.store(out);
            }
        }
    }
}

/// The product of a block of rows with two vectors of columns.
pub(super) trait Tiles {
    const ROWS: usize;
    /// Columns of a block; a divisor of [`PANEL`].
    const COLUMNS: usize;
    /// # Safety
    /// The processor has the instructions; rows and columns are the product's.
    unsafe fn tile<const R: usize>(&self, row: usize, column: usize);
}

/// Bytes of a panel that are asked for ahead of time.
const AHEAD: usize = 1_024;

/// Rows that go through all panels before the next: theirs and a panel stay in the second-level cache.
const STRIPE: usize = 96;

/// All blocks of an `m` × `n` product; rows are split evenly over blocks.
///
/// # Safety
/// As [`Tiles::tile`].
#[inline(always)]
pub(super) unsafe fn product<T: Tiles>(tiles: &T, m: usize, n: usize) {
    let mut start = 0;
    while start < m {
        let stripe = STRIPE.min(m - start);
        let n_blocks = stripe.div_ceil(T::ROWS);
        for column in (0..n).step_by(T::COLUMNS) {
            let mut row = 0;
            for block in 0..n_blocks {
                let rows = (stripe - row).div_ceil(n_blocks - block);
                let at = start + row;
                // SAFETY: the caller's.
                unsafe {
                    match rows {
                        1 => tiles.tile::<1>(at, column),
                        2 => tiles.tile::<2>(at, column),
                        3 => tiles.tile::<3>(at, column),
                        4 => tiles.tile::<4>(at, column),
                        _ if T::ROWS <= 4 => unreachable!("a block has at most ROWS rows"),
                        5 => tiles.tile::<5>(at, column),
                        6 => tiles.tile::<6>(at, column),
                        _ if T::ROWS <= 6 => unreachable!("a block has at most ROWS rows"),
                        7 => tiles.tile::<7>(at, column),
                        8 => tiles.tile::<8>(at, column),
                        9 => tiles.tile::<9>(at, column),
                        10 => tiles.tile::<10>(at, column),
                        11 => tiles.tile::<11>(at, column),
                        12 => tiles.tile::<12>(at, column),
                        _ => unreachable!("a block has at most ROWS rows"),
                    }
                }
                row += rows;
            }
        }
        start += stripe;
    }
}

/// A product of floats.
pub(super) struct FloatTiles<V> {
    pub(super) rows: *const f32,
    pub(super) panels: *const f32,
    pub(super) k: usize,
    pub(super) sink: Sink,
    pub(super) lanes: std::marker::PhantomData<V>,
}

impl<V: Lanes> Tiles for FloatTiles<V> {
    const ROWS: usize = V::ROWS;
    const COLUMNS: usize = 2 * V::N;

    #[inline(always)]
    unsafe fn tile<const R: usize>(&self, row: usize, column: usize) {
        let k = self.k;
        // SAFETY: rows have `k` numbers, panels `k` times `PANEL`, the bias one a column.
        unsafe {
            let rows = self.rows.add(row * k);
            let panel = self.panels.add(column / PANEL * PANEL * k + column % PANEL);
            let bias = [V::load(self.sink.bias.add(column)), V::load(self.sink.bias.add(column + V::N))];
            let mut sums = [bias; R];
            for i in 0..k {
                let weights = [V::load(panel.add(i * PANEL)), V::load(panel.add(i * PANEL + V::N))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*rows.add(r * k + i));
                    *sums = [x.mul_add(weights[0], sums[0]), x.mul_add(weights[1], sums[1])];
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                self.sink.finish(row + r, column, sums);
            }
        }
    }
}

/// A product of 16-bit floats, summed in 32 bits.
pub(super) struct HalfTiles<V> {
    pub(super) rows: *const u16,
    pub(super) panels: *const u16,
    /// Even.
    pub(super) k: usize,
    pub(super) sink: Sink,
    pub(super) lanes: std::marker::PhantomData<V>,
}

impl<V: HalfDot> Tiles for HalfTiles<V> {
    const ROWS: usize = V::ROWS;
    const COLUMNS: usize = 2 * V::N;

    #[inline(always)]
    unsafe fn tile<const R: usize>(&self, row: usize, column: usize) {
        let k = self.k;
        // SAFETY: as of `FloatTiles`; in a panel the pairs of a column lie together.
        unsafe {
            let rows = self.rows.add(row * k);
            let panel = self.panels.add(column / PANEL * PANEL * k + column % PANEL * 2);
            let bias = [V::load(self.sink.bias.add(column)), V::load(self.sink.bias.add(column + V::N))];
            let mut sums = [bias; R];
            for i in 0..k / 2 {
                let at = panel.add(i * 2 * PANEL);
                let weights = [V::weights(at), V::weights(at.add(2 * V::N))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = rows.add(r * k + 2 * i).cast::<u32>().read_unaligned();
                    *sums = [sums[0].dot(x, weights[0]), sums[1].dot(x, weights[1])];
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                self.sink.finish(row + r, column, sums);
            }
        }
    }
}

/// A product of bytes, summed in 32 bits and scaled back.
pub(super) struct ByteTiles<V> {
    pub(super) rows: *const u8,
    /// One a row.
    pub(super) scales: *const f32,
    /// What 0 became, in the steps of its row's scale.
    pub(super) zeros: *const f32,
    pub(super) panels: *const i8,
    /// One a column.
    pub(super) column_scales: *const f32,
    /// The sum of a column's weights, scaled.
    pub(super) column_sums: *const f32,
    /// A multiple of four.
    pub(super) k: usize,
    pub(super) sink: Sink,
    pub(super) lanes: std::marker::PhantomData<V>,
}

impl<V: ByteDot> Tiles for ByteTiles<V> {
    const ROWS: usize = V::ROWS;
    const COLUMNS: usize = 2 * V::N;

    #[inline(always)]
    unsafe fn tile<const R: usize>(&self, row: usize, column: usize) {
        let k = self.k;
        // SAFETY: as of `FloatTiles`; in a panel four of a column lie together.
        unsafe {
            let rows = self.rows.add(row * k);
            let panel = self.panels.add(column / PANEL * PANEL * k + column % PANEL * 4);
            let mut sums = [[V::zero(); 2]; R];
            for i in 0..k / 4 {
                let at = panel.add(i * 4 * PANEL);
                V::prefetch(at.wrapping_add(AHEAD).cast());
                V::prefetch(at.wrapping_add(AHEAD + 64).cast());
                let weights = [V::weights(at), V::weights(at.add(4 * V::N))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = rows.add(r * k + 4 * i).cast::<i32>().read_unaligned();
                    *sums = [V::dot(sums[0], x, weights[0]), V::dot(sums[1], x, weights[1])];
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let scale = V::splat(*self.scales.add(row + r));
                // Taken from the bias, as 0 was added to every number of the row.
                let zero = V::splat((V::OFFSET - *self.zeros.add(row + r)) * *self.scales.add(row + r));
                let scaled = |half: usize| {
                    let at = column + half * V::N;
                    let bias = zero.mul_add(V::load(self.column_sums.add(at)), V::load(self.sink.bias.add(at)));
                    V::floats(sums[half]).mul_add(scale.mul(V::load(self.column_scales.add(at))), bias)
                };
                self.sink.finish(row + r, column, [scaled(0), scaled(1)]);
            }
        }
    }
}

/// A row, each number times its factor, as bytes: the lowest number becomes 0, the highest 255, and what 0 becomes is
/// the second of the answer; the first is the step.
///
/// # Safety
/// The processor has the instructions; the row's length is a multiple of `N`, and factors and bytes are as many.
#[inline(always)]
pub(super) unsafe fn quantise<V: Lanes>(row: &[f32], factors: &[f32], bytes: &mut [u8]) -> (f32, f32) {
    // SAFETY: the caller's.
    unsafe {
        let (mut lowest, mut highest) = (V::splat(0.0), V::splat(0.0));
        for (chunk, factors) in row.chunks_exact(V::N).zip(factors.chunks_exact(V::N)) {
            let x = V::load(chunk.as_ptr()).mul(V::load(factors.as_ptr()));
            (lowest, highest) = (lowest.min(x), highest.max(x));
        }
        let (lowest, highest) = (lowest.smallest(), highest.largest());
        let step = ((highest - lowest) / 255.0).max(1e-12);
        // At least 0 and at most 255, so that adding one half and cutting off rounds it.
        let zero = (0.5 - lowest / step).floor();
        let (inverse, offset) = (V::splat(1.0 / step), V::splat(zero));
        let chunks = row.chunks_exact(V::N).zip(factors.chunks_exact(V::N));
        for ((chunk, factors), bytes) in chunks.zip(bytes.chunks_exact_mut(V::N)) {
            let x = V::load(chunk.as_ptr()).mul(V::load(factors.as_ptr()));
            x.mul_add(inverse, offset).store_bytes(bytes.as_mut_ptr());
        }
        (step, zero)
    }
}

/// `e^x` for `x` up to 80; what is below -87 counts as that. Relative error below 3e-7.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe {
        let x = x.max(V::splat(-87.0));
        let power = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        // ln 2 in two parts, the first of few bits: the difference is exact.
        let rest = power.mul_add(V::splat(-0.693_359_4), x);
        let rest = power.mul_add(V::splat(2.121_944_4e-4), rest);
        let mut sum = V::splat(1.0 / 720.0);
        for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum.mul_add(rest, V::splat(factor));
        }
        sum.scale(power)
    }
}

/// In place.
///
/// # Safety
/// The processor has the instructions; the length is a multiple of `N`.
#[inline(always)]
pub(super) unsafe fn gelu<V: Lanes>(values: &mut [f32], form: Gelu) {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        match form {
            // x / 2 · (1 + erf(x / √2)) with formula 7.1.26 of Abramowitz and Stegun, off by at most 1.5e-7.
            Gelu::Erf => {
                for chunk in values.chunks_exact_mut(V::N) {
                    let x = V::load(chunk.as_ptr());
                    let size = x.max(zero.sub(x));
                    let t = size.mul_add(V::splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2), one).reciprocal();
                    let mut sum = V::splat(1.061_405_4);
                    for factor in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
                        sum = sum.mul_add(t, V::splat(factor));
                    }
                    let tail = sum.mul(t).mul(exp(x.mul(x).mul(V::splat(-0.5))));
                    size.mul(V::splat(-0.5)).mul_add(tail, x.max(zero)).store(chunk.as_mut_ptr());
                }
            }
            // x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), which is x / (1 + e^-2…).
            Gelu::Tanh => {
                for chunk in values.chunks_exact_mut(V::N) {
                    let x = V::load(chunk.as_ptr());
                    let inner = x.mul(x).mul_add(V::splat(-0.071_354_82), V::splat(-1.595_769));
                    let power = exp(x.mul(inner).min(V::splat(80.0)));
                    x.mul(power.add(one).reciprocal()).store(chunk.as_mut_ptr());
                }
            }
        }
    }
}

/// In place, row by row.
///
/// # Safety
/// The processor has the instructions; `gain` and `bias` have the length of a row, which is a multiple of `N`.
#[inline(always)]
pub(super) unsafe fn normalise<V: Lanes>(rows: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let width = gain.len();
    #[expect(clippy::cast_precision_loss, reason = "widths are below 2^24")]
    let count = width as f32;
    // SAFETY: the caller's.
    unsafe {
        for row in rows.chunks_exact_mut(width) {
            let mut sum = V::splat(0.0);
            for chunk in row.chunks_exact(V::N) {
                sum = sum.add(V::load(chunk.as_ptr()));
            }
            let mean = V::splat(sum.sum() / count);
            let mut squares = V::splat(0.0);
            for chunk in row.chunks_exact(V::N) {
                let x = V::load(chunk.as_ptr()).sub(mean);
                squares = x.mul_add(x, squares);
            }
            let scale = V::splat(1.0 / (squares.sum() / count + epsilon).sqrt());
            for (i, chunk) in row.chunks_exact_mut(V::N).enumerate() {
                let x = V::load(chunk.as_ptr()).sub(mean).mul(scale);
                let (gain, bias) = (V::load(gain.as_ptr().add(i * V::N)), V::load(bias.as_ptr().add(i * V::N)));
                x.mul_add(gain, bias).store(chunk.as_mut_ptr());
            }
        }
    }
}

/// Attention of one sequence: rows of queries, keys and values side by side, each `heads` times `size` numbers.
///
/// # Safety
/// The processor has the instructions; `qkv` has three times as many numbers as `out`, which has whole rows.
#[inline(always)]
pub(super) unsafe fn attend<V: Lanes>(qkv: &[f32], out: &mut [f32], heads: usize, size: usize, scratch: &mut Scores) {
    let width = heads * size;
    let n_tokens = out.len() / width;
    let (padded, padded_size) = (n_tokens.next_multiple_of(16), size.next_multiple_of(16));
    // What was left here by another sequence must not be read as padding.
    scratch.keys.clear();
    scratch.keys.resize(size * padded, 0.0);
    scratch.values.clear();
    scratch.values.resize(n_tokens * padded_size, 0.0);
    scratch.shares.resize(V::QUERIES * padded, 0.0);
    scratch.mixed.resize(V::QUERIES * padded_size, 0.0);
    for head in 0..heads {
        for (token, row) in qkv.chunks_exact(3 * width).enumerate() {
            let key = &row[width + head * size..][..size];
            for (slot, x) in scratch.keys[token..].iter_mut().step_by(padded).zip(key) {
                *slot = *x;
            }
            let value = &row[2 * width + head * size..][..size];
            scratch.values[token * padded_size..][..size].copy_from_slice(value);
        }
        let mut first = 0;
        let n_blocks = n_tokens.div_ceil(V::QUERIES);
        for block in 0..n_blocks {
            let queries = (n_tokens - first).div_ceil(n_blocks - block);
            let job = Attention {
                queries: qkv[first * 3 * width + head * size..].as_ptr(),
                stride: 3 * width,
                size,
                n_tokens,
            };
            // SAFETY: the caller's; the scratch has just been given its sizes.
            unsafe {
                match queries {
                    1 => job.mix::<V, 1>(scratch),
                    2 => job.mix::<V, 2>(scratch),
                    3 => job.mix::<V, 3>(scratch),
                    4 => job.mix::<V, 4>(scratch),
                    _ if V::QUERIES <= 4 => unreachable!("a block has at most QUERIES rows"),
                    5 => job.mix::<V, 5>(scratch),
                    6 => job.mix::<V, 6>(scratch),
                    7 => job.mix::<V, 7>(scratch),
                    8 => job.mix::<V, 8>(scratch),
                    _ => unreachable!("a block has at most QUERIES rows"),
                }
            }
            for (i, mixed) in scratch.mixed.chunks_exact(padded_size).take(queries).enumerate() {
                out[(first + i) * width + head * size..][..size].copy_from_slice(&mixed[..size]);
            }
            first += queries;
        }
    }
}

/// A few queries of one head.
struct Attention {
    queries: *const f32,
    stride: usize,
    size: usize,
    n_tokens: usize,
}

impl Attention {
    /// # Safety
    /// The processor has the instructions; `R` rows of queries can be read; the scratch has room for the sequence.
    #[inline(always)]
    unsafe fn mix<V: Lanes, const R: usize>(&self, scratch: &mut Scores) {
        let (padded, padded_size) = (self.n_tokens.next_multiple_of(16), self.size.next_multiple_of(16));
        let (keys, values) = (scratch.keys.as_ptr(), scratch.values.as_ptr());
        let shares = scratch.shares.as_mut_ptr();
        let mixed = scratch.mixed.as_mut_ptr();
        // SAFETY: the caller's; the paddings are multiples of 16 and so of `N`.
        unsafe {
            for column in (0..padded).step_by(V::N) {
                let mut sums = [V::splat(0.0); R];
                for i in 0..self.size {
                    let key = V::load(keys.add(i * padded + column));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = V::splat(*self.queries.add(r * self.stride + i)).mul_add(key, *sum);
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    sum.store(shares.add(r * padded + column));
                }
            }
            let mut inverses = [V::splat(0.0); R];
            for (r, inverse) in inverses.iter_mut().enumerate() {
                let row = shares.add(r * padded);
                for i in self.n_tokens..padded {
                    *row.add(i) = -1e30;
                }
                let mut largest = V::load(row);
                for i in (V::N..padded).step_by(V::N) {
                    largest = largest.max(V::load(row.add(i)));
                }
                let largest = V::splat(largest.largest());
                let mut sum = V::splat(0.0);
                for i in (0..padded).step_by(V::N) {
                    // Padding adds e^-87, which is nothing beside the largest, which adds 1.
                    let share = exp(V::load(row.add(i)).sub(largest));
                    share.store(row.add(i));
                    sum = sum.add(share);
                }
                *inverse = V::splat(1.0 / sum.sum());
            }
            let mut column = 0;
            while column < padded_size {
                let is_pair = column + 2 * V::N <= padded_size;
                let mut sums = [[V::splat(0.0); 2]; R];
                for token in 0..self.n_tokens {
                    let value = values.add(token * padded_size + column);
                    let first = V::load(value);
                    // A lone vector is taken twice and the second sum ignored.
                    let second = if is_pair { V::load(value.add(V::N)) } else { first };
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let share = V::splat(*shares.add(r * padded + token));
                        *sums = [share.mul_add(first, sums[0]), share.mul_add(second, sums[1])];
                    }
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    let to = mixed.add(r * padded_size + column);
                    sums[0].mul(inverses[r]).store(to);
                    if is_pair {
                        sums[1].mul(inverses[r]).store(to.add(V::N));
                    }
                }
                column += if is_pair { 2 * V::N } else { V::N };
            }
        }
    }
}

/// The entry points of an instruction set: the kernels above, compiled for it.
macro_rules! instantiate {
    ($lanes:ty $(, $features:literal)?) => {
        /// # Safety
        /// As [`lanes::product`] of these tiles.
        $(#[target_feature(enable = $features)])?
        pub(super) unsafe fn product_f32(tiles: &lanes::FloatTiles<$lanes>, m: usize, n: usize) {
            // SAFETY: the caller's.
            unsafe { lanes::product(tiles, m, n) }
        }

        /// # Safety
        /// As [`lanes::quantise`].
        $(#[target_feature(enable = $features)])?
        pub(super) unsafe fn quantise(row: &[f32], factors: &[f32], bytes: &mut [u8]) -> (f32, f32) {
            // SAFETY: the caller's.
            unsafe { lanes::quantise::<$lanes>(row, factors, bytes) }
        }

        /// # Safety
        /// As [`lanes::gelu`].
        $(#[target_feature(enable = $features)])?
        pub(super) unsafe fn gelu(values: &mut [f32], form: Gelu) {
            // SAFETY: the caller's.
            unsafe { lanes::gelu::<$lanes>(values, form) }
        }

        /// # Safety
        /// As [`lanes::normalise`].
        $(#[target_feature(enable = $features)])?
        pub(super) unsafe fn normalise(rows: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
            // SAFETY: the caller's.
            unsafe { lanes::normalise::<$lanes>(rows, gain, bias, epsilon) }
        }

        /// # Safety
        /// As [`lanes::attend`].
        $(#[target_feature(enable = $features)])?
        pub(super) unsafe fn attend(qkv: &[f32], out: &mut [f32], heads: usize, size: usize, scratch: &mut Scores) {
            // SAFETY: the caller's.
            unsafe { lanes::attend::<$lanes>(qkv, out, heads, size, scratch) }
        }
    };
}
pub(super) use instantiate;
