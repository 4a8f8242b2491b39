//! Changing memories, and bringing earlier versions back.
use crate::Result;
use crate::add::{link_targets, note_truncated, unchanged};
use crate::capability::Host;
use crate::check;
use crate::draft::{Draft, commit, effect};
use crate::filter::Filter;
use crate::get::{Found, target_record};
use crate::id::Id;
use crate::json::Json;
use crate::list::{Matching, selected};
use crate::memory::{
    Change, Edit, Matched, Outcome, Outcomes, Patch, Reason, Restoration, Selection, TimePatch, WriteOptions,
};
use crate::record::{HISTORY, PLACE, Record, Standing, history_key, key_place};
use crate::types::{Content, Error, Timestamp};

/// Changes memories; see `memory.update` of the contract.
pub fn update(host: &impl Host, items: &[Edit], options: &WriteOptions) -> Result<Outcomes> {
    check::items("items", items.len())?;
    check::call("items", items.iter().map(|item| size(&item.patch)))?;
    commit(
        host,
        options,
        || format!("update {items:?}"),
        |draft| {
            let mut outcomes = vec![];
            for (n, item) in items.iter().enumerate() {
                let place = format!("items[{n}]");
                outcomes.push(match target_record(draft, &item.target, &place)? {
                    Err(error) => Err(error),
                    Ok(found) => match present(found, item.expect_version) {
                        Err(error) => Err(error),
                        Ok(before) => patched(draft, &before, &item.patch, &format!("{place}.patch"))?,
                    },
                });
            }
            note_truncated(draft, &mut outcomes)?;
            Ok(outcomes)
        },
    )
}

/// Applies one patch to all that match; see `memory.update-matching`.
pub fn update_matching(
    host: &impl Host,
    selection: &Selection,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Matched> {
    let filter = check_selection(selection)?;
    // The patch is checked once against an empty memory, so that a bad one is refused whatever matches.
    let sample = Content { text: "x".to_owned(), ..blank() };
    apply_patch(&sample, patch, "patch")?;
    commit(
        host,
        options,
        || format!("update-matching {selection:?} {patch:?}"),
        |draft| {
            // What the patch leaves as it is does not match: each call goes on where the one before ended. Where it cannot
            // be applied, the error has to show.
            let changes = |record: &Record| {
                apply_patch(&record.content, patch, "patch").map_or(true, |new| new != record.content)
            };
            let Matching { ids, remaining } = selected(draft, selection, filter.as_ref(), false, changes)?;
            each_matching(draft, selection, ids, remaining, |draft, before| {
                patched(draft, before, patch, "patch")?.map(|_| ())
            })
        },
    )
}

/// A selection needs a field of the scope or a filter that says something.
pub(crate) fn check_selection(selection: &Selection) -> Result<Option<Filter>> {
    check::scope("selection.scope", &selection.scope)?;
    check::limit("selection.limit", selection.limit)?;
    let filter = selection.filter.as_ref().map(|text| Filter::parse(text, "selection.filter")).transpose()?;
    if crate::scope::is_empty(&selection.scope) && filter.as_ref().is_none_or(Filter::is_empty) {
        return Err(check::invalid("selection", "a selection needs a field of the scope or a filter"));
    }
    Ok(filter)
}

/// Changes what matches, as much of it as one commit holds; a dry run does the same and keeps nothing.
pub(crate) fn each_matching<H: Host>(
    draft: &mut Draft<'_, H>,
    selection: &Selection,
    matching: Vec<Id>,
    mut remaining: u32,
    mut change: impl FnMut(&mut Draft<'_, H>, &Record) -> Result<()>,
) -> Result<Matched> {
    let mut ids = vec![];
    for id in matching {
        if draft.is_full() {
            remaining += 1;
            continue;
        }
        // Not the record that was matched: an earlier one of this call may have changed it.
        if let Some(record) = draft.record(id)? {
            change(draft, &record)?;
        }
        ids.push(id.text());
    }
    if selection.dry_run {
        draft.discard();
    }
    Ok(Matched { ids, remaining })
}

/// Brings back earlier versions; see `memory.restore`.
pub fn restore(host: &impl Host, items: &[Restoration], options: &WriteOptions) -> Result<Outcomes> {
    check::items("items", items.len())?;
    commit(
        host,
        options,
        || format!("restore {items:?}"),
        |draft| {
            let mut outcomes = vec![];
            for (n, item) in items.iter().enumerate() {
                outcomes.push(match target_record(draft, &item.target, &format!("items[{n}]"))? {
                    Err(error) => Err(error),
                    Ok(found) => restored(draft, found, item)?,
                });
            }
            note_truncated(draft, &mut outcomes)?;
            Ok(outcomes)
        },
    )
}

fn restored<H: Host>(draft: &mut Draft<'_, H>, found: Found, item: &Restoration) -> Result<Result<Outcome>> {
    let before = found.record;
    if let Err(error) = expect_version(&before, item.expect_version) {
        return Ok(Err(error));
    }
    let missing = || Error::NotFound(format!("memory {} has no version {} to restore", found.name, item.version));
    if before.standing == Standing::Erased {
        return Ok(Err(missing()));
    }
    let content = if item.version == before.version {
        before.content.clone()
    } else {
        match draft.get(HISTORY, history_key(before.id, item.version))? {
            Some(bytes) => Record::decode(before.id, &bytes)?.content,
            None => return Ok(Err(missing())),
        }
    };
    if before.standing == Standing::Kept && content == before.content {
        return Ok(Ok(unchanged(&before, Reason::Requested)));
    }
    if let Some(key) = &content.key
        && draft.get(PLACE, key_place(&content.scope, key))?.is_some_and(|id| id != before.id.0)
    {
        return Ok(Err(Error::Conflict(format!("the key {key:?} stands for another memory now"))));
    }
    let after = Record {
        version: before.version + 1,
        change: Change::Restored,
        reason: Reason::Requested,
        similarity: None,
        updated_at: draft.now,
        standing: Standing::Kept,
        superseded: draft.superseded(before.id)?,
        content,
        ..before.clone()
    };
    let others = draft.replace(Some(&before), &after)?;
    Ok(Ok(Outcome { item: effect(&after), others, truncated_tokens: 0 }))
}

/// The memory, if it is not deleted and has the version that is expected.
fn present(found: Found, expected: Option<u32>) -> Result<Record> {
    if found.record.standing != Standing::Kept {
        return Err(Error::NotFound(format!("memory {} is deleted", found.name)));
    }
    expect_version(&found.record, expected)?;
    Ok(found.record)
}

pub(crate) fn expect_version(record: &Record, expected: Option<u32>) -> Result<()> {
    match expected {
        Some(expected) if expected != record.version => {
            Err(Error::Conflict(format!("memory {} has version {}, not {expected}", record.id.text(), record.version)))
        }
        _ => Ok(()),
    }
}

fn patched<H: Host>(draft: &mut Draft<'_, H>, before: &Record, patch: &Patch, place: &str) -> Result<Result<Outcome>> {
    let content = match apply_patch(&before.content, patch, place) {
        Ok(content) => content,
        Err(error) => return Ok(Err(error)),
    };
    if content == before.content {
        return Ok(Ok(unchanged(before, Reason::Requested)));
    }
    if patch.links.is_some()
        && let Err(error) = link_targets(draft, &content, place)?
    {
        return Ok(Err(error));
    }
    let after = Record {
        version: before.version + 1,
        change: Change::Updated,
        reason: Reason::Requested,
        similarity: None,
        updated_at: draft.now,
        content,
        ..before.clone()
    };
    let others = draft.replace(Some(before), &after)?;
    Ok(Ok(Outcome { item: effect(&after), others, truncated_tokens: 0 }))
}

/// The content after the patch, checked.
fn apply_patch(before: &Content, patch: &Patch, place: &str) -> Result<Content> {
    let mut content = before.clone();
    if let Some(text) = &patch.text {
        content.text.clone_from(text);
    }
    if let Some(change) = &patch.metadata {
        content.metadata = merged(&before.metadata, change, &format!("{place}.metadata"))?;
    }
    content.kind = patch.kind.unwrap_or(content.kind);
    let time = |old: Option<Timestamp>, patch: Option<TimePatch>| match patch {
        None => old,
        Some(TimePatch::Clear) => None,
        Some(TimePatch::Set(at)) => Some(at),
    };
    content.at = time(content.at, patch.at);
    content.valid_from = time(content.valid_from, patch.valid_from);
    content.valid_to = time(content.valid_to, patch.valid_to);
    content.expires_at = time(content.expires_at, patch.expires_at);
    if let Some(links) = &patch.links {
        content.links.clone_from(links);
    }
    check::content(place, &content)?;
    Ok(content)
}

/// The metadata after a merge patch; byte for byte as before where the patch has no effect.
fn merged(before: &str, patch: &str, place: &str) -> Result<String> {
    let change = check::metadata(place, patch)?;
    let old = check::metadata(place, before)?;
    let mut new = old.clone();
    new.merge(change);
    if new == old {
        return Ok(before.to_owned());
    }
    let mut out = String::new();
    new.write(&mut out);
    Ok(if new == Json::Object(vec![]) { String::new() } else { out })
}

fn size(patch: &Patch) -> usize {
    patch.text.as_ref().map_or(0, String::len) + patch.metadata.as_ref().map_or(0, String::len)
}

/// A content with nothing in it.
pub(crate) fn blank() -> Content {
    Content {
        text: String::new(),
        scope: crate::types::Scope { user: None, agent: None, app: None, run: None },
        key: None,
        actor: None,
        role: None,
        kind: crate::types::Kind::Fact,
        metadata: String::new(),
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: vec![],
    }
}
