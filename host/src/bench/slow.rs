//! A store's file on a disk whose syncs take a given time at least: what the same program does on a slower disk.
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::{Disk, File, Place, StorageBackend, StoreError};

/// See the module.
#[derive(Debug)]
pub(super) struct Slow {
    file: File,
    least: Duration,
}

#[derive(Debug)]
struct SlowDisk {
    disk: Disk,
    least: Duration,
}

impl Slow {
    pub(super) fn new(folder: &Path, least: Duration) -> io::Result<Slow> {
        std::fs::create_dir_all(folder)?;
        Ok(Slow { file: File::new(folder.join("cairn.redb")), least })
    }

    fn slowed(&self, disk: Disk) -> Disk {
        Arc::new(SlowDisk { disk, least: self.least })
    }
}

impl Place for Slow {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn open(&self) -> Result<Option<Disk>, StoreError> {
        Ok(self.file.open()?.map(|disk| self.slowed(disk)))
    }

    fn beside(&self) -> Result<Disk, StoreError> {
        Ok(self.slowed(self.file.beside()?))
    }

    fn replace(&self) -> Result<(), StoreError> {
        self.file.replace()
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.file.settle()
    }

    fn discard(&self) {
        self.file.discard();
    }
}

impl StorageBackend for SlowDisk {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let begun = Instant::now();
        self.disk.sync_data()?;
        std::thread::sleep(self.least.saturating_sub(begun.elapsed()));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }
}
