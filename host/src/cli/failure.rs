//! Decides once how a command ends: exit code, message and hint. Never prints.
use std::io;

use crate::config::ConfigError;
use crate::contract::types::Error;
use crate::open::OpenError;
use crate::transfer::TransferError;
use crate::wire::ErrorObject;

/// How a command ends that has said all it had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    /// What one asked for does not exist.
    Nothing = 3,
    Interrupted = 130,
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage, found here and not by the engine.
    Usage(ErrorObject),
    /// Everything else that has a message.
    Failed(ErrorObject),
    /// One thing was asked for, and it is not there.
    Nothing(ErrorObject),
    /// Whoever read the output has seen enough.
    ClosedPipe,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(ErrorObject::new("invalid-argument", message).hint(hint))
    }

    pub(crate) fn nothing(message: impl Into<String>) -> Self {
        Self::Nothing(ErrorObject::new("not-found", message))
    }

    /// A file that could not be used.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::Failed(ErrorObject::new("unavailable", format!("cannot {action} {}: {error}", path.display())))
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Nothing(_) => 3,
        }
    }

    pub(crate) fn error(&self) -> Option<&ErrorObject> {
        match self {
            Self::Usage(error) | Self::Failed(error) | Self::Nothing(error) => Some(error),
            Self::ClosedPipe => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(with_hint((&error).into()))
    }
}

/// Adds what the command line can do about an error of the engine.
pub(crate) fn with_hint(error: ErrorObject) -> ErrorObject {
    if error.hint.is_some() {
        return error;
    }
    let place = error.place.as_deref().unwrap_or_default();
    let hint = if place.starts_with("filter") {
        r#"a filter looks like '{"user":"ana","metadata.project":{"in":["books","ops"]}}'"#
    } else {
        match error.kind {
            "limit-exceeded" => "`cairn component --wit` prints the table of limits",
            "timeout" => "what was acknowledged before is durable; repeat the command",
            "access-denied" => "the store may be read-only; --data DIR chooses another",
            _ => return error,
        }
    };
    error.hint(hint)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::Failed(ErrorObject::new("unavailable", format!("cannot read or write: {error}")))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        if error.io_error_kind() == Some(io::ErrorKind::BrokenPipe) {
            return Self::ClosedPipe;
        }
        Self::Failed(ErrorObject::new("internal", format!("cannot print the answer: {error}")))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let mut object = ErrorObject::new("invalid-argument", chain(&error));
        object.hint = error.hint();
        Self::Usage(object)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        if error.is_other_model() {
            let hint = "--model NAME goes on with the model of the store; `cairn reembed` moves the store to the one given here";
            return Self::Failed(ErrorObject::new("unavailable", chain(&error)).hint(hint));
        }
        let object = match error {
            OpenError::Store(error) => {
                let object = ErrorObject::from(&Error::from(error));
                let hint = match object.kind {
                    "unavailable" => "--wait SECONDS waits longer for a store in use, --data DIR chooses another one",
                    "corrupt" => "keep a copy of the directory as it is, then restore a backup or import an export",
                    _ => "--data DIR chooses another one",
                };
                object.hint(hint)
            }
            OpenError::Model(error) => {
                ErrorObject::new("unavailable", chain(&error)).hint("`cairn model list` shows what is there")
            }
            error @ OpenError::Component(_) => {
                ErrorObject::new("internal", chain(&error)).hint("a defect of this program; please report it")
            }
        };
        Self::Failed(object)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return Self::ClosedPipe;
            }
            cause = error.source();
        }
        let sentence = chain(&error);
        Self::Failed(match &error {
            TransferError::Store { error } | TransferError::Stopped { error, .. } => {
                with_hint(ErrorObject { message: sentence, ..ErrorObject::from(error) })
            }
            TransferError::Strict { .. } => {
                ErrorObject::new("invalid-argument", sentence).hint("without --strict the good lines are taken")
            }
            TransferError::Interchange { .. } => {
                ErrorObject::new("invalid-argument", sentence).hint("a newer cairn reads it")
            }
            TransferError::Read { .. } | TransferError::Write { .. } => ErrorObject::new("unavailable", sentence),
        })
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(ErrorObject::new("internal", format!("{error:#}")))
    }
}

/// An error and its causes as one sentence.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::types::Refusal;

    #[test]
    fn each_way_to_end_has_its_code() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).code(), 0);
        assert_eq!(Failure::from(Error::Timeout).code(), 1);
        assert_eq!(Failure::usage("a", "b").code(), 2);
        assert_eq!(Failure::nothing("a").code(), 3);
        assert_eq!(Failure::from(ConfigError::NoHome).code(), 2);
    }

    #[test]
    fn errors_of_the_engine_get_a_hint() {
        let error =
            Error::InvalidArgument(Refusal { place: "queries[0].filter#/x".into(), message: "no field `x`".into() });
        let failure = Failure::from(error);
        assert_eq!(
            failure.error().unwrap(),
            &ErrorObject {
                place: Some("filter#/x".into()),
                ..ErrorObject::new("invalid-argument", "no field `x`")
                    .hint(r#"a filter looks like '{"user":"ana","metadata.project":{"in":["books","ops"]}}'"#)
            }
        );
    }

    #[test]
    fn the_chain_of_causes_is_one_sentence() {
        let source = io::Error::other("disk on fire");
        let error = ConfigError::Read { path: "cairn.toml".into(), source };
        assert_eq!(chain(&error), "cannot read cairn.toml: disk on fire");
    }
}
