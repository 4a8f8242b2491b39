//! The operators of an encoder on packed tokens, as tract runs them: a row a token, the texts of a run behind each
//! other, and `offsets` where each begins. Linear layers, norms and activations do not care where a text ends.
use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

#[cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "the macros of tract name what they use without its path")
)]
use tract_onnx::tract_core::internal::*;

use super::kernels::{self, Cpu, Gelu, Scratch, Weights};
use crate::embedder::Pooling;

/// Tokens whose intermediate activations stay in the second-level cache.
const BLOCK: usize = 96;

thread_local! {
    static SCRATCH: RefCell<(Scratch, Vec<f32>)> = RefCell::default();
}

/// What an operator computes of its inputs: a row of `width` numbers for each row of the first input, or for each text.
pub(super) trait Layer: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn width(&self) -> usize;
    /// Which input has as many elements, less `surplus`, as the output has rows.
    fn rows(&self) -> (usize, usize) {
        (0, 0)
    }
    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor>;
}

/// A layer as an operator of tract's.
#[derive(Clone, Debug)]
pub(super) struct Packed(pub(super) Arc<dyn Layer>);

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Packed {}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl Op for Packed {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Packed {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec![self.0.eval(inputs)?.into_tvalue()])
    }
}

impl TypedOp for Packed {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (input, surplus) = self.0.rows();
        let rows = inputs[input].shape[0].clone() - surplus;
        Ok(tvec![f32::fact([rows, self.0.width().to_dim()])])
    }

    as_op!();
}

/// `embed(ids, positions)`: rows of two tables, added.
pub(super) struct Embed {
    pub(super) words: Table,
    /// Row-major, as many as the model reads.
    pub(super) positions: Vec<f32>,
    pub(super) width: usize,
}

/// One row a word, in the precision of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Table {
    Full(Vec<f32>),
    Half(Vec<f16>),
}

impl Table {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Full(numbers) => numbers.len(),
            Self::Half(numbers) => numbers.len(),
        }
    }
}

impl fmt::Debug for Embed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Embed({} words of {})", self.words.len() / self.width, self.width)
    }
}

impl Layer for Embed {
    fn name(&self) -> &'static str {
        "Embed"
    }

    fn width(&self) -> usize {
        self.width
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let (ids, positions) = args_2!(inputs);
        let (ids, positions) = (ids.try_as_plain_ram()?, positions.try_as_plain_ram()?);
        let (ids, positions) = (ids.as_slice::<i64>()?, positions.as_slice::<i64>()?);
        let mut out = Tensor::zero::<f32>(&[ids.len(), self.width])?;
        let mut rows = out.try_as_plain_ram_mut()?;
        let rows = rows.as_slice_mut::<f32>()?.chunks_exact_mut(self.width);
        for ((row, id), position) in rows.zip(ids).zip(positions) {
            let at = |index: i64, len: usize| {
                let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(self.width));
                start.filter(|start| *start < len).with_context(|| format!("{index} is in no table of the model"))
            };
            let position = &self.positions[at(*position, self.positions.len())?..][..self.width];
            let word = at(*id, self.words.len())?;
            match &self.words {
                Table::Full(words) => row.copy_from_slice(&words[word..][..self.width]),
                Table::Half(words) => {
                    for (x, half) in row.iter_mut().zip(&words[word..][..self.width]) {
                        *x = half.to_f32();
                    }
                }
            }
            for (x, y) in row.iter_mut().zip(position) {
                *x += y;
            }
        }
        Ok(out)
    }
}

/// `linear(x)`, or `linear(x, residual)`, which is added.
#[derive(Debug)]
pub(super) struct Linear(pub(super) Weights);

impl Layer for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn width(&self) -> usize {
        self.0.outputs()
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let x = inputs[0].try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let residual = match inputs.get(1) {
            Some(residual) => Some(residual.try_as_plain_ram()?),
            None => None,
        };
        let residual = match &residual {
            Some(residual) => Some(residual.as_slice::<f32>()?),
            None => None,
        };
        let mut out = Tensor::zero::<f32>(&[x.len() / self.0.inputs(), self.0.outputs()])?;
        let mut rows = out.try_as_plain_ram_mut()?;
        let rows = rows.as_slice_mut::<f32>()?;
        SCRATCH.with_borrow_mut(|(scratch, _)| self.0.product(x, residual, rows, scratch));
        Ok(out)
    }
}

/// `feed_forward(x)`: up, GELU, down, and `x` itself added; so many tokens at a time that what lies between stays near.
#[derive(Debug)]
pub(super) struct FeedForward {
    pub(super) cpu: Cpu,
    pub(super) up: Weights,
    pub(super) gelu: Gelu,
    pub(super) down: Weights,
}

impl Layer for FeedForward {
    fn name(&self) -> &'static str {
        "FeedForward"
    }

    fn width(&self) -> usize {
        self.down.outputs()
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let x = inputs[0].try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let (width, between) = (self.down.outputs(), self.up.outputs());
        let mut out = Tensor::zero::<f32>(&[x.len() / width, width])?;
        let mut rows = out.try_as_plain_ram_mut()?;
        let rows = rows.as_slice_mut::<f32>()?;
        SCRATCH.with_borrow_mut(|(scratch, inner)| {
            for (x, rows) in x.chunks(BLOCK * width).zip(rows.chunks_mut(BLOCK * width)) {
                inner.resize(x.len() / width * between, 0.0);
                self.up.product(x, None, inner, scratch);
                kernels::gelu(self.cpu, inner, self.gelu);
                self.down.product(inner, Some(x), rows, scratch);
            }
        });
        Ok(out)
    }
}

/// `attention(qkv, offsets)`: each text's tokens look at that text's.
#[derive(Debug)]
pub(super) struct Attention {
    pub(super) cpu: Cpu,
    pub(super) heads: usize,
    pub(super) size: usize,
}

impl Layer for Attention {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn width(&self) -> usize {
        self.heads * self.size
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let (qkv, offsets) = args_2!(inputs);
        let width = self.width();
        let mut out = Tensor::zero::<f32>(&[qkv.shape()[0], width])?;
        let (qkv, mut rows) = (qkv.try_as_plain_ram()?, out.try_as_plain_ram_mut()?);
        let (qkv, rows) = (qkv.as_slice::<f32>()?, rows.as_slice_mut::<f32>()?);
        SCRATCH.with_borrow_mut(|(scratch, _)| {
            for text in texts(&offsets)? {
                let (start, end) = (text.start * width, text.end * width);
                let (qkv, rows) = (qkv.get(3 * start..3 * end), rows.get_mut(start..end));
                let (Some(qkv), Some(rows)) = (qkv, rows) else { bail!("a text ends behind the tokens") };
                kernels::attend(self.cpu, qkv, rows, (self.heads, self.size), scratch);
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// `layer_norm(x)`.
#[derive(Debug)]
pub(super) struct LayerNorm {
    pub(super) cpu: Cpu,
    pub(super) norm: Norm,
}

/// The constants of a norm.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Layer for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn width(&self) -> usize {
        self.norm.gain.len()
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        // Tract hands a value over when nobody else needs it: then nothing is copied.
        let mut x = args_1!(inputs).into_tensor();
        let Norm { gain, bias, epsilon } = &self.norm;
        kernels::normalise(self.cpu, x.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?, gain, bias, *epsilon);
        Ok(x)
    }
}

/// `pool(x, offsets)`: one row a text, of any length.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) pooling: Pooling,
    pub(super) width: usize,
}

impl Layer for Pool {
    fn name(&self) -> &'static str {
        "Pool"
    }

    fn width(&self) -> usize {
        self.width
    }

    fn rows(&self) -> (usize, usize) {
        (1, 1)
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let (x, offsets) = args_2!(inputs);
        let x = x.try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let texts = texts(&offsets)?;
        let mut out = Tensor::zero::<f32>(&[texts.len(), self.width])?;
        let mut rows = out.try_as_plain_ram_mut()?;
        for (row, text) in rows.as_slice_mut::<f32>()?.chunks_exact_mut(self.width).zip(texts) {
            let tokens = x.get(text.start * self.width..text.end * self.width);
            let tokens = tokens.context("a text ends behind the tokens")?.chunks_exact(self.width);
            let pooled = match self.pooling {
                Pooling::Cls => tokens.take(1),
                Pooling::Mean => tokens.take(usize::MAX),
            };
            // The sum stands for the mean: it is scaled to length 1 in the end.
            for token in pooled {
                for (sum, x) in row.iter_mut().zip(token) {
                    *sum += x;
                }
            }
        }
        Ok(out)
    }
}

/// The rows of each text, at least one.
fn texts(offsets: &Tensor) -> TractResult<Vec<std::ops::Range<usize>>> {
    let offsets = offsets.try_as_plain_ram()?;
    let ranges = offsets.as_slice::<i64>()?.windows(2).map(|pair| {
        let range = usize::try_from(pair[0])?..usize::try_from(pair[1])?;
        ensure!(!range.is_empty(), "a text has no tokens");
        Ok(range)
    });
    ranges.collect()
}
