//! Real memories and queries: those that come with the program, or the user's. Reads the fields that a bench needs and
//! ignores others.
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::BenchArgs;
use crate::contract::types::{Content, Scope};
use crate::times;

static FACTS: &str = include_str!("../../../tests/data/facts-1k.jsonl");
static QUERIES: &str = include_str!("../../../tests/data/facts-queries.jsonl");

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Fact {
    pub(super) text: String,
    pub(super) user: Option<String>,
    run: Option<String>,
    actor: Option<String>,
    at: Option<String>,
    metadata: Option<Box<RawValue>>,
}

impl Fact {
    pub(super) fn scope(&self) -> Scope {
        Scope { user: self.user.clone(), ..Scope::default() }
    }

    /// Text and scope alone.
    pub(super) fn bare(&self) -> Content {
        Content::fact(self.text.clone(), self.scope())
    }

    /// With run, actor, event time and metadata.
    pub(super) fn whole(&self) -> anyhow::Result<Content> {
        let at = match &self.at {
            None => None,
            Some(at) => Some(times::parse(at).map_err(|error| anyhow::anyhow!("the time {at:?}: {error}"))?),
        };
        let metadata = self.metadata.as_ref().map(|metadata| metadata.get().to_owned()).unwrap_or_default();
        let scope = Scope { run: self.run.clone(), ..self.scope() };
        Ok(Content { scope, actor: self.actor.clone(), at, metadata, ..self.bare() })
    }
}

/// The memories of `--memories`, or those that come with the program.
pub(super) fn facts(args: &BenchArgs) -> anyhow::Result<Vec<Fact>> {
    lines(args.memories.as_deref(), FACTS)
}

/// The memories that come with the program.
pub(super) fn own() -> anyhow::Result<Vec<Fact>> {
    lines(None, FACTS)
}

/// The queries of `--queries`, or those that come with the program; at most 300.
pub(super) fn queries(args: &BenchArgs) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        query: String,
    }
    let lines: Vec<Line> = lines(args.queries.as_deref(), QUERIES)?;
    Ok(lines.into_iter().take(300).map(|line| line.query).collect())
}

/// The lines of `--texts`, or some of the memories that come with the program.
pub(super) fn texts(args: &BenchArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &args.texts else {
        let facts: Vec<Fact> = lines(None, FACTS)?;
        return Ok(facts.into_iter().take(256).map(|fact| fact.text).collect());
    };
    let read = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let texts: Vec<String> = read.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if texts.is_empty() {
        bail!("{} has no text", path.display());
    }
    Ok(texts)
}

/// The user with the most memories.
pub(super) fn heavy_user(facts: &[Fact]) -> Scope {
    let mut counts = std::collections::BTreeMap::new();
    for fact in facts {
        *counts.entry(&fact.user).or_insert(0_usize) += 1;
    }
    let user = counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(user, _)| user.clone());
    Scope { user, ..Scope::default() }
}

fn lines<T: DeserializeOwned>(path: Option<&Path>, own: &str) -> anyhow::Result<Vec<T>> {
    let place = path.map_or_else(|| "the program's own lines".to_owned(), |path| path.display().to_string());
    let read = match path {
        Some(path) => &std::fs::read_to_string(path).with_context(|| format!("cannot read {place}"))?,
        None => own,
    };
    let lines = read.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed: anyhow::Result<Vec<T>> = lines
        .map(|(number, line)| serde_json::from_str(line).with_context(|| format!("{place}, line {}", number + 1)))
        .collect();
    let parsed = parsed?;
    if parsed.is_empty() {
        bail!("{place} has no line");
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_facts_are_distinct_and_whole() {
        let facts: Vec<Fact> = lines(None, FACTS).unwrap();
        let texts: std::collections::BTreeSet<&str> = facts.iter().map(|fact| fact.text.as_str()).collect();
        assert_eq!((facts.len(), texts.len()), (1_000, 1_000));
        assert_eq!(heavy_user(&facts), Scope::user("u_heavy"));
        let first = facts[0].whole().unwrap();
        assert_eq!(first.metadata, r#"{"category": "event", "source": "import", "importance": 4}"#);
        assert_eq!(first.at, Some(1_730_833_260_000));
        assert!(facts.iter().all(|fact| fact.whole().is_ok()));
    }
}
