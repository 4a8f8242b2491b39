//! Text to token ids as the model's authors do it. The only file that names the tokenizers crate; cutting at the
//! model's limit is done here, so that the whole length is known.
use tokenizers::models::ModelWrapper;
use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use super::{EmbedError, TokenCount, Tokens};

/// A tokenizer.json, read.
pub(super) struct TextSplitter {
    tokenizer: Tokenizer,
    unknown: Option<u32>,
    highest: u32,
    max_tokens: usize,
    /// What the model puts around a text: `[CLS]` and `[SEP]`.
    n_marks: usize,
}

impl TextSplitter {
    /// The error is the reason alone.
    pub(super) fn new(json: &[u8], max_tokens: u32) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|cause| cause.to_string())?;
        // Either would hide how long a text is.
        tokenizer.with_truncation(None).map_err(|cause| cause.to_string())?;
        tokenizer.with_padding(None);
        let unknown = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
            ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
            ModelWrapper::BPE(model) => model.unk_token.as_ref().and_then(|token| tokenizer.token_to_id(token)),
            // It keeps its unknown token to itself; every published one calls it this.
            ModelWrapper::Unigram(_) => tokenizer.token_to_id("<unk>"),
        };
        let n_marks = tokenizer.get_post_processor().map_or(0, |marks| marks.added_tokens(false));
        let max_tokens = max_tokens as usize;
        if max_tokens <= n_marks {
            return Err(format!("{max_tokens} tokens leave no room beside {n_marks} marks"));
        }
        let highest = whole(tokenizer.get_vocab_size(true)).checked_sub(1).ok_or("it has no tokens")?;
        Ok(Self { tokenizer, unknown, highest, max_tokens, n_marks })
    }

    /// The highest id that a text can have, where ids have no gaps.
    pub(super) fn highest_id(&self) -> u32 {
        self.highest
    }

    /// The pieces of a word, without marks; none where it cannot be read.
    pub(super) fn pieces(&self, word: &str) -> Vec<u32> {
        self.tokenizer.encode_fast(word, false).map_or_else(|_| vec![], |encoding| encoding.get_ids().to_vec())
    }

    /// What the model reads. A text of which nothing is left, between no marks, reads as one unknown token.
    pub(super) fn split(&self, text: &str) -> Result<Tokens, EmbedError> {
        let refused = |cause: tokenizers::Error| EmbedError::Tokens { reason: cause.to_string() };
        let mut encoding = self.tokenizer.encode_fast(text, false).map_err(refused)?;
        let ids = encoding.get_ids();
        if ids.is_empty() && self.n_marks == 0 {
            let unknown = self.unknown.ok_or_else(|| EmbedError::Tokens { reason: "it has none".to_owned() })?;
            return Ok(Tokens { ids: vec![unknown], count: TokenCount { tokens: 1, unknown: 1 } });
        }
        let count = TokenCount {
            tokens: whole(ids.len() + self.n_marks),
            unknown: whole(ids.iter().filter(|id| Some(**id) == self.unknown).count()),
        };
        encoding.truncate(self.max_tokens - self.n_marks, 0, TruncationDirection::Right);
        // What was cut off comes along in pieces.
        encoding.take_overflowing();
        let marked = self.tokenizer.post_process(encoding, None, true).map_err(refused)?;
        Ok(Tokens { ids: marked.get_ids().to_vec(), count })
    }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = r###"{"version":"1.0","truncation":{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0},
        "padding":{"strategy":{"Fixed":9},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"[PAD]"},
        "added_tokens":[],"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},
        "post_processor":{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]},"decoder":null,
        "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
            "vocab":{"[PAD]":0,"[CLS]":1,"[SEP]":2,"[UNK]":3,"tea":4,"##pot":5}}}"###;

    /// Scores are fractions, which a JSON library may read in its own way.
    const UNIGRAM: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":null,"post_processor":null,"decoder":null,
        "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["tea",-1.5],["pot",-2.25]],"byte_fallback":false}}"#;

    #[track_caller]
    fn check(json: &str, max_tokens: u32, text: &str, ids: &[u32], tokens: u32, unknown: u32) {
        let splitter = TextSplitter::new(json.as_bytes(), max_tokens).unwrap();
        let expected = Tokens { ids: ids.to_vec(), count: TokenCount { tokens, unknown } };
        assert_eq!(splitter.split(text), Ok(expected));
    }

    #[test]
    fn marks_stand_around_the_text() {
        check(WORDS, 8, "Teapot tea", &[1, 4, 5, 4, 2], 5, 0);
        check(WORDS, 8, "", &[1, 2], 2, 0);
    }

    #[test]
    fn a_long_text_is_cut_and_counted_whole() {
        check(WORDS, 4, "tea tea qqq tea qqq", &[1, 4, 4, 2], 7, 2);
    }

    #[test]
    fn a_vocabulary_with_scores_is_read_too() {
        check(UNIGRAM, 8, "teapotx", &[1, 2, 0], 3, 1);
    }

    #[test]
    fn nothing_reads_as_one_unknown_token() {
        check(UNIGRAM, 8, "", &[0], 1, 1);
        let without = UNIGRAM.replace("<unk>", "none");
        let splitter = TextSplitter::new(without.as_bytes(), 8).unwrap();
        assert_eq!(splitter.split(""), Err(EmbedError::Tokens { reason: "it has none".to_owned() }));
    }

    #[test]
    fn the_highest_id_counts_marks_too() {
        assert_eq!(TextSplitter::new(WORDS.as_bytes(), 8).unwrap().highest_id(), 5);
        assert_eq!(TextSplitter::new(UNIGRAM.as_bytes(), 8).unwrap().highest_id(), 2);
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        assert!(TextSplitter::new(&WORDS.as_bytes()[..500], 8).is_err());
        let error = TextSplitter::new(WORDS.as_bytes(), 2).err();
        assert_eq!(error.as_deref(), Some("2 tokens leave no room beside 2 marks"));
    }
}
