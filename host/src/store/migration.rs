//! A store on its way to another model: vectors of the next model lie beside those that serve, entry by entry, until
//! none is missing; then they take their place in one commit. Never computes a vector.
use super::entry::short_key;
use super::redb::Sync;
use super::rows::{entry_key, entry_row, scan_tenant, table};
use super::{Snapshot, Store, StoreError, Tenant, damaged, entry};
use crate::entry::StoredEntry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

const NEXT: &[u8] = b"next-model";

/// Where a migration stands, all tenants together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Name of the next model.
    pub name: String,
    pub fingerprint: String,
    /// Entries whose vectors are there.
    pub moved: u64,
    pub entries: u64,
}

/// An entry without vectors of the next model, as it was read.
pub(crate) struct Unmoved {
    stored: StoredEntry,
    row: Vec<u8>,
}

impl Unmoved {
    pub(crate) fn key(&self) -> &str {
        &self.stored.entry.key
    }

    pub(crate) fn passages(&self) -> usize {
        self.stored.vectors.len()
    }
}

impl Store {
    /// The migration that was begun and is not finished, if there is one.
    ///
    /// # Errors
    /// Only if the store cannot be read.
    pub fn migration(&self) -> Result<Option<Migration>, StoreError> {
        let reading = self.0.tables.read()?;
        let Some(bytes) = reading.get(table::META, NEXT)? else { return Ok(None) };
        let (name, fingerprint, _) = self.decode(&bytes)?;
        let (moved, entries) = (reading.length(table::NEXT)?, reading.length(table::ENTRY)?);
        Ok(Some(Migration { name, fingerprint, moved, entries }))
    }

    /// Begins to move to a model, or goes on with that. A move to another one is given up.
    pub(crate) fn begin_migration(&self, name: &str, fingerprint: &str, dimensions: u32) -> Result<(), StoreError> {
        let next = entry::encode_model(name, fingerprint, dimensions);
        self.0.tables.write(Sync::Now, |writing| {
            if writing.get(table::META, NEXT)?.as_ref() == Some(&next) {
                return Ok(None);
            }
            writing.drop_table(table::NEXT)?;
            writing.put(table::META, NEXT, &next)?;
            Ok(Some(()))
        })?;
        self.0.is_migrating.store(true, Ordering::Release);
        Ok(())
    }

    /// Forgets a migration; the vectors that serve stay.
    pub(crate) fn abandon_migration(&self) -> Result<(), StoreError> {
        self.0.tables.write(Sync::Now, |writing| {
            if writing.get(table::META, NEXT)?.is_none() {
                return Ok(None);
            }
            writing.drop_table(table::NEXT)?;
            writing.remove(table::META, NEXT)?;
            Ok(Some(()))
        })?;
        self.0.is_migrating.store(false, Ordering::Release);
        Ok(())
    }

    /// Keeps vectors of the model with this fingerprint, one a passage, if it is the next one. Entries that are gone or
    /// different by now are passed over. Returns how many were kept.
    pub(crate) fn move_entries(
        &self,
        tenant: Tenant,
        fingerprint: &str,
        moved: Vec<(Unmoved, Vec<Arc<Vec<f32>>>)>,
    ) -> Result<usize, StoreError> {
        let mut rows = vec![];
        for (unmoved, vectors) in moved {
            let (mut stored, passages) = (unmoved.stored, vectors.len());
            if stored.vectors.len() != passages {
                let message = format!("{passages} vectors for {} passages", stored.vectors.len());
                return Err(StoreError::invalid(format!("entry {}", stored.entry.key), message));
            }
            stored.vectors = vectors.iter().map(|vector| Some(vector.to_vec())).collect();
            rows.push((entry_row(tenant, &stored.entry.key), unmoved.row, entry::encode_vectors(&stored)));
        }
        let kept = self.0.tables.write(Sync::Now, |writing| {
            let next = writing.get(table::META, NEXT)?.map(|bytes| self.decode(&bytes)).transpose()?;
            if next.is_none_or(|(_, next, _)| next != fingerprint) {
                return Ok(None);
            }
            let mut kept = 0;
            for (row, entry, vectors) in &rows {
                let Some(vectors) = vectors else { continue };
                if writing.get(table::ENTRY, row)?.as_ref() == Some(entry) {
                    writing.put(table::NEXT, row, vectors)?;
                    kept += 1;
                }
            }
            Ok(Some(kept))
        })?;
        Ok(kept.unwrap_or_default())
    }

    /// Makes the next model the one that serves, if no entry is without its vectors. Nothing is owed afterwards. False:
    /// some are missing, and nothing was changed.
    ///
    /// Whoever holds vectors of the model before must not put them into the store any more.
    pub(crate) fn finish_migration(&self) -> Result<bool, StoreError> {
        let mut model = self.0.model.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = self.migration()?.map(|migration| migration.fingerprint);
        let next = self.0.tables.write(Sync::Now, |writing| {
            let Some(bytes) = writing.get(table::META, NEXT)? else { return Ok(None) };
            // Rows of the next model are those of entries: whatever removes an entry removes them.
            if writing.length(table::NEXT)? != writing.length(table::ENTRY)? {
                return Ok(None);
            }
            writing.drop_table(table::OWED)?;
            writing.drop_table(table::VECTOR)?;
            writing.rename_table(table::NEXT, table::VECTOR)?;
            writing.put(table::META, b"model", &bytes)?;
            writing.remove(table::META, NEXT)?;
            Ok(Some(self.decode(&bytes)?))
        });
        let next = match next {
            // The commit may have lasted all the same, and then the vectors are those of the next model.
            Err(error) => match self.recorded()? {
                Some(model) if goal.is_some_and(|goal| goal == model.1) => Some(model),
                _ => return Err(error),
            },
            Ok(next) => next,
        };
        let is_finished = next.is_some();
        if is_finished {
            *model = next;
            self.0.is_migrating.store(false, Ordering::Release);
        }
        Ok(is_finished)
    }

    /// The model that the file names.
    fn recorded(&self) -> Result<Option<(String, String, u32)>, StoreError> {
        self.0.tables.read()?.get(table::META, b"model")?.map(|bytes| self.decode(&bytes)).transpose()
    }

    fn decode(&self, bytes: &[u8]) -> Result<(String, String, u32), StoreError> {
        entry::decode_model(bytes).map_err(|error| damaged(self.path(), table::META, "next-model", &error))
    }
}

impl Snapshot {
    /// Entries behind `after` without vectors of the next model, in the order of their keys; at most so many, and no more
    /// once they have so many bytes.
    pub(crate) fn unmoved(
        &self,
        tenant: Tenant,
        after: Option<&str>,
        (most, bytes): (usize, usize),
    ) -> Result<Vec<Unmoved>, StoreError> {
        let reading = self.alive()?;
        let (mut found, mut sum) = (vec![], 0);
        let after = after.map(short_key);
        scan_tenant(reading, table::ENTRY, tenant, after.as_deref(), |row, value| {
            if reading.get(table::NEXT, row)?.is_none() {
                sum += value.len();
                let key = entry_key(row);
                let malformed = |error| damaged(&self.path, table::ENTRY, &entry_key(row), &error);
                let stored = entry::decode_entry(key, value).map_err(malformed)?;
                found.push(Unmoved { stored, row: value.to_vec() });
            }
            Ok(found.len() < most && sum < bytes)
        })?;
        Ok(found)
    }

    /// Whether an entry is still as it was read.
    pub(crate) fn is_unchanged(&self, tenant: Tenant, unmoved: &Unmoved) -> Result<bool, StoreError> {
        Ok(self.alive()?.get(table::ENTRY, &entry_row(tenant, unmoved.key()))?.as_ref() == Some(&unmoved.row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::index::{Entry, Passage, WeightedText};
    use crate::contract::storage::{Durability, Operation};
    use crate::contract::types::Scope;
    use crate::writer::{Batch, BatchVector};

    struct Rig {
        store: Store,
        tenant: Tenant,
    }

    fn rig() -> Rig {
        let store = Store::in_memory().unwrap();
        store.set_model("old", "f0", 2).unwrap();
        let tenant = store.tenant("t").unwrap();
        Rig { store, tenant }
    }

    fn put(key: &str, word: &str) -> Operation {
        let words = vec![WeightedText { text: word.to_owned(), weight: 1.0 }];
        Operation::IndexPut(Entry {
            key: key.to_owned(),
            scope: Scope::default(),
            at: 0,
            actor: None,
            attributes: vec![],
            passages: Some(vec![Passage { words, vector: Some(0) }]),
        })
    }

    fn facts(key: &str) -> Operation {
        let Operation::IndexPut(entry) = put(key, "") else { panic!("it is one") };
        Operation::IndexPut(Entry { at: 9, passages: None, ..entry })
    }

    impl Rig {
        fn apply(&self, operation: Operation, vector: BatchVector) {
            let batch = Batch {
                tenant: self.tenant,
                operations: vec![operation],
                preconditions: vec![],
                vectors: vec![vector],
                durability: Durability::Durable,
                scrub: false,
            };
            self.store.commit(true, |draft| draft.apply(batch).map(drop)).unwrap();
        }

        fn put(&self, key: &str, word: &str) {
            self.apply(put(key, word), BatchVector::Ready(Arc::new(vec![1.0, 0.0])));
        }

        fn unmoved(&self) -> Vec<Unmoved> {
            self.store.snapshot().unwrap().unmoved(self.tenant, None, (100, 1 << 20)).unwrap()
        }

        fn keys(&self) -> Vec<String> {
            self.unmoved().iter().map(|unmoved| unmoved.key().to_owned()).collect()
        }

        fn move_all(&self, fingerprint: &str) -> usize {
            let vectors = |unmoved| (unmoved, vec![Arc::new(vec![0.0, 0.0, 1.0])]);
            let moved = self.unmoved().into_iter().map(vectors).collect();
            self.store.move_entries(self.tenant, fingerprint, moved).unwrap()
        }

        fn vector(&self, key: &str) -> Vec<f32> {
            let entry = self.store.snapshot().unwrap().entry(self.tenant, key).unwrap().unwrap();
            assert_eq!(entry.owed, [false]);
            entry.vectors[0].clone().unwrap()
        }

        fn far(&self) -> (u64, u64) {
            let migration = self.store.migration().unwrap().unwrap();
            (migration.moved, migration.entries)
        }
    }

    #[test]
    fn vectors_lie_beside_until_none_is_missing() {
        let rig = rig();
        rig.put("a", "one");
        rig.apply(put("b", "two"), BatchVector::Owed("two".to_owned()));
        rig.store.begin_migration("new", "f1", 3).unwrap();
        assert_eq!(rig.keys(), ["a", "b"]);
        assert!(!rig.store.finish_migration().unwrap(), "nothing is moved yet");
        assert_eq!(rig.move_all("f1"), 2);
        assert_eq!((rig.far(), rig.vector("a")), ((2, 2), vec![1.0, 0.0]));
        rig.put("c", "three");
        assert!(!rig.store.finish_migration().unwrap(), "c came meanwhile");
        assert_eq!(rig.keys(), ["c"]);
        assert_eq!(rig.move_all("f1"), 1);
        assert!(rig.store.finish_migration().unwrap());
        assert_eq!(rig.store.model(), Some(("new".to_owned(), "f1".to_owned(), 3)));
        assert_eq!(rig.store.migration().unwrap(), None);
        for key in ["a", "b", "c"] {
            assert_eq!(rig.vector(key), [0.0, 0.0, 1.0], "{key}");
        }
        assert_eq!(rig.store.snapshot().unwrap().owed(rig.tenant, 9).unwrap(), []);
        assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
        assert!(!rig.store.finish_migration().unwrap(), "there is none any more");
    }

    #[test]
    fn what_changes_is_moved_again() {
        let rig = rig();
        for key in ["a", "b", "c"] {
            rig.put(key, key);
        }
        rig.store.begin_migration("new", "f1", 3).unwrap();
        rig.move_all("f1");
        rig.put("a", "another");
        rig.apply(Operation::IndexDelete("b".to_owned()), BatchVector::Unused);
        rig.apply(facts("c"), BatchVector::Unused);
        assert_eq!((rig.keys(), rig.far()), (vec!["a".to_owned()], (1, 2)));
        // Changed after it was read: what was computed is of the text before.
        let read = rig.unmoved();
        rig.put("a", "a third");
        let moved = read.into_iter().map(|unmoved| (unmoved, vec![Arc::new(vec![0.0, 1.0, 0.0])])).collect();
        assert_eq!(rig.store.move_entries(rig.tenant, "f1", moved).unwrap(), 0);
        assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
        rig.move_all("f1");
        assert!(rig.store.finish_migration().unwrap());
        assert_eq!(rig.vector("a"), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn another_goal_begins_anew() {
        let rig = rig();
        rig.put("a", "one");
        rig.store.begin_migration("new", "f1", 3).unwrap();
        rig.move_all("f1");
        rig.store.begin_migration("new", "f1", 3).unwrap();
        assert_eq!(rig.far(), (1, 1), "the same goal goes on");
        rig.store.begin_migration("newer", "f2", 3).unwrap();
        assert_eq!(rig.far(), (0, 1));
        assert_eq!(rig.move_all("f1"), 0, "a vector that comes late");
        rig.store.abandon_migration().unwrap();
        assert_eq!(rig.store.migration().unwrap(), None);
        assert_eq!(rig.vector("a"), [1.0, 0.0]);
        assert!(!rig.store.finish_migration().unwrap());
        assert_eq!(rig.store.model().unwrap().0, "old");
    }
}
