//! Lines of a file or of stdin, in batches of what is there: a full batch when much waits, a single line when someone
//! types. Line ends are taken off, nothing else.
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use super::failure::Failure;
use super::session::Interrupt;

/// A batch is closed when it has so many bytes.
const BATCH_BYTES: usize = 4 << 20;

pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// None where the line is not UTF-8.
    pub(crate) text: Option<String>,
}

pub(crate) struct Lines(mpsc::Receiver<io::Result<Line>>);

impl Lines {
    /// Opens the file, or stdin for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::read(Box::new(io::stdin())));
        }
        match std::fs::File::open(path) {
            Ok(file) => Ok(Self::read(Box::new(file))),
            Err(error) => Err(Failure::file("open", path, &error)),
        }
    }

    // A thread of its own: a read of a terminal cannot be called back, and must not hold up the end of the process.
    fn read(source: Box<dyn Read + Send>) -> Self {
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            for number in 1.. {
                let line = match next(&mut source) {
                    Ok(Some(bytes)) => Ok(Line { number, text: String::from_utf8(bytes).ok() }),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let ends = line.is_err();
                if sender.blocking_send(line).is_err() || ends {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for a line and takes what else is there, at most `most`. Empty at the end of the input and after Ctrl-C.
    pub(crate) async fn batch(&mut self, most: usize, interrupt: &Interrupt) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        if interrupt.requested() {
            return Ok(lines);
        }
        let first = tokio::select! {
            line = self.0.recv() => line,
            () = interrupt.wait() => None,
        };
        let Some(first) = first else { return Ok(lines) };
        let first = first?;
        let mut bytes = first.text.as_ref().map_or(0, String::len);
        lines.push(first);
        while lines.len() < most && bytes < BATCH_BYTES {
            match self.0.try_recv() {
                Ok(line) => {
                    let line = line?;
                    bytes += line.text.as_ref().map_or(0, String::len);
                    lines.push(line);
                }
                Err(_) => break,
            }
        }
        Ok(lines)
    }
}

fn next(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if source.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_are_taken_off() {
        let mut source = &b" a \r\n\nb\r\rc\r\n\r"[..];
        let mut lines = Vec::new();
        while let Some(line) = next(&mut source).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, [" a ", "", "b\r\rc", "\r"]);
    }
}
