//! The indexes of one tenant: entries found by words and by meaning, a view of the commits. Can be thrown away and built
//! again from the store; on disk are only graphs, whose files save the work of building them.
pub mod analyzer;
mod codes;
mod compare;
mod dense;
mod entries;
mod filter;
mod fuzzy;
mod graph;
#[cfg(test)]
mod graph_tests;
mod kernels;
mod lexical;
mod links;
mod parts;
mod runs;
mod search;
mod segment;
mod set;
mod shelf;
mod sketches;
#[cfg(test)]
mod tests;
mod varint;
mod view;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread;

use self::dense::Merge;
use self::shelf::{Kept, Shelf};
pub use self::sketches::Sketching;
use self::view::{Prepared, View};
use crate::contract::index::{Candidates, Corpus, Probe};
use crate::contract::types::Scope;
use crate::entry::{Change, Seq};

/// Up to so many admitted vectors are all compared; when more than so many are in no segment, one is made of them.
const SCANNED: usize = 20_000;

/// The indexes of one tenant.
///
/// May be used from several threads. A search sees every commit whose [`Index::absorb`] has returned, or none of it,
/// and waits for no graph.
pub struct Index {
    shared: Arc<Shared>,
}

/// Where an index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexProgress {
    /// Entries in it.
    pub entries: u32,
    /// Of these, those that a vector is owed to.
    pub pending: u32,
    /// Estimate of the memory held.
    pub bytes: u64,
}

impl Index {
    /// An empty index for vectors of this length; 0 where there is no model.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        Self::with_graph_threshold(dimensions, SCANNED)
    }

    /// An empty index that keeps its graphs in files of the directory, and takes over those that the same tenant's index
    /// left there as soon as it is filled with the same vectors. No other index may use them meanwhile.
    #[must_use]
    pub fn kept(dimensions: usize, directory: &Path, tenant: u32) -> Self {
        Self::kept_with_graph_threshold(dimensions, SCANNED, directory, tenant)
    }

    /// As [`Index::kept`], with graphs above so many vectors.
    #[must_use]
    pub fn kept_with_graph_threshold(dimensions: usize, threshold: usize, directory: &Path, tenant: u32) -> Self {
        Self::made(dimensions, threshold, Some(Shelf::new(directory, tenant)))
    }

    /// Whether an index of the tenant has left something in the directory.
    #[must_use]
    pub fn is_kept(directory: &Path, tenant: u32) -> bool {
        Shelf::new(directory, tenant).has_files()
    }

    /// An empty index that uses graphs above so many vectors.
    #[must_use]
    pub fn with_graph_threshold(dimensions: usize, threshold: usize) -> Self {
        Self::made(dimensions, threshold, None)
    }

    /// The same, with sketches of what vectors are owed for. To be called while it is empty.
    ///
    /// # Panics
    /// As [`Index::absorb`] does.
    #[must_use]
    pub fn sketched(self, make: Sketching) -> Self {
        self.shared.write().sketches.make_with(make);
        self
    }

    fn made(dimensions: usize, threshold: usize, shelf: Option<Shelf>) -> Self {
        let mut view = View::new(dimensions);
        if let Some(shelf) = &shelf {
            view.dense.adopt(shelf.open(dimensions));
        }
        let (view, building, idle) = (RwLock::new(view), Mutex::new(false), Condvar::new());
        Self { shared: Arc::new(Shared { threshold, dimensions, shelf, view, building, idle }) }
    }

    /// Takes one commit in; of several changes of one key the last counts.
    ///
    /// The position follows that of the call before. Only an index that is being filled from the store takes several
    /// calls of one position: the entries as they are there.
    ///
    /// # Panics
    /// If an earlier call panicked, as every other function then does: the index has to be built again.
    pub fn absorb(&self, seq: Seq, changes: Vec<Change>) {
        let changes = Prepared::all(changes);
        let mut view = self.shared.write();
        debug_assert!(seq >= view.absorbed, "commits are absorbed in their order");
        view.absorb(seq, changes);
        view.dense.filled();
        drop(view);
        Shared::merge_if_due(&self.shared);
    }

    /// As [`Index::absorb`], for an index that is being filled from the store: no graph is begun before all is there, and
    /// those from files are taken over meanwhile.
    pub fn fill(&self, seq: Seq, changes: Vec<Change>) {
        let changes = Prepared::all(changes);
        self.shared.write().absorb(seq, changes);
    }

    /// Entries.
    #[must_use]
    pub fn len(&self) -> u32 {
        entries::count(self.shared.read().entries.len())
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that a vector is owed to.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.shared.read().entries.pending()
    }

    /// Position of the last commit that was taken in.
    #[must_use]
    pub fn absorbed(&self) -> Seq {
        self.shared.read().absorbed
    }

    /// Answers one probe; `vector` is what its place stands for.
    ///
    /// Equal scores rank the older entry first. A candidate of several passages takes part in its turn with the vector
    /// of the passage named, a neighbour with that of its first passage that has one. Neighbours that are not admitted
    /// are not named. A vector of another length than those in the index, or one that is not finite, is a mistake of
    /// the caller and counts as none.
    #[must_use]
    pub fn search(&self, probe: &Probe, vector: Option<&[f32]>) -> Candidates {
        let view = self.shared.read();
        let accepted = vector.filter(|vector| view.dense.accepts(vector));
        debug_assert_eq!(vector.is_some(), accepted.is_some(), "the vector of a query is not of this index");
        search::search(&view, self.shared.threshold, probe, accepted)
    }

    /// Counts what lies in the scope. Terms are as indexed.
    ///
    /// Words are counted as they stand in the text, stop words too, each with the weight of its text.
    #[must_use]
    pub fn statistics(&self, scope: &Scope, terms: &[String]) -> Corpus {
        self.shared.read().statistics(scope, terms)
    }

    /// The stored vectors of the entries, entry by entry and passage by passage, and how many belong to each key: 0 to an
    /// unknown one.
    #[must_use]
    pub fn vectors(&self, keys: &[String]) -> (Vec<Vec<f32>>, Vec<u32>) {
        let view = self.shared.read();
        let each: Vec<Vec<Vec<f32>>> = keys.iter().map(|key| view.vectors(key)).collect();
        let counts = each.iter().map(|vectors| entries::count(vectors.len())).collect();
        (each.into_iter().flatten().collect(), counts)
    }

    /// Tells how much there is.
    #[must_use]
    pub fn progress(&self) -> IndexProgress {
        let view = self.shared.read();
        IndexProgress {
            entries: entries::count(view.entries.len()),
            pending: view.entries.pending(),
            bytes: view.bytes(),
        }
    }

    /// How this index differs from another that should be equal, say one rebuilt from the store, each time in a
    /// sentence. Graphs are not compared.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Vec<String> {
        if Arc::ptr_eq(&self.shared, &other.shared) {
            return vec![];
        }
        compare::compare(&self.shared.read(), &other.shared.read())
    }

    /// Vectors that finished graphs cover.
    #[must_use]
    pub fn graph_rows(&self) -> usize {
        self.shared.read().dense.graph_rows()
    }

    /// Leaves nothing of vectors that are gone in any file. Takes as long as writing the files anew; searches and commits go on
    /// meanwhile.
    ///
    /// # Panics
    /// As [`Index::absorb`] does.
    pub fn erase(&self) {
        let Some(shelf) = &self.shared.shelf else { return };
        let mut building = self.shared.idle.wait_while(self.shared.building(), |building| *building).expect(POISONED);
        // No merge may begin.
        *building = true;
        drop(building);
        let done = Building(Arc::downgrade(&self.shared));
        loop {
            // Bound first, so that the lock is free while files are written.
            let worn = self.shared.read().dense.worn();
            let Some(worn) = worn else { break };
            let kept = shelf.keep(worn.erased(), self.shared.dimensions);
            let file = self.shared.write().dense.renew(&worn, kept);
            file.as_deref().map(shelf::discard);
        }
        *self.shared.building() = false;
        self.shared.idle.notify_all();
        drop(done);
        Shared::merge_if_due(&self.shared);
    }

    /// Waits until no graph is being built.
    ///
    /// # Panics
    /// As [`Index::absorb`] does.
    pub fn settle(&self) {
        let building = self.shared.building();
        let settled = self.shared.idle.wait_while(building, |building| *building);
        drop(settled.expect(POISONED));
    }
}

const POISONED: &str = "an earlier panic left the index incomplete; it has to be built again";

struct Shared {
    threshold: usize,
    dimensions: usize,
    shelf: Option<Shelf>,
    view: RwLock<View>,
    /// Whether a thread merges. Locked before `view` where both are.
    building: Mutex<bool>,
    idle: Condvar,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().expect(POISONED)
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().expect(POISONED)
    }

    fn building(&self) -> MutexGuard<'_, bool> {
        self.building.lock().expect(POISONED)
    }

    /// Starts a thread unless one is at work or nothing is due.
    fn merge_if_due(shared: &Arc<Self>) {
        let mut building = shared.building();
        if *building || !shared.read().dense.is_due(shared.threshold) {
            return;
        }
        let Some(merge) = shared.write().dense.due(shared.threshold) else { return };
        let index = Arc::downgrade(shared);
        let builder = thread::Builder::new().name("merge".to_owned());
        match builder.spawn(move || merge_all(&Building(index), merge)) {
            Ok(_) => *building = true,
            Err(error) => {
                shared.write().dense.abandon();
                tracing::warn!(%error, "cannot start building a graph; searches stay exact");
            }
        }
    }
}

/// Makes one segment after the other until none is due or the index is gone.
fn merge_all(building: &Building, mut merge: Merge) {
    while let Ok(segment) = merge.build(|| building.0.strong_count() == 0) {
        let Some(shared) = building.0.upgrade() else { return };
        let kept = segment.map(|segment| match &shared.shelf {
            Some(shelf) => shelf.keep(segment, shared.dimensions),
            None => Kept { segment, file: None },
        });
        // Bound first, so that the lock is free again before what was replaced goes.
        let replaced = shared.write().install(kept, &merge);
        replaced.discard();
        let mut at_work = shared.building();
        let Some(next) = shared.write().dense.due(shared.threshold) else {
            *at_work = false;
            shared.idle.notify_all();
            return;
        };
        merge = next;
    }
}

/// Tells those who wait that the thread is gone, also when it panicked.
struct Building(Weak<Shared>);

impl Drop for Building {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        if thread::panicking() {
            tracing::error!("building a graph failed; searches stay exact until the next commit");
            if let Ok(mut view) = shared.view.write() {
                view.dense.abandon();
            }
            if let Ok(mut building) = shared.building.lock() {
                *building = false;
            }
            shared.idle.notify_all();
        }
    }
}
