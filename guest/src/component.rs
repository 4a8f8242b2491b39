//! The skin of the component: capabilities are the imports, verbs the export. The only file that calls imports.
use crate::Result;
use crate::bindings::exports::cairn::memory::memory::Guest;
use crate::capability;
use crate::embedding::{self, ModelInfo, Purpose, TokenCount};
use crate::index::{self, Candidates, Corpus, Probe, Progress, Token};
use crate::logging::{self, Level};
use crate::memory::{
    AddOptions, Added, Archive, Chores, ContextRequest, Deletion, Edit, Erasure, Found, ListRequest, Maintained,
    Matched, Outcomes, Pack, Page, Patch, Query, Restoration, ScopesPage, ScopesRequest, Selection, Statistics, Target,
    Verdict, Version, View, WriteOptions,
};
use crate::storage::{self, Applied, ApplyOptions, Operation, Pairs, Precondition, Range, Usage};
use crate::system::{self, Stamp};
use crate::types::{Content, Memory, Scope, Timestamp};

/// The host behind the imports.
struct Imports;

impl capability::System for Imports {
    fn now(&self) -> Timestamp {
        system::now()
    }
    fn reserve(&self, count: u32) -> Stamp {
        system::reserve(count)
    }
    fn random(&self, length: u32) -> Vec<u8> {
        system::random(length)
    }
}

impl capability::Logging for Imports {
    fn log(&self, level: Level, target: &str, message: &str) {
        logging::log(level, target, message);
    }
}

impl capability::Embedding for Imports {
    type Vectors = embedding::Vectors;

    fn info(&self) -> Result<ModelInfo> {
        embedding::info()
    }
    fn embed(&self, texts: &[String], purpose: Purpose) -> Result<embedding::Vectors> {
        embedding::embed(texts, purpose, false)
    }
    fn measure(&self, texts: &[String], purpose: Purpose) -> Result<Vec<TokenCount>> {
        embedding::measure(texts, purpose)
    }
    fn similarity(&self, vectors: &embedding::Vectors, place: u32, others: &[u32]) -> Result<Vec<f32>> {
        vectors.similarity(place, others)
    }
}

impl capability::Index for Imports {
    fn analyze(&self, texts: &[String]) -> Result<Vec<Vec<Token>>> {
        index::analyze(texts)
    }
    fn statistics(&self, scope: &Scope, terms: &[String]) -> Result<Corpus> {
        index::statistics(scope, terms)
    }
    fn search(&self, probes: &[Probe], vectors: Option<&embedding::Vectors>) -> Result<Vec<Candidates>> {
        index::search(probes, vectors)
    }
    fn load(&self, keys: &[String]) -> Result<(embedding::Vectors, Vec<u32>)> {
        index::load(keys)
    }
    fn progress(&self, wait_ms: u32) -> Result<Progress> {
        index::status(wait_ms)
    }
}

impl capability::Snapshot for storage::Snapshot {
    fn get(&self, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        storage::Snapshot::get(self, table, keys)
    }
    fn scan(&self, table: &str, range: &Range) -> Result<Pairs> {
        storage::Snapshot::scan(self, table, range)
    }
}

impl capability::Storage for Imports {
    type Snapshot = storage::Snapshot;

    fn snapshot(&self) -> Result<storage::Snapshot> {
        storage::Snapshot::open()
    }
    fn apply(
        &self,
        operations: &[Operation],
        preconditions: &[Precondition],
        vectors: Option<&embedding::Vectors>,
        options: ApplyOptions,
    ) -> Result<Applied> {
        storage::apply(operations, preconditions, vectors, options)
    }
    fn sync(&self) -> Result<()> {
        storage::sync()
    }
    fn usage(&self) -> Result<Usage> {
        storage::status()
    }
}

/// Without a terminal, a panic would leave no word of what went wrong.
fn host() -> Imports {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            logging::log(Level::Error, "panic", &place);
        }));
    });
    Imports
}

struct Engine;

impl Guest for Engine {
    fn add(items: Vec<Content>, options: AddOptions) -> Result<Added> {
        crate::add::add(&host(), &items, &options)
    }
    fn get(targets: Vec<Target>, view: View) -> Result<Vec<Option<Memory>>> {
        crate::get::get(&host(), &targets, &view)
    }
    fn list(request: ListRequest) -> Result<Page> {
        crate::list::list(&host(), &request)
    }
    fn update(items: Vec<Edit>, options: WriteOptions) -> Result<Outcomes> {
        crate::update::update(&host(), &items, &options)
    }
    fn delete(items: Vec<Deletion>, erasure: Erasure, options: WriteOptions) -> Result<Outcomes> {
        crate::delete::delete(&host(), &items, erasure, &options)
    }
    fn update_matching(selection: Selection, patch: Patch, options: WriteOptions) -> Result<Matched> {
        crate::update::update_matching(&host(), &selection, &patch, &options)
    }
    fn delete_matching(selection: Selection, erasure: Erasure, options: WriteOptions) -> Result<Matched> {
        crate::delete::delete_matching(&host(), &selection, erasure, &options)
    }
    fn history(targets: Vec<Target>, limit: u32, before: Option<u32>) -> Result<Vec<Vec<Version>>> {
        crate::history::history(&host(), &targets, limit, before)
    }
    fn restore(items: Vec<Restoration>, options: WriteOptions) -> Result<Outcomes> {
        crate::update::restore(&host(), &items, &options)
    }
    fn import_memories(items: Vec<Archive>, options: WriteOptions) -> Result<Outcomes> {
        crate::archive::import_memories(&host(), &items, &options)
    }
    fn search(queries: Vec<Query>) -> Result<Vec<Result<Found>>> {
        crate::search::search(&host(), &queries)
    }
    fn why_not(query: Query, targets: Vec<Target>) -> Result<Vec<Verdict>> {
        crate::why::why_not(&host(), &query, &targets)
    }
    fn context(requests: Vec<ContextRequest>) -> Result<Vec<Result<Pack>>> {
        crate::context::context(&host(), &requests)
    }
    fn scopes(request: ScopesRequest) -> Result<ScopesPage> {
        crate::scopes::scopes(&host(), &request)
    }
    fn stats(scope: Scope) -> Result<Statistics> {
        crate::stats::stats(&host(), &scope)
    }
    fn flush(timeout_ms: u32) -> Result<()> {
        crate::stats::flush(&host(), timeout_ms)
    }
    fn maintain(chores: Chores, limit: u32) -> Result<Maintained> {
        crate::maintain::maintain(&host(), chores, limit)
    }
    fn embedded_texts(ids: Vec<String>) -> Result<Vec<Option<Vec<String>>>> {
        crate::maintain::embedded_texts(&host(), &ids)
    }
}

#[expect(unsafe_code, reason = "what the macro expands to: exported functions with the names of the contract")]
mod export {
    use super::Engine;
    crate::bindings::export!(Engine with_types_in crate::bindings);
}
