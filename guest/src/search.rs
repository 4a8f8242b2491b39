//! Finding memories by words and by meaning: what is asked of the index, and what becomes of its candidates.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::check::{self, invalid, too_much};
use crate::dates;
use crate::embedding::Purpose;
use crate::entry::admission;
use crate::filter::Filter;
use crate::id::Id;
use crate::index::{Candidates, Corpus, Probe, Token};
use crate::list::walk;
use crate::memory::{
    ContextRequest, Doubt, Explanation, Found, Hit, Pack, Part, Query, RawScores, Target, TermShare, Trace, Verdict,
};
use crate::rank::{Bounds, Constants, Ranked, Wanted, parts, rank};
use crate::record::{MEMORY, Record};
use crate::text::{fold, names_folded, passages};
use crate::types::{Error, Memory, Relation};
use crate::view::Eyes;

/// Finds memories; see `memory.search` of the contract.
pub fn search(host: &impl Host, queries: &[Query]) -> Result<Vec<Result<Found>>> {
    if queries.len() > check::QUERIES {
        return Err(too_much(
            "queries",
            format!("{} queries, at most {} are taken in one call", queries.len(), check::QUERIES),
        ));
    }
    let mut answers: Vec<Option<Result<Found>>> = vec![];
    let mut asked = vec![];
    for (n, query) in queries.iter().enumerate() {
        match Asked::new(host, query, &format!("queries[{n}]")) {
            Ok(one) => {
                asked.push((n, one));
                answers.push(None);
            }
            Err(error) => answers.push(Some(Err(error))),
        }
    }
    if !asked.is_empty() {
        let model = match host.info() {
            Ok(_) => true,
            Err(Error::Unavailable(_)) => false,
            Err(error) => return Err(error),
        };
        understand(host, model, &mut asked)?;
        let found = probe(host, model, &asked)?;
        let snapshot = host.snapshot()?;
        for ((n, one), candidates) in asked.into_iter().zip(found) {
            answers[n] = Some(Ok(answer(&snapshot, model, &one, candidates)?));
        }
    }
    Ok(answers.into_iter().map(|answer| answer.expect("every query was refused or asked")).collect())
}

/// Says why a memory is not where one looked for it; see `memory.why-not` of the contract.
pub fn why_not(_query: &Query, _targets: &[Target]) -> Result<Vec<Verdict>> {
    Err(Error::Unavailable("why-not comes later; `explain` says why a hit is there".to_owned()))
}

/// Composes what a prompt should carry; see `memory.context` of the contract.
pub fn context(_requests: &[ContextRequest]) -> Result<Vec<Result<Pack>>> {
    Err(Error::Unavailable("context comes later; `search` finds what it would be made of".to_owned()))
}

/// A query on its way.
struct Asked<'q> {
    query: &'q Query,
    eyes: Eyes,
    filter: Option<Filter>,
    wanted: Wanted,
    /// What is compared by meaning: the text without ubiquitous names.
    dense_text: String,
    unknown_language: bool,
}

impl<'q> Asked<'q> {
    /// Everything that can be refused is refused here.
    fn new(host: &impl Host, query: &'q Query, place: &str) -> Result<Asked<'q>> {
        let text = format!("{place}.text");
        if query.text.len() > check::QUERY {
            return Err(too_much(
                text,
                format!("the query has {} bytes, at most {} are taken", query.text.len(), check::QUERY),
            ));
        }
        if query.text.trim().is_empty() {
            return Err(invalid(text, "the query is blank"));
        }
        check::scope(&format!("{place}.scope"), &query.scope)?;
        check::limit(&format!("{place}.limit"), query.limit)?;
        let filter = query.filter.as_ref().map(|text| Filter::parse(text, &format!("{place}.filter"))).transpose()?;
        let eyes = Eyes::open(host, &query.view, &format!("{place}.view"))?;
        if eyes.known_at.is_some() {
            return Err(Error::Unavailable(
                "this store keeps no index entries of earlier versions; get, list and history take known-at".to_owned(),
            ));
        }
        if eyes.including.contains(crate::memory::Including::DELETED) {
            return Err(Error::Unavailable("deleted memories are not in the index; list shows them".to_owned()));
        }
        if let Some(minimum) = query.minimum {
            if minimum.dense.is_some_and(|least| !(-1.0..=1.0).contains(&least)) {
                return Err(invalid(format!("{place}.minimum.dense"), "a cosine lies within -1 and 1"));
            }
            if minimum.lexical.is_some_and(|least| !(least > 0.0 && least.is_finite())) {
                return Err(invalid(format!("{place}.minimum.lexical"), "a smallest BM25 score lies above 0"));
            }
        }
        if query.diversity.is_some_and(|d| d.per_run > 0 || d.spread != 0.0) {
            return Err(Error::Unavailable("diversity comes later".to_owned()));
        }
        if query.rerank {
            return Err(Error::Unavailable("there is no reranker".to_owned()));
        }
        let constants = Constants::new(query.tuning.as_ref(), query.limit, &format!("{place}.tuning"))?;
        let dates = dates::named(&query.text, eyes.now);
        let wanted = Wanted { constants, dense: constants.dense, actor: None, dates, now: eyes.now };
        Ok(Asked { query, eyes, filter, wanted, dense_text: query.text.clone(), unknown_language: false })
    }
}

/// Texts that one call of `index.analyze` takes.
const ANALYSED: usize = 4_096;

/// Finds out what the queries name, from the words of their scopes, and whether the model knows their language.
fn understand(host: &impl Host, model: bool, asked: &mut [(usize, Asked<'_>)]) -> Result<()> {
    let words: Vec<Vec<String>> =
        asked.iter().map(|(_, one)| one.query.text.split_whitespace().map(str::to_owned).collect()).collect();
    let mut analysed = vec![];
    for texts in words.concat().chunks(ANALYSED) {
        analysed.extend(host.analyze(texts)?);
    }
    let mut analysed = &analysed[..];
    for ((_, one), words) in asked.iter_mut().zip(&words) {
        let (tokens, rest) = analysed.split_at(words.len());
        analysed = rest;
        let mut terms: Vec<String> = tokens.iter().flatten().map(|token| token.term.clone()).collect();
        terms.sort_unstable();
        terms.dedup();
        let corpus = host.statistics(&one.query.scope, &terms)?;
        let folded = fold(&one.query.text);
        let mut named = corpus.actors.iter().filter(|actor| names_folded(&folded, actor));
        one.wanted.actor = match (named.next(), named.next()) {
            (Some(actor), None) => Some(fold(actor)),
            _ => None,
        };
        one.dense_text = masked(&one.wanted.constants, words, tokens, &terms, &corpus);
    }
    if model {
        let texts: Vec<String> = asked.iter().map(|(_, one)| one.query.text.clone()).collect();
        for ((_, one), count) in asked.iter_mut().zip(host.measure(&texts, Purpose::Query)?) {
            // Without the model's own two marks.
            #[expect(clippy::cast_precision_loss, reason = "a query has a few thousand tokens")]
            let unknown = count.unknown as f32 / count.tokens.saturating_sub(2).max(1) as f32;
            one.unknown_language = unknown > 0.5;
            one.wanted.dense = if one.unknown_language { 0.0 } else { one.wanted.dense * (1.0 - unknown) };
        }
    } else {
        for (_, one) in asked {
            one.wanted.dense = 0.0;
        }
    }
    Ok(())
}

/// In long texts a frequent name is the topic, not a label.
const SHORT_TEXTS: f32 = 100.0;

/// The query without ubiquitous names: those would pull everything that carries them nearer. A scope that knows its
/// actors has only their names left out, another one capitalised words.
fn masked(constants: &Constants, words: &[String], tokens: &[Vec<Token>], terms: &[String], corpus: &Corpus) -> String {
    let whole = || words.join(" ");
    if corpus.mean_words > SHORT_TEXTS {
        return whole();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of memories")]
    let frequent = (constants.mask_share * corpus.entries as f32).max(constants.mask_floor as f32);
    let ubiquitous = |token: &Token| {
        let place = terms.binary_search(&token.term);
        #[expect(clippy::cast_precision_loss, reason = "counts of memories")]
        place.ok().and_then(|place| corpus.terms.get(place)).is_some_and(|count| count.entries as f32 >= frequent)
    };
    let actors: Vec<String> = corpus.actors.iter().flat_map(|actor| actor.split_whitespace().map(fold)).collect();
    let is_name = |word: &str, tokens: &[Token]| {
        if actors.is_empty() {
            let start = word.trim_start_matches(['"', '\'', '(', '“', '‘']);
            start.starts_with(char::is_uppercase)
        } else {
            tokens.iter().all(|token| actors.contains(&fold(&token.word)))
        }
    };
    let dropped = |word: &str, tokens: &[Token]| {
        !tokens.is_empty()
            && !tokens.iter().all(|token| token.stop_word)
            && is_name(word, tokens)
            && tokens.iter().all(ubiquitous)
    };
    let kept: Vec<&str> = words
        .iter()
        .zip(tokens)
        .filter(|(word, tokens)| !dropped(word, tokens))
        .map(|(word, _)| word.as_str())
        .collect();
    if kept.is_empty() { whole() } else { kept.join(" ") }
}

/// Asks the index, all queries at once.
fn probe<H: Host>(host: &H, model: bool, asked: &[(usize, Asked<'_>)]) -> Result<Vec<Candidates>> {
    let mut texts = vec![];
    let mut probes = vec![];
    for (_, one) in asked {
        let vector = (model && one.wanted.dense > 0.0).then(|| {
            texts.push(one.dense_text.clone());
            u32::try_from(texts.len() - 1).expect("a hundred queries at most")
        });
        let mut conditions = admission(&one.eyes);
        let among = match one.filter.as_ref().map(Filter::conditions) {
            None => None,
            Some(Some(exact)) => {
                conditions.extend(exact);
                None
            }
            // The index cannot say it exactly: the evaluator lists what it admits.
            Some(None) => Some(listed(host, one)?),
        };
        probes.push(Probe {
            vector,
            words: one.query.text.clone(),
            scope: one.query.scope.clone(),
            conditions,
            among,
            limit: one.wanted.constants.candidates,
            neighbours: false,
            k1: one.wanted.constants.k1,
            b: one.wanted.constants.b,
            effort: None,
            terms: one.query.explain,
        });
    }
    let vectors = if texts.is_empty() { None } else { Some(host.embed(&texts, Purpose::Query)?) };
    host.search(&probes, vectors.as_ref())
}

fn listed(host: &impl Host, one: &Asked<'_>) -> Result<Vec<String>> {
    let snapshot = host.snapshot()?;
    let mut keys = vec![];
    walk(&snapshot, &one.query.scope, false, None, |record| {
        let admitted =
            one.eyes.shows(one.eyes.state(&record)) && one.filter.as_ref().is_none_or(|filter| filter.admits(&record));
        if admitted {
            keys.push(record.id.text());
        }
        Ok(true)
    })?;
    Ok(keys)
}

/// Ranks the candidates and reads the best of them; what is gone meanwhile drops out.
fn answer(snapshot: &impl Snapshot, model: bool, one: &Asked<'_>, found: Candidates) -> Result<Found> {
    let query = one.query;
    let (admitted, pending, exact) = (found.admitted, found.pending, found.exact);
    let candidates = u32::try_from(found.entries.len()).unwrap_or(u32::MAX);
    let bounds = Bounds { dense: found.dense, lexical: found.lexical };
    let mut ranked = rank(&one.wanted, &bounds, found.entries).into_iter().filter(|ranked| reaches(query, ranked));
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
                let explanation = query.explain.then(|| Explanation {
                    parts: parts(&one.wanted, &bounds, &ranked.candidate),
                    terms: term_shares(&ranked.candidate.terms),
                });
                if let Some(there) = hits.iter_mut().find(|there| says_the_same(&there.memory, &memory)) {
                    there.folded.push(memory.id);
                } else {
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
    Ok(Found {
        hits,
        doubts: if one.unknown_language { vec![Doubt::UnknownLanguage] } else { vec![] },
        pending: if model { pending } else { admitted },
        trace,
    })
}

/// Whether one of two memories is linked to the other as its duplicate.
fn says_the_same(a: &Memory, b: &Memory) -> bool {
    let says = |from: &Memory, to: &Memory| {
        from.content.links.iter().any(|link| link.relation == Relation::Duplicates && link.target == to.id)
    };
    says(a, b) || says(b, a)
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

/// Whether a candidate reaches one of the smallest raw scores that were given.
fn reaches(query: &Query, ranked: &Ranked) -> bool {
    let Some(minimum) = query.minimum else { return true };
    let dense = minimum.dense.map(|least| ranked.candidate.dense.is_some_and(|dense| dense >= least));
    let lexical = minimum.lexical.map(|least| ranked.candidate.lexical >= least);
    match (dense, lexical) {
        (None, None) => true,
        (dense, lexical) => dense == Some(true) || lexical == Some(true),
    }
}

fn term_shares(terms: &[(String, f32)]) -> Vec<TermShare> {
    terms.iter().map(|(term, share)| TermShare { term: term.clone(), share: *share }).collect()
}

fn hit(ranked: Ranked, memory: Memory, explanation: Option<Explanation>) -> Hit {
    let Ranked { candidate, score } = ranked;
    let cut = passages(&memory.content.text);
    let passage = match cut.get(candidate.passage as usize) {
        Some(bytes) if cut.len() > 1 => Some(memory.content.text[bytes.clone()].to_owned()),
        _ => None,
    };
    let raw = RawScores { dense: candidate.dense, lexical: candidate.lexical };
    Hit { memory, score, raw, passage, folded: vec![], explanation }
}
