//! A model whose answers to some texts are known beforehand, so that a bench can time everything else. What is not known
//! is computed, remembered and counted.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::embedder::{EmbedError, Encoder, Purpose, Tokens};

/// Up to where the work of the model is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Tokens,
    Vectors,
}

/// See the module.
pub(super) struct Known {
    model: Arc<dyn Encoder>,
    extent: Extent,
    /// Of documents and of queries.
    tokens: [RwLock<HashMap<String, Tokens>>; 2],
    vectors: RwLock<HashMap<Vec<u32>, Vec<f32>>>,
    computed: AtomicUsize,
}

impl Known {
    pub(super) fn new(model: Arc<dyn Encoder>, extent: Extent) -> Self {
        Self { model, extent, tokens: Default::default(), vectors: RwLock::default(), computed: AtomicUsize::new(0) }
    }

    /// How often something within the extent was not known.
    pub(super) fn computed(&self) -> usize {
        self.computed.load(Ordering::Relaxed)
    }
}

impl Encoder for Known {
    fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError> {
        let known = &self.tokens[usize::from(purpose == Purpose::Query)];
        if let Some(tokens) = known.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(tokens.clone());
        }
        self.computed.fetch_add(1, Ordering::Relaxed);
        let tokens = self.model.tokens(text, purpose)?;
        known.write().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned(), tokens.clone());
        Ok(tokens)
    }

    fn prepare(&self) -> Result<(), EmbedError> {
        self.model.prepare()
    }

    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.extent == Extent::Tokens {
            return self.model.encode(sequences);
        }
        let known = self.vectors.read().unwrap_or_else(PoisonError::into_inner);
        let vectors: Option<Vec<Vec<f32>>> = sequences.iter().map(|ids| known.get(*ids).cloned()).collect();
        drop(known);
        if let Some(vectors) = vectors {
            return Ok(vectors);
        }
        self.computed.fetch_add(1, Ordering::Relaxed);
        let vectors = self.model.encode(sequences)?;
        let mut known = self.vectors.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(sequences.iter().map(|ids| ids.to_vec()).zip(vectors.iter().cloned()));
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::HashEncoder;

    #[test]
    fn what_was_asked_before_is_known() {
        for (extent, computed) in [(Extent::Tokens, 1), (Extent::Vectors, 2)] {
            let model = HashEncoder::new(32, 16);
            let known = Known::new(Arc::new(model), extent);
            for _ in 0..2 {
                let tokens = known.tokens("a cup of tea", Purpose::Query).unwrap();
                assert_eq!(Ok(&tokens), model.tokens("a cup of tea", Purpose::Query).as_ref());
                assert_eq!(known.encode(&[&tokens.ids]), model.encode(&[&tokens.ids]));
                assert_eq!(known.computed(), computed);
            }
        }
    }
}
