//! The files in which the segments of a tenant outlive the process. They only save the work of building: what cannot be
//! believed is told of once, removed, and built again from the vectors in the store.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::parts::Unusable;
use super::segment::Segment;

const EXTENSION: &str = "segment";

pub(super) struct Shelf {
    directory: PathBuf,
    /// Files of other tenants lie beside.
    tenant: u32,
    /// Number of the next file.
    next: AtomicU64,
}

/// A segment and the file that holds it, if one does.
pub(super) struct Kept {
    pub(super) segment: Segment,
    pub(super) file: Option<PathBuf>,
}

impl Shelf {
    pub(super) fn new(directory: &Path, tenant: u32) -> Self {
        Self { directory: directory.to_owned(), tenant, next: AtomicU64::new(1) }
    }

    /// The segments of an earlier process with vectors of this width, the largest first.
    pub(super) fn open(&self, width: usize) -> Vec<Kept> {
        let mut kept = vec![];
        for (number, file) in self.files() {
            self.next.fetch_max(number + 1, Ordering::Relaxed);
            match Segment::open(&file, width) {
                Ok(segment) => kept.push(Kept { segment, file: Some(file) }),
                Err(error) => {
                    tell(&file, &error);
                    discard(&file);
                }
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.segment.slices().len()));
        kept
    }

    /// Writes a segment and goes on with the mapped file. Where that fails it stays in memory, which is told.
    pub(super) fn keep(&self, segment: Segment, width: usize) -> Kept {
        let file = self.path(self.next.fetch_add(1, Ordering::Relaxed));
        let written = make(&self.directory).and_then(|()| segment.write(&file));
        match written.map_err(Unusable::from).and_then(|()| Segment::open(&file, width)) {
            Ok(segment) => Kept { segment, file: Some(file) },
            Err(error) => {
                tracing::warn!(
                    "cannot keep a part of the index in {}: {error:#}; the next start builds it again",
                    file.display()
                );
                Kept { segment, file: None }
            }
        }
    }

    /// Whether an index of the tenant has left files in the directory.
    pub(super) fn has_files(&self) -> bool {
        !self.files().is_empty()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}-{number}.{EXTENSION}", self.tenant))
    }

    /// The files of this tenant with their numbers. Those that were not written to their end are removed.
    fn files(&self) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return vec![] };
        let mut found = vec![];
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let Some((tenant, number)) = stem.split_once('-') else { continue };
            let (Ok(tenant), Ok(number)) = (tenant.parse::<u32>(), number.parse::<u64>()) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) if tenant == self.tenant => found.push((number, path)),
                Some("new") if tenant == self.tenant => discard(&path),
                _ => {}
            }
        }
        found
    }
}

/// Removes a file that is of no more use.
pub(super) fn discard(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::warn!("cannot remove {}, which is of no more use: {error}", file.display());
    }
}

fn tell(file: &Path, error: &Unusable) {
    let file = file.display();
    if matches!(error, Unusable::Foreign) {
        tracing::info!("{file} is of another version; what it held is built again");
    } else {
        tracing::warn!("{file} is of no use: {error}; what it held is built again from the store");
    }
}

fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}
