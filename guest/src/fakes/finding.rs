//! The index of the fakes: every entry is looked at, whatever it costs.
use super::{Fake, Stored, dot};
use crate::index::{Candidate, Candidates, Condition, Extremes, Neighbour, Probe, Test, Turn, Value};
use crate::text::fold;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Fake {
    #[expect(clippy::too_many_lines, reason = "the whole search as the contract tells it, from top to bottom")]
    pub(super) fn one(&self, probe: &Probe, query: Option<&[f32]>) -> Candidates {
        let state = self.state.borrow();
        // BM25 over all passages of the tenant (retrieval.md section 3).
        let passages: Vec<(&String, usize, HashMap<String, f32>)> = state
            .entries
            .iter()
            .flat_map(|(key, stored)| {
                let all = stored.entry.passages.iter().flatten().enumerate();
                all.map(move |(n, passage)| (key, n, self.counts(passage)))
            })
            .collect();
        let with_words: Vec<_> = passages.iter().filter(|(_, _, counts)| !counts.is_empty()).collect();
        let n = with_words.len() as f32;
        let average = with_words.iter().map(|(_, _, c)| c.values().sum::<f32>()).sum::<f32>() / n.max(1.0);
        let mut asked: Vec<(String, f32)> = vec![];
        for token in (self.analyze)(&probe.words).into_iter().filter(|token| !token.stop_word) {
            match asked.iter_mut().find(|(term, _)| *term == token.term) {
                Some((_, times)) => *times += 1.0,
                None => asked.push((token.term, 1.0)),
            }
        }
        // A word that nobody wrote stands for the nearest one, at half its weight.
        for (term, times) in &mut asked {
            let rows = |term: &str| with_words.iter().filter(|(_, _, counts)| counts.contains_key(term)).count();
            if rows(term) == 0 {
                let known: BTreeSet<&String> = with_words.iter().flat_map(|(_, _, counts)| counts.keys()).collect();
                let near = known.into_iter().filter_map(|word| Some((edits(term, word)?, Reverse(rows(word)), word)));
                if let Some((_, _, word)) = near.min() {
                    (*term, *times) = (word.clone(), *times * 0.5);
                }
            }
        }
        let idf: BTreeMap<&String, f32> = asked
            .iter()
            .map(|(term, _)| {
                let df = with_words.iter().filter(|(_, _, c)| c.contains_key(term)).count() as f32;
                let rarity = |n: f32, df: f32| (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
                let counted =
                    probe.common.iter().flat_map(|c| c.terms.iter().map(move |(term, having)| (c, term, *having)));
                let mut there = counted.filter(|(_, counted, _)| *counted == term);
                let here = there.next().map(|(c, _, having)| rarity(c.entries as f32, having.min(c.entries) as f32));
                (term, rarity(n, df).min(here.unwrap_or(f32::INFINITY)))
            })
            .collect();
        let bm25 = |counts: &HashMap<String, f32>| -> Vec<(String, f32)> {
            let length: f32 = counts.values().sum();
            asked
                .iter()
                .filter_map(|(term, times)| {
                    let tf = counts.get(term)?;
                    let norm = probe.k1 * (1.0 - probe.b + probe.b * length / average);
                    Some((term.clone(), times * idf[term] * tf * (probe.k1 + 1.0) / (tf + norm)))
                })
                .collect()
        };
        let (mut admitted, mut pending) = (0, 0);
        let mut entries: Vec<(u64, Candidate)> = vec![];
        let mut actors: Vec<String> = state.entries.values().filter_map(|stored| stored.entry.actor.clone()).collect();
        actors.sort_unstable();
        actors.dedup();
        for (key, Stored { order, entry, vectors }) in &state.entries {
            let attributes: Vec<(String, Value)> =
                entry.attributes.iter().map(|a| (a.name.clone(), a.value.clone())).collect();
            let inside = crate::scope::admits(&probe.scope, &entry.scope)
                && passes(&probe.conditions, &attributes)
                && probe.among.as_ref().is_none_or(|keys| keys.contains(key));
            if !inside {
                continue;
            }
            admitted += 1;
            pending += u32::from(vectors.iter().flatten().any(|embedded| embedded.vector.is_none()));
            let mut best: Option<(f32, u32)> = None;
            for (place, embedded) in vectors.iter().enumerate() {
                if let (Some(query), Some(vector)) = (query, embedded.as_ref().and_then(|e| e.vector.as_ref())) {
                    let cosine = dot(query, vector);
                    if best.is_none_or(|(score, _)| cosine > score) {
                        best = Some((cosine, place as u32));
                    }
                }
            }
            let mut lexical: (f32, u32, Vec<(String, f32)>) = (0.0, 0, vec![]);
            for (_, place, counts) in passages.iter().filter(|(of, _, _)| *of == key) {
                let terms = bm25(counts);
                let sum: f32 = terms.iter().map(|(_, share)| share).sum();
                if sum > lexical.0 {
                    lexical = (sum, *place as u32, terms);
                }
            }
            let passage = best.map_or(lexical.1, |(_, place)| place);
            let candidate = Candidate {
                key: key.clone(),
                dense: best.map(|(score, _)| score),
                sketch: None,
                lexical: lexical.0,
                passage,
                at: entry.at,
                actor: entry.actor.as_ref().and_then(|actor| Some(actors.binary_search(actor).ok()? as u32)),
                turn: None,
                terms: if probe.terms { lexical.2 } else { vec![] },
                attributes: entry.attributes.iter().filter(|a| probe.attributes.contains(&a.name)).cloned().collect(),
            };
            entries.push((*order, candidate));
        }
        let spread = |scores: Vec<f32>| {
            let min = scores.iter().copied().reduce(f32::min)?;
            Some(Extremes { min: Some(min), max: scores.iter().copied().fold(min, f32::max) })
        };
        let dense = spread(entries.iter().filter_map(|(_, c)| c.dense).collect());
        let lexical = if asked.is_empty() { None } else { spread(entries.iter().map(|(_, c)| c.lexical).collect()) };
        let mut kept = std::collections::BTreeSet::new();
        let mut take = |score: &dyn Fn(&Candidate) -> Option<f32>| {
            let mut order: Vec<(f32, u64, &str)> =
                entries.iter().filter_map(|(order, c)| Some((score(c)?, *order, &c.key[..]))).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            kept.extend(order.into_iter().take(probe.limit as usize).map(|(_, _, key)| key.to_owned()));
        };
        take(&|candidate| candidate.dense);
        take(&|candidate| (candidate.lexical > 0.0).then_some(candidate.lexical));
        if probe.neighbours {
            let admitted: Vec<String> = entries.iter().map(|(_, c)| c.key.clone()).collect();
            let more: Vec<String> = kept.iter().flat_map(|key| beside(&state.entries, key)).flatten().collect();
            kept.extend(more.into_iter().filter(|key| admitted.contains(key)));
            entries.retain(|(_, c)| kept.contains(&c.key));
            let told: Vec<String> = entries.iter().map(|(_, c)| c.key.clone()).collect();
            for (_, candidate) in &mut entries {
                candidate.turn = turn(&state.entries, &admitted, &told, candidate, query);
            }
        }
        let entries = entries.into_iter().map(|(_, c)| c).filter(|c| kept.contains(&c.key)).collect();
        Candidates { entries, actors, dense, sketch: None, lexical, admitted, pending, exact: true }
    }
}

/// How many edits (put in, left out, changed, swapped) lead from a misspelt word to one that is known, if few enough.
fn edits(misspelt: &str, known: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (misspelt.chars().collect(), known.chars().collect());
    if a.len() < 5 || !a.iter().all(|c| c.is_alphabetic()) || a.first() != b.first() {
        return None;
    }
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let least = changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if swapped { least.min(table[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    Some(table[a.len()][b.len()]).filter(|edits| *edits <= if a.len() < 9 { 1 } else { 2 })
}

/// The entries of an entry's run in order, and its place among them; none outside a run.
fn run<'e>(entries: &'e BTreeMap<String, Stored>, own: &Stored) -> Option<(Vec<&'e Stored>, usize)> {
    own.entry.scope.run.as_ref()?;
    let mut members: Vec<&Stored> = entries.values().filter(|stored| stored.entry.scope == own.entry.scope).collect();
    members.sort_by_key(|stored| (stored.entry.at, stored.order));
    let place = members.iter().position(|stored| stored.entry.key == own.entry.key)?;
    Some((members, place))
}

/// Keys of the entries directly before and after one in its run.
fn beside(entries: &BTreeMap<String, Stored>, key: &str) -> [Option<String>; 2] {
    let Some((members, place)) = run(entries, &entries[key]) else { return [None, None] };
    let key = |place: Option<usize>| Some(members.get(place?)?.entry.key.clone());
    [key(place.checked_sub(1)), key(Some(place + 1))]
}

/// Where a candidate stands in its run, and what is beside it. `told` are the keys of the answer in its order.
fn turn(
    entries: &BTreeMap<String, Stored>,
    admitted: &[String],
    told: &[String],
    candidate: &Candidate,
    query: Option<&[f32]>,
) -> Option<Turn> {
    let own = &entries[&candidate.key];
    let (members, place) = run(entries, own)?;
    let scopes: BTreeSet<String> = entries.values().map(|stored| format!("{:?}", stored.entry.scope)).collect();
    let run = scopes.iter().position(|scope| *scope == format!("{:?}", own.entry.scope))?;
    let beside = |place: Option<usize>| members.get(place?).copied().filter(|s| admitted.contains(&s.entry.key));
    let (before, after) = (beside(place.checked_sub(1)), beside(Some(place + 1)));
    let first = |stored: &Stored| stored.vectors.iter().flatten().find_map(|embedded| embedded.vector.clone());
    let named = own.vectors.get(candidate.passage as usize).and_then(|e| e.as_ref()?.vector.clone());
    let own = named.or_else(|| first(own));
    let cosine = |a: Option<&[f32]>, b: Option<&[f32]>| Some(dot(a?, b?));
    let neighbour = |stored: &Stored| {
        let vector = first(stored);
        Neighbour {
            entry: told.iter().position(|key| *key == stored.entry.key).map(|place| place as u32),
            dense: cosine(vector.as_deref(), query),
            similarity: cosine(vector.as_deref(), own.as_deref()),
        }
    };
    Some(Turn {
        run: u32::try_from(run).expect("small"),
        position: u32::try_from(place).expect("small"),
        previous: before.map(neighbour),
        next: after.map(neighbour),
        across: cosine(before.and_then(first).as_deref(), after.and_then(first).as_deref()),
    })
}

/// Whether attributes pass conditions, as `wit/index.wit` says.
#[must_use]
pub fn passes(conditions: &[Vec<Condition>], attributes: &[(String, Value)]) -> bool {
    conditions.iter().all(|any| any.iter().any(|condition| holds(condition, attributes)))
}

fn holds(condition: &Condition, attributes: &[(String, Value)]) -> bool {
    let values = attributes.iter().filter(|(name, _)| *name == condition.field).map(|(_, value)| value);
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let passes = |value: &Value| match &condition.test {
        Test::AnyOf(values) => values.contains(value),
        Test::Above(bound) => order(value, bound).is_some_and(std::cmp::Ordering::is_gt),
        Test::AtLeast(bound) => order(value, bound).is_some_and(std::cmp::Ordering::is_ge),
        Test::Below(bound) => order(value, bound).is_some_and(std::cmp::Ordering::is_lt),
        Test::AtMost(bound) => order(value, bound).is_some_and(std::cmp::Ordering::is_le),
        Test::Contains(part) => matches!(value, Value::Text(text) if text.contains(part)),
        Test::Icontains(part) => matches!(value, Value::Text(text) if fold(text).contains(&fold(part))),
        Test::Present => true,
    };
    let mut values = values;
    values.any(passes) != condition.negated
}
