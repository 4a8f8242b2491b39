//! The one thread that writes: takes what many callers are waiting for, commits it together, lets the indexes absorb it
//! in order, and answers. Never waits for a model, and for callers only while those of the last commit come back.
mod eraser;

use self::eraser::Eraser;
use crate::contract::storage::{Applied, Durability, Operation, Precondition};
use crate::entry::{Change, Seq};
use crate::store::{Committed, Draft, Outcome, Store, StoreError, Tenant, check_batch, check_vector};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What may wait. Above it callers are told to come back.
const QUEUE_BATCHES: usize = 1024;
const QUEUE_BYTES: usize = 64 << 20;
/// What shares a commit; more would make one slow commit everybody's wait.
const GROUP_BATCHES: usize = 1024;
const GROUP_BYTES: usize = 2 << 20;
/// How long a relaxed commit may stay unsynced.
const RELAXED: Duration = Duration::from_millis(100);

/// Takes batches to the writer thread. Cheap to clone; when the last one goes, the thread finishes what waits and ends.
#[derive(Clone)]
pub struct Writer(Arc<Handle>);

/// What one call wants changed: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    pub tenant: Tenant,
    pub operations: Vec<Operation>,
    pub preconditions: Vec<Precondition>,
    /// By the places that passages name.
    pub vectors: Vec<BatchVector>,
    pub durability: Durability,
    /// What is removed or replaced leaves no byte in the file within the hour, see `eraser.rs`.
    pub scrub: bool,
}

/// A vector of a call, as far as the model has come.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchVector {
    Ready(Arc<Vec<f32>>),
    /// The text that the model reads later.
    Owed(String),
    /// No passage names this place.
    Unused,
}

/// Vectors for passages of one entry: place of the passage, the text it was owed for, the vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Paid {
    pub key: String,
    pub vectors: Vec<(u32, String, Arc<Vec<f32>>)>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Store,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Of the last group, so that `busy` can tell when to come back.
    group_ms: AtomicU32,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    is_closed: bool,
    /// Whoever closes waits until what was erased has left the file.
    erases_at_end: bool,
}

struct Job {
    bytes: usize,
    work: Work,
    reply: Reply,
}

enum Work {
    Apply(Batch),
    Pay(Tenant, Vec<Paid>),
    Sync,
}

/// What the indexes have to hear.
pub enum News {
    /// Positions of a tenant ascend.
    Commit { tenant: Tenant, seq: Seq, changes: Vec<Change> },
    /// A commit failed: it may be in the store all the same, and relaxed ones before it may not.
    Doubt,
}

type Reply = oneshot::Sender<Result<Outcome, StoreError>>;

impl Writer {
    /// Starts the thread. `absorb` runs in it before the answers: after a commit once for each tenant that it touched, and
    /// after a failure. A panic in it is logged and does not concern the store.
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn start(store: Store, absorb: impl Fn(News) + Send + 'static) -> Writer {
        let shared =
            Arc::new(Shared { store, queue: Mutex::default(), wake: Condvar::new(), group_ms: AtomicU32::new(0) });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run(&of_thread, &absorb))
            .expect("a process that cannot start its first thread cannot do anything");
        Writer(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Applies all operations, or none. When it answers, snapshots see the result and the indexes have absorbed it.
    ///
    /// # Errors
    /// `Busy` if too much waits already. After an error of the store itself, rather than of the batch, the batch may
    /// have been committed or not.
    pub async fn apply(&self, batch: Batch) -> Result<Applied, StoreError> {
        let dimensions = self.0.shared.store.model().map(|(_, _, dimensions)| dimensions);
        let bytes = check_batch(&batch, dimensions)?;
        match self.ask(bytes, Work::Apply(batch)).await? {
            Outcome::Committed(seq) => Ok(Applied::Committed(seq.0)),
            Outcome::Conflict(places) => Ok(Applied::Conflict(places)),
        }
    }

    /// Delivers vectors that were owed. Those of entries that are gone or have other texts by now are dropped.
    ///
    /// # Errors
    /// As [`Writer::apply`].
    pub async fn pay(&self, tenant: Tenant, paid: Vec<Paid>) -> Result<(), StoreError> {
        let dimensions = self.0.shared.store.model().map(|(_, _, dimensions)| dimensions);
        let mut bytes = 0;
        for Paid { key, vectors } in &paid {
            for (passage, text, vector) in vectors {
                check_vector(&format!("passage {passage} of {key}"), vector, dimensions)?;
                bytes += key.len() + text.len() + 2 * vector.len();
            }
        }
        self.ask(bytes, Work::Pay(tenant, paid)).await.map(drop)
    }

    /// Returns when everything applied before survives a power cut.
    ///
    /// # Errors
    /// Only if the store fails.
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.ask(0, Work::Sync).await.map(drop)
    }

    /// Finishes what waits, has what was erased leave the file, and ends the thread; later calls on clones answer `Closed`.
    pub fn close(self) {
        self.0.shared.lock().erases_at_end = true;
        self.0.close();
    }

    async fn ask(&self, bytes: usize, work: Work) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.shared.enqueue(Job { bytes, work, reply })?;
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Closed { path: self.0.shared.path() }),
        }
    }
}

impl Handle {
    fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may go in the thread itself, with what absorbs.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread had panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.store.path().to_owned()
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(StoreError::Closed { path: self.path() });
        }
        // One batch always fits: the largest alone may weigh more than the queue.
        let is_full = queue.jobs.len() >= QUEUE_BATCHES
            || (queue.bytes > 0 && queue.bytes.saturating_add(job.bytes) > QUEUE_BYTES);
        if is_full && !matches!(job.work, Work::Sync) {
            let retry_after_ms = self.group_ms.load(Ordering::Relaxed).saturating_mul(2).clamp(10, 5000);
            return Err(StoreError::Busy { retry_after_ms });
        }
        queue.bytes += job.bytes;
        queue.jobs.push_back(job);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// The next group; empty when `due` has come; none when closed and all is done.
    ///
    /// Those who were answered together come back one after the other: the first of them waits for as many as `company`
    /// says, but no longer than it.
    fn take(&self, due: Option<Instant>, company: Company) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        while queue.jobs.is_empty() {
            if queue.is_closed {
                return None;
            }
            let Some(due) = due else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(vec![]);
            }
            queue = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let until = Instant::now() + company.patience;
        while queue.jobs.len() < company.batches && !queue.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut group, mut bytes) = (vec![], 0);
        while let Some(job) = queue.jobs.front() {
            bytes += job.bytes;
            if !group.is_empty() && (group.len() >= GROUP_BATCHES || bytes > GROUP_BYTES) {
                break;
            }
            queue.bytes -= job.bytes;
            group.extend(queue.jobs.pop_front());
        }
        Some(group)
    }
}

/// Who is expected to come back after a commit.
#[derive(Clone, Copy, Default)]
struct Company {
    /// As many as were answered; a lone caller waits for nobody.
    batches: usize,
    /// A small part of what the commit took.
    patience: Duration,
}

fn run(shared: &Shared, absorb: &dyn Fn(News)) {
    let store = &shared.store;
    // Since when a commit waits for its sync.
    let mut unsynced: Option<Instant> = None;
    let mut eraser = Eraser::new(store.clone());
    let mut company = Company::default();
    loop {
        let due = unsynced.map(|since| since + RELAXED).into_iter().chain(eraser.due()).min();
        let Some(group) = shared.take(due, company) else { break };
        let (start, batches) = (Instant::now(), group.len());
        eraser.wake();
        let erases = group.iter().any(|job| job.work.erases());
        let is_due = unsynced.is_some_and(|since| since.elapsed() >= RELAXED);
        let must_sync = is_due || group.iter().any(|job| job.work.must_sync());
        let asks = group.iter().any(|job| matches!(job.work, Work::Sync));
        let (works, replies): (Vec<Work>, Vec<Reply>) = group.into_iter().map(|job| (job.work, job.reply)).unzip();
        let mut outcomes = Vec::with_capacity(works.len());
        let committed = store.commit(must_sync, |draft| {
            for work in works {
                match work.draft(draft) {
                    // A batch that meets a damaged row has left nothing behind and is not the others' concern.
                    Err(error) if !error.is_refusal() && !matches!(error, StoreError::Damaged { .. }) => {
                        return Err(error);
                    }
                    outcome => outcomes.push(outcome),
                }
            }
            Ok(())
        });
        let committed = committed.and_then(|commits| {
            if must_sync && commits.is_empty() && unsynced.is_some() {
                store.sync()?;
            }
            // Told to those who wait for just that.
            if asks && store.take_lost() {
                return Err(StoreError::Lost { path: store.path().to_owned() });
            }
            Ok(commits)
        });
        match committed {
            Ok(commits) => {
                if erases {
                    eraser.note();
                }
                if must_sync {
                    unsynced = None;
                } else if !commits.is_empty() {
                    unsynced = unsynced.or(Some(start));
                }
                for Committed { tenant, seq, changes } in commits {
                    tell(absorb, News::Commit { tenant, seq, changes });
                }
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    answer(reply, outcome);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a commit failed");
                if erases {
                    eraser.note();
                }
                // Whoever repeats the call must find what it left.
                tell(absorb, News::Doubt);
                for reply in replies {
                    answer(reply, Err(error.clone()));
                }
                if unsynced.take().is_some() {
                    sync_at_last(store);
                }
            }
        }
        let took = start.elapsed();
        company = Company { batches: if batches > 1 { batches } else { 0 }, patience: took / 8 };
        shared.group_ms.store(u32::try_from(took.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
    if unsynced.is_some() {
        sync_at_last(store);
    }
    let pays = shared.lock().erases_at_end;
    eraser.finish(pays);
}

fn tell(absorb: &dyn Fn(News), news: News) {
    if catch_unwind(AssertUnwindSafe(|| absorb(news))).is_err() {
        tracing::error!("an index panicked over a commit");
    }
}

/// A caller that waits no more has gone away, which is its right.
fn answer(reply: Reply, outcome: Result<Outcome, StoreError>) {
    let _ = reply.send(outcome);
}

/// Where nobody is left to be told.
fn sync_at_last(store: &Store) {
    if let Err(error) = store.sync() {
        tracing::error!(%error, "the last relaxed commits may not survive a power cut");
    }
}

impl Work {
    fn must_sync(&self) -> bool {
        match self {
            Work::Apply(batch) => batch.durability == Durability::Durable,
            Work::Pay(..) | Work::Sync => true,
        }
    }

    fn erases(&self) -> bool {
        matches!(self, Work::Apply(batch) if batch.scrub)
    }

    fn draft(self, draft: &mut Draft<'_, '_>) -> Result<Outcome, StoreError> {
        match self {
            Work::Apply(batch) => draft.apply(batch),
            Work::Pay(tenant, paid) => draft.pay(tenant, paid),
            Work::Sync => Ok(Outcome::Committed(Seq(0))),
        }
    }
}

#[cfg(test)]
mod tests;
