//! The input of an import on its way from bytes to records, on a thread of its own: reading and parsing wait for nobody
//! and nobody waits for them. Commits nothing.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::formats::{self, Format, Markdown, Piece};
use super::import::{Item, LineProblem};
use super::line::{self, Line, Rules, refusal};
use super::{INTERCHANGE, TransferError, json, limits};
use crate::contract::types::{Error, Refusal};

/// Where an import reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    File(PathBuf),
    Stdin,
}

/// Longest line, in bytes: as much as one call to an engine may carry, history included.
pub(super) const MOST_LINE: usize = 16 * 1024 * 1024;

/// Most records in one message.
const CHUNK: usize = 256;

/// One memory of the input, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Record {
    /// Where it starts; counted from 1.
    pub(super) line: u64,
    /// Where it ends.
    pub(super) last: u64,
    /// Offset behind its last line.
    pub(super) end: u64,
    /// Bytes it takes of the input.
    pub(super) size: usize,
    pub(super) item: Result<Item, Error>,
}

#[derive(Debug)]
pub(super) enum Message {
    /// Always the first, unless reading fails at once.
    Started {
        format: Format,
        total_bytes: Option<u64>,
    },
    Records(Vec<Record>),
    /// Of a strict import: the line is bad.
    Problem(LineProblem),
    /// After all else.
    Ended {
        lines: u64,
        bytes: u64,
    },
    Failed(TransferError),
}

/// What of an import concerns its input.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) format: Option<Format>,
    pub(super) rules: Rules,
    /// All of the input is checked before its first record is sent.
    pub(super) strict: bool,
}

/// Starts to read. The thread ends with the input or, at its next message, when the receiver is dropped.
pub(super) fn start(input: Input, reading: Reading) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(4);
    // Detached on purpose: a read of the standard input cannot be interrupted, and nothing should wait for it.
    thread::spawn(move || {
        if let Err(error) = send_all(&input, &reading, &sender) {
            // Without a receiver nobody wants to know.
            drop(sender.blocking_send(Message::Failed(error)));
        }
    });
    receiver
}

fn send_all(input: &Input, reading: &Reading, sender: &mpsc::Sender<Message>) -> Result<(), TransferError> {
    let place = match input {
        Input::File(path) => path.display().to_string(),
        Input::Stdin => "the standard input".to_owned(),
    };
    let failed = |source| TransferError::Read { place: place.clone(), source };
    let opened = open(input, reading.strict).map_err(failed)?;
    let mut source = opened.read().map_err(failed)?;
    let beginning = source.fill_buf().map_err(failed)?;
    let path = match input {
        Input::File(path) => Some(path.as_path()),
        Input::Stdin => None,
    };
    let format = reading.format.unwrap_or_else(|| Format::guess(path, beginning));
    let total_bytes = opened.total_bytes;
    if sender.blocking_send(Message::Started { format, total_bytes }).is_err() {
        return Ok(());
    }
    if reading.strict {
        let (mut bad, mut records) = (0, 0);
        let checked = records_of(source, format, &reading.rules, &place, &mut |record, _| {
            records += 1;
            let Err(error) = record.item.and_then(|item| limits::check(&item)) else {
                return true;
            };
            bad += 1;
            sender.blocking_send(Message::Problem(LineProblem { line: record.line, error })).is_ok()
        })?;
        if checked.is_none() {
            return Ok(());
        }
        if bad > 0 {
            return Err(TransferError::Strict { bad, lines: records });
        }
        source = opened.read().map_err(failed)?;
    }
    let mut chunk = Vec::new();
    let ended = records_of(source, format, &reading.rules, &place, &mut |record, idle| {
        chunk.push(record);
        let full = idle || chunk.len() == CHUNK;
        !full || sender.blocking_send(Message::Records(std::mem::take(&mut chunk))).is_ok()
    })?;
    if let Some((lines, bytes)) = ended {
        drop(sender.blocking_send(Message::Records(chunk)));
        drop(sender.blocking_send(Message::Ended { lines, bytes }));
    }
    Ok(())
}

/// An input that can be read, twice if that was asked for.
struct Opened {
    first: std::cell::Cell<Option<Box<dyn Read>>>,
    again: Option<PathBuf>,
    buffered: Option<Arc<[u8]>>,
    total_bytes: Option<u64>,
}

impl Opened {
    fn read(&self) -> io::Result<BufReader<Box<dyn Read>>> {
        let source: Box<dyn Read> = match (self.first.take(), &self.buffered, &self.again) {
            (Some(first), _, _) => first,
            (None, Some(bytes), _) => Box::new(Cursor::new(Arc::clone(bytes))),
            (None, None, Some(path)) => Box::new(File::open(path)?),
            (None, None, None) => return Err(io::Error::other("the input can be read only once")),
        };
        Ok(BufReader::with_capacity(256 * 1024, source))
    }
}

fn open(input: &Input, twice: bool) -> io::Result<Opened> {
    let (mut source, total_bytes, again): (Box<dyn Read>, _, _) = match input {
        Input::File(path) => {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            }
            let regular = metadata.is_file();
            (Box::new(file), regular.then_some(metadata.len()), regular.then(|| path.clone()))
        }
        Input::Stdin => (Box::new(io::stdin()), None, None),
    };
    if twice && again.is_none() {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        let first = std::cell::Cell::new(None);
        return Ok(Opened { first, again, buffered: Some(bytes.into()), total_bytes });
    }
    Ok(Opened { first: std::cell::Cell::new(Some(source)), again, buffered: None, total_bytes })
}

/// Gives each record to `take`, with whether the next one may have to be waited for, until that returns false. Returns
/// the lines and bytes of the input if it came to its end.
fn records_of(
    source: BufReader<Box<dyn Read>>,
    format: Format,
    rules: &Rules,
    place: &str,
    take: &mut dyn FnMut(Record, bool) -> bool,
) -> Result<Option<(u64, u64)>, TransferError> {
    let failed = |source| TransferError::Read { place: place.to_owned(), source };
    if format == Format::Chat {
        return chat(source, rules, take).map_err(failed);
    }
    let mut lines = Lines::new(source);
    let mut markdown = Markdown::default();
    while let Some(line) = lines.next().map_err(failed)? {
        let (number, end, size) = (line.number, line.end, line.size);
        let text = match line.text {
            Ok(text) => text,
            Err(error) => {
                let before = markdown.end().map(|piece| piece_record(piece, rules));
                let record = Record { line: number, last: number, end, size, item: Err(error) };
                if !before.is_none_or(|before| take(before, false)) || !take(record, lines.is_idle()) {
                    return Ok(None);
                }
                continue;
            }
        };
        let record = match format {
            Format::Jsonl | Format::Chat if text.trim_ascii().is_empty() => None,
            Format::Jsonl | Format::Chat => {
                let item = match line::read(text, rules) {
                    Ok(Line::Item(item)) => Ok(item),
                    Ok(Line::Header(version)) if version == INTERCHANGE.to_string() => continue,
                    Ok(Line::Header(found)) => return Err(TransferError::Interchange { line: number, found }),
                    Err(error) => Err(error),
                };
                Some(Record { line: number, last: number, end, size, item })
            }
            Format::Text if text.trim().is_empty() => None,
            Format::Text => {
                let item = line::read_text(text.to_owned(), rules);
                Some(Record { line: number, last: number, end, size, item })
            }
            Format::Markdown => markdown.line(number, end, text).map(|piece| piece_record(piece, rules)),
        };
        if let Some(record) = record
            && !take(record, lines.is_idle())
        {
            return Ok(None);
        }
    }
    if let Some(piece) = markdown.end()
        && !take(piece_record(piece, rules), true)
    {
        return Ok(None);
    }
    Ok(Some((lines.number, lines.offset)))
}

fn piece_record(piece: Piece, rules: &Rules) -> Record {
    let Piece { first, last, end, text } = piece;
    Record { line: first, last, end, size: text.len(), item: line::read_text(text, rules) }
}

/// The records of a list of messages, which is read as a whole.
fn chat(
    mut source: BufReader<Box<dyn Read>>,
    rules: &Rules,
    take: &mut dyn FnMut(Record, bool) -> bool,
) -> io::Result<Option<(u64, u64)>> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    let n_bytes = bytes.len() as u64;
    let lines = line_breaks(&bytes) + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n'));
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = line_breaks(&bytes[..error.valid_up_to()]) + 1;
            let start = bytes[..error.valid_up_to()].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let item = Err(not_utf8(error.valid_up_to() - start));
            let record = Record { line, last: lines, end: n_bytes, size: bytes.len(), item };
            return Ok(take(record, true).then_some((lines, n_bytes)));
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(Some((lines, n_bytes)));
    }
    let (messages, fault) = formats::elements(text);
    let (mut line, mut offset) = (1, 0);
    for message in messages {
        // Each message is a part of `text`, in order.
        let start = message.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + message.len();
        line += line_breaks(&text.as_bytes()[offset..start]);
        let last = line + line_breaks(message.as_bytes());
        offset = end;
        let item = line::read_message(message, rules);
        // The next message can begin on the line where this one ends.
        let record =
            Record { line, last: last.saturating_sub(1).max(line - 1), end: end as u64, size: message.len(), item };
        line = last;
        if !take(record, false) {
            return Ok(None);
        }
    }
    if let Some(fault) = fault {
        let item = Err(refusal("", json::describe(&fault)));
        let record = Record { line: fault.line() as u64, last: lines, end: n_bytes, size: text.len() - offset, item };
        if !take(record, true) {
            return Ok(None);
        }
    }
    Ok(Some((lines, n_bytes)))
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// The lines of an input, each within a bound.
struct Lines<R> {
    reader: BufReader<R>,
    buffer: Vec<u8>,
    /// Of the last line returned.
    number: u64,
    /// Behind the last line returned.
    offset: u64,
}

struct InputLine<'a> {
    number: u64,
    end: u64,
    /// Bytes, its break included.
    size: usize,
    /// Without its break.
    text: Result<&'a str, Error>,
}

impl<R: Read> Lines<R> {
    fn new(reader: BufReader<R>) -> Self {
        Self { reader, buffer: Vec::new(), number: 0, offset: 0 }
    }

    /// Whether the next line may have to be waited for.
    fn is_idle(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
        self.buffer.clear();
        let mut size = 0;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            let line_break = available.iter().position(|byte| *byte == b'\n');
            let part = line_break.unwrap_or(available.len());
            // Of a line that is too long only its size matters.
            if size + part <= MOST_LINE {
                self.buffer.extend_from_slice(&available[..part]);
            }
            let used = part + usize::from(line_break.is_some());
            size += used;
            self.reader.consume(used);
            if line_break.is_some() {
                break;
            }
        }
        if size == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.offset += size as u64;
        Ok(Some(InputLine {
            number: self.number,
            end: self.offset,
            size: self.buffer.len() + 1,
            text: self.text(size),
        }))
    }

    fn text(&self, size: usize) -> Result<&str, Error> {
        if size > MOST_LINE + 1 {
            let message = format!("the line has {size} bytes; the limit is {MOST_LINE}");
            return Err(Error::LimitExceeded(Refusal { place: String::new(), message }));
        }
        let line = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
        let text = std::str::from_utf8(line).map_err(|error| not_utf8(error.valid_up_to()))?;
        let mark = if self.number == 1 { text.strip_prefix('\u{feff}') } else { None };
        Ok(mark.unwrap_or(text))
    }
}

fn not_utf8(offset: usize) -> Error {
    refusal("", format!("not UTF-8 at byte offset {offset} of the line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8]) -> Vec<(u64, u64, Result<String, Error>)> {
        // A small buffer, so that lines lie across its end.
        let mut lines = Lines::new(BufReader::with_capacity(3, bytes));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.end, line.text.map(str::to_owned)));
        }
        found
    }

    #[test]
    fn lines_end_at_any_break_and_at_the_end() {
        let found = lines_of(b"\xEF\xBB\xBFone\r\n\ntwo");
        assert_eq!(found, [(1, 8, Ok("one".into())), (2, 9, Ok(String::new())), (3, 12, Ok("two".into()))]);
        assert_eq!(lines_of(b""), []);
    }

    #[test]
    fn a_line_that_is_no_utf8_names_the_byte() {
        let found = lines_of(b"ab\xFFc\nd");
        assert_eq!(found, [(1, 5, Err(not_utf8(2))), (2, 6, Ok("d".into()))]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_keeping_it() {
        let mut bytes = vec![b'a'; 2 * MOST_LINE];
        bytes.extend_from_slice(b"\nnext");
        let mut lines = Lines::new(BufReader::new(bytes.as_slice()));
        let first = lines.next().unwrap().unwrap().text.unwrap_err();
        let message = format!("the line has {} bytes; the limit is {MOST_LINE}", 2 * MOST_LINE + 1);
        assert_eq!(first, Error::LimitExceeded(Refusal { place: String::new(), message }));
        assert!(lines.buffer.len() <= MOST_LINE);
        assert_eq!(lines.next().unwrap().unwrap().text.unwrap(), "next");
    }

    #[test]
    fn messages_of_a_chat_are_records_with_their_lines() {
        let text = "[{\"role\":\"user\",\"content\":\"a\"},\n {\"role\":\"robot\",\n\"content\":\"b\"}, {\"content\":";
        let rules = Rules { scope: super::super::everywhere(), tag: None, lenient: false };
        let mut found = Vec::new();
        let source: Box<dyn Read> = Box::new(Cursor::new(text));
        let end = chat(BufReader::new(source), &rules, &mut |record, _| {
            found.push((record.line, record.last, record.item.is_ok()));
            true
        });
        assert_eq!(end.unwrap(), Some((3, text.len() as u64)));
        assert_eq!(found, [(1, 0, true), (2, 2, false), (3, 3, false)]);
    }
}
