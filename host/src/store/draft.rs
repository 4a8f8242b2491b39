//! One commit in the making: batches are checked and applied one after the other in memory, each seeing those before
//! it, and the whole is written in the order of tables and keys. A refused batch leaves nothing behind. Never decides
//! when to commit.
use super::entry::{self, Kind};
use super::redb::Writing;
use super::{Store, StoreError, Tenant, guest_table, head_key, load_entry, row, table};
use crate::contract::index::Entry;
use crate::contract::storage::{Operation, Precondition};
use crate::entry::{Change, Seq, StoredEntry};
use crate::writer::{Batch, BatchVector, Paid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

const KEY_BYTES: usize = 2 << 10;
const VALUE_BYTES: usize = 2 << 20;
const BATCH_BYTES: usize = 64 << 20;
const OPERATIONS: usize = 16_384;
const TABLES: usize = 16;
const ENTRY_KEY_BYTES: usize = 64;
const PASSAGES: usize = 4096;
const ATTRIBUTES: usize = 1152;
/// What an operation takes beside its bytes.
const OPERATION_BYTES: usize = 32;
/// `order` is the commit's position followed by the place in the commit in so many bits. A commit has far fewer new
/// entries, because its size is bounded and each operation counts.
const ORDER_BITS: u32 = 20;

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
        Draft { store, writing, tables, group: Layer::default(), tenants: BTreeMap::new() }
    }

    /// Applies a batch that [`check`] has let through, or nothing of it.
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
        let Draft { writing, group, tenants, .. } = self;
        let Layer { rows, mut entries, sequence, .. } = group;
        if tenants.values().all(|touched| !touched.is_changed) {
            return Ok(None);
        }
        for ((table, key), value) in &rows {
            match value {
                Some(value) => writing.put(table, key, value)?,
                None => writing.remove(table, key)?,
            }
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
            writing.put(table::CHANGE, &row(*tenant, &seq.0.to_be_bytes()), &entry::encode_changes(&keys))?;
        }
        for Committed { tenant, seq, .. } in &committed {
            writing.put(table::META, &head_key(*tenant), &seq.0.to_be_bytes())?;
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
            layer.rows.insert((table::NEXT.to_owned(), row(tenant, key.as_bytes())), None);
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
        let Some(bytes) = self.writing.get(table::ENTRY, &row(tenant, key.as_bytes()))? else {
            return Ok((false, None));
        };
        let order = entry::decode_order(&bytes);
        let order = order.map_err(|error| super::damaged(self.store.path(), table::ENTRY, key, &error))?;
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
        let owed = match self.writing.get(table::OWED, &row(tenant, key.as_bytes()))? {
            None => vec![],
            Some(bytes) => {
                entry::decode_owed(&bytes).map_err(|error| super::damaged(path, table::OWED, key, &error))?
            }
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

fn write_rows(
    writing: &mut Writing<'_>,
    entries: &BTreeMap<(Tenant, String), Slot>,
    table: &str,
    encode: impl Fn(&Staged) -> Option<Vec<u8>>,
) -> Result<(), StoreError> {
    for ((tenant, key), slot) in entries {
        let row = row(*tenant, key.as_bytes());
        match slot.now.as_ref().and_then(&encode) {
            Some(bytes) => writing.put(table, &row, &bytes)?,
            None if slot.existed => writing.remove(table, &row)?,
            None => {}
        }
    }
    Ok(())
}

// ---- what is refused before it waits

/// Refuses what no state of the store could make valid, and weighs the rest: about the bytes it takes in the queue.
pub(crate) fn check(batch: &Batch, dimensions: Option<u32>) -> Result<usize, StoreError> {
    let most = |place: &str, n: usize| match n {
        0..=OPERATIONS => Ok(()),
        _ => Err(StoreError::limit(place, format!("{n}, of at most {OPERATIONS}"))),
    };
    most("operations", batch.operations.len())?;
    most("preconditions", batch.preconditions.len())?;
    let mut bytes = 0;
    for (place, operation) in batch.operations.iter().enumerate() {
        bytes += OPERATION_BYTES + check_operation(&format!("operations[{place}]"), operation, &batch.vectors)?;
    }
    for (place, Precondition { table, key, value }) in batch.preconditions.iter().enumerate() {
        let place = format!("preconditions[{place}]");
        check_pair(&place, table, key, value.as_deref().unwrap_or_default())?;
        bytes += OPERATION_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
    }
    if bytes > BATCH_BYTES {
        return Err(StoreError::limit("operations", format!("together {bytes} bytes, of at most {BATCH_BYTES}")));
    }
    for (place, vector) in batch.vectors.iter().enumerate() {
        match vector {
            BatchVector::Ready(vector) => {
                check_vector(&format!("vectors[{place}]"), vector, dimensions)?;
                bytes += 2 * vector.len();
            }
            BatchVector::Owed(text) => bytes += text.len(),
            BatchVector::Unused => {}
        }
    }
    Ok(bytes)
}

fn check_operation(place: &str, operation: &Operation, vectors: &[BatchVector]) -> Result<usize, StoreError> {
    match operation {
        Operation::Put(put) => {
            check_pair(place, &put.table, &put.key, &put.value)?;
            Ok(put.key.len() + put.value.len())
        }
        Operation::Delete(delete) => check_pair(place, &delete.table, &delete.key, &[]).map(|()| delete.key.len()),
        Operation::Increment(increment) => {
            check_pair(place, &increment.table, &increment.key, &[]).map(|()| increment.key.len())
        }
        Operation::IndexPut(entry) => check_entry(place, entry, vectors),
        Operation::IndexDelete(key) => check_entry_key(place, key).map(|()| key.len()),
    }
}

fn check_pair(place: &str, table: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    guest_table(&format!("{place}.table"), table)?;
    check_key(&format!("{place}.key"), key)?;
    if value.len() > VALUE_BYTES {
        let message = format!("{} bytes, of at most {VALUE_BYTES}", value.len());
        return Err(StoreError::limit(format!("{place}.value"), message));
    }
    Ok(())
}

pub(super) fn check_key(place: &str, key: &[u8]) -> Result<(), StoreError> {
    match key.len() {
        0 => Err(StoreError::invalid(place, "a key has 1 byte at least")),
        1..=KEY_BYTES => Ok(()),
        length => Err(StoreError::limit(place, format!("{length} bytes, of at most {KEY_BYTES}"))),
    }
}

fn check_entry_key(place: &str, key: &str) -> Result<(), StoreError> {
    match key.len() {
        0 => Err(StoreError::invalid(format!("{place}.key"), "a key has 1 byte at least")),
        1..=ENTRY_KEY_BYTES => Ok(()),
        length => {
            Err(StoreError::limit(format!("{place}.key"), format!("{length} bytes, of at most {ENTRY_KEY_BYTES}")))
        }
    }
}

fn check_entry(place: &str, entry: &Entry, vectors: &[BatchVector]) -> Result<usize, StoreError> {
    check_entry_key(place, &entry.key)?;
    if entry.attributes.len() > ATTRIBUTES {
        let message = format!("{}, of at most {ATTRIBUTES}", entry.attributes.len());
        return Err(StoreError::limit(format!("{place}.attributes"), message));
    }
    let attributes: usize = entry.attributes.iter().map(|attribute| attribute.name.len() + OPERATION_BYTES).sum();
    let mut bytes = entry.key.len() + attributes;
    let Some(passages) = &entry.passages else { return Ok(bytes) };
    match passages.len() {
        0 => return Err(StoreError::invalid(format!("{place}.passages"), "an entry has 1 passage at least")),
        1..=PASSAGES => {}
        n => return Err(StoreError::limit(format!("{place}.passages"), format!("{n}, of at most {PASSAGES}"))),
    }
    for (at, passage) in passages.iter().enumerate() {
        bytes += passage.words.iter().map(|words| words.text.len() + OPERATION_BYTES).sum::<usize>();
        let Some(vector) = passage.vector else { continue };
        if matches!(vectors.get(vector as usize), None | Some(BatchVector::Unused)) {
            let message = format!("the call carries no vector {vector}");
            return Err(StoreError::invalid(format!("{place}.passages[{at}].vector"), message));
        }
    }
    Ok(bytes)
}

pub(crate) fn check_vector(place: &str, vector: &[f32], dimensions: Option<u32>) -> Result<(), StoreError> {
    if let Some(dimensions) = dimensions
        && vector.len() != dimensions as usize
    {
        let message = format!("{} numbers, not the {dimensions} of the store's model", vector.len());
        return Err(StoreError::invalid(place, message));
    }
    if vector.is_empty() || vector.iter().any(|number| !number.is_finite()) {
        return Err(StoreError::invalid(place, "a vector has numbers, all of them finite"));
    }
    Ok(())
}
