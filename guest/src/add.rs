//! Adding memories: what is new, what is already there, what is another version.
use crate::Result;
use crate::capability::Host;
use crate::check::{self, LINKS};
use crate::compare::{Comparing, Likeness};
use crate::draft::{Draft, commit_embedded, effect};
use crate::id::Id;
use crate::memory::{AddOptions, Added, Change, Comparison, Effect, Extraction, Outcome, Outcomes, Reason};
use crate::record::{MEMORY, PLACE, Record, Standing, key_place, same_text_place};
use crate::text::normal;
use crate::types::{Content, Error, Link, Relation, State};
use crate::view::Eyes;

/// Stores new memories; see `memory.add` of the contract.
pub fn add(host: &impl Host, items: &[Content], options: &AddOptions) -> Result<Added> {
    check::items("items", items.len())?;
    check::call("items", items.iter().map(check::size))?;
    if options.extraction != Extraction::None {
        return Err(Error::Unavailable("extraction comes later; add with `none`".to_owned()));
    }
    let checked: Vec<Result<()>> =
        items.iter().enumerate().map(|(n, item)| check::content(&format!("items[{n}]"), item)).collect();
    let described = || format!("add {items:?} {:?}", options.comparison);
    let comparing = match options.comparison {
        Comparison::None | Comparison::Exact => None,
        Comparison::Similar | Comparison::Supersede => Some(Comparing::new(host, items, |n| checked[n].is_ok())?),
    };
    let embedded = comparing.as_ref().and_then(|comparing| comparing.embedded.clone());
    commit_embedded(host, &options.write, described, embedded, |draft| {
        prefetch(draft, items, &checked)?;
        let ids = Id::reserve(host, u32::try_from(items.len()).expect("limited by the call"));
        let mut near = comparing.as_ref().map(|c| c.nearest(host, items, draft.now)).transpose()?.unwrap_or_default();
        let mut added: Vec<(usize, Id)> = vec![];
        let mut outcomes: Outcomes = vec![];
        for (n, (item, id)) in items.iter().zip(ids).enumerate() {
            let like = |draft: &mut Draft<'_, _>, new: &Record| match &comparing {
                Some(comparing) => comparing.judge(draft, host, new, n, std::mem::take(&mut near[n]), &added),
                None => Ok(Likeness::None),
            };
            let outcome = match &checked[n] {
                Err(error) => Err(error.clone()),
                Ok(()) => one(draft, item, id, options.comparison, like, &format!("items[{n}]"))?,
            };
            if outcome.as_ref().is_ok_and(|outcome| outcome.item.change == Change::Added) {
                added.push((n, id));
            }
            outcomes.push(outcome);
        }
        note_truncated(draft, &mut outcomes)?;
        Ok(Added { items: outcomes, extracted: vec![] })
    })
}

/// Reads in two calls what the items lead to.
fn prefetch<H: Host>(draft: &mut Draft<'_, H>, items: &[Content], checked: &[Result<()>]) -> Result<()> {
    let good = items.iter().zip(checked).filter(|(_, check)| check.is_ok()).map(|(item, _)| item);
    let places: Vec<Vec<u8>> = good
        .map(|item| match &item.key {
            Some(key) => key_place(&item.scope, key),
            None => same_text_place(item, &normal(&item.text)),
        })
        .collect();
    draft.prefetch(PLACE, places.iter().cloned())?;
    let mut found: Vec<Vec<u8>> = vec![];
    for place in places {
        // Of several with one text the first; the others are read where they are needed.
        found.extend(draft.get(PLACE, place)?.iter().filter_map(|ids| ids.chunks(16).next()).map(<[u8]>::to_vec));
    }
    draft.prefetch(MEMORY, found)
}

/// The outer error fails the call, the inner one this item.
fn one<H: Host>(
    draft: &mut Draft<'_, H>,
    item: &Content,
    id: Id,
    comparison: Comparison,
    like: impl FnOnce(&mut Draft<'_, H>, &Record) -> Result<Likeness>,
    place: &str,
) -> Result<Result<Outcome>> {
    let mut new = Record {
        id,
        version: 1,
        change: Change::Added,
        reason: Reason::Requested,
        similarity: None,
        created_at: draft.now,
        updated_at: draft.now,
        standing: Standing::Kept,
        superseded: None,
        content: item.clone(),
    };
    if let Some(key) = &item.key {
        if let Some(before) = draft.named(&item.scope, key)? {
            let before =
                draft.record(before)?.ok_or_else(|| Error::Corrupt(format!("the key {key:?} leads to no memory")))?;
            return under_key(draft, &before, item, place);
        }
    } else if comparison != Comparison::None
        && let Some(there) = same_text(draft, &new)?
    {
        return Ok(Ok(unchanged(&there, Reason::SameText)));
    }
    if let Err(error) = link_targets(draft, item, place)? {
        return Ok(Err(error));
    }
    let likeness = like(draft, &new)?;
    link(&mut new, likeness, comparison);
    let others = draft.replace(None, &new)?;
    Ok(Ok(Outcome { item: effect(&new), others, truncated_tokens: 0 }))
}

/// Keeps with a new memory what it is like, and why; as many links as a memory may have.
fn link(new: &mut Record, likeness: Likeness, comparison: Comparison) {
    let (relation, reason, targets) = match likeness {
        Likeness::None => return,
        Likeness::Repeats(one) => (Relation::Duplicates, Reason::NearDuplicate, vec![one]),
        Likeness::Corrects(all) if comparison == Comparison::Supersede => {
            (Relation::Supersedes, Reason::Contradiction, all)
        }
        Likeness::Corrects(all) => (Relation::MaySupersede, Reason::Contradiction, all),
    };
    let links = &mut new.content.links;
    for like in targets {
        let target = like.id.text();
        if links.len() < LINKS && links.iter().all(|link| link.target != target) {
            links.push(Link { relation: relation.clone(), target });
            new.similarity = new.similarity.or(like.cosine);
            new.reason = reason;
        }
    }
}

/// The same key: the same content changes nothing, another one is the next version.
fn under_key<H: Host>(
    draft: &mut Draft<'_, H>,
    before: &Record,
    item: &Content,
    place: &str,
) -> Result<Result<Outcome>> {
    if same_content(&before.content, item) {
        return Ok(Ok(unchanged(before, Reason::SameKey)));
    }
    if let Err(error) = link_targets(draft, item, place)? {
        return Ok(Err(error));
    }
    let after = Record {
        version: before.version + 1,
        change: Change::Updated,
        reason: Reason::SameKey,
        similarity: None,
        updated_at: draft.now,
        content: item.clone(),
        ..before.clone()
    };
    let others = draft.replace(Some(before), &after)?;
    Ok(Ok(Outcome { item: effect(&after), others, truncated_tokens: 0 }))
}

/// Equal in every field; an empty text of metadata stands for `{}`.
fn same_content(a: &Content, b: &Content) -> bool {
    let bare = |content: &Content| matches!(content.metadata.as_str(), "" | "{}");
    if bare(a) && bare(b) {
        return Content { metadata: b.metadata.clone(), ..a.clone() } == *b;
    }
    a == b
}

/// The oldest live memory with the same text in the sense of [`Reason::SameText`].
fn same_text<H: Host>(draft: &mut Draft<'_, H>, new: &Record) -> Result<Option<Record>> {
    let eyes = Eyes::all_kept(draft.now);
    let wanted = normal(&new.content.text);
    for id in draft.same_text(new)? {
        // The row is found by a hash: only the record decides.
        let Some(there) = draft.record(id)? else { continue };
        let (a, b) = (&there.content, &new.content);
        let same = a.key.is_none() && a.scope == b.scope && a.actor == b.actor && a.kind == b.kind && a.at == b.at;
        if same && eyes.state(&there) == State::Live && normal(&a.text) == wanted {
            return Ok(Some(there));
        }
    }
    Ok(None)
}

/// Every link must lead to a memory that is there.
pub(crate) fn link_targets<H: Host>(draft: &mut Draft<'_, H>, content: &Content, place: &str) -> Result<Result<()>> {
    for (n, link) in content.links.iter().enumerate() {
        let place = format!("{place}.links[{n}].target");
        let target = match check::id(&place, &link.target) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        if draft.record(target)?.is_none_or(|record| record.standing != Standing::Kept) {
            return Ok(Err(Error::NotFound(format!("{place}: there is no memory {}", link.target))));
        }
    }
    Ok(Ok(()))
}

pub(crate) fn unchanged(there: &Record, reason: Reason) -> Outcome {
    let item =
        Effect { id: there.id.text(), version: there.version, change: Change::Unchanged, reason, similarity: None };
    Outcome { item, others: vec![], truncated_tokens: 0 }
}

/// Says in each outcome how much of the text the model will not read.
pub(crate) fn note_truncated<H: Host>(draft: &Draft<'_, H>, outcomes: &mut Outcomes) -> Result<()> {
    let mut changed: Vec<&mut Outcome> =
        outcomes.iter_mut().flatten().filter(|outcome| outcome.item.change != Change::Unchanged).collect();
    let ids: Vec<Id> = changed.iter().filter_map(|outcome| Id::parse(&outcome.item.id)).collect();
    for (outcome, tokens) in changed.iter_mut().zip(draft.truncated(&ids)?) {
        outcome.truncated_tokens = tokens;
    }
    Ok(())
}
