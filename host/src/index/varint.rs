//! Numbers in as few bytes as they need, seven bits a byte, the last byte without the eighth bit.

pub(super) fn put(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 128 {
        bytes.push(value.to_le_bytes()[0] | 128);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// The number at a place, which moves behind it.
#[inline]
pub(super) fn take(bytes: &[u8], at: &mut usize) -> u32 {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u32::from(byte & 127) << shift;
        if byte < 128 {
            return value;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let numbers: Vec<u32> = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit]).chain([u32::MAX]).collect();
        let mut bytes = vec![];
        for number in &numbers {
            put(&mut bytes, *number);
        }
        let mut at = 0;
        let taken: Vec<u32> = numbers.iter().map(|_| take(&bytes, &mut at)).collect();
        assert_eq!((taken, at), (numbers, bytes.len()));
    }
}
