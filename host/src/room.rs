//! One tenant's room: its indexes as a view of what the store committed, how they are rebuilt and kept up, and how owed
//! vectors are paid. Never decides what is found.
use crate::contract::index::Progress;
use crate::embedder::{Lane, Purpose, VECTORS};
use crate::entry::{Change, Seq};
use crate::index::Index;
use crate::serving::Serving;
use crate::store::{Snapshot, Store, StoreError, Tenant};
use crate::writer::{News, Paid, Writer};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Where graphs are kept, in the directory of the store.
const GRAPHS: &str = "index";
/// Entries read in one go while an index is rebuilt.
const CHUNK: usize = 1_000;
/// After a write that left vectors owing, the model waits for so long for the next one: a burst has the processor to
/// itself. But no longer than the second, and then for a few only: under writes without end vectors follow all the same.
const BURST: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));
/// Owed entries embedded together in a burst, and after it; and texts.
const OWED: (usize, usize, usize) = (128, 512, 4_096);

/// The rooms of all tenants that were asked for.
pub(crate) struct Rooms {
    store: Store,
    serving: Arc<Serving>,
    open: Mutex<HashMap<Tenant, Arc<Room>>>,
}

/// See the module.
pub(crate) struct Room {
    pub(crate) tenant: Tenant,
    /// None until it is first asked for: verbs that only read or add records do without.
    index: RwLock<Option<Arc<Index>>>,
    /// Up to here the index was read from the store; commits beyond are absorbed one by one.
    recovered: Mutex<Seq>,
    paying: AtomicBool,
    /// When somebody last left a vector owing.
    lent: Mutex<Option<Instant>>,
}

impl Rooms {
    pub(crate) fn new(store: Store, serving: Arc<Serving>) -> Self {
        Rooms { store, serving, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, Arc<Room>>> {
        // A room is put in whole or not at all.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of a tenant.
    pub(crate) fn room(&self, tenant: Tenant) -> Arc<Room> {
        let new = || {
            let index = RwLock::new(None);
            Arc::new(Room {
                tenant,
                index,
                recovered: Mutex::default(),
                paying: AtomicBool::new(false),
                lent: Mutex::default(),
            })
        };
        self.lock().entry(tenant).or_insert_with(new).clone()
    }

    /// The index of a room as it is now; built from the store when it is first asked for. The writer waits meanwhile,
    /// so that no commit falls between what was read and what is absorbed.
    pub(crate) fn index(&self, room: &Room) -> Result<Arc<Index>, StoreError> {
        if let Some(index) = room.built() {
            return Ok(index);
        }
        let _writer_waits = self.lock();
        // Another caller may have been faster.
        if let Some(index) = room.built() {
            return Ok(index);
        }
        let started = Instant::now();
        let (index, head) = self.fill(self.kept(room.tenant), room.tenant)?;
        tracing::debug!(ms = started.elapsed().as_secs_f64() * 1e3, "indexes ready");
        *room.recovered() = head;
        Ok(room.replace(index))
    }

    /// Forgets all indexes: the store holds vectors of another model by now. They are built again when they are asked for.
    pub(crate) fn forget_indexes(&self) {
        self.lock().values().for_each(|room| room.forget());
    }

    /// Erases what the store has erased from everything that lies beside it: graphs and cached vectors.
    pub(crate) fn erase(&self) -> Result<(), StoreError> {
        let embedder = self.serving.embedder();
        if let Some(embedder) = &embedder {
            embedder.clear_cache();
        }
        let Some(store) = self.directory() else { return Ok(()) };
        if embedder.is_none() {
            // Of a process that had a model. Mostly there is none.
            drop(std::fs::remove_file(store.join(VECTORS)));
        }
        for (_, tenant) in self.store.tenants()? {
            if Index::is_kept(&store.join(GRAPHS), tenant.0) {
                self.index(&self.room(tenant))?.erase();
            }
        }
        Ok(())
    }

    /// Builds an index from nothing but what the store holds, and tells up to which position.
    pub(crate) fn build(&self, tenant: Tenant) -> Result<(Index, Seq), StoreError> {
        self.fill(Index::new(self.serving.dimensions()), tenant)
    }

    /// An empty index that may take graphs over from an earlier process; a store in memory has none.
    fn kept(&self, tenant: Tenant) -> Index {
        let index = match self.directory() {
            Some(store) => Index::kept(self.serving.dimensions(), &store.join(GRAPHS), tenant.0),
            None => Index::new(self.serving.dimensions()),
        };
        match self.serving.embedder() {
            Some(embedder) => index.sketched(Arc::new(move |words| embedder.sketch(words))),
            None => index,
        }
    }

    /// Where the store is; one in memory is nowhere.
    fn directory(&self) -> Option<PathBuf> {
        self.store.path().parent().filter(|directory| !directory.as_os_str().is_empty()).map(PathBuf::from)
    }

    fn fill(&self, index: Index, tenant: Tenant) -> Result<(Index, Seq), StoreError> {
        let snapshot = self.store.long_snapshot()?;
        let head = snapshot.head(tenant)?;
        let mut after: Option<String> = None;
        loop {
            let entries = snapshot.entries(tenant, after.as_deref(), CHUNK)?;
            let Some(last) = entries.last() else { break };
            after = Some(last.entry.key.clone());
            index.fill(head, entries.into_iter().map(|entry| Change::Put(Box::new(entry))).collect());
        }
        index.absorb(head, vec![]);
        Ok((index, head))
    }

    /// Where the indexes stand, after waiting up to `wait` for owed vectors and for what was committed before.
    pub(crate) async fn progress(&self, room: &Room, wait: Duration) -> Result<Progress, StoreError> {
        let deadline = Instant::now() + wait;
        let head = self.store.usage(room.tenant)?.head;
        loop {
            let index = self.index(room)?;
            let (at, pending) = (index.absorbed(), index.pending());
            if (pending == 0 && at >= head) || Instant::now() >= deadline {
                return Ok(Progress { entries: index.len(), pending, absorbed: at.0, bytes: 0 });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What the writer tells, in order.
    pub(crate) fn hear(&self, news: News) {
        match news {
            News::Commit { tenant, seq, changes } => self.absorb(tenant, seq, changes),
            News::Doubt => self.reconcile(),
        }
    }

    /// Forgets the indexes that stand elsewhere than the store: a failure can move it either way.
    fn reconcile(&self) {
        for room in self.lock().values() {
            let Some(index) = room.built() else { continue };
            let head = self.store.long_snapshot().and_then(|snapshot| snapshot.head(room.tenant));
            if head.ok() != Some(index.absorbed()) {
                room.forget();
            }
        }
    }

    fn absorb(&self, tenant: Tenant, seq: Seq, changes: Vec<Change>) {
        let Some(room) = self.lock().get(&tenant).cloned() else { return };
        // What is built later holds this commit, and what was built from the store already may.
        let Some(index) = room.built() else { return };
        if seq <= *room.recovered() {
            return;
        }
        let absorbed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let at = index.absorbed();
            if Seq(at.0 + 1) == seq {
                index.absorb(seq, changes);
                Ok(true)
            } else if at < seq {
                self.catch_up(&room, &index).map(|()| true)
            } else {
                Ok(false)
            }
        }));
        // The position went back, a commit could not be read, or the index is broken: it is made anew from the store.
        if !matches!(absorbed, Ok(Ok(true))) {
            match self.fill(self.kept(tenant), tenant) {
                Ok((index, head)) => {
                    tracing::warn!(seq = seq.0, "the indexes were rebuilt from the store");
                    room.replace(index);
                    *room.recovered() = head;
                }
                Err(error) => {
                    room.forget();
                    tracing::error!("cannot rebuild the indexes: {error:#}");
                }
            }
        }
    }

    /// Replays the changelog from where the index stands.
    fn catch_up(&self, room: &Room, index: &Index) -> Result<(), StoreError> {
        let snapshot: Snapshot = self.store.long_snapshot()?;
        loop {
            let changes = snapshot.changes(room.tenant, index.absorbed(), CHUNK)?;
            if changes.is_empty() {
                return Ok(());
            }
            for (seq, changes) in changes {
                index.absorb(seq, changes);
            }
        }
    }
}

impl Room {
    fn recovered(&self) -> MutexGuard<'_, Seq> {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, if anybody asked for it yet.
    fn built(&self) -> Option<Arc<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, index: Index) -> Arc<Index> {
        let index = Arc::new(index);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        index
    }

    /// It is built again when it is asked for.
    fn forget(&self) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.recovered() = Seq::default();
    }

    /// Whether a vector is owed to anything.
    pub(crate) fn owes(&self, store: &Store) -> bool {
        match self.built() {
            Some(index) => index.pending() > 0,
            None => store.snapshot().and_then(|s| s.owed(self.tenant, 1)).is_ok_and(|owed| !owed.is_empty()),
        }
    }

    /// Takes note that a write has just left vectors owing.
    pub(crate) fn lend(&self) {
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns when nobody has left vectors owing for a moment, or all the same after a while; and how many to pay then.
    async fn calm(&self) -> usize {
        let (moment, most) = BURST;
        let begun = Instant::now();
        while begun.elapsed() < most {
            let lent = *self.lent.lock().unwrap_or_else(PoisonError::into_inner);
            match lent.map(|lent| moment.saturating_sub(lent.elapsed())) {
                None | Some(Duration::ZERO) => return OWED.1,
                Some(rest) => tokio::time::sleep(rest).await,
            }
        }
        OWED.0
    }

    /// Begins to pay what is owed, unless that is under way. Failures are told and tried again, more and more rarely,
    /// until the room is closed with the process: what is owed stays owed in the store.
    pub(crate) fn pay(self: &Arc<Self>, store: &Store, writer: &Writer, serving: &Arc<Serving>) {
        if self.paying.swap(true, Ordering::AcqRel) {
            return;
        }
        let (room, store, writer, serving) = (self.clone(), store.clone(), writer.clone(), serving.clone());
        tokio::spawn(async move {
            let mut pause = Duration::from_millis(250);
            loop {
                let most = room.calm().await;
                match room.pay_some(&store, &writer, &serving, most).await {
                    Ok(true) => pause = Duration::from_millis(250),
                    Ok(false) => {
                        room.paying.store(false, Ordering::Release);
                        // Something may have become owed between the look and the flag.
                        let more =
                            store.snapshot().and_then(|s| s.owed(room.tenant, 1)).is_ok_and(|owed| !owed.is_empty());
                        if !more || room.paying.swap(true, Ordering::AcqRel) {
                            return;
                        }
                    }
                    // The store is closed: what is owed waits for the next start.
                    Err(error) if matches!(error.downcast_ref(), Some(StoreError::Closed { .. })) => return,
                    Err(error) => {
                        tracing::warn!("vectors stay owed: {error:#}");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_mins(1));
                    }
                }
            }
        });
    }

    /// Pays for so many entries at most. Whether there was something to pay.
    async fn pay_some(&self, store: &Store, writer: &Writer, serving: &Serving, most: usize) -> anyhow::Result<bool> {
        let _one_model = serving.paying().await;
        let Some(embedder) = serving.embedder() else { return Ok(false) };
        let mut owed = store.snapshot()?.owed(self.tenant, most)?;
        let mut texts = 0;
        owed.retain(|debt| {
            let fits = texts == 0 || texts + debt.texts.len() <= OWED.2;
            texts += if fits { debt.texts.len() } else { 0 };
            fits
        });
        if owed.is_empty() {
            return Ok(false);
        }
        let texts: Vec<String> = owed.iter().flat_map(|debt| debt.texts.iter().map(|(_, text)| text.clone())).collect();
        let mut pending = embedder.embed(texts, Purpose::Document, Lane::Background).into_iter();
        let mut paid = vec![];
        let mut failed = None;
        for debt in owed {
            let mut vectors = vec![];
            for (passage, text) in debt.texts {
                match pending.next().expect("one a text").wait().await {
                    Ok(vector) => vectors.push((passage, text, vector)),
                    Err(error) => failed = Some(error),
                }
            }
            if !vectors.is_empty() {
                paid.push(Paid { key: debt.key, vectors });
            }
        }
        // What could be computed is kept, whatever became of the rest.
        if let (true, Some(error)) = (paid.is_empty(), failed) {
            return Err(error.into());
        }
        writer.pay(self.tenant, paid).await?;
        Ok(true)
    }
}
