//! What a new memory is like: near duplicates and corrections among the memories of its scope, and among those added before it
//! in the same call. Finds and judges; what follows from it is decided in `add.rs`.
use crate::Result;
use crate::ask::has_model;
use crate::calendar::Date;
use crate::capability::Host;
use crate::draft::Draft;
use crate::embedding::Purpose;
use crate::entry::admission;
use crate::id::Id;
use crate::index::Probe;
use crate::memory::Including;
use crate::record::{MEMORY, Record};
use crate::saying::{Saying, is_short};
use crate::text::{embedded, passages};
use crate::types::{Content, Kind, State};
use crate::view::Eyes;
use std::rc::Rc;

/// Nearest memories that are looked at, of either branch.
const NEAREST: u32 = 10;
/// Corrected memories of one new memory.
const CORRECTED: usize = 4;
/// Probes of one search.
const PROBES: usize = 100;

/// The items of one call, ready to be compared.
pub(crate) struct Comparing<H: Host> {
    /// What was embedded, of all items in order, and what came of it. None: there is no model.
    pub(crate) embedded: Option<(Vec<String>, Rc<H::Vectors>)>,
    /// None where nothing is to be compared: under a key, refused, or too long for rules of words.
    items: Vec<Option<Item>>,
}

struct Item {
    saying: Saying,
    /// Of its vector; none where the model does not know the language.
    place: Option<u32>,
}

/// A memory that says nearly the same, or the opposite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Like {
    pub(crate) id: Id,
    /// None where the model does not know the language.
    pub(crate) cosine: Option<f32>,
}

/// What a new memory is like.
#[derive(Debug, PartialEq)]
pub(crate) enum Likeness {
    None,
    Repeats(Like),
    Corrects(Vec<Like>),
}

impl<H: Host> Comparing<H> {
    /// Has all items embedded; the model works on while they are compared by words.
    pub(crate) fn new(host: &H, items: &[Content], good: impl Fn(usize) -> bool) -> Result<Self> {
        let compared = |n: usize, item: &Content| item.key.is_none() && good(n);
        let mut texts = vec![];
        let mut firsts = vec![];
        for (n, item) in items.iter().enumerate() {
            let cut = if compared(n, item) { passages(&item.text) } else { vec![] };
            let short = cut.len() == 1 && is_short(&item.text);
            firsts.push(short.then(|| u32::try_from(texts.len()).expect("limited by the size of a call")));
            let embedded = embedded(item);
            texts.extend(cut.into_iter().map(|bytes| embedded(&item.text[bytes])));
        }
        let model = !texts.is_empty() && has_model(host)?;
        let counts = if model { host.measure(&texts, Purpose::Document)? } else { vec![] };
        let known = |place: u32| counts.get(place as usize).is_some_and(|count| count.unknown * 2 <= count.tokens);
        let vectors = if model { Some(Rc::new(host.embed(&texts, Purpose::Document)?)) } else { None };
        let short: Vec<String> =
            items.iter().zip(&firsts).filter(|(_, first)| first.is_some()).map(|(item, _)| item.text.clone()).collect();
        let mut tokens = analysed(host, &short)?.into_iter();
        let mut item = |(content, first): (&Content, Option<u32>)| {
            let place = first?;
            let saying = Saying::new(&content.text, &tokens.next()?);
            Some(Item { saying, place: Some(place).filter(|place| known(*place)) })
        };
        let items = items.iter().zip(firsts).map(&mut item).collect();
        Ok(Comparing { embedded: vectors.map(|vectors| (texts, vectors)), items })
    }

    /// For each item the nearest memories of the store, with their cosines.
    pub(crate) fn nearest(&self, host: &H, items: &[Content], now: i64) -> Result<Vec<Vec<Like>>> {
        let eyes = Eyes { now, valid_at: now, known_at: None, including: Including::empty() };
        let asked: Vec<(usize, &Item)> =
            self.items.iter().enumerate().filter_map(|(n, item)| Some((n, item.as_ref()?))).collect();
        let mut out = vec![vec![]; items.len()];
        for some in asked.chunks(PROBES) {
            let probes: Vec<Probe> = some
                .iter()
                .map(|(n, item)| Probe {
                    vector: item.place,
                    words: items[*n].text.clone(),
                    common: None,
                    scope: items[*n].scope.clone(),
                    conditions: admission(&eyes),
                    among: None,
                    limit: NEAREST,
                    neighbours: false,
                    k1: 0.9,
                    b: 0.4,
                    effort: None,
                    terms: false,
                    attributes: vec![],
                })
                .collect();
            let vectors = self.embedded.as_ref().map(|(_, vectors)| &**vectors);
            for ((n, item), found) in some.iter().zip(host.search(&probes, vectors)?) {
                let like = |candidate: crate::index::Candidate| {
                    let cosine = candidate.dense.filter(|_| item.place.is_some());
                    Some(Like { id: Id::parse(&candidate.key)?, cosine })
                };
                out[*n] = found.entries.into_iter().filter_map(like).collect();
            }
        }
        Ok(out)
    }

    /// Judges one item against `near` and against those that this call added before, each with its place among the items.
    pub(crate) fn judge(
        &self,
        draft: &mut Draft<'_, H>,
        host: &H,
        new: &Record,
        n: usize,
        mut near: Vec<Like>,
        added: &[(usize, Id)],
    ) -> Result<Likeness> {
        let Some(item) = &self.items[n] else { return Ok(Likeness::None) };
        near.extend(self.earlier(host, item, added)?);
        near.sort_by(|a, b| b.cosine.unwrap_or(1.0).total_cmp(&a.cosine.unwrap_or(1.0)));
        draft.prefetch(MEMORY, near.iter().map(|like| like.id.0.to_vec()))?;
        let eyes = Eyes::all_kept(draft.now);
        let mut beside = vec![];
        for like in near {
            let Some(there) = draft.record(like.id)? else { continue };
            let (a, b) = (&there.content, &new.content);
            let comparable = a.scope == b.scope && a.actor == b.actor && a.kind == b.kind && is_short(&a.text);
            if comparable && eyes.state(&there) == State::Live {
                beside.push((like, there));
            }
        }
        let texts: Vec<String> = beside.iter().map(|(_, there)| there.content.text.clone()).collect();
        let mut corrected = vec![];
        for ((like, there), tokens) in beside.into_iter().zip(analysed(host, &texts)?) {
            let saying = Saying::new(&there.content.text, &tokens);
            if same_day(&there.content, &new.content) && item.saying.repeats(&saying, like.cosine) {
                return Ok(Likeness::Repeats(Like { id: root(draft, &there)?, ..like }));
            }
            let later = new.content.kind != Kind::Episode && new.starts() >= there.starts();
            if later && corrected.len() < CORRECTED && item.saying.corrects(&saying, like.cosine) {
                corrected.push(like);
            }
        }
        Ok(if corrected.is_empty() { Likeness::None } else { Likeness::Corrects(corrected) })
    }

    fn earlier(&self, host: &H, item: &Item, added: &[(usize, Id)]) -> Result<Vec<Like>> {
        let placed: Vec<(Id, Option<u32>)> =
            added.iter().filter_map(|(n, id)| Some((*id, self.items[*n].as_ref()?.place))).collect();
        let mut cosines = match (&self.embedded, item.place) {
            (Some((_, vectors)), Some(place)) => {
                let others: Vec<u32> = placed.iter().filter_map(|(_, place)| *place).collect();
                if others.is_empty() { vec![] } else { host.similarity(vectors, place, &others)? }
            }
            _ => vec![],
        }
        .into_iter();
        let like = |(id, place): (Id, Option<u32>)| Like { id, cosine: place.and_then(|_| cosines.next()) };
        let mut out: Vec<Like> = placed.into_iter().map(like).collect();
        out.sort_by(|a, b| b.cosine.unwrap_or(1.0).total_cmp(&a.cosine.unwrap_or(1.0)));
        out.truncate(NEAREST as usize);
        Ok(out)
    }
}

/// The same sentence on two days is two events.
fn same_day(a: &Content, b: &Content) -> bool {
    match (a.at, b.at) {
        (Some(a), Some(b)) => Date::of(a) == Date::of(b),
        _ => true,
    }
}

/// The memory that a duplicate is itself a duplicate of, so that all of them lead to one.
fn root<H: Host>(draft: &mut Draft<'_, H>, of: &Record) -> Result<Id> {
    let link = of.content.links.iter().find(|link| link.relation == crate::types::Relation::Duplicates);
    if let Some(target) = link.and_then(|link| Id::parse(&link.target))
        && draft.record(target)?.is_some_and(|record| Eyes::all_kept(draft.now).state(&record) == State::Live)
    {
        return Ok(target);
    }
    Ok(of.id)
}

fn analysed(host: &impl Host, texts: &[String]) -> Result<Vec<Vec<crate::index::Token>>> {
    if texts.is_empty() { Ok(vec![]) } else { host.analyze(texts) }
}
