//! The imports of the component: each call goes to the room it belongs to. Handles stay in the caller's store; what waits
//! is awaited by the fiber of that call alone.
use super::Ctx;
use crate::contract::embedding::{ModelInfo, Purpose, TokenCount};
use crate::contract::index::{Candidates, Corpus, Probe, Progress, Token};
use crate::contract::storage::{
    Applied, ApplyOptions, Operation, Pairs, Pending as PendingVectors, Precondition, Range, Usage,
};
use crate::contract::system::Stamp;
use crate::contract::types::{Error, Refusal, Scope};
use crate::contract::{embedding, index, llm, logging, reranking, storage, system, types};
use crate::embedder::{Embedder, Lane, Pending, unit};
use crate::index::Index;
use crate::store::StoreError;
use crate::writer::{Batch, BatchVector};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::Resource;

/// A batch of vectors, each of which may still be on its way.
pub struct Vectors {
    pending: Vec<Pending>,
    /// Where the texts have not been given to the model yet: the lane that they take. Whoever leaves them owing never
    /// does, so that the model does not work on what is put off.
    unasked: Option<Lane>,
}

/// One consistent state of the store.
pub struct Snapshot(crate::store::Snapshot);

/// The outer result is the host's: a defect that ends the call. The inner one is the answer.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Embedding, texts and analysis: what one call of the contract takes.
const TEXTS: (usize, usize) = (65_536, 32 << 20);
const ANALYSED: (usize, usize) = (4_096, 16 << 20);
const RANDOM: u32 = 16 << 10;
/// Texts of a write that overtake large batches.
const FEW: usize = 16;

fn within(what: &str, texts: &[String], (count, bytes): (usize, usize)) -> Result<(), Error> {
    let sum: usize = texts.iter().map(String::len).sum();
    if texts.len() > count || sum > bytes {
        let message = format!("{} texts of {sum} bytes, at most {count} of {bytes} are taken", texts.len());
        return Err(Error::LimitExceeded(Refusal { place: what.to_owned(), message }));
    }
    Ok(())
}

fn no_such_place(place: u32) -> Error {
    Error::InvalidArgument(Refusal { place: "vectors".to_owned(), message: format!("there is no place {place}") })
}

impl Ctx {
    fn embedder(&self) -> Result<Embedder, Error> {
        self.capabilities.serving.embedder().ok_or_else(|| Error::Unavailable("this store has no model".to_owned()))
    }

    /// The vectors at some places, as handles that outlive the borrow.
    fn at(&mut self, vectors: &Resource<Vectors>, places: &[u32]) -> wasmtime::Result<Result<Vec<Pending>, Error>> {
        self.ask(vectors)?;
        let all = &self.table.get(vectors)?.pending;
        Ok(places.iter().map(|place| all.get(*place as usize).cloned().ok_or_else(|| no_such_place(*place))).collect())
    }

    /// Has the texts computed, unless that is under way.
    fn ask(&mut self, vectors: &Resource<Vectors>) -> wasmtime::Result<()> {
        let vectors = self.table.get_mut(vectors)?;
        if let (Some(lane), Some(embedder)) = (vectors.unasked.take(), self.capabilities.serving.embedder()) {
            embedder.compute(&vectors.pending, Purpose::Document, lane);
        }
        Ok(())
    }

    fn push(&mut self, pending: Vec<Pending>) -> wasmtime::Result<Resource<Vectors>> {
        Ok(self.table.push(Vectors { pending, unasked: None })?)
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        io(self.capabilities.rooms.index(&self.room))
    }

    /// Has what is owed computed, now that the model is needed anyway.
    fn pay(&self) {
        let capabilities = &self.capabilities;
        if capabilities.serving.embedder().is_some() && self.room.owes(&capabilities.records) {
            self.room.pay(&capabilities.records, &capabilities.writer, &capabilities.serving);
        }
    }
}

fn io<T>(result: Result<T, StoreError>) -> Result<T, Error> {
    result.map_err(Error::from)
}

impl types::Host for Ctx {}

impl system::Host for Ctx {
    fn now(&mut self) -> wasmtime::Result<i64> {
        Ok(self.capabilities.system.now())
    }

    fn reserve(&mut self, count: u32) -> wasmtime::Result<Stamp> {
        wasmtime::ensure!(count <= 1_000, "more than 1,000 numbers reserved");
        let records = &self.capabilities.records;
        let stamp = self.capabilities.system.reserve(count, records.clock());
        records.pass(stamp.at);
        Ok(stamp)
    }

    fn random(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        wasmtime::ensure!(length <= RANDOM, "more than {RANDOM} random bytes");
        Ok(self.capabilities.system.random(length))
    }
}

impl logging::Host for Ctx {
    fn log(&mut self, level: logging::Level, target: String, message: String) -> wasmtime::Result<()> {
        match level {
            logging::Level::Trace => tracing::trace!(part = target, "{message}"),
            logging::Level::Debug => tracing::debug!(part = target, "{message}"),
            logging::Level::Info => tracing::info!(part = target, "{message}"),
            logging::Level::Warn => tracing::warn!(part = target, "{message}"),
            logging::Level::Error => tracing::error!(part = target, "{message}"),
        }
        Ok(())
    }
}

impl embedding::HostVectors for Ctx {
    fn from_lists(&mut self, values: Vec<Vec<f32>>) -> Answer<Resource<Vectors>> {
        let dimensions = match self.embedder() {
            Ok(embedder) => embedder.info().dimensions as usize,
            Err(error) => return Ok(Err(error)),
        };
        let mut out = vec![];
        for (place, vector) in values.into_iter().enumerate() {
            let length = vector.len();
            match unit(vector) {
                Some(vector) if length == dimensions => out.push(Pending::ready(vector)),
                _ => {
                    let message = format!("a vector has {dimensions} finite numbers that are not all zero");
                    return Ok(Err(Error::InvalidArgument(Refusal { place: format!("values[{place}]"), message })));
                }
            }
        }
        Ok(Ok(self.push(out)?))
    }

    async fn to_lists(&mut self, vectors: Resource<Vectors>, places: Vec<u32>) -> Answer<Vec<Vec<f32>>> {
        let pending = match self.at(&vectors, &places)? {
            Ok(pending) => pending,
            Err(error) => return Ok(Err(error)),
        };
        let mut out = vec![];
        for one in pending {
            match one.wait().await {
                Ok(vector) => out.push(vector.to_vec()),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(Ok(out))
    }

    async fn similarity(&mut self, vectors: Resource<Vectors>, place: u32, others: Vec<u32>) -> Answer<Vec<f32>> {
        let mut places = vec![place];
        places.extend(others);
        Ok(self.to_lists(vectors, places).await?.map(|lists| {
            let dot = |other: &Vec<f32>| lists[0].iter().zip(other).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0);
            lists[1..].iter().map(dot).collect()
        }))
    }

    fn drop(&mut self, vectors: Resource<Vectors>) -> wasmtime::Result<()> {
        self.table.delete(vectors)?;
        Ok(())
    }
}

impl embedding::Host for Ctx {
    fn info(&mut self) -> Answer<ModelInfo> {
        Ok(self.embedder().map(|embedder| embedder.info().clone()))
    }

    fn embed(&mut self, texts: Vec<String>, purpose: Purpose, token_vectors: bool) -> Answer<Resource<Vectors>> {
        if let Err(error) = within("texts", &texts, TEXTS) {
            return Ok(Err(error));
        }
        if token_vectors {
            return Ok(Err(Error::Unavailable("token vectors come later".to_owned())));
        }
        let lane = if texts.len() <= FEW { Lane::Interactive } else { Lane::Background };
        let embedder = match self.embedder() {
            Ok(embedder) => embedder,
            Err(error) => return Ok(Err(error)),
        };
        let vectors = match purpose {
            Purpose::Query => Vectors { pending: embedder.embed(texts, purpose, Lane::Interactive), unasked: None },
            Purpose::Document => Vectors { pending: embedder.known(texts, purpose), unasked: Some(lane) },
        };
        self.pay();
        Ok(Ok(self.table.push(vectors)?))
    }

    fn measure(&mut self, texts: Vec<String>, purpose: Purpose) -> Answer<Vec<TokenCount>> {
        if let Err(error) = within("texts", &texts, TEXTS) {
            return Ok(Err(error));
        }
        Ok(self.embedder().and_then(|embedder| Ok(embedder.measure(&texts, purpose)?)))
    }
}

impl index::Host for Ctx {
    fn analyze(&mut self, texts: Vec<String>) -> Answer<Vec<Vec<Token>>> {
        if let Err(error) = within("texts", &texts, ANALYSED) {
            return Ok(Err(error));
        }
        Ok(Ok(texts.iter().map(|text| crate::index::analyzer::analyze(text)).collect()))
    }

    fn statistics(&mut self, scope: Scope, terms: Vec<String>) -> Answer<Corpus> {
        Ok(self.index().map(|index| index.statistics(&scope, &terms)))
    }

    async fn search(&mut self, probes: Vec<Probe>, vectors: Option<Resource<Vectors>>) -> Answer<Vec<Candidates>> {
        let places: Vec<u32> = probes.iter().filter_map(|probe| probe.vector).collect();
        let mut waited = std::collections::HashMap::new();
        if let Some(vectors) = vectors {
            let pending = match self.at(&vectors, &places)? {
                Ok(pending) => pending,
                Err(error) => return Ok(Err(error)),
            };
            for (place, one) in places.iter().zip(pending) {
                match one.wait().await {
                    Ok(vector) => waited.insert(*place, vector),
                    Err(error) => return Ok(Err(error.into())),
                };
            }
        } else if let Some(place) = places.first() {
            return Ok(Err(no_such_place(*place)));
        }
        let index = match self.index() {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let vector = |probe: &Probe| probe.vector.and_then(|place| waited.get(&place)).map(|vector| vector.as_slice());
        let mut answers = Vec::with_capacity(probes.len());
        for probe in &probes {
            answers.push(index.search(probe, vector(probe)));
            // Others run on this thread too, and a call that may no longer go on ends here.
            tokio::task::yield_now().await;
        }
        Ok(Ok(answers))
    }

    async fn late(&mut self, _: u32, _: Resource<Vectors>, _: Vec<String>) -> Answer<Vec<Option<f32>>> {
        Ok(Err(Error::Unavailable("token vectors come later".to_owned())))
    }

    async fn load(&mut self, keys: Vec<String>) -> Answer<(Resource<Vectors>, Vec<u32>)> {
        let (vectors, counts) = match self.index() {
            Ok(index) => index.vectors(&keys),
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok((self.push(vectors.into_iter().map(Pending::ready).collect())?, counts)))
    }

    async fn status(&mut self, wait_ms: u32) -> Answer<Progress> {
        if wait_ms > 0 {
            self.pay();
        }
        Ok(io(self.capabilities.rooms.progress(&self.room, Duration::from_millis(wait_ms.into())).await))
    }
}

impl storage::HostSnapshot for Ctx {
    fn open(&mut self) -> Answer<Resource<Snapshot>> {
        match self.capabilities.records.snapshot() {
            Ok(snapshot) => Ok(Ok(self.table.push(Snapshot(snapshot))?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn get(&mut self, snapshot: Resource<Snapshot>, table: String, keys: Vec<Vec<u8>>) -> Answer<Vec<Option<Vec<u8>>>> {
        Ok(io(self.table.get(&snapshot)?.0.get(self.tenant, &table, &keys)))
    }

    fn scan(&mut self, snapshot: Resource<Snapshot>, table: String, range: Range) -> Answer<Pairs> {
        Ok(io(self.table.get(&snapshot)?.0.scan(self.tenant, &table, &range)))
    }

    fn drop(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<()> {
        self.table.delete(snapshot)?;
        Ok(())
    }
}

impl storage::Host for Ctx {
    async fn apply(
        &mut self,
        operations: Vec<Operation>,
        preconditions: Vec<Precondition>,
        vectors: Option<Resource<Vectors>>,
        options: ApplyOptions,
    ) -> Answer<Applied> {
        // Handles that outlive the borrow: nothing is left to clean up if the call is cancelled while it waits.
        let pending = match &vectors {
            Some(vectors) => {
                if options.pending == PendingVectors::Wait {
                    self.ask(vectors)?;
                }
                self.table.get(vectors)?.pending.clone()
            }
            None => vec![],
        };
        let mut used = vec![false; pending.len()];
        for operation in &operations {
            let Operation::IndexPut(entry) = operation else { continue };
            for place in entry.passages.iter().flatten().filter_map(|passage| passage.vector) {
                match used.get_mut(place as usize) {
                    Some(used) => *used = true,
                    None => return Ok(Err(no_such_place(place))),
                }
            }
        }
        let mut resolved = vec![];
        let mut owes = false;
        for (one, used) in pending.iter().zip(used) {
            resolved.push(if !used {
                BatchVector::Unused
            } else if options.pending == PendingVectors::Owe {
                if let Some(Ok(vector)) = one.try_get() {
                    BatchVector::Ready(vector)
                } else {
                    owes = true;
                    BatchVector::Owed(one.text().to_owned())
                }
            } else {
                match one.wait().await {
                    Ok(vector) => BatchVector::Ready(vector),
                    Err(error) => return Ok(Err(error.into())),
                }
            });
        }
        let batch = Batch {
            tenant: self.tenant,
            operations,
            preconditions,
            vectors: resolved,
            durability: options.durability,
            scrub: options.scrub,
        };
        let applied = self.capabilities.writer.apply(batch).await;
        if owes && applied.is_ok() {
            self.room.lend();
            self.pay();
        }
        Ok(io(applied))
    }

    async fn sync(&mut self) -> Answer<()> {
        Ok(io(self.capabilities.writer.sync().await))
    }

    fn status(&mut self) -> Answer<Usage> {
        Ok(io(self.capabilities.records.usage(self.tenant)).map(|usage| Usage {
            head: usage.head.0,
            bytes: usage.bytes,
            oldest_snapshot_ms: usage
                .oldest_snapshot
                .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }))
    }
}

impl reranking::Host for Ctx {
    async fn score(&mut self, _: String, _: Vec<String>) -> Answer<Vec<f32>> {
        Ok(Err(Error::Unavailable("there is no reranker".to_owned())))
    }
}

impl llm::Host for Ctx {
    async fn complete(&mut self, _: Vec<llm::Request>) -> Answer<Vec<Result<llm::Completion, Error>>> {
        Ok(Err(Error::Unavailable("no LLM was granted".to_owned())))
    }
}
