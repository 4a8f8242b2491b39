//! Why a memory is not where one looked for it: the way of one query, seen from single memories.
use crate::Result;
use crate::ask::{Asked, has_model, probe, understand};
use crate::capability::Host;
use crate::check;
use crate::filter::Filter;
use crate::get::records;
use crate::hits::{answer, raw_scores, reaches};
use crate::index::Candidate;
use crate::memory::{Explanation, Hit, Query, Ranked, RawScores, Target, Verdict};
use crate::record::{Record, Standing};
use crate::scope::{FIELDS, field, name};
use crate::types::State;
use std::collections::HashSet;

/// Says for each target how the query sees it; see `memory.why-not` of the contract.
pub fn why_not(host: &impl Host, query: &Query, targets: &[Target]) -> Result<Vec<Verdict>> {
    check::items("targets", targets.len())?;
    let model = has_model(host)?;
    let mut asked = Asked::new(host, model, query, "query")?;
    let snapshot = host.snapshot()?;
    let found = records(&snapshot, targets)?;
    // All that is ranked, whatever the limit, and explained.
    let whole = Query { limit: u32::MAX, explain: true, diversity: None, minimum: None, ..query.clone() };
    asked.query = &whole;
    let mut asked = [asked];
    understand(host, model, &mut asked)?;
    let candidates = probe(host, model, &asked)?.remove(0);
    let keys: HashSet<String> = candidates.entries.iter().map(|candidate| candidate.key.clone()).collect();
    let hits = answer(host, &snapshot, model, &asked[0], candidates)?.hits;
    let (hits, below): (Vec<Hit>, Vec<Hit>) = hits.into_iter().partition(|hit| reaches(query, &hit.raw));

    // Raw scores of those that no branch found.
    let ids = found.iter().flatten().map(|record| record.id.text());
    let missed: Vec<String> = ids.filter(|id| !keys.contains(id)).collect();
    let alone = if missed.is_empty() {
        vec![]
    } else {
        asked[0].among = Some(missed);
        probe(host, model, &asked)?.remove(0).entries
    };
    found
        .into_iter()
        .map(|record| match record {
            Some(record) => verdict(query, &asked[0], &record, &hits, &below, &alone),
            None => Ok(Verdict::Unknown),
        })
        .collect()
}

fn verdict(
    query: &Query,
    asked: &Asked<'_>,
    record: &Record,
    hits: &[Hit],
    below: &[Hit],
    alone: &[Candidate],
) -> Result<Verdict> {
    let outside = |f: &_| field(&query.scope, *f).is_some_and(|value| field(&record.content.scope, *f) != Some(value));
    if let Some(f) = FIELDS.into_iter().find(outside) {
        return Ok(Verdict::Excluded(format!("scope.{}", name(f))));
    }
    if record.standing != Standing::Kept {
        return Ok(Verdict::Hidden(State::Deleted));
    }
    if let Some(filter) = &query.filter
        && let Some(place) = Filter::blame(filter, "filter", record)?
    {
        return Ok(Verdict::Excluded(place));
    }
    let state = asked.eyes.state(record);
    if !asked.eyes.shows(state) {
        return Ok(Verdict::Hidden(state));
    }
    let id = record.id.text();
    if let Some(hit) = below.iter().find(|hit| hit.memory.id == id) {
        return Ok(Verdict::BelowMinimum(hit.raw));
    }
    if let Some(hit) = hits.iter().chain(below).find(|hit| hit.folded.contains(&id)) {
        return Ok(Verdict::Folded(hit.memory.id.clone()));
    }
    if let Some(place) = hits.iter().position(|hit| hit.memory.id == id) {
        let hit = &hits[place];
        return Ok(Verdict::Ranked(Ranked {
            place: u32::try_from(place + 1).unwrap_or(u32::MAX),
            score: hit.score,
            raw: hit.raw,
            explanation: hit.explanation.clone().unwrap_or(Explanation { parts: vec![], terms: vec![] }),
        }));
    }
    let raw = alone.iter().find(|candidate| candidate.key == id);
    Ok(Verdict::NoCandidate(raw.map_or(RawScores { dense: None, lexical: 0.0 }, raw_scores)))
}
