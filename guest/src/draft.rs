//! The change that one call makes: what it read, what it will write, and the attempt to commit both at once.
//!
//! Reads see what the draft wrote before. Every key read from the store becomes a precondition of the commit, so another
//! writer in between means a new attempt on a fresh snapshot, never a lost update.
use crate::Result;
use crate::capability::{Host, Snapshot};
use crate::embedding::Purpose;
use crate::entry::{Renew, entry, same_passages};
use crate::id::Id;
use crate::memory::{Change, Effect, Promise, Reason, WriteOptions};
use crate::record::{
    HISTORY, MEMORY, PLACE, Record, Standing, Superseded, behind, core_place, deleted_place, history_key, kept_place,
    key_place, listing_place, same_text_place, successors_place, timed_place, touched_place,
};
use crate::request::{self, Answer};
use crate::scope::{FIELDS, field};
use crate::storage::{
    Applied, ApplyOptions, Delete, Durability, Increment, Operation, Pending, Precondition, Put, Range,
};
use crate::text::normal;
use crate::types::{Error, Scope, Timestamp};
use std::collections::BTreeMap;
use std::rc::Rc;

type Key = (&'static str, Vec<u8>);

/// How often a call is tried before it gives way to other writers.
const ATTEMPTS: u32 = 64;
/// A token has at least one byte: what is shorter than this is read whole by every model we know.
const SHORT: usize = 250;
/// Operations of one commit, by the contract's limits of `storage.apply`.
const OPERATIONS: usize = 16_384;

pub(crate) struct Draft<'h, H: Host> {
    host: &'h H,
    pub(crate) snapshot: H::Snapshot,
    pub(crate) now: Timestamp,
    read: BTreeMap<Key, Option<Vec<u8>>>,
    written: BTreeMap<Key, Option<Vec<u8>>>,
    counts: BTreeMap<Vec<u8>, i64>,
    entries: BTreeMap<Id, EntryChange>,
    scrub: bool,
}

/// What becomes of an index entry; the record is its latest version.
enum EntryChange {
    Put(Box<Record>, Renew),
    Delete,
}

/// Runs `build` on fresh drafts until one of them can be committed, and returns its answer. `items` describes the call for
/// idempotent requests.
pub(crate) fn commit<H: Host, T: Answer>(
    host: &H,
    options: &WriteOptions,
    items: impl Fn() -> String,
    build: impl FnMut(&mut Draft<'_, H>) -> Result<T>,
) -> Result<T> {
    commit_embedded(host, options, items, None, build)
}

/// As [`commit`], for a caller that had texts embedded already; they are used if they are those that will be needed.
pub(crate) fn commit_embedded<H: Host, T: Answer>(
    host: &H,
    options: &WriteOptions,
    items: impl Fn() -> String,
    mut embedded: Option<(Vec<String>, Rc<H::Vectors>)>,
    mut build: impl FnMut(&mut Draft<'_, H>) -> Result<T>,
) -> Result<T> {
    let request = options.idempotency_key.as_ref().map(|key| request::Request::new(key, &items())).transpose()?;
    for _ in 0..ATTEMPTS {
        let mut draft = Draft::open(host)?;
        if let Some(request) = &request
            && let Some(answer) = request.answered(&mut draft)?
        {
            return Ok(answer);
        }
        let answer = build(&mut draft)?;
        if let Some(request) = &request {
            request.remember(&mut draft, &answer);
        }
        if draft.is_empty() {
            // What the answer tells of may have been written a moment ago, and not be durable yet.
            if options.promise != Promise::Relaxed {
                host.sync()?;
            }
            return Ok(answer);
        }
        if draft.apply(options.promise, &mut embedded)? {
            return Ok(answer);
        }
    }
    Err(Error::Conflict(format!("other writers got in the way of {ATTEMPTS} attempts")))
}

impl<'h, H: Host> Draft<'h, H> {
    /// A draft on the present state. Also for verbs that only want to see what they would do.
    pub(crate) fn open(host: &'h H) -> Result<Self> {
        Ok(Draft {
            host,
            snapshot: host.snapshot()?,
            now: host.now(),
            read: BTreeMap::new(),
            written: BTreeMap::new(),
            counts: BTreeMap::new(),
            entries: BTreeMap::new(),
            scrub: false,
        })
    }

    /// Whether one commit holds little more than what is there.
    pub(crate) fn is_full(&self) -> bool {
        let changes = self.written.len() + self.counts.len() + self.entries.len();
        self.read.len().max(changes) > OPERATIONS - 2_000
    }

    /// Forgets everything that was to be written.
    pub(crate) fn discard(&mut self) {
        self.written.clear();
        self.counts.clear();
        self.entries.clear();
        self.scrub = false;
    }

    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.counts.is_empty() && self.entries.is_empty()
    }

    /// Reads many keys of a table in one go, for [`Draft::get`] to find.
    pub(crate) fn prefetch(&mut self, table: &'static str, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        let mut missing: Vec<Vec<u8>> =
            keys.into_iter().filter(|key| !self.read.contains_key(&(table, key.clone()))).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let values = self.snapshot.get(table, &missing)?;
        self.read.extend(missing.into_iter().map(|key| (table, key)).zip(values));
        Ok(())
    }

    /// The value as this draft would leave it.
    pub(crate) fn get(&mut self, table: &'static str, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let key = (table, key);
        if let Some(value) = self.written.get(&key) {
            return Ok(value.clone());
        }
        if !self.read.contains_key(&key) {
            self.prefetch(table, [key.1.clone()])?;
        }
        Ok(self.read[&key].clone())
    }

    pub(crate) fn put(&mut self, table: &'static str, key: Vec<u8>, value: Vec<u8>) {
        self.written.insert((table, key), Some(value));
    }

    fn delete(&mut self, table: &'static str, key: Vec<u8>) {
        self.written.insert((table, key), None);
    }

    fn count(&mut self, key: Vec<u8>, by: i64) {
        *self.counts.entry(key).or_default() += by;
    }

    /// The present version of a memory.
    pub(crate) fn record(&mut self, id: Id) -> Result<Option<Record>> {
        self.get(MEMORY, id.0.to_vec())?.map(|bytes| Record::decode(id, &bytes)).transpose()
    }

    /// The memory that stands under the caller's name.
    pub(crate) fn named(&mut self, scope: &Scope, key: &str) -> Result<Option<Id>> {
        match self.get(PLACE, key_place(scope, key))? {
            Some(bytes) => Ok(Some(one_id(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The memories with the same text in the sense of the contract, oldest first.
    pub(crate) fn same_text(&mut self, record: &Record) -> Result<Vec<Id>> {
        let place = same_text_place(&record.content, &normal(&record.content.text));
        many_ids(self.get(PLACE, place)?.as_deref().unwrap_or_default())
    }

    /// Makes `after` the present version, with everything that follows from it: history, names, listings, counts and the
    /// index entry. Returns what else was changed, because this memory supersedes it or no longer does.
    pub(crate) fn replace(&mut self, before: Option<&Record>, after: &Record) -> Result<Vec<Effect>> {
        self.stage(before, after)?;
        self.settle(before, after)
    }

    /// As [`Draft::replace`], without telling the memories that this one supersedes.
    pub(crate) fn stage(&mut self, before: Option<&Record>, after: &Record) -> Result<()> {
        let id = after.id;
        self.put(MEMORY, id.0.to_vec(), after.encode());
        if let Some(before) = before {
            if after.standing == Standing::Erased {
                self.scrub = true;
                self.forget_history(id)?;
            } else if before.version != after.version {
                self.put(HISTORY, history_key(id, before.version), before.encode());
            }
        }
        self.names(before, after)?;
        self.places(before, after);
        let kept = |record: &Record| record.standing == Standing::Kept;
        if kept(after) {
            let renew = match before {
                Some(before) if kept(before) && same_passages(before, after) => Renew::Facts,
                _ => Renew::All,
            };
            let renew = match self.entries.get(&id) {
                Some(EntryChange::Put(_, Renew::All)) => Renew::All,
                _ => renew,
            };
            self.entries.insert(id, EntryChange::Put(Box::new(after.clone()), renew));
        } else if before.is_some_and(kept) {
            self.entries.insert(id, EntryChange::Delete);
        }
        Ok(())
    }

    fn forget_history(&mut self, id: Id) -> Result<()> {
        let staged: Vec<Key> =
            self.written.keys().filter(|(table, key)| *table == HISTORY && key.starts_with(&id.0)).cloned().collect();
        for (table, key) in staged {
            self.delete(table, key);
        }
        let mut start = id.0.to_vec();
        loop {
            let range = Range { start, end: behind(&id.0), reverse: false, limit: 1_000, keys_only: true };
            let found = self.snapshot.scan(HISTORY, &range)?;
            for pair in &found.pairs {
                self.delete(HISTORY, pair.key.clone());
            }
            match found.pairs.last() {
                Some(last) if found.more => start = [&last.key[..], &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    /// The caller's name, or else the same-text row: what finds a memory before it is written again.
    fn names(&mut self, before: Option<&Record>, after: &Record) -> Result<()> {
        let place = |record: &Record| {
            let content = &record.content;
            (record.standing == Standing::Kept).then(|| match &content.key {
                Some(key) => (key_place(&content.scope, key), true),
                None => (same_text_place(content, &normal(&content.text)), false),
            })
        };
        let (old, new) = (before.and_then(place), place(after));
        if old == new {
            return Ok(());
        }
        for (place, joins) in [(old, false), (new, true)] {
            let Some((key, is_name)) = place else { continue };
            if is_name && joins {
                self.put(PLACE, key, after.id.0.to_vec());
                continue;
            }
            if is_name {
                self.delete(PLACE, key);
                continue;
            }
            self.join(key, after.id, joins)?;
        }
        Ok(())
    }

    /// Listings, counts, times.
    fn places(&mut self, before: Option<&Record>, after: &Record) {
        let scope = &after.content.scope;
        if before.is_none() {
            for f in FIELDS {
                if let Some(value) = field(scope, f) {
                    self.put(PLACE, listing_place(f, value, Some(after.id)), vec![]);
                }
            }
        }
        let was = before.map(|record| record.standing == Standing::Kept);
        let is = after.standing == Standing::Kept;
        if was != Some(is) {
            let place = |kept: bool| if kept { kept_place(scope) } else { deleted_place(scope) };
            self.count(place(is), 1);
            if let Some(was) = was {
                self.count(place(was), -1);
            }
        }
        match (before.is_some_and(Record::timed), after.timed()) {
            (false, true) => self.put(PLACE, timed_place(after.id), vec![]),
            (true, false) => self.delete(PLACE, timed_place(after.id)),
            _ => {}
        }
        match (before.is_some_and(Record::is_core), after.is_core()) {
            (false, true) => self.put(PLACE, core_place(Some(after.id)), vec![]),
            (true, false) => self.delete(PLACE, core_place(Some(after.id))),
            _ => {}
        }
        self.put(PLACE, touched_place(scope), self.now.to_le_bytes().to_vec());
    }

    /// Supersedes what `after` newly supersedes, and frees what it no longer does.
    fn settle(&mut self, before: Option<&Record>, after: &Record) -> Result<Vec<Effect>> {
        let old = before.map(Record::supersedes).unwrap_or_default();
        let new = after.supersedes();
        let mut targets = old.clone();
        targets.extend(new.iter().filter(|id| !old.contains(id)));
        let mut effects = vec![];
        for target in targets {
            if old.contains(&target) != new.contains(&target) {
                self.succeed(target, after.id, new.contains(&target))?;
            }
            let Some(record) = self.record(target)? else { continue };
            let wanted = self.superseded(target)?;
            if record.standing == Standing::Kept && record.superseded != wanted {
                let change = if wanted.is_some() { Change::Superseded } else { Change::Restored };
                let corrects = change == Change::Superseded && after.reason == Reason::Contradiction;
                let why = if corrects { (after.reason, after.similarity) } else { (Reason::Requested, None) };
                effects.push(self.supersede(&record, wanted, change, why)?);
            }
        }
        Ok(effects)
    }

    /// Notes that one memory supersedes another, or no longer does.
    pub(crate) fn succeed(&mut self, target: Id, by: Id, joins: bool) -> Result<()> {
        self.join(successors_place(target), by, joins)
    }

    /// By which memory one is superseded: the one that starts first.
    pub(crate) fn superseded(&mut self, id: Id) -> Result<Option<Superseded>> {
        let mut first: Option<Superseded> = None;
        for by in many_ids(self.get(PLACE, successors_place(id))?.as_deref().unwrap_or_default())? {
            let Some(successor) = self.record(by)? else { continue };
            let next = Superseded { by, from: successor.starts() };
            let earlier = first.is_none_or(|first| (next.from, next.by) < (first.from, first.by));
            if successor.supersedes().contains(&id) && earlier {
                first = Some(next);
            }
        }
        Ok(first)
    }

    /// Puts an id into a row of several, or takes it out.
    fn join(&mut self, key: Vec<u8>, id: Id, joins: bool) -> Result<()> {
        let mut ids = many_ids(self.get(PLACE, key.clone())?.as_deref().unwrap_or_default())?;
        ids.retain(|there| *there != id);
        if joins {
            ids.push(id);
        }
        if ids.is_empty() {
            self.delete(PLACE, key);
        } else {
            self.put(PLACE, key, ids.iter().flat_map(|id| id.0).collect());
        }
        Ok(())
    }

    fn supersede(
        &mut self,
        target: &Record,
        superseded: Option<Superseded>,
        change: Change,
        (reason, similarity): (Reason, Option<f32>),
    ) -> Result<Effect> {
        let after = Record {
            version: target.version + 1,
            change,
            reason,
            similarity,
            updated_at: self.now,
            superseded,
            ..target.clone()
        };
        self.stage(Some(target), &after)?;
        Ok(effect(&after))
    }

    /// Tokens that the model will not read of what is newly indexed, for each of the ids.
    pub(crate) fn truncated(&self, ids: &[Id]) -> Result<Vec<u32>> {
        let mut out = vec![0; ids.len()];
        let mut long: Vec<(usize, String)> = vec![];
        for (place, id) in ids.iter().enumerate() {
            if let Some(EntryChange::Put(record, Renew::All)) = self.entries.get(id)
                && record.content.text.len() > SHORT
            {
                let (_, texts) = entry(record, Renew::All, 0);
                long.extend(texts.into_iter().filter(|text| text.len() > SHORT).map(|text| (place, text)));
            }
        }
        if long.is_empty() {
            return Ok(out);
        }
        let (places, texts): (Vec<usize>, Vec<String>) = long.into_iter().unzip();
        let model = match self.host.info() {
            Ok(model) => model,
            Err(Error::Unavailable(_)) => return Ok(out),
            Err(error) => return Err(error),
        };
        for (place, count) in places.into_iter().zip(self.host.measure(&texts, Purpose::Document)?) {
            out[place] += count.tokens.saturating_sub(model.max_tokens);
        }
        Ok(out)
    }

    /// Whether the whole was committed; if not, another writer was faster.
    fn apply(self, promise: Promise, embedded: &mut Option<(Vec<String>, Rc<H::Vectors>)>) -> Result<bool> {
        let mut operations: Vec<Operation> =
            Vec::with_capacity(self.written.len() + self.counts.len() + self.entries.len());
        for ((table, key), value) in self.written {
            operations.push(match value {
                Some(value) => Operation::Put(Put { table: table.to_owned(), key, value }),
                None => Operation::Delete(Delete { table: table.to_owned(), key }),
            });
        }
        for (key, by) in self.counts.into_iter().filter(|(_, by)| *by != 0) {
            operations.push(Operation::Increment(Increment { table: PLACE.to_owned(), key, by }));
        }
        let mut texts: Vec<String> = vec![];
        for (id, change) in self.entries {
            operations.push(match change {
                EntryChange::Delete => Operation::IndexDelete(id.text()),
                EntryChange::Put(record, renew) => {
                    let first = u32::try_from(texts.len()).expect("limited by the size of a call");
                    let (entry, more) = entry(&record, renew, first);
                    texts.extend(more);
                    Operation::IndexPut(entry)
                }
            });
        }
        if operations.len().max(self.read.len()) > OPERATIONS {
            let changes = operations.len().max(self.read.len());
            let message = format!("the call makes {changes} changes, at most {OPERATIONS} fit one commit; split it");
            return Err(crate::check::too_much("", message));
        }
        let preconditions: Vec<Precondition> = self
            .read
            .into_iter()
            .map(|((table, key), value)| Precondition { table: table.to_owned(), key, value })
            .collect();
        if embedded.as_ref().is_none_or(|(before, _)| *before != texts) {
            *embedded = if texts.is_empty() {
                None
            } else {
                match self.host.embed(&texts, Purpose::Document) {
                    Ok(vectors) => Some((texts, Rc::new(vectors))),
                    Err(Error::Unavailable(_)) if self.host.info().is_err() => {
                        words_alone(&mut operations);
                        None
                    }
                    Err(error) => return Err(error),
                }
            };
        }
        let (durability, pending) = match promise {
            Promise::Indexed => (Durability::Durable, Pending::Wait),
            Promise::Deferred => (Durability::Durable, Pending::Owe),
            Promise::Relaxed => (Durability::Relaxed, Pending::Owe),
        };
        let vectors = embedded.as_ref().map(|(_, vectors)| &**vectors);
        let options = ApplyOptions { durability, pending, scrub: self.scrub };
        match self.host.apply(&operations, &preconditions, vectors, options) {
            Ok(Applied::Committed(_)) => Ok(true),
            Ok(Applied::Conflict(_)) => Ok(false),
            // Its place is one of the commit, which the caller does not know.
            Err(Error::LimitExceeded(refusal)) => {
                let message = format!("one commit cannot hold the call ({}); split it", refusal.message);
                Err(crate::check::too_much("", message))
            }
            Err(error) => Err(error),
        }
    }
}

/// Without a model, entries are found by their words.
fn words_alone(operations: &mut [Operation]) {
    for operation in operations {
        if let Operation::IndexPut(entry) = operation {
            for passage in entry.passages.iter_mut().flatten() {
                passage.vector = None;
            }
        }
    }
}

/// What happened to a memory, from the version that says so.
pub(crate) fn effect(record: &Record) -> Effect {
    Effect {
        id: record.id.text(),
        version: record.version,
        change: record.change,
        reason: record.reason,
        similarity: record.similarity,
    }
}

fn one_id(bytes: &[u8]) -> Result<Id> {
    bytes.try_into().map(Id).map_err(|_| Error::Corrupt("a key leads to no id".to_owned()))
}

fn many_ids(bytes: &[u8]) -> Result<Vec<Id>> {
    bytes.chunks(16).map(one_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{Fake, content};
    use crate::memory::{AddOptions, Added, Comparison, Edit, Extraction, Outcomes, Patch, ScopedKey, Target};
    use crate::types::Content;

    fn plain() -> WriteOptions {
        WriteOptions { promise: Promise::Indexed, idempotency_key: None }
    }

    fn add(host: &Fake, item: Content) -> Result<Added> {
        let options = AddOptions { write: plain(), comparison: Comparison::Exact, extraction: Extraction::None };
        crate::add::add(host, &[item], &options)
    }

    fn keyed(text: &str) -> Content {
        Content { key: Some("k".to_owned()), ..content(text, "ana") }
    }

    fn annotate(host: &Fake, metadata: &str) -> Result<Outcomes> {
        let patch = Patch {
            text: None,
            metadata: Some(metadata.to_owned()),
            kind: None,
            at: None,
            valid_from: None,
            valid_to: None,
            expires_at: None,
            links: None,
        };
        let target = Target::Key(ScopedKey { scope: content("", "ana").scope, key: "k".to_owned() });
        crate::update::update(host, &[Edit { target, patch, expect_version: None }], &plain())
    }

    fn meanwhile(host: &Fake, write: impl Fn(&Fake) + 'static) {
        host.before_apply.replace(Some(Box::new(write)));
    }

    fn effects(outcomes: &Outcomes) -> Vec<(Change, Reason, u32)> {
        outcomes
            .iter()
            .flatten()
            .map(|outcome| (outcome.item.change, outcome.item.reason, outcome.item.version))
            .collect()
    }

    #[test]
    fn the_same_text_added_meanwhile_is_seen() {
        let host = Fake::new();
        meanwhile(&host, |host| {
            add(host, content("Ana sings", "ana")).unwrap();
        });
        let added = add(&host, content("Ana sings", "ana")).unwrap();
        assert_eq!(effects(&added.items), [(Change::Unchanged, Reason::SameText, 1)]);
        assert_eq!((host.commits(), host.entry_keys().len()), (1, 1));
    }

    #[test]
    fn the_same_key_taken_meanwhile_is_updated() {
        let host = Fake::new();
        meanwhile(&host, |host| {
            add(host, keyed("one")).unwrap();
        });
        let added = add(&host, keyed("two")).unwrap();
        assert_eq!(effects(&added.items), [(Change::Updated, Reason::SameKey, 2)]);
    }

    #[test]
    fn an_update_meanwhile_is_not_lost() {
        let host = Fake::new();
        add(&host, keyed("one")).unwrap();
        meanwhile(&host, |host| {
            annotate(host, r#"{"a":1}"#).unwrap();
        });
        let updated = annotate(&host, r#"{"b":2}"#).unwrap();
        assert_eq!(effects(&updated), [(Change::Updated, Reason::Requested, 3)]);
        let target = Target::Key(ScopedKey { scope: content("", "ana").scope, key: "k".to_owned() });
        let view = crate::memory::View {
            now: None,
            valid_at: None,
            known_at: None,
            including: crate::memory::Including::empty(),
        };
        let memory = crate::get::get(&host, &[target], &view).unwrap().remove(0).unwrap();
        assert_eq!(memory.content.metadata, r#"{"a":1,"b":2}"#);
    }

    #[test]
    fn other_memories_of_a_scope_are_not_in_the_way() {
        let host = Fake::new();
        let tries = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = tries.clone();
        meanwhile(&host, move |host| {
            seen.set(seen.get() + 1);
            add(host, content("Ana hums", "ana")).unwrap();
            // Would be called by a second attempt.
            let seen = seen.clone();
            meanwhile(host, move |_| seen.set(seen.get() + 1));
        });
        add(&host, content("Ana sings", "ana")).unwrap();
        assert_eq!((tries.get(), host.commits()), (1, 2));
    }

    #[test]
    fn endless_conflicts_are_told() {
        fn again(host: &Fake) {
            add(host, keyed(&format!("{}", host.commits()))).unwrap();
            meanwhile(host, again);
        }
        let host = Fake::new();
        meanwhile(&host, again);
        let error = add(&host, keyed("mine")).unwrap_err();
        assert_eq!(error, Error::Conflict("other writers got in the way of 64 attempts".to_owned()));
        assert_eq!(host.commits(), 64, "all of them the other's");
    }

    #[test]
    fn failed_embedding_commits_nothing() {
        let host = Fake::new();
        host.broken_model.set(true);
        assert!(matches!(add(&host, content("Ana sings", "ana")), Err(Error::Unavailable(_))));
        assert_eq!((host.commits(), host.everything()), (0, b"{}".to_vec()));
    }
}
