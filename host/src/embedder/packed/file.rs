//! Packed encoders kept as files, so that a fresh process maps one instead of reading, recognising and packing the
//! model again. A file belongs to one model, precision and processor, is checked as a whole before it is believed, and
//! is made again where anything about it is odd.
//!
//! Little-endian, for the machine that wrote it: 64 bytes of header (magic, version, checksum, hash of what it belongs
//! to, number of the words that follow), words of 32 bits that tell the shape, then the numbers, each part at a multiple
//! of 64 bytes.
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use super::Precision;
use super::blocks::{Block, Blocks, Norm};
use super::kernels::{Cpu, Gelu, Packed, Weights};
use super::numbers::{Mapped, Number, Numbers};
use super::ops::Table;

const MAGIC: &[u8; 8] = b"cairnpak";
/// Of the form and of the packing.
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ALIGNMENT: usize = 64;

/// What a file belongs to, in words: nobody else's is taken for it.
pub(super) fn belonging(fingerprint: &str, max_tokens: usize, precision: Precision, cpu: Cpu) -> String {
    format!("{} {fingerprint} {max_tokens} {precision} {}", env!("CARGO_PKG_VERSION"), cpu.name())
}

/// Writes the blocks beside `path` and puts them there whole.
pub(super) fn save(blocks: &Blocks, belonging: &str, path: &Path) -> io::Result<()> {
    let mut shape = Vec::new();
    let mut body = Body { bytes: Vec::new() };
    let odd = || io::Error::new(io::ErrorKind::InvalidInput, "a size of the model is above 2^32");
    blocks.write(&mut shape, &mut body).ok_or_else(odd)?;
    let mut file = vec![0; HEADER];
    file.extend(shape.as_bytes());
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file.append(&mut body.bytes);
    file[..8].copy_from_slice(MAGIC);
    file[8..12].copy_from_slice(&VERSION.to_le_bytes());
    file[16..48].copy_from_slice(&Sha256::digest(belonging));
    file[48..52].copy_from_slice(&u32::try_from(shape.len()).map_err(|_| odd())?.to_le_bytes());
    let sum = crc32fast::hash(&file[16..]);
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&file)?;
    temporary.persist(path)?;
    Ok(())
}

/// The blocks of a file. The error says why they are not to be had, for whoever looks into it.
pub(super) fn load(path: &Path, belonging: &str, cpu: Cpu) -> Result<Blocks, String> {
    let file = Mapped::open(path).map_err(|cause| cause.to_string())?;
    let bytes = file.bytes();
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if bytes.get(..8) != Some(MAGIC) || word(8) != Some(VERSION) {
        return Err("it has another form".to_owned());
    }
    if bytes.get(16..48) != Some(&*Sha256::digest(belonging)) {
        return Err("it belongs to something else".to_owned());
    }
    if word(12) != Some(crc32fast::hash(&bytes[16..])) {
        return Err("its checksum is wrong".to_owned());
    }
    let count = word(48).map_or(0, |count| count as usize);
    let shape = file.numbers::<u32>(HEADER, count).ok_or("its shape is cut short")?;
    let at = (HEADER + 4 * count).next_multiple_of(ALIGNMENT);
    let mut reader = Reader { shape: &shape, file: &file, at };
    let blocks = Blocks::read(&mut reader, cpu).ok_or("its parts are cut short")?;
    match reader.shape {
        [] => Ok(blocks),
        _ => Err("it holds more than an encoder".to_owned()),
    }
}

struct Body {
    bytes: Vec<u8>,
}

impl Body {
    fn put<T: Number>(&mut self, shape: &mut Vec<u32>, numbers: &[T]) -> Option<()> {
        shape.push(numbers.len().try_into().ok()?);
        self.bytes.extend(numbers.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        Some(())
    }
}

struct Reader<'a> {
    shape: &'a [u32],
    file: &'a Arc<Mapped>,
    at: usize,
}

impl Reader<'_> {
    fn word(&mut self) -> Option<u32> {
        let (first, rest) = self.shape.split_first()?;
        self.shape = rest;
        Some(*first)
    }

    fn size(&mut self) -> Option<usize> {
        self.word()?.try_into().ok()
    }

    fn take<T: Number>(&mut self) -> Option<Numbers<T>> {
        let len = self.size()?;
        let numbers = self.file.numbers(self.at, len)?;
        self.at = (self.at + len * size_of::<T>()).next_multiple_of(ALIGNMENT);
        Some(numbers)
    }
}

impl Blocks {
    fn write(&self, shape: &mut Vec<u32>, body: &mut Body) -> Option<()> {
        shape.extend([self.width, self.layers.len()].map(|size| u32::try_from(size).unwrap_or(u32::MAX)));
        match &self.words {
            Table::Full(words) => {
                shape.push(0);
                body.put(shape, words)?;
            }
            Table::Half(words) => {
                shape.push(1);
                body.put(shape, words)?;
            }
        }
        body.put(shape, &self.positions)?;
        write_norm(&self.norm, shape, body)?;
        for layer in &self.layers {
            shape.push(layer.heads.try_into().ok()?);
            shape.push(match layer.gelu {
                Gelu::Erf => 0,
                Gelu::Tanh => 1,
            });
            for weights in [&layer.qkv, &layer.output, &layer.up, &layer.down] {
                write_weights(weights, shape, body)?;
            }
            write_norm(&layer.attention_norm, shape, body)?;
            write_norm(&layer.norm, shape, body)?;
        }
        Some(())
    }

    fn read(reader: &mut Reader, cpu: Cpu) -> Option<Self> {
        let (width, n_layers) = (reader.size()?, reader.size()?);
        let words = match reader.word()? {
            0 => Table::Full(reader.take()?),
            1 => Table::Half(reader.take()?),
            _ => return None,
        };
        let (positions, norm) = (reader.take()?, read_norm(reader)?);
        let mut layers = Vec::new();
        for _ in 0..n_layers {
            let heads = reader.size()?;
            let gelu = match reader.word()? {
                0 => Gelu::Erf,
                1 => Gelu::Tanh,
                _ => return None,
            };
            let (qkv, output) = (read_weights(reader, cpu)?, read_weights(reader, cpu)?);
            let (up, down) = (read_weights(reader, cpu)?, read_weights(reader, cpu)?);
            let (attention_norm, norm) = (read_norm(reader)?, read_norm(reader)?);
            layers.push(Block { cpu, heads, qkv, output, attention_norm, up, gelu, down, norm });
        }
        Some(Self { cpu, width, words, positions, norm, layers })
    }
}

fn write_norm(norm: &Norm, shape: &mut Vec<u32>, body: &mut Body) -> Option<()> {
    shape.push(norm.epsilon.to_bits());
    body.put(shape, &norm.gain)?;
    body.put(shape, &norm.bias)
}

fn read_norm(reader: &mut Reader) -> Option<Norm> {
    let epsilon = f32::from_bits(reader.word()?);
    Some(Norm { epsilon, gain: reader.take()?, bias: reader.take()? })
}

fn write_weights(weights: &Weights, shape: &mut Vec<u32>, body: &mut Body) -> Option<()> {
    let (inputs, packed, bias) = weights.parts();
    shape.push(inputs.try_into().ok()?);
    match packed {
        Packed::Full(weights) => {
            shape.push(0);
            body.put(shape, weights)?;
        }
        Packed::Half(weights) => {
            shape.push(1);
            body.put(shape, weights)?;
        }
        Packed::Byte { weights, factors, scales, sums } => {
            shape.push(2);
            body.put(shape, weights)?;
            body.put(shape, factors)?;
            body.put(shape, scales)?;
            body.put(shape, sums)?;
        }
    }
    body.put(shape, bias)
}

fn read_weights(reader: &mut Reader, cpu: Cpu) -> Option<Weights> {
    let inputs = reader.size()?;
    let packed = match reader.word()? {
        0 => Packed::Full(reader.take()?),
        1 => Packed::Half(reader.take()?),
        2 => {
            let (weights, factors) = (reader.take()?, reader.take()?);
            Packed::Byte { weights, factors, scales: reader.take()?, sums: reader.take()? }
        }
        _ => return None,
    };
    let bias = reader.take()?;
    Weights::new(cpu, inputs, packed, bias)
}
