//! The truth on disk: the guest's tables, the entries it made findable with their vectors, and the changelog, of all
//! tenants in one file. Everything else in the data directory can be deleted and comes back from here. Reads through
//! snapshots; what commits is `writer.rs`. Never searches, and never reads a record.
mod draft;
mod entry;
mod lock;
mod migration;
mod redb;

pub(crate) use self::draft::{Committed, Draft, Outcome, check as check_batch, check_vector};
pub use self::migration::Migration;
pub(crate) use self::migration::Unmoved;
#[doc(hidden)]
pub use self::redb::{InMemoryBackend, StorageBackend};

use self::entry::{Kind, Malformed};
use self::lock::Lock;
use self::redb::{Reading, Span, Sync, Tables};
use crate::contract::storage::{Pair, Pairs, Range};
use crate::contract::types::{Error, Refusal};
use crate::entry::{Change, Seq, StoredEntry};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a snapshot answers.
pub const SNAPSHOT_LIFE: Duration = Duration::from_secs(30);
/// Pages kept in memory, unless told otherwise. A larger cache was not faster.
pub const CACHE_BYTES: usize = 64 << 20;

const FILE: &str = "cairn.redb";
const FORMAT: u32 = 1;
const KEYS_MOST: usize = 10_000;
const PAIRS_MOST: u32 = 10_000;
const PAIRS_BYTES: usize = 4 << 20;
const TENANT_BYTES: usize = 256;
/// A damaged store has more wrong with it than anybody reads.
const PROBLEMS_MOST: usize = 100;

/// Names of the host's own tables. Those of the guest have a prefix, so that the two never meet.
mod table {
    pub(super) const META: &str = "meta";
    pub(super) const ENTRY: &str = "entry";
    pub(super) const VECTOR: &str = "vector";
    pub(super) const OWED: &str = "owed";
    /// Vectors of the model that the store is moved to; rows as in `vector`.
    pub(super) const NEXT: &str = "vector-next";
    pub(super) const CHANGE: &str = "change";
    pub(super) const GUEST: &str = "guest-";
}

/// One store on disk or in memory; the handle is cheap to clone. The file is closed with the last handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    tables: Tables,
    tenants: Mutex<HashMap<String, Tenant>>,
    model: Mutex<Option<(String, String, u32)>>,
    /// Whether vectors of another model are being gathered.
    is_migrating: AtomicBool,
    snapshots: Arc<Mutex<Opened>>,
    // After the tables: the directory is another's once the file is closed.
    _lock: Option<Lock>,
}

#[derive(Default)]
struct Opened {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// Number of a tenant in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub u32);

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

/// An entry whose vectors are not all there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub key: String,
    /// Place of each passage and what the model is to read for it.
    pub texts: Vec<(u32, String)>,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} the store at {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("the store at {} is in use by {holder}", path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("the store at {} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("the disk of the store at {} is full", path.display())]
    Full { path: PathBuf },
    #[error("the store at {} is damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("the store at {} has format {found}; this program reads formats up to {known}", path.display())]
    NewerFormat { path: PathBuf, found: u32, known: u32 },
    /// A failure came between, and what was begun before it cannot be finished.
    #[error("the store at {} was interrupted by an earlier error; begin again", path.display())]
    Interrupted { path: PathBuf },
    #[error("the store at {} is closed", path.display())]
    Closed { path: PathBuf },
    #[error("the store was written with model {recorded}, not {given}")]
    OtherModel { recorded: String, given: String },
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

    fn invalid(place: impl Into<String>, message: impl Into<String>) -> StoreError {
        StoreError::InvalidArgument { place: place.into(), message: message.into() }
    }

    fn limit(place: impl Into<String>, message: impl Into<String>) -> StoreError {
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
            StoreError::ReadOnly { .. } => Error::AccessDenied(text),
            StoreError::Busy { retry_after_ms } => Error::Busy(retry_after_ms),
            StoreError::Expired => Error::Timeout,
            StoreError::Damaged { .. } => Error::Corrupt(text),
            StoreError::Io { .. }
            | StoreError::Locked { .. }
            | StoreError::Full { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Interrupted { .. }
            | StoreError::Closed { .. }
            | StoreError::OtherModel { .. } => Error::Unavailable(text),
        }
    }
}

/// The error of an operating system, by what it means for a store.
fn io_error(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path },
        ErrorKind::UnexpectedEof => StoreError::Damaged { path, detail: "the file ends too early".to_owned() },
        ErrorKind::InvalidData => StoreError::Damaged { path, detail: error.to_string() },
        _ => StoreError::Io { action, path, source: Arc::new(error) },
    }
}

impl Store {
    /// Opens the store in a directory, and makes both where they are not there, for their owner alone.
    ///
    /// # Errors
    /// `Locked` names the process that has it open, after waiting for it; see [`StoreError`] for the rest.
    pub fn open(directory: &Path, options: &OpenOptions) -> Result<Store, StoreError> {
        make_directory(directory).map_err(|error| io_error("make", directory, error))?;
        let lock = Lock::take(directory, options.wait, &options.holder)?;
        let path = directory.join(FILE);
        let is_new = !path.exists();
        let tables = Tables::open_file(&path, options.cache_bytes)?;
        if is_new {
            sync_directory(directory).map_err(|error| io_error("make", directory, error))?;
        }
        Store::over(tables, Some(lock))
    }

    /// A store that ends with its last handle.
    ///
    /// # Errors
    /// None that is known of.
    pub fn in_memory() -> Result<Store, StoreError> {
        Store::with_backend(InMemoryBackend::new())
    }

    /// A store on a disk of the caller's, for tests of what disks do.
    ///
    /// # Errors
    /// As [`Store::open`], apart from `Locked`.
    #[doc(hidden)]
    pub fn with_backend(disk: impl StorageBackend) -> Result<Store, StoreError> {
        Store::over(Tables::open(Path::new("memory"), Arc::new(disk), 1 << 20, Duration::ZERO)?, None)
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

    /// Reads the whole file and compares its checksums. Waits for reads and keeps writes waiting.
    ///
    /// # Errors
    /// `Damaged` if what was found cannot be mended.
    pub fn check_pages(&self) -> Result<Vec<String>, StoreError> {
        let sound = self.0.tables.verify()?;
        let repaired = "pages were damaged and have been repaired from what is sound";
        Ok(if sound { vec![] } else { vec![repaired.to_owned()] })
    }

    fn over(tables: Tables, lock: Option<Lock>) -> Result<Store, StoreError> {
        check_format(&tables)?;
        let model = match tables.read()?.get(table::META, b"model")? {
            Some(bytes) => {
                Some(entry::decode_model(&bytes).map_err(|error| damaged(tables.path(), "meta", "model", &error))?)
            }
            None => None,
        };
        let store = Store(Arc::new(Inner {
            tables,
            tenants: Mutex::default(),
            model: Mutex::new(model),
            is_migrating: AtomicBool::new(false),
            snapshots: Arc::default(),
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

    /// One consistent state, for [`SNAPSHOT_LIFE`].
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.snapshot_of_life(SNAPSHOT_LIFE)
    }

    /// One consistent state for the host's own work, however long that takes.
    pub(crate) fn long_snapshot(&self) -> Result<Snapshot, StoreError> {
        self.snapshot_of_life(Duration::MAX)
    }

    fn snapshot_of_life(&self, life: Duration) -> Result<Snapshot, StoreError> {
        let reading = self.0.tables.read()?;
        let since = Instant::now();
        let mut opened = self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let id = opened.next;
        opened.next += 1;
        opened.since.insert(id, since);
        Ok(Snapshot { reading, path: self.path().to_owned(), since, life, id, opened: self.0.snapshots.clone() })
    }

    /// Where a tenant's store stands.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn usage(&self, tenant: Tenant) -> Result<Usage, StoreError> {
        let oldest = {
            let opened = self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            opened.since.values().min().copied()
        };
        Ok(Usage {
            head: self.snapshot()?.head(tenant)?,
            bytes: self.0.tables.length()?,
            oldest_snapshot: oldest.map(|since| since.elapsed()),
        })
    }

    /// Compares entries, vectors, owed texts and changelog of all tenants. Each answer is a sentence about one thing that
    /// is wrong.
    ///
    /// # Errors
    /// Only if the store cannot be read; rows that make no sense are answers.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut problems = vec![];
        let reading = self.0.tables.read()?;
        for (name, tenant) in self.tenants()? {
            check_entries(&reading, &name, tenant, &mut problems)?;
            check_orphans(&reading, &name, tenant, &mut problems)?;
            check_changes(&reading, &name, tenant, &mut problems)?;
        }
        problems.truncate(PROBLEMS_MOST);
        Ok(problems)
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

    /// Makes all commits up to now survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.0.tables.write(Sync::Now, |_| Ok(Some(()))).map(drop)
    }
}

/// Makes a directory and those above it, each name synced in the one above.
fn make_directory(directory: &Path) -> io::Result<()> {
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

/// Makes the name of a new file survive a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { std::fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Records the format in a new store and refuses one that this program does not know.
fn check_format(tables: &Tables) -> Result<(), StoreError> {
    let path = tables.path();
    let damaged = |detail: &str| StoreError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    let reading = tables.read()?;
    let Some(bytes) = reading.get(table::META, b"format")? else {
        if !reading.table_names()?.is_empty() {
            return Err(damaged("it has tables but no format, so it is not a store of memories"));
        }
        drop(reading);
        let format =
            |writing: &mut redb::Writing<'_>| writing.put(table::META, b"format", &FORMAT.to_be_bytes()).map(Some);
        return tables.write(Sync::Now, format).map(drop);
    };
    let found = u32::from_be_bytes(bytes.try_into().map_err(|_| damaged("its format is not a number"))?);
    match found {
        FORMAT => Ok(()),
        0 => Err(damaged("its format is 0")),
        _ => Err(StoreError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
    }
}

fn damaged(path: &Path, table: &str, key: &str, error: &Malformed) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), detail: format!("row {key:?} of table {table}: {error}") }
}

// ---- keys

fn row(tenant: Tenant, key: &[u8]) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], key].concat()
}

/// The first row behind all of a tenant.
fn end_of(tenant: Tenant) -> Vec<u8> {
    match tenant.0.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        // Longer than any prefix of the last tenant that a key can have.
        None => vec![0xFF; 4096],
    }
}

fn own_key(row: &[u8]) -> &[u8] {
    row.get(4..).unwrap_or_default()
}

fn own_text(row: &[u8]) -> String {
    String::from_utf8_lossy(own_key(row)).into_owned()
}

fn head_key(tenant: Tenant) -> Vec<u8> {
    [&b"head:"[..], &tenant.0.to_be_bytes()[..]].concat()
}

/// The name of a guest's table in the file.
fn guest_table(place: &str, name: &str) -> Result<String, StoreError> {
    let is_valid = (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_valid {
        return Err(StoreError::invalid(
            place,
            format!("the name of a table is 1 to 32 of `a-z` and `-`, not {name:?}"),
        ));
    }
    Ok(format!("{}{name}", table::GUEST))
}

// ---- reading

/// One state of the store. Holding it keeps replaced data on disk; past its life it answers `Expired`.
pub struct Snapshot {
    reading: Reading,
    path: PathBuf,
    since: Instant,
    life: Duration,
    id: u64,
    opened: Arc<Mutex<Opened>>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).since.remove(&self.id);
    }
}

impl Snapshot {
    /// Values in the order of the keys.
    ///
    /// # Errors
    /// At most 10,000 keys of 1 to 2,048 bytes.
    pub fn get(&self, tenant: Tenant, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let reading = self.alive()?;
        let table = guest_table("table", table)?;
        if keys.len() > KEYS_MOST {
            return Err(StoreError::limit("keys", format!("{} keys, of at most {KEYS_MOST}", keys.len())));
        }
        for (place, key) in keys.iter().enumerate() {
            draft::check_key(&format!("keys[{place}]"), key)?;
        }
        reading.get_all(&table, keys.iter().map(|key| row(tenant, key)))
    }

    /// The pairs of a range, up to its limit and 4 MiB.
    ///
    /// # Errors
    /// The limit is 1 to 10,000.
    pub fn scan(&self, tenant: Tenant, table: &str, range: &Range) -> Result<Pairs, StoreError> {
        let reading = self.alive()?;
        let table = guest_table("table", table)?;
        if range.limit == 0 {
            return Err(StoreError::invalid("range.limit", "0 asks for nothing"));
        }
        if range.limit > PAIRS_MOST {
            return Err(StoreError::limit("range.limit", format!("{}, of at most {PAIRS_MOST}", range.limit)));
        }
        let from = row(tenant, &range.start);
        let to = range.end.as_ref().map_or_else(|| end_of(tenant), |end| row(tenant, end));
        let span = Span { from: Bound::Included(&from), to: Bound::Excluded(&to), reverse: range.reverse };
        let (mut pairs, mut bytes, mut more) = (vec![], 0, false);
        reading.scan(&table, &span, |key, value| {
            let pair =
                Pair { key: own_key(key).to_vec(), value: if range.keys_only { vec![] } else { value.to_vec() } };
            bytes += pair.key.len() + pair.value.len();
            more = pairs.len() == range.limit as usize || (bytes > PAIRS_BYTES && !pairs.is_empty());
            if !more {
                pairs.push(pair);
            }
            Ok(!more)
        })?;
        Ok(Pairs { pairs, more })
    }

    /// Position of the last commit of a tenant; 0 before the first.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn head(&self, tenant: Tenant) -> Result<Seq, StoreError> {
        match self.alive()?.get(table::META, &head_key(tenant))? {
            None => Ok(Seq(0)),
            Some(bytes) => Ok(Seq(self.position(&bytes)?)),
        }
    }

    /// One entry with its vectors.
    ///
    /// # Errors
    /// `Damaged` if its rows cannot be read.
    pub fn entry(&self, tenant: Tenant, key: &str) -> Result<Option<StoredEntry>, StoreError> {
        load_entry(&self.path, tenant, key, |table, row| self.alive()?.get(table, row))
    }

    /// Entries behind `after`, in the order of their keys.
    ///
    /// # Errors
    /// `Damaged` if a row cannot be read.
    pub fn entries(&self, tenant: Tenant, after: Option<&str>, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found = vec![];
        self.rows(table::ENTRY, tenant, after.map(str::as_bytes), limit, |key, value| {
            found.push((own_text(key), value.to_vec()));
            Ok(())
        })?;
        let reading = self.alive()?;
        found
            .into_iter()
            .map(|(key, bytes)| {
                let vectors = reading.get(table::VECTOR, &row(tenant, key.as_bytes()))?;
                assemble(&self.path, &key, &bytes, vectors.as_deref())
            })
            .collect()
    }

    /// What the commits behind `after` did, at most `limit` of them. A put carries the entry as it is in this snapshot; one
    /// that is gone by now is a delete.
    ///
    /// # Errors
    /// `Damaged` if a row cannot be read.
    pub fn changes(&self, tenant: Tenant, after: Seq, limit: usize) -> Result<Vec<(Seq, Vec<Change>)>, StoreError> {
        let mut commits = vec![];
        self.rows(table::CHANGE, tenant, Some(&after.0.to_be_bytes()), limit, |key, value| {
            let seq = Seq(self.position(own_key(key))?);
            let changes = entry::decode_changes(value)
                .map_err(|error| damaged(&self.path, table::CHANGE, &seq.0.to_string(), &error))?;
            commits.push((seq, changes));
            Ok(())
        })?;
        let present = |(kind, key): (Kind, String)| match kind {
            Kind::Delete => Ok(Change::Delete(key)),
            Kind::Put => match self.entry(tenant, &key)? {
                Some(stored) => Ok(Change::Put(Box::new(stored))),
                None => Ok(Change::Delete(key)),
            },
        };
        commits
            .into_iter()
            .map(|(seq, changes)| Ok((seq, changes.into_iter().map(present).collect::<Result<_, StoreError>>()?)))
            .collect()
    }

    /// Entries that wait for vectors, in the order of their keys, at most `limit`.
    ///
    /// # Errors
    /// `Damaged` if a row cannot be read.
    pub fn owed(&self, tenant: Tenant, limit: usize) -> Result<Vec<Owed>, StoreError> {
        let mut owed = vec![];
        self.rows(table::OWED, tenant, None, limit, |key, value| {
            let key = own_text(key);
            let texts = entry::decode_owed(value).map_err(|error| damaged(&self.path, table::OWED, &key, &error))?;
            owed.push(Owed { key, texts });
            Ok(())
        })?;
        Ok(owed)
    }

    /// Passages whose vector is owed. Reads all of them.
    ///
    /// # Errors
    /// `Damaged` if a row cannot be read.
    pub fn owed_count(&self, tenant: Tenant) -> Result<u64, StoreError> {
        let mut count = 0;
        self.rows(table::OWED, tenant, None, usize::MAX, |key, value| {
            let texts =
                entry::decode_owed(value).map_err(|error| damaged(&self.path, table::OWED, &own_text(key), &error))?;
            count += texts.len() as u64;
            Ok(())
        })?;
        Ok(count)
    }

    fn alive(&self) -> Result<&Reading, StoreError> {
        if self.since.elapsed() >= self.life { Err(StoreError::Expired) } else { Ok(&self.reading) }
    }

    fn position(&self, bytes: &[u8]) -> Result<u64, StoreError> {
        let bytes = bytes.try_into().map_err(|_| StoreError::Damaged {
            path: self.path.clone(),
            detail: "a position of the changelog has a wrong length".to_owned(),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn rows(
        &self,
        table: &str,
        tenant: Tenant,
        after: Option<&[u8]>,
        limit: usize,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut left = limit;
        let mut counted = |key: &[u8], value: &[u8]| {
            visit(key, value)?;
            left -= 1;
            Ok(left > 0)
        };
        if limit == 0 { Ok(()) } else { scan_tenant(self.alive()?, table, tenant, after, &mut counted) }
    }
}

fn scan_tenant(
    reading: &Reading,
    table: &str,
    tenant: Tenant,
    after: Option<&[u8]>,
    visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let (start, end) = (row(tenant, after.unwrap_or_default()), end_of(tenant));
    let from = if after.is_some() { Bound::Excluded(&start[..]) } else { Bound::Included(&start[..]) };
    reading.scan(table, &Span { from, to: Bound::Excluded(&end), reverse: false }, visit)
}

/// An entry from its two rows.
fn load_entry(
    path: &Path,
    tenant: Tenant,
    key: &str,
    mut get: impl FnMut(&str, &[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Option<StoredEntry>, StoreError> {
    let row = row(tenant, key.as_bytes());
    let Some(bytes) = get(table::ENTRY, &row)? else { return Ok(None) };
    let vectors = get(table::VECTOR, &row)?;
    assemble(path, key, &bytes, vectors.as_deref()).map(Some)
}

fn assemble(path: &Path, key: &str, bytes: &[u8], vectors: Option<&[u8]>) -> Result<StoredEntry, StoreError> {
    let mut stored =
        entry::decode_entry(key.to_owned(), bytes).map_err(|error| damaged(path, table::ENTRY, key, &error))?;
    if let Some(vectors) = vectors {
        entry::decode_vectors(&mut stored, vectors).map_err(|error| damaged(path, table::VECTOR, key, &error))?;
    }
    Ok(stored)
}

// ---- checking

fn check_entries(reading: &Reading, name: &str, tenant: Tenant, problems: &mut Vec<String>) -> Result<(), StoreError> {
    scan_tenant(reading, table::ENTRY, tenant, None, |row, value| {
        let key = own_text(row);
        let vectors = reading.get(table::VECTOR, row)?;
        let owed = reading.get(table::OWED, row)?;
        match assemble(Path::new(""), &key, value, vectors.as_deref()) {
            Err(StoreError::Damaged { detail, .. }) => problems.push(format!("tenant {name}: {detail}")),
            Err(error) => return Err(error),
            Ok(stored) => {
                let expected: Vec<usize> = (0..stored.owed.len()).filter(|place| stored.owed[*place]).collect();
                let texts = owed.as_deref().map_or_else(|| Ok(vec![]), entry::decode_owed);
                let found = texts.map(|texts| texts.iter().map(|(passage, _)| *passage as usize).collect::<Vec<_>>());
                if found.as_ref() != Ok(&expected) {
                    problems.push(format!(
                        "tenant {name}: entry {key:?} owes vectors for {expected:?}, the list has {found:?}"
                    ));
                }
            }
        }
        Ok(problems.len() < PROBLEMS_MOST)
    })
}

fn check_orphans(reading: &Reading, name: &str, tenant: Tenant, problems: &mut Vec<String>) -> Result<(), StoreError> {
    for table in [table::VECTOR, table::OWED, table::NEXT] {
        scan_tenant(reading, table, tenant, None, |row, _| {
            if reading.get(table::ENTRY, row)?.is_none() {
                problems
                    .push(format!("tenant {name}: table {table} has a row for {:?}, which is no entry", own_text(row)));
            }
            Ok(problems.len() < PROBLEMS_MOST)
        })?;
    }
    Ok(())
}

fn check_changes(reading: &Reading, name: &str, tenant: Tenant, problems: &mut Vec<String>) -> Result<(), StoreError> {
    let mut last = None;
    scan_tenant(reading, table::CHANGE, tenant, None, |row, value| {
        let seq = <[u8; 8]>::try_from(own_key(row)).map(u64::from_be_bytes).unwrap_or_default();
        if last.is_some_and(|last: u64| last.checked_add(1) != Some(seq)) {
            problems.push(format!("tenant {name}: the changelog goes from {} to {seq}", last.unwrap_or_default()));
        }
        if let Err(error) = entry::decode_changes(value) {
            problems.push(format!("tenant {name}: change {seq}: {error}"));
        }
        last = Some(seq);
        Ok(problems.len() < PROBLEMS_MOST)
    })?;
    let head = reading.get(table::META, &head_key(tenant))?;
    let head = head.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_be_bytes);
    if head != last && problems.len() < PROBLEMS_MOST {
        problems.push(format!("tenant {name}: the last change is {last:?}, the recorded one {head:?}"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
    fn a_directory_without_permission_is_read_only() {
        let kinds = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
        for kind in kinds {
            let error = io_error("open", Path::new("/data"), kind.into());
            assert_eq!(error.to_string(), "the store at /data is read-only");
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
