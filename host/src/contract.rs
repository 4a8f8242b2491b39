//! What `wit/` says, in Rust: the records of the contract are the host's own types, so nothing is mirrored. Beside
//! `component/` the only place that names wasmtime.

#[allow(clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "memory-engine",
        imports: {
            "cairn:memory/embedding.[method]vectors.to-lists": async | trappable,
            "cairn:memory/embedding.[method]vectors.similarity": async | trappable,
            "cairn:memory/index.search": async | trappable,
            "cairn:memory/index.late": async | trappable,
            "cairn:memory/index.load": async | trappable,
            "cairn:memory/index.status": async | trappable,
            "cairn:memory/storage.apply": async | trappable,
            "cairn:memory/storage.sync": async | trappable,
            "cairn:memory/reranking.score": async | trappable,
            "cairn:memory/llm.complete": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "cairn:memory/embedding.vectors": crate::component::Vectors,
            "cairn:memory/storage.snapshot": crate::component::Snapshot,
        },
        additional_derives: [PartialEq],
    });
}

pub use generated::cairn::memory::{embedding, index, llm, logging, reranking, storage, system, types};
pub use generated::exports::cairn::memory::memory;
pub(crate) use generated::{MemoryEngine, MemoryEnginePre};

use memory::{
    AddOptions, Comparison, Extraction, Including, ListRequest, Order, Promise, Query, Tuning, View, WriteOptions,
};
use types::{Content, Kind, Scope};

impl Default for Scope {
    /// No field: on a read everything, on a write what belongs to the whole tenant.
    fn default() -> Self {
        Scope { user: None, agent: None, app: None, run: None }
    }
}

impl Scope {
    /// What belongs to one user.
    pub fn user(user: impl Into<String>) -> Self {
        Scope { user: Some(user.into()), ..Scope::default() }
    }
}

impl Content {
    /// A fact with nothing beside its text and scope; other fields are set on the value.
    pub fn fact(text: impl Into<String>, scope: Scope) -> Self {
        Content {
            text: text.into(),
            scope,
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
}

impl Default for View {
    /// What is live now.
    fn default() -> Self {
        View { now: None, valid_at: None, known_at: None, including: Including::empty() }
    }
}

impl Default for WriteOptions {
    /// Durable and found when the call answers.
    fn default() -> Self {
        WriteOptions { promise: Promise::Indexed, idempotency_key: None }
    }
}

impl Default for AddOptions {
    /// Durable and found when the call answers; the same text is the same memory.
    fn default() -> Self {
        AddOptions { write: WriteOptions::default(), comparison: Comparison::Exact, extraction: Extraction::None }
    }
}

impl Default for Tuning {
    /// No wish: every constant as the store or the contract has it.
    fn default() -> Self {
        Tuning {
            pipeline: None,
            dense: None,
            k1: None,
            b: None,
            actor: None,
            date: None,
            neighbours: None,
            run: None,
            answer: None,
            late: None,
            question: None,
            recency: None,
            mask_share: None,
            mask_floor: None,
            candidates: None,
        }
    }
}

impl Query {
    /// The ten best of a scope.
    pub fn new(text: impl Into<String>, scope: Scope) -> Self {
        Query {
            text: text.into(),
            scope,
            filter: None,
            view: View::default(),
            limit: 10,
            minimum: None,
            diversity: None,
            rerank: false,
            tuning: None,
            explain: false,
        }
    }
}

impl ListRequest {
    /// The first hundred of a scope, oldest first.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        ListRequest {
            scope,
            filter: None,
            view: View::default(),
            order: Order::OldestFirst,
            limit: 100,
            after: None,
            count: false,
        }
    }
}
