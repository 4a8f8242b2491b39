//! An encoder on packed tokens: the texts of a run behind each other, without padding, whatever their lengths. A
//! standard ONNX file is recognised and rebuilt of Cairn's own operators, which tract runs as it does its own.
//!
//! The vector of a text does not depend on the texts beside it, not in its last bit.
mod kernels;
mod linear;
mod ops;
mod recognise;

use std::fmt;
use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

pub use kernels::Cpu;
use kernels::PANEL;
use linear::Dense;
use ops::{Attention, Embed, FeedForward, LayerNorm, Linear, Packed, Pool};
use recognise::{Encoder, Layer};

use super::{EmbedError, Pooling, unit};

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
        if cpu.has_bf16() { Self::Bf16 } else { Self::F32 }
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

/// A recognised model ready to run, shared by all threads.
pub(super) struct PackedGraph {
    plan: Arc<TypedSimplePlan>,
    width: usize,
    max_tokens: usize,
    path: String,
}

impl PackedGraph {
    /// The error says why the file is not recognised.
    pub(super) fn new(
        file: &ModelProto,
        pooling: Pooling,
        dimensions: usize,
        max_tokens: usize,
        precision: Precision,
        cpu: Cpu,
    ) -> Result<Self, String> {
        let encoder = recognise::recognise(file, max_tokens)?;
        let width = encoder.width;
        if width != dimensions {
            return Err(format!("the output has {width} numbers a token, not {dimensions}"));
        }
        let is_odd = |count: &usize| !count.is_multiple_of(PANEL);
        let between = encoder.layers.iter().map(|layer| layer.up.outputs());
        if let Some(odd) = between.chain([width]).find(is_odd) {
            return Err(format!("its width of {odd} is no multiple of {PANEL}"));
        }
        let n_layers = encoder.layers.len();
        let plan = plan(encoder, pooling, precision, cpu).map_err(|cause| format!("{cause:#}"))?;
        let (plan, instructions) = plan;
        let path = format!("packed tokens, {n_layers} layers, {precision} products with {instructions} instructions");
        Ok(Self { plan, width, max_tokens, path })
    }

    /// How it is computed, in words.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// One run; no sequence is empty.
    pub(super) fn run(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let refused = |cause: TractError| EmbedError::Run { reason: format!("{cause:#}") };
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
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
        let outputs = inputs.and_then(|inputs| self.plan.run(inputs)).map_err(refused)?;
        let vectors = outputs[0].try_as_plain_ram().and_then(|vectors| vectors.as_slice::<f32>()).map_err(refused)?;
        let vectors = vectors.chunks_exact(self.width).map(|vector| {
            unit(vector.to_vec()).ok_or_else(|| EmbedError::Run { reason: "the vector has no direction".to_owned() })
        });
        vectors.collect()
    }
}

/// The encoder wired of packed operators, from ids, positions and offsets to one vector a text; and the instructions of
/// its products.
fn plan(
    encoder: Encoder,
    pooling: Pooling,
    precision: Precision,
    cpu: Cpu,
) -> TractResult<(Arc<TypedSimplePlan>, &'static str)> {
    let width = encoder.width;
    let mut wiring = Wiring { model: TypedModel::default(), n_nodes: 0 };
    let (tokens, marks) = (wiring.model.sym("T").to_dim(), wiring.model.sym("N").to_dim());
    let ids = wiring.model.add_source("ids", i64::fact([tokens.clone()]))?;
    let positions = wiring.model.add_source("positions", i64::fact([tokens]))?;
    let offsets = wiring.model.add_source("offsets", i64::fact([marks]))?;
    let embed = Embed { words: encoder.words, positions: encoder.positions, width };
    let mut x = wiring.add(embed, &[ids, positions])?;
    x = wiring.add(LayerNorm { cpu, norm: encoder.norm }, &[x])?;
    let mut instructions = "no";
    for layer in encoder.layers {
        let Layer { heads, query, key, value, output, attention_norm, up, gelu, down, norm } = layer;
        let qkv = Dense::joined([&query, &key, &value]).packed(cpu, precision);
        instructions = qkv.instructions();
        let qkv = wiring.add(Linear(qkv), &[x])?;
        let mixed = wiring.add(Attention { cpu, heads, size: width / heads }, &[qkv, offsets])?;
        x = wiring.add(Linear(output.packed(cpu, precision)), &[mixed, x])?;
        x = wiring.add(LayerNorm { cpu, norm: attention_norm }, &[x])?;
        let (up, down) = (up.packed(cpu, precision), down.packed(cpu, precision));
        x = wiring.add(FeedForward { cpu, up, gelu, down }, &[x])?;
        x = wiring.add(LayerNorm { cpu, norm }, &[x])?;
    }
    let pooled = wiring.add(Pool { pooling, width }, &[x, offsets])?;
    wiring.model.select_output_outlets(&[pooled])?;
    Ok((wiring.model.into_runnable()?, instructions))
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
