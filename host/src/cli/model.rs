//! `cairn model` and `cairn embed`: which models there are, how more come, and what one makes of a text.
use std::io::IsTerminal;
use std::path::Path;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::{Exit, Failure, chain};
use super::lines::Lines;
use super::output::{Form, Output, clean, complain, cut, note};
use super::session::{Access, Session};
use crate::contract::embedding::Purpose;
use crate::models::{self, AddError, Description, DownloadError, ModelPath, Place, Step};
use crate::wire::ErrorObject;

pub(crate) const MODEL_EXAMPLES: &str = "\
Examples:
  cairn model list                                       built in, and those in folders
  cairn model info                                       the one that is used, and how it runs here
  cairn model info ./my-model --json
  cairn model add multilingual-e5-small --from https://HUB/intfloat/multilingual-e5-small/resolve/main
  cairn model add my-model --from ./my-model             with a manifest.json

Folders are looked for in CAIRN_MODELS, then in models/ of the data directory; `add` puts into the first of them.
`add` knows all-MiniLM-L6-v2, bge-small-en-v1.5 and multilingual-e5-small; others bring their manifest.json. A broken
download goes on with the same command. `cairn reembed` then moves a store to the model.";

const BAR: &str = "{bar:30} {bytes} of {total_bytes}  {msg}, {eta} left";
const SPINNER: &str = "{spinner} {bytes}  {msg}";

pub(crate) const EMBED_EXAMPLES: &str = "\
Examples:
  echo \"what does Ana eat\" | cairn embed --jsonl --purpose query
  cairn embed < texts.txt > vectors.jsonl                one text a line, one object a line";

/// Texts of one call.
const BATCH: usize = 256;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum ModelVerb {
    /// Lists the models there are
    List,
    /// Describes one model, the chosen one if none is named, and says how it runs here
    Info {
        /// Name or folder
        #[arg(value_name = "NAME|DIR")]
        name: Option<String>,
    },
    /// Brings a model from a folder or an address, checks it and runs it once
    Add {
        name: String,
        /// A folder, or the address that model.onnx and tokenizer.json lie below
        #[arg(long, value_name = "DIR|URL")]
        from: String,
    },
}

#[derive(Serialize)]
struct ModelObject<'a> {
    name: &'a str,
    fingerprint: &'a str,
    dimensions: u32,
    max_tokens: u32,
    languages: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    licence: &'a str,
    place: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathObject<'a>>,
}

/// How a model runs here.
#[derive(Serialize)]
struct PathObject<'a> {
    /// `packed`, or `stock`: the file's own graph.
    graph: &'static str,
    precision: String,
    /// In words, with the reason for `stock`.
    because: &'a str,
}

impl<'a> From<&'a ModelPath> for PathObject<'a> {
    fn from(path: &'a ModelPath) -> Self {
        let graph = if path.is_packed { "packed" } else { "stock" };
        Self { graph, precision: path.precision.to_string(), because: &path.words }
    }
}

impl<'a> From<&'a Description> for ModelObject<'a> {
    fn from(model: &'a Description) -> Self {
        Self {
            name: &model.info.name,
            fingerprint: &model.info.fingerprint,
            dimensions: model.info.dimensions,
            max_tokens: model.info.max_tokens,
            languages: &model.info.languages,
            description: &model.about,
            licence: &model.licence,
            place: &model.place,
            path: None,
        }
    }
}

pub(crate) fn run(verb: &ModelVerb, session: &Session) -> Result<Exit, Failure> {
    match verb {
        ModelVerb::List => list(session),
        ModelVerb::Info { name } => {
            let model = find(name.as_deref(), session)?;
            let name = name.as_deref().or(session.config.model.value.as_deref());
            match models::path(name, &session.model_folders(), session.config.precision.value) {
                Ok(path) => info(&model, Some(&path), session),
                Err(error) => {
                    info(&model, None, session)?;
                    complain(&ErrorObject::new("unavailable", error.to_string()));
                    Ok(Exit::Failed)
                }
            }
        }
        ModelVerb::Add { name, from } => add(name, &Place::from(from.as_str()), session),
    }
}

fn add(name: &str, from: &Place, session: &Session) -> Result<Exit, Failure> {
    let folders = session.model_folders();
    let folder = folders.first().ok_or_else(|| Failure::usage("there is no folder for models", "set CAIRN_MODELS"))?;
    let visible = session.output.form == Form::People && std::io::stderr().is_terminal();
    let bar = if visible { ProgressBar::no_length() } else { ProgressBar::hidden() };
    let added = models::add(name, from, folder, &mut |step| match step {
        Step::Bringing { file, bytes, total } => {
            if total != bar.length() {
                bar.set_style(style(if total.is_some() { BAR } else { SPINNER }));
                bar.set_length(total.unwrap_or_default());
            }
            bar.set_position(bytes);
            bar.set_message(file.to_owned());
        }
        Step::Trying => bar.set_message("trying the model"),
    });
    bar.finish_and_clear();
    let added = added?;
    if session.output.form != Form::People {
        Output::object(&ModelObject::from(&added.model))?;
        return Ok(Exit::Done);
    }
    let how = if added.was_there { "is there already" } else { "is there" };
    session.output.say(&format!("{name} {how}: {}", added.model.place))?;
    session.output.say(&session.output.dim(&format!("--model {name} uses it, `cairn reembed` moves a store to it")))?;
    Ok(Exit::Done)
}

/// A template of this file; they are checked by a test.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        let kind = match &error {
            AddError::Unknown { .. } | AddError::Missing { .. } => "not-found",
            AddError::Manifest { .. } | AddError::Different { .. } => "corrupt",
            AddError::Download(_) | AddError::Io { .. } | AddError::Model(_) => "unavailable",
        };
        let hint = match &error {
            AddError::Unknown { .. } => Some("`cairn model --help` shows what is needed"),
            AddError::Missing { .. } => Some("--from names the folder or address that the files lie below"),
            AddError::Different { .. } => Some("what was wrong is removed; another source may have the right files"),
            AddError::Download(DownloadError::Unreachable { .. } | DownloadError::Broken { .. }) => Some(
                "the same command goes on where it was; without a network, copy the files to a folder and use --from DIR",
            ),
            _ => None,
        };
        let object = ErrorObject::new(kind, chain(&error));
        Self::Failed(match hint {
            Some(hint) => object.hint(hint),
            None => object,
        })
    }
}

/// The model of that name, else the one that the settings choose. Loads nothing.
pub(crate) fn find(name: Option<&str>, session: &Session) -> Result<Description, Failure> {
    let name = name.or(session.config.model.value.as_deref());
    models::find(name, &session.model_folders()).map_err(|error| {
        Failure::Nothing(
            ErrorObject::new("not-found", error.to_string()).hint("`cairn model list` shows what is there"),
        )
    })
}

fn list(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        models: Vec<ModelObject<'a>>,
    }
    let mut found = Vec::new();
    let mut exit = Exit::Done;
    for model in models::list(&session.model_folders()) {
        match model {
            Ok(model) => found.push(model),
            Err(error) => {
                exit = Exit::Failed;
                complain(&ErrorObject::new("unavailable", error.to_string()));
            }
        }
    }
    let objects = found.iter().map(ModelObject::from);
    match session.output.form {
        Form::Json => Output::object(&Document { models: objects.collect() })?,
        Form::Lines => Output::objects(objects)?,
        Form::People => {
            let row = |model: &Description| {
                vec![
                    model.info.name.clone(),
                    model.info.dimensions.to_string(),
                    model.info.max_tokens.to_string(),
                    model.info.languages.join(" "),
                    model.place.clone(),
                ]
            };
            let rows: Vec<Vec<String>> = found.iter().map(row).collect();
            session.output.table(&["NAME", "DIMENSIONS", "TOKENS", "LANGUAGES", "PLACE"], &rows)?;
        }
    }
    Ok(exit)
}

/// Without a path where it does not run.
fn info(model: &Description, path: Option<&ModelPath>, session: &Session) -> Result<Exit, Failure> {
    if session.output.form != Form::People {
        Output::object(&ModelObject { path: path.map(PathObject::from), ..model.into() })?;
        return Ok(Exit::Done);
    }
    let languages = model.info.languages.join(" ");
    let fields = [
        ("name", model.info.name.as_str()),
        ("description", &model.about),
        ("licence", &model.licence),
        ("place", &model.place),
        ("fingerprint", &model.info.fingerprint),
        ("dimensions", &model.info.dimensions.to_string()),
        ("reads at most", &format!("{} tokens of a text", model.info.max_tokens)),
        ("languages", if languages.is_empty() { "not known" } else { &languages }),
        ("precision", &path.map_or_else(String::new, |path| path.precision.to_string())),
        ("runs on", path.map_or("", |path| &path.words)),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        session.output.say(&format!("{}  {}", session.output.dim(&format!("{name:>13}")), clean(value)))?;
    }
    Ok(Exit::Done)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TextPurpose {
    Document,
    Query,
}

#[derive(clap::Args, Debug)]
pub(crate) struct EmbedArguments {
    /// What the texts are for; some models treat the two differently
    #[arg(long, value_enum, default_value = "document")]
    purpose: TextPurpose,
}

/// One line a text in every form but `--json`: a vector is not for people.
pub(crate) async fn embed(arguments: &EmbedArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Embedding {
        text: String,
        vector: Vec<f32>,
        tokens: u32,
    }
    #[derive(Serialize)]
    struct Document {
        vectors: Vec<Embedding>,
    }
    let purpose = match arguments.purpose {
        TextPurpose::Document => Purpose::Document,
        TextPurpose::Query => Purpose::Query,
    };
    let mut lines = Lines::open(Path::new("-"))?;
    let mut kept = Vec::new();
    let mut failed = false;
    session
        .with(session.open()?, Access::Read, async |engine| {
            engine.prepare_model();
            loop {
                let batch = lines.batch(BATCH, &session.interrupt).await?;
                if batch.is_empty() {
                    return Ok(());
                }
                let mut texts = Vec::with_capacity(batch.len());
                for line in batch {
                    if let Some(text) = line.text {
                        texts.push(text);
                    } else {
                        failed = true;
                        complain(&ErrorObject::new("invalid-argument", "the line is not UTF-8").line(line.number));
                    }
                }
                let embedded = engine.embed(texts.clone(), purpose).await?;
                for (text, embedded) in texts.into_iter().zip(embedded) {
                    if embedded.truncated > 0 {
                        let beginning = cut(&text, 40);
                        note(&format!(
                            "note: the model does not read the last {} tokens of {beginning:?}",
                            embedded.truncated
                        ));
                    }
                    let object = Embedding { text, vector: embedded.vector, tokens: embedded.tokens };
                    if session.output.form == Form::Json {
                        kept.push(object);
                    } else {
                        Output::object(&object)?;
                    }
                }
            }
        })
        .await?;
    if session.output.form == Form::Json {
        Output::object(&Document { vectors: kept })?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates() {
        for template in [SPINNER, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
