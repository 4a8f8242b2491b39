//! Work that waits for a quiet moment: erasing what has expired, and the texts for a host that changes its model.
use crate::Result;
use crate::capability::Host;
use crate::check;
use crate::delete::gone;
use crate::draft::commit;
use crate::entry::{Renew, entry};
use crate::get::records;
use crate::memory::{Chores, Erasure, Maintained, Promise, Target, WriteOptions};
use crate::record::{Reader, Standing, Writer};
use crate::request::Answer;
use crate::stats::timed;
use crate::types::Error;

/// Does some of the work in one commit; see `memory.maintain` of the contract.
///
/// Histories are kept for good and all entries were made by the same rules, so of the chores only what has expired asks
/// for work.
pub fn maintain(host: &impl Host, chores: Chores, limit: u32) -> Result<Maintained> {
    check::limit("limit", limit)?;
    if chores.contains(Chores::EXTRACT) {
        return Err(Error::Unavailable("extraction comes later".to_owned()));
    }
    let mut done = Maintained { purged: 0, extracted: 0, reindexed: 0, remaining: 0 };
    if !chores.contains(Chores::PURGE) {
        return Ok(done);
    }
    let options = WriteOptions { promise: Promise::Indexed, idempotency_key: None };
    (done.purged, done.remaining) = commit(host, &options, String::new, |draft| {
        let now = draft.now;
        let mut expired = vec![];
        timed(&draft.snapshot, |record| {
            if record.content.expires_at.is_some_and(|at| at <= now) {
                expired.push(record.id);
            }
            Ok(true)
        })?;
        let (mut purged, mut remaining, mut bytes) = (0, 0, 0);
        for id in expired {
            if purged == limit || draft.is_full() || bytes > check::CALL {
                remaining += 1;
            } else if let Some(record) = draft.record(id)? {
                bytes += check::size(&record.content);
                gone(draft, &record, Erasure::Erase)?;
                purged += 1;
            }
        }
        Ok((purged, remaining))
    })?;
    Ok(done)
}

/// What the model reads of each memory; see `memory.embedded-texts` of the contract.
pub fn embedded_texts(host: &impl Host, ids: &[String]) -> Result<Vec<Option<Vec<String>>>> {
    check::items("ids", ids.len())?;
    let targets: Vec<Target> = ids.iter().cloned().map(Target::Id).collect();
    let found = records(&host.snapshot()?, &targets)?;
    let kept = found.into_iter().map(|record| record.filter(|record| record.standing == Standing::Kept));
    Ok(kept.map(|record| record.map(|record| entry(&record, Renew::All, 0).1)).collect())
}

/// Never asked for under an idempotency key; the pair only has to go through [`commit`].
impl Answer for (u32, u32) {
    fn write(&self, out: &mut Writer) {
        out.number(u64::from(self.0));
        out.number(u64::from(self.1));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((u32::try_from(from.number()?).ok()?, u32::try_from(from.number()?).ok()?))
    }
}
