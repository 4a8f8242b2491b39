//! A server of files as a hub is one: it knows ranges and tags, notes what it was asked, and breaks off when told to.
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

pub(super) struct Server {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    /// Path, and where its range begins.
    asked: Mutex<Vec<(String, Option<usize>)>>,
    /// After how many bytes the next bodies end.
    cuts: Mutex<VecDeque<usize>>,
}

impl Server {
    /// Serves the files of a folder until the process ends.
    pub(super) fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared { folder: folder.to_owned(), asked: Mutex::default(), cuts: Mutex::default() });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // Whoever goes away in the middle may.
                thread::spawn(move || serving.serve(stream).ok());
            }
        });
        Self { address, shared }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The next bodies break off after so many bytes.
    pub(super) fn breaks(&self, cuts: &[usize]) {
        *self.shared.cuts.lock().unwrap() = cuts.iter().copied().collect();
    }

    /// What was asked for since the last look, with the first byte of its range.
    pub(super) fn asked(&self) -> Vec<(String, Option<usize>)> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let (mut from, mut wanted) = (None, None);
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "range" => from = value.trim_start_matches("bytes=").trim_end_matches('-').parse().ok(),
                "if-range" => wanted = Some(value.to_owned()),
                _ => {}
            }
        }
        self.asked.lock().unwrap().push((path.clone(), from));
        self.answer(stream, &path, from, wanted.as_deref())
    }

    fn answer(
        &self,
        mut stream: TcpStream,
        path: &str,
        from: Option<usize>,
        wanted: Option<&str>,
    ) -> std::io::Result<()> {
        let Ok(bytes) = fs::read(self.folder.join(path)) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let tag = format!("\"{}-{}\"", bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        let begin = from.filter(|from| *from < bytes.len() && wanted == Some(&tag));
        let (status, range) = match begin {
            Some(begin) => {
                let range = format!("content-range: bytes {begin}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                ("206 Partial Content", range)
            }
            None => ("200 OK", String::new()),
        };
        let body = &bytes[begin.unwrap_or(0)..];
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{range}etag: {tag}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        let cut = self.cuts.lock().unwrap().pop_front().unwrap_or(length);
        stream.write_all(&body[..cut.min(length)])
    }
}
