//! Idempotent requests: the first answer of a call, kept for a day under the caller's key.
use crate::Result;
use crate::capability::Host;
use crate::check::{IDEMPOTENCY_KEY, invalid, too_much};
use crate::draft::Draft;
use crate::memory::{Added, Effect, Matched, Outcome, Outcomes};
use crate::record::{CHANGES, REASONS, REQUEST, Reader, Writer, change_code, decode_of, reason_code};
use crate::types::{Error, Refusal};
use sha2::{Digest, Sha256};

/// How long an answer is remembered.
pub(crate) const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1000;

/// An answer that can be given a second time.
pub(crate) trait Answer: Sized {
    fn write(&self, out: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// One call under the caller's key.
pub(crate) struct Request {
    key: Vec<u8>,
    /// Of everything that was asked.
    digest: [u8; 32],
}

impl Request {
    pub(crate) fn new(key: &str, items: &str) -> Result<Request> {
        let place = "options.idempotency-key";
        match key.len() {
            0 => Err(invalid(place, "the idempotency key is empty; leave it out instead")),
            1..=IDEMPOTENCY_KEY => Ok(Request { key: key.as_bytes().to_vec(), digest: Sha256::digest(items).into() }),
            size => Err(too_much(
                place,
                format!("the idempotency key has {size} bytes, at most {IDEMPOTENCY_KEY} are taken"),
            )),
        }
    }

    /// The answer that was given before.
    pub(crate) fn answered<H: Host, T: Answer>(&self, draft: &mut Draft<'_, H>) -> Result<Option<T>> {
        let Some(bytes) = draft.get(REQUEST, self.key.clone())? else { return Ok(None) };
        let corrupt = || Error::Corrupt("a remembered answer cannot be read".to_owned());
        let mut from = Reader(&bytes);
        let at = from.time().ok_or_else(corrupt)?;
        if at + REMEMBERED_MS <= draft.now {
            return Ok(None);
        }
        if from.array() != Some(self.digest) {
            return Err(Error::Conflict("the idempotency key was used for another call".to_owned()));
        }
        T::read(&mut from).map(Some).ok_or_else(corrupt)
    }

    /// Keeps the answer, in the same commit as what it tells of.
    pub(crate) fn remember<H: Host, T: Answer>(&self, draft: &mut Draft<'_, H>, answer: &T) {
        let mut out = Writer(draft.now.to_le_bytes().to_vec());
        out.bytes(&self.digest);
        answer.write(&mut out);
        draft.put(REQUEST, self.key.clone(), out.0);
    }
}

impl Answer for Outcomes {
    fn write(&self, out: &mut Writer) {
        out.number(self.len() as u64);
        for outcome in self {
            match outcome {
                Ok(outcome) => {
                    out.byte(0);
                    outcome.write(out);
                }
                Err(error) => {
                    out.byte(1);
                    write_error(error, out);
                }
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = from.number()?;
        (0..count)
            .map(|_| match from.byte()? {
                0 => Outcome::read(from).map(Ok),
                1 => read_error(from).map(Err),
                _ => None,
            })
            .collect()
    }
}

impl Answer for Added {
    fn write(&self, out: &mut Writer) {
        self.items.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Added { items: Outcomes::read(from)?, extracted: vec![] })
    }
}

impl Answer for Matched {
    fn write(&self, out: &mut Writer) {
        out.number(self.ids.len() as u64);
        for id in &self.ids {
            out.text(id);
        }
        out.number(u64::from(self.remaining));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = from.number()?;
        let ids = (0..count).map(|_| from.text()).collect::<Option<_>>()?;
        Some(Matched { ids, remaining: u32::try_from(from.number()?).ok()? })
    }
}

impl Answer for Outcome {
    fn write(&self, out: &mut Writer) {
        write_effect(&self.item, out);
        out.number(self.others.len() as u64);
        for effect in &self.others {
            write_effect(effect, out);
        }
        out.number(u64::from(self.truncated_tokens));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let item = read_effect(from)?;
        let count = from.number()?;
        let others = (0..count).map(|_| read_effect(from)).collect::<Option<_>>()?;
        Some(Outcome { item, others, truncated_tokens: u32::try_from(from.number()?).ok()? })
    }
}

fn write_effect(effect: &Effect, out: &mut Writer) {
    out.text(&effect.id);
    out.number(u64::from(effect.version));
    out.byte(change_code(effect.change));
    out.byte(reason_code(effect.reason));
    out.maybe(effect.similarity, |out, s| out.bytes(&s.to_le_bytes()));
}

fn read_effect(from: &mut Reader<'_>) -> Option<Effect> {
    Some(Effect {
        id: from.text()?,
        version: u32::try_from(from.number()?).ok()?,
        change: decode_of(from.byte()?, &CHANGES)?,
        reason: decode_of(from.byte()?, &REASONS)?,
        similarity: from.maybe(|from| from.array().map(f32::from_le_bytes))?,
    })
}

/// Errors at a place are of four cases; the others fail the whole call, which is then not remembered.
fn write_error(error: &Error, out: &mut Writer) {
    let (case, place, message) = match error {
        Error::InvalidArgument(refusal) => (0, &refusal.place[..], &refusal.message[..]),
        Error::LimitExceeded(refusal) => (1, &refusal.place[..], &refusal.message[..]),
        Error::NotFound(message) => (2, "", &message[..]),
        Error::Conflict(message) => (3, "", &message[..]),
        other => unreachable!("no error at a place: {other:?}"),
    };
    out.byte(case);
    out.text(place);
    out.text(message);
}

fn read_error(from: &mut Reader<'_>) -> Option<Error> {
    let case = from.byte()?;
    let (place, message) = (from.text()?, from.text()?);
    Some(match case {
        0 => Error::InvalidArgument(Refusal { place, message }),
        1 => Error::LimitExceeded(Refusal { place, message }),
        2 => Error::NotFound(message),
        3 => Error::Conflict(message),
        _ => return None,
    })
}
