//! Measures what the border of the component costs: one `add` of one short fact, natively and through wasmtime, over
//! capabilities that do nothing and therefore cost the same on both sides. Ends with an error above ten microseconds.
//!
//! Rounds alternate and the medians are compared. Time is that of this thread on a processor where the system tells it,
//! so that other work on the machine counts less.
use cairn::component::{Snapshot, Vectors, WASM};
use cairn::contract::{embedding, index, logging, memory, storage, system, types};
use std::time::Instant;
use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// What an add may cost more through the component.
const MOST_MICROSECONDS: f64 = 10.0;
const ROUNDS: usize = 11;
const ADDS: u32 = 2_000;

fn main() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let (native, component) = runtime.block_on(measured()).map_err(|error| format!("{error:#}"))?;
    println!("an add natively:              {native:6.2} µs");
    println!("an add through the component: {component:6.2} µs");
    println!("the border:                   {:6.2} µs, at most {MOST_MICROSECONDS} wanted", component - native);
    if component - native > MOST_MICROSECONDS {
        return Err("the border costs more than wanted".to_owned());
    }
    Ok(())
}

/// The medians, in microseconds an add.
async fn measured() -> wasmtime::Result<(f64, f64)> {
    let mut guest = warm().await?;
    let (items, options) = (vec![native::fact()], native::options());
    let (given, wishes) = (
        vec![types::Content::fact("Ana is vegetarian since May", types::Scope::user("ana"))],
        memory::AddOptions::default(),
    );
    let (mut natively, mut through) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let start = Clock::start();
        for _ in 0..ADDS {
            let added = guest::add::add(&native::Nothing, &items, &options);
            assert!(std::hint::black_box(added).is_ok_and(|added| added.items[0].is_ok()));
        }
        natively.push(start.microseconds());
        let start = Clock::start();
        for _ in 0..ADDS {
            guest.store.set_epoch_deadline(1_000_000);
            let added = guest.verbs.call_add(&mut guest.store, &given, &wishes).await?;
            assert!(std::hint::black_box(added).is_ok_and(|added| added.items[0].is_ok()));
        }
        through.push(start.microseconds());
    }
    Ok((median(natively), median(through)))
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2] / f64::from(ADDS)
}

/// Time of this thread on a processor; where the system does not tell it, time on the wall.
struct Clock {
    on_processor: Option<u64>,
    on_wall: Instant,
}

impl Clock {
    fn start() -> Self {
        Clock { on_processor: on_processor(), on_wall: Instant::now() }
    }

    fn microseconds(&self) -> f64 {
        match (self.on_processor, on_processor()) {
            #[expect(clippy::cast_precision_loss, reason = "a round takes milliseconds")]
            (Some(start), Some(end)) => (end - start) as f64 / 1e3,
            _ => self.on_wall.elapsed().as_secs_f64() * 1e6,
        }
    }
}

/// In nanoseconds; Linux alone tells.
fn on_processor() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().next()?.parse().ok()
}

// ---- natively

/// The capabilities of the logic compiled natively: an empty store that takes everything.
mod native {
    use guest::Result;
    use guest::capability::{Embedding, Index, Logging, Snapshot, Storage, System};
    use guest::embedding::{ModelInfo, Purpose, TokenCount};
    use guest::index::{Candidates, Corpus, Probe, Progress, Token};
    use guest::logging::Level;
    use guest::memory::{AddOptions, Comparison, Extraction, Promise, WriteOptions};
    use guest::storage::{Applied, ApplyOptions, Operation, Pairs, Precondition, Range, Usage};
    use guest::system::Stamp;
    use guest::types::{Content, Error, Kind, Scope, Timestamp};

    pub(super) struct Nothing;

    fn unused<T>() -> Result<T> {
        Err(Error::Internal("an add does not ask this".to_owned()))
    }

    impl System for Nothing {
        fn now(&self) -> Timestamp {
            super::NOW
        }
        fn reserve(&self, _: u32) -> Stamp {
            Stamp { at: super::NOW, first: 0 }
        }
        fn random(&self, length: u32) -> Vec<u8> {
            vec![7; length as usize]
        }
    }

    impl Logging for Nothing {
        fn log(&self, _: Level, _: &str, _: &str) {}
    }

    impl Embedding for Nothing {
        type Vectors = ();
        fn info(&self) -> Result<ModelInfo> {
            unused()
        }
        fn embed(&self, _: &[String], _: Purpose) -> Result<()> {
            Ok(())
        }
        fn measure(&self, _: &[String], _: Purpose) -> Result<Vec<TokenCount>> {
            unused()
        }
        fn similarity(&self, (): &(), _: u32, _: &[u32]) -> Result<Vec<f32>> {
            unused()
        }
    }

    impl Index for Nothing {
        fn analyze(&self, _: &[String]) -> Result<Vec<Vec<Token>>> {
            unused()
        }
        fn statistics(&self, _: &Scope, _: &[String]) -> Result<Corpus> {
            unused()
        }
        fn search(&self, _: &[Probe], _: Option<&()>) -> Result<Vec<Candidates>> {
            unused()
        }
        fn load(&self, _: &[String]) -> Result<((), Vec<u32>)> {
            unused()
        }
        fn progress(&self, _: u32) -> Result<Progress> {
            unused()
        }
    }

    impl Snapshot for Nothing {
        fn get(&self, _: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
            Ok(vec![None; keys.len()])
        }
        fn scan(&self, _: &str, _: &Range) -> Result<Pairs> {
            unused()
        }
    }

    impl Storage for Nothing {
        type Snapshot = Nothing;
        fn snapshot(&self) -> Result<Nothing> {
            Ok(Nothing)
        }
        fn apply(&self, _: &[Operation], _: &[Precondition], _: Option<&()>, _: ApplyOptions) -> Result<Applied> {
            Ok(Applied::Committed(1))
        }
        fn sync(&self) -> Result<()> {
            unused()
        }
        fn usage(&self) -> Result<Usage> {
            unused()
        }
    }

    pub(super) fn fact() -> Content {
        Content {
            text: "Ana is vegetarian since May".to_owned(),
            scope: Scope { user: Some("ana".to_owned()), agent: None, app: None, run: None },
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

    pub(super) fn options() -> AddOptions {
        let write = WriteOptions { promise: Promise::Indexed, idempotency_key: None };
        AddOptions { write, comparison: Comparison::Exact, extraction: Extraction::None }
    }
}

/// 2024-01-01.
const NOW: i64 = 1_704_067_200_000;

// ---- through the component

struct Warm {
    store: Store<Nothing>,
    verbs: memory::Guest,
}

/// An instance as the engine keeps them.
async fn warm() -> wasmtime::Result<Warm> {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, WASM)?;
    let mut linker: Linker<Nothing> = Linker::new(&engine);
    types::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    system::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    logging::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    embedding::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    index::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    storage::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |nothing| nothing)?;
    let pre = linker.instantiate_pre(&component)?;
    let mut store = Store::new(&engine, Nothing);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let instance = pre.instantiate_async(&mut store).await?;
    let verbs = memory::GuestIndices::new(&pre)?.load(&mut store, &instance)?;
    Ok(Warm { store, verbs })
}

/// The same empty store behind the imports.
struct Nothing;

/// The outer result is the host's, the inner one the answer.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

#[expect(clippy::unnecessary_wraps, reason = "what the traits answer")]
fn unused<T>() -> Answer<T> {
    Ok(Err(types::Error::Internal("an add does not ask this".to_owned())))
}

impl types::Host for Nothing {}

impl system::Host for Nothing {
    fn now(&mut self) -> wasmtime::Result<i64> {
        Ok(NOW)
    }
    fn reserve(&mut self, _: u32) -> wasmtime::Result<system::Stamp> {
        Ok(system::Stamp { at: NOW, first: 0 })
    }
    fn random(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(vec![7; length as usize])
    }
}

impl logging::Host for Nothing {
    fn log(&mut self, _: logging::Level, _: String, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl embedding::HostVectors for Nothing {
    fn from_lists(&mut self, _: Vec<Vec<f32>>) -> Answer<Resource<Vectors>> {
        unused()
    }
    async fn to_lists(&mut self, _: Resource<Vectors>, _: Vec<u32>) -> Answer<Vec<Vec<f32>>> {
        unused()
    }
    async fn similarity(&mut self, _: Resource<Vectors>, _: u32, _: Vec<u32>) -> Answer<Vec<f32>> {
        unused()
    }
    fn drop(&mut self, _: Resource<Vectors>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl embedding::Host for Nothing {
    fn info(&mut self) -> Answer<embedding::ModelInfo> {
        unused()
    }
    fn embed(&mut self, _: Vec<String>, _: embedding::Purpose, _: bool) -> Answer<Resource<Vectors>> {
        Ok(Ok(Resource::new_own(1)))
    }
    fn measure(&mut self, _: Vec<String>, _: embedding::Purpose) -> Answer<Vec<embedding::TokenCount>> {
        unused()
    }
}

impl index::Host for Nothing {
    fn analyze(&mut self, _: Vec<String>) -> Answer<Vec<Vec<index::Token>>> {
        unused()
    }
    fn statistics(&mut self, _: types::Scope, _: Vec<String>) -> Answer<index::Corpus> {
        unused()
    }
    async fn search(&mut self, _: Vec<index::Probe>, _: Option<Resource<Vectors>>) -> Answer<Vec<index::Candidates>> {
        unused()
    }
    async fn late(&mut self, _: u32, _: Resource<Vectors>, _: Vec<String>) -> Answer<Vec<Option<f32>>> {
        unused()
    }
    async fn load(&mut self, _: Vec<String>) -> Answer<(Resource<Vectors>, Vec<u32>)> {
        unused()
    }
    async fn status(&mut self, _: u32) -> Answer<index::Progress> {
        unused()
    }
}

impl storage::HostSnapshot for Nothing {
    fn open(&mut self) -> Answer<Resource<Snapshot>> {
        Ok(Ok(Resource::new_own(1)))
    }
    fn get(&mut self, _: Resource<Snapshot>, _: String, keys: Vec<Vec<u8>>) -> Answer<Vec<Option<Vec<u8>>>> {
        Ok(Ok(vec![None; keys.len()]))
    }
    fn scan(&mut self, _: Resource<Snapshot>, _: String, _: storage::Range) -> Answer<storage::Pairs> {
        unused()
    }
    fn drop(&mut self, _: Resource<Snapshot>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl storage::Host for Nothing {
    async fn apply(
        &mut self,
        _: Vec<storage::Operation>,
        _: Vec<storage::Precondition>,
        _: Option<Resource<Vectors>>,
        _: storage::ApplyOptions,
    ) -> Answer<storage::Applied> {
        Ok(Ok(storage::Applied::Committed(1)))
    }
    async fn sync(&mut self) -> Answer<()> {
        unused()
    }
    fn status(&mut self) -> Answer<storage::Usage> {
        unused()
    }
}
