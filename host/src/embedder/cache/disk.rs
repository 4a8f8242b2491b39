//! Vectors in a file that is a hash table itself: a key belongs to one set of eight slots, of which the oldest is
//! overwritten. So there is nothing to load, nothing to keep in memory and nothing to sort out after a crash, and
//! several threads or processes may use it at once without a lock: a slot whose parts do not belong together fails
//! its check and counts as empty. Nothing is synced.
//!
//! Little-endian: a header of 64 bytes (magic, version, dimensions, number of sets), then the sets: eight tags of 32
//! bytes (first half of the key, second it was written, check), then eight vectors of 32-bit floats.
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::Key;

const MAGIC: &[u8; 8] = b"cairnvec";
const VERSION: u32 = 1;
const HEADER: u64 = 64;
const WAYS: usize = 8;
const TAG: usize = 32;

#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    header: [u8; 24],
    dimensions: usize,
    sets: u64,
    /// Whether writing has failed: then it is not tried again.
    broken: AtomicBool,
}

/// A key's first half, when it was written, and what says that the vector is its own. A second of 0: empty.
struct Tag([u8; TAG]);

impl Tag {
    fn new(key: &Key, second: u64, vector: &[u8]) -> Self {
        let mut tag = [0; TAG];
        tag[..16].copy_from_slice(&key[..16]);
        tag[16..24].copy_from_slice(&second.to_le_bytes());
        tag[24..].copy_from_slice(&check(key, vector));
        Self(tag)
    }

    fn is_of(&self, key: &Key) -> bool {
        self.second() != 0 && self.0[..16] == key[..16]
    }

    fn second(&self) -> u64 {
        u64::from_le_bytes(self.0[16..24].try_into().expect("eight bytes"))
    }
}

fn check(key: &Key, vector: &[u8]) -> [u8; 8] {
    let sum = Sha256::new().chain_update(key).chain_update(vector).finalize();
    sum[..8].try_into().expect("eight bytes")
}

impl Disk {
    /// `None` where not even one set has room. A file of another form or size is emptied.
    pub(super) fn open(path: &Path, dimensions: u32, bytes: u64) -> io::Result<Option<Self>> {
        let vector = 4 * dimensions as usize;
        let sets = bytes.saturating_sub(HEADER) / (WAYS * (TAG + vector)) as u64;
        if sets == 0 {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut header = [0; 24];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&dimensions.to_le_bytes());
        header[16..].copy_from_slice(&sets.to_le_bytes());
        let file = options.open(path)?;
        let disk = Self { file, header, dimensions: dimensions as usize, sets, broken: AtomicBool::new(false) };
        let mut found = [0; 24];
        if read_at(&disk.file, &mut found, 0).is_err() || found != header {
            disk.empty()?;
        }
        Ok(Some(disk))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Vec<f32>> {
        let (set, tags) = self.tags(key)?;
        let way = tags.iter().position(|tag| tag.is_of(key))?;
        let mut bytes = vec![0; self.vector_bytes()];
        read_at(&self.file, &mut bytes, self.vector_at(set, way)).ok()?;
        if tags[way].0[24..] != check(key, &bytes) {
            return None;
        }
        Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    pub(super) fn put(&self, key: &Key, vector: &[f32]) {
        if self.broken.load(Ordering::Relaxed) || vector.len() != self.dimensions {
            return;
        }
        let Some((set, tags)) = self.tags(key) else { return };
        let same = tags.iter().position(|tag| tag.is_of(key));
        let oldest = || (0..WAYS).min_by_key(|way| tags[*way].second()).expect("there are eight");
        let way = same.unwrap_or_else(oldest);
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1));
        let tag = Tag::new(key, second, &bytes);
        let written = write_at(&self.file, &bytes, self.vector_at(set, way))
            .and_then(|()| write_at(&self.file, &tag.0, set + (way * TAG) as u64));
        if let Err(cause) = written {
            self.broken.store(true, Ordering::Relaxed);
            tracing::warn!(%cause, "the cache of vectors takes nothing more");
        }
    }

    pub(super) fn clear(&self) {
        if let Err(cause) = self.empty() {
            self.broken.store(true, Ordering::Relaxed);
            tracing::error!(%cause, "the cache of vectors cannot be emptied; delete its file");
        }
    }

    /// Gives all bytes back to the file system. The file has holes until they are written.
    fn empty(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.set_len(HEADER + self.sets * self.set_bytes())?;
        write_at(&self.file, &self.header, 0)
    }

    /// Where the set of a key is, and its tags. `None` where the file cannot be read.
    fn tags(&self, key: &Key) -> Option<(u64, [Tag; WAYS])> {
        let number = u64::from_le_bytes(key[16..24].try_into().expect("eight bytes")) % self.sets;
        let set = HEADER + number * self.set_bytes();
        let mut bytes = [0; WAYS * TAG];
        read_at(&self.file, &mut bytes, set).ok()?;
        let tag = |way: usize| Tag(bytes[way * TAG..][..TAG].try_into().expect("as many bytes"));
        Some((set, std::array::from_fn(tag)))
    }

    fn vector_bytes(&self) -> usize {
        4 * self.dimensions
    }

    fn set_bytes(&self) -> u64 {
        (WAYS * (TAG + self.vector_bytes())) as u64
    }

    fn vector_at(&self, set: u64, way: usize) -> u64 {
        set + (WAYS * TAG + way * self.vector_bytes()) as u64
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
        n if n == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
        n if n == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Sha256::digest(n.to_le_bytes()).into()
    }

    fn vector(n: u64) -> Vec<f32> {
        let whole = f32::from(u16::try_from(n).unwrap());
        (0..4_u16).map(|i| whole + f32::from(i) / 8.0).collect()
    }

    fn open(directory: &tempfile::TempDir, bytes: u64) -> Disk {
        Disk::open(&directory.path().join("cache"), 4, bytes).unwrap().unwrap()
    }

    #[test]
    fn a_full_file_overwrites_and_answers_nothing_wrong() {
        let directory = tempfile::tempdir().unwrap();
        // Sixteen sets: 128 vectors.
        let bytes = HEADER + 16 * 8 * 48;
        let disk = open(&directory, bytes);
        for n in 0..1_000 {
            disk.put(&key(n), &vector(n));
            assert_eq!(disk.get(&key(n)), Some(vector(n)));
        }
        let kept: Vec<u64> = (0..1_000).filter(|n| disk.get(&key(*n)).is_some()).collect();
        assert!((64..=128).contains(&kept.len()), "{}", kept.len());
        assert!(kept.iter().all(|n| disk.get(&key(*n)) == Some(vector(*n))));
        assert_eq!(std::fs::metadata(directory.path().join("cache")).unwrap().len(), bytes);
    }

    #[test]
    fn any_flipped_byte_is_a_miss_or_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = HEADER + 8 * 48;
        let path = directory.path().join("cache");
        let disk = open(&directory, bytes);
        disk.put(&key(1), &vector(1));
        let whole = std::fs::read(&path).unwrap();
        let mut misses = 0;
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            match open(&directory, bytes).get(&key(1)) {
                Some(found) => assert_eq!(found, vector(1), "byte {place}"),
                None => misses += 1,
            }
        }
        // Header, first half of the key, check and vector; of the second only what makes it 0.
        assert!((24 + 16 + 8 + 16..=24 + 32 + 16).contains(&misses), "{misses}");
    }

    #[test]
    fn another_size_or_form_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        open(&directory, 4_096).put(&key(1), &vector(1));
        assert_eq!(open(&directory, 4_096).get(&key(1)), Some(vector(1)));
        assert_eq!(open(&directory, 8_192).get(&key(1)), None);
        std::fs::write(directory.path().join("cache"), b"cairn").unwrap();
        assert_eq!(open(&directory, 8_192).get(&key(1)), None);
        assert!(Disk::open(&directory.path().join("cache"), 4, 100).unwrap().is_none());
    }

    #[test]
    fn clearing_leaves_no_byte_of_a_vector() {
        let directory = tempfile::tempdir().unwrap();
        let disk = open(&directory, 4_096);
        disk.put(&key(1), &vector(1));
        disk.clear();
        assert_eq!(disk.get(&key(1)), None);
        let bytes = std::fs::read(directory.path().join("cache")).unwrap();
        assert!(bytes[24..].iter().all(|byte| *byte == 0));
        disk.put(&key(1), &vector(1));
        assert_eq!(disk.get(&key(1)), Some(vector(1)));
    }
}
