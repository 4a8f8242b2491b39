//! The formats that an import takes, how they are told apart, and how text that is no JSON falls into memories. No files
//! and no engine.
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How an input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The interchange format: one JSON object a line.
    Jsonl,
    /// One memory a line.
    Text,
    /// One memory a paragraph, list item or block of code; headings are left out.
    Markdown,
    /// A JSON list of chat messages, one memory each.
    Chat,
}

impl Format {
    /// All formats, for help texts and completions.
    pub const ALL: [Format; 4] = [Format::Jsonl, Format::Text, Format::Markdown, Format::Chat];

    /// Tells the format by the extension of a file, else by the first byte of `beginning` that is not white space.
    #[must_use]
    pub fn guess(path: Option<&Path>, beginning: &[u8]) -> Format {
        let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
        match extension.map(str::to_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => return Format::Jsonl,
            Some("txt" | "text") => return Format::Text,
            Some("md" | "markdown") => return Format::Markdown,
            _ => {}
        }
        let beginning = beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(beginning);
        match beginning.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None | Some(b'{') => Format::Jsonl,
            Some(b'[') => Format::Chat,
            Some(b'#') => Format::Markdown,
            Some(_) => Format::Text,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Format::Jsonl => "jsonl",
            Format::Text => "text",
            Format::Markdown => "markdown",
            Format::Chat => "chat",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Format::ALL.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("{name:?} is no format: choose jsonl, text, markdown or chat"))
    }
}

/// A piece of text and the lines that it comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Offset of the end of its last line in the input.
    pub(super) end: u64,
    pub(super) text: String,
}

/// Splits Markdown, line by line. Holds one piece at most.
#[derive(Default)]
pub(super) struct Markdown {
    piece: Option<Piece>,
    /// The fence that ends the block of code, if `piece` is one.
    fence: Option<String>,
    /// Within the settings at the head of a file, between lines of three hyphens.
    settings: bool,
}

impl Markdown {
    /// Takes the next line, which ends at the offset `end`, and returns a piece that it completes.
    pub(super) fn line(&mut self, number: u64, end: u64, line: &str) -> Option<Piece> {
        let words = line.trim();
        if self.settings {
            self.settings = words != "---";
            return None;
        }
        if number == 1 && words == "---" {
            self.settings = true;
            return None;
        }
        if let Some(fence) = &self.fence {
            let closes = words.starts_with(fence.as_str()) && words.trim_start_matches(&fence[..1]).is_empty();
            self.append(number, end, line);
            if closes {
                self.fence = None;
                return self.piece.take();
            }
            return None;
        }
        if let Some(fence) = opening_fence(words) {
            let before = self.piece.take();
            self.append(number, end, line);
            self.fence = Some(fence);
            return before;
        }
        if words.is_empty() || is_heading(words) {
            return self.piece.take();
        }
        if is_rule(words) {
            // Under a paragraph of one line this makes a heading of it.
            let above = self.piece.take();
            return above.filter(|piece| piece.first != piece.last || words.starts_with('*'));
        }
        if let Some(item) = list_item(words) {
            let before = self.piece.take();
            if !item.is_empty() {
                self.append(number, end, item);
            }
            return before;
        }
        self.append(number, end, words);
        None
    }

    /// Returns the piece that the end of the input, or a line that cannot be read, completes.
    pub(super) fn end(&mut self) -> Option<Piece> {
        self.fence = None;
        self.piece.take()
    }

    fn append(&mut self, number: u64, end: u64, text: &str) {
        match &mut self.piece {
            Some(piece) => {
                piece.text.push('\n');
                piece.text.push_str(text);
                piece.last = number;
                piece.end = end;
            }
            None => self.piece = Some(Piece { first: number, last: number, end, text: text.to_owned() }),
        }
    }
}

/// The elements of a JSON list, each with its text, until the end or the first fault of syntax.
pub(super) fn elements(list: &str) -> (Vec<&str>, Option<serde_json::Error>) {
    let mut elements: Vec<&RawValue> = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(list);
    let read = deserializer.deserialize_seq(Elements(&mut elements)).and_then(|()| deserializer.end());
    (elements.into_iter().map(RawValue::get).collect(), read.err())
}

struct Elements<'v, 'a>(&'v mut Vec<&'a RawValue>);

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            self.0.push(element);
        }
        Ok(())
    }
}

/// The characters that close the block of code which this line opens.
fn opening_fence(words: &str) -> Option<String> {
    ['`', '~'].into_iter().find_map(|mark| {
        let length = words.chars().take_while(|other| *other == mark).count();
        // Behind backticks, further ones make it code within a line.
        let opens = length >= 3 && !(mark == '`' && words[length..].contains('`'));
        opens.then(|| words[..length].to_owned())
    })
}

fn is_heading(words: &str) -> bool {
    let level = words.chars().take_while(|mark| *mark == '#').count();
    (1..=6).contains(&level) && (words.len() == level || words[level..].starts_with([' ', '\t']))
}

/// A line across the page, or the underline of a heading.
fn is_rule(words: &str) -> bool {
    let bare: String = words.chars().filter(|mark| !mark.is_whitespace()).collect();
    ['-', '*', '_', '='].into_iter().any(|mark| bare.len() >= 3 && bare.chars().all(|other| other == mark))
}

/// What stands behind the mark of a list item.
fn list_item(words: &str) -> Option<&str> {
    let digits = words.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if (1..=9).contains(&digits) {
        words[digits..].strip_prefix(['.', ')'])?
    } else {
        words.strip_prefix(['-', '*', '+'])?
    };
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let item = rest.trim();
    let task = ["[ ] ", "[x] ", "[X] "].into_iter().find_map(|mark| item.strip_prefix(mark));
    Some(task.unwrap_or(item).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn guesses(path: Option<&str>, beginning: &str, expected: Format) {
        assert_eq!(Format::guess(path.map(Path::new), beginning.as_bytes()), expected);
    }

    #[test]
    fn a_format_is_told_by_the_extension_and_then_by_the_first_byte() {
        guesses(Some("a/b.jsonl"), "[", Format::Jsonl);
        guesses(Some("NOTES.MD"), "{", Format::Markdown);
        guesses(Some("a.txt"), "{", Format::Text);
        guesses(Some("a.json"), " \n[{", Format::Chat);
        guesses(Some("a.json"), "{", Format::Jsonl);
        guesses(None, "\u{feff}{", Format::Jsonl);
        guesses(None, "# Notes", Format::Markdown);
        guesses(None, "She likes tea", Format::Text);
        guesses(None, "", Format::Jsonl);
    }

    #[test]
    fn formats_have_names() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!(
            "yaml".parse::<Format>(),
            Err("\"yaml\" is no format: choose jsonl, text, markdown or chat".to_owned())
        );
    }

    #[track_caller]
    fn splits(markdown: &str, expected: &[(u64, u64, &str)]) {
        let mut splitter = Markdown::default();
        let mut pieces = Vec::new();
        for (n, line) in markdown.lines().enumerate() {
            pieces.extend(splitter.line(n as u64 + 1, 0, line));
        }
        pieces.extend(splitter.end());
        let pieces: Vec<_> = pieces.iter().map(|piece| (piece.first, piece.last, piece.text.as_str())).collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn paragraphs_and_list_items_are_pieces() {
        splits("One\ntwo.\n\n\nThree.", &[(1, 2, "One\ntwo."), (5, 5, "Three.")]);
        splits("- a\n- b\n  more\n* c\n+ d", &[(1, 1, "a"), (2, 3, "b\nmore"), (4, 4, "c"), (5, 5, "d")]);
        splits("1. a\n22) b\n3.5 is a number", &[(1, 1, "a"), (2, 3, "b\n3.5 is a number")]);
        splits("- [ ] open\n- [x] done\n-", &[(1, 1, "open"), (2, 2, "done")]);
        splits("*bold* words\n-1 is a number", &[(1, 2, "*bold* words\n-1 is a number")]);
    }

    #[test]
    fn headings_rules_and_settings_are_left_out() {
        splits("---\ntitle: x\n---\n# A\ntext\n## B\n\n#tag", &[(5, 5, "text"), (8, 8, "#tag")]);
        splits("Title\n=====\ntext\n\n---\n\n***", &[(3, 3, "text")]);
    }

    #[test]
    fn a_block_of_code_is_one_piece() {
        splits("a\n```rust\nfn x() {\n\n}\n```\nb", &[(1, 1, "a"), (2, 6, "```rust\nfn x() {\n\n}\n```"), (7, 7, "b")]);
        splits("~~~\n# no heading\n```\n~~~~", &[(1, 4, "~~~\n# no heading\n```\n~~~~")]);
        splits("```\nopen", &[(1, 2, "```\nopen")]);
    }

    #[test]
    fn elements_before_a_fault_are_kept() {
        let (found, error) = elements("[{\"a\":1}, 2, {\"b\":");
        assert_eq!(found, ["{\"a\":1}", "2"]);
        assert!(error.is_some());
        let (found, error) = elements("[]");
        assert!(found.is_empty() && error.is_none());
    }
}
