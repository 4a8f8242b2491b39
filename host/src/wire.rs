//! The objects of the command line as JSON: memories here, answers and errors in the files below. Field order and names
//! are an interface that scripts rely on. Never reads a file, and never takes metadata apart: it goes through byte for
//! byte.
mod answer;
mod error;

pub(crate) use answer::{
    FoundObject, HitObject, OutcomeObject, PackObject, ScopeObject, StatisticsObject, VerdictObject, VersionObject,
    change_name, reason_name,
};
pub(crate) use error::ErrorObject;

use std::borrow::Cow;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::contract::types::{Kind, Link, Memory, Relation, Role, State};
use crate::times;

/// One memory; it looks the same wherever it is printed. Absent fields are left out, and so are empty metadata.
#[derive(Serialize)]
pub(crate) struct MemoryObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    created_at: Time,
    updated_at: Time,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<&'a str>,
}

impl<'a> From<&'a Memory> for MemoryObject<'a> {
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
            role: content.role.map(role_name),
            kind: kind_name(content.kind),
            metadata: Metadata(&content.metadata),
            at: content.at.map(Time),
            created_at: Time(memory.created_at),
            updated_at: Time(memory.updated_at),
            version: memory.version,
            valid_from: content.valid_from.map(Time),
            valid_to: content.valid_to.map(Time),
            expires_at: content.expires_at.map(Time),
            links: content.links.iter().map(LinkObject::from).collect(),
            state: (memory.state != State::Live).then(|| state_name(memory.state)),
            superseded_by: memory.superseded_by.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct LinkObject<'a> {
    relation: &'a str,
    target: &'a str,
}

impl<'a> From<&'a Link> for LinkObject<'a> {
    fn from(link: &'a Link) -> Self {
        Self { relation: relation_name(&link.relation), target: &link.target }
    }
}

/// Metadata as it was given. Only line breaks between its tokens become spaces, so that an object stays on its line;
/// inside a JSON text a line break cannot stand.
struct Metadata<'a>(&'a str);

impl Metadata<'_> {
    fn is_empty(&self) -> bool {
        let text = self.0.trim();
        text.is_empty() || text.strip_prefix('{').is_some_and(|rest| rest.trim() == "}")
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if self.0.contains(['\n', '\r']) {
            Cow::Owned(self.0.replace(['\n', '\r'], " "))
        } else {
            Cow::Borrowed(self.0)
        };
        let raw: &RawValue = serde_json::from_str(&text).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Unix milliseconds, printed as RFC 3339.
#[derive(Clone, Copy)]
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&times::format(self.0))
    }
}

/// All roles under their names.
pub(crate) static ROLES: [(&str, Role); 4] =
    [("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System), ("tool", Role::Tool)];

/// All kinds under their names.
pub(crate) static KINDS: [(&str, Kind); 4] =
    [("fact", Kind::Fact), ("episode", Kind::Episode), ("procedure", Kind::Procedure), ("core", Kind::Core)];

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
        Role::Tool => "tool",
    }
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Fact => "fact",
        Kind::Episode => "episode",
        Kind::Procedure => "procedure",
        Kind::Core => "core",
    }
}

pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Outdated => "outdated",
        State::Expired => "expired",
        State::Deleted => "deleted",
    }
}

pub(crate) fn relation_name(relation: &Relation) -> &str {
    match relation {
        Relation::Supersedes => "supersedes",
        Relation::MaySupersede => "may-supersede",
        Relation::Duplicates => "duplicates",
        Relation::DerivedFrom => "derived-from",
        Relation::Other(name) => name,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contract::types::{Content, Scope};

    /// A memory that has a text and nothing else.
    pub(crate) fn bare() -> Memory {
        Memory {
            id: "0197".into(),
            version: 1,
            content: Content {
                text: "tea at five".into(),
                scope: Scope { user: None, agent: None, app: None, run: None },
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
            },
            state: State::Live,
            superseded_by: None,
            created_at: 0,
            updated_at: 1,
        }
    }

    #[track_caller]
    fn check(memory: &Memory, expected: &str) {
        assert_eq!(serde_json::to_string(&MemoryObject::from(memory)).unwrap(), expected);
    }

    #[test]
    fn absent_fields_are_left_out() {
        check(
            &bare(),
            r#"{"id":"0197","text":"tea at five","kind":"fact","created_at":"1970-01-01T00:00:00.000Z","updated_at":"1970-01-01T00:00:00.001Z","version":1}"#,
        );
    }

    #[test]
    fn all_fields_stand_in_their_order() {
        let mut memory = bare();
        memory.content.key = Some("k".into());
        memory.content.scope =
            Scope { user: Some("u".into()), agent: Some("a".into()), app: Some("p".into()), run: Some("r".into()) };
        memory.content.actor = Some("Caroline".into());
        memory.content.role = Some(Role::Tool);
        memory.content.kind = Kind::Core;
        memory.content.metadata = r#"{ "dia" : 1.00, "b":1e2, "ä":"\u00e4"}"#.into();
        memory.content.at = Some(1_683_554_160_000);
        memory.content.valid_from = Some(0);
        memory.content.valid_to = Some(1);
        memory.content.expires_at = Some(2);
        memory.content.links = vec![
            Link { relation: Relation::MaySupersede, target: "0196".into() },
            Link { relation: Relation::Other("cites".into()), target: "0195".into() },
        ];
        memory.state = State::Outdated;
        memory.superseded_by = Some("0198".into());
        check(
            &memory,
            concat!(
                r#"{"id":"0197","key":"k","text":"tea at five","user":"u","agent":"a","app":"p","run":"r","actor":"Caroline","#,
                r#""role":"tool","kind":"core","metadata":{ "dia" : 1.00, "b":1e2, "ä":"\u00e4"},"at":"2023-05-08T13:56:00.000Z","#,
                r#""created_at":"1970-01-01T00:00:00.000Z","updated_at":"1970-01-01T00:00:00.001Z","version":1,"#,
                r#""valid_from":"1970-01-01T00:00:00.000Z","valid_to":"1970-01-01T00:00:00.001Z","#,
                r#""expires_at":"1970-01-01T00:00:00.002Z","links":[{"relation":"may-supersede","target":"0196"},"#,
                r#"{"relation":"cites","target":"0195"}],"state":"outdated","superseded_by":"0198"}"#,
            ),
        );
    }

    #[test]
    fn line_breaks_of_metadata_become_spaces_and_an_empty_object_is_left_out() {
        let mut memory = bare();
        memory.content.metadata = "{\n\"a\":\r\n\"\\n\"}".into();
        assert!(serde_json::to_string(&MemoryObject::from(&memory)).unwrap().contains(r#""metadata":{ "a":  "\n"},"#));
        memory.content.metadata = "{ \n }".into();
        let mut without = bare();
        without.content.metadata = String::new();
        check(&memory, &serde_json::to_string(&MemoryObject::from(&without)).unwrap());
    }

    #[test]
    fn the_names_of_the_lists_are_those_that_are_printed() {
        for (name, kind) in KINDS {
            assert_eq!(kind_name(kind), name);
        }
        for (name, role) in ROLES {
            assert_eq!(role_name(role), name);
        }
    }
}
