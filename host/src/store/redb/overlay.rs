//! A disk that is only read, over another: what is written stays in memory. Lets a store repair itself where nothing can
//! be written.
use super::{Disk, StorageBackend};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{PoisonError, RwLock};

const BLOCK: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Overlay {
    disk: Disk,
    written: RwLock<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// None: that of the disk.
    length: Option<u64>,
    blocks: HashMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn over(disk: Disk) -> Overlay {
        Overlay { disk, written: RwLock::default() }
    }

    /// The block as the disk has it, zeros beyond its end.
    fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        let start = number * BLOCK as u64;
        let there = self.disk.len()?.saturating_sub(start).min(BLOCK as u64);
        let mut block = vec![0; BLOCK];
        let there = usize::try_from(there).expect("at most a block");
        if there > 0 {
            self.disk.read(start, &mut block[..there])?;
        }
        Ok(block)
    }
}

/// The blocks that `length` bytes from `offset` touch: number, first byte within it, and the range of the bytes.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).expect("less than a block");
        let end = length.min(done + BLOCK - within);
        let item = (at / BLOCK as u64, within, done..end);
        done = end;
        Some(item)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        written.length.map_or_else(|| self.disk.len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        if written.blocks.is_empty() && written.length.is_none() {
            return self.disk.read(offset, out);
        }
        for (number, within, range) in blocks(offset, out.len()) {
            let length = range.len();
            match written.blocks.get(&number) {
                Some(block) => out[range].copy_from_slice(&block[within..within + length]),
                None => out[range].copy_from_slice(&self.block(number)?[within..within + length]),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written.write().unwrap_or_else(PoisonError::into_inner).length = Some(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        for (number, within, range) in blocks(offset, data.len()) {
            let block = match written.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(place) => place.insert(self.block(number)?),
            };
            block[within..within + range.len()].copy_from_slice(&data[range]);
        }
        Ok(())
    }
}
