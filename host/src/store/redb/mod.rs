//! Tables of bytes in one file, by redb, which is named nowhere else. Turns its errors and panics into [`StoreError`],
//! and opens it anew after a failure, because it then refuses everything. Knows no tenant and no meaning of a row.
mod disk;
mod overlay;
mod rewrite;
mod transaction;

pub(super) use self::disk::file_disk;
pub(super) use self::transaction::{Reading, Span, Writing};

use self::disk::Shared;
use self::overlay::Overlay;
use super::StoreError;
use super::error::io_error;
use super::place::{Disk, Place};
use redb::{
    BackendError, Builder, Database, DatabaseError, Durability, ReadableDatabase, TableDefinition, TableHandle,
};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use redb::StorageBackend;
pub use redb::backends::InMemoryBackend;

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
/// Tables and keys that were written.
type Touched = BTreeSet<(String, Vec<u8>)>;

/// The open file.
pub(super) struct Tables {
    place: Box<dyn Place>,
    cache_bytes: usize,
    /// How long after a failed attempt to write again the next one is made.
    pause: Duration,
    /// Size of the file from which on each commit leaves it so that it need not be read as a whole after a crash. That
    /// takes a second sync.
    quick_above: u64,
    // One write transaction at a time, and none while the file is opened anew: two engines on one file would destroy it.
    writing: Mutex<()>,
    state: RwLock<State>,
    /// What was written since a new file was begun; none: no file is being written.
    touched: Mutex<Option<Touched>>,
    rewriting: Mutex<()>,
    /// A commit waits for the sync of a later one.
    owes_sync: AtomicBool,
    /// Such a commit may have been lost with the engine that held it.
    lost: AtomicBool,
}

struct State {
    /// None only if the file could not even be read after a failure.
    database: Option<Database>,
    disk: Shared,
    /// An error after which this database answers nothing but errors. Shared with its transactions.
    failed: Arc<AtomicBool>,
    /// Why writes are refused, and since when.
    refusal: Option<(StoreError, Instant)>,
    /// Held by all that read from this database.
    readers: Arc<()>,
    /// Databases of files that were replaced, until nobody reads from them.
    retired: Vec<(Database, Arc<()>)>,
    /// The file has the store's name, but after a power cut another one might.
    is_unsettled: bool,
}

/// What survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// This commit, and all before it.
    Now,
    /// Nothing of this commit until one that is synced.
    Later,
}

/// How tables are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    pub(super) cache_bytes: usize,
    pub(super) pause: Duration,
    pub(super) quick_above: u64,
}

impl Tables {
    pub(super) fn open(place: Box<dyn Place>, keeping: Keeping) -> Result<Tables, StoreError> {
        let Keeping { cache_bytes, pause, quick_above } = keeping;
        let disk = match place.open()? {
            Some(disk) => Shared::new(disk),
            None => make(&*place, cache_bytes).inspect_err(|_| place.discard())?,
        };
        let open = || open_database(place.path(), disk.clone(), cache_bytes);
        let database = match open() {
            Err(_) if disk.is_unsure() => {
                disk.make_sure().map_err(|error| io_error("sync", place.path(), error))?;
                open()?
            }
            opened => opened?,
        };
        let state = State {
            database: Some(database),
            disk,
            failed: Arc::default(),
            refusal: None,
            readers: Arc::default(),
            retired: vec![],
            is_unsettled: false,
        };
        Ok(Tables {
            place,
            cache_bytes,
            pause,
            quick_above,
            writing: Mutex::new(()),
            state: RwLock::new(state),
            touched: Mutex::default(),
            rewriting: Mutex::new(()),
            owes_sync: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> Result<u64, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.disk.disk().len().map_err(|error| io_error("measure", self.path(), error))
    }

    /// Sees all commits up to now and none after, for as long as the answer lives.
    pub(super) fn read(&self) -> Result<Reading, StoreError> {
        if !self.state.read().unwrap_or_else(PoisonError::into_inner).failed.load(Ordering::Acquire) {
            return self.begin_read();
        }
        let writing = self.write_lock();
        self.mend(&writing)?;
        self.begin_read()
    }

    fn begin_read(&self) -> Result<Reading, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let path = self.path().to_owned();
        let Some(database) = &state.database else { return Err(StoreError::Interrupted { path }) };
        let transaction = guarded("read", &path, &state.failed, || Ok(database.begin_read()?))?;
        Ok(Reading { transaction, path, failed: state.failed.clone(), _reader: state.readers.clone() })
    }

    /// Commits what `work` did, unless it fails or answers none.
    ///
    /// After an error nothing may be assumed about the commit until the store has been read again.
    pub(super) fn write<T>(
        &self,
        sync: Sync,
        work: impl FnOnce(&mut Writing<'_>) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let writing = self.write_lock();
        self.mend(&writing)?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((refusal, _)) = &state.refusal {
            return Err(refusal.clone());
        }
        let path = self.path();
        let database = state.database.as_ref().ok_or_else(|| StoreError::Interrupted { path: path.to_owned() })?;
        let mut refused = None;
        let done = guarded("write to", path, &state.failed, || {
            let mut transaction = database.begin_write()?;
            match sync {
                Sync::Now => {
                    transaction.set_durability(Durability::Immediate)?;
                    transaction.set_quick_repair(state.disk.len()? >= self.quick_above);
                }
                Sync::Later => transaction.set_durability(Durability::None)?,
            }
            let mut open = Writing {
                transaction: &transaction,
                path,
                failed: &state.failed,
                existing: transaction.list_tables()?.map(|table| table.name().to_owned()).collect(),
                tables: BTreeMap::new(),
                touched: self.touched().is_some().then(Touched::new),
            };
            let done = work(&mut open);
            if let (Some(all), Some(these)) = (&mut *self.touched(), open.touched.take()) {
                all.extend(these);
            }
            drop(open);
            match done {
                Ok(Some(done)) => {
                    transaction.commit()?;
                    self.owes_sync.store(sync == Sync::Later, Ordering::Release);
                    Ok(Some(done))
                }
                Ok(None) => {
                    transaction.abort()?;
                    Ok(None)
                }
                Err(error) => {
                    refused = Some(error);
                    transaction.abort()?;
                    Ok(None)
                }
            }
        });
        match refused {
            Some(error) => Err(error),
            None => done,
        }
    }

    /// Reads the whole file and compares its checksums. Writes wait meanwhile, reads do not. Nothing is repaired: that could
    /// mean to drop the newest commit, which may still be read.
    ///
    /// # Errors
    /// `Damaged` if a page is not as it was written.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        let writing = self.write_lock();
        self.mend(&writing)?;
        let disk = self.state.read().unwrap_or_else(PoisonError::into_inner).disk.disk().clone();
        let path = self.path();
        let is_sound = guarded("verify", path, &AtomicBool::new(false), || {
            let mut builder = Builder::new();
            // Told after the first of three looks only where the newest commit is not sound.
            builder.set_cache_size(self.cache_bytes).set_repair_callback(|session| {
                if (0.1..0.5).contains(&session.progress()) {
                    session.abort();
                }
            });
            match builder.create_with_backend(Overlay::over(disk)) {
                Err(DatabaseError::RepairAborted) => Ok(false),
                database => Ok(database?.check_integrity()?),
            }
        })?;
        let detail = || "pages are not as they were written".to_owned();
        if is_sound { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), detail: detail() }) }
    }

    /// Whether commits that were to be synced later may have been lost since this was last asked.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    fn write_lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touched(&self) -> MutexGuard<'_, Option<Touched>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the file ready to be written, where something came between: opens it anew after a failure, and again while
    /// only a full disk keeps it from being written. Where that is not possible it is opened for reading alone, with what
    /// repairing it would write kept in memory.
    fn mend(&self, _writing: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let again = match &state.refusal {
                Some((StoreError::Full { .. }, since)) => since.elapsed() >= self.pause,
                _ => false,
            };
            let is_broken = again || state.failed.load(Ordering::Acquire);
            if !is_broken && !state.is_unsettled && state.retired.is_empty() {
                return Ok(());
            }
            if !is_broken {
                drop(state);
                return self.tidy();
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        close(state.database.take());
        if self.owes_sync.swap(false, Ordering::AcqRel) {
            tracing::error!(path = %self.path().display(), "the disk failed before the last relaxed commits were synced: they may be lost");
            self.lost.store(true, Ordering::Release);
        }
        state.failed = Arc::default();
        let sure = state.disk.make_sure().map_err(|error| io_error("sync", self.path(), error));
        match sure.and_then(|()| open_database(self.path(), state.disk.clone(), self.cache_bytes)) {
            Ok(database) => (state.database, state.refusal) = (Some(database), None),
            Err(refusal) => {
                state.refusal = Some((refusal, Instant::now()));
                match open_database(self.path(), Overlay::over(state.disk.disk().clone()), self.cache_bytes) {
                    Ok(database) => state.database = Some(database),
                    Err(error) => {
                        state.failed.store(true, Ordering::Release);
                        return Err(error);
                    }
                }
                return Ok(());
            }
        }
        drop(state);
        self.tidy()
    }

    /// Makes the name of a new file last, and closes old ones that nobody reads.
    fn tidy(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (unread, read) = state.retired.drain(..).partition(|(_, readers)| Arc::strong_count(readers) == 1);
        state.retired = read;
        let unread: Vec<(Database, Arc<()>)> = unread;
        for (database, _) in unread {
            close(Some(database));
        }
        if state.is_unsettled {
            self.place.settle()?;
            state.is_unsettled = false;
        }
        Ok(())
    }

    /// Goes on with the file that has taken the place of the present one.
    fn adopt(&self, _writing: &MutexGuard<'_, ()>, database: Database, disk: Shared) {
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let readers = std::mem::take(&mut state.readers);
            let retired = state.database.replace(database).map(|retired| (retired, readers));
            state.retired.extend(retired);
            (state.disk, state.failed, state.refusal) = (disk, Arc::default(), None);
            state.is_unsettled = true;
        }
        // What cannot be done now is done before the next write, which fails otherwise.
        if let Err(error) = self.tidy() {
            tracing::warn!(%error, "the name of the new file may not survive a power cut yet");
        }
    }
}

/// Closing may panic on what a failure left behind; that holds nothing that is still wanted.
fn close(database: Option<Database>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
}

impl Drop for Tables {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let closing = state.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(closing))).is_err() {
            tracing::error!(path = %self.place.path().display(), "the store did not close in order; it repairs itself when it is opened");
        }
        for (database, _) in state.retired.drain(..) {
            close(Some(database));
        }
        // The next process cannot know.
        if let Err(error) = state.disk.make_sure() {
            tracing::error!(path = %self.place.path().display(), %error, "a sync failed; the last commits may not survive a power cut");
        }
    }
}

/// Makes a file without tables. It lies beside until it is whole: half of one would be taken for a damaged store.
fn make(place: &dyn Place, cache_bytes: usize) -> Result<Shared, StoreError> {
    let disk = Shared::new(place.beside()?);
    drop(open_database(place.path(), disk.clone(), cache_bytes)?);
    disk.sync_data().map_err(|error| io_error("make", place.path(), error))?;
    place.replace()?;
    place.settle()?;
    Ok(disk)
}

fn open_database(path: &Path, disk: impl StorageBackend, cache_bytes: usize) -> Result<Database, StoreError> {
    guarded("open", path, &AtomicBool::new(false), || {
        Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(disk)?)
    })
}

/// Runs work of the engine; a panic of it, which only damage can cause, is an error like another.
fn guarded<T>(
    action: &'static str,
    path: &Path,
    failed: &AtomicBool,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, StoreError> {
    match crate::guarded::catch(work) {
        Ok(done) => done.map_err(|error| engine_error(action, path, failed, error)),
        Err(detail) => {
            failed.store(true, Ordering::Release);
            Err(StoreError::Damaged { path: path.to_owned(), detail })
        }
    }
}

fn engine_error(action: &'static str, path: &Path, failed: &AtomicBool, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => {
            failed.store(true, Ordering::Release);
            io_error(action, path, error)
        }
        redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_)
        | redb::Error::TransactionPoisoned => {
            failed.store(true, Ordering::Release);
            StoreError::Interrupted { path: path.to_owned() }
        }
        redb::Error::DatabaseAlreadyOpen => {
            StoreError::Locked { path: path.to_owned(), holder: "another process".to_owned() }
        }
        redb::Error::Corrupted(detail) => StoreError::Damaged { path: path.to_owned(), detail },
        other => StoreError::Damaged { path: path.to_owned(), detail: other.to_string() },
    }
}
