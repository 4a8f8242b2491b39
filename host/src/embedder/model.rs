//! The models there are: one within the binary, others in folders. Finds, describes and checks their files; reads the
//! weights only when a vector is asked for.
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::batch::guarded;
use super::compute::Computation;
use super::manifest::{Int8, MANIFEST, Manifest, TABLE, TOKENIZER, WEIGHTS, fingerprint, sha256};
use super::packed::{Form, Place};
use super::table::WordTable;
use super::tokens::TextSplitter;
use super::{Cpu, EmbedError, Encoder, ModelInfo, Precision, Purpose, Tokens, WithTokens};

/// The model of the binary.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

static EMBEDDED_MANIFEST: &[u8] = include_bytes!("../../../models/all-MiniLM-L6-v2/manifest.json");
static EMBEDDED_WEIGHTS: &[u8] = include_bytes!("../../../models/all-MiniLM-L6-v2/model.onnx");
static EMBEDDED_TABLE: &[u8] = include_bytes!("../../../models/all-MiniLM-L6-v2/words.table");
static EMBEDDED_TOKENIZER: &[u8] = include_bytes!("../../../models/all-MiniLM-L6-v2/tokenizer.json");

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// Within the binary.
    Embedded,
    Folder(PathBuf),
}

/// A model that was found; its weights and its tokenizer are not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub manifest: Manifest,
    pub source: ModelSource,
    /// 16 hexadecimal digits; differs whenever vectors are not comparable.
    pub fingerprint: String,
    /// Asked for; `None`: the fastest that finds the same.
    pub precision: Option<Precision>,
    /// Where packed weights are kept, a folder of this user alone; `None`: nowhere.
    pub packed: Option<PathBuf>,
}

/// How a model's vectors are computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPath {
    /// Whether its file is recognised; else it runs as it is, slower.
    pub is_packed: bool,
    pub precision: Precision,
    /// All of it in words, with the reason where the file is not recognised.
    pub words: String,
}

/// The model of that name, or in that folder; [`DEFAULT_MODEL`] without a name.
///
/// A name is looked for in each folder of `search`, then within the binary. Anything with a path separator is a folder.
pub fn resolve(name_or_dir: Option<&str>, search: &[PathBuf]) -> Result<Model, EmbedError> {
    let name = name_or_dir.unwrap_or(DEFAULT_MODEL);
    if name.contains(std::path::is_separator) || matches!(name, "." | "..") {
        return Model::read(ModelSource::Folder(name.into()));
    }
    let folders = search.iter().map(|folder| folder.join(name));
    if let Some(folder) = folders.into_iter().find(|folder| folder.join(MANIFEST).exists()) {
        return Model::read(ModelSource::Folder(folder));
    }
    if name == DEFAULT_MODEL {
        return Model::read(ModelSource::Embedded);
    }
    let mut known: Vec<String> = list(search).into_iter().flatten().map(|model| model.manifest.name).collect();
    known.sort();
    known.dedup();
    Err(EmbedError::Unknown { name: name.to_owned(), known: known.join(", ") })
}

/// Every model that a name can mean: those of the folders in `search`, then the one of the binary. Damaged ones are
/// errors in their place.
#[must_use]
pub fn list(search: &[PathBuf]) -> Vec<Result<Model, EmbedError>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in search {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        // A hidden one is being brought.
        let is_hidden =
            |folder: &Path| folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        found.retain(|folder| folder.join(MANIFEST).exists() && !is_hidden(folder));
        found.sort();
        folders.extend(found);
    }
    let sources = folders.into_iter().map(ModelSource::Folder).chain([ModelSource::Embedded]);
    sources.map(Model::read).collect()
}

impl Model {
    pub(crate) fn read(source: ModelSource) -> Result<Self, EmbedError> {
        let refused = |reason: String| source.refused("manifest", reason);
        let bytes = source.bytes(MANIFEST).map_err(refused)?;
        let manifest = Manifest::parse(&bytes).map_err(refused)?;
        let checksum = |what, file| {
            let listed = manifest.file(file).and_then(|file| file.sha256.clone());
            match listed {
                Some(sha256) => Ok(sha256),
                None => source.bytes(file).map(|bytes| sha256(&bytes)).map_err(|reason| source.refused(what, reason)),
            }
        };
        let weights = checksum("weights", WEIGHTS)?;
        let tokenizer = checksum("tokenizer", TOKENIZER)?;
        let fingerprint = fingerprint(&manifest, &weights, &tokenizer);
        Ok(Self { manifest, source, fingerprint, precision: None, packed: None })
    }

    #[must_use]
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            name: self.manifest.name.clone(),
            fingerprint: self.fingerprint.clone(),
            dimensions: self.manifest.dimensions,
            max_tokens: self.manifest.max_tokens,
            languages: self.manifest.languages.clone(),
            token_vectors: false,
        }
    }

    /// What computes its vectors, with nothing loaded yet.
    #[must_use]
    pub fn encoder(self) -> Arc<dyn Encoder> {
        Arc::new(ModelEncoder::new(self))
    }

    /// How its vectors are computed on this machine. Reads tokenizer and weights, and runs the model on a short text and on
    /// one of the greatest length: what is wrong with the files shows here.
    pub fn path(&self) -> Result<ModelPath, EmbedError> {
        let encoder = ModelEncoder::new(self.clone());
        let computation = guarded(|| encoder.graph())?;
        let longest = "a ".repeat(self.manifest.max_tokens as usize);
        for text in ["a text", &longest] {
            let tokens = guarded(|| encoder.tokens(text, Purpose::Document))?;
            guarded(|| encoder.encode(&[&tokens.ids]))?;
        }
        let is_packed = matches!(computation, Computation::Packed(_));
        let precision = if is_packed { self.computes_in() } else { Precision::F32 };
        Ok(ModelPath { is_packed, precision, words: computation.path() })
    }

    /// What it computes in on this machine.
    #[must_use]
    pub fn computes_in(&self) -> Precision {
        let is_checked = self.manifest.int8 == Int8::Checked;
        self.precision.unwrap_or_else(|| Precision::fastest(Cpu::detect(), is_checked))
    }

    /// What makes its vectors what they are, to the last bit, beside the text.
    #[must_use]
    pub fn origin(&self) -> String {
        // The version: another one may compute in another order, or pack with other factors.
        let version = env!("CARGO_PKG_VERSION");
        format!("{} {} {} {version}", self.fingerprint, self.computes_in(), Cpu::detect().name())
    }

    /// Whether the weights have the size that the manifest tells. Looks at no byte of them.
    fn has_whole_weights(&self) -> bool {
        let ModelSource::Folder(folder) = &self.source else { return true };
        let expected = self.manifest.file(WEIGHTS).and_then(|file| file.bytes);
        std::fs::metadata(folder.join(WEIGHTS)).is_ok_and(|found| expected.is_none_or(|bytes| bytes == found.len()))
    }

    fn computation(&self) -> Result<Computation, EmbedError> {
        let form = Form {
            pooling: self.manifest.pooling,
            dimensions: self.manifest.dimensions as usize,
            max_tokens: self.manifest.max_tokens as usize,
            precision: self.computes_in(),
            cpu: Cpu::detect(),
        };
        let place =
            self.packed.as_ref().map(|folder| Place { folder: folder.clone(), fingerprint: self.fingerprint.clone() });
        let kept = place.as_ref().filter(|_| self.has_whole_weights());
        if let Some(computation) = kept.and_then(|place| Computation::kept(&form, place)) {
            return Ok(computation);
        }
        let onnx = self.file("weights", WEIGHTS)?;
        let computation = Computation::new(&onnx, &form, place.as_ref());
        computation.map_err(|reason| self.source.refused("weights", reason))
    }

    /// A file, checked against the manifest. The binary's own are checked by a test.
    fn file(&self, what: &'static str, name: &str) -> Result<Cow<'static, [u8]>, EmbedError> {
        let refused = |reason| self.source.refused(what, reason);
        let bytes = self.source.bytes(name).map_err(refused)?;
        if self.source != ModelSource::Embedded {
            self.manifest.check(name, &bytes).map_err(refused)?;
        }
        Ok(bytes)
    }
}

impl ModelSource {
    /// The error is the reason alone.
    fn bytes(&self, name: &str) -> Result<Cow<'static, [u8]>, String> {
        let embedded = match (self, name) {
            (Self::Folder(folder), _) => {
                let bytes = std::fs::read(folder.join(name)).map_err(|cause| format!("{name}: {cause}"));
                return bytes.map(Cow::Owned);
            }
            (Self::Embedded, MANIFEST) => EMBEDDED_MANIFEST,
            (Self::Embedded, WEIGHTS) => EMBEDDED_WEIGHTS,
            (Self::Embedded, TABLE) => EMBEDDED_TABLE,
            (Self::Embedded, _) => EMBEDDED_TOKENIZER,
        };
        Ok(Cow::Borrowed(embedded))
    }

    fn place(&self) -> String {
        match self {
            Self::Embedded => format!("{DEFAULT_MODEL} (built in)"),
            Self::Folder(folder) => Path::display(folder).to_string(),
        }
    }

    fn refused(&self, what: &'static str, reason: String) -> EmbedError {
        EmbedError::Load { what, place: self.place(), reason }
    }
}

/// A model whose tokenizer and graph are read when first used.
struct ModelEncoder {
    model: Model,
    splitter: Once<TextSplitter>,
    graph: Once<Computation>,
    /// None where the model has none, or one that cannot be read.
    table: OnceLock<Option<WordTable>>,
    /// Pieces of words that were asked for.
    pieces: RwLock<HashMap<String, Box<[u32]>>>,
}

/// What is made once, when it is first needed. A failure is the answer for a second: what keeps files from being read may
/// pass.
struct Once<T> {
    made: OnceLock<T>,
    failed: Mutex<Option<(Instant, EmbedError)>>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { made: OnceLock::new(), failed: Mutex::default() }
    }
}

impl<T> Once<T> {
    fn get(&self, make: impl FnOnce() -> Result<T, EmbedError>) -> Result<&T, EmbedError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        // Held while it is made: others wait for that.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        if let Some((_, error)) = failed.as_ref().filter(|(since, _)| since.elapsed() < AGAIN) {
            return Err(error.clone());
        }
        match make() {
            Ok(made) => Ok(self.made.get_or_init(|| made)),
            Err(error) => Err(failed.insert((Instant::now(), error)).1.clone()),
        }
    }
}

/// How long a failure is believed.
const AGAIN: Duration = Duration::from_secs(1);

/// Words whose pieces are remembered.
const WORDS: usize = 65_536;

impl ModelEncoder {
    fn new(model: Model) -> Self {
        let (splitter, graph) = (Once::default(), Once::default());
        Self { model, splitter, graph, table: OnceLock::new(), pieces: RwLock::default() }
    }

    fn splitter(&self) -> Result<&TextSplitter, EmbedError> {
        self.splitter.get(|| {
            let begun = Instant::now();
            let json = self.model.file("tokenizer", TOKENIZER)?;
            let splitter = TextSplitter::new(&json, self.model.manifest.max_tokens);
            tracing::debug!(ms = begun.elapsed().as_secs_f64() * 1e3, "tokenizer ready");
            splitter.map_err(|reason| self.model.source.refused("tokenizer", reason))
        })
    }

    fn table(&self) -> Option<&WordTable> {
        let table = self.table.get_or_init(|| {
            if let ModelSource::Folder(folder) = &self.model.source
                && !folder.join(TABLE).exists()
            {
                return None;
            }
            let table = self.model.source.bytes(TABLE).and_then(WordTable::new);
            table.inspect_err(|reason| tracing::warn!(%reason, file = TABLE, "words mean nothing by themselves")).ok()
        });
        table.as_ref()
    }

    fn graph(&self) -> Result<&Computation, EmbedError> {
        self.graph.get(|| {
            let begun = Instant::now();
            let computation = self.model.computation()?;
            let highest = self.splitter()?.highest_id();
            let fits = computation.reads(highest);
            tracing::debug!(ms = begun.elapsed().as_secs_f64() * 1e3, "model ready");
            fits.map(|()| computation).map_err(|reason| {
                let reason = format!("its tokens go up to {highest}, {reason}");
                self.model.source.refused("tokenizer", reason)
            })
        })
    }
}

impl Encoder for ModelEncoder {
    fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError> {
        let prefixes = &self.model.manifest.prefixes;
        let prefix = match purpose {
            Purpose::Document => &prefixes.document,
            Purpose::Query => &prefixes.query,
        };
        if prefix.is_empty() {
            return self.splitter()?.split(text);
        }
        self.splitter()?.split(&format!("{prefix}{text}"))
    }

    fn prepare(&self) -> Result<(), EmbedError> {
        self.graph().map(|_| ())
    }

    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.graph()?.run(sequences)
    }

    fn sketch(&self, words: &[(&str, f32)]) -> Option<Vec<f32>> {
        let table = self.table()?;
        let splitter = self.splitter().ok()?;
        let known = self.pieces.read().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<(&str, Box<[u32]>)> = vec![];
        let mut weighed: Vec<(u32, f32)> = Vec::with_capacity(2 * words.len());
        for (word, weight) in words {
            let mut add = |pieces: &[u32]| weighed.extend(pieces.iter().map(|piece| (*piece, *weight)));
            if let Some(pieces) = known.get(*word) {
                add(pieces);
            } else {
                let pieces = splitter.pieces(word).into_boxed_slice();
                add(&pieces);
                new.push((word, pieces));
            }
        }
        drop(known);
        if !new.is_empty() {
            let mut known = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() + new.len() > WORDS {
                known.clear();
            }
            known.extend(new.into_iter().map(|(word, pieces)| (word.to_owned(), pieces)));
        }
        table.sum(weighed.into_iter())
    }

    fn encode_tokens(&self, sequences: &[&[u32]]) -> Result<Vec<WithTokens>, EmbedError> {
        self.graph()?.run_tokens(sequences)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;
    use crate::embedder::manifest::{Pooling, Prefixes};
    use crate::embedder::tiny::{self, Kind};

    #[derive(Deserialize)]
    struct Reference {
        texts: Vec<ReferenceText>,
    }

    #[derive(Deserialize)]
    struct ReferenceText {
        text: String,
        ids: Vec<u32>,
        vector: Vec<f32>,
    }

    fn reference() -> Reference {
        serde_json::from_slice(include_bytes!("../../../models/all-MiniLM-L6-v2/reference.json")).unwrap()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn the_embedded_files_are_those_of_the_manifest() {
        let model = resolve(None, &[]).unwrap();
        assert_eq!((model.manifest.name.as_str(), &model.source), (DEFAULT_MODEL, &ModelSource::Embedded));
        assert_eq!(model.manifest.check(WEIGHTS, EMBEDDED_WEIGHTS), Ok(()));
        assert_eq!(model.manifest.check(TOKENIZER, EMBEDDED_TOKENIZER), Ok(()));
        assert_eq!(model.manifest.files.len(), 2);
    }

    #[test]
    fn words_mean_something_by_themselves() {
        let encoder = resolve(None, &[]).unwrap().encoder();
        let sketch = |words: &[&str]| encoder.sketch(&words.iter().map(|word| (*word, 1.0)).collect::<Vec<_>>());
        let near = |left: &[&str], right: &[&str]| cosine(&sketch(left).unwrap(), &sketch(right).unwrap());
        assert!(near(&["dog"], &["puppy"]) > near(&["dog"], &["invoice"]) + 0.2);
        assert!(
            near(&["bought", "car"], &["purchased", "vehicle"]) > near(&["bought", "car"], &["rainy", "day"]) + 0.2
        );
        // The second time the pieces are known.
        assert_eq!(sketch(&["puppy"]), sketch(&["puppy"]));
        assert_eq!((sketch(&[]), sketch(&["[CLS]"]).is_some()), (None, false));
        // A model without a table has no sketches.
        let folder = tempfile::tempdir().unwrap();
        tiny::write(folder.path(), "tiny", Kind::Mean);
        let tiny = Model::read(ModelSource::Folder(folder.path().to_owned())).unwrap();
        assert_eq!(tiny.encoder().sketch(&[("dog", 1.0)]), None);
    }

    #[test]
    fn vectors_are_those_of_the_reference() {
        let mut model = resolve(None, &[]).unwrap();
        model.precision = Some(Precision::F32);
        let encoder = model.encoder();
        for expected in reference().texts {
            let ids = encoder.tokens(&expected.text, Purpose::Document).unwrap().ids;
            assert_eq!(ids, expected.ids, "{}", expected.text);
            let vector = encoder.encode(&[&ids]).unwrap().remove(0);
            let cosine = cosine(&vector, &expected.vector);
            assert!(cosine > 0.9999, "{cosine} for {}", expected.text);
            // Whatever stands beside it in a run, and wherever.
            let mut other = ids.clone();
            other.reverse();
            let beside = encoder.encode(&[&other, &ids, &other, &other, &ids]).unwrap();
            assert_eq!([&beside[1], &beside[4]], [&vector, &vector], "{}", expected.text);
        }
    }

    /// A folder with a small tokenizer, weights that are none, and this manifest.
    fn folder(files: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!(
            r#"{{"name":"tiny","dimensions":4,"max_tokens":8,"pooling":"cls","prefixes":{{"query":"q: "}},"files":[{files}]}}"#
        );
        fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        fs::write(folder.path().join(WEIGHTS), b"weights").unwrap();
        fs::write(folder.path().join(TOKENIZER), b"{}").unwrap();
        folder
    }

    /// The error of reading, or else of loading, without the folder's name.
    #[track_caller]
    fn check(folder: &tempfile::TempDir, expected: &str) {
        let path = folder.path().to_str().unwrap();
        let prepared = resolve(Some(path), &[]).and_then(|model| {
            let encoder = model.encoder();
            encoder.prepare()?;
            encoder.tokens("tea", Purpose::Query).map(|_| ())
        });
        assert_eq!(prepared.unwrap_err().to_string().replace(path, "DIR"), expected);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = folder("");
        fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
        let missing = std::io::Error::from_raw_os_error(2);
        check(&folder, &format!("cannot load the weights of the model at DIR: model.onnx: {missing}"));
        fs::remove_file(folder.path().join(MANIFEST)).unwrap();
        check(&folder, &format!("cannot load the manifest of the model at DIR: manifest.json: {missing}"));
    }

    #[test]
    fn a_broken_manifest_is_refused() {
        let folder = folder("");
        fs::write(folder.path().join(MANIFEST), r#"{"name":"tiny"}"#).unwrap();
        let reason = "missing field `dimensions` at line 1 column 15";
        check(&folder, &format!("cannot load the manifest of the model at DIR: {reason}"));
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        check(
            &folder(r#"{"name":"model.onnx","bytes":9,"sha256":"00"}"#),
            "cannot load the weights of the model at DIR: model.onnx has 7 bytes, not the 9 of the manifest; \
             it may have been cut short",
        );
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        check(
            &folder(r#"{"name":"model.onnx","bytes":7,"sha256":"00"}"#),
            "cannot load the weights of the model at DIR: model.onnx has the checksum 9a129038d9a0…, \
             not 00… of the manifest",
        );
    }

    #[test]
    fn weights_cut_short_are_refused_without_a_checksum_too() {
        let folder = folder("");
        for length in [EMBEDDED_WEIGHTS.len() / 2, 0] {
            fs::write(folder.path().join(WEIGHTS), &EMBEDDED_WEIGHTS[..length]).unwrap();
            let encoder = resolve(folder.path().to_str(), &[]).unwrap().encoder();
            let error = encoder.prepare().unwrap_err().to_string();
            assert!(error.starts_with("cannot load the weights of the model at "), "{error}");
        }
    }

    #[test]
    fn weights_of_another_width_are_refused() {
        let folder = folder("");
        fs::write(folder.path().join(WEIGHTS), EMBEDDED_WEIGHTS).unwrap();
        let error = resolve(folder.path().to_str(), &[]).unwrap().encoder().prepare().unwrap_err().to_string();
        assert!(error.ends_with("has not 4 numbers a token"), "{error}");
    }

    #[test]
    fn a_tokenizer_that_is_none_is_refused() {
        let folder = folder("");
        let encoder = resolve(folder.path().to_str(), &[]).unwrap().encoder();
        let error = encoder.tokens("tea", Purpose::Document).unwrap_err().to_string();
        assert!(error.starts_with("cannot load the tokenizer of the model at "), "{error}");
    }

    #[test]
    fn each_architecture_is_recognised_and_reads_as_it_should() {
        let root = tempfile::tempdir().unwrap();
        let cases = [
            (Kind::Mean, Purpose::Query, vec![2, 42, 13, 5, 1, 3]),
            (Kind::Cls, Purpose::Query, vec![2, 14, 21, 31, 11, 1, 42, 13, 5, 1, 3]),
            (Kind::Multilingual, Purpose::Document, vec![0, 36, 5, 41, 41, 5, 17, 13, 3, 44, 13, 5, 4, 3, 2]),
        ];
        for (kind, purpose, expected) in cases {
            let folder = root.path().join(format!("{kind:?}"));
            tiny::write(&folder, "tiny", kind);
            let model = resolve(folder.to_str(), &[]).unwrap();
            let path = model.path().unwrap();
            assert!(path.is_packed, "{kind:?}: {}", path.words);
            let read = model.encoder().tokens("tea ✨", purpose).unwrap();
            assert_eq!((read.ids, read.count.unknown > 0), (expected, true), "{kind:?}");
        }
    }

    #[test]
    fn folders_come_before_the_binary() {
        let root = tempfile::tempdir().unwrap();
        let tiny = folder("");
        let target = root.path().join(DEFAULT_MODEL);
        fs::create_dir(&target).unwrap();
        for file in [MANIFEST, WEIGHTS, TOKENIZER] {
            fs::copy(tiny.path().join(file), target.join(file)).unwrap();
        }
        let search = [root.path().to_owned()];
        assert_eq!(resolve(None, &search).unwrap().source, ModelSource::Folder(target));
        let names: Vec<_> = list(&search).into_iter().map(|model| model.unwrap().manifest.name).collect();
        assert_eq!(names, ["tiny", DEFAULT_MODEL]);
        let error = resolve(Some("none"), &search).unwrap_err().to_string();
        assert_eq!(error, "no model `none`: known are all-MiniLM-L6-v2, tiny");
    }

    #[test]
    fn the_fingerprint_covers_what_vectors_depend_on() {
        let model = resolve(None, &[]).unwrap();
        let print = |manifest: &Manifest| fingerprint(manifest, "weights", "tokenizer");
        let plain = print(&model.manifest);
        assert_eq!(plain.len(), 16);
        let described = Manifest { name: "other".to_owned(), ..model.manifest.clone() };
        assert_eq!(print(&described), plain);
        let cut = Manifest { max_tokens: 128, ..model.manifest.clone() };
        let first = Manifest { pooling: Pooling::Cls, ..model.manifest.clone() };
        let asked = Prefixes { query: "q".to_owned(), ..Prefixes::default() };
        let prefixed = Manifest { prefixes: asked, ..model.manifest.clone() };
        let prints = [print(&cut), print(&first), print(&prefixed), fingerprint(&model.manifest, "x", "tokenizer")];
        assert!(prints.iter().all(|print| *print != plain), "{prints:?}");
    }
}
