//! One commit in the making: batches are checked and applied one after the other in memory, each seeing those before
//! it, and the whole is written in the order of tables and keys. A refused batch leaves nothing behind. Never decides
//! when to commit.
use super::copy::owe_erasure;
use super::entry::{self, Kind};
use super::error::damaged;
use super::redb::Writing;
use super::rows::{entry_row, guest_table, head_key, row, table};
use super::snapshot::load_entry;
use super::{CLOCK, Store, StoreError, Tenant};
use crate::contract::index::Entry;
use crate::contract::storage::Operation;
use crate::entry::{Change, Seq, StoredEntry};
use crate::writer::{Batch, BatchVector, Paid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

const TABLES: usize = 16;
/// `order` is the commit's position followed by the place in the commit in so many bits. A commit has far fewer new
/// entries, because its size is bounded and each operation counts.
const ORDER_BITS: u32 = 20;

/// Commits of a tenant that its changelog keeps at least, and how many are cut off in one go. A view that is further
/// behind is made anew from the entries.
const KEPT: u64 = if cfg!(test) { 48 } else { 65_536 };
const CUT: u64 = if cfg!(test) { 16 } else { 1_024 };

/// What a commit did to one tenant.
pub(crate) struct Committed {
    pub(crate) tenant: Tenant,
    pub(crate) seq: Seq,
    pub(crate) changes: Vec<Change>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// At the tenant's position after it, the commit's if anything was changed.
    Committed(Seq),
    /// Places of the preconditions that did not hold.
    Conflict(Vec<u32>),
}

pub(crate) struct Draft<'d, 't> {
    store: &'d Store,
    writing: &'d mut Writing<'t>,
    tables: BTreeSet<String>,
    group: Layer,
    tenants: BTreeMap<Tenant, Touched>,
    /// Something was removed or replaced that shall leave no byte behind.
    erases: bool,
}

/// What was written so far, over what lies below.
#[derive(Default)]
struct Layer {
    /// Rows of guest tables; none: removed.
    rows: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>>,
    entries: BTreeMap<(Tenant, String), Slot>,
    /// Keys of `entries` as they were first touched.
    sequence: Vec<(Tenant, String)>,
    new_tables: BTreeSet<String>,
    /// New entries that got an order from this layer.
    n_new: u64,
}

#[derive(Clone)]
struct Slot {
    /// Whether the file has rows of it.
    existed: bool,
    now: Option<Staged>,
}

#[derive(Clone)]
struct Staged {
    stored: StoredEntry,
    owed: Vec<(u32, String)>,
}

struct Touched {
    seq: Seq,
    n_new: u64,
    is_changed: bool,
}

impl<'d, 't> Draft<'d, 't> {
    pub(super) fn new(store: &'d Store, writing: &'d mut Writing<'t>) -> Draft<'d, 't> {
        let tables = writing.existing().iter().filter(|name| name.starts_with(table::GUEST)).cloned().collect();
        Draft { store, writing, tables, group: Layer::default(), tenants: BTreeMap::new(), erases: false }
    }

    /// Applies a batch that [`super::limits::check`] has let through, or nothing of it.
    pub(crate) fn apply(&mut self, batch: Batch) -> Result<Outcome, StoreError> {
        let tenant = batch.tenant;
        let mut failed = vec![];
        for (place, precondition) in (0..).zip(&batch.preconditions) {
            let table = guest_table("preconditions", &precondition.table)?;
            let found = self.value(&Layer::default(), table, row(tenant, &precondition.key))?;
            if found != precondition.value {
                failed.push(place);
            }
        }
        if !failed.is_empty() {
            return Ok(Outcome::Conflict(failed));
        }
        if batch.operations.is_empty() {
            return self.committed(tenant);
        }
        let mut layer = Layer::default();
        for (place, operation) in batch.operations.into_iter().enumerate() {
            self.operate(&mut layer, tenant, place, operation, &batch.vectors)?;
        }
        self.merge(tenant, layer)?;
        self.erases |= batch.scrub;
        self.committed(tenant)
    }

    /// Puts vectors where they are still owed for the same text.
    pub(crate) fn pay(&mut self, tenant: Tenant, paid: Vec<Paid>) -> Result<Outcome, StoreError> {
        let mut layer = Layer::default();
        for Paid { key, vectors } in paid {
            let slot = self.slot(&layer, tenant, &key)?;
            let Some(mut staged) = slot.now else { continue };
            let n_owed = staged.owed.len();
            for (passage, text, vector) in vectors {
                let Some(at) = staged.owed.iter().position(|(place, owed)| *place == passage && *owed == text) else {
                    continue;
                };
                let place = passage as usize;
                staged.stored.vectors[place] = Some(vector.to_vec());
                staged.stored.owed[place] = false;
                staged.owed.remove(at);
            }
            if staged.owed.len() < n_owed {
                entry::round(&mut staged.stored);
                layer.set(tenant, key, Slot { existed: slot.existed, now: Some(staged) });
            }
        }
        if !layer.sequence.is_empty() {
            self.merge(tenant, layer)?;
        }
        self.committed(tenant)
    }

    /// Writes all of it. None if there is nothing to commit.
    pub(super) fn finish(self) -> Result<Option<Vec<Committed>>, StoreError> {
        let Draft { store, writing, group, tenants, erases, .. } = self;
        let Layer { rows, mut entries, sequence, .. } = group;
        if tenants.values().all(|touched| !touched.is_changed) {
            return Ok(None);
        }
        let mut by_table: BTreeMap<String, Vec<(Vec<u8>, Option<Vec<u8>>)>> = BTreeMap::new();
        for ((table, key), value) in rows {
            by_table.entry(table).or_default().push((key, value));
        }
        for (table, rows) in by_table {
            writing.write_ascending(&table, rows)?;
        }
        write_rows(writing, &entries, table::ENTRY, |staged| Some(entry::encode_entry(&staged.stored)))?;
        write_rows(writing, &entries, table::VECTOR, |staged| entry::encode_vectors(&staged.stored))?;
        write_rows(writing, &entries, table::OWED, |staged| {
            (!staged.owed.is_empty()).then(|| entry::encode_owed(&staged.owed))
        })?;
        let mut committed = vec![];
        for (tenant, touched) in tenants {
            if !touched.is_changed {
                continue;
            }
            let mut changes = vec![];
            for at in sequence.iter().filter(|at| at.0 == tenant) {
                let slot = entries.remove(at).expect("the sequence has each key of the entries once");
                changes.push(match slot.now {
                    Some(staged) => Change::Put(Box::new(staged.stored)),
                    None => Change::Delete(at.1.clone()),
                });
            }
            committed.push(Committed { tenant, seq: touched.seq, changes });
        }
        for Committed { tenant, seq, changes } in &committed {
            let keys: Vec<(Kind, &str)> = changes
                .iter()
                .map(|change| match change {
                    Change::Put(stored) => (Kind::Put, stored.entry.key.as_str()),
                    Change::Delete(key) => (Kind::Delete, key.as_str()),
                })
                .collect();
            let change = (row(*tenant, &seq.0.to_be_bytes()), Some(entry::encode_changes(&keys)));
            writing.write_ascending(table::CHANGE, [change])?;
        }
        for Committed { tenant, seq, .. } in &committed {
            for old in cut(*seq) {
                writing.remove(table::CHANGE, &row(*tenant, &old.to_be_bytes()))?;
            }
            writing.put(table::META, &head_key(*tenant), &seq.0.to_be_bytes())?;
        }
        writing.put(table::META, CLOCK, &store.clock().to_be_bytes())?;
        if erases {
            owe_erasure(writing)?;
        }
        Ok(Some(committed))
    }

    fn operate(
        &mut self,
        layer: &mut Layer,
        tenant: Tenant,
        place: usize,
        operation: Operation,
        vectors: &[BatchVector],
    ) -> Result<(), StoreError> {
        match operation {
            Operation::Put(put) => {
                let table = self.table(layer, place, &put.table)?;
                layer.rows.insert((table, row(tenant, &put.key)), Some(put.value));
            }
            Operation::Delete(delete) => {
                let table = guest_table("operations", &delete.table)?;
                layer.rows.insert((table, row(tenant, &delete.key)), None);
            }
            Operation::Increment(increment) => {
                let table = self.table(layer, place, &increment.table)?;
                let key = row(tenant, &increment.key);
                let before = match self.value(layer, table.clone(), key.clone())? {
                    None => 0,
                    Some(bytes) => i64::from_le_bytes(bytes.try_into().map_err(|_| {
                        StoreError::invalid(format!("operations[{place}].key"), "its value is not a number of 8 bytes")
                    })?),
                };
                let after = before.checked_add(increment.by).ok_or_else(|| {
                    StoreError::invalid(format!("operations[{place}].by"), "the sum does not fit 64 bits")
                })?;
                layer.rows.insert((table, key), (after != 0).then(|| after.to_le_bytes().to_vec()));
            }
            Operation::IndexPut(entry) => self.index_put(layer, tenant, entry, vectors)?,
            Operation::IndexDelete(key) => {
                let slot = self.slot(layer, tenant, &key)?;
                self.unmove(layer, tenant, &key);
                if slot.now.is_some() {
                    layer.set(tenant, key, Slot { existed: slot.existed, now: None });
                }
            }
        }
        Ok(())
    }

    fn index_put(
        &mut self,
        layer: &mut Layer,
        tenant: Tenant,
        mut entry: Entry,
        vectors: &[BatchVector],
    ) -> Result<(), StoreError> {
        let key = entry.key.clone();
        let Some(passages) = &entry.passages else {
            let slot = self.slot(layer, tenant, &key)?;
            let Some(mut staged) = slot.now else { return Err(StoreError::NotFound(key)) };
            entry.passages = staged.stored.entry.passages.take();
            staged.stored.entry = entry;
            layer.set(tenant, key, Slot { existed: slot.existed, now: Some(staged) });
            return Ok(());
        };
        self.unmove(layer, tenant, &key);
        let (mut there, mut owed, mut texts) = (vec![], vec![], vec![]);
        for (passage, index) in passages.iter().zip(0_u32..) {
            let vector = passage.vector.map(|place| &vectors[place as usize]);
            there.push(match vector {
                Some(BatchVector::Ready(vector)) => Some(vector.to_vec()),
                Some(BatchVector::Owed(text)) => {
                    texts.push((index, text.clone()));
                    None
                }
                Some(BatchVector::Unused) | None => None,
            });
            owed.push(matches!(vector, Some(BatchVector::Owed(_))));
        }
        let (existed, order) = self.order(layer, tenant, &key)?;
        let order = if let Some(order) = order {
            order
        } else {
            let touched = self.touched(tenant)?;
            let order = (touched.seq.0 << ORDER_BITS) + touched.n_new + layer.n_new;
            layer.n_new += 1;
            order
        };
        let mut stored = StoredEntry { entry, order, vectors: there, owed };
        entry::round(&mut stored);
        layer.set(tenant, key, Slot { existed, now: Some(Staged { stored, owed: texts }) });
        Ok(())
    }

    /// What the next model made of an entry is worth nothing once its passages change.
    fn unmove(&self, layer: &mut Layer, tenant: Tenant, key: &str) {
        if self.store.0.is_migrating.load(Ordering::Acquire) {
            layer.rows.insert((table::NEXT.to_owned(), entry_row(tenant, key)), None);
        }
    }

    fn merge(&mut self, tenant: Tenant, layer: Layer) -> Result<(), StoreError> {
        let touched = self.touched(tenant)?;
        touched.is_changed = true;
        touched.n_new += layer.n_new;
        self.group.rows.extend(layer.rows);
        for at in layer.sequence {
            if !self.group.entries.contains_key(&at) {
                self.group.sequence.push(at);
            }
        }
        self.group.entries.extend(layer.entries);
        self.tables.extend(layer.new_tables);
        Ok(())
    }

    fn committed(&mut self, tenant: Tenant) -> Result<Outcome, StoreError> {
        let touched = self.touched(tenant)?;
        Ok(Outcome::Committed(if touched.is_changed { touched.seq } else { Seq(touched.seq.0 - 1) }))
    }

    fn touched(&mut self, tenant: Tenant) -> Result<&mut Touched, StoreError> {
        if !self.tenants.contains_key(&tenant) {
            let head = match self.writing.get(table::META, &head_key(tenant))? {
                None => 0,
                Some(bytes) => {
                    let bytes =
                        bytes.try_into().map_err(|_| self.store.wrong("a head has a wrong length".to_owned()))?;
                    u64::from_be_bytes(bytes)
                }
            };
            self.tenants.insert(tenant, Touched { seq: Seq(head + 1), n_new: 0, is_changed: false });
        }
        Ok(self.tenants.get_mut(&tenant).expect("inserted above"))
    }

    /// The table's name in the file; a new one takes one of the sixteen places.
    fn table(&self, layer: &mut Layer, place: usize, name: &str) -> Result<String, StoreError> {
        let name = guest_table("operations", name)?;
        if !self.tables.contains(&name) && !layer.new_tables.contains(&name) {
            if self.tables.len() + layer.new_tables.len() >= TABLES {
                let place = format!("operations[{place}].table");
                return Err(StoreError::limit(place, format!("a store has at most {TABLES} tables")));
            }
            layer.new_tables.insert(name.clone());
        }
        Ok(name)
    }

    fn value(&mut self, layer: &Layer, table: String, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        let at = (table, key);
        match layer.rows.get(&at).or_else(|| self.group.rows.get(&at)) {
            Some(value) => Ok(value.clone()),
            None => self.writing.get(&at.0, &at.1),
        }
    }

    /// Whether the file has the entry, and its order if it is there now.
    fn order(&mut self, layer: &Layer, tenant: Tenant, key: &str) -> Result<(bool, Option<u64>), StoreError> {
        let at = (tenant, key.to_owned());
        if let Some(slot) = layer.entries.get(&at).or_else(|| self.group.entries.get(&at)) {
            return Ok((slot.existed, slot.now.as_ref().map(|staged| staged.stored.order)));
        }
        let Some(bytes) = self.writing.get(table::ENTRY, &entry_row(tenant, key))? else {
            return Ok((false, None));
        };
        let order = entry::decode_order(&bytes);
        let order = order.map_err(|error| damaged(self.store.path(), table::ENTRY, key, &error))?;
        Ok((true, Some(order)))
    }

    /// The whole entry as it is now.
    fn slot(&mut self, layer: &Layer, tenant: Tenant, key: &str) -> Result<Slot, StoreError> {
        let at = (tenant, key.to_owned());
        if let Some(slot) = layer.entries.get(&at).or_else(|| self.group.entries.get(&at)) {
            return Ok(slot.clone());
        }
        let path = self.store.path();
        let Some(stored) = load_entry(path, tenant, key, |table, row| self.writing.get(table, row))? else {
            return Ok(Slot { existed: false, now: None });
        };
        let owed = match self.writing.get(table::OWED, &entry_row(tenant, key))? {
            None => vec![],
            Some(bytes) => entry::decode_owed(&bytes).map_err(|error| damaged(path, table::OWED, key, &error))?,
        };
        // A list that names other passages than the entry would be a panic where vectors are put.
        if owed.iter().any(|(passage, _)| stored.owed.get(*passage as usize) != Some(&true)) {
            return Err(self.store.wrong(format!("entry {key:?} and its owed vectors disagree")));
        }
        Ok(Slot { existed: true, now: Some(Staged { stored, owed }) })
    }
}

impl Layer {
    fn set(&mut self, tenant: Tenant, key: String, slot: Slot) {
        if self.entries.insert((tenant, key.clone()), slot).is_none() {
            self.sequence.push((tenant, key));
        }
    }
}

/// Positions that leave the changelog with this one.
fn cut(seq: Seq) -> std::ops::Range<u64> {
    let end = seq.0.saturating_sub(KEPT);
    if seq.0.is_multiple_of(CUT) { end.saturating_sub(CUT).max(1)..end.max(1) } else { 0..0 }
}

fn write_rows(
    writing: &mut Writing<'_>,
    entries: &BTreeMap<(Tenant, String), Slot>,
    table: &str,
    encode: impl Fn(&Staged) -> Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let rows = entries.iter().filter_map(|((tenant, key), slot)| {
        let bytes = slot.now.as_ref().and_then(&encode);
        (bytes.is_some() || slot.existed).then(|| (entry_row(*tenant, key), bytes))
    });
    // Short keys do not always ascend as the keys do.
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    writing.write_ascending(table, rows)
}
