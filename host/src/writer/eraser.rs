//! Has the file written anew some time after something was erased, so that no byte of it is left. Several erasures share
//! one rewriting. Never in the writer's way: a thread of its own copies, and writes go on.
use crate::store::{Store, StoreError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From an erasure to the rewriting, and from one attempt to the next. The contract promises an hour.
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) struct Eraser {
    store: Store,
    patience: Duration,
    due: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl Eraser {
    /// What an earlier process left is due at once.
    pub(super) fn new(store: Store) -> Eraser {
        let due = owes(&store).then(Instant::now);
        Eraser { store, patience: PATIENCE, due, running: None }
    }

    /// Something was erased.
    pub(super) fn note(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + self.patience);
    }

    /// When [`Eraser::wake`] wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Begins to rewrite if it is time, and looks again later.
    pub(super) fn wake(&mut self) {
        if self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = Some(Instant::now() + self.patience);
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        if !owes(&self.store) {
            self.due = None;
            return;
        }
        let store = self.store.clone();
        let thread =
            std::thread::Builder::new().name("eraser".to_owned()).spawn(move || tell(store.compact().map(drop)));
        match thread {
            Ok(thread) => self.running = Some(thread),
            Err(error) => tracing::warn!(%error, "erasing begins later"),
        }
    }

    /// Waits for a rewriting that is under way, and does what is still owed unless that is left to the next process.
    pub(super) fn finish(self, pays: bool) {
        // What went wrong in it was told by it.
        let _ = self.running.map(JoinHandle::join);
        if pays && owes(&self.store) {
            tell(self.store.compact().map(drop));
        }
    }
}

fn owes(store: &Store) -> bool {
    // A store that cannot be read says so to those who read it.
    store.owes_erasure().unwrap_or(false)
}

fn tell(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "bytes of what was erased stay in the file until it can be written anew");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::erasing;

    #[test]
    fn what_was_erased_leaves_the_file_when_it_is_time() {
        let store = Store::in_memory().unwrap();
        erasing(&store);
        let mut eraser = Eraser { patience: Duration::from_millis(1), ..Eraser::new(store.clone()) };
        eraser.wake();
        eraser.running.take().expect("a debt of an earlier process is due at once").join().unwrap();
        assert!(!store.owes_erasure().unwrap());
        std::thread::sleep(eraser.due().unwrap().saturating_duration_since(Instant::now()));
        eraser.wake();
        assert!(eraser.due().is_none() && eraser.running.is_none(), "nothing is owed any more");
    }

    #[test]
    fn a_debt_waits_and_is_paid_at_the_end_by_who_closes_in_order() {
        let store = Store::in_memory().unwrap();
        let mut eraser = Eraser::new(store.clone());
        assert!(eraser.due().is_none());
        erasing(&store);
        eraser.note();
        eraser.wake();
        assert!(eraser.running.is_none() && eraser.due().is_some_and(|due| due > Instant::now()));
        eraser.finish(false);
        assert!(store.owes_erasure().unwrap());
        Eraser::new(store.clone()).finish(true);
        assert!(!store.owes_erasure().unwrap());
    }
}
