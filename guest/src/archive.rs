//! Taking over memories of another store as they are: ids, keys, times, versions and history.
use crate::Result;
use crate::add::unchanged;
use crate::capability::Host;
use crate::check;
use crate::draft::{Draft, commit, effect};
use crate::id::Id;
use crate::memory::{Archive, Outcome, Outcomes, Reason, Version, WriteOptions};
use crate::record::{HISTORY, PLACE, Record, Standing, Superseded, history_key, key_place};
use crate::types::{Content, Error, State};
use crate::update::blank;

/// Takes over memories; see `memory.import-memories` of the contract.
pub fn import_memories(host: &impl Host, items: &[Archive], options: &WriteOptions) -> Result<Outcomes> {
    check::items("items", items.len())?;
    let versions = |item: &Archive| {
        let all = std::iter::once(&item.present).chain(&item.earlier);
        all.map(|version| check::size(&version.memory.content)).sum()
    };
    check::call("items", items.iter().map(versions))?;
    commit(
        host,
        options,
        || format!("import {items:?}"),
        |draft| {
            items
                .iter()
                .enumerate()
                .map(|(n, item)| {
                    let place = format!("items[{n}]");
                    match read(item, &place) {
                        Ok((present, earlier)) => one(draft, present, &earlier),
                        Err(error) => Ok(Err(error)),
                    }
                })
                .collect()
        },
    )
}

/// The records of an archive, checked; the earlier ones newest first.
fn read(item: &Archive, place: &str) -> Result<(Record, Vec<Record>)> {
    let present = record(&item.present, &format!("{place}.present"))?;
    let mut above = present.version;
    let mut earlier = vec![];
    for (n, version) in item.earlier.iter().enumerate() {
        let place = format!("{place}.earlier[{n}]");
        let record = record(version, &place)?;
        if record.id != present.id {
            return Err(check::invalid(format!("{place}.memory.id"), "the version belongs to another memory"));
        }
        if record.version >= above {
            return Err(check::invalid(format!("{place}.memory.version"), "the versions do not descend"));
        }
        above = record.version;
        earlier.push(record);
    }
    if present.standing == Standing::Erased && !earlier.is_empty() {
        return Err(check::invalid(format!("{place}.earlier"), "an erased memory has no history"));
    }
    Ok((present, earlier))
}

/// So that a version can follow for as long as anyone changes the memory.
const MOST_VERSIONS: u32 = 1 << 31;

fn record(version: &Version, place: &str) -> Result<Record> {
    let memory = &version.memory;
    let place = format!("{place}.memory");
    let id = check::id(&format!("{place}.id"), &memory.id)?;
    if !(1..=MOST_VERSIONS).contains(&memory.version) {
        return Err(check::invalid(format!("{place}.version"), format!("versions are 1 to {MOST_VERSIONS}")));
    }
    let erased = memory.state == State::Deleted && memory.content.text.is_empty();
    let content = if erased {
        // Id, scope and time are all that stays of one.
        check::scope(&format!("{place}.content.scope"), &memory.content.scope)?;
        check::time(&format!("{place}.content.at"), memory.content.at)?;
        let Content { ref scope, kind, at, .. } = memory.content;
        Content { scope: scope.clone(), kind, at, ..blank() }
    } else {
        check::content(&format!("{place}.content"), &memory.content)?;
        memory.content.clone()
    };
    check::time(&format!("{place}.created-at"), Some(memory.created_at))?;
    check::time(&format!("{place}.updated-at"), Some(memory.updated_at))?;
    let superseded = match &memory.superseded_by {
        // From when is known by the memory that supersedes; until it is there, from this version on.
        Some(by) => Some(Superseded { by: check::id(&format!("{place}.superseded-by"), by)?, from: memory.updated_at }),
        None => None,
    };
    Ok(Record {
        id,
        version: memory.version,
        change: version.change,
        reason: version.reason,
        similarity: version.similarity,
        created_at: memory.created_at,
        updated_at: memory.updated_at,
        standing: match memory.state {
            State::Deleted if erased => Standing::Erased,
            State::Deleted => Standing::Deleted,
            State::Live | State::Outdated | State::Expired => Standing::Kept,
        },
        superseded,
        content,
    })
}

fn one<H: Host>(draft: &mut Draft<'_, H>, mut present: Record, earlier: &[Record]) -> Result<Result<Outcome>> {
    present.superseded = draft.superseded(present.id)?.or(present.superseded);
    if let Some(there) = draft.record(present.id)? {
        let same = Record { superseded: there.superseded, ..present.clone() } == there
            && there.superseded.map(|s| s.by) == present.superseded.map(|s| s.by);
        return Ok(if same {
            Ok(unchanged(&there, Reason::Requested))
        } else {
            Err(Error::Conflict(format!(
                "memory {} is there in version {} with another content than the imported version {}",
                there.id.text(),
                there.version,
                present.version
            )))
        });
    }
    if let Some(key) = &present.content.key
        && present.standing == Standing::Kept
        && draft.get(PLACE, key_place(&present.content.scope, key))?.is_some()
    {
        return Ok(Err(Error::Conflict(format!("the key {key:?} stands for another memory"))));
    }
    for record in earlier {
        draft.put(HISTORY, history_key(record.id, record.version), record.encode());
    }
    draft.stage(None, &present)?;
    for target in present.supersedes() {
        draft.succeed(target, present.id, true)?;
        date(draft, target, &present)?;
    }
    let mut item = effect(&present);
    item.change = crate::memory::Change::Added;
    item.reason = Reason::Requested;
    Ok(Ok(Outcome { item, others: vec![], truncated_tokens: 0 }))
}

/// Tells an imported memory from when it is superseded, now that its successor is there.
fn date<H: Host>(draft: &mut Draft<'_, H>, target: Id, successor: &Record) -> Result<()> {
    let wanted = draft.superseded(target)?;
    if let Some(before) = draft.record(target)?
        && before.superseded.is_some_and(|superseded| superseded.by == successor.id)
        && before.superseded != wanted
    {
        let after = Record { superseded: wanted, ..before.clone() };
        draft.stage(Some(&before), &after)?;
    }
    Ok(())
}
