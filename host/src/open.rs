//! Opening a store: the composition root, the only file that names concrete parts and puts them together.
use crate::component::{Capabilities, ComponentError, Machine};
pub use crate::embedder::Precision;
pub(crate) use crate::embedder::VECTORS;
use crate::embedder::{self, Cache, CacheSize, EmbedError, Embedder, Encoder, ModelInfo};
use crate::engine::Engine;
use crate::room::Rooms;
use crate::serving::Serving;
use crate::store::{CACHE_BYTES, OpenOptions, Store, StoreError};
use crate::system::{Platform, System};
use crate::writer::Writer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Model(#[from] EmbedError),
    #[error(transparent)]
    Component(#[from] ComponentError),
}

impl OpenError {
    /// Whether the store holds vectors of another model; [`Engine::reembed`] moves it.
    #[must_use]
    pub fn is_other_model(&self) -> bool {
        matches!(self, Self::Store(StoreError::OtherModel { .. }))
    }
}

/// Which model embeds.
#[derive(Clone, Default)]
pub enum ModelChoice {
    /// The one in the binary.
    #[default]
    Default,
    /// A folder with `model.onnx`, `tokenizer.json` and `manifest.json`.
    Path(PathBuf),
    /// A folder of this name among [`Options::models`], or the one in the binary.
    Name(String),
    /// An encoder of the caller's own.
    Given(ModelInfo, Arc<dyn Encoder>),
    /// None: memories are found by their words alone.
    None,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// How long to wait for another process that holds the store.
    pub wait: Duration,
    /// What this process tells others that wait for it.
    pub holder: String,
    pub model: ModelChoice,
    /// How the model computes; none: the fastest that finds the same. Vectors of all are comparable.
    pub precision: Option<Precision>,
    /// Where models are looked for by name, first to last.
    pub models: Vec<PathBuf>,
    /// Whose memories these are. A tenant sees nothing of another one.
    pub tenant: String,
    /// What one call may take.
    pub deadline: Duration,
    /// Where what can be made again is kept, the compiled component and packed weights; none: it is made at each start.
    pub cache: Option<PathBuf>,
    /// Of the caches of vectors in memory and on disk, in bytes; 0: none.
    pub cache_memory: u64,
    pub cache_disk: u64,
    /// Of the cache of vectors on disk; none: in the directory of the store, and for a store in memory nowhere.
    pub cache_file: Option<PathBuf>,
    /// Time, order and chance.
    pub system: Arc<dyn System>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            wait: Duration::from_secs(5),
            holder: std::env::args().next().unwrap_or_default(),
            model: ModelChoice::Default,
            precision: None,
            models: vec![],
            tenant: "default".to_owned(),
            deadline: Duration::from_mins(10),
            cache: directories::ProjectDirs::from("", "", "cairn").map(|dirs| dirs.cache_dir().to_owned()),
            cache_memory: 16 << 20,
            cache_disk: 256 << 20,
            cache_file: None,
            system: Arc::new(Platform::default()),
        }
    }
}

/// Opens the store in a directory, or makes one there. The same as `Options::default().open(directory)`.
pub fn open(directory: impl AsRef<Path>) -> Result<Engine, OpenError> {
    Options::default().open(directory)
}

impl Options {
    /// Opens the store in a directory, or makes one there. Inside a tokio runtime, on whose threads calls wait.
    pub fn open(mut self, directory: impl AsRef<Path>) -> Result<Engine, OpenError> {
        let options = OpenOptions { wait: self.wait, holder: self.holder.clone(), cache_bytes: CACHE_BYTES };
        let begun = Instant::now();
        let store = Store::open(directory.as_ref(), &options)?;
        tracing::debug!(ms = milliseconds(begun), "store ready");
        self.cache_file.get_or_insert_with(|| directory.as_ref().join(VECTORS));
        self.on(store)
    }

    /// A store in memory, gone with the engine.
    pub fn in_memory(self) -> Result<Engine, OpenError> {
        let store = Store::in_memory()?;
        self.on(store)
    }

    /// The model of these options, with nothing loaded yet; none for [`ModelChoice::None`]. [`Engine::reembed`] takes it.
    pub fn embedder(&self) -> Result<Option<Embedder>, EmbedError> {
        match &self.model {
            ModelChoice::None => Ok(None),
            ModelChoice::Given(info, encoder) => Ok(Some(start(info.clone(), encoder.clone(), None))),
            ModelChoice::Default => self.resolved(None).map(Some),
            ModelChoice::Name(name) => self.resolved(Some(name)).map(Some),
            ModelChoice::Path(path) => self.resolved(Some(&path.to_string_lossy())).map(Some),
        }
    }

    /// An engine on a store that is open.
    pub fn on(self, records: Store) -> Result<Engine, OpenError> {
        let embedder = self.embedder()?;
        if let Some(embedder) = &embedder {
            let info = embedder.info();
            records.set_model(&info.name, &info.fingerprint, info.dimensions)?;
        }
        let serving = Arc::new(Serving::new(embedder));
        let rooms = Arc::new(Rooms::new(records.clone(), serving.clone()));
        let (absorbing, erasing) = (rooms.clone(), Arc::downgrade(&rooms));
        records.erase_beside(move || erasing.upgrade().map_or(Ok(()), |rooms| rooms.erase()));
        let writer = Writer::start(records.clone(), move |news| absorbing.hear(news));
        let tenant = records.tenant(&self.tenant)?;
        let room = rooms.room(tenant);
        let capabilities = Capabilities { records, writer, rooms, serving, system: self.system };
        let cache = self.cache.map(|cache| cache.join("component")).filter(|directory| private(directory));
        let begun = Instant::now();
        let machine = Machine::new(Arc::new(capabilities), cache, self.deadline)?;
        tracing::debug!(ms = milliseconds(begun), "component ready");
        Ok(Engine::new(Arc::new(machine).instances(room)))
    }

    fn resolved(&self, name: Option<&str>) -> Result<Embedder, EmbedError> {
        let mut model = embedder::resolve(name, &self.models)?;
        model.precision = self.precision;
        model.packed = self.cache.as_ref().map(|cache| cache.join("models")).filter(|directory| private(directory));
        let disk = self.cache_file.as_ref().map_or(0, |_| self.cache_disk);
        let file = self.cache_file.clone().unwrap_or_default();
        let size = CacheSize { memory: self.cache_memory, disk, file };
        let cache = Cache::new(&model.origin(), model.manifest.dimensions, &size);
        Ok(start(model.info(), model.encoder(), Some(cache)))
    }
}

fn start(info: ModelInfo, encoder: Arc<dyn Encoder>, cache: Option<Cache>) -> Embedder {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    Embedder::start(info, move || Ok(encoder), workers, cache)
}

/// How long something took that began then. `bench start` reads these from the messages.
fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// Makes the directory, for this user alone: compiled code that others could write would be run as ours.
fn private(directory: &Path) -> bool {
    let made = std::fs::create_dir_all(directory);
    #[cfg(unix)]
    let made = made.and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
    });
    made.is_ok()
}
