//! The limits of the contract, and what is refused before any cost. Every refusal names its place and says what would do.
use crate::Result;
use crate::calendar::{FIRST_MS, LAST_MS};
use crate::id::Id;
use crate::json::{self, Bounds, Fault, Json};
use crate::scope::{FIELDS, field, name};
use crate::types::{Content, Error, Link, Refusal, Relation, Scope, Timestamp};

pub(crate) const TEXT: usize = 1 << 20;
pub(crate) const NAME: usize = 256;
pub(crate) const METADATA: usize = 64 << 10;
pub(crate) const LINKS: usize = 64;
pub(crate) const ITEMS: usize = 1_000;
pub(crate) const CALL: usize = 16 << 20;
pub(crate) const QUERIES: usize = 100;
pub(crate) const QUERY: usize = 8 << 10;
pub(crate) const LIMIT: u32 = 1_000;
pub(crate) const IDEMPOTENCY_KEY: usize = 128;
const METADATA_BOUNDS: Bounds = Bounds { levels: 64, values: 1_024 };

/// Malformed, unknown or contradictory.
pub(crate) fn invalid(place: impl Into<String>, message: impl Into<String>) -> Error {
    Error::InvalidArgument(Refusal { place: place.into(), message: message.into() })
}

/// Above a limit.
pub(crate) fn too_much(place: impl Into<String>, message: impl Into<String>) -> Error {
    Error::LimitExceeded(Refusal { place: place.into(), message: message.into() })
}

fn at_most(place: &str, what: &str, size: usize, most: usize) -> Result<()> {
    if size > most {
        return Err(too_much(place, format!("{what} has {size} bytes, at most {most} are taken")));
    }
    Ok(())
}

/// The number of items of a call.
pub(crate) fn items(place: &str, count: usize) -> Result<()> {
    if count > ITEMS {
        return Err(too_much(place, format!("{count} items, at most {ITEMS} are taken in one call")));
    }
    Ok(())
}

/// `limit` of a list or a search.
pub(crate) fn limit(place: &str, limit: u32) -> Result<()> {
    match limit {
        0 => Err(invalid(place, "the limit is 0, at least 1 is needed")),
        1..=LIMIT => Ok(()),
        _ => Err(too_much(place, format!("the limit is {limit}, at most {LIMIT} is taken"))),
    }
}

/// The text of a memory.
pub(crate) fn text(place: &str, text: &str) -> Result<()> {
    at_most(place, "the text", text.len(), TEXT)?;
    if text.chars().all(char::is_whitespace) {
        return Err(invalid(place, "the text is blank"));
    }
    Ok(())
}

/// A key, an actor, a field of a scope or an own relation.
pub(crate) fn short(place: &str, what: &str, value: &str) -> Result<()> {
    at_most(place, what, value.len(), NAME)?;
    if value.is_empty() {
        return Err(invalid(place, format!("{what} is empty; leave it out instead")));
    }
    if value.trim() != value {
        let message =
            if value.trim().is_empty() { "is blank; leave it out instead" } else { "begins or ends with white space" };
        return Err(invalid(place, format!("{what} {message}")));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(place, format!("{what} has a control character")));
    }
    Ok(())
}

/// Every field of a scope.
pub(crate) fn scope(place: &str, scope: &Scope) -> Result<()> {
    for f in FIELDS {
        if let Some(value) = field(scope, f) {
            short(&format!("{place}.{}", name(f)), &format!("the {}", name(f)), value)?;
        }
    }
    Ok(())
}

/// Years 1 to 9999.
pub(crate) fn time(place: &str, at: Option<Timestamp>) -> Result<()> {
    match at {
        Some(at) if !(FIRST_MS..=LAST_MS).contains(&at) => {
            Err(invalid(place, "the time lies outside the years 1 to 9999"))
        }
        _ => Ok(()),
    }
}

/// Metadata: a JSON object within bounds. An empty text stands for `{}`.
pub(crate) fn metadata(place: &str, text: &str) -> Result<Json> {
    at_most(place, "the metadata", text.len(), METADATA)?;
    if text.is_empty() {
        return Ok(Json::Object(vec![]));
    }
    match json::parse(text, METADATA_BOUNDS) {
        Ok(object @ Json::Object(_)) => Ok(object),
        Ok(_) => Err(invalid(place, "the metadata is not a JSON object")),
        Err(Fault::Malformed(what)) => Err(invalid(place, format!("the metadata {what}"))),
        Err(Fault::TooLarge(what)) => Err(too_much(place, format!("the metadata {what}"))),
    }
}

/// The text of an id.
pub(crate) fn id(place: &str, text: &str) -> Result<Id> {
    Id::parse(text)
        .ok_or_else(|| invalid(place, "this is no id: ids are 36 characters, hexadecimal in lower case with hyphens"))
}

fn links(place: &str, links: &[Link]) -> Result<()> {
    if links.len() > LINKS {
        return Err(too_much(place, format!("{} links, at most {LINKS} are taken", links.len())));
    }
    for (n, link) in links.iter().enumerate() {
        let place = format!("{place}[{n}]");
        id(&format!("{place}.target"), &link.target)?;
        if let Relation::Other(own) = &link.relation {
            let place = format!("{place}.relation");
            short(&place, "the relation", own)?;
            if ["supersedes", "may-supersede", "duplicates", "derived-from"].contains(&own.as_str()) {
                return Err(invalid(place, format!("{own:?} is a relation of the contract, not an own name")));
            }
        }
        if links[..n].contains(link) {
            return Err(invalid(place, "the link is there twice"));
        }
    }
    Ok(())
}

/// Everything that can be said of one memory by itself.
pub(crate) fn content(place: &str, content: &Content) -> Result<()> {
    text(&format!("{place}.text"), &content.text)?;
    scope(&format!("{place}.scope"), &content.scope)?;
    if let Some(key) = &content.key {
        short(&format!("{place}.key"), "the key", key)?;
    }
    if let Some(actor) = &content.actor {
        short(&format!("{place}.actor"), "the actor", actor)?;
    }
    metadata(&format!("{place}.metadata"), &content.metadata)?;
    for (name, at) in [
        ("at", content.at),
        ("valid-from", content.valid_from),
        ("valid-to", content.valid_to),
        ("expires-at", content.expires_at),
    ] {
        time(&format!("{place}.{name}"), at)?;
    }
    if let (Some(from), Some(to)) = (content.valid_from, content.valid_to)
        && to <= from
    {
        return Err(invalid(format!("{place}.valid-to"), "the validity ends before it begins"));
    }
    links(&format!("{place}.links"), &content.links)
}

/// How many bytes of the call's share an item takes.
pub(crate) fn size(content: &Content) -> usize {
    content.text.len() + content.metadata.len()
}

/// The sizes of all items of one call together.
pub(crate) fn call(place: &str, sizes: impl Iterator<Item = usize>) -> Result<()> {
    let sum: usize = sizes.sum();
    if sum > CALL {
        return Err(too_much(
            place,
            format!("the items have {sum} bytes together, at most {CALL} are taken in one call"),
        ));
    }
    Ok(())
}

/// The nearest of the valid names, for a message; none if nothing is near.
pub(crate) fn nearest<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = valid.into_iter().map(|v| (distance(name, v), v)).min()?;
    (near.0 <= name.chars().count().max(3) / 3 + 1).then_some(near.1)
}

/// Levenshtein distance, over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate().take(64) {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        match result {
            Err(Error::InvalidArgument(r)) => format!("invalid {}: {}", r.place, r.message),
            Err(Error::LimitExceeded(r)) => format!("limit {}: {}", r.place, r.message),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn short_names() {
        let check =
            |value: &str, expected: &str| assert_eq!(message(short("p", "the key", value)), expected, "{value:?}");
        check("locomo/D1:3 é\u{200d}", "Ok(())");
        check("", "invalid p: the key is empty; leave it out instead");
        check("  ", "invalid p: the key is blank; leave it out instead");
        check("a ", "invalid p: the key begins or ends with white space");
        check("a\u{0}b", "invalid p: the key has a control character");
        check(&"k".repeat(257), "limit p: the key has 257 bytes, at most 256 are taken");
    }

    #[test]
    fn texts() {
        let check = |value: &str, expected: &str| assert_eq!(message(text("t", value)), expected);
        check(" a\u{0} ", "Ok(())");
        check("", "invalid t: the text is blank");
        check(" \n\u{3000}\t", "invalid t: the text is blank");
        check(&"x".repeat(TEXT + 1), "limit t: the text has 1048577 bytes, at most 1048576 are taken");
    }

    #[test]
    fn metadata_is_an_object_within_bounds() {
        let check = |value: &str, expected: &str| {
            assert_eq!(message(metadata("m", value).map(|_| ())), expected, "{value:.40}");
        };
        check("", "Ok(())");
        check(r#"{"a":1}"#, "Ok(())");
        check("[1]", "invalid m: the metadata is not a JSON object");
        check(r#"{"a":"#, "invalid m: the metadata ends too early at byte 5");
        check(
            &format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200)),
            "limit m: the metadata has more than 64 levels",
        );
        let many: Vec<String> = (0..10_000).map(|n| format!("\"{n}\":1")).collect();
        check(&format!("{{{}}}", many.join(",")), "limit m: the metadata has 88891 bytes, at most 65536 are taken");
        let many: Vec<String> = (0..1_025).map(|n| format!("\"{n}\":1")).collect();
        check(&format!("{{{}}}", many.join(",")), "limit m: the metadata has more than 1024 values");
    }

    #[test]
    fn times() {
        assert!(
            time("at", Some(FIRST_MS)).is_ok() && time("at", Some(LAST_MS)).is_ok() && time("at", Some(-1)).is_ok()
        );
        assert_eq!(message(time("at", Some(LAST_MS + 1))), "invalid at: the time lies outside the years 1 to 9999");
        assert!(time("at", Some(FIRST_MS - 1)).is_err());
    }

    #[test]
    fn spelling() {
        assert_eq!(nearest("usr", ["user", "run", "metadata"]), Some("user"));
        assert_eq!(nearest("colour", ["user", "run"]), None);
    }
}
