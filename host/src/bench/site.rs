//! Where a bench works: a directory on a real disk, a runtime, and one loaded model that all its stores share.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::runtime::Runtime;

use super::machine::{self, Load};
use super::measure::Spread;
use crate::contract::types::Error;
use crate::embedder::{self, Embedder, Encoder, ModelInfo, Precision};
use crate::engine::Engine;
use crate::open::{ModelChoice, Options};
use crate::wire::ErrorObject;

/// See the module. The directory goes with it.
pub(super) struct Site {
    pub(super) runtime: Runtime,
    pub(super) info: ModelInfo,
    pub(super) precision: Precision,
    /// Loaded.
    pub(super) encoder: Arc<dyn Encoder>,
    pub(super) workers: usize,
    pub(super) file_system: Option<String>,
    directory: tempfile::TempDir,
}

/// What may change while a bench runs.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) sync_ms: f64,
    pub(super) load: Option<Load>,
}

/// How long the threads of an engine go on after it, at most.
const LAST_THREAD: Duration = Duration::from_millis(25);
const DAY: Duration = Duration::from_hours(24);

impl Site {
    /// A directory below `parent`, or beside the data directory.
    pub(super) fn new(parent: Option<PathBuf>, precision: Option<Precision>) -> anyhow::Result<Site> {
        let parent = match parent {
            Some(parent) => parent,
            None => beside_the_data()?,
        };
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let file_system = machine::file_system(&parent);
        if matches!(file_system.as_deref(), Some("tmpfs" | "ramfs")) {
            bail!(
                "{} lies in memory, where nothing is durable; name a directory on a disk with --dir",
                parent.display()
            );
        }
        let directory = tempfile::Builder::new().prefix("cairn-bench-").tempdir_in(&parent);
        let directory = directory.with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(DAY).build()?;
        let precision = match precision {
            Some(precision) => precision,
            None => embedder::resolve(None, &[])?.computes_in(),
        };
        let (info, encoder) = loaded(precision)?;
        Ok(Site { runtime, info, precision, encoder, workers: machine::cores(), file_system, directory })
    }

    pub(super) fn parent(&self) -> &Path {
        self.directory.path().parent().unwrap_or(self.directory.path())
    }

    pub(super) fn conditions(&self) -> anyhow::Result<Conditions> {
        let times = machine::sync_times(self.directory.path())?;
        Ok(Conditions { sync_ms: Spread::of_ms(times).median, load: Load::now() })
    }

    /// A directory for a store, not made yet.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The store of that name with the loaded model. To be closed by [`Site::close`].
    pub(super) fn open(&self, name: &str) -> anyhow::Result<Engine> {
        self.open_with(name, ModelChoice::Given(self.info.clone(), self.encoder.clone()))
    }

    pub(super) fn open_with(&self, name: &str, model: ModelChoice) -> anyhow::Result<Engine> {
        let _runtime = self.runtime.enter();
        Ok(Options { model, holder: "cairn bench".to_owned(), ..Options::default() }.open(self.folder(name))?)
    }

    pub(super) fn close(&self, engine: Engine) {
        self.runtime.block_on(engine.close());
        // Threads that end while something is timed would take what they computed with them.
        std::thread::sleep(LAST_THREAD);
    }

    /// Removes a closed store.
    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        let folder = self.folder(name);
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// A queue and threads of its own in front of the loaded model.
    pub(super) fn embedder(&self, workers: usize) -> Embedder {
        let encoder = self.encoder.clone();
        Embedder::start(self.info.clone(), move || Ok(encoder), workers, None)
    }
}

fn beside_the_data() -> anyhow::Result<PathBuf> {
    let places = directories::ProjectDirs::from("", "", "cairn");
    let places = places.ok_or_else(|| anyhow!("there is no home directory; name a directory with --dir"))?;
    Ok(places.data_dir().parent().unwrap_or(places.data_dir()).to_owned())
}

/// An answer of the engine, its error as a sentence.
pub(super) fn answered<T>(answer: Result<T, Error>) -> anyhow::Result<T> {
    answer.map_err(|error| anyhow!(ErrorObject::from(&error).sentence()))
}

/// The default model, ready to compute in a precision.
pub(super) fn loaded(precision: Precision) -> anyhow::Result<(ModelInfo, Arc<dyn Encoder>)> {
    let mut model = embedder::resolve(None, &[])?;
    model.precision = Some(precision);
    let info = model.info();
    let encoder = model.encoder();
    encoder.prepare()?;
    Ok((info, encoder))
}
