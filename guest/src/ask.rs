//! A query on its way to the index: what is refused, what it names, and what is asked of both branches.
use crate::Result;
use crate::capability::Host;
use crate::check::{self, invalid, too_much};
use crate::dates;
use crate::embedding::Purpose;
use crate::entry::{ASKS, admission};
use crate::filter::Filter;
use crate::index::{Candidates, Commonness, Corpus, Probe, Token};
use crate::list::walk;
use crate::memory::Query;
use crate::rank::Wanted;
use crate::scope::{self, EVERYTHING};
use crate::text::{fold, names_folded};
use crate::tuning::Constants;
use crate::types::Error;
use crate::view::Eyes;

/// Whether there is a model; without one the words have to do.
pub(crate) fn has_model(host: &impl Host) -> Result<bool> {
    match host.info() {
        Ok(_) => Ok(true),
        Err(Error::Unavailable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A query on its way.
pub(crate) struct Asked<'q> {
    pub(crate) query: &'q Query,
    pub(crate) eyes: Eyes,
    pub(crate) filter: Option<Filter>,
    pub(crate) wanted: Wanted,
    /// What is compared by meaning: the text without ubiquitous names.
    pub(crate) dense_text: String,
    pub(crate) unknown_language: bool,
    /// How common its words are in its scope; none: it has the whole tenant.
    pub(crate) common: Option<Commonness>,
    /// What BM25 would give for having each of the query's words once, in a text of mean length.
    pub(crate) weight_of_words: f32,
    /// Only these are scored, whatever the filter says.
    pub(crate) among: Option<Vec<String>>,
}

impl<'q> Asked<'q> {
    /// Everything that can be refused is refused here.
    pub(crate) fn new(host: &impl Host, model: bool, query: &'q Query, place: &str) -> Result<Asked<'q>> {
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
        if query.diversity.is_some_and(|diversity| !(0.0..=1.0).contains(&diversity.spread)) {
            return Err(invalid(format!("{place}.diversity.spread"), "a share lies within 0 and 1"));
        }
        if query.rerank {
            return Err(Error::Unavailable("there is no reranker".to_owned()));
        }
        let constants = Constants::new(query.tuning.as_ref(), query.limit, &format!("{place}.tuning"), model)?;
        let dates = dates::named(&query.text, eyes.now);
        let wanted = Wanted { constants, dense: constants.dense, actor: None, dates, now: eyes.now };
        Ok(Asked {
            query,
            eyes,
            filter,
            wanted,
            dense_text: query.text.clone(),
            unknown_language: false,
            common: None,
            weight_of_words: 0.0,
            among: None,
        })
    }
}

/// Texts that one call of `index.analyze` takes.
const ANALYSED: usize = 4_096;

/// Finds out what the queries name, from the words of their scopes, and whether the model knows their language.
pub(crate) fn understand(host: &impl Host, model: bool, asked: &mut [Asked<'_>]) -> Result<()> {
    let words: Vec<Vec<String>> =
        asked.iter().map(|one| one.query.text.split_whitespace().map(str::to_owned).collect()).collect();
    let mut analysed = vec![];
    for texts in words.concat().chunks(ANALYSED) {
        analysed.extend(host.analyze(texts)?);
    }
    let mut analysed = &analysed[..];
    let mut n_words = vec![];
    for (one, words) in asked.iter_mut().zip(&words) {
        let (tokens, rest) = analysed.split_at(words.len());
        analysed = rest;
        n_words.push(tokens.iter().map(Vec::len).sum());
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
        one.weight_of_words = if scope::is_empty(&one.query.scope) {
            weight_of_words(tokens, &terms, &[&corpus])
        } else {
            let counts = terms.iter().cloned().zip(corpus.terms.iter().map(|count| count.entries));
            one.common = Some(Commonness { entries: corpus.entries, terms: counts.collect() });
            weight_of_words(tokens, &terms, &[&corpus, &host.statistics(&EVERYTHING, &terms)?])
        };
        one.dense_text = masked(&one.wanted.constants, words, tokens, &terms, &corpus);
    }
    if model {
        let speaks_one = host.info()?.languages.len() == 1;
        let texts: Vec<String> = asked.iter().map(|one| one.query.text.clone()).collect();
        // As documents: no words of the model's own stand before them.
        let counts = host.measure(&texts, Purpose::Document)?;
        for ((one, count), n_words) in asked.iter_mut().zip(counts).zip(n_words) {
            // Without the model's own two marks.
            let pieces = count.tokens.saturating_sub(2);
            #[expect(clippy::cast_precision_loss, reason = "a query has a few thousand tokens")]
            let unknown = count.unknown as f32 / pieces.max(1) as f32;
            let familiar = if speaks_one { familiar(pieces, n_words) } else { 1.0 };
            // What half of is unknown says nothing any more.
            let known = (1.0 - 2.0 * unknown).max(0.0) * familiar;
            one.unknown_language = known <= 0.0;
            one.wanted.dense *= known;
        }
    } else {
        for one in asked {
            one.wanted.dense = 0.0;
        }
    }
    Ok(())
}

/// Pieces a word, two added to both, up to which a query speaks the model's one language, and from which on it does not.
/// Of English questions and sentences 95 in 100 have at most 1.4; of German and Spanish ones half have more than 1.7, of
/// those in other scripts nearly all more than 2.
const PIECES: (f32, f32) = (1.4, 1.8);

/// How familiar the words of a query are to a model of one language: what it has not learnt falls into many pieces.
#[expect(clippy::cast_precision_loss, reason = "a query has a few thousand tokens")]
fn familiar(pieces: u32, words: usize) -> f32 {
    let (all, none) = PIECES;
    let of_a_word = (pieces as f32 + 2.0) / (words as f32 + 2.0);
    ((none - of_a_word) / (none - all)).clamp(0.0, 1.0)
}

/// As in the index: a word weighs by where it is most common.
#[expect(clippy::cast_precision_loss, reason = "counts of memories")]
fn weight_of_words(tokens: &[Vec<Token>], terms: &[String], corpora: &[&Corpus]) -> f32 {
    let mut words: Vec<&String> = tokens.iter().flatten().filter(|t| !t.stop_word).map(|t| &t.term).collect();
    words.sort_unstable();
    words.dedup();
    let within = |corpus: &Corpus, term: &String| {
        let count = terms.binary_search(term).ok().and_then(|place| corpus.terms.get(place)).map_or(0, |c| c.entries);
        (1.0 + (corpus.entries as f32 - count as f32 + 0.5).max(0.0) / (count as f32 + 0.5)).ln()
    };
    let rarity = |term: &String| corpora.iter().map(|corpus| within(corpus, term)).reduce(f32::min);
    words.into_iter().filter_map(rarity).sum()
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
pub(crate) fn probe<H: Host>(host: &H, model: bool, asked: &[Asked<'_>]) -> Result<Vec<Candidates>> {
    let mut texts = vec![];
    let mut probes = vec![];
    for one in asked {
        let vector = (model && one.wanted.dense > 0.0).then(|| {
            texts.push(one.dense_text.clone());
            u32::try_from(texts.len() - 1).expect("a hundred queries at most")
        });
        let mut conditions = admission(&one.eyes);
        let among = match (&one.among, one.filter.as_ref().map(Filter::conditions)) {
            (Some(keys), _) => Some(keys.clone()),
            (None, None) => None,
            (None, Some(Some(exact))) => {
                conditions.extend(exact);
                None
            }
            // The index cannot say it exactly: the evaluator lists what it admits.
            (None, Some(None)) => Some(listed(host, one)?),
        };
        let asked_for = one.among.as_ref().map_or(0, Vec::len);
        let limit = one.wanted.constants.candidates.max(u32::try_from(asked_for).unwrap_or(u32::MAX));
        let runs = one.wanted.constants.uses_runs() || one.query.diversity.is_some_and(|d| d.per_run > 0);
        probes.push(Probe {
            vector,
            words: one.query.text.clone(),
            common: one.common.clone(),
            scope: one.query.scope.clone(),
            conditions,
            among,
            limit,
            neighbours: runs,
            k1: one.wanted.constants.k1,
            b: one.wanted.constants.b,
            effort: None,
            terms: one.query.explain,
            attributes: if runs || one.wanted.constants.question > 0.0 { vec![ASKS.to_owned()] } else { vec![] },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_into_many_pieces_is_not_familiar() {
        // "dog?", nine English words with 13 pieces, German, Russian.
        let [dog, english, german, russian] =
            [(2, 1), (13, 9), (13, 7), (28, 6)].map(|(pieces, words)| familiar(pieces, words));
        assert!(dog > 0.999 && english > 0.999, "{dog} {english}");
        assert!(german > 0.0 && german < 0.5 && russian <= 0.0, "{german} {russian}");
    }
}
