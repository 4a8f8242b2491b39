//! Lines of an input on their way into a store: several calls at once, the lines of one scope in their order, and a count
//! of what is durable. Reads no bytes and knows no format.
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, mem};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::JoinSet;

use super::input::{self, Message, Reading, Record};
use super::line::Rules;
use super::{Format, Input, Memories, TransferError};
use crate::contract::memory::{Archive, Change, Outcome, Promise};
use crate::contract::types::{Content, Error, Refusal, Scope};
use crate::engine::Engine;

/// What the caller of an import decides.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// None: told by name and beginning.
    pub format: Option<Format>,
    /// Fills absent fields of lines without an id.
    pub scope: Scope,
    /// Becomes `metadata.import` of lines without an id.
    pub tag: Option<String>,
    /// Keeps unknown fields under `metadata`.
    pub lenient: bool,
    /// Checks all lines first and writes nothing if one is bad.
    pub strict: bool,
    /// Lines count as done before they are found by meaning.
    pub deferred: bool,
    /// When set, no further calls are made.
    pub cancel: Arc<AtomicBool>,
}

/// A line that did not become a memory.
#[derive(Clone, Debug, PartialEq)]
pub struct LineProblem {
    pub line: u64,
    pub error: Error,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Lines from the start of the input that are all durable or reported as bad.
    pub acknowledged: u64,
    /// Bytes up to there.
    pub bytes: u64,
    /// None where the input has no known end.
    pub total_bytes: Option<u64>,
    /// The bad line that this report is about.
    pub problem: Option<LineProblem>,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Memories in the input, bad ones included, as far as it was read.
    pub lines: u64,
    pub added: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub format: Format,
    /// Cancelled before everything was done.
    pub interrupted: bool,
}

/// Imports all of an input and reports as it goes: each bad line once, in the order of the lines, and each time more
/// lines from the start are durable.
///
/// Lines of one exact scope are committed in their order. Repeated after an interruption, it finishes without duplicates.
///
/// # Errors
/// If the input cannot be read on, if a strict import has a bad line, or if the store takes no more. Lines that were
/// reported as acknowledged stay.
pub async fn import(
    engine: &Engine,
    input: Input,
    options: &ImportOptions,
    report: &mut dyn FnMut(Progress),
) -> Result<Imported, TransferError> {
    run(engine, input, options, report).await
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Add(Box<Content>),
    Archive(Box<Archive>),
}

/// Calls at a time. More than one keeps the embedder busy while others commit.
const CALLS: usize = 4;
/// Bounds of one call where others can go beside it.
const SHARED: Bounds = Bounds { items: 256, versions: 2_000, bytes: 1024 * 1024 };
/// Bounds of one call where all that waits is of one scope, so that calls follow each other.
const ALONE: Bounds = Bounds { items: 1_000, versions: 2_000, bytes: 8 * 1024 * 1024 };
/// Items of one call that takes over memories: each makes about a dozen changes beside one for each earlier version, and
/// 16,384 fit one commit.
const ARCHIVES: usize = 500;
/// Bounds of what waits. A single record may pass them.
const WINDOW: Bounds = Bounds { items: 4_096, versions: 16_384, bytes: 32 * 1024 * 1024 };
/// Attempts of a call that other writers got in the way of.
const ATTEMPTS: u32 = 5;
/// How soon a cancellation is noticed.
const GLANCE: Duration = Duration::from_millis(100);

struct Bounds {
    items: usize,
    /// Of all items, the present ones included.
    versions: usize,
    bytes: usize,
}

pub(super) async fn run<M: Memories>(
    memories: &M,
    input: Input,
    options: &ImportOptions,
    report: &mut dyn FnMut(Progress),
) -> Result<Imported, TransferError> {
    let rules = Rules { scope: options.scope.clone(), tag: options.tag.clone(), lenient: options.lenient };
    let mut messages = input::start(input, Reading { format: options.format, rules, strict: options.strict });
    let promise = if options.deferred { Promise::Deferred } else { Promise::Indexed };
    let mut passage = Passage::new(report);
    let mut calls: JoinSet<Call> = JoinSet::new();
    let mut stop: Option<Error> = None;
    loop {
        let cancelled = options.cancel.load(Ordering::Relaxed);
        let stopping = cancelled || stop.is_some();
        while !stopping && passage.has_room() {
            match messages.try_recv() {
                Ok(message) => passage.take(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => passage.break_off(),
            }
        }
        while !stopping && calls.len() < CALLS {
            let Some(batch) = passage.next_batch(CALLS - calls.len()) else { break };
            calls.spawn(commit(memories.clone(), batch, promise, Arc::clone(&options.cancel)));
        }
        passage.advance();
        if calls.is_empty() && (stopping || passage.is_through()) {
            break;
        }
        let listens = !stopping && passage.has_room();
        tokio::select! {
            message = messages.recv(), if listens => match message {
                Some(message) => passage.take(message),
                None => passage.break_off(),
            },
            Some(call) = calls.join_next(), if !calls.is_empty() => match call {
                Ok(call) => stop = passage.settle(call).or(stop),
                Err(_) => stop = Some(Error::Internal("a call ended without an answer".to_owned())),
            },
            () = tokio::time::sleep(GLANCE) => {}
        }
    }
    passage.finish(stop)
}

/// A record that waits for its call.
#[derive(Debug)]
struct Waiting {
    /// Place of the record in the input, counted from 0.
    position: u64,
    /// Of the exact scope. Scopes that share one by chance only wait for each other.
    scope: u64,
    versions: usize,
    size: usize,
    item: Item,
}

/// What became of a batch.
struct Call {
    scopes: Vec<u64>,
    /// By position. Records that are not here were not settled.
    settled: Vec<(u64, Result<Outcome, Error>)>,
    /// Why no further call makes sense.
    stop: Option<Error>,
}

/// Where each record of an import stands.
struct Passage<'r> {
    report: &'r mut dyn FnMut(Progress),
    format: Option<Format>,
    total_bytes: Option<u64>,
    /// Records from the first that is not settled.
    records: VecDeque<Standing>,
    /// Position of the first of `records`.
    first: u64,
    waiting: VecDeque<Waiting>,
    waiting_versions: usize,
    waiting_bytes: usize,
    /// Scopes of the calls in flight.
    busy: HashSet<u64>,
    /// Lines and bytes of the whole input, once known.
    ended: Option<(u64, u64)>,
    failed: Option<TransferError>,
    acknowledged: u64,
    bytes: u64,
    reported: u64,
    added: u64,
    updated: u64,
    unchanged: u64,
    bad: u64,
}

struct Standing {
    line: u64,
    last: u64,
    end: u64,
    /// None while it waits or is in flight.
    settled: Option<Result<(), Error>>,
}

impl<'r> Passage<'r> {
    fn new(report: &'r mut dyn FnMut(Progress)) -> Self {
        Self {
            report,
            format: None,
            total_bytes: None,
            records: VecDeque::new(),
            first: 0,
            waiting: VecDeque::new(),
            waiting_versions: 0,
            waiting_bytes: 0,
            busy: HashSet::new(),
            ended: None,
            failed: None,
            acknowledged: 0,
            bytes: 0,
            reported: 0,
            added: 0,
            updated: 0,
            unchanged: 0,
            bad: 0,
        }
    }

    fn has_room(&self) -> bool {
        let within = self.waiting.len() < WINDOW.items
            && self.waiting_versions < WINDOW.versions
            && self.waiting_bytes < WINDOW.bytes;
        // A slow call at the front must not let settled records behind it pile up without end.
        within && self.records.len() < 16 * WINDOW.items && self.ended.is_none() && self.failed.is_none()
    }

    fn is_through(&self) -> bool {
        (self.ended.is_some() || self.failed.is_some()) && self.waiting.is_empty()
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Started { format, total_bytes } => {
                self.format = Some(format);
                self.total_bytes = total_bytes;
            }
            Message::Records(records) => records.into_iter().for_each(|record| self.take_record(record)),
            Message::Problem(problem) => self.tell(Some(problem)),
            Message::Ended { lines, bytes } => self.ended = Some((lines, bytes)),
            Message::Failed(error) => self.failed = Some(error),
        }
    }

    fn take_record(&mut self, record: Record) {
        let Record { line, last, end, size, item } = record;
        let position = self.first + self.records.len() as u64;
        let settled = match item {
            Err(error) => Some(Err(error)),
            Ok(item) => {
                let (scope, versions) = match &item {
                    Item::Add(content) => (scope_hash(&content.scope), 1),
                    Item::Archive(archive) => {
                        (scope_hash(&archive.present.memory.content.scope), 1 + archive.earlier.len())
                    }
                };
                self.waiting_versions += versions;
                self.waiting_bytes += size;
                self.waiting.push_back(Waiting { position, scope, versions, size, item });
                None
            }
        };
        self.records.push_back(Standing { line, last, end, settled });
    }

    /// The thread that reads is gone without a last word.
    fn break_off(&mut self) {
        if self.ended.is_none() && self.failed.is_none() {
            let source = io::Error::other("reading stopped unexpectedly");
            self.failed = Some(TransferError::Read { place: "the input".to_owned(), source });
        }
    }

    /// Takes out what one call can carry: in order, of one kind, and only of scopes that are in no other call. Leaves
    /// scopes for the other calls that could begin, of which there are `free_calls` with this one.
    fn next_batch(&mut self, free_calls: usize) -> Option<Vec<Waiting>> {
        let scopes = self.waiting.iter().map(|waiting| waiting.scope);
        let n_free = scopes.filter(|scope| !self.busy.contains(scope)).collect::<HashSet<u64>>().len();
        if n_free == 0 {
            return None;
        }
        let share = n_free.div_ceil(free_calls);
        let bounds = if n_free == 1 { ALONE } else { SHARED };
        let mut batch: Vec<Waiting> = Vec::new();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        let (mut taken, mut passed) = (HashSet::new(), HashSet::new());
        let (mut versions, mut bytes) = (0, 0);
        let mut full = false;
        for waiting in mem::take(&mut self.waiting) {
            let items = match waiting.item {
                Item::Add(_) => bounds.items,
                Item::Archive(_) => bounds.items.min(ARCHIVES),
            };
            let fits = batch.is_empty()
                || (batch.len() < items
                    && versions + waiting.versions <= bounds.versions
                    && bytes + waiting.size <= bounds.bytes);
            let same_kind =
                batch.first().is_none_or(|first| mem::discriminant(&first.item) == mem::discriminant(&waiting.item));
            let free = !self.busy.contains(&waiting.scope)
                && !passed.contains(&waiting.scope)
                && (taken.contains(&waiting.scope) || taken.len() < share);
            full |= free && same_kind && !fits;
            if full || !free || !same_kind {
                passed.insert(waiting.scope);
                left.push_back(waiting);
                continue;
            }
            versions += waiting.versions;
            bytes += waiting.size;
            taken.insert(waiting.scope);
            batch.push(waiting);
        }
        self.waiting = left;
        self.waiting_versions -= versions;
        self.waiting_bytes -= bytes;
        self.busy.extend(taken);
        Some(batch)
    }

    /// Notes what became of a batch, and returns why there should be no other.
    fn settle(&mut self, call: Call) -> Option<Error> {
        for scope in &call.scopes {
            self.busy.remove(scope);
        }
        for (position, answer) in call.settled {
            let settled = match answer {
                Ok(outcome) => {
                    match outcome.item.change {
                        Change::Added => self.added += 1,
                        Change::Unchanged => self.unchanged += 1,
                        _ => self.updated += 1,
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            };
            // Only records from `first` on are in calls.
            if let Some(standing) = usize::try_from(position - self.first).ok().and_then(|n| self.records.get_mut(n)) {
                standing.settled = Some(settled);
            }
        }
        call.stop
    }

    /// Moves on to the first record that is not settled, and reports.
    fn advance(&mut self) {
        while let Some(settled) = self.records.front_mut().and_then(|standing| standing.settled.take()) {
            let Some(standing) = self.records.pop_front() else { break };
            self.first += 1;
            self.acknowledged = self.acknowledged.max(standing.last);
            self.bytes = self.bytes.max(standing.end);
            if let Err(error) = settled {
                self.bad += 1;
                self.tell(Some(LineProblem { line: standing.line, error }));
            }
        }
        if let (Some((lines, bytes)), true) = (self.ended, self.records.is_empty()) {
            self.acknowledged = lines;
            self.bytes = bytes;
        }
        if self.acknowledged > self.reported {
            self.tell(None);
        }
    }

    fn tell(&mut self, problem: Option<LineProblem>) {
        self.reported = self.acknowledged;
        let Self { acknowledged, bytes, total_bytes, .. } = *self;
        (self.report)(Progress { acknowledged, bytes, total_bytes, problem });
    }

    fn finish(mut self, stop: Option<Error>) -> Result<Imported, TransferError> {
        let interrupted = self.ended.is_none() || !self.records.is_empty();
        // What is bad behind a gap is told as well, though it does not count as acknowledged.
        for standing in mem::take(&mut self.records) {
            if let Some(Err(error)) = standing.settled {
                self.bad += 1;
                self.tell(Some(LineProblem { line: standing.line, error }));
            }
        }
        if let Some(error) = stop {
            return Err(TransferError::Stopped { acknowledged: self.acknowledged, error });
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let settled = self.added + self.updated + self.unchanged;
        Ok(Imported {
            lines: settled + self.bad,
            added: self.added,
            updated: self.updated,
            unchanged: self.unchanged,
            failed: self.bad,
            // Cancelled before the input was even looked at, an import has seen nothing.
            format: self.format.unwrap_or(Format::Jsonl),
            interrupted,
        })
    }
}

/// Commits a batch: waits while the store is busy, leaves out an item that the whole call is refused for, and halves what
/// is too much for one call.
async fn commit<M: Memories>(memories: M, batch: Vec<Waiting>, promise: Promise, cancel: Arc<AtomicBool>) -> Call {
    let scopes = batch.iter().map(|waiting| waiting.scope).collect();
    let mut call = Call { scopes, settled: Vec::with_capacity(batch.len()), stop: None };
    // The next part is the last.
    let mut parts = vec![batch];
    let mut conflicts = 0;
    while let Some(mut part) = parts.pop() {
        let answers = match send(&memories, &part, promise).await {
            Ok(answers) if answers.len() == part.len() => answers,
            Ok(_) => {
                call.stop = Some(Error::Internal("the engine gave another number of answers".to_owned()));
                return call;
            }
            Err(Error::Busy(ms)) => {
                if cancel.load(Ordering::Relaxed) {
                    return call;
                }
                tokio::time::sleep(Duration::from_millis(u64::from(ms))).await;
                parts.push(part);
                continue;
            }
            Err(Error::Conflict(_)) if conflicts < ATTEMPTS => {
                conflicts += 1;
                parts.push(part);
                continue;
            }
            Err(error) => {
                if let Some(n) = refused_item(&error).filter(|n| *n < part.len()) {
                    // The rest keeps its order; the item alone is settled.
                    call.settled.push((part.remove(n).position, Err(without_index(error))));
                    parts.extend((!part.is_empty()).then_some(part));
                    continue;
                }
                let too_much = matches!(error, Error::LimitExceeded(_) | Error::Timeout);
                if too_much && part.len() > 1 {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                    continue;
                }
                if let ([only], Error::LimitExceeded(_) | Error::InvalidArgument(_)) = (part.as_slice(), &error) {
                    call.settled.push((only.position, Err(without_index(error))));
                    continue;
                }
                call.stop = Some(error);
                return call;
            }
        };
        for (waiting, answer) in part.iter().zip(answers) {
            call.settled.push((waiting.position, answer.map_err(without_index)));
        }
    }
    call
}

async fn send<M: Memories>(memories: &M, part: &[Waiting], promise: Promise) -> super::Answers {
    // A batch is of one kind, so that one of the lists is empty.
    let mut contents = Vec::new();
    let mut archives = Vec::new();
    for waiting in part {
        match &waiting.item {
            Item::Add(content) => contents.push(content.as_ref().clone()),
            Item::Archive(archive) => archives.push(archive.as_ref().clone()),
        }
    }
    if archives.is_empty() {
        memories.add(contents, promise).await
    } else {
        memories.take_over(archives, promise).await
    }
}

/// The item that a whole call was refused for.
fn refused_item(error: &Error) -> Option<usize> {
    let (Error::InvalidArgument(refusal) | Error::LimitExceeded(refusal)) = error else {
        return None;
    };
    let (number, _) = refusal.place.strip_prefix("items[")?.split_once(']')?;
    number.parse().ok()
}

/// The place of a refusal within its line: the number of the item in the call says nothing to the reader of a file.
fn without_index(error: Error) -> Error {
    let shorter = |refusal: Refusal| {
        let inner = refusal.place.strip_prefix("items[").and_then(|rest| rest.split_once(']'));
        let place = inner.map(|(_, field)| field.trim_start_matches('.').to_owned());
        Refusal { place: place.unwrap_or(refusal.place), message: refusal.message }
    };
    match error {
        Error::InvalidArgument(refusal) => Error::InvalidArgument(shorter(refusal)),
        Error::LimitExceeded(refusal) => Error::LimitExceeded(shorter(refusal)),
        other => other,
    }
}

fn scope_hash(scope: &Scope) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&scope.user, &scope.agent, &scope.app, &scope.run).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
