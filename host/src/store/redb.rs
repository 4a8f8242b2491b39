//! Tables of bytes in one file, by redb, which is named nowhere else. Turns its errors and panics into [`StoreError`],
//! and opens it anew after a failure, because it then refuses everything. Knows no tenant and no meaning of a row.
use super::{StoreError, io_error};
use redb::{
    BackendError, Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, Table, TableDefinition, TableError, TableHandle, WriteTransaction,
};
use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use redb::StorageBackend;
pub use redb::backends::InMemoryBackend;

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
type Readable = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Writable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The open file.
pub(super) struct Tables {
    path: PathBuf,
    disk: Arc<dyn StorageBackend>,
    cache_bytes: usize,
    /// How long after a failed attempt to write again the next one is made.
    pause: Duration,
    // One write transaction at a time, and none while the file is opened anew: two engines on one file would destroy it.
    writing: Mutex<()>,
    state: RwLock<State>,
}

struct State {
    /// None only if the file could not even be read after a failure.
    database: Option<Database>,
    /// An error after which this database answers nothing but errors. Shared with its transactions.
    failed: Arc<AtomicBool>,
    /// Why writes are refused, and since when.
    refusal: Option<(StoreError, Instant)>,
}

/// What survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// This commit, and all before it.
    Now,
    /// Nothing of this commit until one that is synced.
    Later,
}

impl Tables {
    /// Opens the file, or makes it, readable for its owner alone.
    pub(super) fn open_file(path: &Path, cache_bytes: usize) -> Result<Tables, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| io_error("open", path, error))?;
        let disk = redb::backends::FileBackend::new(file)
            .map_err(|error| engine_error("open", path, &AtomicBool::new(false), error.into()))?;
        Tables::open(path, Arc::new(disk), cache_bytes, Duration::from_secs(1))
    }

    pub(super) fn open(
        path: &Path,
        disk: Arc<dyn StorageBackend>,
        cache_bytes: usize,
        pause: Duration,
    ) -> Result<Tables, StoreError> {
        let database = open_database(path, Shared(disk.clone()), cache_bytes)?;
        let state = State { database: Some(database), failed: Arc::default(), refusal: None };
        Ok(Tables {
            path: path.to_owned(),
            disk,
            cache_bytes,
            pause,
            writing: Mutex::new(()),
            state: RwLock::new(state),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> Result<u64, StoreError> {
        self.disk.len().map_err(|error| io_error("measure", &self.path, error))
    }

    /// Sees all commits up to now and none after, for as long as the answer lives.
    pub(super) fn read(&self) -> Result<Reading, StoreError> {
        let begin = |state: &State| {
            let database =
                state.database.as_ref().ok_or_else(|| StoreError::Interrupted { path: self.path.clone() })?;
            let transaction = guarded("read", &self.path, &state.failed, || Ok(database.begin_read()?))?;
            Ok(Reading { transaction, path: self.path.clone(), failed: state.failed.clone() })
        };
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if !state.failed.load(Ordering::Acquire) {
                return begin(&state);
            }
        }
        let writing = self.write_lock();
        self.mend(&writing)?;
        begin(&self.state.read().unwrap_or_else(PoisonError::into_inner))
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
        let database = state.database.as_ref().ok_or_else(|| StoreError::Interrupted { path: self.path.clone() })?;
        let mut refused = None;
        let done = guarded("write to", &self.path, &state.failed, || {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(match sync {
                Sync::Now => Durability::Immediate,
                Sync::Later => Durability::None,
            })?;
            let mut open = Writing {
                transaction: &transaction,
                path: &self.path,
                failed: &state.failed,
                existing: transaction.list_tables()?.map(|table| table.name().to_owned()).collect(),
                tables: BTreeMap::new(),
            };
            let done = work(&mut open);
            drop(open);
            match done {
                Ok(Some(done)) => {
                    transaction.commit()?;
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

    /// Reads the whole file and compares its checksums. False: damage was found and mended.
    pub(super) fn verify(&self) -> Result<bool, StoreError> {
        let _writing = self.write_lock();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { database, failed, .. } = &mut *state;
        let database = database.as_mut().ok_or_else(|| StoreError::Interrupted { path: self.path.clone() })?;
        guarded("verify", &self.path, failed, || Ok(database.check_integrity()?))
    }

    fn write_lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file anew after a failure, and again while only a full disk keeps it from being written. Where that is
    /// not possible it is opened for reading alone, with what repairing it would write kept in memory.
    fn mend(&self, _writing: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let again = match &state.refusal {
                Some((StoreError::Full { .. }, since)) => since.elapsed() >= self.pause,
                _ => false,
            };
            if !again && !state.failed.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Closing may panic on what a failure left behind; it holds nothing that is still wanted.
        let closing = state.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(closing)));
        state.failed = Arc::default();
        match open_database(&self.path, Shared(self.disk.clone()), self.cache_bytes) {
            Ok(database) => (state.database, state.refusal) = (Some(database), None),
            Err(refusal) => {
                state.refusal = Some((refusal, Instant::now()));
                match open_database(&self.path, Overlay::over(self.disk.clone()), self.cache_bytes) {
                    Ok(database) => state.database = Some(database),
                    Err(error) => {
                        state.failed.store(true, Ordering::Release);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let closing = state.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(closing))).is_err() {
            tracing::error!(path = %self.path.display(), "the store did not close in order; it repairs itself when it is opened");
        }
    }
}

/// One state of all tables.
pub(super) struct Reading {
    transaction: ReadTransaction,
    path: PathBuf,
    failed: Arc<AtomicBool>,
}

/// Where a scan goes, in the order of the keys or against it.
pub(super) struct Span<'a> {
    pub(super) from: Bound<&'a [u8]>,
    pub(super) to: Bound<&'a [u8]>,
    pub(super) reverse: bool,
}

impl Reading {
    pub(super) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(None) };
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// As [`Reading::get`] for each key, in order.
    pub(super) fn get_all(
        &self,
        table: &str,
        keys: impl Iterator<Item = Vec<u8>>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(keys.map(|_| None).collect()) };
            keys.map(|key| Ok(table.get(key.as_slice())?.map(|value| value.value().to_vec()))).collect()
        })
    }

    /// Calls `visit` with each key and value until it answers false or an error.
    pub(super) fn scan(
        &self,
        table: &str,
        span: &Span<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        if let (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) =
            (span.from, span.to)
            && from >= to
        {
            return Ok(());
        }
        let mut refused = None;
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(()) };
            let mut rows = table.range::<&[u8]>((span.from, span.to))?;
            while let Some(row) = if span.reverse { rows.next_back() } else { rows.next() } {
                let (key, value) = row?;
                match visit(key.value(), value.value()) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        refused.map_or(Ok(()), Err)
    }

    /// Rows of a table.
    pub(super) fn length(&self, table: &str) -> Result<u64, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(0) };
            Ok(table.len()?)
        })
    }

    pub(super) fn table_names(&self) -> Result<Vec<String>, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            Ok(self.transaction.list_tables()?.map(|table| table.name().to_owned()).collect())
        })
    }

    fn table(&self, name: &str) -> Result<Option<Readable>, redb::Error> {
        match self.transaction.open_table(Rows::new(name)) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// One commit in the making. Each table is opened once, when it is first needed.
pub(super) struct Writing<'t> {
    transaction: &'t WriteTransaction,
    path: &'t Path,
    failed: &'t AtomicBool,
    existing: Vec<String>,
    tables: BTreeMap<String, Writable<'t>>,
}

impl Writing<'_> {
    /// Names of the tables that were there before.
    pub(super) fn existing(&self) -> &[String] {
        &self.existing
    }

    pub(super) fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(None);
        }
        let got = self.table(table).and_then(|table| Ok(table.get(key)?.map(|value| value.value().to_vec())));
        got.map_err(|error| engine_error("read", self.path, self.failed, error))
    }

    pub(super) fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let put = self.table(table).and_then(|table| Ok(table.insert(key, value).map(drop)?));
        put.map_err(|error| engine_error("write to", self.path, self.failed, error))
    }

    pub(super) fn remove(&mut self, table: &str, key: &[u8]) -> Result<(), StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(());
        }
        let removed = self.table(table).and_then(|table| Ok(table.remove(key).map(drop)?));
        removed.map_err(|error| engine_error("write to", self.path, self.failed, error))
    }

    /// Rows of a table.
    pub(super) fn length(&mut self, table: &str) -> Result<u64, StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(0);
        }
        let length = self.table(table).and_then(|table| Ok(table.len()?));
        length.map_err(|error| engine_error("read", self.path, self.failed, error))
    }

    /// Removes a table with all its rows; nothing happens if there is none.
    pub(super) fn drop_table(&mut self, table: &str) -> Result<(), StoreError> {
        self.tables.remove(table);
        self.existing.retain(|name| name != table);
        let dropped = self.transaction.delete_table(Rows::new(table));
        dropped.map(drop).map_err(|error| engine_error("write to", self.path, self.failed, error.into()))
    }

    /// Gives a table another name, which no table has; nothing happens if there is none.
    pub(super) fn rename_table(&mut self, table: &str, name: &str) -> Result<(), StoreError> {
        let was_open = self.tables.remove(table).is_some();
        if !was_open && !self.existing.iter().any(|existing| existing == table) {
            return Ok(());
        }
        self.existing.retain(|existing| existing != table);
        self.existing.push(name.to_owned());
        let renamed = self.transaction.rename_table(Rows::new(table), Rows::new(name));
        renamed.map_err(|error| engine_error("write to", self.path, self.failed, error.into()))
    }
}

impl<'t> Writing<'t> {
    fn table(&mut self, name: &str) -> Result<&mut Writable<'t>, redb::Error> {
        if !self.tables.contains_key(name) {
            let table = self.transaction.open_table(Rows::new(name))?;
            self.tables.insert(name.to_owned(), table);
        }
        Ok(self.tables.get_mut(name).expect("inserted above"))
    }
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
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| engine_error(action, path, failed, error)),
        Err(panic) => {
            failed.store(true, Ordering::Release);
            Err(StoreError::Damaged { path: path.to_owned(), detail: said(&*panic) })
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it cannot be made sense of").lines().next().unwrap_or_default().to_owned()
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

/// A disk that outlives the databases opened on it.
#[derive(Debug)]
struct Shared(Arc<dyn StorageBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(from, to)
    }

    fn try_lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(from, to)
    }

    fn lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(from, to)
    }

    fn lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(from, to)
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(from, to)
    }
}

const BLOCK: usize = 4096;

/// A disk that is only read: what is written stays in memory. Lets a store repair itself where nothing can be written.
#[derive(Debug)]
struct Overlay {
    disk: Arc<dyn StorageBackend>,
    written: RwLock<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// None: that of the disk.
    length: Option<u64>,
    blocks: HashMap<u64, Vec<u8>>,
}

impl Overlay {
    fn over(disk: Arc<dyn StorageBackend>) -> Overlay {
        Overlay { disk, written: RwLock::default() }
    }

    /// The block as the disk has it, zeros beyond its end.
    fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        let start = number * BLOCK as u64;
        let there = self.disk.len()?.saturating_sub(start).min(BLOCK as u64);
        let mut block = vec![0; BLOCK];
        let there = usize::try_from(there).expect("at most a block");
        if there > 0 {
            self.disk.read(start, &mut block[..there])?;
        }
        Ok(block)
    }
}

/// The blocks that `length` bytes from `offset` touch: number, first byte within it, and the range of the bytes.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).expect("less than a block");
        let end = length.min(done + BLOCK - within);
        let item = (at / BLOCK as u64, within, done..end);
        done = end;
        Some(item)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        written.length.map_or_else(|| self.disk.len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        if written.blocks.is_empty() && written.length.is_none() {
            return self.disk.read(offset, out);
        }
        for (number, within, range) in blocks(offset, out.len()) {
            let length = range.len();
            match written.blocks.get(&number) {
                Some(block) => out[range].copy_from_slice(&block[within..within + length]),
                None => out[range].copy_from_slice(&self.block(number)?[within..within + length]),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written.write().unwrap_or_else(PoisonError::into_inner).length = Some(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        for (number, within, range) in blocks(offset, data.len()) {
            let block = match written.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(place) => place.insert(self.block(number)?),
            };
            block[within..within + range.len()].copy_from_slice(&data[range]);
        }
        Ok(())
    }
}
