//! Where the file of a store is, and how another file takes its place. A file that is being written lies beside under a
//! name of its own, so that what has the store's name is always whole.
use super::StoreError;
use super::error::io_error;
use super::redb::{InMemoryBackend, StorageBackend, file_disk};
use std::fmt::Debug;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A disk that several may hold.
pub type Disk = Arc<dyn StorageBackend>;

/// See the module. Tests bring places whose disks fail.
pub trait Place: Debug + Send + Sync {
    /// What errors call it.
    fn path(&self) -> &Path;

    /// The store's file; none if there is none, or one without a byte. What lay beside it unfinished is removed.
    ///
    /// # Errors
    /// Those of opening a file.
    fn open(&self) -> Result<Option<Disk>, StoreError>;

    /// A new, empty file beside.
    ///
    /// # Errors
    /// Those of making a file.
    fn beside(&self) -> Result<Disk, StoreError>;

    /// Gives the file beside, whose bytes are synced, the store's name. After a crash the name means one of the two.
    ///
    /// # Errors
    /// The store's name means what it meant before.
    fn replace(&self) -> Result<(), StoreError>;

    /// Makes what the name means now survive a power cut.
    ///
    /// # Errors
    /// After a power cut the name may mean what it meant before.
    fn settle(&self) -> Result<(), StoreError>;

    /// Removes the file beside, if there is one.
    fn discard(&self);
}

/// A file in a directory.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    beside: PathBuf,
}

impl File {
    /// The file beside has the same name and `.new`.
    #[must_use]
    pub fn new(path: PathBuf) -> File {
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let beside = beside.into();
        File { path, beside }
    }

    /// Opens a file for its owner alone, and makes it where it is not there.
    fn open_at(&self, path: &Path, action: &'static str) -> Result<Disk, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| io_error(action, &self.path, error))?;
        file_disk(&self.path, file)
    }
}

impl Place for File {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Option<Disk>, StoreError> {
        match std::fs::remove_file(&self.beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                // It may lie there as long as it cannot be taken for the store.
                tracing::warn!(path = %self.beside.display(), %error, "an unfinished file cannot be removed");
            }
            _ => {}
        }
        match self.path.metadata() {
            Ok(file) if file.len() > 0 => self.open_at(&self.path, "open").map(Some),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open", &self.path, error)),
        }
    }

    fn beside(&self) -> Result<Disk, StoreError> {
        let disk = self.open_at(&self.beside, "write beside")?;
        disk.set_len(0).map_err(|error| io_error("write beside", &self.path, error))?;
        Ok(disk)
    }

    fn replace(&self) -> Result<(), StoreError> {
        std::fs::rename(&self.beside, &self.path).map_err(|error| io_error("replace", &self.path, error))
    }

    fn settle(&self) -> Result<(), StoreError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        sync_directory(directory).map_err(|error| io_error("sync the directory of", &self.path, error))
    }

    fn discard(&self) {
        if let Err(error) = std::fs::remove_file(&self.beside) {
            tracing::warn!(path = %self.beside.display(), %error, "an unfinished file cannot be removed");
        }
    }
}

/// Disks that nobody finds again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    disk: Mutex<Option<Disk>>,
    beside: Mutex<Option<Disk>>,
}

impl Place for Memory {
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn open(&self) -> Result<Option<Disk>, StoreError> {
        Ok(self.disk.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn beside(&self) -> Result<Disk, StoreError> {
        let disk: Disk = Arc::new(InMemoryBackend::new());
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk.clone());
        Ok(disk)
    }

    fn replace(&self) -> Result<(), StoreError> {
        if let Some(disk) = self.beside.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn discard(&self) {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Makes a directory and those above it for their owner alone, each name synced in the one above.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|above| !above.exists()).collect();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    for made in missing {
        if let Some(above) = made.parent().filter(|above| !above.as_os_str().is_empty()) {
            sync_directory(above)?;
        }
    }
    Ok(())
}

/// Makes the names of a directory survive a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { std::fs::File::open(directory)?.sync_all() } else { Ok(()) }
}
