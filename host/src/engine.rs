//! One async function a verb: all that a door sees. No wasmtime, no redb, no JSON; what a verb means is the guest's.
//!
//! Answers and errors are the contract's (`wit/memory.wit`), where each verb is documented.
use crate::component::Instances;
use crate::contract::embedding::{ModelInfo, Purpose};
use crate::contract::index::Entry;
use crate::contract::memory::{
    AddOptions, Added, Archive, Chores, ContextRequest, Deletion, Edit, Erasure, Found, Including, ListRequest,
    Maintained, Matched, Outcomes, Pack, Page, Patch, Query, Restoration, ScopesPage, ScopesRequest, Selection,
    Statistics, Target, Verdict, Version, View, WriteOptions,
};
use crate::contract::types::{Content, Error, Memory, Scope};
use crate::embedder::{Embedder, Lane, Metrics};
use crate::entry::Seq;
use crate::index::Index;
use crate::reembed::Reembedding;
use crate::store::StoreError;
pub use crate::store::{Backup, Compacted, Migration};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The answer of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// The memories of one tenant. A handle: clones share everything, and calls run side by side.
#[derive(Clone)]
pub struct Engine {
    instances: Arc<Instances>,
}

/// What the model makes of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Unit length.
    pub vector: Vec<f32>,
    /// Of the whole text, with the model's own marks.
    pub tokens: u32,
    /// Tokens at the end that the model did not read.
    pub truncated: u32,
}

impl Engine {
    pub(crate) fn new(instances: Instances) -> Self {
        Engine { instances: Arc::new(instances) }
    }

    /// Stores new memories. An answer means: durable, and found as far as the promise went.
    pub async fn add(&self, items: Vec<Content>, options: AddOptions) -> Result<Added> {
        self.instances.add(&items, &options).await
    }

    /// Returns each memory that the view shows, in the order of the targets.
    pub async fn get(&self, targets: Vec<Target>, view: View) -> Result<Vec<Option<Memory>>> {
        self.instances.get(&targets, view).await
    }

    /// Returns memories page by page.
    pub async fn list(&self, request: ListRequest) -> Result<Page> {
        self.instances.list(&request).await
    }

    /// Changes memories; the earlier version stays in the history.
    pub async fn update(&self, items: Vec<Edit>, options: WriteOptions) -> Result<Outcomes> {
        self.instances.update(&items, &options).await
    }

    /// Deletes memories, restorably or for good.
    pub async fn delete(&self, items: Vec<Deletion>, erasure: Erasure, options: WriteOptions) -> Result<Outcomes> {
        self.instances.delete(&items, erasure, &options).await
    }

    /// Applies one patch to all that match.
    pub async fn update_matching(&self, selection: Selection, patch: Patch, options: WriteOptions) -> Result<Matched> {
        self.instances.update_matching(&selection, &patch, &options).await
    }

    /// Deletes all that match.
    pub async fn delete_matching(
        &self,
        selection: Selection,
        erasure: Erasure,
        options: WriteOptions,
    ) -> Result<Matched> {
        self.instances.delete_matching(&selection, erasure, &options).await
    }

    /// Returns the versions of each memory, newest first.
    pub async fn history(&self, targets: Vec<Target>, limit: u32, before: Option<u32>) -> Result<Vec<Vec<Version>>> {
        self.instances.history(&targets, limit, before).await
    }

    /// Brings back the content of earlier versions.
    pub async fn restore(&self, items: Vec<Restoration>, options: WriteOptions) -> Result<Outcomes> {
        self.instances.restore(&items, &options).await
    }

    /// Takes over memories of another store as they are.
    pub async fn import_memories(&self, items: Vec<Archive>, options: WriteOptions) -> Result<Outcomes> {
        self.instances.import_memories(&items, &options).await
    }

    /// Finds memories by words and by meaning.
    pub async fn search(&self, queries: Vec<Query>) -> Result<Vec<Result<Found>>> {
        self.instances.search(&queries).await
    }

    /// Says why a memory is not where one looked for it.
    pub async fn why_not(&self, query: Query, targets: Vec<Target>) -> Result<Vec<Verdict>> {
        self.instances.why_not(&query, &targets).await
    }

    /// Composes what a prompt should carry.
    pub async fn context(&self, requests: Vec<ContextRequest>) -> Result<Vec<Result<Pack>>> {
        self.instances.context(&requests).await
    }

    /// Lists the values of one scope field.
    pub async fn scopes(&self, request: ScopesRequest) -> Result<ScopesPage> {
        self.instances.scopes(&request).await
    }

    /// Counts and sizes of this moment.
    pub async fn stats(&self, scope: Scope) -> Result<Statistics> {
        self.instances.stats(&scope).await
    }

    /// Returns when all that was written before is durable and found by meaning.
    pub async fn flush(&self, timeout_ms: u32) -> Result<()> {
        self.instances.flush(timeout_ms).await
    }

    /// Does some of the work that waits for a quiet moment.
    pub async fn maintain(&self, chores: Chores, limit: u32) -> Result<Maintained> {
        self.instances.maintain(chores, limit).await
    }

    // ---- administration

    fn embedder(&self) -> Option<Embedder> {
        self.instances.capabilities().serving.embedder()
    }

    fn index(&self) -> Result<Arc<Index>> {
        Ok(self.instances.capabilities().rooms.index(self.instances.room())?)
    }

    /// The model whose vectors this store holds.
    #[must_use]
    pub fn model(&self) -> Option<ModelInfo> {
        self.embedder().map(|embedder| embedder.info().clone())
    }

    /// Begins to load the model, which otherwise the first call that needs it does. Vectors that an earlier process left
    /// owing are then computed in the background.
    pub fn prepare_model(&self) {
        if let Some(embedder) = self.embedder() {
            embedder.prepare();
            let capabilities = self.instances.capabilities();
            let room = self.instances.room();
            if room.owes(&capabilities.records) {
                room.pay(&capabilities.records, &capabilities.writer, &capabilities.serving);
            }
        }
    }

    /// What the model has done so far.
    #[must_use]
    pub fn model_metrics(&self) -> Option<Metrics> {
        self.embedder().map(|embedder| embedder.metrics())
    }

    /// What the engine would compare, for each text, in order.
    pub async fn embed(&self, texts: Vec<String>, purpose: Purpose) -> Result<Vec<Embedded>> {
        let embedder = self.embedder().ok_or_else(|| Error::Unavailable("this store has no model".to_owned()))?;
        let counts = embedder.measure(&texts, purpose)?;
        let most = embedder.info().max_tokens;
        let mut out = vec![];
        for (pending, count) in embedder.embed(texts, purpose, Lane::Background).into_iter().zip(counts) {
            let vector = pending.wait().await?.to_vec();
            out.push(Embedded { vector, tokens: count.tokens, truncated: count.tokens.saturating_sub(most) });
        }
        Ok(out)
    }

    /// What the model reads of each memory, one text a passage; none for one that is unknown or deleted.
    pub async fn embedded_texts(&self, ids: Vec<String>) -> Result<Vec<Option<Vec<String>>>> {
        self.instances.embedded_texts(&ids).await
    }

    /// Moves the store, with all its tenants, to another model; returns once that one serves. Meanwhile calls go on with
    /// the model before, and what they write is moved too; at the end they wait for a moment. Dropping the future, or a
    /// kill, loses nothing: the next call goes on. Giving the model that serves ends a move that was begun.
    ///
    /// `progress` is called after each batch. Fails if the model fails on a text, or if the store is being moved already.
    pub async fn reembed(&self, model: Embedder, progress: impl FnMut(Reembedding) + Send) -> Result<Reembedding> {
        crate::reembed::reembed(&self.instances, model, progress).await
    }

    /// The move to another model that was begun and is not finished, if there is one.
    pub fn migration(&self) -> Result<Option<Migration>> {
        Ok(self.instances.capabilities().records.migration()?)
    }

    /// The stored vectors of memories, one a passage; none for a memory that the index does not have.
    #[expect(clippy::unused_async, reason = "a verb like the others: what it reads may come to be on disk")]
    pub async fn vectors(&self, ids: &[String]) -> Result<Vec<Option<Vec<Vec<f32>>>>> {
        let (vectors, counts) = self.index()?.vectors(ids);
        let mut vectors = vectors.into_iter();
        let mut take = |count: u32| (count > 0).then(|| vectors.by_ref().take(count as usize).collect());
        Ok(counts.into_iter().map(&mut take).collect())
    }

    /// Writes the store's file anew, without gaps and without a byte of what was erased. Calls go on meanwhile.
    pub async fn compact(&self) -> Result<Compacted> {
        let records = self.instances.capabilities().records.clone();
        Ok(blocking(move || records.compact()).await??)
    }

    /// Writes this moment of the store as a store of its own into a directory that is empty or not there, and checks it.
    /// Calls go on meanwhile.
    pub async fn backup(&self, directory: PathBuf) -> Result<Backup> {
        let records = self.instances.capabilities().records.clone();
        Ok(blocking(move || records.backup(&directory)).await??)
    }

    /// Looks for damage and answers what was found, each a sentence; nothing: the store is whole.
    ///
    /// `deep` also reads every page of the file and compares its checksum, makes the indexes anew, once from the entries and once from the changelog, and compares them with those
    /// in use; and every memory with its entry.
    pub async fn doctor(&self, deep: bool) -> Result<Vec<String>> {
        let capabilities = self.instances.capabilities();
        if !deep {
            return Ok(capabilities.records.check()?);
        }
        let records = capabilities.records.clone();
        let mut found = blocking(move || records.check_pages()).await??;
        if !found.is_empty() {
            // Nothing else can be believed then.
            return Ok(found);
        }
        found.extend(capabilities.records.check()?);
        let room = self.instances.room();
        let (fresh, head) = capabilities.rooms.build(room.tenant)?;
        let name = |which: &str| {
            let which = which.to_owned();
            move |difference: String| format!("{which}: {difference}")
        };
        found.extend(self.index()?.compare(&fresh).into_iter().map(name("the indexes in use differ from the store")));
        let dimensions = self.model().map_or(0, |model| model.dimensions as usize);
        if let Some(replayed) = self.replayed(dimensions, head)? {
            found.extend(replayed.compare(&fresh).into_iter().map(name("the changelog differs from the entries")));
        }
        self.compare_records(&mut found).await?;
        Ok(found)
    }

    /// The indexes as the changelog alone makes them; none if it does not reach back to the first commit.
    fn replayed(&self, dimensions: usize, head: Seq) -> Result<Option<Index>> {
        let snapshot = self.instances.capabilities().records.long_snapshot()?;
        let index = Index::new(dimensions);
        while index.absorbed() < head {
            let changes = match snapshot.changes(self.instances.room().tenant, index.absorbed(), 1_000) {
                Err(StoreError::Cut { .. }) => return Ok(None),
                changes => changes?,
            };
            if changes.is_empty() {
                break;
            }
            for (seq, changes) in changes {
                index.absorb(seq, changes);
            }
        }
        Ok(Some(index))
    }

    /// Every memory that is not deleted has an entry with its text, and there is no entry beside.
    async fn compare_records(&self, found: &mut Vec<String>) -> Result<()> {
        let snapshot = self.instances.capabilities().records.long_snapshot()?;
        let tenant = self.instances.room().tenant;
        let mut entries = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let some = snapshot.entries(tenant, after.as_deref(), 1_000)?;
            let Some(last) = some.last() else { break };
            after = Some(last.entry.key.clone());
            entries.extend(some.into_iter().map(|stored| (stored.entry.key.clone(), words(&stored.entry))));
        }
        let mut entries: std::collections::BTreeMap<String, String> = entries.into_iter().collect();
        let mut request = ListRequest { limit: 1_000, ..ListRequest::new(Scope::default()) };
        request.view.including = Including::OUTDATED | Including::EXPIRED;
        let counts = self.stats(Scope::default()).await?;
        let mut listed = 0;
        loop {
            let page = self.list(request.clone()).await?;
            listed += page.memories.len() as u64;
            for memory in page.memories {
                let first = memory.content.text.split_whitespace().next().unwrap_or_default().to_owned();
                match entries.remove(&memory.id) {
                    None => found.push(format!("memory {} has no index entry", memory.id)),
                    Some(words) if !words.contains(&first) => {
                        found.push(format!("the index entry of memory {} holds other words", memory.id));
                    }
                    Some(_) => {}
                }
            }
            match page.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        let counted = [counts.live, counts.outdated, counts.expired].into_iter().map(u64::from).sum::<u64>();
        if counted != listed {
            found.push(format!("{counted} memories are counted and {listed} are listed"));
        }
        found.extend(entries.into_keys().map(|key| format!("the index entry {key} belongs to no memory")));
        Ok(())
    }

    /// Waits for the writer. Everything that was answered is durable before; this is for what was only `relaxed`.
    pub async fn close(self) {
        let writer = self.instances.capabilities().writer.clone();
        // A panic of the writer has been told by the writer.
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
    }
}

/// Long work on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
}

fn words(entry: &Entry) -> String {
    entry.passages.iter().flatten().flat_map(|p| &p.words).map(|w| w.text.as_str()).collect::<Vec<_>>().join("\n")
}
