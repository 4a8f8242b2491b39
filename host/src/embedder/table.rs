//! A vector for each piece of a vocabulary, read alone: what words mean without a run of the model. Made by
//! `models/static.py`, which says how the file is laid out. Its space is its own, not that of the model.
use std::borrow::Cow;

use super::unit;

const MAGIC: &[u8] = b"CAIRNTAB";
const VERSION: u32 = 1;
const HEAD: usize = MAGIC.len() + 12;

pub(super) struct WordTable {
    bytes: Cow<'static, [u8]>,
    pieces: usize,
    width: usize,
}

impl WordTable {
    /// The error is the reason alone.
    pub(super) fn new(bytes: Cow<'static, [u8]>) -> Result<Self, String> {
        let number = |place: usize| {
            let bytes = bytes.get(MAGIC.len() + 4 * place..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let numbers = [number(0), number(1), number(2)];
        let (true, [Some(version), Some(pieces), Some(width)]) = (bytes.starts_with(MAGIC), numbers) else {
            return Err("it is no table of words".to_owned());
        };
        if version != VERSION {
            return Err(format!("it has version {version} instead of {VERSION}"));
        }
        let (pieces, width) = (pieces as usize, width as usize);
        let expected = width.checked_add(4).and_then(|row| row.checked_mul(pieces)?.checked_add(HEAD));
        if width == 0 || expected != Some(bytes.len()) {
            return Err(format!("{} bytes are not {pieces} rows of {width} numbers", bytes.len()));
        }
        Ok(Self { bytes, pieces, width })
    }

    /// The unit vector of pieces with their weights; none where nothing of them is in the table.
    pub(super) fn sum(&self, pieces: impl Iterator<Item = (u32, f32)>) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; self.width];
        for (piece, weight) in pieces {
            let piece = piece as usize;
            if piece >= self.pieces {
                continue;
            }
            let scale = &self.bytes[HEAD + 4 * piece..][..4];
            let scale = f32::from_le_bytes(scale.try_into().expect("four bytes"));
            let codes = &self.bytes[HEAD + 4 * self.pieces + self.width * piece..][..self.width];
            for (sum, code) in sum.iter_mut().zip(codes) {
                *sum += weight * scale * f32::from(code.cast_signed());
            }
        }
        unit(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pieces, three wide: (1, 0, 0) and (0, −0.5, 0).
    fn bytes() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1_u32, 2, 3].iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend([0.5_f32, 0.25].iter().flat_map(|scale| scale.to_le_bytes()));
        bytes.extend([2, 0, 0, 0, 254, 0]);
        bytes
    }

    #[track_caller]
    fn check(pieces: &[(u32, f32)], expected: Option<[f32; 3]>) {
        let table = WordTable::new(bytes().into()).unwrap();
        assert_eq!(table.sum(pieces.iter().copied()), expected.map(Vec::from));
    }

    #[test]
    fn pieces_are_summed_by_their_weights() {
        check(&[(0, 2.0)], Some([1.0, 0.0, 0.0]));
        check(&[(0, 0.3), (1, 0.8)], Some([0.6, -0.8, 0.0]));
        check(&[(0, 1.0), (7, 1.0)], Some([1.0, 0.0, 0.0]));
    }

    #[test]
    fn what_is_not_there_means_nothing() {
        check(&[], None);
        check(&[(2, 1.0)], None);
        check(&[(1, 0.0)], None);
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let refused = |bytes: Vec<u8>| WordTable::new(bytes.into()).err().unwrap();
        assert_eq!(refused(vec![]), "it is no table of words");
        assert_eq!(refused(bytes()[..10].to_vec()), "it is no table of words");
        assert_eq!(refused(bytes()[..30].to_vec()), "30 bytes are not 2 rows of 3 numbers");
        let mut newer = bytes();
        newer[8] = 2;
        assert_eq!(refused(newer), "it has version 2 instead of 1");
        let mut huge = bytes();
        huge[12..20].fill(255);
        assert_eq!(refused(huge), "34 bytes are not 4294967295 rows of 4294967295 numbers");
    }
}
