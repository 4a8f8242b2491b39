//! The bytes of memories in the store: one version of one memory, and the keys of everything that leads to it.
//!
//! Tables: `memory` (id → present version), `history` (id, version → version), `place` (what leads to a memory and what is
//! counted), `request` (answers to idempotent calls). Nothing here decides anything.
use crate::Result;
use crate::id::Id;
use crate::memory::{Change, Reason, ScopeField};
use crate::scope;
use crate::types::{Content, Error, Kind, Link, Memory, Relation, Role, Scope, Timestamp};
use sha2::{Digest, Sha256};

pub(crate) const MEMORY: &str = "memory";
pub(crate) const HISTORY: &str = "history";
pub(crate) const PLACE: &str = "place";
pub(crate) const REQUEST: &str = "request";

/// One version of a memory, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: Id,
    pub(crate) version: u32,
    /// What made this version.
    pub(crate) change: Change,
    pub(crate) reason: Reason,
    pub(crate) similarity: Option<f32>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) standing: Standing,
    pub(crate) superseded: Option<Superseded>,
    pub(crate) content: Content,
}

/// Whether a memory is there at all; everything else about its state follows from times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Kept,
    Deleted,
    /// Deleted, and nothing but id, scope and times is left.
    Erased,
}

/// That another memory replaces this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    pub(crate) by: Id,
    pub(crate) from: Timestamp,
}

impl Record {
    /// The moment at which this memory starts to hold, for what it supersedes.
    pub(crate) fn starts(&self) -> Timestamp {
        self.content.valid_from.or(self.content.at).unwrap_or(self.created_at)
    }

    /// The memories that this one supersedes now.
    pub(crate) fn supersedes(&self) -> Vec<Id> {
        if self.standing != Standing::Kept {
            return vec![];
        }
        let targets = self.content.links.iter().filter(|link| link.relation == Relation::Supersedes);
        targets.filter_map(|link| Id::parse(&link.target)).filter(|target| *target != self.id).collect()
    }

    /// Whether time alone changes something: the state that a reader sees, or what is to be purged.
    pub(crate) fn timed(&self) -> bool {
        let expires = self.content.expires_at.is_some();
        match self.standing {
            Standing::Kept => {
                expires
                    || self.superseded.is_some()
                    || self.content.valid_from.is_some()
                    || self.content.valid_to.is_some()
            }
            Standing::Deleted => expires,
            Standing::Erased => false,
        }
    }

    /// Whether every context carries this memory.
    pub(crate) fn is_core(&self) -> bool {
        self.standing == Standing::Kept && self.content.kind == Kind::Core
    }

    /// As the contract shows it.
    pub(crate) fn memory(&self, state: crate::types::State) -> Memory {
        Memory {
            id: self.id.text(),
            version: self.version,
            content: self.content.clone(),
            state,
            superseded_by: self.superseded.map(|s| s.by.text()),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.content.text.len() + self.content.metadata.len() + 96));
        out.byte(1);
        out.number(u64::from(self.version));
        out.byte(change_code(self.change));
        out.byte(reason_code(self.reason));
        out.byte(match self.standing {
            Standing::Kept => 0,
            Standing::Deleted => 1,
            Standing::Erased => 2,
        });
        out.bytes(&self.created_at.to_le_bytes());
        out.bytes(&self.updated_at.to_le_bytes());
        out.maybe(self.similarity, |out, s| out.bytes(&s.to_le_bytes()));
        out.maybe(self.superseded, |out, s| {
            out.bytes(&s.by.0);
            out.bytes(&s.from.to_le_bytes());
        });
        let c = &self.content;
        scope::encode(&c.scope, &mut out.0);
        out.maybe(c.key.as_ref(), |out, key| out.text(key));
        out.maybe(c.actor.as_ref(), |out, actor| out.text(actor));
        out.maybe(c.role, |out, role| out.byte(role_code(role)));
        out.byte(kind_code(c.kind));
        for at in [c.at, c.valid_from, c.valid_to, c.expires_at] {
            out.maybe(at, |out, at| out.bytes(&at.to_le_bytes()));
        }
        out.number(c.links.len() as u64);
        for link in &c.links {
            match &link.relation {
                Relation::Supersedes => out.byte(0),
                Relation::MaySupersede => out.byte(1),
                Relation::Duplicates => out.byte(2),
                Relation::DerivedFrom => out.byte(3),
                Relation::Other(own) => {
                    out.byte(4);
                    out.text(own);
                }
            }
            out.text(&link.target);
        }
        out.text(&c.metadata);
        out.text(&c.text);
        out.0
    }

    /// The inverse of [`Record::encode`]; `corrupt` for anything else.
    pub(crate) fn decode(id: Id, bytes: &[u8]) -> Result<Record> {
        Record::read(id, &mut Reader(bytes))
            .ok_or_else(|| Error::Corrupt(format!("the record of memory {} cannot be read", id.text())))
    }

    fn read(id: Id, from: &mut Reader<'_>) -> Option<Record> {
        if from.byte()? != 1 {
            return None;
        }
        let version = u32::try_from(from.number()?).ok()?;
        let change = decode_of(from.byte()?, &CHANGES)?;
        let reason = decode_of(from.byte()?, &REASONS)?;
        let standing = decode_of(from.byte()?, &[Standing::Kept, Standing::Deleted, Standing::Erased])?;
        let created_at = from.time()?;
        let updated_at = from.time()?;
        let similarity = from.maybe(|from| from.array().map(f32::from_le_bytes))?;
        let superseded = from.maybe(|from| Some(Superseded { by: Id(from.array()?), from: from.time()? }))?;
        let (scope, rest) = scope::decode(from.0)?;
        from.0 = rest;
        let key = from.maybe(Reader::text)?;
        let actor = from.maybe(Reader::text)?;
        let role = from.maybe(|from| decode_of(from.byte()?, &ROLES))?;
        let kind = decode_of(from.byte()?, &KINDS)?;
        let at = from.maybe(Reader::time)?;
        let valid_from = from.maybe(Reader::time)?;
        let valid_to = from.maybe(Reader::time)?;
        let expires_at = from.maybe(Reader::time)?;
        let mut links = vec![];
        for _ in 0..from.number()? {
            let relation = match from.byte()? {
                0 => Relation::Supersedes,
                1 => Relation::MaySupersede,
                2 => Relation::Duplicates,
                3 => Relation::DerivedFrom,
                4 => Relation::Other(from.text()?),
                _ => return None,
            };
            links.push(Link { relation, target: from.text()? });
        }
        let metadata = from.text()?;
        let text = from.text()?;
        let content =
            Content { text, scope, key, actor, role, kind, metadata, at, valid_from, valid_to, expires_at, links };
        from.0.is_empty().then_some(Record {
            id,
            version,
            change,
            reason,
            similarity,
            created_at,
            updated_at,
            standing,
            superseded,
            content,
        })
    }
}

/// `history`: the versions of one memory, ascending.
pub(crate) fn history_key(id: Id, version: u32) -> Vec<u8> {
    [&id.0[..], &version.to_be_bytes()].concat()
}

/// The caller's own name in its exact scope → id.
pub(crate) fn key_place(of: &Scope, key: &str) -> Vec<u8> {
    let mut out = vec![b'k'];
    scope::encode(of, &mut out);
    out.extend_from_slice(key.as_bytes());
    out
}

/// What makes two memories without a key the same → ids, 16 bytes each.
///
/// `normal` is the text in NFC without outer white space.
pub(crate) fn same_text_place(content: &Content, normal: &str) -> Vec<u8> {
    let mut of = Writer(vec![]);
    scope::encode(&content.scope, &mut of.0);
    of.maybe(content.actor.as_ref(), |out, actor| out.text(actor));
    of.byte(kind_code(content.kind));
    of.maybe(content.at, |out, at| out.bytes(&at.to_le_bytes()));
    of.text(normal);
    let digest = Sha256::digest(&of.0);
    [b"h", &digest[..16]].concat()
}

/// Listing: the memories of one value of one field, ascending by id → nothing.
pub(crate) fn listing_place(field: ScopeField, value: &str, id: Option<Id>) -> Vec<u8> {
    let mut out = vec![b'f', field as u8];
    out.extend_from_slice(value.as_bytes());
    out.push(0);
    out.extend_from_slice(id.as_ref().map_or(&[], |id| &id.0[..]));
    out
}

/// How many memories of one exact scope are kept → counter.
pub(crate) fn kept_place(of: &Scope) -> Vec<u8> {
    prefixed(b'c', of)
}

/// How many memories of one exact scope are deleted or erased → counter.
pub(crate) fn deleted_place(of: &Scope) -> Vec<u8> {
    prefixed(b'd', of)
}

/// When one exact scope last changed → Unix milliseconds.
pub(crate) fn touched_place(of: &Scope) -> Vec<u8> {
    prefixed(b'u', of)
}

/// The memories that supersede one → ids, 16 bytes each.
pub(crate) fn successors_place(of: Id) -> Vec<u8> {
    [b"s", &of.0[..]].concat()
}

/// Memories that time alone changes → nothing.
pub(crate) fn timed_place(id: Id) -> Vec<u8> {
    [b"t", &id.0[..]].concat()
}

/// Memories of the kind `core` that are kept → nothing.
pub(crate) fn core_place(id: Option<Id>) -> Vec<u8> {
    [&b"o"[..], id.as_ref().map_or(&[], |id| &id.0[..])].concat()
}

fn prefixed(tag: u8, of: &Scope) -> Vec<u8> {
    let mut out = vec![tag];
    scope::encode(of, &mut out);
    out
}

/// The first key behind all that begin with `prefix`; none if there is no such key.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

pub(crate) const CHANGES: [Change; 8] = [
    Change::Added,
    Change::Updated,
    Change::Unchanged,
    Change::Linked,
    Change::Superseded,
    Change::Deleted,
    Change::Erased,
    Change::Restored,
];
pub(crate) const REASONS: [Reason; 6] = [
    Reason::Requested,
    Reason::SameKey,
    Reason::SameText,
    Reason::NearDuplicate,
    Reason::Contradiction,
    Reason::Extracted,
];
const ROLES: [Role; 4] = [Role::User, Role::Assistant, Role::System, Role::Tool];
const KINDS: [Kind; 4] = [Kind::Fact, Kind::Episode, Kind::Procedure, Kind::Core];

pub(crate) fn change_code(change: Change) -> u8 {
    code_of(&change, &CHANGES)
}

pub(crate) fn reason_code(reason: Reason) -> u8 {
    code_of(&reason, &REASONS)
}

fn role_code(role: Role) -> u8 {
    code_of(&role, &ROLES)
}

fn kind_code(kind: Kind) -> u8 {
    code_of(&kind, &KINDS)
}

fn code_of<T: PartialEq>(value: &T, all: &[T]) -> u8 {
    let place = all.iter().position(|v| v == value).expect("the list holds every case");
    u8::try_from(place).expect("the lists are short")
}

pub(crate) fn decode_of<T: Copy>(code: u8, all: &[T]) -> Option<T> {
    all.get(usize::from(code)).copied()
}

/// Appends values to bytes.
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }
    /// LEB128.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
    pub(crate) fn text(&mut self, value: &str) {
        self.number(value.len() as u64);
        self.bytes(value.as_bytes());
    }
    pub(crate) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Takes values from bytes; none where they end too early or make no sense.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }
    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        self.array().map(i64::from_le_bytes)
    }
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    pub(crate) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let bytes = self.0.get(..length)?;
        self.0 = &self.0[length..];
        Some(std::str::from_utf8(bytes).ok()?.to_owned())
    }
    /// The outer option: readable; the inner: there.
    #[expect(clippy::option_option, reason = "both are asked")]
    pub(crate) fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Record {
        let content = Content {
            text: "Ana is vegetarian\0\n".into(),
            scope: Scope { user: Some("u".into()), agent: None, app: Some("ä".into()), run: None },
            key: Some("k".into()),
            actor: Some("Ana".into()),
            role: Some(Role::Tool),
            kind: Kind::Core,
            metadata: "{ \"a\": 1.0 }".into(),
            at: Some(-1),
            valid_from: Some(0),
            valid_to: None,
            expires_at: Some(i64::MAX),
            links: vec![
                Link { relation: Relation::Supersedes, target: Id([1; 16]).text() },
                Link { relation: Relation::Other("about".into()), target: Id([2; 16]).text() },
            ],
        };
        Record {
            id: Id([7; 16]),
            version: 300,
            change: Change::Restored,
            reason: Reason::SameKey,
            similarity: Some(0.25),
            created_at: 5,
            updated_at: 6,
            standing: Standing::Deleted,
            superseded: Some(Superseded { by: Id([9; 16]), from: -7 }),
            content,
        }
    }

    #[test]
    fn records_come_back() {
        let record = full();
        assert_eq!(Record::decode(record.id, &record.encode()), Ok(record));
    }

    #[test]
    fn damaged_records_are_corrupt_not_panics() {
        let bytes = full().encode();
        for end in 0..bytes.len() {
            assert!(matches!(Record::decode(Id([7; 16]), &bytes[..end]), Err(Error::Corrupt(_))), "{end}");
        }
        for place in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[place] ^= flip;
                let _ = Record::decode(Id([7; 16]), &bytes);
            }
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(behind(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(behind(&[1, 0xff]), Some(vec![2]));
        assert_eq!(behind(&[0xff, 0xff]), None);
    }
}
