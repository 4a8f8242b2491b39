//! `cairn update`, `cairn history` and `cairn restore`: the versions of one memory.
use serde::Serialize;

use super::arguments::{One, by_id, by_key, one_of, time_patch, write_options};
use super::failure::{Exit, Failure};
use super::metadata;
use super::outcomes::show;
use super::output::{Form, Output, clean};
use super::session::{Access, Session};
use crate::contract::memory::{Edit, Patch, Restoration, Target, TimePatch, Version};
use crate::contract::types::{Kind, Scope};
use crate::times;
use crate::wire::{KINDS, VersionObject, change_name, reason_name};

pub(crate) const UPDATE_EXAMPLES: &str = "\
Examples:
  cairn update ID \"Ana eats fish now\"
  cairn update ID --metadata project=books --metadata amount:=null    null removes a value
  cairn update --key diet -u ana \"Ana eats fish now\"
  cairn update ID --expires 2026-01-01                  `none` takes a time away

The earlier version stays: `cairn history ID` shows it, `cairn restore ID --version N` brings it back.";

pub(crate) const HISTORY_EXAMPLES: &str = "\
Examples:
  cairn history ID                                       newest first
  cairn history --key diet -u ana --json";

pub(crate) const RESTORE_EXAMPLES: &str = "\
Examples:
  cairn restore ID --version 1                           its content becomes the next version
  cairn restore ID --version 3                           of a deleted memory: brings it back

`cairn history ID` shows the versions.";

/// Most versions that one history shows.
const VERSIONS: u32 = 1000;

#[derive(clap::Args, Debug)]
pub(crate) struct UpdateArguments {
    /// Id of the memory; left out with --key
    #[arg(value_name = "ID", required_unless_present = "key")]
    first: Option<String>,
    /// Its new text
    #[arg(value_name = "TEXT")]
    second: Option<String>,
    /// The memory of this key in exactly the scope given
    #[arg(long)]
    key: Option<String>,
    /// name=text, name:=JSON or '{JSON}'; members are set, null removes, others stay
    #[arg(short, long, value_name = "METADATA")]
    metadata: Vec<String>,
    /// What the memory is good for
    #[arg(long, value_parser = one_of(&KINDS))]
    kind: Option<Kind>,
    /// When it happened or was said; `none` clears it
    #[arg(long, value_name = "TIME", value_parser = time_patch, allow_negative_numbers = true)]
    at: Option<TimePatch>,
    /// True from here on; `none` clears it
    #[arg(long, value_name = "TIME", value_parser = time_patch, allow_negative_numbers = true)]
    valid_from: Option<TimePatch>,
    /// True until here; `none` clears it
    #[arg(long, value_name = "TIME", value_parser = time_patch, allow_negative_numbers = true)]
    valid_to: Option<TimePatch>,
    /// Forgotten from here on; `none` clears it
    #[arg(long, value_name = "TIME", value_parser = time_patch, allow_negative_numbers = true)]
    expires: Option<TimePatch>,
    /// Only if the memory has this version
    #[arg(long, value_name = "N")]
    expect_version: Option<u32>,
}

pub(crate) async fn update(arguments: &UpdateArguments, session: &Session) -> Result<Exit, Failure> {
    let (target, text) = named(arguments, session.scope())?;
    let patch = Patch {
        text,
        metadata: metadata::object(&arguments.metadata)?,
        kind: arguments.kind,
        at: arguments.at,
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        expires_at: arguments.expires,
        links: None,
    };
    let nothing = Patch {
        text: None,
        metadata: None,
        kind: None,
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: None,
    };
    if patch == nothing {
        return Err(Failure::usage("nothing to change is given", "give a new TEXT, --metadata, --kind or a time"));
    }
    let edit = Edit { target, patch, expect_version: arguments.expect_version };
    let outcomes = session
        .with_engine(Access::Write, async |engine| Ok(engine.update(vec![edit], write_options(false)).await?))
        .await?;
    show(&outcomes, |_| arguments.key.as_deref(), session)
}

/// The memory and its new text: behind `--key`, the first argument is the text.
fn named(arguments: &UpdateArguments, scope: Scope) -> Result<(Target, Option<String>), Failure> {
    match (&arguments.key, &arguments.first, &arguments.second) {
        (Some(_), _, Some(_)) => Err(Failure::usage("both an ID and --key are given", "leave out the ID, or --key")),
        (Some(key), text, None) => Ok((by_key(key, scope), text.clone())),
        (None, Some(id), text) => Ok((by_id(id, scope), text.clone())),
        (None, None, _) => Err(Failure::usage("no memory is named", "give an ID, or --key KEY with its scope")),
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct HistoryArguments {
    #[command(flatten)]
    memory: One,
}

pub(crate) async fn history(arguments: &HistoryArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        versions: Vec<VersionObject<'a>>,
    }
    let target = arguments.memory.target(session.scope());
    let versions: Vec<Version> = session
        .with_engine(Access::Read, async |engine| Ok(engine.history(vec![target], VERSIONS, None).await?))
        .await?
        .pop()
        .unwrap_or_default();
    if versions.is_empty() {
        return Err(Failure::nothing(format!(
            "there is no memory {}, or it was erased",
            clean(arguments.memory.name())
        )));
    }
    let objects = versions.iter().map(VersionObject::from);
    match session.output.form {
        Form::Json => Output::object(&Document { versions: objects.collect() })?,
        Form::Lines => Output::objects(objects)?,
        Form::People => {
            let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
            session.output.table(&["VERSION", "SINCE", "CHANGE", "REASON", "TEXT"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

/// One version as a row of a table.
pub(crate) fn row(version: &Version) -> Vec<String> {
    let memory = &version.memory;
    vec![
        memory.version.to_string(),
        times::format(memory.updated_at),
        change_name(version.change).to_owned(),
        reason_name(version.reason).to_owned(),
        clean(&memory.content.text),
    ]
}

#[derive(clap::Args, Debug)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    memory: One,
    /// The version to bring back
    #[arg(long, value_name = "N")]
    version: u32,
    /// Only if the memory has this version now
    #[arg(long, value_name = "N")]
    expect_version: Option<u32>,
}

pub(crate) async fn restore(arguments: &RestoreArguments, session: &Session) -> Result<Exit, Failure> {
    let restoration = Restoration {
        target: arguments.memory.target(session.scope()),
        version: arguments.version,
        expect_version: arguments.expect_version,
    };
    let outcomes = session
        .with_engine(Access::Write, async |engine| Ok(engine.restore(vec![restoration], write_options(false)).await?))
        .await?;
    show(&outcomes, |_| arguments.memory.key(), session)
}
