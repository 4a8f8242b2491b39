//! `--metadata` in its three spellings: `name=text`, `name:=JSON`, `{JSON}`. Values are kept as they are written: numbers
//! keep their spelling, and a dot in a name is a dot.
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failure::Failure;

const HINT: &str = "write name=text, name:=JSON or '{\"name\": …}'";

/// Merges the arguments into one JSON object; of equal names the last one counts. None without arguments; a single
/// object goes through as it is.
pub(crate) fn object(arguments: &[String]) -> Result<Option<String>, Failure> {
    match arguments {
        [] => return Ok(None),
        [only] if only.trim_start().starts_with('{') => {
            members(only)?;
            return Ok(Some(only.clone()));
        }
        _ => {}
    }
    let mut merged: Vec<(String, Box<RawValue>)> = Vec::new();
    for argument in arguments {
        for (name, value) in members(argument)? {
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some(member) => member.1 = value,
                None => merged.push((name, value)),
            }
        }
    }
    let mut object = String::from("{");
    for (i, (name, value)) in merged.iter().enumerate() {
        if i > 0 {
            object.push(',');
        }
        object.push_str(&serde_json::to_string(name)?);
        object.push(':');
        object.push_str(value.get());
    }
    object.push('}');
    Ok(Some(object))
}

fn members(argument: &str) -> Result<Vec<(String, Box<RawValue>)>, Failure> {
    let wrong = |reason: String| Failure::usage(format!("--metadata {argument:?}: {reason}"), HINT);
    if argument.trim_start().starts_with('{') {
        let Members(members) = serde_json::from_str(argument).map_err(|error| wrong(error.to_string()))?;
        return Ok(members);
    }
    let Some((name, value)) = argument.split_once('=') else {
        return Err(wrong("there is no `=` in it".to_owned()));
    };
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (name, RawValue::from_string(value.trim().to_owned()).map_err(|error| wrong(error.to_string()))?),
        None => (name, serde_json::value::to_raw_value(value)?),
    };
    if name.is_empty() {
        return Err(wrong("there is no name before the `=`".to_owned()));
    }
    Ok(vec![(name.to_owned(), value)])
}

/// The members of one object in order. A name that comes twice is an error, as it is for the engine.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("the name {name:?} comes twice")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Result<Option<&str>, &str>) {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let seen = object(&arguments).map_err(|failure| failure.error().unwrap().message.clone());
        assert_eq!(seen.as_ref().map(Option::as_deref).map_err(String::as_str), expected);
    }

    #[test]
    fn texts_and_json_are_merged() {
        check(&[], Ok(None));
        check(&["project=books"], Ok(Some(r#"{"project":"books"}"#)));
        check(&["a.b=x=y", "n:=1.50", "t:=[1, null]"], Ok(Some(r#"{"a.b":"x=y","n":1.50,"t":[1, null]}"#)));
        check(&["empty=", "q=say \"hi\""], Ok(Some(r#"{"empty":"","q":"say \"hi\""}"#)));
        check(&["a=1", r#"{"b": 1e2, "a":{"c":0.10}}"#], Ok(Some(r#"{"a":{"c":0.10},"b":1e2}"#)));
        check(&["a=1", "a:=null"], Ok(Some(r#"{"a":null}"#)));
    }

    #[test]
    fn a_single_object_goes_through_byte_for_byte() {
        check(&["{ \"a\" : 1.0,\n \"b\":\"\\u00e4\" }"], Ok(Some("{ \"a\" : 1.0,\n \"b\":\"\\u00e4\" }")));
    }

    #[test]
    fn what_is_none_of_the_three_is_refused() {
        check(&["colour"], Err(r#"--metadata "colour": there is no `=` in it"#));
        check(&["=x"], Err(r#"--metadata "=x": there is no name before the `=`"#));
        check(&["n:=red"], Err(r#"--metadata "n:=red": expected value at line 1 column 1"#));
        check(&["n:=1 2"], Err(r#"--metadata "n:=1 2": trailing characters at line 1 column 3"#));
        check(
            &[r#"{"a":1,"a":2}"#],
            Err(r#"--metadata "{\"a\":1,\"a\":2}": the name "a" comes twice at line 1 column 13"#),
        );
    }
}
