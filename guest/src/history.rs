//! The versions of memories.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::get::records;
use crate::memory::{Target, Version};
use crate::record::{HISTORY, Record, Standing};
use crate::view::{Eyes, versions_below};

/// Returns the versions of each memory, newest first; see `memory.history` of the contract.
pub fn history(host: &impl Host, targets: &[Target], limit: u32, before: Option<u32>) -> Result<Vec<Vec<Version>>> {
    check::items("targets", targets.len())?;
    check::limit("limit", limit)?;
    let now = host.now();
    let snapshot = host.snapshot()?;
    records(&snapshot, targets)?
        .into_iter()
        .map(|record| match record {
            Some(record) if record.standing != Standing::Erased => versions(&snapshot, &record, limit, before, now),
            _ => Ok(vec![]),
        })
        .collect()
}

fn versions(
    snapshot: &impl Snapshot,
    present: &Record,
    limit: u32,
    before: Option<u32>,
    now: crate::types::Timestamp,
) -> Result<Vec<Version>> {
    let mut out = vec![];
    let mut below = before;
    if before.is_none_or(|before| present.version < before) {
        out.push(version(present, now));
    }
    while out.len() < limit as usize {
        let wanted = limit - u32::try_from(out.len()).expect("below the limit");
        let found = snapshot.scan(HISTORY, &versions_below(present, below, wanted))?;
        for pair in &found.pairs {
            let record = Record::decode(present.id, &pair.value)?;
            below = Some(record.version);
            out.push(version(&record, now));
        }
        if !found.more {
            break;
        }
    }
    Ok(out)
}

/// One entry of a history; its state is the one it would have now.
pub(crate) fn version(record: &Record, now: crate::types::Timestamp) -> Version {
    Version {
        memory: record.memory(Eyes::all_kept(now).state(record)),
        change: record.change,
        reason: record.reason,
        similarity: record.similarity,
    }
}
