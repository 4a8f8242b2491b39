//! Every capability in memory, small and exact: for tests of the logic, and as an oracle for real hosts.
//!
//! Vectors are there at once, unless the model is out of order. Of token vectors, which no step asks for yet, nothing is
//! told.
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "what lies in memory is little")]
use crate::Result;
use crate::capability::{Embedding, Index, Logging, Snapshot, Storage, System};
use crate::embedding::{ModelInfo, Purpose, TokenCount};
use crate::index::{Candidates, Corpus, Entry, Probe, Progress, TermCount, Token};
use crate::logging::Level;
use crate::storage::{Applied, ApplyOptions, Operation, Pair, Pairs, Pending, Precondition, Range, Usage};
use crate::system::Stamp;
use crate::types::{Content, Error, Kind, Scope, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

mod finding;

pub use finding::passes;

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

    fn similarity(&self, vectors: &Vec<Embedded>, place: u32, others: &[u32]) -> Result<Vec<f32>> {
        let vector = |place: u32| vectors[place as usize].vector.as_ref().ok_or_else(out_of_order);
        others.iter().map(|other| Ok(dot(vector(place)?, vector(*other)?))).collect()
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

    fn load(&self, keys: &[String]) -> Result<(Vec<Embedded>, Vec<u32>)> {
        let state = self.state.borrow();
        let stored = |key: &String| state.entries.get(key).map_or(&[][..], |stored| &stored.vectors[..]);
        let there = |key: &String| -> Vec<Embedded> {
            stored(key).iter().flatten().filter(|embedded| embedded.vector.is_some()).cloned().collect()
        };
        let each: Vec<Vec<Embedded>> = keys.iter().map(there).collect();
        let counts = each.iter().map(|vectors| u32::try_from(vectors.len()).expect("small")).collect();
        Ok((each.concat(), counts))
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
    pub(super) fn counts(&self, passage: &crate::index::Passage) -> HashMap<String, f32> {
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
