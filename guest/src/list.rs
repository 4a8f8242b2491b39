//! Reading memories page by page, in the order of creation.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::draft::Draft;
use crate::filter::Filter;
use crate::id::Id;
use crate::memory::ScopeField;
use crate::memory::{ListRequest, Order, Page, Selection};
use crate::record::{MEMORY, PLACE, Record, Standing, behind, listing_place};
use crate::scope::{admits, field};
use crate::storage::Range;
use crate::types::{Memory, Scope};
use crate::view::Eyes;
use sha2::{Digest, Sha256};

/// Rows read in one go.
const CHUNK: u32 = 256;

/// Returns memories page by page; see `memory.list` of the contract.
pub fn list(host: &impl Host, request: &ListRequest) -> Result<Page> {
    check::scope("request.scope", &request.scope)?;
    check::limit("request.limit", request.limit)?;
    let filter = request.filter.as_ref().map(|text| Filter::parse(text, "request.filter")).transpose()?;
    let eyes = Eyes::open(host, &request.view, "request.view")?;
    let seal = seal(request);
    let after = request.after.as_ref().map(|cursor| open_cursor(cursor, &seal)).transpose()?;
    let snapshot = host.snapshot()?;
    let newest_first = request.order == Order::NewestFirst;
    let limit = request.limit as usize;
    let mut memories: Vec<Memory> = vec![];
    let mut last = None;
    let mut more = false;
    let mut total = 0;
    let admitted = |record: &Record| filter.as_ref().is_none_or(|filter| filter.admits(record));
    walk(&snapshot, &request.scope, newest_first, after.filter(|_| !request.count), |record| {
        // A version of then may have other fields than the present one: the filter asks that one alone.
        if eyes.known_at.is_none() && !admitted(&record) {
            return Ok(true);
        }
        let id = record.id;
        let Some((record, memory)) = eyes.see(record, &snapshot)? else { return Ok(true) };
        if eyes.known_at.is_some() && !admitted(&record) {
            return Ok(true);
        }
        total += 1;
        let behind_cursor = after.is_none_or(|after| if newest_first { id < after } else { id > after });
        if !behind_cursor {
            return Ok(true);
        }
        if memories.len() < limit {
            memories.push(memory);
            last = Some(id);
        } else {
            more = true;
        }
        Ok(request.count || !more)
    })?;
    let next = last.filter(|_| more).map(|id| format!("{}{seal}", id.text()));
    Ok(Page { memories, next, total: request.count.then_some(total) })
}

/// What a cursor is bound to, as eight characters.
fn seal(request: &ListRequest) -> String {
    let of = format!("{:?} {:?} {:?}", request.scope, request.filter, request.order);
    let digest = Sha256::digest(of);
    format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

fn open_cursor(cursor: &str, seal: &str) -> Result<Id> {
    let place = "request.after";
    match cursor.split_at_checked(36).and_then(|(id, sealed)| Some((Id::parse(id)?, sealed))) {
        Some((id, sealed)) if sealed == seal => Ok(id),
        Some(_) => Err(check::invalid(place, "the cursor belongs to another scope, filter or order")),
        None => Err(check::invalid(place, "this is no cursor; take `next` of the page before")),
    }
}

/// What a selection matches.
pub(crate) struct Matching {
    /// The oldest, as many as the selection's limit and one commit hold.
    pub(crate) ids: Vec<Id>,
    /// How many more there are.
    pub(crate) remaining: u32,
}

/// How many memories one commit changes at most: each is some ten operations.
const ONE_COMMIT: usize = 1_000;
/// And how many bytes of them.
const ONE_COMMIT_BYTES: usize = 12 << 20;

/// The memories that a selection matches, deleted ones only with `deleted`.
pub(crate) fn selected<H: Host>(
    draft: &mut Draft<'_, H>,
    selection: &Selection,
    filter: Option<&Filter>,
    deleted: bool,
    changes: impl Fn(&Record) -> bool,
) -> Result<Matching> {
    let mut found = vec![];
    let mut remaining = 0;
    let mut bytes = 0;
    let most = (selection.limit as usize).min(ONE_COMMIT);
    walk(&draft.snapshot, &selection.scope, false, None, |record| {
        let wanted = match record.standing {
            Standing::Kept => true,
            Standing::Deleted => deleted,
            Standing::Erased => false,
        };
        if wanted && filter.is_none_or(|filter| filter.admits(&record)) && changes(&record) {
            let size = check::size(&record.content);
            if found.len() < most && (found.is_empty() || bytes + size <= ONE_COMMIT_BYTES) {
                bytes += size;
                found.push(record.id);
            } else {
                remaining += 1;
            }
        }
        Ok(true)
    })?;
    // Read through the draft, so that what is changed must not have changed meanwhile.
    draft.prefetch(MEMORY, found.iter().map(|id| id.0.to_vec()))?;
    Ok(Matching { ids: found, remaining })
}

/// Visits the records of a scope by creation, from behind `after`, until `visit` says false.
pub(crate) fn walk(
    snapshot: &impl Snapshot,
    scope: &Scope,
    newest_first: bool,
    after: Option<Id>,
    mut visit: impl FnMut(Record) -> Result<bool>,
) -> Result<()> {
    // One listing is enough to walk along; the record decides about the other fields.
    let narrowest = [ScopeField::Run, ScopeField::User, ScopeField::Agent, ScopeField::App];
    let listing = narrowest.into_iter().find_map(|f| field(scope, f).map(|value| listing_place(f, value, None)));
    let table = if listing.is_some() { PLACE } else { MEMORY };
    let prefix = listing.unwrap_or_default();
    let key = |id: Id, more: &[u8]| [&prefix[..], &id.0, more].concat();
    let mut start = prefix.clone();
    let mut end = behind(&prefix);
    match after {
        Some(id) if newest_first => end = Some(key(id, &[])),
        Some(id) => start = key(id, &[0]),
        None => {}
    }
    loop {
        let range = Range {
            start: start.clone(),
            end: end.clone(),
            reverse: newest_first,
            limit: CHUNK,
            keys_only: table == PLACE,
        };
        let found = snapshot.scan(table, &range)?;
        let ids: Vec<Id> = found
            .pairs
            .iter()
            .map(|pair| {
                let id = &pair.key[prefix.len().min(pair.key.len())..];
                id.try_into().map(Id).map_err(|_| crate::types::Error::Corrupt("a listing leads to no id".to_owned()))
            })
            .collect::<Result<_>>()?;
        let values: Vec<Option<Vec<u8>>> = if table == MEMORY {
            found.pairs.into_iter().map(|pair| Some(pair.value)).collect()
        } else if ids.is_empty() {
            vec![]
        } else {
            snapshot.get(MEMORY, &ids.iter().map(|id| id.0.to_vec()).collect::<Vec<_>>())?
        };
        for (id, value) in ids.iter().zip(values) {
            let Some(value) = value else { continue };
            let record = Record::decode(*id, &value)?;
            if admits(scope, &record.content.scope) && !visit(record)? {
                return Ok(());
            }
        }
        match ids.last() {
            Some(last) if found.more => {
                if newest_first {
                    end = Some(key(*last, &[]));
                } else {
                    start = key(*last, &[0]);
                }
            }
            _ => return Ok(()),
        }
    }
}
