//! Vectors in memory, as many as a number of bytes allows. In two generations: what is asked for moves into the younger
//! one, and when that has grown to half of the bytes, the older one goes as a whole. So what goes has not been asked for
//! since at least as many others came as fit into half of the cache.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Key;

/// Of an entry beside its numbers: key, counts, place in the table.
const OVERHEAD: u64 = 128;

#[derive(Debug)]
pub(super) struct Memory {
    /// Entries of a generation.
    most: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    younger: HashMap<Key, Arc<Vec<f32>>>,
    older: HashMap<Key, Arc<Vec<f32>>>,
}

impl Memory {
    pub(super) fn new(bytes: u64, dimensions: u32) -> Self {
        let entries = bytes / (OVERHEAD + 4 * u64::from(dimensions)) / 2;
        Self { most: usize::try_from(entries).unwrap_or(usize::MAX).max(1), generations: Mutex::default() }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Vec<f32>>> {
        let mut generations = self.lock();
        if let Some(vector) = generations.younger.get(key) {
            return Some(Arc::clone(vector));
        }
        let vector = generations.older.remove(key)?;
        self.insert(&mut generations, key, &vector);
        Some(vector)
    }

    pub(super) fn put(&self, key: &Key, vector: &Arc<Vec<f32>>) {
        self.insert(&mut self.lock(), key, vector);
    }

    pub(super) fn clear(&self) {
        *self.lock() = Generations::default();
    }

    fn insert(&self, generations: &mut Generations, key: &Key, vector: &Arc<Vec<f32>>) {
        if generations.younger.len() >= self.most {
            generations.older = std::mem::take(&mut generations.younger);
        }
        generations.younger.insert(*key, Arc::clone(vector));
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Whatever a panic interrupted, each map is whole.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_keeps_to_its_bytes() {
        let memory = Memory::new(100 * (OVERHEAD + 16), 4);
        let vector = Arc::new(vec![0.5; 4]);
        for n in 0..1_000 {
            memory.put(&key(n), &vector);
            assert!(memory.get(&key(0)).is_some(), "after {n}");
        }
        let kept = (0..1_000).filter(|n| memory.get(&key(*n)).is_some()).count();
        assert!((50..=100).contains(&kept), "{kept}");
        assert!(memory.get(&key(999)).is_some() && memory.get(&key(1)).is_none());
        memory.clear();
        assert!(memory.get(&key(0)).is_none());
    }
}
