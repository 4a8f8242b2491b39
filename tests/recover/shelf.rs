//! The files of a store on a disk in memory, which knows what a power cut would leave of them and fails where it is told
//! to. The unit tests of the host's writer use this file as well. Knows nothing of what is stored.
use super::{Disk, Place, StorageBackend, StoreError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers nothing any more, as when the machine is gone.
    Dies,
    /// Nothing can be written, and reading goes on.
    Broken,
    /// The same, because there is no room left.
    Full,
    /// One sync fails. What was written before it is read as it was written, but will never be on the disk: so do file
    /// systems that forget which pages they failed to write.
    LosesSync,
}

/// See the module. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: Vec<File>,
    /// The file that has the store's name, and the one that has it after a power cut for sure.
    named: usize,
    settled: usize,
    beside: Option<usize>,
    /// Calls that change something or sync, so far.
    calls: u64,
    /// From which call on.
    fault: Option<(Fault, u64)>,
    has_failed: bool,
    syncs: Option<Sender<()>>,
}

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct OnShelf {
    shelf: Shelf,
    file: usize,
}

impl Shelf {
    /// A disk with this in the store's file.
    pub(crate) fn with(image: Vec<u8>) -> Shelf {
        let file = File { synced: image.clone(), current: image, unsynced: vec![] };
        Shelf(Arc::new(Mutex::new(State {
            files: vec![file],
            named: 0,
            settled: 0,
            beside: None,
            calls: 0,
            fault: None,
            has_failed: false,
            syncs: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Calls so far that wrote, changed a length, synced or renamed.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Fails from that call on.
    pub(crate) fn fail(&self, fault: Fault, call: u64) {
        self.lock().fault = Some((fault, call));
    }

    /// Works again.
    pub(crate) fn recover(&self) {
        self.lock().fault = None;
    }

    /// Whether a call has failed yet.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Is told of each sync.
    pub(crate) fn syncs(&self) -> Receiver<()> {
        let (syncs, receiver) = channel();
        self.lock().syncs = Some(syncs);
        receiver
    }

    /// What is in the store's file as programs read it.
    pub(crate) fn image(&self) -> Vec<u8> {
        let state = self.lock();
        state.files[state.named].current.clone()
    }

    /// What is in the store's file for sure after a power cut.
    pub(crate) fn synced(&self) -> Vec<u8> {
        let state = self.lock();
        state.files[state.settled].synced.clone()
    }

    /// What a power cut leaves in the store's file: what was synced, and any of the writes since, in any order, each
    /// sector of 512 bytes for itself; the length grown or not. `below` is chance: a number below the one given.
    pub(crate) fn after_cut(&self, below: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
        let state = self.lock();
        let file = &state.files[if below(2) == 0 { state.named } else { state.settled }];
        let mut image = file.synced.clone();
        if below(2) == 0 {
            image.resize(file.current.len(), 0);
        }
        let share = below(101);
        let mut writes: Vec<&(u64, Vec<u8>)> = file.unsynced.iter().collect();
        for place in (1..writes.len()).rev() {
            writes.swap(place, usize::try_from(below(place as u64 + 1)).unwrap());
        }
        for (offset, data) in writes {
            if below(100) >= share {
                continue;
            }
            for (number, sector) in data.chunks(512).enumerate() {
                let at = usize::try_from(*offset).unwrap() + number * 512;
                if below(20) != 0 {
                    let end = at + sector.len();
                    image.resize(image.len().max(end), 0);
                    image[at..end].copy_from_slice(sector);
                }
            }
        }
        image
    }

    /// One call that changes something.
    fn change(&self, is_sync: bool, work: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.lock();
        let call = state.calls;
        let fault = state.fault.filter(|(_, from)| *from <= call).map(|(fault, _)| fault);
        if fault != Some(Fault::Dies) {
            state.calls += 1;
        }
        if is_sync && let Some(syncs) = &state.syncs {
            let _ = syncs.send(());
        }
        let error = match fault {
            Some(Fault::Dies) => io::Error::other("power lost"),
            Some(Fault::Broken) => ErrorKind::Other.into(),
            Some(Fault::Full) if !is_sync => ErrorKind::StorageFull.into(),
            Some(Fault::LosesSync) if is_sync => {
                state.fault = None;
                for file in &mut state.files {
                    file.unsynced.clear();
                }
                io::Error::other("the disk did not take it")
            }
            _ => {
                work(&mut state);
                return Ok(());
            }
        };
        state.has_failed = true;
        Err(error)
    }

    fn look<T>(&self, file: usize, work: impl FnOnce(&File) -> T) -> io::Result<T> {
        let state = self.lock();
        match state.fault {
            Some((Fault::Dies, from)) if from <= state.calls => Err(io::Error::other("power lost")),
            _ => Ok(work(&state.files[file])),
        }
    }

    fn disk(&self, file: usize) -> Disk {
        Arc::new(OnShelf { shelf: self.clone(), file })
    }

    fn failed(error: io::Error) -> StoreError {
        StoreError::Io { action: "change", path: "memory".into(), source: Arc::new(error) }
    }
}

impl StorageBackend for OnShelf {
    fn len(&self) -> io::Result<u64> {
        self.shelf.look(self.file, |file| file.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.shelf.look(self.file, |file| out.copy_from_slice(&file.current[start..start + out.len()]))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.shelf.change(false, |state| state.files[self.file].current.resize(length, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shelf.change(true, |state| {
            let file = &mut state.files[self.file];
            // Not simply what is read: what an earlier sync lost stays lost.
            file.synced.resize(file.current.len(), 0);
            for (offset, data) in file.unsynced.drain(..) {
                let start = usize::try_from(offset).unwrap();
                let end = (start + data.len()).min(file.synced.len());
                if start < end {
                    file.synced[start..end].copy_from_slice(&data[..end - start]);
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.shelf.change(false, |state| {
            let file = &mut state.files[self.file];
            file.current[start..start + data.len()].copy_from_slice(data);
            file.unsynced.push((offset, data.to_vec()));
        })
    }
}

impl Place for Shelf {
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn open(&self) -> Result<Option<Disk>, StoreError> {
        let named = self.lock().named;
        let is_empty = self.look(named, |file| file.current.is_empty()).map_err(Shelf::failed)?;
        Ok((!is_empty).then(|| self.disk(named)))
    }

    fn beside(&self) -> Result<Disk, StoreError> {
        let mut made = 0;
        self.change(false, |state| {
            made = state.files.len();
            state.files.push(File::default());
            state.beside = Some(made);
        })
        .map_err(Shelf::failed)?;
        Ok(self.disk(made))
    }

    fn replace(&self) -> Result<(), StoreError> {
        self.change(false, |state| state.named = state.beside.take().expect("a file lies beside"))
            .map_err(Shelf::failed)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.change(false, |state| state.settled = state.named).map_err(Shelf::failed)
    }

    fn discard(&self) {
        self.lock().beside = None;
    }
}
