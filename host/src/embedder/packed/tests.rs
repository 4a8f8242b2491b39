//! The packed model against the stock graph: every form of encoder, precision and set of instructions.
use serde::Deserialize;

use super::*;
use crate::embedder::tiny::{self, PLAIN, WIDTH, WORDS};
use crate::embedder::tract;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<ReferenceText>,
}

#[derive(Deserialize)]
struct ReferenceText {
    ids: Vec<u32>,
    vector: Vec<f32>,
}

fn reference() -> Reference {
    serde_json::from_slice(include_bytes!("../../../../models/all-MiniLM-L6-v2/reference.json")).unwrap()
}

fn file() -> ModelProto {
    tract::parse(include_bytes!("../../../../models/all-MiniLM-L6-v2/model.onnx")).unwrap()
}

/// The model of the repository.
fn model(precision: Precision, cpu: Cpu) -> PackedGraph {
    let form = Form { pooling: Pooling::Mean, dimensions: 384, max_tokens: 256, precision, cpu };
    PackedGraph::new(&file(), &form, None).unwrap()
}

fn form(pooling: Pooling, max_tokens: usize, precision: Precision, cpu: Cpu) -> Form {
    Form { pooling, dimensions: WIDTH, max_tokens, precision, cpu }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Each text in a run with others: with all where the instructions are the fastest, with the short ones elsewhere.
#[track_caller]
fn check_fidelity(precision: Precision, least: f64, mean: f64) {
    let mut reference = reference();
    let mut cpus = Cpu::all();
    cpus.sort_by_key(|cpu| *cpu != Cpu::detect());
    for cpu in cpus {
        let sequences: Vec<&[u32]> = reference.texts.iter().map(|text| &text.ids[..]).collect();
        let vectors = model(precision, cpu).run(&sequences).unwrap();
        let cosines: Vec<f64> =
            vectors.iter().zip(&reference.texts).map(|(vector, text)| cosine(vector, &text.vector)).collect();
        let lowest = cosines.iter().copied().fold(1.0, f64::min);
        let average = cosines.iter().sum::<f64>() / f64::from(u32::try_from(cosines.len()).unwrap());
        assert!(lowest >= least && average >= mean, "{precision} {cpu:?}: lowest {lowest}, mean {average}");
        reference.texts.retain(|text| text.ids.len() < 40);
    }
}

#[test]
fn f32_vectors_are_those_of_the_reference() {
    check_fidelity(Precision::F32, 0.999_99, 0.999_999);
}

#[test]
fn bf16_vectors_are_those_of_the_reference() {
    check_fidelity(Precision::Bf16, 0.999_9, 0.999_95);
}

#[test]
fn int8_vectors_are_close_to_the_reference() {
    // With weights of eight bits the mean is 0.9975, of seven, as AVX2 has them, 0.9946.
    check_fidelity(Precision::Int8, 0.98, 0.994);
}

/// The packed form computes what the file's own graph does.
#[track_caller]
fn check_form(form: tiny::Form, pooling: Pooling) {
    let file = tiny::encoder(form);
    // Without 1, the padding of those that count their places.
    let sequences: [&[u32]; 4] = [&[2], &[5, 6, 7, 39, 0], &[3; 20], &[9, 8]];
    for cpu in Cpu::all() {
        for (precision, least) in [(Precision::F32, 0.999_999), (Precision::Bf16, 0.999_7), (Precision::Int8, 0.998)] {
            let packed = PackedGraph::new(&file, &self::form(pooling, 20, precision, cpu), None).unwrap();
            let stock = tract::Graph::new(file.clone(), pooling, WIDTH).unwrap();
            for (vector, sequence) in packed.run(&sequences).unwrap().iter().zip(sequences) {
                let cosine = cosine(vector, &stock.run(&[sequence]).unwrap()[0]);
                assert!(cosine >= least, "{form:?} {precision} {cpu:?}: {cosine} for {sequence:?}");
            }
        }
    }
}

#[test]
fn encoders_are_recognised_in_many_forms() {
    check_form(PLAIN, Pooling::Mean);
    check_form(tiny::Form { heads: 2, tanh: true, ..PLAIN }, Pooling::Cls);
    check_form(tiny::Form { norm_in_parts: true, has_types: true, ..PLAIN }, Pooling::Mean);
    check_form(tiny::Form { heads: 8, turned_weights: true, ..PLAIN }, Pooling::Mean);
    check_form(tiny::Form { counted: true, norm_in_parts: true, ..PLAIN }, Pooling::Mean);
}

#[track_caller]
fn check_refused(file: &ModelProto, dimensions: usize, max_tokens: usize, expected: &str) {
    let form = Form { dimensions, ..form(Pooling::Mean, max_tokens, Precision::F32, Cpu::detect()) };
    let error = PackedGraph::new(file, &form, None).err();
    let error = error.expect("it is no encoder");
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_no_encoder_is_refused_with_the_reason() {
    let plain = tiny::encoder(PLAIN);
    check_refused(&ModelProto::default(), WIDTH, 20, "the file has no graph");
    check_refused(&tiny::encoder(tiny::Form { odd: true, ..PLAIN }), WIDTH, 20, "a norm:");
    check_refused(&plain, 32, 20, "the output has 64 numbers a token, not 32");
    check_refused(&plain, WIDTH, 33, "positions:");
    let mut circle = plain.clone();
    for node in &mut circle.graph.as_mut().unwrap().node {
        if node.op_type == "Gather" {
            node.op_type = "Identity".to_owned();
            node.input = node.output.clone();
        }
    }
    check_refused(&circle, WIDTH, 20, "");
    let mut damaged = plain;
    damaged.graph.as_mut().unwrap().initializer.last_mut().unwrap().raw_data.pop();
    check_refused(&damaged, WIDTH, 20, "a norm:");
}

#[test]
fn ids_outside_the_table_and_long_texts_are_errors() {
    let form = form(Pooling::Mean, 4, Precision::F32, Cpu::detect());
    let graph = PackedGraph::new(&tiny::encoder(PLAIN), &form, None).unwrap();
    assert_eq!(graph.run(&[]), Ok(Vec::new()));
    for sequence in [&[u32::try_from(WORDS).unwrap()][..], &[1, 2, 3, 4, 5], &[]] {
        assert!(matches!(graph.run(&[&[1], sequence]), Err(EmbedError::Run { .. })), "{sequence:?}");
    }
    assert!(graph.run(&[&[1]]).is_ok());
}

#[track_caller]
fn check_company(model: &PackedGraph, mut sequences: Vec<&[u32]>) {
    let together = model.run(&sequences).unwrap();
    for (sequence, vector) in sequences.iter().zip(&together) {
        assert_eq!(model.run(&[sequence]).unwrap()[0], *vector, "alone, {}", model.path());
    }
    sequences.reverse();
    let mut reversed = model.run(&sequences).unwrap();
    reversed.reverse();
    assert_eq!(reversed, together, "{}", model.path());
}

#[test]
fn a_vector_is_the_same_in_any_company() {
    let reference = reference();
    let short = reference.texts.iter().map(|text| &text.ids[..]).filter(|ids| ids.len() < 40);
    let short: Vec<&[u32]> = short.collect();
    let ids: Vec<u32> = (0..32).map(|i| i * 7 % 40).collect();
    let file = tiny::encoder(PLAIN);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        check_company(&model(precision, Cpu::detect()), short.clone());
        for cpu in Cpu::all() {
            let tiny = PackedGraph::new(&file, &form(Pooling::Mean, 32, precision, cpu), None).unwrap();
            check_company(&tiny, (1..=32).map(|length| &ids[..length]).collect());
        }
    }
}

#[test]
fn tokens_have_vectors_too() {
    let form = form(Pooling::Cls, 20, Precision::F32, Cpu::detect());
    let graph = PackedGraph::new(&tiny::encoder(PLAIN), &form, None).unwrap();
    let sequences: [&[u32]; 3] = [&[1], &[5, 6, 7, 39, 0], &[3; 20]];
    let found = graph.run_tokens(&sequences).unwrap();
    assert_eq!(found.iter().map(|text| text.tokens.len()).collect::<Vec<_>>(), [1, 5, 20]);
    let vectors: Vec<&Vec<f32>> = found.iter().map(|text| &text.vector).collect();
    assert_eq!(vectors, graph.run(&sequences).unwrap().iter().collect::<Vec<_>>());
    // The first token stands for all here.
    assert!(found.iter().all(|text| text.tokens[0] == text.vector));
}

fn place(folder: &tempfile::TempDir, fingerprint: &str) -> Place {
    Place { folder: folder.path().to_owned(), fingerprint: fingerprint.to_owned() }
}

#[test]
fn what_was_kept_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny::encoder(PLAIN);
    let sequences: [&[u32]; 3] = [&[1], &[5, 6, 7, 39, 0], &[3; 20]];
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        for cpu in Cpu::all() {
            let (form, place) = (form(Pooling::Mean, 20, precision, cpu), place(&folder, "tiny"));
            assert!(PackedGraph::kept(&form, &place).is_none());
            let packed = PackedGraph::new(&file, &form, Some(&place)).unwrap();
            let kept = PackedGraph::kept(&form, &place).unwrap();
            assert_eq!(kept.run(&sequences), packed.run(&sequences));
            assert_eq!(kept.path(), packed.path());
        }
    }
}

#[test]
fn what_is_damaged_or_of_another_model_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let form = form(Pooling::Mean, 20, Precision::Int8, Cpu::detect());
    let mine = place(&folder, "mine");
    PackedGraph::new(&tiny::encoder(PLAIN), &form, Some(&mine)).unwrap();
    let path = mine.file(&form);
    let whole = std::fs::read(&path).unwrap();
    let other = place(&folder, "other");
    std::fs::copy(&path, other.file(&form)).unwrap();
    assert!(PackedGraph::kept(&form, &other).is_none(), "another model's");
    for length in [0, 8, 63, 64, 200, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(PackedGraph::kept(&form, &mine).is_none(), "cut to {length} bytes");
    }
    for place in (0..whole.len()).step_by(whole.len() / 97).chain([8, 12, 16, 48, 64]) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(PackedGraph::kept(&form, &mine).is_none(), "byte {place}");
    }
    assert!(PackedGraph::new(&tiny::encoder(PLAIN), &form, Some(&mine)).is_ok());
    assert!(PackedGraph::kept(&form, &mine).is_some());
}
