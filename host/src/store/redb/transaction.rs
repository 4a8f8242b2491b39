//! Reading and writing rows: one state of all tables, and one commit in the making.
use super::{Rows, Touched, engine_error, guarded};
use crate::store::StoreError;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableError, TableHandle,
    WriteTransaction,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

type Readable = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Writable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// One state of all tables.
pub(in crate::store) struct Reading {
    pub(super) transaction: ReadTransaction,
    pub(super) path: PathBuf,
    pub(super) failed: Arc<AtomicBool>,
    /// Counts those who read from one database.
    pub(super) _reader: Arc<()>,
}

/// Where a scan goes, in the order of the keys or against it.
pub(in crate::store) struct Span<'a> {
    pub(in crate::store) from: Bound<&'a [u8]>,
    pub(in crate::store) to: Bound<&'a [u8]>,
    pub(in crate::store) reverse: bool,
}

impl Reading {
    pub(in crate::store) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(None) };
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// As [`Reading::get`] for each key, in order.
    pub(in crate::store) fn get_all(
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
    pub(in crate::store) fn scan(
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
    pub(in crate::store) fn length(&self, table: &str) -> Result<u64, StoreError> {
        guarded("read", &self.path, &self.failed, || {
            let Some(table) = self.table(table)? else { return Ok(0) };
            Ok(table.len()?)
        })
    }

    pub(in crate::store) fn table_names(&self) -> Result<Vec<String>, StoreError> {
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
pub(in crate::store) struct Writing<'t> {
    pub(super) transaction: &'t WriteTransaction,
    pub(super) path: &'t Path,
    pub(super) failed: &'t AtomicBool,
    pub(super) existing: Vec<String>,
    pub(super) tables: BTreeMap<String, Writable<'t>>,
    /// Keys that are written, if somebody wants to know.
    pub(super) touched: Option<Touched>,
}

impl Writing<'_> {
    /// Names of the tables that were there before.
    pub(in crate::store) fn existing(&self) -> &[String] {
        &self.existing
    }

    pub(in crate::store) fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(None);
        }
        let got = self.table(table).and_then(|table| Ok(table.get(key)?.map(|value| value.value().to_vec())));
        got.map_err(|error| engine_error("read", self.path, self.failed, error))
    }

    pub(in crate::store) fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.touch(table, key);
        let put = self.table(table).and_then(|table| Ok(table.insert(key, value).map(drop)?));
        put.map_err(|error| engine_error("write to", self.path, self.failed, error))
    }

    pub(in crate::store) fn remove(&mut self, table: &str, key: &[u8]) -> Result<(), StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(());
        }
        self.touch(table, key);
        let removed = self.table(table).and_then(|table| Ok(table.remove(key).map(drop)?));
        removed.map_err(|error| engine_error("write to", self.path, self.failed, error))
    }

    /// Rows of a table.
    pub(in crate::store) fn length(&mut self, table: &str) -> Result<u64, StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(0);
        }
        let length = self.table(table).and_then(|table| Ok(table.len()?));
        length.map_err(|error| engine_error("read", self.path, self.failed, error))
    }

    /// Removes a table with all its rows; nothing happens if there is none.
    pub(in crate::store) fn drop_table(&mut self, table: &str) -> Result<(), StoreError> {
        self.touch_all(table, table)?;
        self.tables.remove(table);
        self.existing.retain(|name| name != table);
        let dropped = self.transaction.delete_table(Rows::new(table));
        dropped.map(drop).map_err(|error| engine_error("write to", self.path, self.failed, error.into()))
    }

    /// Takes note of every key of a table, as one of the table `as_of`.
    fn touch_all(&mut self, table: &str, as_of: &str) -> Result<(), StoreError> {
        if self.touched.is_none() || !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table)
        {
            return Ok(());
        }
        let keys = self.table(table).and_then(|table| {
            let keys = table.iter()?.map(|pair| Ok(pair?.0.value().to_vec()));
            keys.collect::<Result<Vec<Vec<u8>>, redb::Error>>()
        });
        let keys = keys.map_err(|error| engine_error("read", self.path, self.failed, error))?;
        for key in keys {
            self.touch(as_of, &key);
        }
        Ok(())
    }

    /// Gives a table another name, which no table has; nothing happens if there is none.
    pub(in crate::store) fn rename_table(&mut self, table: &str, name: &str) -> Result<(), StoreError> {
        self.touch_all(table, table)?;
        self.touch_all(table, name)?;
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
    /// Puts and removes rows that ascend by key. Those behind all that are there fill their pages one after the other, where
    /// single puts would leave each page half empty.
    pub(in crate::store) fn write_ascending(
        &mut self,
        table: &str,
        rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter().peekable();
        let end = self.last_key(table)?;
        while let Some((key, value)) = rows.next_if(|(key, _)| end.as_ref().is_some_and(|end| key <= end)) {
            match value {
                Some(value) => self.put(table, &key, &value)?,
                None => self.remove(table, &key)?,
            }
        }
        let rows: Vec<(Vec<u8>, Vec<u8>)> = rows.filter_map(|(key, value)| Some((key, value?))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        for (key, _) in &rows {
            self.touch(table, key);
        }
        let (path, failed) = (self.path, self.failed);
        let append = self.table(table).and_then(|table| {
            let mut cursor = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
            for (key, value) in &rows {
                cursor.insert_before(key.as_slice(), value.as_slice())?;
            }
            Ok(cursor.close()?)
        });
        append.map_err(|error| engine_error("write to", path, failed, error))
    }

    fn last_key(&mut self, table: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.existing.iter().any(|name| name == table) && !self.tables.contains_key(table) {
            return Ok(None);
        }
        let (path, failed) = (self.path, self.failed);
        let last = self.table(table).and_then(|table| Ok(table.last()?.map(|(key, _)| key.value().to_vec())));
        last.map_err(|error| engine_error("read", path, failed, error))
    }

    /// All rows of a table, for a step from one format to the next.
    #[cfg_attr(not(test), expect(dead_code, reason = "there is one format so far"))]
    pub(in crate::store) fn rows(&mut self, table: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let (path, failed) = (self.path, self.failed);
        let rows = self.table(table).and_then(|table| {
            let rows = table.iter()?.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())));
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.map_err(|error| engine_error("read", path, failed, error))
    }

    fn touch(&mut self, table: &str, key: &[u8]) {
        if let Some(touched) = &mut self.touched {
            touched.insert((table.to_owned(), key.to_vec()));
        }
    }

    fn table(&mut self, name: &str) -> Result<&mut Writable<'t>, redb::Error> {
        if !self.tables.contains_key(name) {
            let table = self.transaction.open_table(Rows::new(name))?;
            self.tables.insert(name.to_owned(), table);
        }
        Ok(self.tables.get_mut(name).expect("inserted above"))
    }
}
