//! A data set: memories, and queries whose right answers are known. Any folder in the format of the evaluation sets; gold
//! never reaches the engine.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::contract::types::{Content, Kind, Role, Scope};
use crate::times;

/// See the module.
pub(super) struct Dataset {
    /// The name of its folder, without the part.
    pub(super) name: String,
    /// In the order of the file.
    pub(super) memories: Vec<Content>,
    pub(super) queries: Vec<Asked>,
    /// Scope and id → session.
    sessions: HashMap<(String, String), Option<String>>,
}

/// One query with its gold.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) scope: String,
    pub(super) category: Option<String>,
    relevant: Vec<String>,
    relevant_sessions: Vec<String>,
}

/// What is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Memory,
    /// A session ranks where its best memory does.
    Session,
}

#[derive(Deserialize)]
struct MemoryLine {
    scope: String,
    id: Name,
    text: String,
    session: Option<Name>,
    time: Option<String>,
    speaker: Option<String>,
    /// Of a speaker who is told as a role.
    name: Option<String>,
    image_caption: Option<String>,
}

#[derive(Deserialize)]
struct QueryLine {
    scope: String,
    id: Name,
    query: String,
    category: Option<String>,
    relevant: Option<Vec<Name>>,
    relevant_sessions: Option<Vec<Name>>,
}

/// A text, or a number that names something.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(i64),
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name {
            Name::Text(text) => text,
            Name::Number(number) => number.to_string(),
        }
    }
}

impl Dataset {
    /// Reads the folder, or its only part.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Dataset> {
        let part = part(folder)?;
        let beside = part.join("memories.jsonl");
        let above = part.join("../memories.jsonl");
        let memories: Vec<MemoryLine> = lines(if beside.exists() { &beside } else { &above })?;
        let queries: Vec<QueryLine> = lines(&part.join("queries.jsonl"))?;
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        // A part is named by the set that it belongs to.
        let in_a_set = !part.join("README.md").exists() && part.join("../README.md").exists();
        let named = if in_a_set { part.join("..") } else { part.clone() };
        let named = named.canonicalize().unwrap_or(named);
        let mut set = Dataset {
            name: name(&named).unwrap_or_default(),
            memories: vec![],
            queries: queries.into_iter().map(Asked::from).collect(),
            sessions: HashMap::new(),
        };
        for line in memories {
            set.take(line)?;
        }
        Ok(set)
    }

    fn take(&mut self, line: MemoryLine) -> anyhow::Result<()> {
        let id: String = line.id.into();
        let session: Option<String> = line.session.map(String::from);
        let role = match line.speaker.as_deref() {
            Some("user") => Some(Role::User),
            Some("assistant") => Some(Role::Assistant),
            _ => None,
        };
        let speaker = if role.is_some() { line.name.filter(|_| role == Some(Role::User)) } else { line.speaker };
        let at = line.time.map(|time| {
            let time = if time.len() == 10 || time.ends_with('Z') { time } else { format!("{time}Z") };
            times::parse(&time).map_err(|error| anyhow::anyhow!("memory {id}: {error}"))
        });
        let text = match line.image_caption.filter(|caption| !caption.is_empty()) {
            Some(caption) => format!("{} [image: {caption}]", line.text),
            None => line.text,
        };
        self.sessions.insert((line.scope.clone(), id.clone()), session.clone());
        if text.trim().is_empty() {
            return Ok(());
        }
        let scope = Scope { run: session, ..Scope::user(line.scope) };
        let actor = speaker.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let kind = if role.is_some() || actor.is_some() { Kind::Episode } else { Kind::Fact };
        self.memories.push(Content {
            key: Some(id),
            actor,
            role,
            kind,
            at: at.transpose()?,
            ..Content::fact(text, scope)
        });
        Ok(())
    }

    /// Sessions where only they are labelled.
    pub(super) fn unit(&self) -> Unit {
        let by_session = self.queries.iter().any(|query| !query.relevant_sessions.is_empty());
        let by_memory = self.queries.iter().all(|query| !query.relevant.is_empty());
        if by_session && !by_memory { Unit::Session } else { Unit::Memory }
    }

    /// Whether any memory lies in a session.
    pub(super) fn has_sessions(&self) -> bool {
        self.sessions.values().any(Option::is_some)
    }

    /// What should be found, each once; empty where the set does not say.
    pub(super) fn gold(&self, query: &Asked, unit: Unit) -> Vec<String> {
        let known = |id: &&String| self.sessions.contains_key(&(query.scope.clone(), (*id).clone()));
        let mut gold: Vec<String> = query.relevant.iter().filter(known).cloned().collect();
        if unit == Unit::Session {
            gold = if query.relevant_sessions.is_empty() {
                gold.iter().filter_map(|id| self.session(query, id)).collect()
            } else {
                query.relevant_sessions.clone()
            };
        }
        gold.sort_unstable();
        gold.dedup();
        gold
    }

    /// A ranking of memories in the unit.
    pub(super) fn ranked(&self, query: &Asked, memories: &[String], unit: Unit) -> Vec<String> {
        if unit == Unit::Memory {
            return memories.to_vec();
        }
        let mut out: Vec<String> = vec![];
        for session in memories.iter().filter_map(|id| self.session(query, id)) {
            if !out.contains(&session) {
                out.push(session);
            }
        }
        out
    }

    fn session(&self, query: &Asked, id: &str) -> Option<String> {
        self.sessions.get(&(query.scope.clone(), id.to_owned()))?.clone()
    }
}

impl From<QueryLine> for Asked {
    fn from(line: QueryLine) -> Self {
        let names = |names: Option<Vec<Name>>| names.unwrap_or_default().into_iter().map(String::from).collect();
        Asked {
            id: line.id.into(),
            text: line.query,
            scope: line.scope,
            category: line.category,
            relevant: names(line.relevant),
            relevant_sessions: names(line.relevant_sessions),
        }
    }
}

/// The folder with the queries: this one, or its only part.
fn part(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.join("queries.jsonl").exists() {
        return Ok(folder.to_owned());
    }
    let inside = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut parts: Vec<PathBuf> = inside
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("queries.jsonl").exists())
        .collect();
    match parts.len() {
        1 => Ok(parts.remove(0)),
        0 => bail!("{} has no queries.jsonl; pairs and strings cannot be ranked", folder.display()),
        _ => bail!("{} has several parts; name one of them", folder.display()),
    }
}

fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let read = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = read.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), number + 1))
        })
        .collect()
}
