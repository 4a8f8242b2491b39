//! The model that serves: what every call uses, and whoever pays owed vectors. Replaced by a migration alone, while nobody
//! does either. Never loads anything.
use crate::embedder::Embedder;
use std::sync::{PoisonError, RwLock};
use tokio::sync::{Mutex, MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// See the module.
pub(crate) struct Serving {
    present: RwLock<Option<Embedder>>,
    /// Held for reading by whoever pays.
    paying: tokio::sync::RwLock<()>,
    migration: Mutex<()>,
}

impl Serving {
    /// None: words alone.
    pub(crate) fn new(embedder: Option<Embedder>) -> Self {
        Serving { present: RwLock::new(embedder), paying: tokio::sync::RwLock::default(), migration: Mutex::default() }
    }

    /// The model as it is now. Within a call, and while [`Serving::paying`] is held, it stays the same.
    pub(crate) fn embedder(&self) -> Option<Embedder> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of its vectors; 0 where there is no model.
    pub(crate) fn dimensions(&self) -> usize {
        self.embedder().map_or(0, |embedder| embedder.info().dimensions as usize)
    }

    /// Keeps the model as it is while vectors are computed and put into the store.
    pub(crate) async fn paying(&self) -> RwLockReadGuard<'_, ()> {
        self.paying.read().await
    }

    /// Waits until nobody pays, and lets nobody begin.
    pub(crate) async fn still(&self) -> RwLockWriteGuard<'_, ()> {
        self.paying.write().await
    }

    /// The right to move the store to another model; none if somebody does.
    pub(crate) fn migration(&self) -> Option<MutexGuard<'_, ()>> {
        self.migration.try_lock().ok()
    }

    /// From now on this one serves. No call may be under way, and nobody may pay.
    pub(crate) fn replace(&self, embedder: Embedder) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Some(embedder);
    }
}
