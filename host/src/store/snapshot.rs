//! One state of the store, read for a while: rows of the guest's tables, entries, the changelog, owed vectors. Never
//! waits for a writer.
use super::entry::{self, Kind, short_key};
use super::error::damaged;
use super::limits;
use super::redb::{Reading, Span};
use super::rows::{end_of, entry_key, entry_row, guest_table, head_key, own_key, row, scan_tenant, table};
use super::{Store, StoreError, Tenant};
use crate::contract::storage::{Pair, Pairs, Range};
use crate::entry::{Change, Seq, StoredEntry};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a snapshot answers.
pub const SNAPSHOT_LIFE: Duration = Duration::from_secs(30);
const KEYS_MOST: usize = 10_000;
const PAIRS_MOST: u32 = 10_000;
const PAIRS_BYTES: usize = 4 << 20;

/// One state of the store. Holding it keeps replaced data on disk; past its life it answers `Expired`.
pub struct Snapshot {
    reading: Reading,
    pub(super) path: PathBuf,
    since: Instant,
    life: Duration,
    id: u64,
    opened: Opened,
}

/// The snapshots that are open.
#[derive(Clone, Default)]
pub(super) struct Opened(Arc<Mutex<Since>>);

#[derive(Default)]
struct Since {
    next: u64,
    begun: BTreeMap<u64, Instant>,
}

/// An entry whose vectors are not all there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub key: String,
    /// Place of each passage and what the model is to read for it.
    pub texts: Vec<(u32, String)>,
}

impl Opened {
    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Age of the oldest.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.lock().begun.values().min().map(Instant::elapsed)
    }
}

impl Store {
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

    pub(super) fn snapshot_of_life(&self, life: Duration) -> Result<Snapshot, StoreError> {
        let reading = self.0.tables.read()?;
        let since = Instant::now();
        let mut opened = self.0.snapshots.lock();
        let id = opened.next;
        opened.next += 1;
        opened.begun.insert(id, since);
        drop(opened);
        Ok(Snapshot { reading, path: self.path().to_owned(), since, life, id, opened: self.0.snapshots.clone() })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.opened.lock().begun.remove(&self.id);
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
            limits::check_key(&format!("keys[{place}]"), key)?;
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
        self.rows(table::ENTRY, tenant, after.map(short_key).as_deref(), limit, |key, value| {
            found.push((entry_key(key), value.to_vec()));
            Ok(())
        })?;
        let reading = self.alive()?;
        found
            .into_iter()
            .map(|(key, bytes)| {
                let vectors = reading.get(table::VECTOR, &entry_row(tenant, &key))?;
                assemble(&self.path, &key, &bytes, vectors.as_deref())
            })
            .collect()
    }

    /// What the commits behind `after` did, at most `limit` of them. A put carries the entry as it is in this snapshot; one
    /// that is gone by now is a delete.
    ///
    /// # Errors
    /// `Cut` if the changelog does not reach back that far; `Damaged` if a row cannot be read.
    pub fn changes(&self, tenant: Tenant, after: Seq, limit: usize) -> Result<Vec<(Seq, Vec<Change>)>, StoreError> {
        let mut commits = vec![];
        self.rows(table::CHANGE, tenant, Some(&after.0.to_be_bytes()), limit, |key, value| {
            let seq = Seq(self.position(own_key(key))?);
            let changes = entry::decode_changes(value)
                .map_err(|error| damaged(&self.path, table::CHANGE, &seq.0.to_string(), &error))?;
            commits.push((seq, changes));
            Ok(())
        })?;
        if let Some(oldest) = commits.first().map(|(seq, _)| seq.0).filter(|oldest| *oldest != after.0 + 1) {
            return Err(StoreError::Cut { after: after.0, oldest });
        }
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
            let key = entry_key(key);
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
                entry::decode_owed(value).map_err(|error| damaged(&self.path, table::OWED, &entry_key(key), &error))?;
            count += texts.len() as u64;
            Ok(())
        })?;
        Ok(count)
    }

    pub(super) fn alive(&self) -> Result<&Reading, StoreError> {
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

/// An entry from its two rows.
pub(super) fn load_entry(
    path: &Path,
    tenant: Tenant,
    key: &str,
    mut get: impl FnMut(&str, &[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Option<StoredEntry>, StoreError> {
    let row = entry_row(tenant, key);
    let Some(bytes) = get(table::ENTRY, &row)? else { return Ok(None) };
    let vectors = get(table::VECTOR, &row)?;
    assemble(path, key, &bytes, vectors.as_deref()).map(Some)
}

pub(super) fn assemble(
    path: &Path,
    key: &str,
    bytes: &[u8],
    vectors: Option<&[u8]>,
) -> Result<StoredEntry, StoreError> {
    let mut stored =
        entry::decode_entry(key.to_owned(), bytes).map_err(|error| damaged(path, table::ENTRY, key, &error))?;
    if let Some(vectors) = vectors {
        entry::decode_vectors(&mut stored, vectors).map_err(|error| damaged(path, table::VECTOR, key, &error))?;
    }
    Ok(stored)
}
