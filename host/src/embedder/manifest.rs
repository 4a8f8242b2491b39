//! What a model's files do not say of themselves: width, pooling, prefixes, checksums. The manifests of the models that
//! Cairn knows are within the binary, whoever brings their files. Reads no other file.
use std::path::{Component, Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(super) const WEIGHTS: &str = "model.onnx";
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// Weights and tokenizer of these have to be brought, but for the first, which is whole in the binary.
static KNOWN: [&[u8]; 3] = [
    include_bytes!("../../../models/all-MiniLM-L6-v2/manifest.json"),
    include_bytes!("../../../models/bge-small-en-v1.5/manifest.json"),
    include_bytes!("../../../models/multilingual-e5-small/manifest.json"),
];

/// A model's manifest.json: what its files do not say of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub licence: String,
    pub dimensions: u32,
    /// With the marks; a longer text is cut.
    pub max_tokens: u32,
    pub pooling: Pooling,
    #[serde(default)]
    pub prefixes: Prefixes,
    /// BCP 47; empty: not known.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Whether products of bytes may be chosen without being asked for.
    #[serde(default)]
    pub int8: Int8,
    pub files: Vec<ModelFile>,
}

/// What is known of a model's vectors when products are those of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Int8 {
    #[default]
    Unchecked,
    /// They find what those of floats do: see `models/fidelity.py`.
    Checked,
}

/// How the vectors of the tokens become the one of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all tokens.
    Mean,
    /// That of the first.
    Cls,
}

/// The table of words, which not every model has.
pub(crate) const TABLE: &str = "words.table";

/// Larger numbers are a mistake, or meant to make this process allocate.
const DIMENSIONS: u32 = 65_536;
const TOKENS: u32 = 32_768;

/// What the model wants to read before a text, by purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Prefixes {
    #[serde(default)]
    pub document: String,
    #[serde(default)]
    pub query: String,
}

/// A file of a model. Size and checksum are checked where the manifest has them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelFile {
    pub name: String,
    /// Where the publisher has it, below the model's address, if not under its name.
    pub published: Option<String>,
    pub bytes: Option<u64>,
    /// Hexadecimal, lower case.
    pub sha256: Option<String>,
}

impl Manifest {
    /// Reads a manifest.json. The error is the reason alone.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(json).map_err(|cause| cause.to_string())?;
        if manifest.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        let within = |what: &str, number: u32, most: u32| {
            let message = || format!("{number} {what}: 1 to {most} are known to be possible");
            if (1..=most).contains(&number) { Ok(()) } else { Err(message()) }
        };
        within("dimensions", manifest.dimensions, DIMENSIONS)?;
        within("tokens of a text", manifest.max_tokens, TOKENS)?;
        let names = manifest.files.iter().map(|file| &file.name).chain([&manifest.name]);
        if let Some(name) = names.into_iter().find(|name| !is_plain(name)) {
            return Err(format!("{name:?} is no plain name of a file"));
        }
        let mut published = manifest.files.iter().filter_map(|file| file.published.as_ref());
        if let Some(path) = published.find(|path| !path.split('/').all(is_plain)) {
            return Err(format!("{path:?} leads elsewhere"));
        }
        Ok(manifest)
    }

    /// The manifest.json of a model that Cairn knows.
    #[must_use]
    pub(crate) fn known(name: &str) -> Option<&'static [u8]> {
        KNOWN.into_iter().find(|json| Self::parse(json).is_ok_and(|manifest| manifest.name == name))
    }

    /// The names of all models that Cairn knows.
    pub(crate) fn all_known() -> Vec<String> {
        KNOWN.into_iter().filter_map(|json| Self::parse(json).ok()).map(|manifest| manifest.name).collect()
    }

    /// The manifest.json with sizes and checksums of files that it has none of. The error is the reason alone.
    pub(crate) fn recorded(json: &[u8], files: &[(String, u64, String)]) -> Result<Vec<u8>, String> {
        let mut manifest: serde_json::Value = serde_json::from_slice(json).map_err(|cause| cause.to_string())?;
        let listed = manifest.get_mut("files").and_then(serde_json::Value::as_array_mut).ok_or("it lists no files")?;
        for file in listed {
            let found = files.iter().find(|(name, ..)| file.get("name").is_some_and(|listed| listed == name));
            if let (Some((_, bytes, sha256)), Some(file)) = (found, file.as_object_mut()) {
                file.insert("bytes".to_owned(), (*bytes).into());
                file.insert("sha256".to_owned(), sha256.clone().into());
            }
        }
        serde_json::to_vec_pretty(&manifest).map_err(|cause| cause.to_string())
    }

    pub(super) fn file(&self, name: &str) -> Option<&ModelFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The error is the reason alone.
    pub(super) fn check(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        match self.file(name) {
            Some(file) => file.check(bytes.len() as u64, || sha256(bytes)),
            None => Ok(()),
        }
    }
}

impl ModelFile {
    /// Compares size and checksum with what is listed. The error is the reason alone.
    pub(crate) fn check(&self, size: u64, sha256: impl FnOnce() -> String) -> Result<(), String> {
        let (file, name) = (self, &self.name);
        if let Some(expected) = file.bytes.filter(|expected| *expected != size) {
            let cut = if size < expected { "; it may have been cut short" } else { "" };
            return Err(format!("{name} has {size} bytes, not the {expected} of the manifest{cut}"));
        }
        let Some(expected) = &file.sha256 else { return Ok(()) };
        let found = sha256();
        if *expected != found {
            let short = |sum: &str| sum.chars().take(12).collect::<String>();
            return Err(format!(
                "{name} has the checksum {}…, not {}… of the manifest",
                short(&found),
                short(expected)
            ));
        }
        Ok(())
    }
}

/// Of all that makes vectors what they are; the precision of the computation is not part of it.
pub(super) fn fingerprint(manifest: &Manifest, weights: &str, tokenizer: &str) -> String {
    let Manifest { dimensions, max_tokens, pooling, prefixes, .. } = manifest;
    let Prefixes { document, query } = prefixes;
    let parts = format!("{weights}\n{tokenizer}\n{dimensions}\n{max_tokens}\n{pooling:?}\n{document:?}\n{query:?}");
    sha256(parts.as_bytes())[..16].to_owned()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Whether it names a file in a folder, and none elsewhere or hidden.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let is_one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    is_one && !name.starts_with('.') && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_that_cairn_knows() {
        let known: Vec<Manifest> = KNOWN.into_iter().map(|json| Manifest::parse(json).unwrap()).collect();
        let told: Vec<String> = known
            .iter()
            .map(|m| format!("{} {} {} {:?} {:?}", m.name, m.dimensions, m.max_tokens, m.pooling, m.prefixes.query))
            .collect();
        let expected = [
            r#"all-MiniLM-L6-v2 384 256 Mean """#,
            r#"bge-small-en-v1.5 384 512 Cls "Represent this sentence for searching relevant passages: ""#,
            r#"multilingual-e5-small 384 512 Mean "query: ""#,
        ];
        assert_eq!(told, expected);
        assert_eq!(known[2].prefixes.document, "passage: ");
        assert_eq!(Manifest::all_known(), known.iter().map(|manifest| manifest.name.clone()).collect::<Vec<_>>());
        for manifest in &known {
            let names: Vec<&str> = manifest.files.iter().map(|file| &*file.name).collect();
            assert_eq!(names, [WEIGHTS, TOKENIZER], "{}", manifest.name);
            assert!(Manifest::known(&manifest.name).is_some());
        }
        assert_eq!(Manifest::known("none"), None);
    }

    #[test]
    fn checksums_are_recorded_and_the_rest_stays() {
        let json = br#"{"name":"a","source":{"model":"b"},"dimensions":1,"max_tokens":2,"pooling":"cls",
            "files":[{"name":"model.onnx","published":"x/y"},{"name":"tokenizer.json"}]}"#;
        let recorded = Manifest::recorded(json, &[("model.onnx".to_owned(), 7, "ab".to_owned())]).unwrap();
        let text = String::from_utf8(recorded.clone()).unwrap();
        assert!(text.contains(r#""model": "b""#), "{text}");
        let files = Manifest::parse(&recorded).unwrap().files;
        let listed = |name: &str, published: Option<&str>, bytes, sha256: Option<&str>| ModelFile {
            name: name.to_owned(),
            published: published.map(str::to_owned),
            bytes,
            sha256: sha256.map(str::to_owned),
        };
        let expected =
            [listed("model.onnx", Some("x/y"), Some(7), Some("ab")), listed("tokenizer.json", None, None, None)];
        assert_eq!(files, expected);
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["../a", "/a", "a/b", "..", ".a", "", "a\\b"] {
            assert!(!is_plain(name), "{name}");
        }
        assert!(is_plain("model.onnx"));
        let json = br#"{"name":"a","dimensions":1,"max_tokens":2,"pooling":"cls","files":[{"name":"../up"}]}"#;
        assert_eq!(Manifest::parse(json), Err("\"../up\" is no plain name of a file".to_owned()));
        let json = br#"{"name":"a","dimensions":1,"max_tokens":2,"pooling":"cls",
            "files":[{"name":"b","published":"c/../../d"}]}"#;
        assert_eq!(Manifest::parse(json), Err("\"c/../../d\" leads elsewhere".to_owned()));
    }
}
