//! Arguments that several verbs share: which memory, which times, which kind. Never opens anything.
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::Failure;
use crate::contract::memory::Promise;
use crate::contract::memory::{Including, ScopedId, ScopedKey, Target, TimePatch, View, WriteOptions};
use crate::contract::types::Scope;
use crate::times;

/// One memory, by id or by key.
#[derive(clap::Args, Debug)]
pub(crate) struct One {
    /// Id of the memory
    #[arg(value_name = "ID", required_unless_present = "key", conflicts_with = "key")]
    id: Option<String>,
    /// The memory of this key in exactly the scope given
    #[arg(long)]
    key: Option<String>,
}

impl One {
    pub(crate) fn target(&self, scope: Scope) -> Target {
        match (&self.id, &self.key) {
            (Some(id), _) => by_id(id, scope),
            (None, key) => by_key(key.as_deref().unwrap_or_default(), scope),
        }
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// As the caller named it.
    pub(crate) fn name(&self) -> &str {
        self.id.as_deref().or(self.key.as_deref()).unwrap_or_default()
    }
}

/// Memories, by id or by key.
#[derive(clap::Args, Debug)]
pub(crate) struct Several {
    /// Ids of the memories
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// A memory by its key in exactly the scope given; may be repeated
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

impl Several {
    /// The targets, ids first.
    pub(crate) fn targets(&self, scope: &Scope) -> Result<Vec<Target>, Failure> {
        if self.ids.is_empty() && self.keys.is_empty() {
            return Err(Failure::usage("no memory is named", "give an ID, or --key KEY with its scope"));
        }
        let ids = self.ids.iter().map(|id| by_id(id, scope.clone()));
        let keys = self.keys.iter().map(|key| by_key(key, scope.clone()));
        Ok(ids.chain(keys).collect())
    }

    /// As the caller named them, in the same order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().chain(&self.keys).map(String::as_str)
    }

    /// For each target the key that names it.
    pub(crate) fn key(&self, place: usize) -> Option<&str> {
        place.checked_sub(self.ids.len()).and_then(|place| self.keys.get(place)).map(String::as_str)
    }
}

/// A memory by id; within the scope, if there is one.
pub(crate) fn by_id(id: &str, scope: Scope) -> Target {
    if is_empty(&scope) { Target::Id(id.to_owned()) } else { Target::Within(ScopedId { scope, id: id.to_owned() }) }
}

pub(crate) fn by_key(key: &str, scope: Scope) -> Target {
    Target::Key(ScopedKey { scope, key: key.to_owned() })
}

/// Whether no field is set.
pub(crate) fn is_empty(scope: &Scope) -> bool {
    scope.user.is_none() && scope.agent.is_none() && scope.app.is_none() && scope.run.is_none()
}

/// The scope in words: `user ana, run s3`.
pub(crate) fn in_words(scope: &Scope) -> String {
    let fields = [("user", &scope.user), ("agent", &scope.agent), ("app", &scope.app), ("run", &scope.run)];
    let set = fields.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")));
    set.collect::<Vec<_>>().join(", ")
}

/// Takes the names of the list, and shows them in the help.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(
    list: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(list.iter().map(|(name, _)| *name)).map(|name| {
        let found = list.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).expect("the parser admits names of the list only")
    })
}

/// A time to set, or `none` to clear it.
pub(crate) fn time_patch(text: &str) -> Result<TimePatch, String> {
    if text == "none" {
        return Ok(TimePatch::Clear);
    }
    times::parse(text).map(TimePatch::Set).map_err(|reason| format!("{reason}; `none` clears it"))
}

/// Memories that are hidden unless asked for.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Hidden {
    /// Show hidden memories too
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = ["outdated", "expired", "deleted"])]
    include: Vec<String>,
    /// Show what was true at this time
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    as_of: Option<i64>,
    /// Show what the store knew at this time, in the versions of then
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    known_at: Option<i64>,
}

impl Hidden {
    pub(crate) fn view(&self) -> View {
        let mut including = Including::empty();
        for state in &self.include {
            including |= match state.as_str() {
                "outdated" => Including::OUTDATED,
                "expired" => Including::EXPIRED,
                _ => Including::DELETED,
            };
        }
        View { now: None, valid_at: self.as_of, known_at: self.known_at, including }
    }
}

/// What is live now.
pub(crate) fn present() -> View {
    Hidden::default().view()
}

pub(crate) fn write_options(deferred: bool) -> WriteOptions {
    WriteOptions { promise: if deferred { Promise::Deferred } else { Promise::Indexed }, idempotency_key: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(user: Option<&str>) -> Scope {
        Scope { user: user.map(str::to_owned), agent: None, app: None, run: Some("s3".into()) }
    }

    #[test]
    fn an_id_stays_within_the_scope_that_is_given() {
        let nowhere = Scope { user: None, agent: None, app: None, run: None };
        assert_eq!(by_id("1", nowhere.clone()), Target::Id("1".into()));
        assert_eq!(by_id("1", scope(None)), Target::Within(ScopedId { scope: scope(None), id: "1".into() }));
        assert_eq!(by_key("k", nowhere.clone()), Target::Key(ScopedKey { scope: nowhere, key: "k".into() }));
    }

    #[test]
    fn keys_stand_behind_ids() {
        let several = Several { ids: vec!["1".into(), "2".into()], keys: vec!["k".into()] };
        assert_eq!((0..4).map(|place| several.key(place)).collect::<Vec<_>>(), [None, None, Some("k"), None]);
        assert_eq!(several.names().collect::<Vec<_>>(), ["1", "2", "k"]);
    }

    #[test]
    fn a_scope_in_words_names_what_is_set() {
        assert_eq!(in_words(&scope(Some("ana"))), "user ana, run s3");
    }

    #[test]
    fn a_time_can_be_set_and_cleared() {
        assert_eq!(time_patch("none"), Ok(TimePatch::Clear));
        assert_eq!(time_patch("1970-01-02"), Ok(TimePatch::Set(86_400_000)));
        assert_eq!(
            time_patch("never"),
            Err("\"never\" is not a time: write 2023-05-08T13:56:00Z, 2023-05-08 or Unix milliseconds; `none` clears it".into())
        );
    }
}
