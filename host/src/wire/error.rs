//! Errors as JSON and as sentences. Never decides an exit code: that is the doors' business.
use serde::Serialize;

use crate::contract::types::{Error, Refusal};

/// What is printed as `{"error":{…}}`. Absent fields are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ErrorObject {
    /// A case of the contract's `error` in kebab case, or `interrupted`.
    pub(crate) kind: &'static str,
    /// One sentence in lower case without full stop.
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// Of the input, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u32>,
}

impl ErrorObject {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, line: None, hint: None, retry_after_ms: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// The sentence for people, with line and place in front.
    pub(crate) fn sentence(&self) -> String {
        let line = self.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        format!("{line}{place}{}", self.message)
    }
}

impl From<&Error> for ErrorObject {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidArgument(refusal) => refused("invalid-argument", refusal),
            Error::LimitExceeded(refusal) => refused("limit-exceeded", refusal),
            Error::NotFound(what) => Self::new("not-found", or(what, "there is no such memory")),
            Error::Conflict(what) => {
                Self::new("conflict", or(what, "the memory has changed meanwhile")).hint("read it again and repeat")
            }
            Error::AccessDenied(what) => Self::new("access-denied", or(what, "the store does not allow this")),
            Error::Busy(ms) => Self {
                retry_after_ms: Some(*ms),
                ..Self::new("busy", "the queue is full").hint(format!("repeat the same in {ms} ms"))
            },
            Error::Unavailable(what) => Self::new("unavailable", or(what, "the host has no such capability")),
            Error::Timeout => Self::new("timeout", "the deadline of the call passed"),
            Error::Corrupt(what) => Self::new("corrupt", or(what, "stored data cannot be read"))
                .hint("`cairn doctor --deep` says what is damaged"),
            Error::Internal(what) => Self::new("internal", or(what, "a defect of the engine or its host"))
                .hint("what was answered before is durable; look before you repeat, and please report this"),
        }
    }
}

/// The place within one item: `items[3].metadata` of a call is `metadata` to whoever wrote the item. A place that is the
/// item as a whole is none.
fn own_place(place: &str) -> Option<&str> {
    let place = ["request.", "selection."].iter().find_map(|of| place.strip_prefix(of)).unwrap_or(place);
    let rest = ["items[", "queries[", "targets["].iter().find_map(|list| place.strip_prefix(list));
    let own = match rest.and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) => rest.strip_prefix('.').unwrap_or(rest),
        None => place,
    };
    (!own.is_empty()).then_some(own)
}

fn refused(kind: &'static str, refusal: &Refusal) -> ErrorObject {
    ErrorObject {
        place: own_place(&refusal.place).map(str::to_owned),
        ..ErrorObject::new(kind, refusal.message.clone())
    }
}

fn or(message: &str, otherwise: &str) -> String {
    if message.is_empty() { otherwise.to_owned() } else { message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &Error, json: &str, sentence: &str) {
        let object = ErrorObject::from(error);
        assert_eq!(serde_json::to_string(&object).unwrap(), json);
        assert_eq!(object.sentence(), sentence);
    }

    #[test]
    fn an_error_is_an_object_and_a_sentence() {
        check(
            &Error::InvalidArgument(Refusal { place: "queries[0].filter#/AND/1".into(), message: "no field".into() }),
            r#"{"kind":"invalid-argument","message":"no field","place":"filter#/AND/1"}"#,
            "filter#/AND/1: no field",
        );
        check(
            &Error::LimitExceeded(Refusal { place: String::new(), message: "too much".into() }),
            r#"{"kind":"limit-exceeded","message":"too much"}"#,
            "too much",
        );
        check(
            &Error::Busy(50),
            r#"{"kind":"busy","message":"the queue is full","hint":"repeat the same in 50 ms","retry_after_ms":50}"#,
            "the queue is full",
        );
        check(
            &Error::NotFound(String::new()),
            r#"{"kind":"not-found","message":"there is no such memory"}"#,
            "there is no such memory",
        );
        check(
            &Error::Timeout,
            r#"{"kind":"timeout","message":"the deadline of the call passed"}"#,
            "the deadline of the call passed",
        );
    }

    #[test]
    fn a_line_stands_before_the_place() {
        let mut object = ErrorObject::new("invalid-argument", "is empty").line(7);
        object.place = Some("text".into());
        assert_eq!(object.sentence(), "line 7: text: is empty");
    }

    #[test]
    fn the_place_is_that_within_the_item() {
        for (place, own) in [
            ("items[12].metadata#/a", Some("metadata#/a")),
            ("targets[0]", None),
            ("scope.user", Some("scope.user")),
            ("limit", Some("limit")),
            ("", None),
        ] {
            assert_eq!(own_place(place), own, "{place}");
        }
    }
}
