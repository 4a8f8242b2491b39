//! The worker threads in front of a model. Each takes what waits the moment it is free, so batches form by themselves
//! under load and a lone text never waits for company: no timer, and no lock held while a model runs or a text is
//! split.
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::cache::{Cache, CacheMetrics};
use super::pending::Slot;
use super::queue::{Lane, Queue, Tokenised, Waiting, Work};
use super::{EmbedError, Encoder, Load, ModelInfo, Pending, Purpose, TokenCount};

/// How far a vector's squared length may be from 1.
const UNIT_TOLERANCE: f64 = 1e-3;

/// A model and its queue. Clones share them; with the last one gone, what still waits fails with
/// [`EmbedError::Closed`] and the threads end after their present run.
#[derive(Clone)]
pub struct Embedder(Arc<Handle>);

/// What an embedder has done so far, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    pub runs: u64,
    /// Texts that got a vector, and their tokens as the model read them.
    pub texts: u64,
    pub tokens: u64,
    /// Texts that got an error.
    pub failed: u64,
    /// Texts that wait now.
    pub waiting: usize,
    /// Summed over the threads.
    pub computing: Duration,
    /// From the call to the start of the run, summed over texts.
    pub waited: Duration,
    /// Place `i` counts the runs of 2^i to 2^(i+1) − 1 texts.
    pub run_sizes: [u64; 10],
    /// What the cache knew, and what it did not.
    pub cache: CacheMetrics,
}

/// Ends the threads when dropped.
struct Handle(Arc<Shared>);

struct Shared {
    info: ModelInfo,
    load: Mutex<Option<Load>>,
    encoder: OnceLock<Result<Arc<dyn Encoder>, EmbedError>>,
    n_workers: usize,
    threads: OnceLock<Result<(), EmbedError>>,
    cache: Option<Cache>,
    state: Mutex<State>,
    wake: Condvar,
    /// `waiting` and `cache` are not kept here.
    metrics: Mutex<Metrics>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Workers with nothing to do.
    idle: usize,
    closed: bool,
}

impl Embedder {
    /// Returns at once: threads, tokenizer and model come when they are first needed. At most one thread a core pays.
    pub fn start(
        info: ModelInfo,
        load: impl FnOnce() -> Result<Arc<dyn Encoder>, EmbedError> + Send + 'static,
        workers: usize,
        cache: Option<Cache>,
    ) -> Self {
        let shared = Shared {
            info,
            load: Mutex::new(Some(Box::new(load))),
            encoder: OnceLock::new(),
            n_workers: workers.max(1),
            threads: OnceLock::new(),
            cache,
            state: Mutex::new(State { queue: Queue::of(workers), ..State::default() }),
            wake: Condvar::new(),
            metrics: Mutex::default(),
        };
        Self(Arc::new(Handle(Arc::new(shared))))
    }

    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.0.0.info
    }

    /// Begins to load the model in the background. What goes wrong is the answer to the texts that come.
    pub fn prepare(&self) {
        let shared = &self.0.0;
        if shared.threads().is_ok() {
            shared.lock().queue.prepare();
            shared.wake.notify_one();
        }
    }

    /// One handle a text, in order, at once. A text is computed while a handle to it is held. Where the queue has no
    /// room for all of them, all fail with [`EmbedError::Busy`].
    #[must_use]
    pub fn embed(&self, texts: Vec<String>, purpose: Purpose, lane: Lane) -> Vec<Pending> {
        let handles = self.known(texts, purpose);
        self.compute(&handles, purpose, lane);
        handles
    }

    /// One handle a text, in order. Those that the cache knows have their vector; nothing is computed for the others
    /// before [`Embedder::compute`] is called for them.
    #[must_use]
    pub fn known(&self, texts: Vec<String>, purpose: Purpose) -> Vec<Pending> {
        texts.into_iter().map(|text| self.0.0.pending(text, purpose)).collect()
    }

    /// Has what [`Embedder::known`] did not know computed. To be called once for a handle.
    pub fn compute(&self, handles: &[Pending], purpose: Purpose, lane: Lane) {
        let unknown: Vec<&Pending> = handles.iter().filter(|handle| handle.try_get().is_none()).collect();
        if !unknown.is_empty()
            && let Err(error) = self.0.0.enqueue(&unknown, purpose, lane)
        {
            for handle in unknown {
                handle.slot().finish(Err(error.clone()));
            }
        }
    }

    /// Leaves no vector in the cache.
    pub fn clear_cache(&self) {
        if let Some(cache) = &self.0.0.cache {
            cache.clear();
        }
    }

    /// Counts tokens as [`Embedder::embed`] would. Loads the tokenizer if need be, never the model; blocks for as long
    /// as that and the counting take.
    pub fn measure(&self, texts: &[String], purpose: Purpose) -> Result<Vec<TokenCount>, EmbedError> {
        let encoder = self.0.0.encoder()?;
        guarded(|| texts.iter().map(|text| Ok(encoder.tokens(text, purpose)?.count)).collect())
    }

    /// What stands in for a vector until that is there; see [`Encoder::sketch`].
    #[must_use]
    pub fn sketch(&self, words: &[(&str, f32)]) -> Option<Vec<f32>> {
        let sketch = self.0.0.encoder().and_then(|encoder| guarded(|| Ok(encoder.sketch(words))));
        sketch.unwrap_or_else(|error| {
            tracing::debug!(%error, "no sketch");
            None
        })
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let waiting = self.0.0.lock().queue.waiting();
        let cache = self.0.0.cache.as_ref().map(Cache::metrics).unwrap_or_default();
        Metrics { waiting, cache, ..self.0.0.metrics().clone() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
        self.0.fail_waiting();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encoder(&self) -> Result<Arc<dyn Encoder>, EmbedError> {
        let encoder = self.encoder.get_or_init(|| {
            let load = self.load.lock().unwrap_or_else(PoisonError::into_inner).take();
            guarded(load.expect("taken here alone, which happens once"))
        });
        encoder.clone()
    }

    /// Starts the threads, once.
    fn threads(self: &Arc<Self>) -> Result<(), EmbedError> {
        let started = self.threads.get_or_init(|| {
            for number in 0..self.n_workers {
                let shared = Arc::clone(self);
                let thread = std::thread::Builder::new().name(format!("embed-{number}"));
                match thread.spawn(move || shared.work()) {
                    Ok(_) => {}
                    Err(cause) if number == 0 => {
                        return Err(EmbedError::Run { reason: format!("cannot start a thread: {cause}") });
                    }
                    Err(cause) => tracing::warn!(%cause, threads = number, "fewer threads for the model than asked"),
                }
            }
            Ok(())
        });
        started.clone()
    }

    /// A text with its vector, where the cache knows it.
    fn pending(&self, text: String, purpose: Purpose) -> Pending {
        let Some(cache) = &self.cache else { return Pending::new(text, None) };
        let key = cache.key(&text, purpose);
        let pending = Pending::new(text, Some(key));
        if let Some(vector) = cache.get(&key) {
            pending.slot().finish(Ok(vector));
        }
        pending
    }

    fn enqueue(self: &Arc<Self>, handles: &[&Pending], purpose: Purpose, lane: Lane) -> Result<(), EmbedError> {
        self.threads()?;
        let since = Instant::now();
        let mut state = self.lock();
        if !state.queue.has_room(handles.len()) {
            let waiting = state.queue.waiting();
            drop(state);
            return Err(EmbedError::Busy { retry_after_ms: self.retry_after_ms(waiting) });
        }
        state.queue.prepare();
        for handle in handles {
            state.queue.push(handle.slot(), purpose, lane, since);
        }
        drop(state);
        self.wake(handles.len());
        Ok(())
    }

    fn wake(&self, n_texts: usize) {
        if n_texts == 1 {
            self.wake.notify_one();
        } else {
            self.wake.notify_all();
        }
    }

    /// How long what waits will take, going by the runs so far.
    fn retry_after_ms(&self, waiting: usize) -> u32 {
        let metrics = self.metrics();
        let Some(each) = metrics.computing.as_micros().checked_div(u128::from(metrics.texts)) else { return 1_000 };
        let all = each * waiting as u128 / self.n_workers as u128 / 1_000;
        u32::try_from(all.clamp(50, 60_000)).expect("clamped")
    }

    /// The life of a thread.
    fn work(&self) {
        let mut state = self.lock();
        while !state.closed {
            let idle = state.idle;
            if let Some(work) = state.queue.take(idle) {
                drop(state);
                self.perform(work);
                state = self.lock();
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        drop(state);
        self.fail_waiting();
    }

    fn fail_waiting(&self) {
        let waiting = self.lock().queue.drain();
        for slot in waiting.iter().filter_map(std::sync::Weak::upgrade) {
            slot.finish(Err(EmbedError::Closed));
        }
    }

    fn perform(&self, work: Work) {
        match work {
            Work::Prepare => self.load_model(),
            Work::Tokenise(lane, texts) => self.tokenise(lane, texts),
            Work::Run(group) => self.run(&group),
        }
    }

    fn load_model(&self) {
        let prepared = self.encoder().and_then(|encoder| guarded(|| encoder.prepare()));
        if let Err(cause) = prepared {
            tracing::debug!(%cause, model = self.info.name, "texts get no vectors");
        }
    }

    fn tokenise(&self, lane: Lane, texts: Vec<Waiting>) {
        let mut tokenised = Vec::with_capacity(texts.len());
        for text in texts {
            let Some(slot) = text.slot.upgrade() else { continue };
            let tokens = self.encoder().and_then(|encoder| guarded(|| encoder.tokens(&slot.text, text.purpose)));
            match tokens {
                Ok(tokens) => tokenised.push(text.tokenised(tokens.ids)),
                Err(error) => self.fail(&slot, error),
            }
        }
        let n_texts = tokenised.len();
        self.lock().queue.push_tokenised(lane, tokenised);
        // This thread goes on with one of them itself.
        if n_texts > 1 {
            self.wake(n_texts - 1);
        }
    }

    fn run(&self, group: &[Tokenised]) {
        let started = Instant::now();
        // Texts that read the same are computed once.
        let mut sequences: Vec<&[u32]> = Vec::with_capacity(group.len());
        let mut places: HashMap<&[u32], usize> = HashMap::with_capacity(group.len());
        for text in group {
            places.entry(&text.ids).or_insert_with(|| {
                sequences.push(&text.ids);
                sequences.len() - 1
            });
        }
        let vectors = self.encoder().and_then(|encoder| guarded(|| encoder.encode(&sequences)));
        let vectors = vectors.and_then(|vectors| {
            if vectors.len() == sequences.len() {
                return Ok(vectors);
            }
            let reason = format!("{} vectors for {} texts", vectors.len(), sequences.len());
            Err(EmbedError::Run { reason })
        });
        let outcomes: Vec<Result<Arc<Vec<f32>>, EmbedError>> = match vectors {
            Ok(vectors) => vectors.into_iter().map(|vector| self.checked(vector)).collect(),
            Err(error) => vec![Err(error); sequences.len()],
        };
        self.count(group, started, sequences.len(), outcomes.iter().all(Result::is_ok));
        for text in group {
            let Some(slot) = text.slot.upgrade() else { continue };
            match &outcomes[places[&text.ids[..]]] {
                Ok(vector) => {
                    slot.finish(Ok(Arc::clone(vector)));
                    // The caller need not wait for this.
                    if let (Some(cache), Some(key)) = (&self.cache, &slot.key) {
                        cache.put(key, vector);
                    }
                }
                Err(error) => self.fail(&slot, error.clone()),
            }
        }
    }

    /// Refuses what is no unit vector of the model's space.
    fn checked(&self, vector: Vec<f32>) -> Result<Arc<Vec<f32>>, EmbedError> {
        let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let is_unit = (squares - 1.0).abs() < UNIT_TOLERANCE;
        if vector.len() == self.info.dimensions as usize && is_unit {
            return Ok(Arc::new(vector));
        }
        let reason = format!("it gave {} numbers of length {:.4}", vector.len(), squares.sqrt());
        Err(EmbedError::Run { reason })
    }

    fn count(&self, group: &[Tokenised], started: Instant, n_sequences: usize, is_ok: bool) {
        let mut metrics = self.metrics();
        metrics.runs += 1;
        metrics.computing += started.elapsed();
        metrics.waited += group.iter().map(|text| started - text.since).sum::<Duration>();
        let size = n_sequences.max(1).ilog2() as usize;
        let last = metrics.run_sizes.len() - 1;
        metrics.run_sizes[size.min(last)] += 1;
        if is_ok {
            metrics.texts += group.len() as u64;
            metrics.tokens += group.iter().map(|text| text.ids.len() as u64).sum::<u64>();
        }
    }

    fn fail(&self, slot: &Slot, error: EmbedError) {
        self.metrics().failed += 1;
        slot.finish(Err(error));
    }
}

/// Runs what is not ours; a panic in it is an error.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, EmbedError>) -> Result<T, EmbedError> {
    crate::guarded::catch(run).unwrap_or_else(|reason| Err(EmbedError::Panicked { reason }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::embedder::{CacheSize, HashEncoder, MOST_WAITING, Tokens, unit};

    /// Reads bytes as tokens, records its runs, and does what a text says.
    struct Fake {
        runs: Sender<Vec<String>>,
        /// A run with a text that begins with `hold` waits for a word from here.
        release: Mutex<Receiver<()>>,
    }

    fn text_of(ids: &[u32]) -> String {
        ids.iter().map(|id| char::from_u32(*id).unwrap()).collect()
    }

    fn vector_of(text: &str) -> Vec<f32> {
        let encoder = HashEncoder::new(32, 256);
        encoder.encode(&[&encoder.tokens(text, Purpose::Document).unwrap().ids]).unwrap().remove(0)
    }

    impl Encoder for Fake {
        fn tokens(&self, text: &str, _purpose: Purpose) -> Result<Tokens, EmbedError> {
            if text == "unreadable" {
                return Err(EmbedError::Tokens { reason: "asked to".to_owned() });
            }
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            let tokens = u32::try_from(ids.len()).unwrap();
            Ok(Tokens { ids, count: TokenCount { tokens, unknown: 0 } })
        }

        fn prepare(&self) -> Result<(), EmbedError> {
            Ok(())
        }

        fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let texts: Vec<String> = sequences.iter().map(|ids| text_of(ids)).collect();
            let has = |start: &str| texts.iter().any(|text| text.starts_with(start));
            self.runs.send(texts.clone()).unwrap();
            if has("hold") {
                self.release.lock().unwrap().recv().unwrap();
            }
            if has("fail") {
                return Err(EmbedError::Run { reason: "asked to".to_owned() });
            }
            assert!(!has("panic"), "asked to");
            if has("none") {
                return Ok(Vec::new());
            }
            let vectors = texts.iter().map(|text| match text.as_str() {
                "nan " => vec![f32::NAN; 32],
                "zero" => vec![0.0; 32],
                "thin" => vec![1.0],
                text => vector_of(text),
            });
            Ok(vectors.collect())
        }
    }

    struct Bench {
        embedder: Embedder,
        runs: Receiver<Vec<String>>,
        release: Sender<()>,
    }

    fn bench(workers: usize) -> Bench {
        cached(workers, None)
    }

    fn cached(workers: usize, cache: Option<Cache>) -> Bench {
        let (run, runs) = channel();
        let (release, released) = channel();
        let fake = Fake { runs: run, release: Mutex::new(released) };
        let info = HashEncoder::new(32, 256).info();
        Bench { embedder: Embedder::start(info, move || Ok(Arc::new(fake)), workers, cache), runs, release }
    }

    impl Bench {
        fn embed(&self, lane: Lane, texts: &[&str]) -> Vec<Pending> {
            self.embedder.embed(texts.iter().map(|text| (*text).to_owned()).collect(), Purpose::Document, lane)
        }

        /// The only worker is in a run from here until `release`.
        fn hold(&self) -> Vec<Pending> {
            let held = self.embed(Lane::Interactive, &["hold"]);
            assert_eq!(self.runs.recv().unwrap(), ["hold"]);
            held
        }
    }

    #[track_caller]
    fn assert_own(handles: &[Pending]) {
        for handle in handles {
            assert_eq!(*handle.wait_blocking().unwrap(), vector_of(handle.text()), "{}", handle.text());
        }
    }

    /// One call with these texts gets these errors, where there is one, and the worker goes on.
    #[track_caller]
    fn check(texts: &[&str], expected: &[Option<&str>]) {
        let bench = bench(1);
        let handles = bench.embed(Lane::Interactive, texts);
        let errors: Vec<_> =
            handles.iter().map(|handle| handle.wait_blocking().err().map(|error| error.to_string())).collect();
        let errors: Vec<_> = errors.iter().map(Option::as_deref).collect();
        assert_eq!(errors, expected);
        assert_own(&bench.embed(Lane::Interactive, &["after"]));
        let n_failed = expected.iter().flatten().count() as u64;
        assert_eq!(bench.embedder.metrics().failed, n_failed);
    }

    #[test]
    fn no_text_is_no_run() {
        check(&[], &[]);
    }

    #[test]
    fn a_failing_run_fails_its_texts_alone() {
        let error = Some("cannot run the model: asked to");
        check(&["fail", "other"], &[error, error]);
    }

    #[test]
    fn a_panic_fails_its_texts_alone() {
        let error = Some("the model panicked: asked to");
        check(&["panic", "other"], &[error, error]);
    }

    #[test]
    fn a_text_that_cannot_be_split_fails_alone() {
        check(&["unreadable", "four"], &[Some("cannot split a text into tokens: asked to"), None]);
    }

    #[test]
    fn what_is_no_unit_vector_is_an_error() {
        let not_a_number = Some("cannot run the model: it gave 32 numbers of length NaN");
        let zero = Some("cannot run the model: it gave 32 numbers of length 0.0000");
        let thin = Some("cannot run the model: it gave 1 numbers of length 1.0000");
        check(&["nan ", "zero", "thin", "good"], &[not_a_number, zero, thin, None]);
        let none = Some("cannot run the model: 0 vectors for 2 texts");
        check(&["none", "good"], &[none, none]);
    }

    #[test]
    fn what_waits_while_a_run_lasts_goes_together() {
        let bench = bench(1);
        let held = bench.hold();
        let handles = bench.embed(Lane::Interactive, &["aa", "b", "cc"]);
        let more = bench.embed(Lane::Interactive, &["d", "ee", "fff", "aa"]);
        bench.release.send(()).unwrap();
        for handles in [held, handles, more] {
            assert_own(&handles);
        }
        let runs: Vec<_> = bench.runs.try_iter().collect();
        assert_eq!(runs, [["aa", "b", "cc", "d", "ee", "fff"]]);
        let metrics = bench.embedder.metrics();
        assert_eq!((metrics.runs, metrics.texts, metrics.tokens, metrics.waiting), (2, 8, 17, 0));
        assert_eq!(metrics.run_sizes[..4], [1, 0, 1, 0]);
    }

    #[test]
    fn interactive_texts_overtake_the_background() {
        let bench = bench(1);
        let held = bench.hold();
        let slow = bench.embed(Lane::Background, &["slow"]);
        let soon = bench.embed(Lane::Interactive, &["soon"]);
        bench.release.send(()).unwrap();
        for handles in [held, slow, soon] {
            assert_own(&handles);
        }
        assert_eq!(bench.runs.try_iter().collect::<Vec<_>>(), [["soon"], ["slow"]]);
    }

    #[test]
    fn texts_that_nobody_waits_for_are_not_computed() {
        let bench = bench(1);
        let held = bench.hold();
        drop(bench.embed(Lane::Interactive, &["gone"]));
        let kept = bench.embed(Lane::Interactive, &["kept"]);
        bench.release.send(()).unwrap();
        assert_own(&held);
        assert_own(&kept);
        assert_eq!(bench.runs.try_iter().collect::<Vec<_>>(), [["kept"]]);
    }

    #[test]
    fn a_full_queue_refuses_whole_calls() {
        let bench = bench(1);
        let held = bench.hold();
        let full = bench.embed(Lane::Background, &vec!["x"; MOST_WAITING]);
        let refused = bench.embed(Lane::Interactive, &["y", "z"]);
        for handle in refused {
            assert_eq!(handle.wait_blocking(), Err(EmbedError::Busy { retry_after_ms: 1_000 }));
        }
        drop(full);
        let accepted = bench.embed(Lane::Interactive, &["y", "z"]);
        bench.release.send(()).unwrap();
        assert_own(&held);
        assert_own(&accepted);
    }

    #[test]
    fn what_the_cache_knows_is_not_computed() {
        let directory = tempfile::tempdir().unwrap();
        let size = CacheSize { memory: 1 << 20, disk: 1 << 20, file: directory.path().join("cache") };
        let bench = cached(1, Some(Cache::new("fake", 32, &size)));
        assert_own(&bench.embed(Lane::Interactive, &["one", "two"]));
        assert!(bench.embed(Lane::Interactive, &["fail"])[0].wait_blocking().is_err());
        // Both are kept before the next run begins, which the same thread does.
        let handles = bench.embed(Lane::Background, &["two", "three", "one"]);
        assert_eq!([0, 2].map(|i: usize| handles[i].try_get().is_some()), [true; 2]);
        assert_own(&handles);
        assert!(bench.embed(Lane::Interactive, &["fail"])[0].wait_blocking().is_err());
        assert_eq!(bench.runs.try_iter().collect::<Vec<_>>().len(), 4);
        let expected = CacheMetrics { memory_hits: 2, disk_hits: 0, misses: 5 };
        assert_eq!(bench.embedder.metrics().cache, expected);
        bench.embedder.clear_cache();
        assert_eq!(bench.embedder.known(vec!["one".to_owned()], Purpose::Document)[0].try_get(), None);
    }

    #[test]
    fn closing_fails_what_waits() {
        let Bench { embedder, runs, release } = bench(1);
        let held = embedder.embed(vec!["hold".to_owned()], Purpose::Document, Lane::Interactive);
        assert_eq!(runs.recv().unwrap(), ["hold"]);
        let waiting = embedder.embed(vec!["late".to_owned()], Purpose::Document, Lane::Interactive);
        drop(embedder);
        assert_eq!(waiting[0].wait_blocking(), Err(EmbedError::Closed));
        release.send(()).unwrap();
        assert_own(&held);
    }

    #[test]
    fn a_model_that_does_not_load_fails_every_text() {
        let error = EmbedError::Unknown { name: "m".to_owned(), known: "none".to_owned() };
        let answer = error.clone();
        let embedder = Embedder::start(HashEncoder::new(8, 8).info(), move || Err(answer), 2, None);
        let handles = embedder.embed(vec!["a".to_owned(), "b".to_owned()], Purpose::Query, Lane::Interactive);
        for handle in handles {
            assert_eq!(handle.wait_blocking(), Err(error.clone()));
        }
        assert_eq!(embedder.measure(&["a".to_owned()], Purpose::Query), Err(error));
    }

    #[test]
    fn nothing_is_loaded_before_it_is_needed() {
        let embedder = Embedder::start(HashEncoder::new(8, 8).info(), || panic!("asked to"), 1, None);
        assert_eq!(embedder.embed(Vec::new(), Purpose::Query, Lane::Interactive).len(), 0);
        assert_eq!(embedder.metrics(), Metrics::default());
        let panicked = Err(EmbedError::Panicked { reason: "asked to".to_owned() });
        assert_eq!(embedder.measure(&["a".to_owned()], Purpose::Query), panicked);
    }

    #[test]
    fn concurrent_callers_get_their_own_vectors() {
        let bench = bench(2);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut callers = tokio::task::JoinSet::new();
            for caller in 0..200 {
                let embedder = bench.embedder.clone();
                callers.spawn(async move {
                    let texts = (0..=caller % 3).map(|n| format!("caller {caller} text {n}")).collect();
                    for handle in embedder.embed(texts, Purpose::Document, Lane::Interactive) {
                        assert_eq!(*handle.wait().await.unwrap(), vector_of(handle.text()));
                    }
                });
            }
            while let Some(caller) = callers.join_next().await {
                caller.unwrap();
            }
        });
        assert_eq!(bench.embedder.metrics().waiting, 0);
    }

    #[test]
    fn what_is_ready_is_ready() {
        let vector = unit(vec![3.0, 4.0]).unwrap();
        assert_eq!(Pending::ready(vector.clone()).try_get(), Some(Ok(Arc::new(vector))));
        assert_eq!(Pending::failed(EmbedError::Closed).wait_blocking(), Err(EmbedError::Closed));
    }
}
