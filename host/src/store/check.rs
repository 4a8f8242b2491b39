//! Whether what the store holds agrees with itself: entries, vectors, owed texts and changelog of every tenant. Changes
//! nothing, and never reads a record.
use super::entry;
use super::redb::Reading;
use super::rows::{entry_key, head_key, own_key, scan_tenant, table};
use super::snapshot::assemble;
use super::{Store, StoreError, Tenant};
use std::path::Path;

/// A damaged store has more wrong with it than anybody reads.
const PROBLEMS_MOST: usize = 100;

impl Store {
    /// Reads the whole file and compares its checksums; damage is the answer. Writes wait meanwhile. Changes nothing.
    ///
    /// # Errors
    /// Only if the file cannot be read.
    pub fn check_pages(&self) -> Result<Vec<String>, StoreError> {
        match self.0.tables.verify() {
            Ok(()) => Ok(vec![]),
            Err(damage @ StoreError::Damaged { .. }) => {
                Ok(vec![format!("{damage}; `export` saves what can still be read")])
            }
            Err(error) => Err(error),
        }
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
}

fn check_entries(reading: &Reading, name: &str, tenant: Tenant, problems: &mut Vec<String>) -> Result<(), StoreError> {
    scan_tenant(reading, table::ENTRY, tenant, None, |row, value| {
        let key = entry_key(row);
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
                problems.push(format!(
                    "tenant {name}: table {table} has a row for {:?}, which is no entry",
                    entry_key(row)
                ));
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
