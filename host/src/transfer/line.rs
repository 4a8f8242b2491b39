//! One memory as one line of JSON, in both directions: [`MemoryJson`] prints, [`read`] takes a line of the interchange
//! format. Texts and metadata pass as they are; whether the engine accepts them is not decided here.
use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::import::Item;
use super::json::{self, Existing};
use crate::contract::memory::{Archive, Change, Reason, Version};
use crate::contract::types::{Content, Error, Kind, Link, Memory, Refusal, Relation, Role, Scope, State};
use crate::times;

/// A memory as every door prints it. Absent fields are left out, and so is the state of what is live.
#[derive(Serialize)]
pub struct MemoryJson<'a> {
    pub id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    pub text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    pub kind: &'static str,
    /// As the caller spelt it, but on one line: a line break between tokens becomes a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<&'a str>,
}

/// A link as every door prints it.
#[derive(Serialize)]
pub struct LinkJson<'a> {
    pub relation: &'a str,
    pub target: &'a str,
}

/// One entry of a history as every door prints it.
#[derive(Serialize)]
pub struct VersionJson<'a> {
    pub version: u32,
    pub change: &'static str,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
    pub updated_at: String,
    pub memory: MemoryJson<'a>,
}

impl<'a> From<&'a Memory> for MemoryJson<'a> {
    fn from(memory: &'a Memory) -> Self {
        let content = &memory.content;
        Self {
            id: &memory.id,
            key: content.key.as_deref(),
            text: &content.text,
            user: content.scope.user.as_deref(),
            agent: content.scope.agent.as_deref(),
            app: content.scope.app.as_deref(),
            run: content.scope.run.as_deref(),
            actor: content.actor.as_deref(),
            role: content.role.map(|role| name_of(ROLES, role)),
            kind: name_of(KINDS, content.kind),
            metadata: metadata_on_one_line(&content.metadata),
            at: content.at.map(times::format),
            created_at: times::format(memory.created_at),
            updated_at: times::format(memory.updated_at),
            version: memory.version,
            valid_from: content.valid_from.map(times::format),
            valid_to: content.valid_to.map(times::format),
            expires_at: content.expires_at.map(times::format),
            links: content.links.iter().map(LinkJson::from).collect(),
            state: (memory.state != State::Live).then(|| name_of(STATES, memory.state)),
            superseded_by: memory.superseded_by.as_deref(),
        }
    }
}

impl<'a> From<&'a Link> for LinkJson<'a> {
    fn from(link: &'a Link) -> Self {
        Self { relation: relation_name(&link.relation), target: &link.target }
    }
}

impl<'a> From<&'a Version> for VersionJson<'a> {
    fn from(version: &'a Version) -> Self {
        Self {
            version: version.memory.version,
            change: change_name(version.change),
            reason: reason_name(version.reason),
            similarity: version.similarity,
            updated_at: times::format(version.memory.updated_at),
            memory: MemoryJson::from(&version.memory),
        }
    }
}

/// The word for what happened to a memory.
#[must_use]
pub fn change_name(change: Change) -> &'static str {
    name_of(CHANGES, change)
}

/// The word for why it happened.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    name_of(REASONS, reason)
}

/// The word for a relation, or the caller's own.
#[must_use]
pub fn relation_name(relation: &Relation) -> &str {
    match relation {
        Relation::Supersedes => "supersedes",
        Relation::MaySupersede => "may-supersede",
        Relation::Duplicates => "duplicates",
        Relation::DerivedFrom => "derived-from",
        Relation::Other(name) => name,
    }
}

/// The relation of a word; any but the four is the caller's own.
#[must_use]
pub fn relation(name: String) -> Relation {
    match name.as_str() {
        "supersedes" => Relation::Supersedes,
        "may-supersede" => Relation::MaySupersede,
        "duplicates" => Relation::Duplicates,
        "derived-from" => Relation::DerivedFrom,
        _ => Relation::Other(name),
    }
}

/// What made the present version of a memory whose line does not say it.
pub(super) fn usual(memory: &Memory) -> (Change, Reason) {
    let change = match (memory.state, memory.version) {
        // Nothing but an erasure leaves a memory without text.
        (State::Deleted, _) if memory.content.text.is_empty() => Change::Erased,
        (State::Deleted, _) => Change::Deleted,
        (_, 1) => Change::Added,
        _ => Change::Updated,
    };
    (change, Reason::Requested)
}

/// How lines without an id are completed, and what of them is tolerated.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Fills absent fields.
    pub(super) scope: Scope,
    /// Becomes `metadata.import`.
    pub(super) tag: Option<String>,
    /// Unknown fields go to the metadata instead of being refused.
    pub(super) lenient: bool,
}

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// The first line of an export, with the version that it names as it is written.
    Header(String),
    Item(Item),
}

/// Reads one line of the interchange format.
///
/// # Errors
/// `invalid-argument` with the field as its place.
pub(super) fn read(line: &str, rules: &Rules) -> Result<Line, Error> {
    let members = json::members(line).map_err(|message| refusal("", message))?;
    let has = |wanted: &str| members.iter().any(|(name, value)| name == wanted && *value != "null");
    if has("cairn") && !has("text") {
        let version = members.iter().find(|(name, _)| name == "cairn").map_or("", |(_, value)| *value);
        return Ok(Line::Header(version.to_owned()));
    }
    if has("id") {
        let fields = Fields::new(String::new(), members);
        return archive(fields, rules).map(|archive| Line::Item(Item::Archive(Box::new(archive))));
    }
    let mut fields = Fields::new(String::new(), members);
    fields.members.retain(|(name, value)| *value != "null" || !ARCHIVE_FIELDS.contains(&name.as_str()));
    let unknown = fields.split_unknown(&[CONTENT_FIELDS], rules)?;
    let mut content = content(&mut fields)?;
    for (name, value) in &unknown {
        content.metadata = json::with_member(&content.metadata, name, value, Existing::Keep)
            .map_err(|message| refusal("metadata", message))?;
    }
    complete(&mut content, rules)?;
    Ok(Line::Item(Item::Add(Box::new(content))))
}

/// Reads one chat message.
///
/// # Errors
/// `invalid-argument` with the field as its place.
pub(super) fn read_message(message: &str, rules: &Rules) -> Result<Item, Error> {
    let members = json::members(message).map_err(|message| refusal("", message))?;
    let mut fields = Fields::new(String::new(), members);
    let unknown = fields.split_unknown(&[MESSAGE_FIELDS], rules)?;
    let text = match fields.take("content") {
        None => return Err(refusal("content", "is missing".to_owned())),
        Some(parts) if parts.starts_with('[') => join_parts(parts)?,
        Some(text) => fields.decode_text("content", text)?,
    };
    let mut content = plain(text);
    content.kind = Kind::Episode;
    content.role = fields.choice("role", ROLES)?;
    content.actor = fields.text("name")?;
    content.at = fields.time("created_at")?;
    for (name, value) in &unknown {
        content.metadata = json::with_member(&content.metadata, name, value, Existing::Keep)
            .map_err(|message| refusal("metadata", message))?;
    }
    complete(&mut content, rules)?;
    Ok(Item::Add(Box::new(content)))
}

/// Makes a memory of a text alone.
///
/// # Errors
/// None but those of a tag that cannot be set, which does not happen to empty metadata.
pub(super) fn read_text(text: String, rules: &Rules) -> Result<Item, Error> {
    let mut content = plain(text);
    complete(&mut content, rules)?;
    Ok(Item::Add(Box::new(content)))
}

pub(super) fn refusal(place: &str, message: String) -> Error {
    Error::InvalidArgument(Refusal { place: place.to_owned(), message })
}

const ROLES: &[(&str, Role)] =
    &[("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System), ("tool", Role::Tool)];
const KINDS: &[(&str, Kind)] =
    &[("fact", Kind::Fact), ("episode", Kind::Episode), ("procedure", Kind::Procedure), ("core", Kind::Core)];
const STATES: &[(&str, State)] =
    &[("live", State::Live), ("outdated", State::Outdated), ("expired", State::Expired), ("deleted", State::Deleted)];
const CHANGES: &[(&str, Change)] = &[
    ("added", Change::Added),
    ("updated", Change::Updated),
    ("unchanged", Change::Unchanged),
    ("linked", Change::Linked),
    ("superseded", Change::Superseded),
    ("deleted", Change::Deleted),
    ("erased", Change::Erased),
    ("restored", Change::Restored),
];
const REASONS: &[(&str, Reason)] = &[
    ("requested", Reason::Requested),
    ("same-key", Reason::SameKey),
    ("same-text", Reason::SameText),
    ("near-duplicate", Reason::NearDuplicate),
    ("contradiction", Reason::Contradiction),
    ("extracted", Reason::Extracted),
];

const CONTENT_FIELDS: &[&str] = &[
    "text",
    "user",
    "agent",
    "app",
    "run",
    "actor",
    "role",
    "kind",
    "at",
    "metadata",
    "key",
    "valid_from",
    "valid_to",
    "expires_at",
    "links",
];
/// Only beside an id.
const ARCHIVE_FIELDS: &[&str] = &[
    "id",
    "created_at",
    "updated_at",
    "version",
    "state",
    "superseded_by",
    "change",
    "reason",
    "similarity",
    "history",
    "vectors",
];
const MESSAGE_FIELDS: &[&str] = &["role", "content", "name", "created_at"];
const LINK_FIELDS: &[&str] = &["relation", "target"];
/// Beside the type.
const PART_FIELDS: &[&str] = &["text"];
const VERSION_FIELDS: &[&str] = &["version", "change", "reason", "similarity", "updated_at", "memory"];

/// What other programs call our fields.
const FOREIGN_NAMES: &[(&str, &str)] = &[
    ("content", "text"),
    ("memory", "text"),
    ("message", "text"),
    ("user_id", "user"),
    ("agent_id", "agent"),
    ("app_id", "app"),
    ("run_id", "run"),
    ("session", "run"),
    ("session_id", "run"),
    ("speaker", "actor"),
    ("name", "actor"),
    ("time", "at"),
    ("date", "at"),
    ("timestamp", "at"),
    ("tags", "metadata"),
    ("type", "kind"),
];

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, other)| *other == value);
    found.map(|(name, _)| *name).expect("each case has its name in the table")
}

/// The metadata for printing; none if there is none.
fn metadata_on_one_line(metadata: &str) -> Option<Box<RawValue>> {
    if metadata.is_empty() {
        return None;
    }
    // Inside a JSON text a line break is escaped, so a raw one is white space between tokens.
    let line = if metadata.contains(['\n', '\r']) {
        Cow::Owned(metadata.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(metadata)
    };
    let raw = RawValue::from_string(line.into_owned());
    // The engine stores JSON alone. Should it ever give something else, it is shown as a text rather than dropped.
    raw.or_else(|_| RawValue::from_string(json::quoted(metadata))).ok()
}

fn plain(text: String) -> Content {
    Content {
        text,
        scope: super::everywhere(),
        key: None,
        actor: None,
        role: None,
        kind: Kind::Fact,
        metadata: String::new(),
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: Vec::new(),
    }
}

/// Fills the scope of a memory that is added and sets its tag.
fn complete(content: &mut Content, rules: &Rules) -> Result<(), Error> {
    let scope = &mut content.scope;
    for (own, given) in [
        (&mut scope.user, &rules.scope.user),
        (&mut scope.agent, &rules.scope.agent),
        (&mut scope.app, &rules.scope.app),
        (&mut scope.run, &rules.scope.run),
    ] {
        if own.is_none() {
            own.clone_from(given);
        }
    }
    if *scope == super::everywhere() {
        scope.user = Some("default".to_owned());
    }
    if let Some(tag) = &rules.tag {
        content.metadata = json::with_member(&content.metadata, "import", &json::quoted(tag), Existing::Replace)
            .map_err(|message| refusal("metadata", message))?;
    }
    Ok(())
}

fn content(fields: &mut Fields<'_>) -> Result<Content, Error> {
    let Some(text) = fields.text("text")? else {
        return Err(fields.refusal("text", "is missing".to_owned()));
    };
    Ok(Content {
        text,
        scope: Scope {
            user: fields.text("user")?,
            agent: fields.text("agent")?,
            app: fields.text("app")?,
            run: fields.text("run")?,
        },
        key: fields.text("key")?,
        actor: fields.text("actor")?,
        role: fields.choice("role", ROLES)?,
        kind: fields.choice("kind", KINDS)?.unwrap_or(Kind::Fact),
        metadata: fields.object("metadata")?.unwrap_or_default(),
        at: fields.time("at")?,
        valid_from: fields.time("valid_from")?,
        valid_to: fields.time("valid_to")?,
        expires_at: fields.time("expires_at")?,
        links: links(fields)?,
    })
}

/// A memory as it stands. Nothing is filled in, and unknown fields of a lenient import join its metadata.
fn archive(mut fields: Fields<'_>, rules: &Rules) -> Result<Archive, Error> {
    let unknown = fields.split_unknown(&[CONTENT_FIELDS, ARCHIVE_FIELDS], rules)?;
    let history = fields.list("history")?.unwrap_or_default();
    let mut memory = memory(&mut fields)?;
    for (name, value) in &unknown {
        memory.content.metadata = json::with_member(&memory.content.metadata, name, value, Existing::Keep)
            .map_err(|message| refusal("metadata", message))?;
    }
    let mut earlier = Vec::with_capacity(history.len());
    for (n, entry) in history.iter().enumerate() {
        earlier.push(version(&fields.inner(&format!("history[{n}]")), entry.get(), rules)?);
    }
    let (usual_change, usual_reason) = usual(&memory);
    let present = Version {
        memory,
        change: fields.choice("change", CHANGES)?.unwrap_or(usual_change),
        reason: fields.choice("reason", REASONS)?.unwrap_or(usual_reason),
        similarity: fields.fraction("similarity")?,
    };
    Ok(Archive { present, earlier })
}

fn memory(fields: &mut Fields<'_>) -> Result<Memory, Error> {
    Ok(Memory {
        id: fields.required("id", Fields::text)?,
        version: fields.required("version", Fields::count)?,
        state: fields.choice("state", STATES)?.unwrap_or(State::Live),
        superseded_by: fields.text("superseded_by")?,
        created_at: fields.required("created_at", Fields::time)?,
        updated_at: fields.required("updated_at", Fields::time)?,
        content: content(fields)?,
    })
}

fn version(place: &str, entry: &str, rules: &Rules) -> Result<Version, Error> {
    let mut fields = Fields::at(place.to_owned(), entry)?;
    fields.split_unknown(&[VERSION_FIELDS], &Rules { lenient: false, ..rules.clone() })?;
    let Some(inner) = fields.take("memory") else {
        return Err(fields.refusal("memory", "is missing".to_owned()));
    };
    let mut inner = Fields::at(fields.inner("memory"), inner)?;
    inner.split_unknown(&[CONTENT_FIELDS, ARCHIVE_FIELDS], &Rules { lenient: false, ..rules.clone() })?;
    let memory = memory(&mut inner)?;
    if fields.count("version")?.is_some_and(|version| version != memory.version) {
        return Err(fields.refusal("version", "is another than that of its memory".to_owned()));
    }
    if fields.time("updated_at")?.is_some_and(|time| time != memory.updated_at) {
        return Err(fields.refusal("updated_at", "is another than that of its memory".to_owned()));
    }
    Ok(Version {
        memory,
        change: fields.required("change", |fields, name| fields.choice(name, CHANGES))?,
        reason: fields.required("reason", |fields, name| fields.choice(name, REASONS))?,
        similarity: fields.fraction("similarity")?,
    })
}

fn links(fields: &mut Fields<'_>) -> Result<Vec<Link>, Error> {
    let Some(items) = fields.list("links")? else {
        return Ok(Vec::new());
    };
    let mut links = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        let mut inner = Fields::at(fields.inner(&format!("links[{n}]")), item.get())?;
        inner.refuse_unknown(&[LINK_FIELDS])?;
        let name = inner.required("relation", Fields::text)?;
        links.push(Link { relation: relation(name), target: inner.required("target", Fields::text)? });
    }
    Ok(links)
}

/// The text of a message that comes in parts.
fn join_parts(parts: &str) -> Result<String, Error> {
    let items: Vec<&RawValue> =
        serde_json::from_str(parts).map_err(|error| refusal("content", json::describe(&error)))?;
    let mut texts = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        let mut part = Fields::at(format!("content[{n}]"), item.get())?;
        let kind = part.required("type", Fields::text)?;
        if kind != "text" {
            return Err(part.refusal("type", format!("is {}; only text is taken", json::quoted(&kind))));
        }
        part.refuse_unknown(&[PART_FIELDS])?;
        texts.push(part.required("text", Fields::text)?);
    }
    Ok(texts.join("\n"))
}

/// The members of one object of a line, taken one by one.
struct Fields<'a> {
    /// Path of the object within the line; empty for the line itself.
    place: String,
    members: Vec<(String, &'a str)>,
}

impl<'a> Fields<'a> {
    fn new(place: String, members: Vec<(String, &'a str)>) -> Self {
        Self { place, members }
    }

    fn at(place: String, object: &'a str) -> Result<Self, Error> {
        match json::members(object) {
            Ok(members) => Ok(Self { place, members }),
            Err(message) => Err(refusal(&place, message)),
        }
    }

    /// Path of a part of this object.
    fn inner(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    fn refusal(&self, name: &str, message: String) -> Error {
        refusal(&self.inner(name), message)
    }

    fn wrong_type(&self, name: &str, expected: &str, value: &str) -> Error {
        self.refusal(name, format!("must be {expected}, not {}", json::type_of(value)))
    }

    /// Takes out the members that are not in `known`, or refuses the first of them.
    fn split_unknown(&mut self, known: &[&[&str]], rules: &Rules) -> Result<Vec<(String, &'a str)>, Error> {
        if !rules.lenient {
            self.refuse_unknown(known)?;
            return Ok(Vec::new());
        }
        let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
        let (members, unknown) = self.members.drain(..).partition(|(name, _)| is_known(name));
        self.members = members;
        for (name, value) in &unknown {
            json::inspect(value).map_err(|message| self.refusal(name, message))?;
        }
        Ok(unknown)
    }

    fn refuse_unknown(&self, known: &[&[&str]]) -> Result<(), Error> {
        for (name, _) in &self.members {
            if known.iter().any(|names| names.contains(&name.as_str())) {
                continue;
            }
            if ARCHIVE_FIELDS.contains(&name.as_str()) && known.contains(&CONTENT_FIELDS) {
                return Err(self.refusal(name, "is only taken beside an id".to_owned()));
            }
            let known: Vec<&str> = known.iter().flat_map(|names| names.iter().copied()).collect();
            let guess = nearest(name, &known).map_or(String::new(), |guess| format!("; did you mean {guess}?"));
            return Err(self.refusal(name, format!("is an unknown field{guess}")));
        }
        Ok(())
    }

    /// Takes out the value of a member; none if it is absent or null.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.members.iter().position(|(other, _)| other == name)?;
        let (_, value) = self.members.swap_remove(at);
        (value != "null").then_some(value)
    }

    fn required<T>(
        &mut self,
        name: &str,
        decode: impl FnOnce(&mut Self, &str) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        match decode(self, name)? {
            Some(value) => Ok(value),
            None => Err(self.refusal(name, "is missing".to_owned())),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => self.decode_text(name, value).map(Some),
        }
    }

    fn decode_text(&self, name: &str, value: &str) -> Result<String, Error> {
        if !value.starts_with('"') {
            return Err(self.wrong_type(name, "a text", value));
        }
        serde_json::from_str(value).map_err(|error| self.refusal(name, json::describe(&error)))
    }

    /// A JSON object, checked and as it is written.
    fn object(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if !value.starts_with('{') {
            return Err(self.wrong_type(name, "an object", value));
        }
        json::inspect(value).map_err(|message| self.refusal(name, message))?;
        Ok(Some(value.to_owned()))
    }

    fn list(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if !value.starts_with('[') {
            return Err(self.wrong_type(name, "a list", value));
        }
        let items = serde_json::from_str(value).map_err(|error| self.refusal(name, json::describe(&error)))?;
        Ok(Some(items))
    }

    fn time(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let parsed = match json::type_of(value) {
            "a text" => times::parse(&self.decode_text(name, value)?),
            "a number" => times::parse(value),
            _ => return Err(self.wrong_type(name, "a time", value)),
        };
        parsed.map(Some).map_err(|message| self.refusal(name, message))
    }

    fn count(&mut self, name: &str) -> Result<Option<u32>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(self.refusal(name, format!("must be a whole number from 0 to {}", u32::MAX))),
        }
    }

    fn fraction(&mut self, name: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.parse::<f32>() {
            Ok(fraction) if fraction.is_finite() => Ok(Some(fraction)),
            _ => Err(self.wrong_type(name, "a number", value)),
        }
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&'static str, T)]) -> Result<Option<T>, Error> {
        let Some(word) = self.text(name)? else {
            return Ok(None);
        };
        if let Some((_, value)) = choices.iter().find(|(choice, _)| *choice == word) {
            return Ok(Some(*value));
        }
        let words: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        let message = match nearest(&word, &words) {
            Some(guess) => format!("is {}; did you mean {guess}?", json::quoted(&word)),
            None => format!("must be one of {}", words.join(", ")),
        };
        Err(self.refusal(name, message))
    }
}

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    if let Some((_, own)) = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == lower) {
        return known.iter().find(|name| *name == own).copied();
    }
    if word.len() > 32 {
        return None;
    }
    let distances = known.iter().map(|name| (distance(&lower, name), *name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance < name.len().min(word.len())).then_some(name)
}

/// Edits between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
