//! Keeps a second process out of a data directory, and tells it who is inside. The lock is the operating system's and
//! ends with its holder; what the file says is for people and never decides anything.
use super::{StoreError, io_error};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const NAME: &str = "cairn.lock";
const POLL: Duration = Duration::from_millis(25);

/// The data directory is this process's until this is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Waits up to `wait` for the holder to leave. `holder` is what others are told about this process, beside its
    /// number.
    pub(super) fn take(directory: &Path, wait: Duration, holder: &str) -> Result<Lock, StoreError> {
        let path = directory.join(NAME);
        let failed = |error| io_error("lock", directory, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(StoreError::Locked { path: directory.to_owned(), holder: named_in(&mut file) });
            }
            std::thread::sleep(left.min(POLL));
        }
        // For people only: on a full disk the holder has no name.
        let _ = file.set_len(0).and_then(|()| write!(file, "{} {holder}", std::process::id()));
        Ok(Lock(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever comes next must not be told of a holder that left. The lock itself ends with the file.
        let _ = self.0.set_len(0);
    }
}

/// The holder as it named itself; it may not have come to that yet, and some systems let nobody read a locked file.
fn named_in(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(1024).read_to_string(&mut text));
    match (read, text.split_once(' ')) {
        (Ok(_), Some((process, command))) => format!("process {process} ({command})"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_holder_to_the_second_and_lets_in_when_the_first_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path(), Duration::ZERO, "cairn serve").unwrap();
        let refused = Lock::take(directory.path(), Duration::from_millis(30), "cairn add").unwrap_err();
        let expected = format!(
            "the store at {} is in use by process {} (cairn serve)",
            directory.path().display(),
            std::process::id()
        );
        assert_eq!(refused.to_string(), expected);
        drop(first);
        Lock::take(directory.path(), Duration::ZERO, "cairn add").unwrap();
    }

    #[test]
    fn a_waiting_process_gets_in_when_the_holder_leaves_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path(), Duration::ZERO, "cairn serve").unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::take(directory.path(), Duration::from_secs(20), "cairn add"));
            drop(first);
            second.join().unwrap().unwrap();
        });
    }
}
