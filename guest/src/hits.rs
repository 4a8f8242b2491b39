//! From ranked candidates to hits: what is gone or hidden drops out, duplicates fold, what may be superseded goes behind.
use crate::Result;
use crate::ask::Asked;
use crate::capability::{Host, Snapshot};
use crate::check;
use crate::id::Id;
use crate::index::{Candidate, Candidates};
use crate::memory::{Diversity, Doubt, Explanation, Found, Hit, Part, Query, RawScores, TermShare, Trace};
use crate::rank::{Bounds, Ranked, parts, rank};
use crate::record::{MEMORY, Record};
use crate::spread::spread;
use crate::text::passages;
use crate::types::{Memory, MemoryId, Relation};
use std::collections::HashMap;

/// Ranks the candidates and reads the best of them; what is gone meanwhile drops out.
pub(crate) fn answer(
    host: &impl Host,
    snapshot: &impl Snapshot,
    model: bool,
    one: &Asked<'_>,
    found: Candidates,
) -> Result<Found> {
    let query = one.query;
    let (admitted, pending, exact) = (found.admitted, found.pending, found.exact);
    let candidates = u32::try_from(found.entries.len()).unwrap_or(u32::MAX);
    let bounds = Bounds::of(&found);
    let mut ranked = rank(&one.wanted, found);
    ranked.retain(|ranked| reaches(query, &raw_scores(&ranked.candidate)));
    let diversity = query.diversity.unwrap_or(Diversity { per_run: 0, spread: 0.0 });
    if diversity.spread > 0.0 {
        ranked = spread(host, diversity.spread, query.limit as usize, ranked)?;
    }
    let mut ranked = ranked.into_iter();
    let mut of_runs: HashMap<u32, u32> = HashMap::new();
    let mut hits: Vec<Hit> = vec![];
    while hits.len() < query.limit as usize {
        let next: Vec<Ranked> = ranked.by_ref().take(query.limit as usize - hits.len()).collect();
        if next.is_empty() {
            break;
        }
        let ids = next.iter().map(|ranked| check::id("", &ranked.candidate.key)).collect::<Result<Vec<Id>>>()?;
        let values = snapshot.get(MEMORY, &ids.iter().map(|id| id.0.to_vec()).collect::<Vec<_>>())?;
        for ((ranked, id), value) in next.into_iter().zip(ids).zip(values) {
            let Some(value) = value else { continue };
            let record = Record::decode(id, &value)?;
            if one.filter.as_ref().is_some_and(|filter| !filter.admits(&record)) {
                continue;
            }
            if let Some((_, memory)) = one.eyes.see(record, snapshot)? {
                let run = ranked.candidate.turn.as_ref().map(|turn| turn.run).filter(|_| diversity.per_run > 0);
                if run.is_some_and(|run| of_runs.get(&run).is_some_and(|hits| *hits >= diversity.per_run)) {
                    continue;
                }
                let explanation = query.explain.then(|| Explanation {
                    parts: parts(&one.wanted, &ranked),
                    terms: term_shares(&ranked.candidate.terms),
                });
                if let Some(there) = hits.iter_mut().find(|there| says_the_same(&there.memory, &memory)) {
                    there.folded.push(memory.id);
                } else {
                    if let Some(run) = run {
                        *of_runs.entry(run).or_default() += 1;
                    }
                    hits.push(hit(ranked, memory, explanation));
                }
            }
        }
    }
    demote(&mut hits);
    let trace = query.explain.then(|| Trace {
        dense_text: one.dense_text.clone(),
        dates: one.wanted.dates.iter().map(|date| (date.words.clone(), date.span().0, date.span().1)).collect(),
        tuning: one.wanted.constants.used(one.wanted.dense),
        admitted,
        candidates,
        exact,
    });
    Ok(Found { hits, doubts: doubts(one, &bounds), pending: if model { pending } else { admitted }, trace })
}

/// Cosine below which answers of the English model in the binary rarely lie. Another model has other cosines: where they are
/// higher, nothing is doubted.
const NEAR: f32 = 0.4;
/// Share of the weight of a query's words that the best memory has, below which answers rarely lie; with a near meaning
/// to compare, and without. On conversations and on facts 2 to 6 answered queries in a hundred lie below both, and two
/// thirds of those asked of the wrong conversation.
const WORDED: (f32, f32) = (0.35, 0.25);

fn doubts(one: &Asked<'_>, bounds: &Bounds) -> Vec<Doubt> {
    let mut out = vec![];
    let words = bounds.lexical.map_or(0.0, |lexical| lexical.max / one.weight_of_words.max(f32::MIN_POSITIVE));
    let nothing_near = match bounds.dense {
        Some(dense) => dense.max < NEAR && words < WORDED.0,
        None => bounds.lexical.is_some() && words < WORDED.1,
    };
    if nothing_near {
        out.push(Doubt::NothingNear);
    }
    if one.unknown_language {
        out.push(Doubt::UnknownLanguage);
    }
    out
}

/// Whether one of two memories is linked to the other as its duplicate, or both to a third.
fn says_the_same(a: &Memory, b: &Memory) -> bool {
    said_by(a).any(|id| said_by(b).any(|other| id == other))
}

/// A memory and what it is linked to as a duplicate.
fn said_by(memory: &Memory) -> impl Iterator<Item = &MemoryId> {
    let links = memory.content.links.iter().filter(|link| link.relation == Relation::Duplicates);
    std::iter::once(&memory.id).chain(links.map(|link| &link.target))
}

/// Puts each memory that another one in the answer may supersede directly behind that one.
fn demote(hits: &mut Vec<Hit>) {
    let pairs: Vec<(String, String)> = hits
        .iter()
        .flat_map(|newer| {
            let links = newer.memory.content.links.iter().filter(|link| link.relation == Relation::MaySupersede);
            links.map(|link| (newer.memory.id.clone(), link.target.clone()))
        })
        .collect();
    // Each pair once, so that two that name each other do not go back and forth.
    for (newer, older) in pairs {
        let place = |id: &str| hits.iter().position(|hit| hit.memory.id == id);
        let (Some(newer), Some(older)) = (place(&newer), place(&older)) else { continue };
        if older < newer {
            let mut hit = hits.remove(older);
            let difference = hits[newer - 1].score - hit.score;
            hit.score += difference;
            if let Some(explanation) = &mut hit.explanation {
                explanation.parts.push(Part { name: "superseded".to_owned(), value: 1.0, share: difference });
            }
            hits.insert(newer, hit);
        }
    }
}

/// Whether a memory reaches one of the smallest raw scores that were given.
pub(crate) fn reaches(query: &Query, raw: &RawScores) -> bool {
    let Some(minimum) = query.minimum else { return true };
    let dense = minimum.dense.map(|least| raw.dense.is_some_and(|dense| dense >= least));
    let lexical = minimum.lexical.map(|least| raw.lexical >= least);
    match (dense, lexical) {
        (None, None) => true,
        (dense, lexical) => dense == Some(true) || lexical == Some(true),
    }
}

pub(crate) fn raw_scores(candidate: &Candidate) -> RawScores {
    RawScores { dense: candidate.dense, lexical: candidate.lexical }
}

fn term_shares(terms: &[(String, f32)]) -> Vec<TermShare> {
    terms.iter().map(|(term, share)| TermShare { term: term.clone(), share: *share }).collect()
}

fn hit(ranked: Ranked, memory: Memory, explanation: Option<Explanation>) -> Hit {
    let Ranked { candidate, score, .. } = ranked;
    let cut = passages(&memory.content.text);
    let passage = match cut.get(candidate.passage as usize) {
        Some(bytes) if cut.len() > 1 => Some(memory.content.text[bytes.clone()].to_owned()),
        _ => None,
    };
    let raw = raw_scores(&candidate);
    Hit { memory, score, raw, passage, folded: vec![], explanation }
}
