//! Memories on their way in and out: files of JSON lines, text, Markdown and chat messages become memories, and memories
//! become JSON lines. What a memory means is the engine's; nothing here prints, and nothing here reads a clock.
use std::future::Future;
use std::io;

use crate::contract::memory::{
    AddOptions, Archive, Comparison, Extraction, ListRequest, Model, Outcome, Page, Promise, Target, Version,
    WriteOptions,
};
use crate::contract::types::{Content, Error, Scope};
use crate::engine::Engine;

pub mod export;
pub mod formats;
pub mod import;
pub mod line;

#[cfg(test)]
mod fake;
mod input;
mod json;
mod limits;

pub use export::{ExportOptions, export};
pub use formats::Format;
pub use import::{ImportOptions, Imported, LineProblem, Progress, import};
pub use input::Input;
pub use line::{LinkJson, MemoryJson, VersionJson};

/// Version of the interchange format, as the first line of an export names it.
pub const INTERCHANGE: u32 = 1;

/// Why an import or an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot read {place}")]
    Read { place: String, source: io::Error },
    #[error("cannot write the export")]
    Write { source: io::Error },
    /// The input was made by a later version of this program.
    #[error("line {line} says interchange version {found}, and this program reads version {INTERCHANGE}")]
    Interchange { line: u64, found: String },
    /// The import is strict; the lines were reported one by one.
    #[error("{bad} of {lines} lines are bad, so nothing was written")]
    Strict { bad: u64, lines: u64 },
    /// The store does not take more lines. Those acknowledged are durable.
    #[error(
        "the store stopped the import after {acknowledged} lines: {}; the same command again continues",
        sentence(error)
    )]
    Stopped { acknowledged: u64, error: Error },
    #[error("cannot read the store for the export: {}", sentence(error))]
    Store { error: Error },
}

/// The part of the engine that transfers need. Replaced in tests.
trait Memories: Clone + Send + Sync + 'static {
    fn add(&self, items: Vec<Content>, promise: Promise) -> impl Future<Output = Answers> + Send;
    fn take_over(&self, items: Vec<Archive>, promise: Promise) -> impl Future<Output = Answers> + Send;
    fn list(&self, request: ListRequest) -> impl Future<Output = Result<Page, Error>> + Send;
    fn history(
        &self,
        ids: Vec<String>,
        limit: u32,
        before: Option<u32>,
    ) -> impl Future<Output = Result<Vec<Vec<Version>>, Error>> + Send;
    fn vectors(&self, ids: Vec<String>) -> impl Future<Output = Result<Vec<Option<Vec<Vec<f32>>>>, Error>> + Send;
    fn model(&self) -> impl Future<Output = Result<Option<Model>, Error>> + Send;
}

type Answers = Result<Vec<Result<Outcome, Error>>, Error>;

impl Memories for Engine {
    async fn add(&self, items: Vec<Content>, promise: Promise) -> Answers {
        let options = AddOptions {
            write: WriteOptions { promise, idempotency_key: None },
            comparison: Comparison::Exact,
            extraction: Extraction::None,
        };
        Ok(Engine::add(self, items, options).await?.items)
    }

    async fn take_over(&self, items: Vec<Archive>, promise: Promise) -> Answers {
        self.import_memories(items, WriteOptions { promise, idempotency_key: None }).await
    }

    async fn list(&self, request: ListRequest) -> Result<Page, Error> {
        Engine::list(self, request).await
    }

    async fn history(&self, ids: Vec<String>, limit: u32, before: Option<u32>) -> Result<Vec<Vec<Version>>, Error> {
        let targets = ids.into_iter().map(Target::Id).collect();
        Engine::history(self, targets, limit, before).await
    }

    async fn vectors(&self, ids: Vec<String>) -> Result<Vec<Option<Vec<Vec<f32>>>>, Error> {
        Engine::vectors(self, &ids).await
    }

    async fn model(&self) -> Result<Option<Model>, Error> {
        Ok(self.stats(everywhere()).await?.model)
    }
}

/// The scope without fields: no restriction on a read.
fn everywhere() -> Scope {
    Scope { user: None, agent: None, app: None, run: None }
}

/// An error as part of a message.
fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidArgument(refusal) | Error::LimitExceeded(refusal) if refusal.place.is_empty() => {
            refusal.message.clone()
        }
        Error::InvalidArgument(refusal) | Error::LimitExceeded(refusal) => {
            format!("{}: {}", refusal.place, refusal.message)
        }
        Error::NotFound(what) => format!("not found: {what}"),
        Error::Conflict(what) | Error::AccessDenied(what) | Error::Unavailable(what) => what.clone(),
        Error::Busy(ms) => format!("busy for {ms} ms"),
        Error::Timeout => "the deadline passed".to_owned(),
        Error::Corrupt(what) => format!("stored data cannot be read: {what}"),
        Error::Internal(what) => format!("internal error: {what}"),
    }
}
