//! An encoder on packed tokens: the texts of a run behind each other, without padding, whatever their lengths. A
//! standard ONNX file is recognised and rebuilt of Cairn's own operators, which tract runs as it does its own.
//!
//! The vector of a text does not depend on the texts beside it, not in its last bit.
mod recognise;

mod blocks;
mod calibrate;
mod file;
mod linear;
mod numbers;

mod kernels;
mod ops;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use blocks::Blocks;
pub use kernels::Cpu;
use kernels::PANEL;
use ops::{Embed, Packed, Pool};

use super::{EmbedError, Pooling, WithTokens, unit};

/// What linear layers compute in. The rest is computed in 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F32,
    /// Products of 16-bit floats with the exponent of 32 bits: as good as `F32` in practice.
    Bf16,
    /// Products of bytes: weights scaled by column, activations by row.
    Int8,
}

impl Precision {
    /// The fastest of those that the processor has instructions for; bytes only where `takes_int8`, as they are the
    /// only ones that change a vector noticeably.
    #[must_use]
    pub fn fastest(cpu: Cpu, takes_int8: bool) -> Self {
        if takes_int8 && cpu.has_bytes() {
            return Self::Int8;
        }
        if cpu.has_fast_bf16() { Self::Bf16 } else { Self::F32 }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Bf16, Self::Int8];
        let found = all.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| "the precisions are f32, bf16 and int8".to_owned())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// How an encoder is packed and run.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) pooling: Pooling,
    pub(super) dimensions: usize,
    pub(super) max_tokens: usize,
    pub(super) precision: Precision,
    pub(super) cpu: Cpu,
}

/// Where a packed encoder is kept, and of which model it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) fingerprint: String,
}

impl Place {
    fn file(&self, form: &Form) -> PathBuf {
        self.folder.join(format!("{}-{}-{}.packed", self.fingerprint, form.precision, form.cpu.name()))
    }

    fn belonging(&self, form: &Form) -> String {
        file::belonging(&self.fingerprint, form.max_tokens, form.precision, form.cpu)
    }
}

/// A recognised model ready to run, shared by all threads.
pub(super) struct PackedGraph {
    plan: Arc<TypedSimplePlan>,
    width: usize,
    /// Rows of its table.
    words: usize,
    max_tokens: usize,
    path: String,
}

impl PackedGraph {
    /// What an earlier process kept; `None` where there is nothing to be relied on.
    pub(super) fn kept(form: &Form, place: &Place) -> Option<Self> {
        let path = place.file(form);
        let loaded = file::load(&path, &place.belonging(form), form.cpu);
        let loaded = loaded.and_then(|blocks| Self::of(blocks, form));
        loaded.inspect_err(|reason| tracing::debug!(file = %path.display(), reason, "no packed weights")).ok()
    }

    /// Packs the encoder in an ONNX file, and keeps it for later processes if there is a place. The error says why the
    /// file is not recognised.
    pub(super) fn new(file: &ModelProto, form: &Form, place: Option<&Place>) -> Result<Self, String> {
        let encoder = recognise::recognise(file, form.max_tokens)?;
        let width = encoder.width;
        if width != form.dimensions {
            return Err(format!("the output has {width} numbers a token, not {}", form.dimensions));
        }
        let is_odd = |count: &usize| !count.is_multiple_of(PANEL);
        let between = encoder.layers.iter().map(|layer| layer.up.outputs());
        if let Some(odd) = between.chain([width]).find(is_odd) {
            return Err(format!("its width of {odd} is no multiple of {PANEL}"));
        }
        let blocks = Blocks::new(encoder, form.cpu, form.precision);
        if let Some(place) = place {
            let path = place.file(form);
            if let Err(cause) = file::save(&blocks, &place.belonging(form), &path) {
                tracing::debug!(file = %path.display(), %cause, "packed weights are not kept");
            }
        }
        Self::of(blocks, form)
    }

    fn of(blocks: Blocks, form: &Form) -> Result<Self, String> {
        let (width, n_layers, precision) = (blocks.width, blocks.layers.len(), form.precision);
        let words = blocks.words.len() / width;
        let instructions = blocks.layers.first().map_or("no", |layer| layer.qkv.instructions());
        let plan = plan(blocks, form).map_err(|cause| format!("{cause:#}"))?;
        let path = format!("packed tokens, {n_layers} layers, {precision} products with {instructions} instructions");
        Ok(Self { plan, width, words, max_tokens: form.max_tokens, path })
    }

    /// How it is computed, in words.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// How many tokens it knows; they have the ids below.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// One run; no sequence is empty.
    pub(super) fn run(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.outputs(sequences)?;
        let pooled = outputs[0].try_as_plain_ram().and_then(|pooled| pooled.as_slice::<f32>()).map_err(refused)?;
        pooled.chunks_exact(self.width).map(directed).collect()
    }

    /// One run, with a unit vector for each token as well.
    pub(super) fn run_tokens(&self, sequences: &[&[u32]]) -> Result<Vec<WithTokens>, EmbedError> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.outputs(sequences)?;
        let pooled = outputs[0].try_as_plain_ram().and_then(|pooled| pooled.as_slice::<f32>()).map_err(refused)?;
        let states = outputs[1].try_as_plain_ram().and_then(|states| states.as_slice::<f32>()).map_err(refused)?;
        let mut states = states.chunks_exact(self.width);
        let texts = sequences.iter().zip(pooled.chunks_exact(self.width)).map(|(sequence, pooled)| {
            let tokens: Result<Vec<Vec<f32>>, EmbedError> =
                states.by_ref().take(sequence.len()).map(directed).collect();
            Ok(WithTokens { vector: directed(pooled)?, tokens: tokens? })
        });
        texts.collect()
    }

    /// A row for each sequence, pooled, and one for each token.
    fn outputs(&self, sequences: &[&[u32]]) -> Result<TVec<TValue>, EmbedError> {
        let (mut ids, mut positions, mut offsets) = (Vec::new(), Vec::new(), vec![0_i64]);
        for sequence in sequences {
            if sequence.len() > self.max_tokens {
                let reason = format!("{} tokens are more than the {} it reads", sequence.len(), self.max_tokens);
                return Err(EmbedError::Run { reason });
            }
            ids.extend(sequence.iter().map(|id| i64::from(*id)));
            positions.extend((0_i64..).take(sequence.len()));
            offsets.push(ids.len().try_into().expect("far fewer tokens than 2^63"));
        }
        let inputs: TractResult<TVec<TValue>> = [ids, positions, offsets]
            .iter()
            .map(|input| Ok(Tensor::from_shape(&[input.len()], input)?.into()))
            .collect();
        inputs.and_then(|inputs| self.plan.run(inputs)).map_err(refused)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn refused(cause: TractError) -> EmbedError {
    EmbedError::Run { reason: format!("{cause:#}") }
}

fn directed(row: &[f32]) -> Result<Vec<f32>, EmbedError> {
    unit(row.to_vec()).ok_or_else(|| EmbedError::Run { reason: "the vector has no direction".to_owned() })
}

/// The encoder wired of packed operators, from ids, positions and offsets to one vector a text and one a token.
fn plan(blocks: Blocks, form: &Form) -> TractResult<Arc<TypedSimplePlan>> {
    let Blocks { cpu, width, words, positions: places, norm, layers } = blocks;
    let mut wiring = Wiring { model: TypedModel::default(), n_nodes: 0 };
    let (tokens, marks) = (wiring.model.sym("T").to_dim(), wiring.model.sym("N").to_dim());
    let ids = wiring.model.add_source("ids", i64::fact([tokens.clone()]))?;
    let positions = wiring.model.add_source("positions", i64::fact([tokens]))?;
    let offsets = wiring.model.add_source("offsets", i64::fact([marks]))?;
    let mut x = wiring.add(Embed { cpu, norm, words, positions: places, width }, &[ids, positions])?;
    for layer in layers {
        x = wiring.add(layer, &[x, offsets])?;
    }
    let pooled = wiring.add(Pool { pooling: form.pooling, width }, &[x, offsets])?;
    wiring.model.select_output_outlets(&[pooled, x])?;
    wiring.model.into_runnable()
}

struct Wiring {
    model: TypedModel,
    n_nodes: usize,
}

impl Wiring {
    fn add(&mut self, layer: impl ops::Layer + 'static, inputs: &[OutletId]) -> TractResult<OutletId> {
        self.n_nodes += 1;
        let name = format!("{}.{}", self.n_nodes, ops::Layer::name(&layer));
        Ok(self.model.wire_node(name, Packed(Arc::new(layer)), inputs)?[0])
    }
}

#[cfg(test)]
mod tests;
