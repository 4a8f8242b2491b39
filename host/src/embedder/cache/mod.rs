//! Vectors that were computed before, so that a text that comes again costs a hash and a copy: some in memory, more on
//! disk. Never changes an answer, as the vector of a text depends on nothing but the text, and never fails a call:
//! what cannot be read or written is computed.
mod disk;
mod memory;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::Purpose;
use disk::Disk;
use memory::Memory;

/// What a text and all that made its vector are known by.
pub(super) type Key = [u8; 32];

/// Name of the file of a store's cache, in the directory of the store.
pub(crate) const VECTORS: &str = "vectors.cache";

/// How large a cache may become, in bytes. 0: no such cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    pub memory: u64,
    pub disk: u64,
    /// Of the cache on disk; deleted without loss.
    pub file: PathBuf,
}

/// Answers of a cache so far, in texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheMetrics {
    pub memory_hits: u64,
    pub disk_hits: u64,
    pub misses: u64,
}

/// The cache of one model. Shared by all threads.
#[derive(Debug)]
pub struct Cache {
    /// Hash of what made the vectors beside the text.
    origin: Key,
    memory: Option<Memory>,
    disk: Option<Disk>,
    counts: [AtomicU64; 3],
}

impl Cache {
    /// `origin` tells apart whatever gives a text another vector, to the last bit. A file that cannot be used is told
    /// once, and the cache does without.
    #[must_use]
    pub fn new(origin: &str, dimensions: u32, size: &CacheSize) -> Self {
        let disk = match size.disk {
            0 => {
                // What nobody looks after could not be emptied by a forget. Mostly there is none.
                let _ = std::fs::remove_file(&size.file);
                None
            }
            bytes => Disk::open(&size.file, dimensions, bytes)
                .inspect_err(|cause| tracing::warn!(file = %size.file.display(), %cause, "no cache of vectors on disk"))
                .ok(),
        };
        Self {
            origin: Sha256::digest(origin).into(),
            memory: (size.memory > 0).then(|| Memory::new(size.memory, dimensions)),
            disk: disk.flatten(),
            counts: Default::default(),
        }
    }

    pub(super) fn key(&self, text: &str, purpose: Purpose) -> Key {
        let purpose = match purpose {
            Purpose::Document => [0],
            Purpose::Query => [1],
        };
        Sha256::new().chain_update(self.origin).chain_update(purpose).chain_update(text).finalize().into()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Vec<f32>>> {
        if let Some(vector) = self.memory.as_ref().and_then(|memory| memory.get(key)) {
            self.count(0);
            return Some(vector);
        }
        if let Some(vector) = self.disk.as_ref().and_then(|disk| disk.get(key)) {
            self.count(1);
            let vector = Arc::new(vector);
            if let Some(memory) = &self.memory {
                memory.put(key, &vector);
            }
            return Some(vector);
        }
        self.count(2);
        None
    }

    pub(super) fn put(&self, key: &Key, vector: &Arc<Vec<f32>>) {
        if let Some(memory) = &self.memory {
            memory.put(key, vector);
        }
        if let Some(disk) = &self.disk {
            disk.put(key, vector);
        }
    }

    /// Forgets everything: no vector of a text that must leave no trace stays behind.
    pub(super) fn clear(&self) {
        // In this order: memory takes over what it finds on disk.
        if let Some(disk) = &self.disk {
            disk.clear();
        }
        if let Some(memory) = &self.memory {
            memory.clear();
        }
    }

    pub(super) fn metrics(&self) -> CacheMetrics {
        let [memory_hits, disk_hits, misses] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        CacheMetrics { memory_hits, disk_hits, misses }
    }

    fn count(&self, which: usize) {
        self.counts[which].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u8) -> Arc<Vec<f32>> {
        Arc::new((0..4_u8).map(|i| f32::from(seed) + f32::from(i) / 8.0).collect())
    }

    fn size(directory: &tempfile::TempDir, memory: u64, disk: u64) -> CacheSize {
        CacheSize { memory, disk, file: directory.path().join("vectors.cache") }
    }

    #[test]
    fn what_was_put_comes_back_from_either_place() {
        let directory = tempfile::tempdir().unwrap();
        for (memory, disk, hits) in [(1 << 16, 0, [1, 0]), (0, 1 << 16, [0, 1]), (1 << 16, 1 << 16, [1, 0])] {
            let cache = Cache::new("m", 4, &size(&directory, memory, disk));
            let key = cache.key(&format!("{memory} {disk}"), Purpose::Document);
            assert_eq!(cache.get(&key), None);
            cache.put(&key, &vector(7));
            assert_eq!(cache.get(&key), Some(vector(7)));
            let CacheMetrics { memory_hits, disk_hits, misses } = cache.metrics();
            assert_eq!(([memory_hits, disk_hits], misses), (hits, 1));
            cache.clear();
            assert_eq!(cache.get(&key), None);
        }
    }

    #[test]
    fn another_process_finds_it_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new("m", 4, &size(&directory, 1 << 16, 1 << 16));
        let key = cache.key("tea", Purpose::Query);
        cache.put(&key, &vector(1));
        let later = Cache::new("m", 4, &size(&directory, 1 << 16, 1 << 16));
        assert_eq!(later.get(&later.key("tea", Purpose::Query)), Some(vector(1)));
        assert_eq!(later.get(&later.key("tea", Purpose::Document)), None);
        // The second time memory answers.
        assert_eq!(later.get(&key), Some(vector(1)));
        assert_eq!(later.metrics(), CacheMetrics { memory_hits: 1, disk_hits: 1, misses: 1 });
        let other = Cache::new("another model", 4, &size(&directory, 0, 1 << 16));
        assert_eq!(other.get(&other.key("tea", Purpose::Query)), None);
    }

    #[test]
    fn turned_off_nothing_is_left_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        drop(Cache::new("m", 4, &size(&directory, 0, 1 << 16)));
        assert!(size(&directory, 0, 0).file.exists());
        drop(Cache::new("m", 4, &size(&directory, 0, 0)));
        assert!(!size(&directory, 0, 0).file.exists());
    }

    #[test]
    fn a_file_that_cannot_be_made_is_done_without() {
        let directory = tempfile::tempdir().unwrap();
        let size = CacheSize { memory: 0, disk: 1 << 16, file: directory.path().join("missing").join("file") };
        let cache = Cache::new("m", 4, &size);
        let key = cache.key("tea", Purpose::Query);
        cache.put(&key, &vector(1));
        assert_eq!(cache.get(&key), None);
    }
}
