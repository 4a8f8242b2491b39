//! `cairn model` and `cairn embed`: which models there are, and what one makes of a text. Only `embed` loads one.
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::lines::Lines;
use super::output::{Form, Output, complain, cut, note};
use super::session::{Access, Session};
use crate::contract::embedding::Purpose;
use crate::models::{self, Description};
use crate::wire::ErrorObject;

pub(crate) const MODEL_EXAMPLES: &str = "\
Examples:
  cairn model list                                       built in, and those in folders
  cairn model info                                       the one that is used
  cairn model info ./my-model --json

Folders are looked for in CAIRN_MODELS, then in models/ of the data directory.";

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
    /// Describes one model, the chosen one if none is named
    Info {
        /// Name or folder
        #[arg(value_name = "NAME|DIR")]
        name: Option<String>,
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
        }
    }
}

pub(crate) fn run(verb: &ModelVerb, session: &Session) -> Result<Exit, Failure> {
    match verb {
        ModelVerb::List => list(session),
        ModelVerb::Info { name } => {
            let model = find(name.as_deref(), session)?;
            info(&model, session)
        }
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

fn info(model: &Description, session: &Session) -> Result<Exit, Failure> {
    if session.output.form != Form::People {
        Output::object(&ModelObject::from(model))?;
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
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        session.output.say(&format!("{}  {value}", session.output.dim(&format!("{name:>13}"))))?;
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
