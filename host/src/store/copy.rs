//! The store written anew: compacted in its place, or as a backup somewhere else. What was erased owes this, because its
//! bytes stay in free pages of the file until then; the debt is a row of the store, so that it survives a crash.
use super::place::{File, make_directory};
use super::redb::Writing;
use super::rows::table;
use super::{FILE, OpenOptions, Store, StoreError};
use crate::store::error::io_error;
use std::path::Path;
use std::time::Duration;

/// Row of `meta` that is there while something erased may still be in the file. It counts commits that erased.
const ERASED: &[u8] = b"erased";

/// What compacting did. Bytes of the file, all tenants together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub before: u64,
    pub after: u64,
}

/// What a backup is. Bytes of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub bytes: u64,
    /// What is wrong with it, each a sentence; none: it was opened, and everything in it was read and agrees.
    pub problems: Vec<String>,
}

/// Notes that the file has to be written anew.
pub(super) fn owe_erasure(writing: &mut Writing<'_>) -> Result<(), StoreError> {
    let count = writing.get(table::META, ERASED)?.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let count = count.map_or(0, u64::from_be_bytes).wrapping_add(1);
    writing.put(table::META, ERASED, &count.to_be_bytes())
}

impl Store {
    /// Whether bytes of what was erased may still be in the file.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn owes_erasure(&self) -> Result<bool, StoreError> {
        Ok(self.0.tables.read()?.get(table::META, ERASED)?.is_some())
    }

    /// Has `erase` called before a debt of erasures is paid: whatever is kept beside the file, such as indexes, must lose
    /// what was erased too. Where it fails the debt stays. Counts once.
    pub fn erase_beside(&self, erase: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static) {
        let _ = self.0.erases_beside.set(Box::new(erase));
    }

    /// Writes the file anew, without gaps and without a byte of what was erased before the call. Reads and writes go on
    /// meanwhile. Needs room for the new file beside the old one.
    ///
    /// # Errors
    /// The file stays as it was.
    pub fn compact(&self) -> Result<Compacted, StoreError> {
        let before = self.0.tables.length()?;
        let debt = self.0.tables.read()?.get(table::META, ERASED)?;
        if let (Some(_), Some(beside)) = (&debt, self.0.erases_beside.get()) {
            beside()?;
        }
        // What is erased from now on may have been copied already, and owes the next time.
        self.0.tables.rewrite(|writing| {
            if writing.get(table::META, ERASED)? == debt {
                writing.remove(table::META, ERASED)?;
            }
            Ok(())
        })?;
        Ok(Compacted { before, after: self.0.tables.length()? })
    }

    /// Writes the present state as a store of its own into a directory that is empty or not there, and reads it again.
    /// Reads and writes go on meanwhile. Broken off, it leaves nothing that could be taken for a store.
    ///
    /// # Errors
    /// `InvalidArgument` if the directory has something in it.
    pub fn backup(&self, directory: &Path) -> Result<Backup, StoreError> {
        if directory.exists() && !directory.is_dir() {
            return Err(StoreError::invalid("directory", format!("{} is not a directory", directory.display())));
        }
        make_directory(directory).map_err(|error| io_error("back up to", directory, error))?;
        let mut there = std::fs::read_dir(directory).map_err(|error| io_error("back up to", directory, error))?;
        if there.next().is_some() {
            return Err(StoreError::invalid("directory", format!("{} is not empty", directory.display())));
        }
        let file = directory.join(FILE);
        self.0.tables.copy_to(&File::new(file.clone()))?;
        let options =
            OpenOptions { wait: Duration::ZERO, holder: "a backup".to_owned(), cache_bytes: super::CACHE_BYTES };
        let problems = Store::verify(directory, &options)?;
        let bytes = file.metadata().map_err(|error| io_error("measure", &file, error))?.len();
        Ok(Backup { bytes, problems })
    }
}
