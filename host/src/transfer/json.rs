//! JSON objects as texts: which members they have and how to add one without touching the others. Values are never
//! parsed into numbers and printed again, because numbers and spelling belong to the caller.
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Most levels of metadata, the metadata itself included.
const MOST_LEVELS: usize = 64;

/// Whether a member that is there already is kept or replaced.
#[derive(Clone, Copy)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Splits a JSON object into names and the texts of their values, in order.
///
/// # Errors
/// A sentence, if this is no JSON object or has a name twice. What lies deeper is not looked at but for its syntax.
pub(super) fn members(object: &str) -> Result<Vec<(String, &str)>, String> {
    match serde_json::from_str::<Members<'_>>(object) {
        Ok(Members(members)) => Ok(members),
        Err(error) => Err(describe(&error)),
    }
}

/// Checks what the syntax of a JSON text leaves open: levels, names that are there twice, halves of surrogate pairs.
/// `json` is a value that has passed a parser.
///
/// # Errors
/// A sentence.
pub(super) fn inspect(json: &str) -> Result<(), String> {
    let bytes = json.as_bytes();
    // For each open level the names seen so far; of a list none.
    let mut open: Vec<HashSet<String>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' if open.len() == MOST_LEVELS => return Err(format!("is deeper than {MOST_LEVELS} levels")),
            b'{' | b'[' => open.push(HashSet::new()),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = end_of_text(bytes, at);
                let text: String = serde_json::from_str(&json[at..end]).map_err(|error| describe(&error))?;
                let follows = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace());
                if let (Some(b':'), Some(names)) = (follows, open.last_mut())
                    && !names.insert(text)
                {
                    return Err(format!("has the name {} twice in one object", &json[at..end]));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Returns `object` with one more member, every other byte as it was. An empty text stands for `{}`.
///
/// # Errors
/// A sentence, if `object` is no JSON object.
pub(super) fn with_member(object: &str, name: &str, value: &str, existing: Existing) -> Result<String, String> {
    let object = if object.is_empty() { "{}" } else { object };
    let members = members(object)?;
    if let Some((_, old)) = members.iter().find(|(other, _)| other == name) {
        return Ok(match existing {
            Existing::Keep => object.to_owned(),
            Existing::Replace => {
                // `old` is a part of `object`.
                let start = old.as_ptr() as usize - object.as_ptr() as usize;
                format!("{}{value}{}", &object[..start], &object[start + old.len()..])
            }
        });
    }
    let end = object.rfind('}').expect("an object ends with a brace");
    let comma = if members.is_empty() { "" } else { "," };
    Ok(format!("{}{comma}{}:{value}{}", &object[..end], quoted(name), &object[end..]))
}

/// The JSON text of a string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What is wrong with a JSON text of one line.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = match whole.strip_suffix(&position).unwrap_or(&whole) {
        "unexpected end of hex escape" | "lone leading surrogate in hex escape" => "half of a surrogate pair",
        message => message,
    };
    match error.classify() {
        Category::Data => message.to_owned(),
        Category::Io | Category::Syntax | Category::Eof => {
            format!("not JSON: {message} at column {}", error.column())
        }
    }
}

/// What a JSON value is, for messages.
pub(super) fn type_of(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Offset behind the closing quote of the text that starts at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

struct Members<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, &'de str)> = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let value: &'de RawValue = map.next_value()?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the field {} is there twice", quoted(&name))));
            }
            members.push((name, value.get()));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn added(object: &str, existing: Existing, expected: &str) {
        assert_eq!(with_member(object, "import", "\"x\"", existing).as_deref(), Ok(expected));
    }

    #[test]
    fn a_member_is_added_and_all_else_keeps_its_bytes() {
        added("", Existing::Keep, r#"{"import":"x"}"#);
        added("{ }", Existing::Keep, r#"{ "import":"x"}"#);
        added(r#"{ "a" : 1.0e2 }"#, Existing::Keep, r#"{ "a" : 1.0e2 ,"import":"x"}"#);
        added(r#"{"a":{"import":"}"}}"#, Existing::Replace, r#"{"a":{"import":"}"},"import":"x"}"#);
    }

    #[test]
    fn a_member_that_is_there_is_kept_or_replaced_in_its_place() {
        added(r#"{"import": 7 ,"b":2}"#, Existing::Keep, r#"{"import": 7 ,"b":2}"#);
        added(r#"{"import": 7 ,"b":2}"#, Existing::Replace, r#"{"import": "x" ,"b":2}"#);
        added(r#"{"\u0069mport":[1,{"a":2}]}"#, Existing::Replace, r#"{"\u0069mport":"x"}"#);
    }

    #[track_caller]
    fn refused(json: &str, expected: &str) {
        assert_eq!(inspect(json), Err(expected.to_owned()));
    }

    #[test]
    fn what_a_parser_lets_pass_is_found() {
        refused(r#"{"a":{"b":1,"\u0062":2}}"#, r#"has the name "\u0062" twice in one object"#);
        refused(r#"{"a":"\ud800"}"#, "not JSON: half of a surrogate pair at column 8");
        refused(&format!("{}{}", "[".repeat(65), "]".repeat(65)), "is deeper than 64 levels");
        assert_eq!(inspect(&format!("{}{}", "[".repeat(64), "]".repeat(64))), Ok(()));
        assert_eq!(inspect(r#"{"a":1e999,"b":[{"a":"a"},{"a":"\"}"}],"c":"\u0000"}"#), Ok(()));
    }
}
