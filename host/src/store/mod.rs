//! The truth on disk: the guest's tables, the entries it made findable with their vectors, and the changelog, of all
//! tenants in one file. Everything else in the data directory can be deleted and comes back from here. Reads through
//! snapshots; what commits is `writer.rs`. Never searches, and never reads a record.
mod check;
mod copy;
mod draft;
mod entry;
mod error;
mod format;
mod limits;
mod lock;
mod migration;
mod place;
mod redb;
mod rows;
mod snapshot;

pub use self::copy::{Backup, Compacted};
pub(crate) use self::draft::{Committed, Draft, Outcome};
pub use self::error::StoreError;
pub(crate) use self::limits::{check as check_batch, check_vector};
pub use self::migration::Migration;
pub(crate) use self::migration::Unmoved;
#[doc(hidden)]
pub use self::place::{Disk, File, Place};
#[doc(hidden)]
pub use self::redb::{InMemoryBackend, StorageBackend};
pub use self::snapshot::{Owed, SNAPSHOT_LIFE, Snapshot};

use self::error::{damaged, io_error};
use self::lock::Lock;
use self::place::{Memory, make_directory};
use self::redb::{Keeping, Span, Sync, Tables};
use self::rows::table;
use self::snapshot::Opened;
use crate::entry::Seq;
use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Pages kept in memory, unless told otherwise. A larger cache was not faster.
pub const CACHE_BYTES: usize = 64 << 20;

const FILE: &str = "cairn.redb";
/// A file of this size takes seconds to read after a crash; a second sync a commit costs less.
const QUICK_ABOVE: u64 = 1 << 30;
/// Row of `meta` with the latest moment of which numbers were reserved.
const CLOCK: &[u8] = b"clock";
const TENANT_BYTES: usize = 256;

/// One store on disk or in memory; the handle is cheap to clone. The file is closed with the last handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    tables: Tables,
    /// The latest moment of which numbers were reserved.
    clock: AtomicI64,
    tenants: Mutex<HashMap<String, Tenant>>,
    model: Mutex<Option<(String, String, u32)>>,
    /// Whether vectors of another model are being gathered.
    is_migrating: AtomicBool,
    snapshots: Opened,
    /// See [`Store::erase_beside`].
    erases_beside: OnceLock<Box<dyn Fn() -> Result<(), StoreError> + Send + std::marker::Sync>>,
    // After the tables: the directory is another's once the file is closed.
    _lock: Option<Lock>,
}

/// Number of a tenant in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub u32);

/// Table, key and value.
pub(crate) type Row = (String, Vec<u8>, Vec<u8>);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How long to wait for another process that has the store open.
    pub wait: Duration,
    /// What other processes are told about this one, as in `cairn serve`.
    pub holder: String,
    /// Pages kept in memory; [`CACHE_BYTES`] is a good choice.
    pub cache_bytes: usize,
}

/// Where a tenant's store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub head: Seq,
    /// Of the file, all tenants together.
    pub bytes: u64,
    /// Age of the oldest snapshot that is open, of any tenant.
    pub oldest_snapshot: Option<Duration>,
}

impl Store {
    /// Opens the store in a directory, and makes both where they are not there, for their owner alone.
    ///
    /// # Errors
    /// `Locked` names the process that has it open, after waiting for it; see [`StoreError`] for the rest.
    pub fn open(directory: &Path, options: &OpenOptions) -> Result<Store, StoreError> {
        if directory.exists() && !directory.is_dir() {
            return Err(StoreError::invalid("data", format!("{} is not a directory", directory.display())));
        }
        make_directory(directory).map_err(|error| io_error("make", directory, error))?;
        let lock = Lock::take(directory, options.wait, &options.holder)?;
        let keeping =
            Keeping { cache_bytes: options.cache_bytes, pause: Duration::from_secs(1), quick_above: QUICK_ABOVE };
        let tables = Tables::open(Box::new(File::new(directory.join(FILE))), keeping)?;
        Store::over(tables, Some(lock))
    }

    /// A store that ends with its last handle.
    ///
    /// # Errors
    /// None that is known of.
    pub fn in_memory() -> Result<Store, StoreError> {
        Store::in_place(Memory::default())
    }

    /// A store in a place of the caller's, for tests of what disks do.
    ///
    /// # Errors
    /// As [`Store::open`], apart from `Locked`.
    #[doc(hidden)]
    pub fn in_place(place: impl Place + 'static) -> Result<Store, StoreError> {
        let keeping = Keeping { cache_bytes: 1 << 20, pause: Duration::ZERO, quick_above: QUICK_ABOVE };
        Store::over(Tables::open(Box::new(place), keeping)?, None)
    }

    /// Checks what [`Store::open`] does not read: every page, and that entries, vectors, owed texts and changelog agree.
    /// Each answer is a sentence about one thing that is wrong; none: the store is sound.
    ///
    /// # Errors
    /// As [`Store::open`]: a store that cannot be opened cannot be checked.
    pub fn verify(directory: &Path, options: &OpenOptions) -> Result<Vec<String>, StoreError> {
        let store = Store::open(directory, options)?;
        let mut problems = store.check_pages()?;
        problems.extend(store.check()?);
        Ok(problems)
    }

    fn over(tables: Tables, lock: Option<Lock>) -> Result<Store, StoreError> {
        format::bring_up(&tables)?;
        let model = match tables.read()?.get(table::META, b"model")? {
            Some(bytes) => {
                Some(entry::decode_model(&bytes).map_err(|error| damaged(tables.path(), "meta", "model", &error))?)
            }
            None => None,
        };
        let clock = match tables.read()?.get(table::META, CLOCK)? {
            Some(bytes) => i64::from_be_bytes(
                bytes.try_into().map_err(|_| damaged(tables.path(), table::META, "clock", &entry::WRONG_LENGTH))?,
            ),
            None => i64::MIN,
        };
        let store = Store(Arc::new(Inner {
            tables,
            clock: AtomicI64::new(clock),
            tenants: Mutex::default(),
            model: Mutex::new(model),
            is_migrating: AtomicBool::new(false),
            snapshots: Opened::default(),
            erases_beside: OnceLock::new(),
            _lock: lock,
        }));
        store.0.is_migrating.store(store.migration()?.is_some(), Ordering::Release);
        Ok(store)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.tables.path()
    }

    /// The number of a tenant; one that is asked for the first time gets the next.
    ///
    /// # Errors
    /// A name has 1 to 256 bytes.
    pub fn tenant(&self, name: &str) -> Result<Tenant, StoreError> {
        if name.is_empty() || name.len() > TENANT_BYTES {
            return Err(StoreError::invalid("tenant", format!("a name has 1 to {TENANT_BYTES} bytes")));
        }
        let mut tenants = self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.get(name) {
            return Ok(*tenant);
        }
        let key = [b"tenant:", name.as_bytes()].concat();
        let known = self.0.tables.read()?.get(table::META, &key)?;
        let number = match known {
            Some(bytes) => self.number(&bytes, "tenant")?,
            None => self.new_tenant(&key)?,
        };
        tenants.insert(name.to_owned(), Tenant(number));
        Ok(Tenant(number))
    }

    fn new_tenant(&self, key: &[u8]) -> Result<u32, StoreError> {
        let number = self.0.tables.write(Sync::Now, |writing| {
            let last = match writing.get(table::META, b"tenants")? {
                Some(bytes) => self.number(&bytes, "tenants")?,
                None => 0,
            };
            let number = last + 1;
            writing.put(table::META, b"tenants", &number.to_be_bytes())?;
            writing.put(table::META, key, &number.to_be_bytes())?;
            Ok(Some(number))
        })?;
        Ok(number.expect("answered above"))
    }

    fn number(&self, bytes: &[u8], name: &str) -> Result<u32, StoreError> {
        let bytes = bytes.try_into().map_err(|_| self.wrong(format!("{name} is not a number")))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn wrong(&self, detail: String) -> StoreError {
        StoreError::Damaged { path: self.path().to_owned(), detail }
    }

    /// Names of all tenants, in the order of their bytes.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn tenants(&self) -> Result<Vec<(String, Tenant)>, StoreError> {
        let mut tenants = vec![];
        let span = Span { from: Bound::Included(b"tenant:"), to: Bound::Excluded(b"tenant;"), reverse: false };
        self.0.tables.read()?.scan(table::META, &span, |key, value| {
            let name = String::from_utf8_lossy(&key[b"tenant:".len()..]).into_owned();
            tenants.push((name, Tenant(self.number(value, "tenant")?)));
            Ok(true)
        })?;
        Ok(tenants)
    }

    /// Name, fingerprint and dimensions of the model whose vectors are in here.
    #[must_use]
    pub fn model(&self) -> Option<(String, String, u32)> {
        self.0.model.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the model; recording it again does nothing. From then on vectors of another length are refused.
    ///
    /// # Errors
    /// `OtherModel` if another one is recorded: their vectors cannot be compared.
    pub fn set_model(&self, name: &str, fingerprint: &str, dimensions: u32) -> Result<(), StoreError> {
        let mut model = self.0.model.lock().unwrap_or_else(PoisonError::into_inner);
        match &*model {
            Some((_, recorded, recorded_dimensions))
                if recorded == fingerprint && *recorded_dimensions == dimensions =>
            {
                return Ok(());
            }
            Some((recorded_name, recorded, _)) => {
                return Err(StoreError::OtherModel {
                    recorded: format!("{recorded_name} ({recorded})"),
                    given: format!("{name} ({fingerprint})"),
                });
            }
            None => {}
        }
        self.0.tables.write(Sync::Now, |writing| {
            writing.put(table::META, b"model", &entry::encode_model(name, fingerprint, dimensions))?;
            Ok(Some(()))
        })?;
        *model = Some((name.to_owned(), fingerprint.to_owned(), dimensions));
        Ok(())
    }

    /// Where a tenant's store stands.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn usage(&self, tenant: Tenant) -> Result<Usage, StoreError> {
        // Before there is a snapshot of this call's own.
        let oldest_snapshot = self.0.snapshots.oldest();
        Ok(Usage { head: self.snapshot()?.head(tenant)?, bytes: self.0.tables.length()?, oldest_snapshot })
    }

    /// One commit of what `work` puts into the draft, unless that is nothing or fails.
    pub(crate) fn commit(
        &self,
        synced: bool,
        work: impl FnOnce(&mut Draft<'_, '_>) -> Result<(), StoreError>,
    ) -> Result<Vec<Committed>, StoreError> {
        let committed = self.0.tables.write(if synced { Sync::Now } else { Sync::Later }, |writing| {
            let mut draft = Draft::new(self, writing);
            work(&mut draft)?;
            draft.finish()
        })?;
        Ok(committed.unwrap_or_default())
    }

    /// All rows of all tables, for a bench that writes them again.
    pub(crate) fn all_rows(&self) -> Result<Vec<Row>, StoreError> {
        let reading = self.0.tables.read()?;
        let mut rows = vec![];
        for table in reading.table_names()? {
            let all = Span { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false };
            reading.scan(&table, &all, |key, value| {
                rows.push((table.clone(), key.to_vec(), value.to_vec()));
                Ok(true)
            })?;
        }
        Ok(rows)
    }

    /// One durable commit of rows as they are, for a bench of what lies below the writer.
    pub(crate) fn put_rows(&self, rows: &[Row]) -> Result<(), StoreError> {
        let put = self.0.tables.write(Sync::Now, |writing| {
            rows.iter().try_for_each(|(table, key, value)| writing.put(table, key, value)).map(Some)
        });
        put.map(drop)
    }

    /// The latest moment that [`Store::pass`] was told of, in this run or in one whose commits are here.
    pub(crate) fn clock(&self) -> i64 {
        self.0.clock.load(Ordering::Relaxed)
    }

    /// Notes a moment; the next commit records it.
    pub(crate) fn pass(&self, at: i64) {
        self.0.clock.fetch_max(at, Ordering::Relaxed);
    }

    /// Whether relaxed commits may have been lost since this was last asked.
    pub(crate) fn take_lost(&self) -> bool {
        self.0.tables.take_lost()
    }

    /// Makes all commits up to now survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.0.tables.write(Sync::Now, |_| Ok(Some(()))).map(drop)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contract::storage::{Pairs, Range};
    use crate::contract::types::Error;

    /// xorshift, so that a failing case comes back.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            if end == 0 { 0 } else { self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end }
        }
    }

    /// Leaves a debt of erasure.
    pub(crate) fn erasing(store: &Store) {
        store.0.tables.write(Sync::Now, |writing| copy::owe_erasure(writing).map(Some)).unwrap();
    }

    fn options() -> OpenOptions {
        OpenOptions { wait: Duration::ZERO, holder: "cairn test".to_owned(), cache_bytes: 1 << 20 }
    }

    fn open(directory: &Path) -> Result<Store, StoreError> {
        Store::open(directory, &options())
    }

    #[test]
    fn tenants_and_model_are_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        let store = open(&inner).unwrap();
        let numbers = [store.tenant("one").unwrap(), store.tenant("two").unwrap(), store.tenant("one").unwrap()];
        assert_eq!(numbers, [Tenant(1), Tenant(2), Tenant(1)]);
        store.set_model("e5", "f00d", 3).unwrap();
        store.set_model("e5", "f00d", 3).unwrap();
        drop(store);
        let store = open(&inner).unwrap();
        assert_eq!(store.tenant("two").unwrap(), Tenant(2));
        assert_eq!(store.tenants().unwrap(), [("one".to_owned(), Tenant(1)), ("two".to_owned(), Tenant(2))]);
        assert_eq!(store.model(), Some(("e5".to_owned(), "f00d".to_owned(), 3)));
        let other = store.set_model("bge", "beef", 3).unwrap_err();
        assert_eq!(other.to_string(), "the store was written with model e5 (f00d), not bge (beef)");
    }

    #[cfg(unix)]
    #[test]
    fn directory_and_file_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("data");
        let store = open(&inner).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(store.path())), (0o700, 0o600));
    }

    #[test]
    fn a_second_open_is_told_who_holds_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path()).unwrap();
        let error = open(directory.path()).map(drop).unwrap_err();
        assert!(matches!(&error, StoreError::Locked { holder, .. } if holder.contains("(cairn test)")), "{error}");
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).unwrap();
        store
            .0
            .tables
            .write(Sync::Now, |writing| writing.put(table::META, b"format", &7_u32.to_be_bytes()).map(Some))
            .unwrap();
        let path = store.path().to_owned();
        drop(store);
        let error = open(directory.path()).map(drop).unwrap_err();
        let expected = format!("the store at {} has format 7; this program reads formats up to 1", path.display());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_file_of_something_else_is_named_as_damaged() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "not a store".repeat(1000)).unwrap();
        let error = open(directory.path()).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_file_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = open(&path).map(drop).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn what_may_not_be_written_is_denied() {
        for (kind, expected) in [
            (std::io::ErrorKind::PermissionDenied, "no permission to open the store at /data"),
            (std::io::ErrorKind::ReadOnlyFilesystem, "the store at /data is read-only"),
        ] {
            let error = io_error("open", Path::new("/data"), kind.into());
            assert_eq!(error.to_string(), expected);
            assert!(matches!(Error::from(error), Error::AccessDenied(_)));
        }
    }

    #[test]
    fn a_snapshot_past_its_life_answers_expired() {
        let store = Store::in_memory().unwrap();
        let tenant = store.tenant("t").unwrap();
        let snapshot = store.snapshot_of_life(Duration::ZERO).unwrap();
        assert!(matches!(snapshot.get(tenant, "a", &[]), Err(StoreError::Expired)));
        assert!(matches!(snapshot.head(tenant), Err(StoreError::Expired)));
        assert!(matches!(snapshot.changes(tenant, Seq(0), 1), Err(StoreError::Expired)));
        assert!(store.usage(tenant).unwrap().oldest_snapshot.is_some());
        drop(snapshot);
        assert_eq!(store.usage(tenant).unwrap().oldest_snapshot, None);
    }

    #[test]
    fn names_of_tables_and_limits_are_checked() {
        let store = Store::in_memory().unwrap();
        let tenant = store.tenant("t").unwrap();
        let snapshot = store.snapshot().unwrap();
        for name in ["", "A", "a_b", &"a".repeat(33)] {
            assert!(matches!(snapshot.get(tenant, name, &[]), Err(StoreError::InvalidArgument { .. })), "{name}");
        }
        assert!(matches!(snapshot.get(tenant, "a", &[vec![]]), Err(StoreError::InvalidArgument { .. })));
        assert!(matches!(snapshot.get(tenant, "a", &[vec![0; 2049]]), Err(StoreError::Limit { .. })));
        let range = |limit| Range { start: vec![], end: None, reverse: false, limit, keys_only: false };
        assert!(matches!(snapshot.scan(tenant, "a", &range(0)), Err(StoreError::InvalidArgument { .. })));
        assert!(matches!(snapshot.scan(tenant, "a", &range(10_001)), Err(StoreError::Limit { .. })));
        assert_eq!(snapshot.scan(tenant, "a", &range(1)).unwrap(), Pairs { pairs: vec![], more: false });
    }
}
