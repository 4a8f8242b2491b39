//! What a batch may be: everything that no state of the store could make valid is refused before it waits in a queue.
use super::StoreError;
use super::rows::guest_table;
use crate::contract::index::Entry;
use crate::contract::storage::{Operation, Precondition};
use crate::writer::{Batch, BatchVector};

const KEY_BYTES: usize = 2 << 10;
const VALUE_BYTES: usize = 2 << 20;
const BATCH_BYTES: usize = 64 << 20;
const OPERATIONS: usize = 16_384;
const ENTRY_KEY_BYTES: usize = 64;
const PASSAGES: usize = 4096;
const ATTRIBUTES: usize = 1152;
/// What an operation takes beside its bytes.
const OPERATION_BYTES: usize = 32;

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
