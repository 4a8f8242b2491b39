//! The command line as scripts see it: exit codes, messages, documents, and bytes that come back as they went in.
mod bad_input;
mod documents;
mod round_trip;
mod verbs;

use std::fs;
use std::path::{Path, PathBuf};

/// A folder with the default model, whose weights are cut short; as an argument for `--model`.
pub(crate) fn cut_model(directory: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/all-MiniLM-L6-v2");
    let folder: PathBuf = directory.join("cut-model");
    fs::create_dir(&folder).unwrap();
    for name in ["manifest.json", "tokenizer.json"] {
        fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    let weights = fs::read(source.join("model.onnx")).unwrap();
    fs::write(folder.join("model.onnx"), &weights[..1000]).unwrap();
    folder.to_str().expect("the directory of a test has a plain name").to_owned()
}
