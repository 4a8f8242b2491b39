//! Counts and sizes, and waiting for the indexes.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::id::Id;
use crate::memory::{Model, Statistics};
use crate::record::{MEMORY, PLACE, Record, behind};
use crate::scope::admits;
use crate::scopes::kept_and_deleted;
use crate::storage::Range;
use crate::types::{Error, Scope, State};
use crate::view::Eyes;

/// Counts and sizes of this moment; see `memory.stats` of the contract.
pub fn stats(host: &impl Host, scope: &Scope) -> Result<Statistics> {
    check::scope("scope", scope)?;
    let eyes = Eyes::all_kept(host.now());
    // Before the snapshot of this call, which would be the oldest where no other is open.
    let usage = host.usage()?;
    let progress = host.progress(0)?;
    let snapshot = host.snapshot()?;
    let (kept, deleted) = kept_and_deleted(&snapshot, scope)?;
    let (mut outdated, mut expired) = (0, 0);
    timed(&snapshot, |record| {
        if admits(scope, &record.content.scope) {
            match eyes.state(&record) {
                State::Outdated => outdated += 1,
                State::Expired => expired += 1,
                State::Live | State::Deleted => {}
            }
        }
        Ok(true)
    })?;
    let model = match host.info() {
        Ok(model) => Some(Model { name: model.name, fingerprint: model.fingerprint }),
        Err(Error::Unavailable(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Statistics {
        live: kept.saturating_sub(outdated + expired),
        outdated,
        expired,
        deleted,
        pending: progress.pending,
        lag: usage.head.saturating_sub(progress.absorbed),
        oldest_snapshot_ms: usage.oldest_snapshot_ms,
        bytes: usage.bytes + progress.bytes,
        model,
        // One set of rules has made every entry so far.
        stale: 0,
    })
}

/// Visits the memories whose state depends on the time, until `visit` says false.
pub(crate) fn timed(snapshot: &impl Snapshot, mut visit: impl FnMut(Record) -> Result<bool>) -> Result<()> {
    let mut start = b"t".to_vec();
    loop {
        let range = Range { start, end: behind(b"t"), reverse: false, limit: 256, keys_only: true };
        let found = snapshot.scan(PLACE, &range)?;
        let keys: Vec<Vec<u8>> = found.pairs.iter().map(|pair| pair.key[1..].to_vec()).collect();
        if !keys.is_empty() {
            for (key, bytes) in keys.iter().zip(snapshot.get(MEMORY, &keys)?) {
                let (Some(bytes), Ok(id)) = (bytes, key[..].try_into().map(Id)) else { continue };
                if !visit(Record::decode(id, &bytes)?)? {
                    return Ok(());
                }
            }
        }
        match found.pairs.last() {
            Some(last) if found.more => start = [&last.key[..], &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// Returns when everything is durable and found by meaning; see `memory.flush` of the contract.
pub fn flush(host: &impl Host, timeout_ms: u32) -> Result<()> {
    let head = host.usage()?.head;
    host.sync()?;
    let progress = host.progress(timeout_ms)?;
    if progress.pending > 0 || progress.absorbed < head {
        return Err(Error::Timeout);
    }
    Ok(())
}
