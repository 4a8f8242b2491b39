//! Opening a store: the composition root, the only file that names concrete parts and puts them together.
use crate::component::{Capabilities, ComponentError, Machine};
pub use crate::embedder::Precision;
use crate::embedder::{self, EmbedError, Embedder, Encoder, ModelInfo};
use crate::engine::Engine;
use crate::room::Rooms;
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
    /// How the model computes; none: the fastest that changes no vector noticeably. Vectors of all are comparable.
    pub precision: Option<Precision>,
    /// Where models are looked for by name, first to last.
    pub models: Vec<PathBuf>,
    /// Whose memories these are. A tenant sees nothing of another one.
    pub tenant: String,
    /// What one call may take.
    pub deadline: Duration,
    /// Where the compiled component is kept; none: it is compiled at each start.
    pub cache: Option<PathBuf>,
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
            cache: directories::ProjectDirs::from("", "", "cairn").map(|dirs| dirs.cache_dir().join("component")),
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
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Engine, OpenError> {
        let options = OpenOptions { wait: self.wait, holder: self.holder.clone(), cache_bytes: CACHE_BYTES };
        let begun = Instant::now();
        let store = Store::open(directory.as_ref(), &options)?;
        tracing::debug!(ms = milliseconds(begun), "store ready");
        self.on(store)
    }

    /// A store in memory, gone with the engine.
    pub fn in_memory(self) -> Result<Engine, OpenError> {
        let store = Store::in_memory()?;
        self.on(store)
    }

    /// An engine on a store that is open.
    pub fn on(self, records: Store) -> Result<Engine, OpenError> {
        let embedder = match self.model {
            ModelChoice::None => None,
            ModelChoice::Given(info, encoder) => Some(start(info, encoder)),
            ModelChoice::Default => Some(resolved(None, &self.models, self.precision)?),
            ModelChoice::Name(name) => Some(resolved(Some(&name), &self.models, self.precision)?),
            ModelChoice::Path(path) => Some(resolved(Some(&path.to_string_lossy()), &self.models, self.precision)?),
        };
        let mut dimensions = 0;
        if let Some(embedder) = &embedder {
            let info = embedder.info();
            dimensions = info.dimensions as usize;
            records.set_model(&info.name, &info.fingerprint, info.dimensions)?;
        }
        let rooms = Arc::new(Rooms::new(records.clone(), dimensions));
        let absorbing = rooms.clone();
        let writer = Writer::start(records.clone(), move |tenant, seq, changes| absorbing.absorb(tenant, seq, changes));
        let tenant = records.tenant(&self.tenant)?;
        let room = rooms.room(tenant);
        let capabilities = Capabilities { records, writer, rooms, embedder, system: self.system };
        let cache = self.cache.filter(|directory| private(directory));
        let begun = Instant::now();
        let machine = Machine::new(Arc::new(capabilities), cache, self.deadline)?;
        tracing::debug!(ms = milliseconds(begun), "component ready");
        Ok(Engine::new(Arc::new(machine).instances(room)))
    }
}

fn start(info: ModelInfo, encoder: Arc<dyn Encoder>) -> Embedder {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    Embedder::start(info, move || Ok(encoder), workers)
}

fn resolved(name: Option<&str>, search: &[PathBuf], precision: Option<Precision>) -> Result<Embedder, EmbedError> {
    let mut model = embedder::resolve(name, search)?;
    model.precision = precision;
    Ok(start(model.info(), model.encoder()))
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
