//! Texts to unit vectors: what a model is ([`Encoder`]), and the queue in front of it ([`Embedder`]), which gathers the
//! texts of all callers into runs without waiting for more to come. Keeps vectors in a [`Cache`] at most, and never answers
//! a failure with one.
mod batch;
mod cache;
mod compute;
mod hash;
mod manifest;
mod model;
mod packed;
mod pending;
mod queue;
mod table;
mod tokens;
mod tract;

#[cfg(test)]
#[path = "../../../tests/tiny.rs"]
pub(crate) mod tiny;

use std::sync::Arc;

pub use crate::contract::embedding::{ModelInfo, Purpose, TokenCount};
pub use batch::{Embedder, Metrics};
pub(crate) use cache::VECTORS;
pub use cache::{Cache, CacheMetrics, CacheSize};
pub use hash::HashEncoder;
pub(crate) use manifest::MANIFEST;
pub use manifest::{Manifest, ModelFile, Pooling};
pub use model::{DEFAULT_MODEL, Model, ModelPath, ModelSource, list, resolve};
pub use packed::{Cpu, Precision};
pub use pending::Pending;
pub use queue::{Lane, MOST_WAITING};

/// Computes vectors. The real one runs a model through tract; its exact fake is [`HashEncoder`].
pub trait Encoder: Send + Sync {
    /// What the model reads of a text: its marks and the prefix of the purpose included, cut at the model's limit.
    /// Does not load the weights.
    fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError>;

    /// Loads what [`Encoder::encode`] needs, which otherwise does so itself. Further calls return at once.
    fn prepare(&self) -> Result<(), EmbedError>;

    /// One run: a unit vector for each sequence, in order. No sequence is empty; the vector of a sequence does not depend
    /// on the others.
    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// A unit vector of words with their weights, of what each means by itself, in a space of its own. None where the model
    /// has no table of words, or none of these is in it. Loads no weights.
    fn sketch(&self, _words: &[(&str, f32)]) -> Option<Vec<f32>> {
        None
    }

    /// The same run, with a unit vector for each token of a sequence as well. Not every model gives them.
    fn encode_tokens(&self, _sequences: &[&[u32]]) -> Result<Vec<WithTokens>, EmbedError> {
        Err(EmbedError::Run { reason: "it gives no vectors of tokens".to_owned() })
    }
}

/// What a run makes of a sequence, when its tokens are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct WithTokens {
    pub vector: Vec<f32>,
    /// One a token, marks included.
    pub tokens: Vec<Vec<f32>>,
}

/// A text as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// At most as many as the model reads.
    pub ids: Vec<u32>,
    /// Of the whole text.
    pub count: TokenCount,
}

/// Why there is no vector. Cloned to every text of a run that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    #[error("cannot load the {what} of the model at {place}: {reason}")]
    Load { what: &'static str, place: String, reason: String },
    #[error("no model `{name}`: known are {known}")]
    Unknown { name: String, known: String },
    #[error("too many texts wait for the model")]
    Busy { retry_after_ms: u32 },
    #[error("cannot split a text into tokens: {reason}")]
    Tokens { reason: String },
    #[error("cannot run the model: {reason}")]
    Run { reason: String },
    #[error("the model panicked: {reason}")]
    Panicked { reason: String },
    #[error("the embedder has been closed")]
    Closed,
}

impl From<EmbedError> for crate::contract::types::Error {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::Busy { retry_after_ms } => Self::Busy(retry_after_ms),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The vector scaled to length 1; `None` where that has no meaning: zero, NaN or infinity.
#[must_use]
pub fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let length = squares.sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for x in &mut vector {
        #[expect(clippy::cast_possible_truncation, reason = "at most 1 in size")]
        let scaled = (f64::from(*x) / length) as f32;
        *x = scaled;
    }
    Some(vector)
}

/// What is loaded when it is first needed.
type Load = Box<dyn FnOnce() -> Result<Arc<dyn Encoder>, EmbedError> + Send>;
