//! What can go wrong with a store, and what it is called at the contract. Never decides what to do about it.
use super::SNAPSHOT_LIFE;
use super::entry::Malformed;
use crate::contract::types::{Error, Refusal};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} the store at {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("the store at {} is in use by {holder}", path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("the store at {} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("no permission to {action} the store at {}", path.display())]
    Denied { action: &'static str, path: PathBuf },
    #[error("the disk of the store at {} is full", path.display())]
    Full { path: PathBuf },
    #[error("the store at {} is damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("the store at {} has format {found}; this program reads formats up to {known}", path.display())]
    NewerFormat { path: PathBuf, found: u32, known: u32 },
    /// A failure came between, and what was begun before it cannot be finished.
    #[error("the store at {} was interrupted by an earlier error; begin again", path.display())]
    Interrupted { path: PathBuf },
    #[error("the disk of the store at {} failed before the last relaxed writes were durable: they may be lost", path.display())]
    Lost { path: PathBuf },
    #[error("the store at {} is closed", path.display())]
    Closed { path: PathBuf },
    #[error("the store was written with model {recorded}, not {given}")]
    OtherModel { recorded: String, given: String },
    /// Whoever asked has to begin anew, with the entries.
    #[error("the changelog begins at {oldest}; what came right after {after} is no longer in it")]
    Cut { after: u64, oldest: u64 },
    #[error("the snapshot has passed its life of {} s", SNAPSHOT_LIFE.as_secs())]
    Expired,
    #[error("the queue of the writer is full, retry after {retry_after_ms} ms")]
    Busy { retry_after_ms: u32 },
    #[error("no entry with key {0:?}")]
    NotFound(String),
    #[error("{place}: {message}")]
    InvalidArgument { place: String, message: String },
    #[error("{place}: {message}")]
    Limit { place: String, message: String },
}

impl StoreError {
    /// Whether the request is at fault rather than the store.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, StoreError::NotFound(_) | StoreError::InvalidArgument { .. } | StoreError::Limit { .. })
    }

    pub(super) fn invalid(place: impl Into<String>, message: impl Into<String>) -> StoreError {
        StoreError::InvalidArgument { place: place.into(), message: message.into() }
    }

    pub(super) fn limit(place: impl Into<String>, message: impl Into<String>) -> StoreError {
        StoreError::Limit { place: place.into(), message: message.into() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        let text = match &error {
            StoreError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        match error {
            StoreError::InvalidArgument { place, message } => Error::InvalidArgument(Refusal { place, message }),
            StoreError::Limit { place, message } => Error::LimitExceeded(Refusal { place, message }),
            StoreError::NotFound(_) => Error::NotFound(text),
            StoreError::ReadOnly { .. } | StoreError::Denied { .. } => Error::AccessDenied(text),
            StoreError::Busy { retry_after_ms } => Error::Busy(retry_after_ms),
            StoreError::Expired => Error::Timeout,
            StoreError::Damaged { .. } => Error::Corrupt(text),
            StoreError::Io { .. }
            | StoreError::Locked { .. }
            | StoreError::Full { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Interrupted { .. }
            | StoreError::Lost { .. }
            | StoreError::Closed { .. }
            | StoreError::Cut { .. }
            | StoreError::OtherModel { .. } => Error::Unavailable(text),
        }
    }
}

/// The error of an operating system, by what it means for a store.
pub(super) fn io_error(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path },
        ErrorKind::PermissionDenied => StoreError::Denied { action, path },
        ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path },
        ErrorKind::UnexpectedEof => StoreError::Damaged { path, detail: "the file ends too early".to_owned() },
        ErrorKind::InvalidData => StoreError::Damaged { path, detail: error.to_string() },
        _ => StoreError::Io { action, path, source: Arc::new(error) },
    }
}

pub(super) fn damaged(path: &Path, table: &str, key: &str, error: &Malformed) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), detail: format!("row {key:?} of table {table}: {error}") }
}
