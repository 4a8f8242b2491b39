//! The bytes of what the host itself keeps: entries, their vectors, owed texts and the changelog. The only file that
//! knows them. Each form starts with a version byte; an unknown one is refused, and damaged bytes are an error, never
//! a panic.
use crate::contract::index::{Attribute, Entry, Passage, Value, WeightedText};
use crate::contract::types::Scope;
use crate::entry::StoredEntry;
use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

const VERSION: u8 = 1;

/// Why bytes are none of this file's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

pub(super) const WRONG_LENGTH: Malformed = Malformed("a number has a wrong length");

/// What a commit did to the entry of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Delete,
}

/// Brings an entry to what decoding its bytes will give: weights in steps of a half, vectors as 16-bit floats, no
/// places. An index thus absorbs the same from a commit as from a restart.
pub(super) fn round(stored: &mut StoredEntry) {
    for passage in stored.entry.passages.iter_mut().flatten() {
        passage.vector = None;
        for words in &mut passage.words {
            words.weight = weight(half_steps(words.weight));
        }
    }
    for vector in stored.vectors.iter_mut().flatten() {
        *vector = Vec::<f16>::from_f32_slice(vector).to_f32_vec();
    }
}

/// Without the key, which is the row's, and without vectors, which are a row of their own.
pub(super) fn encode_entry(stored: &StoredEntry) -> Vec<u8> {
    let Entry { key: _, scope, at, actor, attributes, passages } = &stored.entry;
    let mut out = Output::new();
    out.number(stored.order);
    for field in [&scope.user, &scope.agent, &scope.app, &scope.run, actor] {
        out.optional(field.as_deref());
    }
    out.signed(*at);
    out.count(attributes.len());
    for Attribute { name, value } in attributes {
        out.text(name);
        match value {
            Value::Text(text) => {
                out.0.push(0);
                out.text(text);
            }
            Value::Number(number) => {
                out.0.push(1);
                out.0.extend(number.to_le_bytes());
            }
            Value::Boolean(value) => out.0.push(2 + u8::from(*value)),
        }
    }
    let passages = passages.as_deref().unwrap_or_default();
    out.count(passages.len());
    for passage in passages {
        out.count(passage.words.len());
        for words in &passage.words {
            out.text(&words.text);
            out.0.push(half_steps(words.weight));
        }
    }
    out.0
}

/// The vectors stay empty, see [`decode_vectors`].
pub(super) fn decode_entry(key: String, bytes: &[u8]) -> Result<StoredEntry, Malformed> {
    let mut input = Input::new(bytes)?;
    let order = input.number()?;
    let scope =
        Scope { user: input.optional()?, agent: input.optional()?, app: input.optional()?, run: input.optional()? };
    let actor = input.optional()?;
    let at = input.signed()?;
    let attributes = input.list(|input| {
        let name = input.text()?;
        let value = match input.byte()? {
            0 => Value::Text(input.text()?),
            1 => Value::Number(f64::from_le_bytes(input.array()?)),
            2 => Value::Boolean(false),
            3 => Value::Boolean(true),
            _ => return Err(Malformed("an attribute has an unknown type")),
        };
        Ok(Attribute { name, value })
    })?;
    let passages = input.list(|input| {
        let words = input.list(|input| Ok(WeightedText { text: input.text()?, weight: weight(input.byte()?) }))?;
        Ok(Passage { words, vector: None })
    })?;
    input.end()?;
    let n_passages = passages.len();
    Ok(StoredEntry {
        entry: Entry { key, scope, at, actor, attributes, passages: Some(passages) },
        order,
        vectors: vec![None; n_passages],
        owed: vec![false; n_passages],
    })
}

/// The order alone, without the rest of the entry.
pub(super) fn decode_order(bytes: &[u8]) -> Result<u64, Malformed> {
    Input::new(bytes)?.number()
}

/// None if no passage has a vector or is owed one: such entries have no row of vectors.
pub(super) fn encode_vectors(stored: &StoredEntry) -> Option<Vec<u8>> {
    let dimensions = stored.vectors.iter().flatten().map(Vec::len).next().unwrap_or(0);
    if dimensions == 0 && !stored.owed.contains(&true) {
        return None;
    }
    let mut out = Output::new();
    out.count(dimensions);
    out.count(stored.vectors.len());
    for (vector, owed) in stored.vectors.iter().zip(&stored.owed) {
        out.0.push(if vector.is_some() { 1 } else { 2 * u8::from(*owed) });
    }
    for vector in stored.vectors.iter().flatten() {
        for number in Vec::<f16>::from_f32_slice(vector) {
            out.0.extend(number.to_le_bytes());
        }
    }
    Some(out.0)
}

/// Fills in what [`decode_entry`] left empty.
pub(super) fn decode_vectors(stored: &mut StoredEntry, bytes: &[u8]) -> Result<(), Malformed> {
    let mut input = Input::new(bytes)?;
    let dimensions = input.size()?;
    let flags = input.list(Input::byte)?;
    if flags.len() != stored.vectors.len() {
        return Err(Malformed("vectors and passages differ in number"));
    }
    for (place, flag) in flags.into_iter().enumerate() {
        match flag {
            0 => {}
            1 => {
                let length = dimensions.checked_mul(2).ok_or(Malformed("vectors are too long"))?;
                let numbers: Vec<f16> = input
                    .take(length)?
                    .chunks_exact(2)
                    .map(|pair| f16::from_le_bytes(pair.try_into().expect("chunks of two")))
                    .collect();
                stored.vectors[place] = Some(numbers.to_f32_vec());
            }
            2 => stored.owed[place] = true,
            _ => return Err(Malformed("a vector is neither there nor owed nor absent")),
        }
    }
    input.end()
}

/// Texts whose vectors are owed, with the places of their passages.
pub(super) fn encode_owed(texts: &[(u32, String)]) -> Vec<u8> {
    let mut out = Output::new();
    out.count(texts.len());
    for (passage, text) in texts {
        out.number(u64::from(*passage));
        out.text(text);
    }
    out.0
}

pub(super) fn decode_owed(bytes: &[u8]) -> Result<Vec<(u32, String)>, Malformed> {
    let mut input = Input::new(bytes)?;
    let texts = input.list(|input| Ok((input.small()?, input.text()?)))?;
    input.end()?;
    Ok(texts)
}

/// What one commit did to the entries of a tenant, each key once.
pub(super) fn encode_changes(changes: &[(Kind, &str)]) -> Vec<u8> {
    let mut out = Output::new();
    out.count(changes.len());
    for (kind, key) in changes {
        out.0.push(match kind {
            Kind::Put => 0,
            Kind::Delete => 1,
        });
        let key = short_key(key);
        out.count(key.len());
        out.0.extend(key);
    }
    out.0
}

pub(super) fn decode_changes(bytes: &[u8]) -> Result<Vec<(Kind, String)>, Malformed> {
    let mut input = Input::new(bytes)?;
    let changes = input.list(|input| {
        let kind = match input.byte()? {
            0 => Kind::Put,
            1 => Kind::Delete,
            _ => return Err(Malformed("a change has an unknown kind")),
        };
        let length = input.size()?;
        Ok((kind, long_key(input.take(length)?)?))
    })?;
    input.end()?;
    Ok(changes)
}

/// Marks of the two forms that a key has on disk.
const UUID: u8 = 0;
const TEXT: u8 = 1;
/// Bytes of a UUID before each hyphen.
const GROUPS: [usize; 5] = [4, 2, 2, 2, 6];

/// The key of an entry in few bytes: those of a UUID where it is the usual text of one, which keys of memories are.
pub(super) fn short_key(key: &str) -> Vec<u8> {
    let mut out = vec![UUID];
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let groups = key.split('-').map(str::as_bytes);
    for (group, size) in groups.clone().zip(GROUPS) {
        let bytes = group.chunks(2).map_while(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?));
        out.extend(bytes.map_while(|byte| u8::try_from(byte).ok()));
        if group.len() != 2 * size {
            break;
        }
    }
    if out.len() == 17 && groups.count() == 5 && long_key(&out).as_deref() == Ok(key) {
        return out;
    }
    [&[TEXT], key.as_bytes()].concat()
}

/// What [`short_key`] shortened.
pub(super) fn long_key(bytes: &[u8]) -> Result<String, Malformed> {
    match bytes {
        [UUID, id @ ..] if id.len() == 16 => {
            let mut key = String::with_capacity(36);
            let mut rest = id;
            for size in GROUPS {
                let (group, behind) = rest.split_at(size);
                rest = behind;
                if !key.is_empty() {
                    key.push('-');
                }
                for digit in group.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
                    key.push(char::from_digit(digit.into(), 16).expect("a digit is below 16"));
                }
            }
            Ok(key)
        }
        [TEXT, text @ ..] => Ok(std::str::from_utf8(text).map_err(|_| Malformed("a key is not UTF-8"))?.to_owned()),
        _ => Err(Malformed("a key has an unknown form")),
    }
}

pub(super) fn encode_model(name: &str, fingerprint: &str, dimensions: u32) -> Vec<u8> {
    let mut out = Output::new();
    out.text(name);
    out.text(fingerprint);
    out.number(u64::from(dimensions));
    out.0
}

/// Name, fingerprint and dimensions.
pub(super) fn decode_model(bytes: &[u8]) -> Result<(String, String, u32), Malformed> {
    let mut input = Input::new(bytes)?;
    let model = (input.text()?, input.text()?, input.small()?);
    input.end()?;
    Ok(model)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped, and NaN becomes 0")]
fn half_steps(weight: f32) -> u8 {
    ((weight * 2.0).round().clamp(1.0, 16.0) as u8).max(1)
}

fn weight(half_steps: u8) -> f32 {
    f32::from(half_steps) / 2.0
}

/// Lengths and numbers are LEB128 varints; signed ones in zigzag.
struct Output(Vec<u8>);

impl Output {
    fn new() -> Output {
        Output(vec![VERSION])
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Result<Input<'a>, Malformed> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Input(rest)),
            Some(_) => Err(Malformed("a row is of an unknown version")),
            None => Err(Malformed("a row is empty")),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("a row ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed("a number is too long"))
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed("a number is too large"))
    }

    fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed("a length is too large"))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.size()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn optional(&mut self) -> Result<Option<String>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(Malformed("a text is neither there nor absent")),
        }
    }

    /// Every item takes a byte at least, which bounds what a damaged count can ask for.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let length = self.size()?;
        if length > self.0.len() {
            return Err(Malformed("a list ends too early"));
        }
        (0..length).map(|_| item(self)).collect()
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("a row has bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Random;

    fn text(random: &mut Random) -> String {
        (0..random.below(12)).map(|_| ['a', 'é', '漢', '🦊', '\0'][usize::try_from(random.below(5)).unwrap()]).collect()
    }

    fn optional(random: &mut Random) -> Option<String> {
        (random.below(2) == 0).then(|| text(random))
    }

    #[expect(clippy::cast_precision_loss, reason = "any numbers will do")]
    fn stored(random: &mut Random) -> StoredEntry {
        let n_passages = 1 + usize::try_from(random.below(4)).unwrap();
        let mut stored = StoredEntry {
            entry: Entry {
                key: text(random),
                scope: Scope {
                    user: optional(random),
                    agent: optional(random),
                    app: optional(random),
                    run: optional(random),
                },
                at: random.below(u64::MAX).cast_signed(),
                actor: optional(random),
                attributes: (0..random.below(4))
                    .map(|kind| Attribute {
                        name: text(random),
                        value: match kind {
                            0 => Value::Text(text(random)),
                            1 => Value::Number(random.below(1000) as f64 / 7.0),
                            _ => Value::Boolean(kind == 2),
                        },
                    })
                    .collect(),
                passages: Some(
                    (0..n_passages)
                        .map(|_| Passage {
                            words: (0..random.below(3))
                                .map(|_| WeightedText { text: text(random), weight: random.below(20) as f32 / 2.0 })
                                .collect(),
                            vector: Some(3),
                        })
                        .collect(),
                ),
            },
            order: random.below(u64::MAX) >> random.below(64),
            vectors: (0..n_passages)
                .map(|_| (random.below(2) == 0).then(|| (0..8).map(|_| random.below(1000) as f32 / 999.0).collect()))
                .collect(),
            owed: vec![],
        };
        stored.owed = stored.vectors.iter().map(|vector| vector.is_none() && random.below(2) == 0).collect();
        stored
    }

    fn decode(key: &str, entry: &[u8], vectors: Option<&[u8]>) -> Result<StoredEntry, Malformed> {
        let mut stored = decode_entry(key.to_owned(), entry)?;
        if let Some(vectors) = vectors {
            decode_vectors(&mut stored, vectors)?;
        }
        Ok(stored)
    }

    #[test]
    fn entries_come_back_as_they_were_rounded() {
        let mut random = Random(7);
        for _ in 0..500 {
            let mut expected = stored(&mut random);
            let (entry, vectors) = (encode_entry(&expected), encode_vectors(&expected));
            round(&mut expected);
            assert_eq!(decode(&expected.entry.key, &entry, vectors.as_deref()), Ok(expected.clone()));
            assert_eq!(decode_order(&entry), Ok(expected.order));
        }
    }

    #[test]
    fn extreme_numbers_come_back() {
        for at in [i64::MIN, -1, 0, 1, i64::MAX] {
            for order in [0, 127, 128, u64::MAX] {
                let mut expected = stored(&mut Random(1));
                (expected.entry.at, expected.order) = (at, order);
                let (entry, vectors) = (encode_entry(&expected), encode_vectors(&expected));
                round(&mut expected);
                assert_eq!(decode(&expected.entry.key, &entry, vectors.as_deref()), Ok(expected));
            }
        }
    }

    #[test]
    fn the_lists_of_the_host_come_back() {
        let changes = [(Kind::Put, "a"), (Kind::Delete, ""), (Kind::Put, "漢")];
        let decoded = decode_changes(&encode_changes(&changes)).unwrap();
        assert_eq!(decoded.iter().map(|(kind, key)| (*kind, key.as_str())).collect::<Vec<_>>(), changes);
        let owed = vec![(0, "one".to_owned()), (u32::MAX, String::new())];
        assert_eq!(decode_owed(&encode_owed(&owed)), Ok(owed));
        let model = ("e5".to_owned(), "f00d".to_owned(), 384);
        assert_eq!(decode_model(&encode_model(&model.0, &model.1, model.2)), Ok(model));
    }

    #[test]
    fn keys_come_back_and_those_of_memories_are_short() {
        let id = "0197a3e0-5b00-7abc-8def-0123456789ab";
        assert_eq!(short_key(id).len(), 17);
        let others = [
            "",
            "k",
            "0197A3E0-5b00-7abc-8def-0123456789ab",
            "0197a3e05b00-7abc-8def-0123456789ab",
            &id[1..],
            &id[..35],
            "0197a3e0-5b00-7abc-8def-0123456789ab-",
            "0197a3e0-5b00-7abc-8def-0123456789ag",
            "漢字",
            "0197a3e0-5b0-07abc-8def-0123456789ab",
        ];
        for key in others.into_iter().chain([id]) {
            assert_eq!(long_key(&short_key(key)).as_deref(), Ok(key));
            assert_eq!(short_key(key).len() == 17, key == id || key.len() == 16, "{key}");
        }
        let later = "0197a3e0-5b00-7abc-8df0-000000000000";
        assert!(short_key(id) < short_key(later));
        for malformed in [&[][..], &[0; 16], &[0; 18], &[2, 3], &[1, 0xff]] {
            assert!(long_key(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut entry = encode_entry(&stored(&mut Random(3)));
        entry[0] = 2;
        assert_eq!(decode("k", &entry, None), Err(Malformed("a row is of an unknown version")));
        assert_eq!(decode("k", &[], None), Err(Malformed("a row is empty")));
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut random = Random(11);
        for _ in 0..300 {
            let stored = stored(&mut random);
            let rows = [
                encode_entry(&stored),
                encode_vectors(&stored).unwrap_or_default(),
                encode_owed(&[(1, "text".to_owned())]),
                encode_changes(&[(Kind::Put, "key")]),
            ];
            for mut row in rows {
                for _ in 0..20 {
                    let length = row.len() as u64;
                    if length > 1 {
                        let at = usize::try_from(1 + random.below(length - 1)).unwrap();
                        row[at] = u8::try_from(random.below(256)).unwrap();
                    }
                    let cut = &row[..usize::try_from(random.below(length + 1)).unwrap()];
                    for bytes in [cut, &row] {
                        let _ = decode("k", bytes, Some(bytes));
                        let _ = decode("k", &encode_entry(&stored), Some(bytes));
                        let _ = (decode_owed(bytes), decode_changes(bytes), decode_model(bytes));
                    }
                }
            }
        }
    }
}
