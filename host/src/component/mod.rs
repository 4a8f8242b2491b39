//! The memory logic as a component in wasmtime: compiled once, instances kept warm, one call an instance at a time. With
//! `contract.rs` the only place that knows wasmtime; what a call means is the guest's.
mod imports;

pub use imports::{Snapshot, Vectors};

use crate::contract::memory as verbs;
use crate::contract::types::Error;
use crate::contract::{self, MemoryEngine, MemoryEnginePre};
use crate::room::{Room, Rooms};
use crate::serving::Serving;
use crate::store::{Store as Records, Tenant};
use crate::system::System;
use crate::writer::Writer;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store,
};

/// The component that is built with the host. It imports `cairn:memory` and nothing else.
pub static WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cairn.wasm"));

/// The contract, file by file in reading order, with its documentation.
pub static WIT: &[(&str, &str)] = &[
    ("world.wit", include_str!("../../../wit/world.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("memory.wit", include_str!("../../../wit/memory.wit")),
    ("embedding.wit", include_str!("../../../wit/embedding.wit")),
    ("index.wit", include_str!("../../../wit/index.wit")),
    ("storage.wit", include_str!("../../../wit/storage.wit")),
    ("models.wit", include_str!("../../../wit/models.wit")),
    ("system.wit", include_str!("../../../wit/system.wit")),
];

/// Calls in progress; more wait in front of the pool.
const CALLS: usize = 256;
/// What one instance may grow to.
const MEMORY: usize = 512 << 20;
/// An instance that grew past this is not kept.
const KEPT: usize = 4 << 20;
/// How long the guest computes before others get their turn.
const TICK: Duration = Duration::from_millis(10);

/// What the imports reach: everything below the component.
pub(crate) struct Capabilities {
    pub(crate) records: Records,
    pub(crate) writer: Writer,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) system: Arc<dyn System>,
}

/// Why the component cannot run at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the component: {0:#}")]
pub struct ComponentError(wasmtime::Error);

/// The component, ready to be called for any tenant.
pub(crate) struct Machine {
    engine: Engine,
    pre: MemoryEnginePre<Ctx>,
    capabilities: Arc<Capabilities>,
    calls: tokio::sync::Semaphore,
    deadline: Duration,
}

/// One tenant's instances: a store never serves two.
pub(crate) struct Instances {
    machine: Arc<Machine>,
    room: Arc<Room>,
    idle: Mutex<Vec<Instance>>,
}

struct Instance {
    store: Store<Ctx>,
    engine: MemoryEngine,
}

type Own = HasSelf<Ctx>;

/// The data of a store. The guest never names its tenant: it is bound here.
pub(crate) struct Ctx {
    pub(crate) table: ResourceTable,
    pub(crate) tenant: Tenant,
    pub(crate) room: Arc<Room>,
    pub(crate) capabilities: Arc<Capabilities>,
    limits: Limits,
}

/// What one instance may take. Growing past it is a trap, which only the call that did it feels.
#[derive(Default)]
struct Limits {
    /// Bytes of its memory; they never become fewer.
    memory: usize,
}

/// A call needs more than [`MEMORY`].
#[derive(Debug, thiserror::Error)]
#[error("the call needs more than {} MiB; ask for fewer or smaller items", MEMORY >> 20)]
struct TooMuchMemory;

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MEMORY {
            return Err(TooMuchMemory.into());
        }
        self.memory = desired;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 10_000)
    }
}

impl Machine {
    /// Compiles the component, or takes the compiled form from `cache`, a directory that only this user can write.
    pub(crate) fn new(
        capabilities: Arc<Capabilities>,
        cache: Option<PathBuf>,
        deadline: Duration,
    ) -> Result<Machine, ComponentError> {
        Self::prepare(capabilities, cache, deadline).map_err(ComponentError)
    }

    fn prepare(
        capabilities: Arc<Capabilities>,
        cache: Option<PathBuf>,
        deadline: Duration,
    ) -> wasmtime::Result<Machine> {
        let mut config = Config::new();
        config.concurrency_support(false).epoch_interruption(true);
        if let Some(directory) = cache {
            let mut settings = CacheConfig::new();
            settings.with_directory(directory);
            match Cache::new(settings) {
                Ok(cache) => {
                    config.cache(Some(cache));
                }
                Err(error) => tracing::info!("the component is compiled at each start: {error:#}"),
            }
        }
        let most = u32::try_from(2 * CALLS).expect("small");
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(most).total_core_instances(most).total_memories(most).total_tables(most);
        pool.total_stacks(most).max_memory_size(MEMORY);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = match Engine::new(&config) {
            Ok(engine) => engine,
            Err(error) => {
                // The pool reserves much address space, which some systems limit.
                tracing::info!("instances are allocated one by one: {error:#}");
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                Engine::new(&config)?
            }
        };
        let component = Component::new(&engine, WASM)?;
        let mut linker: Linker<Ctx> = Linker::new(&engine);
        contract::types::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::system::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::logging::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::embedding::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::index::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::storage::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::reranking::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        contract::llm::add_to_linker::<_, Own>(&mut linker, |ctx| ctx)?;
        let pre = MemoryEnginePre::new(linker.instantiate_pre(&component)?)?;
        tick(&engine);
        Ok(Machine { engine, pre, capabilities, calls: tokio::sync::Semaphore::new(CALLS), deadline })
    }

    /// The instances of one tenant.
    pub(crate) fn instances(self: &Arc<Self>, room: Arc<Room>) -> Instances {
        Instances { machine: self.clone(), room, idle: Mutex::default() }
    }
}

/// Lets time pass for the guests of an engine, as long as it is there.
fn tick(engine: &Engine) {
    let engine = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
}

impl Instances {
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.machine.capabilities
    }

    /// Those of another room.
    pub(crate) fn of(&self, room: Arc<Room>) -> Instances {
        self.machine.instances(room)
    }

    /// Waits until no call is under way, and keeps new ones waiting while the answer lives.
    pub(crate) async fn still(&self) -> Result<SemaphorePermit<'_>, Error> {
        let all = u32::try_from(CALLS).expect("small");
        self.machine.calls.acquire_many(all).await.map_err(|_| closed())
    }

    /// Runs one call in an instance of its own. The instance is kept only after a clean end: a trap, a timeout or a
    /// caller that went away drops it with all it held.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&verbs::Guest, &mut Store<Ctx>) -> wasmtime::Result<Result<T, Error>>,
    ) -> Result<T, Error> {
        let work = async {
            let _permit = self.machine.calls.acquire().await.map_err(|_| closed())?;
            self.run(call).await
        };
        tokio::time::timeout(self.machine.deadline, work).await.unwrap_or(Err(Error::Timeout))
    }

    /// As `embedded_texts`, for the host's own work: also while calls are kept waiting.
    pub(crate) async fn embedded_texts_at_once(&self, ids: &[String]) -> Result<Vec<Option<Vec<String>>>, Error> {
        let work =
            self.run(async |guest: &verbs::Guest, store: &mut Store<Ctx>| guest.call_embedded_texts(store, ids).await);
        tokio::time::timeout(self.machine.deadline, work).await.unwrap_or(Err(Error::Timeout))
    }

    async fn run<T>(
        &self,
        call: impl AsyncFnOnce(&verbs::Guest, &mut Store<Ctx>) -> wasmtime::Result<Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut instance = self.instance().await.map_err(|error| Error::Internal(format!("{error:#}")))?;
        match call(instance.engine.cairn_memory_memory(), &mut instance.store).await {
            Ok(answer) => {
                self.keep(instance);
                answer
            }
            Err(trap) => Err(trapped(&trap)),
        }
    }

    async fn instance(&self) -> wasmtime::Result<Instance> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut instance) = idle {
            instance.store.set_epoch_deadline(1);
            return Ok(instance);
        }
        let machine = &self.machine;
        let mut table = ResourceTable::new();
        table.set_max_capacity(64);
        let ctx = Ctx {
            table,
            tenant: self.room.tenant,
            room: self.room.clone(),
            capabilities: machine.capabilities.clone(),
            limits: Limits::default(),
        };
        let mut store = Store::new(&machine.engine, ctx);
        store.limiter(|ctx| &mut ctx.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let engine = machine.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, engine })
    }

    fn keep(&self, instance: Instance) {
        let grown = instance.store.data().limits.memory > KEPT;
        let clean = instance.store.data().table.is_empty();
        if !clean {
            tracing::warn!("an instance kept handles and was dropped");
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if clean && !grown && idle.len() < CALLS {
            idle.push(instance);
        }
    }
}

fn closed() -> Error {
    Error::Unavailable("the engine is closed".to_owned())
}

/// What the caller is told of a call that did not come to its end.
fn trapped(trap: &wasmtime::Error) -> Error {
    if let Some(too_much) = trap.downcast_ref::<TooMuchMemory>() {
        let refusal = contract::types::Refusal { place: String::new(), message: too_much.to_string() };
        return Error::LimitExceeded(refusal);
    }
    tracing::error!("a call ended in a trap: {trap:#}");
    Error::Internal(format!("the call ended in a trap: {}", trap.root_cause()))
}

/// One function a verb, as in the contract: what goes in is what the guest gets.
macro_rules! verbs {
    ($($name:ident = $call:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Instances {
            $(pub(crate) async fn $name(&self, $($argument: $type),*) -> Result<$answer, Error> {
                self.call(async |guest: &verbs::Guest, store: &mut Store<Ctx>| guest.$call(store, $($argument),*).await).await
            })*
        }
    };
}

verbs! {
    add = call_add(items: &[contract::types::Content], options: &verbs::AddOptions) -> verbs::Added;
    get = call_get(targets: &[verbs::Target], view: verbs::View) -> Vec<Option<contract::types::Memory>>;
    list = call_list(request: &verbs::ListRequest) -> verbs::Page;
    update = call_update(items: &[verbs::Edit], options: &verbs::WriteOptions) -> verbs::Outcomes;
    delete = call_delete(items: &[verbs::Deletion], erasure: verbs::Erasure, options: &verbs::WriteOptions) -> verbs::Outcomes;
    update_matching = call_update_matching(selection: &verbs::Selection, patch: &verbs::Patch, options: &verbs::WriteOptions) -> verbs::Matched;
    delete_matching = call_delete_matching(selection: &verbs::Selection, erasure: verbs::Erasure, options: &verbs::WriteOptions) -> verbs::Matched;
    history = call_history(targets: &[verbs::Target], limit: u32, before: Option<u32>) -> Vec<Vec<verbs::Version>>;
    restore = call_restore(items: &[verbs::Restoration], options: &verbs::WriteOptions) -> verbs::Outcomes;
    import_memories = call_import_memories(items: &[verbs::Archive], options: &verbs::WriteOptions) -> verbs::Outcomes;
    search = call_search(queries: &[verbs::Query]) -> Vec<Result<verbs::Found, Error>>;
    why_not = call_why_not(query: &verbs::Query, targets: &[verbs::Target]) -> Vec<verbs::Verdict>;
    context = call_context(requests: &[verbs::ContextRequest]) -> Vec<Result<verbs::Pack, Error>>;
    scopes = call_scopes(request: &verbs::ScopesRequest) -> verbs::ScopesPage;
    stats = call_stats(scope: &contract::types::Scope) -> verbs::Statistics;
    flush = call_flush(timeout_ms: u32) -> ();
    maintain = call_maintain(chores: verbs::Chores, limit: u32) -> verbs::Maintained;
    embedded_texts = call_embedded_texts(ids: &[String]) -> Vec<Option<Vec<String>>>;
}
