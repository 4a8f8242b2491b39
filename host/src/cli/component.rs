//! `cairn component` and `cairn version`: what is inside this binary. Opens no store.
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::failure::{Exit, Failure};
use super::model;
use super::output::{Form, Output};
use super::session::Session;
use crate::component::{WASM, WIT};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn component                                        size and checksum
  cairn component --out cairn.wasm                       the component, for a host of your own
  cairn component --wit > memory.wit                     the contract, with documentation and limits";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Write the component there; `-` for stdout
    #[arg(long, value_name = "FILE", conflicts_with = "wit")]
    out: Option<PathBuf>,
    /// Print the contract, which a component does not carry itself
    #[arg(long)]
    wit: bool,
}

pub(crate) fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    if arguments.wit {
        return wit(session);
    }
    match &arguments.out {
        None => describe(session)?,
        Some(path) if path.as_os_str() == "-" => {
            if io::stdout().is_terminal() {
                return Err(Failure::usage("a component is not for a terminal", "name a file: --out cairn.wasm"));
            }
            io::stdout().write_all(WASM)?;
        }
        Some(path) => {
            fs::write(path, WASM).map_err(|error| Failure::file("write", path, &error))?;
            describe(session)?;
        }
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Component {
    sha256: String,
    bytes: usize,
}

fn component() -> Component {
    let mut sha256 = String::new();
    for byte in Sha256::digest(WASM) {
        // Writing to a string does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Component { sha256, bytes: WASM.len() }
}

fn describe(session: &Session) -> Result<(), Failure> {
    let component = component();
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&component),
        Form::People => session.output.say(&format!("{} bytes, sha256 {}", component.bytes, component.sha256)),
    }
}

fn wit(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct File<'a> {
        name: &'a str,
        text: &'a str,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        files: Vec<File<'a>>,
    }
    let files = WIT.iter().map(|(name, text)| File { name, text });
    match session.output.form {
        Form::Json => Output::object(&Document { files: files.collect() })?,
        Form::Lines => Output::objects(files)?,
        Form::People => session.output.say(&joined(WIT))?,
    }
    Ok(Exit::Done)
}

/// All files as one that a WIT parser takes: the package is named once, where it is documented.
fn joined(files: &[(&str, &str)]) -> String {
    let documented = |text: &str| text.trim_start().starts_with("///");
    let head = files.iter().filter(|(_, text)| documented(text));
    let rest = files.iter().filter(|(_, text)| !documented(text));
    let mut whole = String::new();
    for (_, text) in head.chain(rest) {
        let named = whole.lines().any(|line| line.starts_with("package "));
        let lines = text.trim_end().lines().filter(|line| !(named && line.starts_with("package ")));
        whole.push_str(&lines.collect::<Vec<_>>().join("\n"));
        whole.push('\n');
    }
    whole.truncate(whole.trim_end().len());
    whole
}

/// `cairn version`.
pub(crate) fn version(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Model {
        name: String,
        fingerprint: String,
    }
    #[derive(Serialize)]
    struct Document {
        version: &'static str,
        component: Component,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<Model>,
        features: Vec<&'static str>,
    }
    // A version must always be told, so that a bug about a missing model can be reported.
    let model = model::find(None, session).ok();
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        component: component(),
        model: model.map(|model| Model { name: model.info.name, fingerprint: model.info.fingerprint }),
        features: features(),
    };
    if session.output.form == Form::People {
        let model = document.model.as_ref().map_or("none", |model| &model.name);
        session.output.say(&format!("cairn {}", document.version))?;
        session.output.say(&format!("component {}", document.component.sha256))?;
        session.output.say(&format!("model {model}"))?;
        session.output.say(&format!("features {}", document.features.join(" ")))?;
    } else {
        Output::object(&document)?;
    }
    Ok(Exit::Done)
}

/// What this processor can do that makes the model faster.
fn features() -> Vec<&'static str> {
    let mut features = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ];
        features.extend(known.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    }
    #[cfg(target_arch = "aarch64")]
    {
        let known = [
            ("neon", std::arch::is_aarch64_feature_detected!("neon")),
            ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ];
        features.extend(known.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_names_its_package_once() {
        let files = [
            ("b.wit", "package a:b@0.1.0;\n\ninterface b {}\n"),
            ("types.wit", "/// All about it.\npackage a:b@0.1.0;\n\ninterface types {}\n"),
        ];
        assert_eq!(joined(&files), "/// All about it.\npackage a:b@0.1.0;\n\ninterface types {}\n\ninterface b {}");
    }
}
