//! Finding memories by id or key.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::draft::Draft;
use crate::id::Id;
use crate::memory::{Target, View};
use crate::record::{MEMORY, PLACE, Record, key_place};
use crate::scope;
use crate::types::{Error, Memory};
use crate::view::Eyes;

/// Returns each memory that the view shows; see `memory.get` of the contract.
pub fn get(host: &impl Host, targets: &[Target], view: &View) -> Result<Vec<Option<Memory>>> {
    check::items("targets", targets.len())?;
    let eyes = Eyes::open(host, view, "view")?;
    let snapshot = host.snapshot()?;
    let found = records(&snapshot, targets)?;
    found
        .into_iter()
        .map(|record| match record {
            Some(record) => Ok(eyes.see(record, &snapshot)?.map(|(_, memory)| memory)),
            None => Ok(None),
        })
        .collect()
}

/// The present version of each target, deleted ones included; two reads for any number of them.
pub(crate) fn records(snapshot: &impl Snapshot, targets: &[Target]) -> Result<Vec<Option<Record>>> {
    let mut names = vec![];
    let mut ids = vec![];
    for (n, target) in targets.iter().enumerate() {
        let place = format!("targets[{n}]");
        ids.push(match target {
            Target::Id(id) => Some(check::id(&place, id)?),
            Target::Within(within) => {
                check::scope(&format!("{place}.scope"), &within.scope)?;
                Some(check::id(&format!("{place}.id"), &within.id)?)
            }
            Target::Key(named) => {
                check_named(&place, named)?;
                names.push((n, key_place(&named.scope, &named.key)));
                None
            }
        });
    }
    if !names.is_empty() {
        let keys: Vec<Vec<u8>> = names.iter().map(|(_, key)| key.clone()).collect();
        for ((n, _), found) in names.iter().zip(snapshot.get(PLACE, &keys)?) {
            ids[*n] = found.and_then(|bytes| bytes.try_into().ok()).map(Id);
        }
    }
    let keys: Vec<Vec<u8>> = ids.iter().flatten().map(|id| id.0.to_vec()).collect();
    let mut values = if keys.is_empty() { vec![] } else { snapshot.get(MEMORY, &keys)? }.into_iter();
    let mut out = vec![];
    for (id, target) in ids.into_iter().zip(targets) {
        let Some(id) = id else {
            out.push(None);
            continue;
        };
        let record = values.next().flatten().map(|bytes| Record::decode(id, &bytes)).transpose()?;
        out.push(record.filter(|record| within(target, record)));
    }
    Ok(out)
}

fn within(target: &Target, record: &Record) -> bool {
    match target {
        Target::Within(wanted) => scope::admits(&wanted.scope, &record.content.scope),
        Target::Id(_) | Target::Key(_) => true,
    }
}

fn check_named(place: &str, named: &crate::memory::ScopedKey) -> Result<()> {
    check::scope(&format!("{place}.scope"), &named.scope)?;
    check::short(&format!("{place}.key"), "the key", &named.key)
}

/// A target of a write.
pub(crate) struct Found {
    pub(crate) record: Record,
    /// What the caller called it.
    pub(crate) name: String,
}

/// The outer error fails the call, the inner one this item.
pub(crate) fn target_record<H: Host>(draft: &mut Draft<'_, H>, target: &Target, place: &str) -> Result<Result<Found>> {
    let (id, name) = match target {
        Target::Id(id) => (check::id(&format!("{place}.target"), id).map(Some), id.clone()),
        Target::Within(within) => {
            let place = format!("{place}.target");
            (
                check::scope(&format!("{place}.scope"), &within.scope)
                    .and_then(|()| check::id(&format!("{place}.id"), &within.id))
                    .map(Some),
                within.id.clone(),
            )
        }
        Target::Key(named) => {
            let id = match check_named(&format!("{place}.target"), named) {
                Ok(()) => Ok(draft.named(&named.scope, &named.key)?),
                Err(error) => Err(error),
            };
            (id, named.key.clone())
        }
    };
    let id = match id {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    let record = match id {
        Some(id) => draft.record(id)?.filter(|record| within(target, record)),
        None => None,
    };
    Ok(record
        .map(|record| Found { record, name: name.clone() })
        .ok_or_else(|| Error::NotFound(format!("there is no memory {name}"))))
}
