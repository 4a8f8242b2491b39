//! The fake model: words hashed to directions. Deterministic and instant, near for texts that share words; knows no
//! meaning.
use super::{EmbedError, Encoder, ModelInfo, Purpose, TokenCount, Tokens, unit};

/// The mark before every text, so that an empty one has a vector too; it weighs little.
const MARK: u32 = 0;
const MARK_WEIGHT: f32 = 0.125;
/// Directions a word takes part in.
const SPREAD: u64 = 8;

/// Bag of hashed words in so many dimensions.
#[derive(Clone, Copy, Debug)]
pub struct HashEncoder {
    dimensions: u32,
    max_tokens: u32,
}

impl HashEncoder {
    /// Reads the first `max_tokens - 1` words of a text.
    #[must_use]
    pub fn new(dimensions: u32, max_tokens: u32) -> Self {
        Self { dimensions, max_tokens }
    }

    #[must_use]
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            name: "hash".to_owned(),
            fingerprint: format!("hash-{}-{}", self.dimensions, self.max_tokens),
            dimensions: self.dimensions,
            max_tokens: self.max_tokens,
            languages: Vec::new(),
            token_vectors: false,
        }
    }
}

impl Encoder for HashEncoder {
    fn tokens(&self, text: &str, _purpose: Purpose) -> Result<Tokens, EmbedError> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let mut ids: Vec<u32> = std::iter::once(MARK).chain(words.map(word_id)).collect();
        let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        ids.truncate(self.max_tokens as usize);
        Ok(Tokens { ids, count: TokenCount { tokens, unknown: 0 } })
    }

    fn prepare(&self) -> Result<(), EmbedError> {
        Ok(())
    }

    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let vectors = sequences.iter().map(|ids| {
            let mut sum = vec![0.0f32; self.dimensions as usize];
            for &id in *ids {
                let weight = if id == MARK { MARK_WEIGHT } else { 1.0 };
                let mut state = u64::from(id);
                for _ in 0..SPREAD {
                    state = mix(state);
                    let place = (state >> 1) % u64::from(self.dimensions);
                    let sign = if state & 1 == 0 { weight } else { -weight };
                    sum[usize::try_from(place).expect("below the dimensions")] += sign;
                }
            }
            unit(sum).ok_or_else(|| EmbedError::Run { reason: "the words cancel each other out".to_owned() })
        });
        vectors.collect()
    }
}

/// FNV-1a of the lower-cased word; never the mark.
fn word_id(word: &str) -> u32 {
    let hash = word
        .to_lowercase()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(MARK + 1)
}

/// The step of `SplitMix64`.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(text: &str) -> Vec<f32> {
        let encoder = HashEncoder::new(64, 256);
        let tokens = encoder.tokens(text, Purpose::Document).unwrap();
        encoder.encode(&[&tokens.ids]).unwrap().remove(0)
    }

    fn cosine(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn the_same_words_have_the_same_vector() {
        assert_eq!(vector("Tea, no sugar!"), vector("tea no  SUGAR"));
        assert!((cosine("", "") - 1.0).abs() < 1e-6);
    }

    #[test]
    fn shared_words_bring_near() {
        let shared = cosine("the cat sleeps", "the cat eats");
        assert!(shared > 0.4 && shared < 0.95, "{shared}");
        assert!(cosine("the cat sleeps", "ein Hund bellt") < shared);
    }

    #[test]
    fn a_long_text_is_cut_and_counted_whole() {
        let tokens = HashEncoder::new(8, 3).tokens("a b c d", Purpose::Query).unwrap();
        assert_eq!((tokens.ids.len(), tokens.count), (3, TokenCount { tokens: 5, unknown: 0 }));
    }
}
