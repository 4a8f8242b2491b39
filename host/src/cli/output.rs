//! What goes to stdout and in which form: tables for people, one JSON document, or one object a line. Notes, progress and
//! errors go to stderr. Texts of memories never reach a terminal with their control characters.
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;
use crate::wire::ErrorObject;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    People,
    Json,
    Lines,
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) form: Form,
    /// Columns of the terminal; as good as none where there is no terminal.
    pub(crate) width: usize,
    styled: bool,
}

impl Output {
    pub(crate) fn new(form: Form) -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = terminal_size::terminal_size_of(io::stdout()).map_or(80, |(width, _)| usize::from(width.0));
        Self {
            form,
            width: if terminal { columns.max(40) } else { usize::MAX },
            styled: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Prints one object on its line.
    pub(crate) fn object(object: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(object)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        Ok(stdout.flush()?)
    }

    /// Prints each object on its line.
    pub(crate) fn objects<T: Serialize>(objects: impl IntoIterator<Item = T>) -> Result<(), Failure> {
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        for object in objects {
            serde_json::to_writer(&mut stdout, &object)?;
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// Prints text for people; nothing in the other forms.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.form != Form::People {
            return Ok(());
        }
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// Prints rows in columns; the last one is cut where the terminal ends.
    pub(crate) fn table(&self, heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut widths: Vec<usize> = heads.iter().map(|head| columns(head)).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        let line = |cells: &[&str]| {
            let mut line = String::new();
            for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                if i + 1 == cells.len() {
                    let left = self.width.saturating_sub(columns(&line)).max(20);
                    line.push_str(&cut(cell, left));
                } else {
                    line.push_str(cell);
                    line.push_str(&" ".repeat(width - columns(cell) + 2));
                }
            }
            line.trim_end().to_owned()
        };
        self.say(&self.dim(&line(heads)))?;
        for row in &rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            self.say(&line(&cells))?;
        }
        Ok(())
    }

    /// Fainter on a terminal, for what one reads last.
    pub(crate) fn dim(&self, text: &str) -> String {
        if self.styled { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        if self.styled { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Reports why a command stopped: text on stderr, and an object on stdout unless people read it.
    pub(crate) fn failure(&self, error: &ErrorObject) {
        #[derive(Serialize)]
        struct Report<'a> {
            error: &'a ErrorObject,
        }
        complain(error);
        if self.form != Form::People {
            // Whoever closed stdout gets the text on stderr and the exit code.
            let _ = Self::object(&Report { error });
        }
    }
}

/// Says on stderr what is wrong with a part of the work.
pub(crate) fn complain(error: &ErrorObject) {
    note(&format!("error: {}", clean(&error.sentence())));
    if let Some(hint) = &error.hint {
        note(&format!("hint: {hint}"));
    }
}

/// Prints a line on stderr, where nobody may be listening.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The text on one line, without control characters.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| c.is_control()) {
        cleaned.push_str(part.trim_end_matches(char::is_control));
        if part.ends_with(char::is_control) && !cleaned.ends_with(' ') {
            cleaned.push(' ');
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

/// At most so many columns of the text on one line, with `…` where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let text = clean(text);
    if columns(&text) <= width {
        return text;
    }
    let mut kept = String::new();
    let mut used = 1;
    for letter in text.chars() {
        used += letter_columns(letter);
        if used > width {
            break;
        }
        kept.push(letter);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// How many columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(letter_columns).sum()
}

/// Wide East Asian letters and emoji take two columns, combining marks none; near enough for a table.
fn letter_columns(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\n\nb\x1b[31mred\x07"), "a b [31mred");
        assert_eq!(clean("plain"), "plain");
        assert_eq!(clean("\ttab"), " tab");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("ab cd", 4), "ab…");
        assert_eq!(cut("日本語です", 6), "日本…");
        assert_eq!(columns("e\u{301}"), 1);
    }
}
