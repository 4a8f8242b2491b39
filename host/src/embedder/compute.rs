//! How a model's vectors are computed: on packed tokens where its file is recognised, otherwise on the graph as the
//! file has it. Says which, and why.
use std::collections::BTreeMap;

use super::batch::guarded;
use super::packed::{Form, PackedGraph, Place};
use super::tract::{Graph, parse};
use super::{EmbedError, WithTokens};

/// A model ready to run, shared by all threads.
pub(super) enum Computation {
    Packed(PackedGraph),
    Stock { graph: Graph, reason: String },
}

impl Computation {
    /// What an earlier process kept there, if it did.
    pub(super) fn kept(form: &Form, place: &Place) -> Option<Self> {
        PackedGraph::kept(form, place).map(Self::Packed)
    }

    /// Reads an ONNX file; what is packed of it is kept if there is a place. The error is the reason alone.
    pub(super) fn new(onnx: &[u8], form: &Form, place: Option<&Place>) -> Result<Self, String> {
        let file = parse(onnx)?;
        let packed = crate::guarded::catch(|| PackedGraph::new(&file, form, place));
        match packed.unwrap_or_else(Err) {
            Ok(graph) => Ok(Self::Packed(graph)),
            Err(reason) => Ok(Self::Stock { graph: Graph::new(file, form.pooling, form.dimensions)?, reason }),
        }
    }

    /// How vectors are computed, in words.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Packed(graph) => graph.path().to_owned(),
            Self::Stock { reason, .. } => format!("the file's own graph in f32, as it is not recognised: {reason}"),
        }
    }

    /// Whether it reads tokens up to this id. The error says up to where, or why not.
    pub(super) fn reads(&self, highest: u32) -> Result<(), String> {
        match self {
            Self::Packed(graph) if (highest as usize) < graph.words() => Ok(()),
            Self::Packed(graph) => Err(format!("the weights have {}", graph.words())),
            Self::Stock { graph, .. } => {
                let ran = guarded(|| graph.run(&[&[highest]]));
                ran.map(drop).map_err(|cause| format!("which the weights do not take: {cause}"))
            }
        }
    }

    /// One run: a unit vector for each sequence, in order. No sequence is empty.
    pub(super) fn run(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        match self {
            Self::Packed(graph) => graph.run(sequences),
            Self::Stock { graph, .. } => by_length(graph, sequences),
        }
    }
}

impl Computation {
    /// As [`Computation::run`], with a vector for each token.
    pub(super) fn run_tokens(&self, sequences: &[&[u32]]) -> Result<Vec<WithTokens>, EmbedError> {
        match self {
            Self::Packed(graph) => graph.run_tokens(sequences),
            Self::Stock { .. } => {
                Err(EmbedError::Run { reason: "vectors of tokens need a model that is recognised".to_owned() })
            }
        }
    }
}

/// Runs the sequences of each length together.
fn by_length(graph: &Graph, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, sequence) in sequences.iter().enumerate() {
        groups.entry(sequence.len()).or_default().push(place);
    }
    let mut vectors = vec![Vec::new(); sequences.len()];
    for places in groups.into_values() {
        let group: Vec<&[u32]> = places.iter().map(|place| sequences[*place]).collect();
        for (place, vector) in places.into_iter().zip(graph.run(&group)?) {
            vectors[place] = vector;
        }
    }
    Ok(vectors)
}
