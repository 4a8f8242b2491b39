//! The component as a guest of its host: what it may reach, and what a call leaves behind that is cut off, late or one of
//! many.
use cairn::contract::memory::{AddOptions, ListRequest, Query};
use cairn::contract::types::{Content, Error, Scope};
use cairn::embedder::{EmbedError, Encoder, HashEncoder, Purpose, Tokens};
use cairn::{Engine, ModelChoice, Options};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

#[test]
fn it_imports_the_contract_and_nothing_else() {
    let engine = wasmtime::Engine::default();
    let component = Component::new(&engine, cairn::component::WASM).unwrap();
    let described = component.component_type();
    let mut imports: Vec<&str> = described.imports(&engine).map(|(name, ..)| name).collect();
    imports.sort_unstable();
    let expected = [
        "cairn:memory/embedding@0.1.0",
        "cairn:memory/index@0.1.0",
        "cairn:memory/logging@0.1.0",
        "cairn:memory/storage@0.1.0",
        "cairn:memory/system@0.1.0",
        "cairn:memory/types@0.1.0",
    ];
    assert_eq!(imports, expected);
    let exports: Vec<&str> = described.exports(&engine).map(|(name, ..)| name).collect();
    assert_eq!(exports, ["cairn:memory/memory@0.1.0"]);
}

/// Hashes words, and holds every run back while it is closed.
struct Gate {
    hash: HashEncoder,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Gate { hash: HashEncoder::new(64, 256), closed: Mutex::new(false), opened: Condvar::new() })
    }

    fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl Encoder for Gate {
    fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError> {
        self.hash.tokens(text, purpose)
    }
    fn prepare(&self) -> Result<(), EmbedError> {
        Ok(())
    }
    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        self.hash.encode(sequences)
    }
}

fn engine(gate: &Arc<Gate>, deadline: Duration) -> Engine {
    let model = ModelChoice::Given(gate.hash.info(), gate.clone());
    Options { model, deadline, ..Options::default() }.in_memory().unwrap()
}

async fn add(engine: &Engine, text: &str) -> Result<(), Error> {
    let item = Content::fact(text, Scope::user("ana"));
    engine.add(vec![item], AddOptions::default()).await?.items.remove(0).map(|_| ())
}

async fn texts(engine: &Engine) -> Vec<String> {
    let request = ListRequest { limit: 1_000, ..ListRequest::new(Scope::default()) };
    engine.list(request).await.unwrap().memories.into_iter().map(|memory| memory.content.text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let gate = Gate::new();
    let engine = engine(&gate, Duration::from_mins(10));
    add(&engine, "kept").await.unwrap();
    gate.close(true);
    // Each waits for the model, and is dropped after another number of looks.
    for n in 0..200 {
        let text = format!("dropped {n}");
        let looks = async {
            for _ in 0..n % 7 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answer = add(&engine, &text) => panic!("the model is held back: {answer:?}"),
            () = looks => {}
        }
    }
    let dropped = Instant::now();
    gate.close(false);
    add(&engine, "also kept").await.unwrap();
    assert_eq!(texts(&engine).await, ["kept", "also kept"]);
    let oldest = engine.stats(Scope::default()).await.unwrap().oldest_snapshot_ms;
    assert!(u128::from(oldest) <= dropped.elapsed().as_millis(), "a snapshot is still open after {oldest} ms");
    assert_eq!(engine.doctor(true).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_past_its_deadline_changes_nothing() {
    let gate = Gate::new();
    let engine = engine(&gate, Duration::from_secs(1));
    gate.close(true);
    assert_eq!(add(&engine, "late").await, Err(Error::Timeout));
    gate.close(false);
    add(&engine, "in time").await.unwrap();
    assert_eq!(texts(&engine).await, ["in time"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_sees_what_it_wrote() {
    let engine = engine(&Gate::new(), Duration::from_mins(10));
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let engine = engine.clone();
            tokio::spawn(async move {
                for round in 0..4 {
                    let text = format!("task{n} says word{round}");
                    add(&engine, &text).await.unwrap();
                    let query = Query { limit: 1, ..Query::new(text.clone(), Scope::user("ana")) };
                    let found = engine.search(vec![query]).await.unwrap().remove(0).unwrap();
                    assert_eq!(found.hits[0].memory.content.text, text);
                    assert!(found.hits[0].raw.dense.unwrap() > 0.99 && found.pending == 0);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(texts(&engine).await.len(), 256);
    assert_eq!(engine.doctor(true).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_text_from_many_is_one_memory() {
    let engine = engine(&Gate::new(), Duration::from_mins(10));
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { add(&engine, "Ana is vegetarian").await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(texts(&engine).await, ["Ana is vegetarian"]);
}
