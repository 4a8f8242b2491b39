//! Ids of memories: `UUIDv7` (RFC 9562), sixteen bytes in the store and 36 characters outside.
use crate::capability::Host;
use crate::types::MemoryId;

/// The order of the bytes is the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl Id {
    /// Reads the 36 characters, in lower case.
    pub(crate) fn parse(text: &str) -> Option<Id> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|place| bytes[*place] != b'-') {
            return None;
        }
        let mut out = [0; 16];
        let mut digits = bytes.iter().filter(|b| **b != b'-');
        for byte in &mut out {
            for _ in 0..2 {
                let digit = match digits.next()? {
                    b @ b'0'..=b'9' => b - b'0',
                    b @ b'a'..=b'f' => b - b'a' + 10,
                    _ => return None,
                };
                *byte = *byte << 4 | digit;
            }
        }
        digits.next().is_none().then_some(Id(out))
    }

    /// The 36 characters.
    pub(crate) fn text(self) -> MemoryId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = String::with_capacity(36);
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        out
    }

    /// Makes `count` ids that follow each other and all made before.
    ///
    /// 48 bits of time, then the 26 bits that the host reserved (RFC 9562, section 6.2, method 1), then chance.
    pub(crate) fn reserve(host: &impl Host, count: u32) -> Vec<Id> {
        let stamp = host.reserve(count);
        let chance = host.random(count * 6);
        let time = stamp.at.to_be_bytes();
        (stamp.first..)
            .zip(chance.chunks_exact(6))
            .map(|(number, chance)| {
                let mut id = [0; 16];
                id[..6].copy_from_slice(&time[2..]);
                id[6..8].copy_from_slice(&[0x70 | low_byte(number >> 22) & 0x0f, low_byte(number >> 14)]);
                id[8..10].copy_from_slice(&[0x80 | low_byte(number >> 8) & 0x3f, low_byte(number)]);
                id[10..].copy_from_slice(chance);
                Id(id)
            })
            .collect()
    }
}

fn low_byte(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        let text = "01977a3e-5b00-7abc-8def-0123456789ab";
        assert_eq!(Id::parse(text).unwrap().text(), text);
        for bad in [
            "",
            "01977A3E-5b00-7abc-8def-0123456789ab",
            "01977a3e5b00-7abc-8def-0123456789ab-",
            "g1977a3e-5b00-7abc-8def-0123456789ab",
            "01977a3e-5b00-7abc-8def-0123456789a",
        ] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_ascend_within_and_across_calls() {
        let host = crate::fakes::Fake::new();
        let mut last = Id([0; 16]);
        for _ in 0..20 {
            for id in Id::reserve(&host, 700) {
                assert!(id > last, "{} after {}", id.text(), last.text());
                assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (7, 2));
                last = id;
            }
        }
    }
}
