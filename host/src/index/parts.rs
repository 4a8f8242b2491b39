//! Files of an index: some numbers and parts of plain values behind a header, each with a checksum. Written whole or not at
//! all, read as a mapping. Knows nothing of what the parts mean.
use std::fs::{self, File};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"CAIRNIDX";
/// Grows with each change of what the files hold; files of another version are made anew.
const VERSION: u32 = 1;
/// Parts begin at multiples of this.
const ALIGNMENT: usize = 64;
/// Magic, version, a number that machines of the other byte order read differently, how many numbers and parts.
const FIXED: usize = 24;
const ORDER: u32 = 0x0102_0304;
/// Of a part: where it begins, its length, its checksum.
const DESCRIBED: usize = 24;
const CHECKSUM: usize = 4;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    #[error("it is of another version or machine")]
    Foreign,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// Values of one kind, in memory or in a file.
pub(super) enum Array<T> {
    Owned(Vec<T>),
    Mapped(Part, PhantomData<T>),
}

/// A range of a mapped file, whose checksum was right when it was opened.
pub(super) struct Part {
    file: Arc<Mmap>,
    range: Range<usize>,
}

impl<T: FromBytes + Immutable + KnownLayout> Array<T> {
    /// Fails if the part does not hold just such values.
    pub(super) fn mapped(part: Part) -> Result<Self, Unusable> {
        match <[T]>::ref_from_bytes(part.bytes()) {
            Ok(_) => Ok(Self::Mapped(part, PhantomData)),
            Err(_) => Err(Unusable::Damaged("a part has a wrong length")),
        }
    }

    /// What is in memory can grow.
    pub(super) fn owned(&mut self) -> &mut Vec<T> {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(..) => unreachable!("files are only read"),
        }
    }

    /// Memory held, files not counted.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Owned(values) => values.capacity() * size_of::<T>(),
            Self::Mapped(..) => 0,
        }
    }
}

impl<T: FromBytes + Immutable + KnownLayout> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(part, _) => <[T]>::ref_from_bytes(part.bytes()).expect("looked at when it was made"),
        }
    }
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }
}

/// Values as the bytes of a part.
pub(super) fn bytes<T: IntoBytes + Immutable>(values: &[T]) -> &[u8] {
    values.as_bytes()
}

/// A number by which equal values are found.
pub(super) fn checksum<T: IntoBytes + Immutable>(values: &[T]) -> u32 {
    crc32fast::hash(values.as_bytes())
}

/// Writes a file in place of what is there, if anything; when this returns it survives a power cut.
pub(super) fn write(path: &Path, numbers: &[u64], parts: &[&[u8]]) -> io::Result<()> {
    let mut header = Vec::with_capacity(FIXED + 8 * numbers.len() + DESCRIBED * parts.len() + CHECKSUM);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend(ORDER.to_ne_bytes());
    header.extend(number(numbers.len()).to_le_bytes());
    header.extend(number(parts.len()).to_le_bytes());
    for number in numbers {
        header.extend(number.to_le_bytes());
    }
    let mut end = header.len() + DESCRIBED * parts.len() + CHECKSUM;
    for part in parts {
        end = end.next_multiple_of(ALIGNMENT);
        for number in [end as u64, part.len() as u64, u64::from(crc32fast::hash(part))] {
            header.extend(number.to_le_bytes());
        }
        end += part.len();
    }
    header.extend(crc32fast::hash(&header).to_le_bytes());

    let beside = path.with_extension("new");
    let mut file = io::BufWriter::new(File::create(&beside)?);
    let mut written = header.len();
    file.write_all(&header)?;
    for part in parts {
        let padding = written.next_multiple_of(ALIGNMENT) - written;
        file.write_all(&[0; ALIGNMENT][..padding])?;
        file.write_all(part)?;
        written += padding + part.len();
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Opens a file and compares all its checksums.
pub(super) fn open(path: &Path) -> Result<(Vec<u64>, Vec<Part>), Unusable> {
    let file = File::open(path)?;
    // SAFETY: files are only ever replaced or removed as a whole, and the directory is locked against other processes.
    #[expect(unsafe_code, reason = "mapping a file")]
    let file = Arc::new(unsafe { Mmap::map(&file) }?);
    let mut reader = Reader { bytes: &file, at: 0 };
    if reader.take::<8>()? != MAGIC || reader.u32()? != VERSION || reader.take::<4>()? != ORDER.to_ne_bytes() {
        return Err(Unusable::Foreign);
    }
    let (numbers, parts) = (reader.u32()? as usize, reader.u32()? as usize);
    let length = FIXED + 8 * numbers + DESCRIBED * parts;
    let header = file.get(..length).ok_or(Unusable::Damaged("it is cut short"))?;
    let numbers = (0..numbers).map(|_| reader.u64()).collect::<Result<Vec<u64>, Unusable>>()?;
    let mut described = Vec::new();
    for _ in 0..parts {
        described.push([reader.u64()?, reader.u64()?, reader.u64()?]);
    }
    if reader.u32()? != crc32fast::hash(header) {
        return Err(Unusable::Damaged("the header's checksum is wrong"));
    }
    let part = |[start, length, checksum]: [u64; 3]| {
        let start = usize::try_from(start).ok();
        let end = usize::try_from(length).ok().and_then(|length| start?.checked_add(length));
        let range = start.zip(end).map(|(start, end)| start..end);
        let range = range.filter(|range| range.end <= file.len() && range.start.is_multiple_of(ALIGNMENT));
        let part = Part { range: range.ok_or(Unusable::Damaged("it is cut short"))?, file: Arc::clone(&file) };
        if u64::from(crc32fast::hash(part.bytes())) == checksum {
            Ok(part)
        } else {
            Err(Unusable::Damaged("a part's checksum is wrong"))
        }
    };
    Ok((numbers, described.into_iter().map(part).collect::<Result<Vec<Part>, Unusable>>()?))
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a file has few numbers and parts")
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let taken = self.bytes.get(self.at..self.at + N).and_then(|bytes| bytes.try_into().ok());
        self.at += N;
        taken.ok_or(Unusable::Damaged("it is cut short"))
    }

    fn u32(&mut self) -> Result<u32, Unusable> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Unusable> {
        Ok(u64::from_le_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<(Vec<u64>, Vec<u32>, Vec<u8>), Unusable> {
        let (numbers, parts) = open(path)?;
        let [words, bytes] = <[Part; 2]>::try_from(parts).map_err(|_| Unusable::Damaged("other parts"))?;
        Ok((numbers, Array::<u32>::mapped(words)?.to_vec(), Array::<u8>::mapped(bytes)?.to_vec()))
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let words: Vec<u32> = (0..40).map(|n| n * 7).collect();
        write(&path, &[3, u64::MAX], &[bytes(&words), b"some text"]).unwrap();
        let whole = (vec![3, u64::MAX], words, b"some text".to_vec());
        assert_eq!(read(&path).unwrap(), whole);
        let written = fs::read(&path).unwrap();
        for length in 0..written.len() {
            fs::write(&path, &written[..length]).unwrap();
            assert!(read(&path).is_err(), "cut to {length}");
        }
        let mut harmless = 0;
        for place in 0..written.len() {
            let mut flipped = written.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&path, &flipped).unwrap();
            match read(&path) {
                Err(_) => {}
                // Bytes between the parts mean nothing.
                Ok(read) => {
                    assert_eq!(read, whole, "flipped in {place}");
                    harmless += 1;
                }
            }
        }
        assert!(harmless < 2 * ALIGNMENT, "{harmless}");
    }
}
