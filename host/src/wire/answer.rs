//! What the verbs answer, as JSON: outcomes, hits, versions, scopes, statistics. Memories inside are those of the file
//! above.
use serde::Serialize;

use super::{ErrorObject, MemoryObject, Time, state_name};
use crate::contract::memory::{
    Change, Citation, Doubt, Effect, Explanation, Found, Hit, Origin, Outcome, Pack, Pipeline, RawScores, Reason,
    ScopeEntry, Statistics, Trace, Verdict, Version,
};
use crate::contract::types::Error;

/// What a write did with one item.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum OutcomeObject<'a> {
    Done(DoneObject<'a>),
    Refused { error: ErrorObject },
}

impl<'a> OutcomeObject<'a> {
    /// `key` is the one that the request gave.
    pub(crate) fn new(outcome: &'a Result<Outcome, Error>, key: Option<&'a str>) -> Self {
        match outcome {
            Ok(outcome) => Self::Done(DoneObject {
                id: &outcome.item.id,
                key,
                effect: EffectObject::from(&outcome.item),
                truncated_tokens: outcome.truncated_tokens,
                others: outcome.others.iter().map(OtherObject::from).collect(),
            }),
            Err(error) => Self::Refused { error: error.into() },
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DoneObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(flatten)]
    effect: EffectObject,
    truncated_tokens: u32,
    others: Vec<OtherObject<'a>>,
}

#[derive(Serialize)]
struct OtherObject<'a> {
    id: &'a str,
    #[serde(flatten)]
    effect: EffectObject,
}

impl<'a> From<&'a Effect> for OtherObject<'a> {
    fn from(effect: &'a Effect) -> Self {
        Self { id: &effect.id, effect: effect.into() }
    }
}

#[derive(Serialize)]
struct EffectObject {
    version: u32,
    change: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
}

impl From<&Effect> for EffectObject {
    fn from(effect: &Effect) -> Self {
        Self {
            version: effect.version,
            change: change_name(effect.change),
            reason: reason_name(effect.reason),
            similarity: effect.similarity,
        }
    }
}

/// One entry of a history.
#[derive(Serialize)]
pub(crate) struct VersionObject<'a> {
    version: u32,
    change: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    updated_at: Time,
    memory: MemoryObject<'a>,
}

impl<'a> From<&'a Version> for VersionObject<'a> {
    fn from(version: &'a Version) -> Self {
        Self {
            version: version.memory.version,
            change: change_name(version.change),
            reason: reason_name(version.reason),
            similarity: version.similarity,
            updated_at: Time(version.memory.updated_at),
            memory: (&version.memory).into(),
        }
    }
}

/// The answer to one query.
#[derive(Serialize)]
pub(crate) struct FoundObject<'a> {
    hits: Vec<HitObject<'a>>,
    pending: u32,
    doubts: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceObject<'a>>,
    ms: f64,
}

impl<'a> FoundObject<'a> {
    /// `ms` is how long the search took.
    pub(crate) fn new(found: &'a Found, ms: f64) -> Self {
        Self {
            hits: found.hits.iter().map(HitObject::from).collect(),
            pending: found.pending,
            doubts: found.doubts.iter().map(|doubt| doubt_name(*doubt)).collect(),
            trace: found.trace.as_ref().map(TraceObject::from),
            ms,
        }
    }
}

/// One hit: its scores, then the memory's own fields.
#[derive(Serialize)]
pub(crate) struct HitObject<'a> {
    score: f32,
    raw: RawObject,
    #[serde(flatten)]
    memory: MemoryObject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passage: Option<&'a str>,
    folded: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationObject<'a>>,
}

impl<'a> From<&'a Hit> for HitObject<'a> {
    fn from(hit: &'a Hit) -> Self {
        Self {
            score: hit.score,
            raw: (&hit.raw).into(),
            memory: (&hit.memory).into(),
            passage: hit.passage.as_deref(),
            folded: &hit.folded,
            explanation: hit.explanation.as_ref().map(ExplanationObject::from),
        }
    }
}

#[derive(Serialize)]
struct RawObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<f32>,
    lexical: f32,
}

impl From<&RawScores> for RawObject {
    fn from(raw: &RawScores) -> Self {
        Self { dense: raw.dense, lexical: raw.lexical }
    }
}

#[derive(Serialize)]
struct ExplanationObject<'a> {
    parts: Vec<PartObject<'a>>,
    terms: Vec<TermObject<'a>>,
}

#[derive(Serialize)]
struct PartObject<'a> {
    name: &'a str,
    value: f32,
    share: f32,
}

#[derive(Serialize)]
struct TermObject<'a> {
    term: &'a str,
    share: f32,
}

impl<'a> From<&'a Explanation> for ExplanationObject<'a> {
    fn from(explanation: &'a Explanation) -> Self {
        let part = |part: &'a crate::contract::memory::Part| PartObject {
            name: &part.name,
            value: part.value,
            share: part.share,
        };
        let term = |term: &'a crate::contract::memory::TermShare| TermObject { term: &term.term, share: term.share };
        Self {
            parts: explanation.parts.iter().map(part).collect(),
            terms: explanation.terms.iter().map(term).collect(),
        }
    }
}

#[derive(Serialize)]
struct TraceObject<'a> {
    dense_text: &'a str,
    dates: Vec<DateObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'static str>,
    admitted: u32,
    candidates: u32,
    exact: bool,
}

#[derive(Serialize)]
struct DateObject<'a> {
    words: &'a str,
    from: Time,
    to: Time,
}

impl<'a> From<&'a Trace> for TraceObject<'a> {
    fn from(trace: &'a Trace) -> Self {
        let date = |(words, from, to): &'a (String, i64, i64)| DateObject { words, from: Time(*from), to: Time(*to) };
        Self {
            dense_text: &trace.dense_text,
            dates: trace.dates.iter().map(date).collect(),
            pipeline: trace.tuning.pipeline.map(pipeline_name),
            admitted: trace.admitted,
            candidates: trace.candidates,
            exact: trace.exact,
        }
    }
}

/// How a query sees one memory.
#[derive(Serialize)]
pub(crate) struct VerdictObject<'a> {
    id: &'a str,
    verdict: &'static str,
    /// What excludes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    into: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<RawObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationObject<'a>>,
}

impl<'a> VerdictObject<'a> {
    /// `id` as the caller gave it.
    pub(crate) fn new(id: &'a str, verdict: &'a Verdict) -> Self {
        let bare = |verdict| VerdictObject {
            id,
            verdict,
            by: None,
            state: None,
            into: None,
            place: None,
            score: None,
            raw: None,
            explanation: None,
        };
        match verdict {
            Verdict::Unknown => bare("unknown"),
            Verdict::Excluded(place) => Self { by: Some(place), ..bare("excluded") },
            Verdict::Hidden(state) => Self { state: Some(state_name(*state)), ..bare("hidden") },
            Verdict::NoCandidate(raw) => Self { raw: Some(raw.into()), ..bare("no-candidate") },
            Verdict::BelowMinimum(raw) => Self { raw: Some(raw.into()), ..bare("below-minimum") },
            Verdict::Folded(into) => Self { into: Some(into), ..bare("folded") },
            Verdict::Ranked(ranked) => Self {
                place: Some(ranked.place),
                score: Some(ranked.score),
                raw: Some((&ranked.raw).into()),
                explanation: Some((&ranked.explanation).into()),
                ..bare("ranked")
            },
        }
    }
}

/// What a prompt should carry.
#[derive(Serialize)]
pub(crate) struct PackObject<'a> {
    text: &'a str,
    tokens: u32,
    citations: Vec<CitationObject<'a>>,
    omitted: &'a [String],
}

#[derive(Serialize)]
struct CitationObject<'a> {
    number: u32,
    id: &'a str,
    version: u32,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl<'a> From<&'a Pack> for PackObject<'a> {
    fn from(pack: &'a Pack) -> Self {
        let citation = |citation: &'a Citation| CitationObject {
            number: citation.number,
            id: &citation.id,
            version: citation.version,
            origin: match citation.origin {
                Origin::Core => "core",
                Origin::Hit => "hit",
                Origin::Neighbour => "neighbour",
            },
            score: citation.score,
        };
        Self {
            text: &pack.text,
            tokens: pack.tokens,
            citations: pack.citations.iter().map(citation).collect(),
            omitted: &pack.omitted,
        }
    }
}

/// One value of a scope field.
#[derive(Serialize)]
pub(crate) struct ScopeObject<'a> {
    value: &'a str,
    memories: u32,
    created_at: Time,
    updated_at: Time,
}

impl<'a> From<&'a ScopeEntry> for ScopeObject<'a> {
    fn from(entry: &'a ScopeEntry) -> Self {
        Self {
            value: &entry.value,
            memories: entry.memories,
            created_at: Time(entry.created_at),
            updated_at: Time(entry.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct StatisticsObject<'a> {
    live: u32,
    outdated: u32,
    expired: u32,
    deleted: u32,
    pending: u32,
    lag: u64,
    oldest_snapshot_ms: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelObject<'a>>,
    stale: u32,
}

#[derive(Serialize)]
struct ModelObject<'a> {
    name: &'a str,
    fingerprint: &'a str,
}

impl<'a> From<&'a Statistics> for StatisticsObject<'a> {
    fn from(statistics: &'a Statistics) -> Self {
        Self {
            live: statistics.live,
            outdated: statistics.outdated,
            expired: statistics.expired,
            deleted: statistics.deleted,
            pending: statistics.pending,
            lag: statistics.lag,
            oldest_snapshot_ms: statistics.oldest_snapshot_ms,
            bytes: statistics.bytes,
            model: statistics
                .model
                .as_ref()
                .map(|model| ModelObject { name: &model.name, fingerprint: &model.fingerprint }),
            stale: statistics.stale,
        }
    }
}

pub(crate) fn change_name(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Updated => "updated",
        Change::Unchanged => "unchanged",
        Change::Linked => "linked",
        Change::Superseded => "superseded",
        Change::Deleted => "deleted",
        Change::Erased => "erased",
        Change::Restored => "restored",
    }
}

pub(crate) fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Requested => "requested",
        Reason::SameKey => "same-key",
        Reason::SameText => "same-text",
        Reason::NearDuplicate => "near-duplicate",
        Reason::Contradiction => "contradiction",
        Reason::Extracted => "extracted",
    }
}

fn doubt_name(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::NothingNear => "nothing-near",
        Doubt::UnknownLanguage => "unknown-language",
    }
}

fn pipeline_name(pipeline: Pipeline) -> &'static str {
    match pipeline {
        Pipeline::Lexical => "lexical",
        Pipeline::Core => "core",
        Pipeline::Context => "context",
        Pipeline::Late => "late",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::memory::{Part, TermShare};
    use crate::wire::tests::bare;

    #[track_caller]
    fn check(object: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(object).unwrap(), expected);
    }

    fn effect(change: Change, reason: Reason, similarity: Option<f32>) -> Effect {
        Effect { id: "0197".into(), version: 2, change, reason, similarity }
    }

    #[test]
    fn an_outcome_says_what_became_of_the_item_and_of_others() {
        let outcome = Ok(Outcome {
            item: effect(Change::Added, Reason::Requested, None),
            others: vec![effect(Change::Superseded, Reason::Contradiction, Some(0.91))],
            truncated_tokens: 3,
        });
        check(
            &OutcomeObject::new(&outcome, Some("k")),
            concat!(
                r#"{"id":"0197","key":"k","version":2,"change":"added","reason":"requested","truncated_tokens":3,"#,
                r#""others":[{"id":"0197","version":2,"change":"superseded","reason":"contradiction","similarity":0.91}]}"#,
            ),
        );
    }

    #[test]
    fn a_refused_item_is_an_error_in_its_place() {
        check(
            &OutcomeObject::new(&Err(Error::NotFound("no memory 0197".into())), None),
            r#"{"error":{"kind":"not-found","message":"no memory 0197"}}"#,
        );
    }

    #[test]
    fn a_hit_carries_all_fields_of_its_memory() {
        let mut memory = bare();
        memory.content.metadata = r#"{"n": 1.0}"#.into();
        let explanation = Explanation {
            parts: vec![Part { name: "dense".into(), value: 0.6, share: 0.36 }],
            terms: vec![TermShare { term: "tea".into(), share: 7.1 }],
        };
        let hit = Hit {
            memory,
            score: 0.83,
            raw: RawScores { dense: Some(0.6), lexical: 7.1 },
            passage: None,
            folded: vec!["0196".into()],
            explanation: Some(explanation),
        };
        let found = Found { hits: vec![hit], doubts: vec![Doubt::NothingNear], pending: 0, trace: None };
        check(
            &FoundObject::new(&found, 1.9),
            concat!(
                r#"{"hits":[{"score":0.83,"raw":{"dense":0.6,"lexical":7.1},"id":"0197","text":"tea at five","kind":"fact","#,
                r#""metadata":{"n": 1.0},"created_at":"1970-01-01T00:00:00.000Z","updated_at":"1970-01-01T00:00:00.001Z","#,
                r#""version":1,"folded":["0196"],"explanation":{"parts":[{"name":"dense","value":0.6,"share":0.36}],"#,
                r#""terms":[{"term":"tea","share":7.1}]}}],"pending":0,"doubts":["nothing-near"],"ms":1.9}"#,
            ),
        );
    }

    #[test]
    fn a_version_holds_the_memory_of_then() {
        let version = Version { memory: bare(), change: Change::Unchanged, reason: Reason::SameText, similarity: None };
        let json = serde_json::to_string(&VersionObject::from(&version)).unwrap();
        assert!(
            json.starts_with(
                r#"{"version":1,"change":"unchanged","reason":"same-text","updated_at":"1970-01-01T00:00:00.001Z","memory":{"id":"0197","#
            ),
            "{json}"
        );
    }
}
