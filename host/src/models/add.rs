//! Bringing a model: its files from a folder or an address into a hidden folder, checked one by one and run once, and only
//! then under its name. What came stays there, so that a broken attempt goes on.
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::download::{Client, DownloadError, Progress};
use super::{Description, describe};
use crate::embedder::{EmbedError, MANIFEST, Manifest, Model, ModelFile, ModelSource};

const MANIFEST_BYTES: u64 = 1 << 20;
/// Names the place that files in the hidden folder came from.
const ORIGIN: &str = "origin";

/// Where a model's files are to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Folder(PathBuf),
    /// Files lie below it.
    Address(String),
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Bringing {
        file: &'a str,
        bytes: u64,
        total: Option<u64>,
    },
    /// The model is loaded and run.
    Trying,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Added {
    pub(crate) model: Description,
    /// It was there before, and nothing was done.
    pub(crate) was_there: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("`{name}` is none of the models that Cairn knows ({known}), and {place} has no {MANIFEST}")]
    Unknown { name: String, known: String, place: String },
    #[error("the manifest at {place} cannot be used: {reason}")]
    Manifest { place: String, reason: String },
    #[error("{place} has no {file}")]
    Missing { place: String, file: String },
    #[error("what came from {place} is not the model: {reason}")]
    Different { place: String, reason: String },
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The files came whole, and are no model that runs here.
    #[error(transparent)]
    Model(#[from] EmbedError),
}

impl From<&str> for Place {
    fn from(text: &str) -> Self {
        let is_address = text.starts_with("http://") || text.starts_with("https://");
        if is_address { Self::Address(text.trim_end_matches('/').to_owned()) } else { Self::Folder(text.into()) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Address(url) => f.write_str(url),
        }
    }
}

/// Brings the model of that name into `folder`, under its name. One that is there and runs is left as it is.
pub(crate) fn add(name: &str, from: &Place, folder: &Path, watch: &mut dyn FnMut(Step<'_>)) -> Result<Added, AddError> {
    let bringing = Bringing { from, client: Client::new() };
    let json = bringing.manifest(name)?;
    let unusable = |reason| AddError::Manifest { place: from.to_string(), reason };
    let manifest = Manifest::parse(&json).map_err(unusable)?;
    if manifest.name != name {
        return Err(unusable(format!("it is of `{}`", manifest.name)));
    }
    let target = folder.join(name);
    if let Ok(model) = Model::read(ModelSource::Folder(target.clone())) {
        watch(Step::Trying);
        if model.path().is_ok() {
            return Ok(Added { model: describe(&model), was_there: true });
        }
    }
    let part = folder.join(format!(".{name}.part"));
    begin(&part, from)?;
    let mut recorded = vec![];
    for file in &manifest.files {
        let path = part.join(&file.name);
        bringing.file(file, &path, watch)?;
        let (bytes, sha256) = sum(&path).map_err(io_error("read", &path))?;
        if let Err(reason) = file.check(bytes, || sha256.clone()) {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
            return Err(AddError::Different { place: from.to_string(), reason });
        }
        recorded.push((file.name.clone(), bytes, sha256));
    }
    let json = Manifest::recorded(&json, &recorded).map_err(unusable)?;
    write(&part.join(MANIFEST), &json)?;
    watch(Step::Trying);
    let tried = Model::read(ModelSource::Folder(part.clone())).and_then(|model| model.path());
    if let Err(error) = tried {
        // Files that are whole and no model would be found again by the next attempt.
        fs::remove_dir_all(&part).map_err(io_error("remove", &part))?;
        return Err(error.into());
    }
    fs::remove_file(part.join(ORIGIN)).map_err(io_error("remove", &part))?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(io_error("replace", &target))?;
    }
    fs::rename(&part, &target).map_err(io_error("make", &target))?;
    let model = Model::read(ModelSource::Folder(target))?;
    Ok(Added { model: describe(&model), was_there: false })
}

/// Makes the hidden folder, or goes on in it if its files came from the same place.
fn begin(part: &Path, from: &Place) -> Result<(), AddError> {
    let origin = part.join(ORIGIN);
    let from = from.to_string();
    if fs::read_to_string(&origin).is_ok_and(|origin| origin == from) {
        return Ok(());
    }
    if part.exists() {
        fs::remove_dir_all(part).map_err(io_error("remove", part))?;
    }
    fs::create_dir_all(part).map_err(io_error("make", part))?;
    write(&origin, from.as_bytes())
}

struct Bringing<'a> {
    from: &'a Place,
    client: Client,
}

impl Bringing<'_> {
    /// The manifest of a model that Cairn knows is its own.
    fn manifest(&self, name: &str) -> Result<Vec<u8>, AddError> {
        if let Some(json) = Manifest::known(name) {
            return Ok(json.to_vec());
        }
        let unknown = || AddError::Unknown {
            name: name.to_owned(),
            known: Manifest::all_known().join(", "),
            place: self.from.to_string(),
        };
        match self.from {
            Place::Folder(folder) => match fs::read(folder.join(MANIFEST)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown()),
                read => read.map_err(io_error("read", &folder.join(MANIFEST))),
            },
            Place::Address(url) => match self.client.read(&format!("{url}/{MANIFEST}"), MANIFEST_BYTES) {
                Err(error) if error.is_absent() => Err(unknown()),
                read => Ok(read?),
            },
        }
    }

    /// Brings a file to `path`, unless it is there. Until it is whole it has another name.
    fn file(&self, file: &ModelFile, path: &Path, watch: &mut dyn FnMut(Step<'_>)) -> Result<(), AddError> {
        if path.exists() {
            return Ok(());
        }
        let part = path.with_added_extension("part");
        let mut told = |Progress { bytes, total }: Progress| {
            watch(Step::Bringing { file: &file.name, bytes, total: total.or(file.bytes) });
        };
        let mut is_brought = false;
        for name in file.published.iter().chain([&file.name]) {
            is_brought = match self.from {
                Place::Folder(folder) => copy(&folder.join(name), &part, &mut told)?,
                Place::Address(url) => match self.client.bring(&format!("{url}/{name}"), &part, &mut told) {
                    Err(error) if error.is_absent() => false,
                    brought => brought.map(|()| true)?,
                },
            };
            if is_brought {
                break;
            }
        }
        if !is_brought {
            return Err(AddError::Missing { place: self.from.to_string(), file: file.name.clone() });
        }
        fs::rename(&part, path).map_err(io_error("make", path))
    }
}

/// False: there is no such file.
fn copy(from: &Path, to: &Path, watch: &mut dyn FnMut(Progress)) -> Result<bool, AddError> {
    let mut file = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error("read", from)(error)),
    };
    let total = file.metadata().map_err(io_error("read", from))?.len();
    let mut copy = File::create(to).map_err(io_error("write", to))?;
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        watch(Progress { bytes, total: Some(total) });
        let n_read = file.read(&mut buffer).map_err(io_error("read", from))?;
        if n_read == 0 {
            copy.sync_all().map_err(io_error("write", to))?;
            return Ok(true);
        }
        copy.write_all(&buffer[..n_read]).map_err(io_error("write", to))?;
        bytes += n_read as u64;
    }
}

/// Size and checksum.
fn sum(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let bytes = io::copy(&mut file, &mut hasher)?;
    Ok((bytes, format!("{:x}", hasher.finalize())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AddError> {
    let written = File::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(io_error("write", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AddError {
    let path = path.to_owned();
    move |source| AddError::Io { action, path, source }
}
