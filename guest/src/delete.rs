//! Deleting memories, restorably or for good.
use crate::Result;
use crate::add::unchanged;
use crate::capability::Host;
use crate::check;
use crate::draft::{Draft, commit, effect};
use crate::get::target_record;
use crate::list::{Matching, selected};
use crate::memory::{Change, Deletion, Erasure, Matched, Outcome, Outcomes, Reason, Selection, WriteOptions};
use crate::record::{Record, Standing};
use crate::types::Content;
use crate::update::{blank, check_selection, each_matching, expect_version};

/// Deletes memories; see `memory.delete` of the contract.
pub fn delete(host: &impl Host, items: &[Deletion], erasure: Erasure, options: &WriteOptions) -> Result<Outcomes> {
    check::items("items", items.len())?;
    commit(
        host,
        options,
        || format!("delete {items:?} {erasure:?}"),
        |draft| {
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
        },
    )
}

/// Deletes all that match; see `memory.delete-matching`.
pub fn delete_matching(
    host: &impl Host,
    selection: &Selection,
    erasure: Erasure,
    options: &WriteOptions,
) -> Result<Matched> {
    let filter = check_selection(selection)?;
    commit(
        host,
        options,
        || format!("delete-matching {selection:?} {erasure:?}"),
        |draft| {
            let Matching { ids, remaining } =
                selected(draft, selection, filter.as_ref(), erasure == Erasure::Erase, |_| true)?;
            each_matching(draft, selection, ids, remaining, |draft, record| gone(draft, record, erasure).map(|_| ()))
        },
    )
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
        Erasure::Erase => {
            Content { scope: before.content.scope.clone(), kind: before.content.kind, at: before.content.at, ..blank() }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{Fake, content};
    use crate::memory::{AddOptions, Comparison, Extraction, Promise, Target};

    /// Counts a text in the bytes of a host.
    fn traces(host: &Fake, text: &str) -> usize {
        host.everything().windows(text.len()).filter(|bytes| *bytes == text.as_bytes()).count()
    }

    fn secrets(host: &Fake, expires_at: Option<i64>) -> String {
        let write = WriteOptions { promise: Promise::Indexed, idempotency_key: Some("call".to_owned()) };
        let options = AddOptions { write, comparison: Comparison::Exact, extraction: Extraction::None };
        let keyed = |text: &str| Content {
            key: Some("tigerkey".to_owned()),
            actor: Some("Tigeractor".to_owned()),
            metadata: "{\"t\":\"tigermeta\"}".to_owned(),
            expires_at,
            ..content(text, "ana")
        };
        let items = vec![keyed("tigerword one"), keyed("tigerword two"), content("lamb", "ana")];
        let added = crate::add::add(host, &items, &options).unwrap();
        added.items[0].as_ref().unwrap().item.id.clone()
    }

    fn deletion(id: &str) -> Vec<Deletion> {
        vec![Deletion { target: Target::Id(id.to_owned()), expect_version: None }]
    }

    fn plain() -> WriteOptions {
        WriteOptions { promise: Promise::Indexed, idempotency_key: None }
    }

    #[track_caller]
    fn nothing_is_left(host: &Fake) {
        for trace in ["tiger", "Tiger"] {
            assert_eq!(traces(host, trace), 0, "{trace}");
        }
        assert!(traces(host, "lamb") > 0, "what was kept is there");
    }

    #[test]
    fn an_erased_memory_leaves_no_byte() {
        let host = Fake::new();
        let id = secrets(&host, None);
        assert!(traces(&host, "tiger") > 0 && traces(&host, "Tiger") > 0);
        delete(&host, &deletion(&id), Erasure::Erase, &plain()).unwrap();
        nothing_is_left(&host);
        assert_eq!(host.entry_keys().len(), 1);
    }

    #[test]
    fn neither_does_one_that_was_deleted_before() {
        let host = Fake::new();
        let id = secrets(&host, None);
        delete(&host, &deletion(&id), Erasure::KeepHistory, &plain()).unwrap();
        assert!(traces(&host, "tigerword") > 0, "the history is kept");
        delete(&host, &deletion(&id), Erasure::Erase, &plain()).unwrap();
        nothing_is_left(&host);
    }

    #[test]
    fn neither_does_one_that_expired() {
        let host = Fake::new();
        secrets(&host, Some(1_704_067_300_000));
        host.advance(1_000_000);
        crate::maintain::maintain(&host, crate::memory::Chores::PURGE, 10).unwrap();
        nothing_is_left(&host);
    }

    #[test]
    fn an_erasure_right_after_its_writing_leaves_no_byte() {
        let host = Fake::new();
        let id = secrets(&host, None);
        let twice = [deletion(&id), deletion(&id)].concat();
        delete(&host, &twice, Erasure::Erase, &plain()).unwrap();
        nothing_is_left(&host);
    }
}
