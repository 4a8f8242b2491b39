//! From when and what a read looks at: the state of a record as a view sees it.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::memory::{Including, View};
use crate::record::{HISTORY, Record, Standing, behind, history_key};
use crate::storage::Range;
use crate::types::{Memory, State, Timestamp};

/// A view with its times filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eyes {
    pub(crate) now: Timestamp,
    pub(crate) valid_at: Timestamp,
    pub(crate) known_at: Option<Timestamp>,
    pub(crate) including: Including,
}

impl Eyes {
    pub(crate) fn open(host: &impl Host, view: &View, place: &str) -> Result<Eyes> {
        for (name, at) in [("now", view.now), ("valid-at", view.valid_at), ("known-at", view.known_at)] {
            check::time(&format!("{place}.{name}"), at)?;
        }
        let now = view.now.unwrap_or_else(|| host.now());
        Ok(Eyes { now, valid_at: view.valid_at.unwrap_or(now), known_at: view.known_at, including: view.including })
    }

    /// Sees everything that is not deleted, as it is now.
    pub(crate) fn all_kept(now: Timestamp) -> Eyes {
        Eyes { now, valid_at: now, known_at: None, including: Including::OUTDATED | Including::EXPIRED }
    }

    pub(crate) fn state(&self, record: &Record) -> State {
        let content = &record.content;
        if record.standing != Standing::Kept {
            return State::Deleted;
        }
        if content.expires_at.is_some_and(|at| at <= self.now) {
            return State::Expired;
        }
        let outside = content.valid_from.is_some_and(|from| self.valid_at < from)
            || content.valid_to.is_some_and(|to| self.valid_at >= to)
            || record.superseded.is_some_and(|s| self.valid_at >= s.from);
        if outside { State::Outdated } else { State::Live }
    }

    pub(crate) fn shows(&self, state: State) -> bool {
        match state {
            State::Live => true,
            State::Outdated => self.including.contains(Including::OUTDATED),
            State::Expired => self.including.contains(Including::EXPIRED),
            State::Deleted => self.including.contains(Including::DELETED),
        }
    }

    /// The memory as this view shows it: in the version that was known then, if its state is one that is asked for.
    pub(crate) fn see(&self, record: Record, snapshot: &impl Snapshot) -> Result<Option<(Record, Memory)>> {
        let Some(record) = self.version(record, snapshot)? else { return Ok(None) };
        let state = self.state(&record);
        Ok(self.shows(state).then(|| {
            let memory = record.memory(state);
            (record, memory)
        }))
    }

    /// The newest version that the store knew at `known_at`.
    fn version(&self, record: Record, snapshot: &impl Snapshot) -> Result<Option<Record>> {
        let Some(known_at) = self.known_at else { return Ok(Some(record)) };
        if record.updated_at <= known_at {
            return Ok(Some(record));
        }
        let mut end = history_key(record.id, record.version);
        loop {
            let range =
                Range { start: record.id.0.to_vec(), end: Some(end), reverse: true, limit: 64, keys_only: false };
            let found = snapshot.scan(HISTORY, &range)?;
            for pair in &found.pairs {
                let earlier = Record::decode(record.id, &pair.value)?;
                if earlier.updated_at <= known_at {
                    return Ok(Some(earlier));
                }
            }
            match found.pairs.into_iter().next_back() {
                Some(last) if found.more => end = last.key,
                _ => return Ok(None),
            }
        }
    }
}

/// The range of all versions of a memory below `before`, newest first.
pub(crate) fn versions_below(record: &Record, before: Option<u32>, limit: u32) -> Range {
    let end = match before {
        Some(before) => Some(history_key(record.id, before)),
        None => behind(&record.id.0),
    };
    Range { start: record.id.0.to_vec(), end, reverse: true, limit, keys_only: false }
}
