//! `cairn get`, `cairn list` and `cairn scopes`: reading without a query. Needs no model.
use clap::ValueEnum;
use serde::Serialize;

use super::arguments::{Hidden, Several, in_words};
use super::failure::{Exit, Failure};
use super::output::{Form, Output, clean, note};
use super::session::{Access, Session};
use crate::contract::memory::{ListRequest, Order, ScopeField, ScopesRequest};
use crate::contract::types::{Memory, State};
use crate::times;
use crate::wire::{MemoryObject, ScopeObject, kind_name, relation_name, role_name, state_name};

pub(crate) const GET_EXAMPLES: &str = "\
Examples:
  cairn get 0197f3c2-8a60-7c31-b0f4-3d6f9e3b5a10
  cairn get --key diet -u ana --json                     a memory by your own name for it
  cairn get ID1 ID2 --include deleted --jsonl            a line each; null where there is none

Exit code 3 if one is missing.";

pub(crate) const LIST_EXAMPLES: &str = "\
Examples:
  cairn list -u ana --newest-first
  cairn list --filter '{\"at\":{\"gte\":\"2025-03-01\"}}' --limit 100 --jsonl
  cairn list --include outdated,deleted                  what is hidden otherwise
  cairn list --after CURSOR                              the next page";

pub(crate) const SCOPES_EXAMPLES: &str = "\
Examples:
  cairn scopes                                           all users, with the number of their memories
  cairn scopes --field run -u ana                        the runs of one user";

#[derive(clap::Args, Debug)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    memories: Several,
    #[command(flatten)]
    hidden: Hidden,
}

pub(crate) async fn get(arguments: &GetArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        memories: Vec<Option<MemoryObject<'a>>>,
    }
    let targets = arguments.memories.targets(&session.scope())?;
    let memories = session
        .with_engine(Access::Read, async |engine| Ok(engine.get(targets, arguments.hidden.view()).await?))
        .await?;
    let objects = memories.iter().map(|memory| memory.as_ref().map(MemoryObject::from));
    match session.output.form {
        Form::Json => Output::object(&Document { memories: objects.collect() })?,
        Form::Lines => Output::objects(objects)?,
        Form::People => {
            for (i, memory) in memories.iter().flatten().enumerate() {
                if i > 0 {
                    session.output.say("")?;
                }
                show(memory, session)?;
            }
        }
    }
    for (name, _) in arguments.memories.names().zip(&memories).filter(|(_, memory)| memory.is_none()) {
        note(&format!("error: there is no memory {}", clean(name)));
    }
    if memories.iter().all(Option::is_some) {
        return Ok(Exit::Done);
    }
    note(
        "hint: --include outdated,expired,deleted shows hidden ones; a key is looked up in exactly its scope, such as -u default",
    );
    Ok(Exit::Nothing)
}

/// All fields of a memory, its text last and whole.
fn show(memory: &Memory, session: &Session) -> Result<(), Failure> {
    let content = &memory.content;
    let time = |ms: Option<i64>| ms.map(times::format);
    let fields = [
        ("id", Some(memory.id.clone())),
        ("key", content.key.clone()),
        ("scope", Some(in_words(&content.scope)).filter(|words| !words.is_empty())),
        ("actor", content.actor.clone()),
        ("role", content.role.map(|role| role_name(role).to_owned())),
        ("kind", Some(kind_name(content.kind).to_owned())),
        ("at", time(content.at)),
        ("valid from", time(content.valid_from)),
        ("valid to", time(content.valid_to)),
        ("expires", time(content.expires_at)),
        ("created", time(Some(memory.created_at))),
        ("updated", time(Some(memory.updated_at))),
        ("version", Some(memory.version.to_string())),
        ("state", (memory.state != State::Live).then(|| state_name(memory.state).to_owned())),
        ("superseded by", memory.superseded_by.clone()),
        ("metadata", Some(content.metadata.clone()).filter(|text| !text.is_empty())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            session.output.say(&format!("{}  {}", session.output.dim(&format!("{name:>13}")), clean(&value)))?;
        }
    }
    for link in &content.links {
        let words = clean(&format!("{} {}", relation_name(&link.relation), link.target));
        session.output.say(&format!("{}  {words}", session.output.dim(&format!("{:>13}", "link"))))?;
    }
    // Lines of the text stay lines; other control characters do not reach a terminal.
    for (i, line) in content.text.lines().enumerate() {
        let name = if i == 0 { "text" } else { "" };
        session.output.say(&format!("{}  {}", session.output.dim(&format!("{name:>13}")), clean(line)))?;
    }
    Ok(())
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArguments {
    /// Most memories of this page
    #[arg(short, long, value_name = "N", default_value_t = 20, allow_negative_numbers = true)]
    limit: u32,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Only memories that match, such as '{"metadata.project":"books"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Newest first; else in the order of creation
    #[arg(long)]
    newest_first: bool,
    #[command(flatten)]
    hidden: Hidden,
}

pub(crate) async fn list(arguments: &ListArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        memories: Vec<MemoryObject<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    }
    let request = ListRequest {
        scope: session.scope(),
        filter: arguments.filter.clone(),
        view: arguments.hidden.view(),
        order: if arguments.newest_first { Order::NewestFirst } else { Order::OldestFirst },
        limit: arguments.limit,
        after: arguments.after.clone(),
        count: false,
    };
    let page = session.with_engine(Access::Read, async |engine| Ok(engine.list(request).await?)).await?;
    let objects = page.memories.iter().map(MemoryObject::from);
    match session.output.form {
        Form::Json => {
            Output::object(&Document { memories: objects.collect(), next: page.next.as_deref() })?;
        }
        Form::Lines => Output::objects(objects)?,
        Form::People if page.memories.is_empty() => session.output.say("no memories")?,
        Form::People => {
            let rows: Vec<Vec<String>> = page.memories.iter().map(row).collect();
            session.output.table(&["ID", "DATE", "WHOSE", "TEXT"], &rows)?;
        }
    }
    if let Some(next) = &page.next
        && session.output.form != Form::Json
    {
        note(&format!("more: --after {next}"));
    }
    Ok(Exit::Done)
}

fn row(memory: &Memory) -> Vec<String> {
    let content = &memory.content;
    let scope = &content.scope;
    let whose: Vec<&str> = [&scope.user, &scope.agent, &scope.app, &scope.run, &content.actor]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    let state = if memory.state == State::Live { String::new() } else { format!("[{}] ", state_name(memory.state)) };
    vec![
        memory.id.clone(),
        times::format(content.at.unwrap_or(memory.created_at)).chars().take(10).collect(),
        super::output::cut(&whose.join("/"), 30),
        clean(&format!("{state}{}", content.text)),
    ]
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Field {
    User,
    Agent,
    App,
    Run,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ScopesArguments {
    /// Whose values to list
    #[arg(long, value_enum, default_value = "user")]
    field: Field,
    /// Most values of this page
    #[arg(short, long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    limit: u32,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

pub(crate) async fn scopes(arguments: &ScopesArguments, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        scopes: Vec<ScopeObject<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    }
    let request = ScopesRequest {
        within: session.scope(),
        field: match arguments.field {
            Field::User => ScopeField::User,
            Field::Agent => ScopeField::Agent,
            Field::App => ScopeField::App,
            Field::Run => ScopeField::Run,
        },
        limit: arguments.limit,
        after: arguments.after.clone(),
    };
    let page = session.with_engine(Access::Read, async |engine| Ok(engine.scopes(request).await?)).await?;
    let objects = page.entries.iter().map(ScopeObject::from);
    match session.output.form {
        Form::Json => Output::object(&Document { scopes: objects.collect(), next: page.next.as_deref() })?,
        Form::Lines => Output::objects(objects)?,
        Form::People if page.entries.is_empty() => session.output.say("none")?,
        Form::People => {
            let row = |entry: &crate::contract::memory::ScopeEntry| {
                vec![
                    entry.memories.to_string(),
                    times::format(entry.created_at),
                    times::format(entry.updated_at),
                    entry.value.clone(),
                ]
            };
            let rows: Vec<Vec<String>> = page.entries.iter().map(row).collect();
            session.output.table(&["MEMORIES", "CREATED", "UPDATED", "VALUE"], &rows)?;
        }
    }
    if let Some(next) = &page.next
        && session.output.form != Form::Json
    {
        note(&format!("more: --after {next}"));
    }
    Ok(Exit::Done)
}
