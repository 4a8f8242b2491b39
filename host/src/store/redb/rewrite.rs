//! Writes all rows of one state into a new file, in the order of their keys and without gaps: to take the place of the
//! file they are in, or to be a backup. Reads and writes of the store go on meanwhile.
use super::{Reading, Rows, Shared, Span, Tables, Touched, Writing, engine_error, guarded, open_database};
use crate::store::StoreError;
use crate::store::place::Place;
use redb::{Database, TableHandle, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const ALL: Span<'static> = Span { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false };

impl Tables {
    /// Puts a new file with the same rows in the place of the present one. Nothing of what was removed or replaced is in
    /// it. Writers wait only while the last of what they wrote meanwhile is copied; `last` is then part of the new file.
    ///
    /// # Errors
    /// The present file stays in its place, as it is.
    pub(in crate::store) fn rewrite(
        &self,
        last: impl FnOnce(&mut Writing<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.rewriting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rewritten = self.rewrite_beside(last);
        *self.touched() = None;
        if rewritten.is_err() {
            self.place.discard();
        }
        rewritten
    }

    fn rewrite_beside(&self, last: impl FnOnce(&mut Writing<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let fresh = Fresh::beside(&*self.place, self.cache_bytes, self.quick_above)?;
        let reading = {
            let writing = self.write_lock();
            self.mend(&writing)?;
            // From here on each write leaves its keys.
            *self.touched() = Some(Touched::new());
            self.begin_read()?
        };
        fresh.copy(&reading)?;
        drop(reading);
        // Most of what was written meanwhile, while writes go on. No commit may lie between its keys and what is read.
        let (touched, reading) = {
            let writing = self.write_lock();
            self.mend(&writing)?;
            (self.touched().replace(Touched::new()).unwrap_or_default(), self.begin_read()?)
        };
        fresh.catch_up(&reading, &touched, |_| Ok(()))?;
        drop(reading);

        let writing = self.write_lock();
        self.mend(&writing)?;
        let touched = self.touched().take().unwrap_or_default();
        fresh.catch_up(&self.begin_read()?, &touched, last)?;
        self.place.replace()?;
        self.adopt(&writing, fresh.database, fresh.disk);
        Ok(())
    }

    /// Writes what is there now into a place where no store is yet.
    ///
    /// # Errors
    /// What was written is removed.
    pub(in crate::store) fn copy_to(&self, place: &dyn Place) -> Result<(), StoreError> {
        let copied = Fresh::beside(place, self.cache_bytes, self.quick_above).and_then(|fresh| {
            fresh.copy(&self.read()?)?;
            // Closed in order, so that it opens without repair.
            drop(fresh);
            place.replace()?;
            place.settle()
        });
        if copied.is_err() {
            place.discard();
        }
        copied
    }
}

/// A new file beside a store's.
struct Fresh<'p> {
    path: &'p Path,
    disk: Shared,
    database: Database,
    quick_above: u64,
    failed: Arc<AtomicBool>,
}

impl<'p> Fresh<'p> {
    fn beside(place: &'p dyn Place, cache_bytes: usize, quick_above: u64) -> Result<Fresh<'p>, StoreError> {
        let path = place.path();
        let disk = Shared::new(place.beside()?);
        let database = open_database(path, disk.clone(), cache_bytes)?;
        Ok(Fresh { path, disk, database, quick_above, failed: Arc::default() })
    }

    /// Copies every row. Ascending keys fill each page before the next is begun.
    fn copy(&self, reading: &Reading) -> Result<(), StoreError> {
        let names = reading.table_names()?;
        self.commit(|transaction| {
            for name in &names {
                let failed = |error| engine_error("write beside", self.path, &self.failed, error);
                let mut table = transaction.open_table(Rows::new(name)).map_err(|error| failed(error.into()))?;
                let mut cursor =
                    table.upper_bound_mut(Bound::<&[u8]>::Unbounded).map_err(|error| failed(error.into()))?;
                reading.scan(name, &ALL, |key, value| {
                    cursor.insert_before(key, value).map_err(|error| failed(error.into()))?;
                    Ok(true)
                })?;
                cursor.close().map_err(|error| failed(error.into()))?;
            }
            Ok(())
        })
    }

    /// Brings the rows of some keys to what the reading has of them, and does `last`.
    fn catch_up(
        &self,
        reading: &Reading,
        touched: &Touched,
        last: impl FnOnce(&mut Writing<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.commit(|transaction| {
            // Of this file: a table that the other no longer has is still to lose its rows here.
            let names = transaction.list_tables().map(|tables| tables.map(|table| table.name().to_owned()).collect());
            let existing =
                names.map_err(|error| engine_error("write beside", self.path, &self.failed, error.into()))?;
            let mut writing = Writing {
                transaction,
                path: self.path,
                failed: &self.failed,
                existing,
                tables: BTreeMap::new(),
                touched: None,
            };
            for (table, key) in touched {
                match reading.get(table, key)? {
                    Some(value) => writing.put(table, key, &value)?,
                    None => writing.remove(table, key)?,
                }
            }
            last(&mut writing)
        })
    }

    fn commit(&self, work: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut refused = None;
        guarded("write beside", self.path, &self.failed, || {
            let mut transaction = self.database.begin_write()?;
            transaction.set_quick_repair(redb::StorageBackend::len(&self.disk)? >= self.quick_above);
            match work(&transaction) {
                Ok(()) => Ok(transaction.commit()?),
                Err(error) => {
                    refused = Some(error);
                    Ok(transaction.abort()?)
                }
            }
        })?;
        refused.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::place::Memory;
    use crate::store::redb::{Keeping, Sync};
    use std::time::Duration;

    #[test]
    fn tables_that_were_dropped_and_renamed_meanwhile_are_so_in_the_new_file() {
        let keeping = Keeping { cache_bytes: 1 << 20, pause: Duration::ZERO, quick_above: u64::MAX };
        let tables = Tables::open(Box::new(Memory::default()), keeping).unwrap();
        let write = |work: &dyn Fn(&mut Writing<'_>) -> Result<(), StoreError>| {
            tables.write(Sync::Now, |writing| work(writing).map(Some)).unwrap();
        };
        write(&|writing| {
            writing.put("gone", b"k", b"1")?;
            writing.put("before", b"k", b"2")?;
            writing.put("kept", b"k", b"3")
        });
        let beside = Memory::default();
        let fresh = Fresh::beside(&beside, 1 << 20, u64::MAX).unwrap();
        *tables.touched() = Some(Touched::new());
        fresh.copy(&tables.read().unwrap()).unwrap();
        write(&|writing| {
            writing.drop_table("gone")?;
            writing.rename_table("before", "after")
        });
        let touched = tables.touched().take().unwrap();
        fresh.catch_up(&tables.read().unwrap(), &touched, |_| Ok(())).unwrap();
        drop(fresh);
        beside.replace().unwrap();
        let copied = Tables::open(Box::new(beside), keeping).unwrap().read().unwrap();
        let row = |table: &str| copied.get(table, b"k").unwrap();
        assert_eq!((row("gone"), row("before")), (None, None));
        assert_eq!((row("after"), row("kept")), (Some(b"2".to_vec()), Some(b"3".to_vec())));
    }
}
