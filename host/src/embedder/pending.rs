//! A vector that may still be on its way. Holds the text until then; knows nothing of queues and models.
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::EmbedError;
use super::cache::Key;

/// One text's vector, now or later. The text is computed only while a handle to it is held.
#[derive(Clone, Debug)]
pub struct Pending(Arc<Slot>);

/// What the handles and the queue share.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) text: String,
    /// Of the cache; `None` where there is none.
    pub(super) key: Option<Key>,
    outcome: OnceLock<Result<Arc<Vec<f32>>, EmbedError>>,
    done: Notify,
}

impl Slot {
    /// The first outcome counts.
    pub(super) fn finish(&self, outcome: Result<Arc<Vec<f32>>, EmbedError>) {
        if self.outcome.set(outcome).is_ok() {
            self.done.notify_waiters();
        }
    }
}

impl Pending {
    pub(super) fn new(text: String, key: Option<Key>) -> Self {
        Self(Arc::new(Slot { text, key, outcome: OnceLock::new(), done: Notify::new() }))
    }

    /// A vector that is there already, of unit length; its text is empty.
    #[must_use]
    pub fn ready(vector: impl Into<Arc<Vec<f32>>>) -> Self {
        let pending = Self::new(String::new(), None);
        pending.0.finish(Ok(vector.into()));
        pending
    }

    /// A vector that will never be; its text is empty.
    #[must_use]
    pub fn failed(error: EmbedError) -> Self {
        let pending = Self::new(String::new(), None);
        pending.0.finish(Err(error));
        pending
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.0
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The outcome if there is one yet.
    #[must_use]
    pub fn try_get(&self) -> Option<Result<Arc<Vec<f32>>, EmbedError>> {
        self.0.outcome.get().cloned()
    }

    /// Waits for the outcome. Dropping the future loses nothing.
    pub async fn wait(&self) -> Result<Arc<Vec<f32>>, EmbedError> {
        loop {
            // Enrolled before looking: an outcome that comes in between is notified.
            let mut done = std::pin::pin!(self.0.done.notified());
            done.as_mut().enable();
            if let Some(outcome) = self.try_get() {
                return outcome;
            }
            done.await;
        }
    }

    /// [`Pending::wait`] for a thread of one's own; never from async code.
    pub fn wait_blocking(&self) -> Result<Arc<Vec<f32>>, EmbedError> {
        self.0.outcome.wait().clone()
    }
}
