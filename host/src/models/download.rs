//! One file from the network to the disk: goes on where an earlier attempt ended, and tries again when a connection
//! breaks. The only file that names an HTTP client. Never judges what it brings.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode};

/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const CONNECTING: Duration = Duration::from_secs(15);
/// A connection over which nothing comes for so long is broken.
const SILENCE: Duration = Duration::from_mins(1);

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{url} answers {status}")]
    Refused { url: String, status: StatusCode },
    #[error("{url} broke off {ATTEMPTS} times in a row: {reason}")]
    Broken { url: String, reason: String },
    #[error("cannot write {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl DownloadError {
    /// Whether there is no such file.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if [StatusCode::NOT_FOUND, StatusCode::GONE].contains(status))
    }
}

/// A client for the files of one model.
pub(super) struct Client(Agent);

/// How far a file is.
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) total: Option<u64>,
}

/// Why one attempt ended.
enum End {
    /// Another attempt may go on.
    Again(String),
    Never(DownloadError),
}

impl Client {
    pub(super) fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        Self(config.build().new_agent())
    }

    /// A small file as a whole; at most `most` bytes.
    pub(super) fn read(&self, url: &str, most: u64) -> Result<Vec<u8>, DownloadError> {
        let unreachable = |reason: String| DownloadError::Unreachable { url: url.to_owned(), reason };
        let mut response = self.0.get(url).call().map_err(|cause| unreachable(cause.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(DownloadError::Refused { url: url.to_owned(), status: response.status() });
        }
        let body = response.body_mut().with_config().limit(most).read_to_vec();
        body.map_err(|cause| unreachable(cause.to_string()))
    }

    /// Brings a file to `path`. What is there already is the beginning of it, from an earlier attempt; whether the file is
    /// still the same is known by the server's tag, which is kept beside.
    pub(super) fn bring(&self, url: &str, path: &Path, watch: &mut dyn FnMut(Progress)) -> Result<(), DownloadError> {
        let failed = |source| DownloadError::Io { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        let mut in_vain = 0;
        loop {
            let before = length(&file).map_err(failed)?;
            let reason = match self.attempt(url, path, &mut file, watch) {
                Ok(()) => {
                    // The file is whole without its tag.
                    let _ = std::fs::remove_file(tag_path(path));
                    return file.sync_all().map_err(failed);
                }
                Err(End::Never(error)) => return Err(error),
                Err(End::Again(reason)) => reason,
            };
            in_vain = if length(&file).map_err(failed)? > before { 0 } else { in_vain + 1 };
            if in_vain == ATTEMPTS {
                return Err(DownloadError::Broken { url: url.to_owned(), reason });
            }
            std::thread::sleep(PAUSE * in_vain);
        }
    }

    fn attempt(&self, url: &str, path: &Path, file: &mut File, watch: &mut dyn FnMut(Progress)) -> Result<(), End> {
        let failed = |source| End::Never(DownloadError::Io { path: path.to_owned(), source });
        let tag = std::fs::read_to_string(tag_path(path)).ok();
        let there = if tag.is_some() { length(file).map_err(failed)? } else { 0 };
        let mut request = self.0.get(url);
        if let (Some(tag), true) = (&tag, there > 0) {
            request = request.header("range", format!("bytes={there}-")).header("if-range", tag);
        }
        let response = request.call().map_err(|cause| {
            let (url, reason) = (url.to_owned(), cause.to_string());
            End::Never(DownloadError::Unreachable { url, reason })
        })?;
        let begin = begin(url, &response, there)?;
        let Some(begin) = begin else {
            // What is there is longer than the file, or all of it: without its tag it is begun anew.
            std::fs::remove_file(tag_path(path)).map_err(failed)?;
            return Err(End::Again("it has no such range".to_owned()));
        };
        if begin == 0 {
            match strong_tag(response.headers()) {
                Some(tag) => std::fs::write(tag_path(path), tag).map_err(failed)?,
                None => match std::fs::remove_file(tag_path(path)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => {}
                },
            }
        }
        file.set_len(begin).and_then(|()| file.seek(SeekFrom::Start(begin))).map_err(failed)?;
        let total = number(response.headers(), "content-length").map(|rest| begin + rest);
        let mut body = response.into_body().into_reader();
        let (mut bytes, mut buffer) = (begin, vec![0; 64 << 10]);
        loop {
            watch(Progress { bytes, total });
            let n_read = body.read(&mut buffer).map_err(|cause| End::Again(cause.to_string()))?;
            if n_read == 0 {
                break;
            }
            file.write_all(&buffer[..n_read]).map_err(failed)?;
            bytes += n_read as u64;
        }
        match total {
            Some(total) if bytes < total => Err(End::Again(format!("{bytes} of {total} bytes came"))),
            _ => Ok(()),
        }
    }
}

/// At which byte the answer begins; none if the file has no byte there.
fn begin<T>(url: &str, response: &Response<T>, there: u64) -> Result<Option<u64>, End> {
    let status = response.status();
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok()).unwrap_or_default();
    let first = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse::<u64>().ok());
    match status {
        StatusCode::OK => Ok(Some(0)),
        StatusCode::PARTIAL_CONTENT if first == Some(there) => Ok(Some(there)),
        StatusCode::RANGE_NOT_SATISFIABLE if there > 0 => Ok(None),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Err(End::Again(status.to_string())),
        _ => Err(End::Never(DownloadError::Refused { url: url.to_owned(), status })),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// A tag that stands for every byte.
fn strong_tag(headers: &HeaderMap) -> Option<&str> {
    headers.get("etag")?.to_str().ok().filter(|tag| !tag.starts_with("W/"))
}

fn tag_path(path: &Path) -> PathBuf {
    path.with_added_extension("tag")
}

fn length(file: &File) -> std::io::Result<u64> {
    Ok(file.metadata()?.len())
}
