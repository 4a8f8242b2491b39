//! Many numbers of one type, in memory of their own or within a mapped file. Whoever reads them cannot tell.
#![expect(unsafe_code, reason = "mapping a file; see the safety comment")]
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What numbers can be read from bytes as they lie there.
pub(in crate::embedder) trait Number: FromBytes + IntoBytes + Immutable + Copy + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Number for T {}

/// A slice of numbers.
#[derive(Clone)]
pub(in crate::embedder) enum Numbers<T> {
    Own(Vec<T>),
    /// So many from the byte `at` on, which is aligned for them.
    Mapped {
        file: Arc<Mapped>,
        at: usize,
        len: usize,
    },
}

impl<T: Number> Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(numbers) => numbers,
            Self::Mapped { file, at, len } => {
                let bytes = &file.0[*at..][..len * size_of::<T>()];
                <[T]>::ref_from_bytes(bytes).expect("looked at when it was made")
            }
        }
    }
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::Own(numbers)
    }
}

impl<T: Number + PartialEq> PartialEq for Numbers<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Number> fmt::Debug for Numbers<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} numbers", self.len())
    }
}

/// A whole file in memory, read when it is looked at.
pub(in crate::embedder) struct Mapped(Mmap);

impl Mapped {
    /// The file must be nobody's to change: it lies in a directory of this user alone, and is replaced, never written.
    pub(super) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = File::open(path)?;
        // SAFETY: the caller's promise. A file that is cut short all the same ends the process, as it would end any other
        // that maps one; wrong bytes are found by the checksum.
        Ok(Arc::new(Self(unsafe { Mmap::map(&file)? })))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// So many numbers from the byte `at` on; `None` where the file has not got them there.
    pub(super) fn numbers<T: Number>(self: &Arc<Self>, at: usize, len: usize) -> Option<Numbers<T>> {
        let end = len.checked_mul(size_of::<T>())?.checked_add(at)?;
        <[T]>::ref_from_bytes(self.0.get(at..end)?).ok()?;
        Some(Numbers::Mapped { file: Arc::clone(self), at, len })
    }
}
