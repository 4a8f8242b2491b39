//! The bounds of one memory, as far as they can be seen without a store. For an import that must not write anything if a
//! line is bad; otherwise the engine alone refuses.
use super::import::Item;
use crate::contract::types::{Content, Error, Refusal};

const MOST_TEXT: usize = 1024 * 1024;
const MOST_METADATA: usize = 64 * 1024;
const MOST_NAME: usize = 256;
const MOST_LINKS: usize = 64;

/// Refuses what no engine would take.
///
/// # Errors
/// `invalid-argument` and `limit-exceeded`, with the field as their place.
pub(super) fn check(item: &Item) -> Result<(), Error> {
    match item {
        Item::Add(content) => check_content(content),
        // An erased memory keeps its place and loses its text.
        Item::Archive(archive) if archive.present.memory.content.text.is_empty() => Ok(()),
        Item::Archive(archive) => check_content(&archive.present.memory.content),
    }
}

fn check_content(content: &Content) -> Result<(), Error> {
    if content.text.trim().is_empty() {
        return Err(invalid("text", "the text is blank".to_owned()));
    }
    most("text", content.text.len(), MOST_TEXT, "bytes")?;
    most("metadata", content.metadata.len(), MOST_METADATA, "bytes")?;
    most("links", content.links.len(), MOST_LINKS, "links")?;
    let names = [
        ("key", &content.key),
        ("user", &content.scope.user),
        ("agent", &content.scope.agent),
        ("app", &content.scope.app),
        ("run", &content.scope.run),
        ("actor", &content.actor),
    ];
    for (place, name) in names {
        if let Some(name) = name {
            check_name(place, name)?;
        }
    }
    match (content.valid_from, content.valid_to) {
        (Some(from), Some(to)) if to <= from => Err(invalid("valid_to", "is not above valid_from".to_owned())),
        _ => Ok(()),
    }
}

fn check_name(place: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid(place, "is empty".to_owned()));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(place, "has control characters".to_owned()));
    }
    if name.trim().len() != name.len() {
        return Err(invalid(place, "has white space at its ends".to_owned()));
    }
    most(place, name.len(), MOST_NAME, "bytes")
}

fn most(place: &str, size: usize, limit: usize, unit: &str) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    let message = format!("has {size} {unit}; the limit is {limit}");
    Err(Error::LimitExceeded(Refusal { place: place.to_owned(), message }))
}

fn invalid(place: &str, message: String) -> Error {
    Error::InvalidArgument(Refusal { place: place.to_owned(), message })
}
