//! Every set of instructions against 64-bit arithmetic, on ragged sizes.
#![expect(clippy::cast_precision_loss, reason = "small numbers")]

use super::*;
use crate::embedder::packed::Precision;
use crate::embedder::packed::linear::Dense;

/// Numbers from -1 to 1 that look random.
pub(in crate::embedder) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / f32::from(1_u16 << 11) / 4096.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[track_caller]
fn check(found: &[f32], expected: &[f64], tolerance: f64, case: &str) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() <= tolerance, "{case} at {i}: {found} is not {expected}");
    }
}

fn check_product(m: usize, k: usize, n: usize) {
    let (rows, before) = (numbers(1, m * k), numbers(2, m * n));
    let dense = Dense { weights: numbers(3, k * n), bias: numbers(4, n) };
    let mut expected = Vec::new();
    for row in 0..m {
        for column in 0..n {
            let products = (0..k).map(|i| f64::from(rows[row * k + i]) * f64::from(dense.weights[i * n + column]));
            expected.push(products.sum::<f64>() + f64::from(dense.bias[column]) + f64::from(before[row * n + column]));
        }
    }
    for (precision, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 3e-3), (Precision::Int8, 2.5e-2)] {
        for cpu in Cpu::all() {
            let weights = dense.clone().packed(cpu, precision);
            let mut out = before.clone();
            weights.add_product(&rows, &mut out, &mut Scratch::default());
            check(&out, &expected, tolerance * (k as f64).sqrt(), &format!("{precision} {cpu:?} {m}x{k}x{n}"));
        }
    }
}

#[test]
fn products_of_any_number_of_rows() {
    for m in (1..=27).chain([96, 97, 200]) {
        check_product(m, 32, 64);
    }
    check_product(13, 160, 96);
    check_product(0, 32, 32);
}

#[test]
fn a_row_has_the_same_product_in_any_company() {
    let (k, n) = (64, 32);
    let rows = numbers(5, 40 * k);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        for cpu in Cpu::all() {
            let weights = Dense { weights: numbers(6, k * n), bias: numbers(7, n) }.packed(cpu, precision);
            let product = |rows: &[f32]| {
                let mut out = vec![0.0; rows.len() / k * n];
                weights.product(rows, &mut out, &mut Scratch::default());
                out
            };
            let all = product(&rows);
            for first in [0, 7, 39] {
                let some = product(&rows[first * k..]);
                assert_eq!(some, all[first * n..], "{precision} {cpu:?} from {first}");
            }
        }
    }
}

#[test]
fn bytes_of_equal_and_of_huge_numbers() {
    for cpu in Cpu::all() {
        let mut bytes = [9; 16];
        let factors = [1.0; 16];
        assert!(quantise(cpu, &[0.0; 16], &factors, &mut bytes).1.abs() < 1e-9, "{cpu:?}");
        assert_eq!(bytes, [0; 16], "{cpu:?}");
        let mut row = [0.0; 16];
        (row[3], row[4]) = (-1e30, 3e30);
        let (step, zero) = quantise(cpu, &row, &factors, &mut bytes);
        assert_eq!((bytes[3], bytes[4], f32::from(bytes[0])), (0, 255, zero), "{cpu:?}");
        assert!((f64::from(step) - 4e30 / 255.0).abs() < 1e24, "{cpu:?}: {step}");
        // What is large can be told to count less.
        let factors: [f32; 16] = std::array::from_fn(|i| if i == 3 { 0.0 } else { 0.5 });
        let (step, _) = quantise(cpu, &row, &factors, &mut bytes);
        assert_eq!((bytes[3], bytes[4], bytes[0]), (0, 255, 0), "{cpu:?}");
        assert!((f64::from(step) - 1.5e30 / 255.0).abs() < 1e24, "{cpu:?}: {step}");
    }
}

#[test]
fn halves_are_those_of_the_portable_kernel() {
    let mut rows = numbers(13, 992);
    rows.extend([0.0, -0.0, 1e30, -1e-30, f32::MAX, 1.003_906_2, 1.011_718_8, -1.003_906_2].repeat(4));
    let mut expected = vec![0; rows.len()];
    halve(Cpu::portable(), &rows, &mut expected);
    assert_eq!(expected[992 + 5..992 + 7], [0x3f80, 0x3f82], "halves go to even");
    for cpu in Cpu::all() {
        let mut found = vec![1; rows.len()];
        halve(cpu, &rows, &mut found);
        assert_eq!(found, expected, "{cpu:?}");
    }
}

#[test]
fn attention_of_texts_of_any_length() {
    for (heads, size) in [(2, 32), (1, 64), (3, 24), (2, 16), (4, 8)] {
        for n_tokens in [1, 2, 3, 7, 8, 9, 15, 16, 17, 33] {
            check_attention(n_tokens, heads, size);
        }
    }
}

fn check_attention(n_tokens: usize, heads: usize, size: usize) {
    let width = heads * size;
    let qkv = numbers(8, n_tokens * 3 * width);
    let at = |token: usize, part: usize, head: usize, i: usize| {
        f64::from(qkv[token * 3 * width + part * width + head * size + i])
    };
    let mut expected = vec![0.0; n_tokens * width];
    for token in 0..n_tokens {
        for head in 0..heads {
            let score = |other| (0..size).map(|i| at(token, 0, head, i) * at(other, 1, head, i)).sum::<f64>().exp();
            let shares: Vec<f64> = (0..n_tokens).map(score).collect();
            let sum: f64 = shares.iter().sum();
            for i in 0..size {
                let mixed = shares.iter().enumerate().map(|(other, share)| share * at(other, 2, head, i));
                expected[token * width + head * size + i] = mixed.sum::<f64>() / sum;
            }
        }
    }
    for cpu in Cpu::all() {
        let mut scratch = Scratch::default();
        // What a longer text leaves behind must not be seen.
        attend(cpu, &numbers(9, 40 * 3 * width), &mut vec![0.0; 40 * width], (heads, size), &mut scratch);
        let mut out = vec![f32::NAN; n_tokens * width];
        attend(cpu, &qkv, &mut out, (heads, size), &mut scratch);
        check(&out, &expected, 2e-6, &format!("{cpu:?} {n_tokens} tokens, {heads} heads of {size}"));
    }
}

#[test]
fn norms_and_activations_are_those_of_the_textbook() {
    let (width, rows): (usize, Vec<f32>) = (48, numbers(10, 5 * 48).into_iter().map(|x| 6.0 * x).collect());
    let (gain, bias) = (numbers(11, width), numbers(12, width));
    let mut normal = Vec::new();
    for row in rows.chunks_exact(width) {
        let mean = row.iter().copied().map(f64::from).sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scaled = row.iter().map(|x| (f64::from(*x) - mean) / (variance + 1e-5).sqrt());
        normal.extend(scaled.zip(&gain).zip(&bias).map(|((x, gain), bias)| x * f64::from(*gain) + f64::from(*bias)));
    }
    let exact = |x: f64| {
        // The error function by its series, which converges everywhere.
        let (mut term, mut sum) = (x / 2_f64.sqrt(), 0.0);
        for n in 0..200 {
            sum += term / f64::from(2 * n + 1);
            term *= -x * x / 2.0 / f64::from(n + 1);
        }
        x / 2.0 * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
    };
    let tanh = |x: f64| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    for cpu in Cpu::all() {
        let mut found = rows.clone();
        normalise(cpu, &mut found, &gain, &bias, 1e-5);
        check(&found, &normal, 2e-6, &format!("{cpu:?} norm"));
        for (form, expected) in [(Gelu::Erf, &exact as &dyn Fn(f64) -> f64), (Gelu::Tanh, &tanh)] {
            let mut found = rows.clone();
            gelu(cpu, &mut found, form);
            let expected: Vec<f64> = rows.iter().map(|x| expected(f64::from(*x))).collect();
            check(&found, &expected, 2e-6, &format!("{cpu:?} {form:?}"));
        }
        let mut far = [-1e4, 1e4, -100.0, 100.0].repeat(4);
        gelu(cpu, &mut far, Gelu::Erf);
        check(&far[..4], &[0.0, 1e4, 0.0, 100.0], 1e-30, &format!("{cpu:?} far away"));
    }
}
