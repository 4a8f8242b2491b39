//! Which models there are, where their files lie, and how more are brought. The embedder finds and reads them.
mod add;
mod download;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::contract::embedding::ModelInfo;
pub(crate) use crate::embedder::ModelPath;
use crate::embedder::{self, EmbedError, Model, ModelSource, Precision};

pub(crate) use add::{AddError, Place, Step, add};
pub(crate) use download::DownloadError;

/// What is known of a model before its weights are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) info: ModelInfo,
    pub(crate) about: String,
    pub(crate) licence: String,
    /// A folder, or `built in`.
    pub(crate) place: String,
}

/// Where models are looked for by name, best first: `variable`, which is the value of `CAIRN_MODELS`, and `models/` of
/// the data directory.
pub(crate) fn folders(variable: Option<OsString>, data: &Path) -> Vec<PathBuf> {
    let named = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
    named.into_iter().chain([data.join("models")]).collect()
}

/// Every model that a name can mean. Damaged ones are errors in their place.
pub(crate) fn list(folders: &[PathBuf]) -> Vec<Result<Description, EmbedError>> {
    embedder::list(folders).into_iter().map(|model| model.map(|model| describe(&model))).collect()
}

/// The model of that name or in that folder; without a name the default one.
///
/// # Errors
/// If there is none, or its manifest cannot be read.
pub(crate) fn find(name_or_folder: Option<&str>, folders: &[PathBuf]) -> Result<Description, EmbedError> {
    embedder::resolve(name_or_folder, folders).map(|model| describe(&model))
}

/// How the model of that name or in that folder is computed, in a precision if one is asked for. Loads it.
///
/// # Errors
/// If there is none, or it does not run.
pub(crate) fn path(
    name_or_folder: Option<&str>,
    folders: &[PathBuf],
    precision: Option<Precision>,
) -> Result<ModelPath, EmbedError> {
    Model { precision, ..embedder::resolve(name_or_folder, folders)? }.path()
}

fn describe(model: &Model) -> Description {
    Description {
        info: model.info(),
        about: model.manifest.description.clone(),
        licence: model.manifest.licence.clone(),
        place: match &model.source {
            ModelSource::Embedded => "built in".to_owned(),
            ModelSource::Folder(folder) => folder.display().to_string(),
        },
    }
}
