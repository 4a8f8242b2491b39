//! Every capability in memory, small and exact: for tests of the logic, and as an oracle for real hosts.
//!
//! Vectors are there at once, unless the model is out of order. Of neighbours and token vectors, which no step asks for
//! yet, nothing is told.
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "what lies in memory is little")]
use crate::Result;
use crate::capability::{Embedding, Index, Logging, Snapshot, Storage, System};
use crate::embedding::{ModelInfo, Purpose, TokenCount};
use crate::index::{
    Candidate, Candidates, Condition, Corpus, Entry, Extremes, Probe, Progress, TermCount, Test, Token, Value,
};
use crate::logging::Level;
use crate::storage::{Applied, ApplyOptions, Operation, Pair, Pairs, Pending, Precondition, Range, Usage};
use crate::system::Stamp;
use crate::text::fold;
use crate::types::{Content, Error, Kind, Scope, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A host in memory. Its clock moves one millisecond at each look.
pub struct Fake {
    state: RefCell<State>,
    /// What the analyzer does; the default splits at what is no letter or digit.
    pub analyze: fn(&str) -> Vec<Token>,
    /// What the model does. None: there is no model.
    pub embed: Option<fn(&str, Purpose) -> Vec<f32>>,
    /// What the model would read of a text.
    pub measure: fn(&str) -> TokenCount,
    /// Whether every embedding fails.
    pub broken_model: std::cell::Cell<bool>,
    /// Called once, before the next commit: another writer.
    pub before_apply: RefCell<Option<Box<dyn FnMut(&Fake)>>>,
}

/// What the model made of a text; no vector: it was out of order.
#[derive(Clone, Debug)]
pub struct Embedded {
    text: String,
    vector: Option<Vec<f32>>,
}

/// An entry of the index.
#[derive(Clone, Debug)]
struct Stored {
    /// Where it stands among entries of equal score.
    order: u64,
    entry: Entry,
    /// One a passage; none: found by words alone.
    vectors: Vec<Option<Embedded>>,
}

type Tables = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

struct State {
    clock: Clock,
    tables: Rc<Tables>,
    entries: BTreeMap<String, Stored>,
    head: u64,
    log: Vec<String>,
}

/// Time, order and chance, the same in every run.
#[derive(Clone, Debug)]
pub struct Clock {
    now: Timestamp,
    stamp: Stamp,
    chance: u64,
}

impl Default for Clock {
    fn default() -> Self {
        // 2024-01-01T00:00:00Z
        Clock { now: 1_704_067_200_000, stamp: Stamp { at: 0, first: 0 }, chance: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Clock {
    /// One millisecond later than at the look before.
    pub fn now(&mut self) -> Timestamp {
        self.now += 1;
        self.now
    }

    /// Moves on.
    pub fn advance(&mut self, by: Timestamp) {
        self.now += by;
    }

    /// See `system.reserve`.
    pub fn reserve(&mut self, count: u32) -> Stamp {
        let at = self.now();
        let first = if at > self.stamp.at { 0 } else { self.stamp.first };
        self.stamp = Stamp { at, first: first + count };
        Stamp { at, first }
    }

    /// Xorshift (Marsaglia 2003): anything but unpredictable.
    pub fn random(&mut self, length: u32) -> Vec<u8> {
        let mut next = || {
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            self.chance.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }
}

impl Default for Fake {
    fn default() -> Self {
        Fake::new()
    }
}

impl Fake {
    /// An empty host with a model that embeds words by their hash.
    #[must_use]
    pub fn new() -> Fake {
        Fake {
            state: RefCell::new(State {
                clock: Clock::default(),
                tables: Rc::default(),
                entries: BTreeMap::new(),
                head: 0,
                log: vec![],
            }),
            analyze: words,
            embed: Some(|text, _| hashed(text)),
            measure: measured,
            broken_model: std::cell::Cell::new(false),
            before_apply: RefCell::new(None),
        }
    }

    /// Moves the clock.
    pub fn advance(&self, ms: Timestamp) {
        self.state.borrow_mut().clock.advance(ms);
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.state.borrow().head
    }

    /// The keys of all index entries.
    pub fn entry_keys(&self) -> Vec<String> {
        self.state.borrow().entries.keys().cloned().collect()
    }

    /// Every byte of every table and entry, for proofs that something is gone.
    pub fn everything(&self) -> Vec<u8> {
        let state = self.state.borrow();
        let tables = state.tables.values().flatten().flat_map(|(key, value)| [&key[..], value].concat());
        tables.chain(format!("{:?}", state.entries).into_bytes()).collect()
    }

    /// What was logged.
    pub fn log_lines(&self) -> Vec<String> {
        self.state.borrow().log.clone()
    }
}

impl System for Fake {
    fn now(&self) -> Timestamp {
        self.state.borrow_mut().clock.now()
    }
    fn reserve(&self, count: u32) -> Stamp {
        self.state.borrow_mut().clock.reserve(count)
    }
    fn random(&self, length: u32) -> Vec<u8> {
        self.state.borrow_mut().clock.random(length)
    }
}

impl Logging for Fake {
    fn log(&self, level: Level, target: &str, message: &str) {
        self.state.borrow_mut().log.push(format!("{level:?} {target}: {message}"));
    }
}

impl Embedding for Fake {
    type Vectors = Vec<Embedded>;

    fn info(&self) -> Result<ModelInfo> {
        self.embed.ok_or_else(no_model)?;
        Ok(ModelInfo {
            name: "hash".into(),
            fingerprint: "hash-64-256".into(),
            dimensions: 64,
            max_tokens: 256,
            languages: vec![],
            token_vectors: false,
        })
    }

    fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Embedded>> {
        let embed = self.embed.ok_or_else(no_model)?;
        let broken = self.broken_model.get();
        let one = |text: &String| Embedded { text: text.clone(), vector: (!broken).then(|| embed(text, purpose)) };
        Ok(texts.iter().map(one).collect())
    }

    fn measure(&self, texts: &[String], _: Purpose) -> Result<Vec<TokenCount>> {
        self.embed.ok_or_else(no_model)?;
        Ok(texts.iter().map(|text| (self.measure)(text)).collect())
    }
}

fn no_model() -> Error {
    Error::Unavailable("this store has no model".into())
}

fn out_of_order() -> Error {
    Error::Unavailable("cannot run the model: it is out of order".into())
}

impl Index for Fake {
    fn analyze(&self, texts: &[String]) -> Result<Vec<Vec<Token>>> {
        Ok(texts.iter().map(|text| (self.analyze)(text)).collect())
    }

    fn statistics(&self, scope: &Scope, terms: &[String]) -> Result<Corpus> {
        let state = self.state.borrow();
        let inside: Vec<&Entry> = state
            .entries
            .values()
            .map(|stored| &stored.entry)
            .filter(|entry| crate::scope::admits(scope, &entry.scope))
            .collect();
        let counted: Vec<HashMap<String, f32>> = inside
            .iter()
            .map(|entry| {
                let mut all = HashMap::new();
                for passage in entry.passages.iter().flatten() {
                    for (term, count) in self.counts(passage) {
                        *all.entry(term).or_insert(0.0) += count;
                    }
                }
                all
            })
            .collect();
        let texts =
            || inside.iter().flat_map(|entry| entry.passages.iter().flatten()).flat_map(|passage| &passage.words);
        let words: f32 = texts().map(|text| (self.analyze)(&text.text).len() as f32 * text.weight).sum();
        let mut actors: BTreeMap<&str, usize> = BTreeMap::new();
        for actor in inside.iter().filter_map(|entry| entry.actor.as_deref()) {
            *actors.entry(actor).or_default() += 1;
        }
        let mut actors: Vec<(&str, usize)> = actors.into_iter().collect();
        actors.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let count = |n: usize| u32::try_from(n).expect("small");
        Ok(Corpus {
            entries: count(inside.len()),
            mean_words: words / (inside.len().max(1) as f32),
            actors: actors.into_iter().take(100).map(|(actor, _)| actor.to_owned()).collect(),
            terms: terms
                .iter()
                .map(|term| TermCount {
                    entries: count(counted.iter().filter(|c| c.contains_key(term)).count()),
                    capitalised: None,
                })
                .collect(),
        })
    }

    fn search(&self, probes: &[Probe], vectors: Option<&Vec<Embedded>>) -> Result<Vec<Candidates>> {
        let one = |probe: &Probe| {
            let query = match probe.vector {
                None => None,
                Some(place) => {
                    let embedded = &vectors.expect("a place needs vectors")[place as usize];
                    Some(&embedded.vector.as_ref().ok_or_else(out_of_order)?[..])
                }
            };
            Ok(self.one(probe, query))
        };
        probes.iter().map(one).collect()
    }

    fn progress(&self, wait_ms: u32) -> Result<Progress> {
        if wait_ms > 0 {
            self.pay();
        }
        let state = self.state.borrow();
        let owed = state.entries.values().flat_map(|stored| &stored.vectors).flatten().filter(|e| e.vector.is_none());
        Ok(Progress {
            entries: u32::try_from(state.entries.len()).expect("small"),
            pending: u32::try_from(owed.count()).expect("small"),
            absorbed: state.head,
            bytes: 0,
        })
    }
}

impl Fake {
    /// Terms of a passage with their weights.
    fn counts(&self, passage: &crate::index::Passage) -> HashMap<String, f32> {
        let mut counts = HashMap::new();
        for words in &passage.words {
            for token in (self.analyze)(&words.text) {
                if !token.stop_word {
                    *counts.entry(token.term).or_insert(0.0) += words.weight;
                }
            }
        }
        counts
    }

    /// Makes up for vectors that the model failed to give.
    fn pay(&self) {
        let Some(embed) = self.embed.filter(|_| !self.broken_model.get()) else { return };
        for stored in self.state.borrow_mut().entries.values_mut() {
            for embedded in stored.vectors.iter_mut().flatten() {
                embedded.vector.get_or_insert_with(|| embed(&embedded.text, Purpose::Document));
            }
        }
    }

    fn one(&self, probe: &Probe, query: Option<&[f32]>) -> Candidates {
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
        let idf: BTreeMap<&String, f32> = asked
            .iter()
            .map(|(term, _)| {
                let df = with_words.iter().filter(|(_, _, c)| c.contains_key(term)).count() as f32;
                (term, (1.0 + (n - df + 0.5) / (df + 0.5)).ln())
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
                lexical: lexical.0,
                passage,
                at: entry.at,
                actor: entry.actor.clone(),
                turn: None,
                terms: if probe.terms { lexical.2 } else { vec![] },
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
        let entries = entries.into_iter().map(|(_, c)| c).filter(|c| kept.contains(&c.key)).collect();
        Candidates { entries, dense, lexical, admitted, pending, exact: true }
    }
}

impl Storage for Fake {
    type Snapshot = FakeSnapshot;

    fn snapshot(&self) -> Result<FakeSnapshot> {
        Ok(FakeSnapshot(self.state.borrow().tables.clone()))
    }

    fn apply(
        &self,
        operations: &[Operation],
        preconditions: &[Precondition],
        vectors: Option<&Vec<Embedded>>,
        options: ApplyOptions,
    ) -> Result<Applied> {
        let other_writer = self.before_apply.borrow_mut().take();
        if let Some(mut other_writer) = other_writer {
            other_writer(self);
        }
        if options.pending == Pending::Wait && vectors.into_iter().flatten().any(|embedded| embedded.vector.is_none()) {
            return Err(out_of_order());
        }
        let mut state = self.state.borrow_mut();
        let value = |state: &State, table: &str, key: &[u8]| state.tables.get(table).and_then(|t| t.get(key).cloned());
        let failed: Vec<u32> = (0..)
            .zip(preconditions)
            .filter(|(_, p)| value(&state, &p.table, &p.key) != p.value)
            .map(|(place, _)| place)
            .collect();
        if !failed.is_empty() {
            return Ok(Applied::Conflict(failed));
        }
        state.head += 1;
        let head = state.head;
        for (place, operation) in operations.iter().enumerate() {
            match operation {
                Operation::Put(put) => {
                    let tables = Rc::make_mut(&mut state.tables);
                    tables.entry(put.table.clone()).or_default().insert(put.key.clone(), put.value.clone());
                }
                Operation::Delete(delete) => {
                    let tables = Rc::make_mut(&mut state.tables);
                    tables.entry(delete.table.clone()).or_default().remove(&delete.key);
                }
                Operation::Increment(increment) => {
                    let old = value(&state, &increment.table, &increment.key);
                    let old = old.and_then(|b| b.try_into().ok()).map_or(0, i64::from_le_bytes);
                    let new = old + increment.by;
                    let table = Rc::make_mut(&mut state.tables).entry(increment.table.clone()).or_default();
                    if new == 0 {
                        table.remove(&increment.key);
                    } else {
                        table.insert(increment.key.clone(), new.to_le_bytes().to_vec());
                    }
                }
                Operation::IndexPut(entry) => {
                    let mut entry = entry.clone();
                    let old = state.entries.remove(&entry.key);
                    let order = old.as_ref().map_or((head << 20) + place as u64, |old| old.order);
                    let vectors = match (&entry.passages, old) {
                        (Some(passages), _) => {
                            let vector = |place: u32| vectors.expect("a place needs vectors")[place as usize].clone();
                            passages.iter().map(|passage| passage.vector.map(vector)).collect()
                        }
                        (None, Some(old)) => {
                            entry.passages = old.entry.passages;
                            old.vectors
                        }
                        (None, None) => return Err(Error::NotFound(entry.key)),
                    };
                    state.entries.insert(entry.key.clone(), Stored { order, entry, vectors });
                }
                Operation::IndexDelete(key) => {
                    state.entries.remove(key);
                }
            }
        }
        Ok(Applied::Committed(head))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn usage(&self) -> Result<Usage> {
        Ok(Usage { head: self.state.borrow().head, bytes: 0, oldest_snapshot_ms: 0 })
    }
}

/// See [`Storage::snapshot`].
pub struct FakeSnapshot(Rc<Tables>);

impl Snapshot for FakeSnapshot {
    fn get(&self, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(keys.iter().map(|key| self.0.get(table)?.get(key).cloned()).collect())
    }

    fn scan(&self, table: &str, range: &Range) -> Result<Pairs> {
        let inside = |key: &&Vec<u8>| **key >= range.start && range.end.as_ref().is_none_or(|end| *key < end);
        let mut pairs: Vec<Pair> = self
            .0
            .get(table)
            .into_iter()
            .flatten()
            .filter(|(key, _)| inside(key))
            .map(|(key, value)| Pair { key: key.clone(), value: if range.keys_only { vec![] } else { value.clone() } })
            .collect();
        if range.reverse {
            pairs.reverse();
        }
        let more = pairs.len() > range.limit as usize;
        pairs.truncate(range.limit as usize);
        Ok(Pairs { pairs, more })
    }
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

/// Words in lower case; no stemming, three stop words.
#[must_use]
pub fn words(text: &str) -> Vec<Token> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let word = word.to_lowercase();
            let stop_word = ["the", "a", "is"].contains(&word.as_str());
            Token { term: word.clone(), word, stop_word }
        })
        .collect()
}

/// A word is a token; those that are not ASCII are unknown.
#[must_use]
pub fn measured(text: &str) -> TokenCount {
    let words = words(text);
    let unknown = words.iter().filter(|token| !token.word.is_ascii()).count();
    let count = |n: usize| u32::try_from(n).expect("short");
    TokenCount { tokens: count(words.len()) + 2, unknown: count(unknown) }
}

/// A bag of words: each hashed to one of 64 dimensions.
#[must_use]
pub fn hashed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.001; 64];
    for token in words(text) {
        let hash =
            token.word.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        vector[(hash >> 8) as usize % 64] += 1.0;
    }
    let length = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / length).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A plain fact of a user.
#[must_use]
pub fn content(text: &str, user: &str) -> Content {
    Content {
        text: text.to_owned(),
        scope: Scope { user: Some(user.to_owned()), agent: None, app: None, run: None },
        key: None,
        actor: None,
        role: None,
        kind: Kind::Fact,
        metadata: String::new(),
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: vec![],
    }
}

#[cfg(test)]
pub(crate) fn record(content: Content) -> crate::record::Record {
    use crate::memory::{Change, Reason};
    crate::record::Record {
        id: crate::id::Id([7; 16]),
        version: 1,
        change: Change::Added,
        reason: Reason::Requested,
        similarity: None,
        created_at: 1_704_067_200_000,
        updated_at: 1_704_067_200_000,
        standing: crate::record::Standing::Kept,
        superseded: None,
        content,
    }
}
