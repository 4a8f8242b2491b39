//! What the logic needs from its host: one trait an import, each with the functions that are used. The exact fake of all
//! of them is `fakes.rs`; the real ones are behind `component.rs`.
use crate::Result;
use crate::embedding::{ModelInfo, Purpose, TokenCount};
use crate::index::{Candidates, Corpus, Probe, Progress, Token};
use crate::logging::Level;
use crate::storage::{Applied, ApplyOptions, Operation, Pairs, Precondition, Range, Usage};
use crate::system::Stamp;
use crate::types::{Scope, Timestamp};

/// Time, order and randomness.
pub trait System {
    /// Now, in Unix milliseconds.
    fn now(&self) -> Timestamp;
    /// Reserves `count` numbers of one moment, in order.
    fn reserve(&self, count: u32) -> Stamp;
    /// Unpredictable bytes.
    fn random(&self, length: u32) -> Vec<u8>;
}

/// Messages for whoever runs the host.
pub trait Logging {
    /// Never carries the text of a memory.
    fn log(&self, level: Level, target: &str, message: &str);
}

/// Text to vectors.
pub trait Embedding {
    /// What a model made of some texts; perhaps not there yet.
    type Vectors;
    /// The present model.
    fn info(&self) -> Result<ModelInfo>;
    /// Returns at once, with one vector a text, in order.
    fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Self::Vectors>;
    /// Counts tokens without running the model.
    fn measure(&self, texts: &[String], purpose: Purpose) -> Result<Vec<TokenCount>>;
    /// Cosine of one vector with each of the others, by their places. Waits for the model.
    fn similarity(&self, vectors: &Self::Vectors, place: u32, others: &[u32]) -> Result<Vec<f32>>;
}

/// Finding entries by words and by meaning.
pub trait Index: Embedding {
    /// Splits each text as an entry would be.
    fn analyze(&self, texts: &[String]) -> Result<Vec<Vec<Token>>>;
    /// Counts over what lies in the scope.
    fn statistics(&self, scope: &Scope, terms: &[String]) -> Result<Corpus>;
    /// One answer a probe, in order.
    fn search(&self, probes: &[Probe], vectors: Option<&Self::Vectors>) -> Result<Vec<Candidates>>;
    /// The stored vectors of entries, entry by entry, and how many belong to each key.
    fn load(&self, keys: &[String]) -> Result<(Self::Vectors, Vec<u32>)>;
    /// Where the indexes stand, after waiting for them up to so many milliseconds.
    fn progress(&self, wait_ms: u32) -> Result<Progress>;
}

/// One consistent state of the store.
pub trait Snapshot {
    /// In the order of the keys.
    fn get(&self, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>>;
    /// Pairs of a range, in order.
    fn scan(&self, table: &str, range: &Range) -> Result<Pairs>;
}

/// Ordered tables, written in atomic batches.
pub trait Storage: Embedding {
    /// See [`Snapshot`].
    type Snapshot: Snapshot;
    /// Opens the present state.
    fn snapshot(&self) -> Result<Self::Snapshot>;
    /// Applies all operations or none.
    fn apply(
        &self,
        operations: &[Operation],
        preconditions: &[Precondition],
        vectors: Option<&Self::Vectors>,
        options: ApplyOptions,
    ) -> Result<Applied>;
    /// Returns when everything applied before is durable.
    fn sync(&self) -> Result<()>;
    /// Head and size.
    fn usage(&self) -> Result<Usage>;
}

/// All that the logic needs.
pub trait Host: System + Logging + Index + Storage {}
impl<T: System + Logging + Index + Storage> Host for T {}
