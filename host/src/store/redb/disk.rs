//! Disks under a database: files, and what a disk owes after a sync that failed.
use super::{BackendError, Disk, StorageBackend, engine_error};
use crate::store::StoreError;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are written again in one go.
const PIECE: usize = 1 << 20;

/// The disk that a file is. `path` is for errors.
pub(in crate::store) fn file_disk(path: &Path, file: File) -> Result<Disk, StoreError> {
    let disk = redb::backends::FileBackend::new(file);
    Ok(Arc::new(disk.map_err(|error| engine_error("open", path, &AtomicBool::new(false), error.into()))?))
}

/// A disk that outlives the databases opened on it. Clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    disk: Disk,
    /// A sync failed. What was written before it is perhaps in the memory of the system alone, which then no longer
    /// knows that it has to be written: later syncs succeed without it.
    unsure: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(disk: Disk) -> Shared {
        Shared { disk, unsure: Arc::default() }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether a sync failed since the disk was made sure of.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Acquire)
    }

    /// After a failed sync writes every byte again, as it reads now, and syncs. Before that nothing may be built on what
    /// the disk seems to hold. Does nothing otherwise.
    pub(super) fn make_sure(&self) -> io::Result<()> {
        if !self.is_unsure() {
            return Ok(());
        }
        let length = self.disk.len()?;
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        while offset < length {
            let size = usize::try_from(length - offset).map_or(PIECE, |left| left.min(PIECE));
            self.disk.read(offset, &mut piece[..size])?;
            self.disk.write(offset, &piece[..size])?;
            offset += size as u64;
        }
        self.disk.sync_data()?;
        self.unsure.store(false, Ordering::Release);
        Ok(())
    }
}

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.disk.sync_data();
        if synced.is_err() {
            self.unsure.store(true, Ordering::Release);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_range(from, to)
    }

    fn try_lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_shared_range(from, to)
    }

    fn lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.disk.lock_range(from, to)
    }

    fn lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.disk.lock_shared_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.disk.unlock_range(from, to)
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.query_lock_range(from, to)
    }
}
