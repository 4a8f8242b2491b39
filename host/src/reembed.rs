//! Moving a store to another model: every memory is embedded anew beside the vectors that serve, of all tenants; once
//! none is missing, the new ones take over between two calls. What was done is durable, so that a killed move goes on.
use crate::component::Instances;
use crate::contract::types::Error;
use crate::embedder::{EmbedError, Embedder, Lane, Pending, Purpose};
use crate::store::{Store, StoreError, Unmoved};
use std::sync::Arc;
use std::time::Duration;

/// Memories, and bytes of their entries, that are read and embedded together.
const BATCH: (usize, usize) = (512, 4 << 20);
/// So few may be left for the moment in which calls wait.
const REST: usize = 128;
/// Passes over all memories while others write; each has only those that were written during the one before.
const PASSES: usize = 8;

/// How far a move is. `moved` can go back when moved memories are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reembedding {
    /// Memories with vectors of the new model.
    pub moved: u64,
    pub memories: u64,
}

/// See [`crate::Engine::reembed`].
pub(crate) async fn reembed(
    instances: &Instances,
    model: Embedder,
    mut progress: impl FnMut(Reembedding) + Send,
) -> Result<Reembedding, Error> {
    let capabilities = instances.capabilities();
    let (store, serving) = (&capabilities.records, &capabilities.serving);
    let under_way = || Error::Unavailable("the store is being moved to another model already".to_owned());
    let _only_one = serving.migration().ok_or_else(under_way)?;
    let info = model.info();
    if store.model().is_some_and(|(_, fingerprint, _)| fingerprint == info.fingerprint) {
        store.abandon_migration()?;
        if serving.embedder().is_none_or(|embedder| embedder.info().fingerprint != info.fingerprint) {
            let _calls = instances.still().await?;
            let _payers = serving.still().await;
            capabilities.writer.sync().await?;
            serving.replace(model);
            capabilities.rooms.forget_indexes();
        }
        return Ok(Reembedding { moved: 0, memories: 0 });
    }
    store.begin_migration(&info.name, &info.fingerprint, info.dimensions)?;
    let walk = Walk { instances, store, model: &model };
    for _ in 0..PASSES {
        if walk.pass(&mut progress).await? <= REST {
            break;
        }
    }
    let _calls = instances.still().await?;
    let _payers = serving.still().await;
    // What a call left that did not wait for its answer is written before.
    capabilities.writer.sync().await?;
    walk.pass(&mut progress).await?;
    let done = far(store)?;
    // No await from here on: whoever drops the future gets all of it or nothing.
    if !store.finish_migration()? {
        return Err(Error::Internal("memories changed while calls waited".to_owned()));
    }
    serving.replace(model.clone());
    capabilities.rooms.forget_indexes();
    Ok(done)
}

/// Over all memories of all tenants.
struct Walk<'a> {
    instances: &'a Instances,
    store: &'a Store,
    model: &'a Embedder,
}

impl Walk<'_> {
    /// Moves what is not moved yet, and returns how much that was.
    async fn pass(&self, progress: &mut (dyn FnMut(Reembedding) + Send)) -> Result<usize, Error> {
        let mut found = 0;
        for (_, tenant) in self.store.tenants()? {
            let instances = self.instances.of(self.instances.capabilities().rooms.room(tenant));
            let mut after: Option<String> = None;
            loop {
                let unmoved = self.store.long_snapshot()?.unmoved(tenant, after.as_deref(), BATCH)?;
                let Some(last) = unmoved.last() else { break };
                found += unmoved.len();
                after = Some(last.key().to_owned());
                let moved = self.embedded(&instances, unmoved).await?;
                let (store, fingerprint) = (self.store.clone(), self.model.info().fingerprint.clone());
                let kept = tokio::task::spawn_blocking(move || store.move_entries(tenant, &fingerprint, moved)).await;
                kept.map_err(|error| Error::Internal(error.to_string()))??;
                progress(far(self.store)?);
            }
        }
        Ok(found)
    }

    /// Entries with their vectors; those that were changed since they were read are left for the next pass.
    async fn embedded(
        &self,
        instances: &Instances,
        unmoved: Vec<Unmoved>,
    ) -> Result<Vec<(Unmoved, Vec<Arc<Vec<f32>>>)>, Error> {
        let keys: Vec<String> = unmoved.iter().map(|unmoved| unmoved.key().to_owned()).collect();
        let texts = instances.embedded_texts_at_once(&keys).await?;
        let tenant = instances.room().tenant;
        let mut entries = vec![];
        for (unmoved, texts) in unmoved.into_iter().zip(texts) {
            match texts {
                Some(texts) if texts.len() == unmoved.passages() => entries.push((unmoved, texts)),
                // Written by now, or else not to be explained: without its memory it could never be moved.
                _ if self.store.snapshot()?.is_unchanged(tenant, &unmoved)? => {
                    let message = format!("the index entry {} does not fit its memory; see `doctor`", unmoved.key());
                    return Err(Error::Corrupt(message));
                }
                _ => {}
            }
        }
        let all: Vec<String> = entries.iter().flat_map(|(_, texts)| texts.clone()).collect();
        let mut vectors = self.vectors(all).await?.into_iter();
        let mut moved = vec![];
        for (unmoved, texts) in entries {
            let mut of_entry = vec![];
            for pending in vectors.by_ref().take(texts.len()) {
                let failed = |error| Error::Unavailable(format!("memory {}: {error}", unmoved.key()));
                of_entry.push(pending.wait().await.map_err(failed)?);
            }
            moved.push((unmoved, of_entry));
        }
        Ok(moved)
    }

    /// Comes again while the queue of the model is full.
    async fn vectors(&self, texts: Vec<String>) -> Result<Vec<Pending>, Error> {
        loop {
            let pending = self.model.embed(texts.clone(), Purpose::Document, Lane::Background);
            match pending.first().map(Pending::try_get) {
                Some(Some(Err(EmbedError::Busy { retry_after_ms }))) => {
                    tokio::time::sleep(Duration::from_millis(retry_after_ms.into())).await;
                }
                _ => return Ok(pending),
            }
        }
    }
}

fn far(store: &Store) -> Result<Reembedding, StoreError> {
    let migration = store.migration()?;
    Ok(migration.map_or(Reembedding { moved: 0, memories: 0 }, |migration| Reembedding {
        moved: migration.moved,
        memories: migration.entries,
    }))
}
