//! The values of scope fields.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::id::Id;
use crate::memory::{ScopeEntry, ScopesPage, ScopesRequest};
use crate::record::{MEMORY, Record};
use crate::record::{PLACE, behind, listing_place, touched_place};
use crate::scope::{admits, decode, field};
use crate::storage::Range;
use crate::types::{Error, Scope, Timestamp};
use std::collections::BTreeMap;

/// Lists the values of one scope field; see `memory.scopes` of the contract.
pub fn scopes(host: &impl Host, request: &ScopesRequest) -> Result<ScopesPage> {
    check::scope("request.within", &request.within)?;
    check::limit("request.limit", request.limit)?;
    if let Some(after) = &request.after {
        check::short("request.after", "the cursor", after)?;
    }
    let snapshot = host.snapshot()?;
    let mut found: BTreeMap<String, (u32, Timestamp)> = BTreeMap::new();
    for (scope, count) in counts(&snapshot, b'c', &request.within)? {
        let Some(value) = field(&scope, request.field) else { continue };
        if request.after.as_deref().is_some_and(|after| value <= after) {
            continue;
        }
        let touched = snapshot.get(PLACE, &[touched_place(&scope)])?.pop().flatten();
        let touched = touched.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes);
        let entry = found.entry(value.to_owned()).or_insert((0, touched));
        *entry = (entry.0 + count, entry.1.max(touched));
    }
    let limit = request.limit as usize;
    let more = found.len() > limit;
    let mut entries = vec![];
    for (value, (memories, updated_at)) in found.into_iter().take(limit) {
        let created_at = first_created(&snapshot, request, &value)?;
        entries.push(ScopeEntry { value, memories, created_at, updated_at });
    }
    let next = entries.last().filter(|_| more).map(|entry| entry.value.clone());
    Ok(ScopesPage { entries, next })
}

/// The counters of every exact scope within another one.
pub(crate) fn counts(snapshot: &impl Snapshot, tag: u8, within: &Scope) -> Result<Vec<(Scope, u32)>> {
    let mut out = vec![];
    let mut start = vec![tag];
    let end = behind(&start);
    loop {
        let range = Range { start, end: end.clone(), reverse: false, limit: 1_000, keys_only: false };
        let found = snapshot.scan(PLACE, &range)?;
        for pair in &found.pairs {
            let scope = decode(&pair.key[1..]).map(|(scope, _)| scope);
            let count = <[u8; 8]>::try_from(&pair.value[..])
                .ok()
                .and_then(|bytes| u32::try_from(i64::from_le_bytes(bytes)).ok());
            let (Some(scope), Some(count)) = (scope, count) else {
                return Err(Error::Corrupt("a counter of a scope cannot be read".to_owned()));
            };
            if admits(within, &scope) {
                out.push((scope, count));
            }
        }
        match found.pairs.last() {
            Some(last) if found.more => start = [&last.key[..], &[0]].concat(),
            _ => return Ok(out),
        }
    }
}

/// When the first memory was made that has this value and lies within.
fn first_created(snapshot: &impl Snapshot, request: &ScopesRequest, value: &str) -> Result<Timestamp> {
    let prefix = listing_place(request.field, value, None);
    let mut start = prefix.clone();
    loop {
        let range = Range { start, end: behind(&prefix), reverse: false, limit: 16, keys_only: true };
        let found = snapshot.scan(PLACE, &range)?;
        for pair in &found.pairs {
            let id = &pair.key[prefix.len()..];
            let bytes = snapshot.get(MEMORY, &[id.to_vec()])?.pop().flatten();
            let (Some(bytes), Ok(id)) = (bytes, id.try_into().map(Id)) else { continue };
            let record = Record::decode(id, &bytes)?;
            if admits(&request.within, &record.content.scope) {
                return Ok(record.created_at);
            }
        }
        match found.pairs.last() {
            Some(last) if found.more => start = [&last.key[..], &[0]].concat(),
            _ => return Ok(0),
        }
    }
}

/// How many memories of a scope are kept, and how many deleted.
pub(crate) fn kept_and_deleted(snapshot: &impl Snapshot, within: &Scope) -> Result<(u32, u32)> {
    let sum = |tag: u8| -> Result<u32> { Ok(counts(snapshot, tag, within)?.iter().map(|(_, count)| count).sum()) };
    Ok((sum(b'c')?, sum(b'd')?))
}
