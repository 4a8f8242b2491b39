//! The packed model against the stock graph: every form of encoder, precision and set of instructions.
use serde::Deserialize;

use super::*;
use crate::embedder::tract;
use tiny::{Form, PLAIN, WIDTH};

mod tiny;

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

/// The model of the repository.
fn model(precision: Precision, cpu: Cpu) -> PackedGraph {
    let file = tract::parse(include_bytes!("../../../../models/all-MiniLM-L6-v2/model.onnx")).unwrap();
    PackedGraph::new(&file, Pooling::Mean, 384, 256, precision, cpu).unwrap()
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
fn check_form(form: Form, pooling: Pooling) {
    let file = tiny::encoder(form);
    let sequences: [&[u32]; 4] = [&[1], &[5, 6, 7, 39, 0], &[3; 20], &[9, 8]];
    for cpu in Cpu::all() {
        for (precision, least) in [(Precision::F32, 0.999_999), (Precision::Bf16, 0.999_7), (Precision::Int8, 0.998)] {
            let packed = PackedGraph::new(&file, pooling, WIDTH, 20, precision, cpu).unwrap();
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
    check_form(Form { heads: 2, tanh: true, ..PLAIN }, Pooling::Cls);
    check_form(Form { norm_in_parts: true, has_types: true, ..PLAIN }, Pooling::Mean);
    check_form(Form { heads: 8, turned_weights: true, ..PLAIN }, Pooling::Mean);
}

#[track_caller]
fn check_refused(file: &ModelProto, dimensions: usize, max_tokens: usize, expected: &str) {
    let error = PackedGraph::new(file, Pooling::Mean, dimensions, max_tokens, Precision::F32, Cpu::detect()).err();
    let error = error.expect("it is no encoder");
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_no_encoder_is_refused_with_the_reason() {
    let plain = tiny::encoder(PLAIN);
    check_refused(&ModelProto::default(), WIDTH, 20, "the file has no graph");
    check_refused(&tiny::encoder(Form { odd: true, ..PLAIN }), WIDTH, 20, "a norm:");
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
    let graph =
        PackedGraph::new(&tiny::encoder(PLAIN), Pooling::Mean, WIDTH, 4, Precision::F32, Cpu::detect()).unwrap();
    assert_eq!(graph.run(&[]), Ok(Vec::new()));
    for sequence in [&[40_u32][..], &[1, 2, 3, 4, 5], &[]] {
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
            let tiny = PackedGraph::new(&file, Pooling::Mean, WIDTH, 32, precision, cpu).unwrap();
            check_company(&tiny, (1..=32).map(|length| &ids[..length]).collect());
        }
    }
}
