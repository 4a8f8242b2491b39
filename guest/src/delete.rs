//! Deleting memories, restorably or for good.
use crate::Result;
use crate::capability::Host;
use crate::check;
use crate::draft::{Draft, commit, effect};
use crate::add::unchanged;
use crate::id::Id;
use crate::get::target_record;
use crate::list::{Matching, selected};
use crate::memory::{Change, Deletion, Erasure, Matched, Outcome, Outcomes, Reason, Selection, WriteOptions};
use crate::record::{Record, Standing};
use crate::types::Content;
use crate::update::{blank, check_selection, expect_version};

/// Deletes memories; see `memory.delete` of the contract.
pub fn delete(host: &impl Host, items: Vec<Deletion>, erasure: Erasure, options: &WriteOptions) -> Result<Outcomes> {
    check::items("items", items.len())?;
    commit(host, options, || format!("delete {items:?} {erasure:?}"), |draft| {
        let mut outcomes = vec![];
        for (n, item) in items.iter().enumerate() {
            outcomes.push(match target_record(draft, &item.target, &format!("items[{n}]"))? {
                Err(error) => Err(error),
                Ok(found) => match expect_version(&found.record, item.expect_version) {
                    Err(error) => Err(error),
                    Ok(()) => Ok(gone(draft, &found.record, erasure)?),
                },
            });
        }
        Ok(outcomes)
    })
}

/// Deletes all that match; see `memory.delete-matching`.
pub fn delete_matching(host: &impl Host, selection: &Selection, erasure: Erasure, options: &WriteOptions) -> Result<Matched> {
    let filter = check_selection(selection)?;
    commit(host, options, || format!("delete-matching {selection:?} {erasure:?}"), |draft| {
        let Matching { ids, remaining } = selected(draft, selection, filter.as_ref(), erasure == Erasure::Erase)?;
        if !selection.dry_run {
            for id in &ids {
                // Not the record that was matched: an earlier one of this call may have changed it.
                if let Some(record) = draft.record(*id)? {
                    gone(draft, &record, erasure)?;
                }
            }
        }
        Ok(Matched { ids: ids.into_iter().map(Id::text).collect(), remaining })
    })
}

/// Deletes one memory, whatever its state.
pub(crate) fn gone<H: Host>(draft: &mut Draft<'_, H>, before: &Record, erasure: Erasure) -> Result<Outcome> {
    let (standing, change) = match erasure {
        Erasure::KeepHistory => (Standing::Deleted, Change::Deleted),
        Erasure::Erase => (Standing::Erased, Change::Erased),
    };
    if before.standing == Standing::Erased || before.standing == standing {
        return Ok(unchanged(before, Reason::Requested));
    }
    let content = match erasure {
        Erasure::KeepHistory => before.content.clone(),
        Erasure::Erase => Content {
            scope: before.content.scope.clone(),
            kind: before.content.kind,
            at: before.content.at,
            ..blank()
        },
    };
    let after = Record {
        version: before.version + 1,
        change,
        reason: Reason::Requested,
        similarity: None,
        updated_at: draft.now,
        standing,
        superseded: if erasure == Erasure::Erase { None } else { before.superseded },
        content,
        ..before.clone()
    };
    let others = draft.replace(Some(before), &after)?;
    Ok(Outcome { item: effect(&after), others, truncated_tokens: 0 })
}
