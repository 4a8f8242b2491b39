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

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::blocks::{Block, Norm, Work};
use super::kernels::Cpu;
use super::numbers::Numbers;
use crate::embedder::Pooling;

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
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

/// `embed(ids, positions)`: rows of two tables, added, and their norm.
pub(super) struct Embed {
    pub(super) cpu: Cpu,
    pub(super) norm: Norm,
    pub(super) words: Table,
    /// Row-major, as many as the model reads.
    pub(super) positions: Numbers<f32>,
    pub(super) width: usize,
}

/// One row a word, in the precision of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Table {
    Full(Numbers<f32>),
    /// The bits of 16-bit floats.
    Half(Numbers<u16>),
}

impl Table {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Full(numbers) => numbers.len(),
            Self::Half(numbers) => numbers.len(),
        }
    }

    /// The row of a word. Panics where there is none.
    pub(super) fn read(&self, word: usize, row: &mut [f32]) {
        let at = word * row.len();
        match self {
            Self::Full(words) => row.copy_from_slice(&words[at..][..row.len()]),
            Self::Half(words) => words[at..][..row.len()].reinterpret_cast::<f16>().convert_to_f32_slice(row),
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
            self.words.read(word / self.width, row);
            for (x, y) in row.iter_mut().zip(position) {
                *x += y;
            }
            self.norm.apply(self.cpu, row);
        }
        Ok(out)
    }
}

impl Layer for Block {
    fn name(&self) -> &'static str {
        "Block"
    }

    fn width(&self) -> usize {
        self.norm.gain.len()
    }

    fn eval(&self, inputs: TVec<TValue>) -> TractResult<Tensor> {
        let (x, offsets) = args_2!(inputs);
        let texts = texts(&offsets)?;
        // Tract hands a value over when nobody else needs it: then nothing is copied.
        let mut x = x.into_tensor();
        let mut rows = x.try_as_plain_ram_mut()?;
        let rows = rows.as_slice_mut::<f32>()?;
        ensure!(texts.last().is_none_or(|text| text.end * self.width() == rows.len()), "texts are not all tokens");
        WORK.with_borrow_mut(|work| self.run(rows, &texts, work));
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
