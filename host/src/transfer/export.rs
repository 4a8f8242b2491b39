//! A store on its way out: a header and one memory a line, with its history, in the order of creation. Reads only.
use std::io::Write;

use serde::Serialize;

use super::line::{self, MemoryJson, VersionJson};
use super::{INTERCHANGE, Memories, TransferError};
use crate::contract::memory::{Archive, Including, ListRequest, Order, Version, View};
use crate::contract::types::{Error, Memory, Scope};
use crate::engine::Engine;

/// What the caller of an export decides.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    pub scope: Scope,
    /// JSON, in the grammar of the contract.
    pub filter: Option<String>,
    /// Adds the stored vectors of each memory. No import reads them.
    pub vectors: bool,
    /// Adds deleted memories.
    pub deleted: bool,
}

/// Writes all memories that the options admit, outdated and expired ones included, and returns how many. Reports how many
/// of how many are written, page by page.
///
/// # Errors
/// If the store cannot be read or `out` does not take the bytes.
pub async fn export(
    engine: &Engine,
    out: &mut dyn Write,
    options: &ExportOptions,
    report: &mut dyn FnMut(u64, Option<u64>),
) -> Result<u64, TransferError> {
    run(engine, out, options, report).await
}

/// Memories of one page.
const PAGE: u32 = 500;
/// Versions asked for in one call: the most that one memory may ask for.
const VERSIONS: u32 = 1_000;

#[derive(Serialize)]
struct Header {
    cairn: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<HeaderModel>,
    memories: u64,
}

#[derive(Serialize)]
struct HeaderModel {
    name: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    memory: MemoryJson<'a>,
    /// What made the present version, where it is not the usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<VersionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<&'a [Vec<f32>]>,
}

impl<'a> Exported<'a> {
    fn new(archive: &'a Archive, vectors: Option<&'a [Vec<f32>]>) -> Self {
        let Version { memory, change, reason, similarity } = &archive.present;
        let (usual_change, usual_reason) = line::usual(memory);
        Self {
            memory: MemoryJson::from(memory),
            change: (*change != usual_change).then(|| line::change_name(*change)),
            reason: (*reason != usual_reason).then(|| line::reason_name(*reason)),
            similarity: *similarity,
            history: archive.earlier.iter().map(VersionJson::from).collect(),
            vectors,
        }
    }
}

async fn run<M: Memories>(
    memories: &M,
    out: &mut dyn Write,
    options: &ExportOptions,
    report: &mut dyn FnMut(u64, Option<u64>),
) -> Result<u64, TransferError> {
    let unreadable = |error| TransferError::Store { error };
    let mut including = Including::OUTDATED | Including::EXPIRED;
    if options.deleted {
        including |= Including::DELETED;
    }
    let mut request = ListRequest {
        scope: options.scope.clone(),
        filter: options.filter.clone(),
        view: View { now: None, valid_at: None, known_at: None, including },
        order: Order::OldestFirst,
        limit: PAGE,
        after: None,
        count: true,
    };
    let mut written = 0;
    let mut total = None;
    loop {
        let list = async |limit| memories.list(ListRequest { limit, ..request.clone() }).await;
        let page = fewer(PAGE, list).await.map_err(unreadable)?;
        if request.count {
            let model = memories.model().await.map_err(unreadable)?;
            let model = model.map(|model| HeaderModel { name: model.name, fingerprint: model.fingerprint });
            total = page.total.map(u64::from);
            // The engine was asked to count. Should it not have, the first page alone is known.
            let memories = total.unwrap_or(page.memories.len() as u64);
            write_line(out, &Header { cairn: INTERCHANGE, model, memories })?;
            request.count = false;
        }
        let vectors = if options.vectors {
            let ids = page.memories.iter().map(|memory| memory.id.clone()).collect();
            memories.vectors(ids).await.map_err(unreadable)?
        } else {
            vec![None; page.memories.len()]
        };
        let archives = archives(memories, &page.memories).await.map_err(unreadable)?;
        for (archive, vectors) in archives.iter().zip(&vectors) {
            write_line(out, &Exported::new(archive, vectors.as_deref()))?;
        }
        written += archives.len() as u64;
        out.flush().map_err(|source| TransferError::Write { source })?;
        report(written, total);
        request.after = page.next;
        if request.after.is_none() {
            return Ok(written);
        }
    }
}

/// Each memory with what made it and its earlier versions.
async fn archives<M: Memories>(memories: &M, page: &[Memory]) -> Result<Vec<Archive>, Error> {
    let mut archives = Vec::with_capacity(page.len());
    let mut rest = page;
    while let Some(first) = rest.first() {
        let mut n_versions = 0;
        let fitting = rest.iter().take_while(|memory| {
            n_versions += memory.version;
            n_versions <= VERSIONS
        });
        let (group, behind) = rest.split_at(fitting.count().max(1));
        rest = behind;
        if let ([memory], true) = (group, first.version > VERSIONS) {
            archives.push(archive(memory, long_history(memories, memory).await?));
            continue;
        }
        // A first version has no history, and the usual made it.
        let asked: Vec<&Memory> = group.iter().filter(|memory| memory.version > 1).collect();
        let mut answers = Vec::new();
        if !asked.is_empty() {
            let ids = asked.iter().map(|memory| memory.id.clone()).collect();
            answers = match memories.history(ids, VERSIONS, None).await {
                // Together they are too large for a call.
                Err(Error::LimitExceeded(_)) => {
                    let mut alone = Vec::with_capacity(asked.len());
                    for memory in asked {
                        alone.push(long_history(memories, memory).await?);
                    }
                    alone
                }
                answers => answers?,
            };
        }
        let mut answers = answers.into_iter();
        for memory in group {
            let versions = if memory.version > 1 { answers.next().unwrap_or_default() } else { Vec::new() };
            archives.push(archive(memory, versions));
        }
    }
    Ok(archives)
}

/// A memory of a page with its history. Versions that came after the page was read are left out.
fn archive(memory: &Memory, mut versions: Vec<Version>) -> Archive {
    let (change, reason) = line::usual(memory);
    let mut present = Version { memory: memory.clone(), change, reason, similarity: None };
    if let Some(made) = versions.iter().find(|version| version.memory.version == memory.version) {
        let Version { change, reason, similarity, .. } = *made;
        present = Version { change, reason, similarity, ..present };
    }
    versions.retain(|version| version.memory.version < memory.version);
    Archive { present, earlier: versions }
}

/// The history of a memory that has more versions than one call gives, from the version of the page down.
async fn long_history<M: Memories>(memories: &M, memory: &Memory) -> Result<Vec<Version>, Error> {
    let mut versions: Vec<Version> = Vec::new();
    let mut before = memory.version.checked_add(1);
    loop {
        let history = async |limit| memories.history(vec![memory.id.clone()], limit, before).await;
        let answer = fewer(VERSIONS, history).await?;
        let page = answer.into_iter().next().unwrap_or_default();
        let Some(last) = page.last() else {
            return Ok(versions);
        };
        before = Some(last.memory.version);
        versions.extend(page);
    }
}

/// Asks for fewer and fewer until a call carries them.
async fn fewer<T>(most: u32, ask: impl AsyncFn(u32) -> Result<T, Error>) -> Result<T, Error> {
    let mut most = most;
    loop {
        match ask(most).await {
            Err(Error::LimitExceeded(_)) if most > 1 => most /= 2,
            answer => return answer,
        }
    }
}

fn write_line<T: Serialize>(out: &mut dyn Write, value: &T) -> Result<(), TransferError> {
    let mut line = serde_json::to_vec(value).map_err(|error| TransferError::Write { source: error.into() })?;
    line.push(b'\n');
    out.write_all(&line).map_err(|source| TransferError::Write { source })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use super::super::fake::Fake;
    use super::*;
    use crate::contract::memory::{Change, Reason};
    use crate::contract::types::{Content, Kind, State};
    use crate::transfer::{ImportOptions, Input, everywhere, import};

    fn memory(n: u32, version: u32) -> Memory {
        let content = Content {
            text: format!("text {n}.{version}\n"),
            scope: Scope { user: Some(format!("u{}", n % 3)), ..everywhere() },
            key: None,
            actor: None,
            role: None,
            kind: Kind::Fact,
            metadata: "{ \"n\":1.50 }".to_owned(),
            at: None,
            valid_from: None,
            valid_to: None,
            expires_at: None,
            links: Vec::new(),
        };
        let id = format!("0197a3c4-0000-7000-8000-{n:012}");
        let updated_at = i64::from(version);
        Memory { id, version, content, state: State::Live, superseded_by: None, created_at: 1, updated_at }
    }

    fn archive(n: u32, version: u32) -> Archive {
        let earlier = (1..version).rev().map(|version| Version {
            memory: memory(n, version),
            change: Change::Added,
            reason: Reason::NearDuplicate,
            similarity: Some(0.831),
        });
        let (change, reason, similarity) = match version {
            1 => (Change::Added, Reason::Requested, None),
            2 => (Change::Restored, Reason::SameKey, Some(0.5)),
            _ => (Change::Updated, Reason::Requested, None),
        };
        let present = Version { memory: memory(n, version), change, reason, similarity };
        Archive { present, earlier: earlier.collect() }
    }

    async fn exported(store: &Fake, vectors: bool) -> (String, Vec<(u64, Option<u64>)>) {
        let options = ExportOptions { scope: everywhere(), filter: None, vectors, deleted: true };
        let (mut out, mut reports) = (Vec::new(), Vec::new());
        run(store, &mut out, &options, &mut |written, total| reports.push((written, total))).await.unwrap();
        (String::from_utf8(out).unwrap(), reports)
    }

    #[tokio::test]
    async fn an_export_that_is_imported_gives_the_same_export() {
        let store = Fake::default();
        // Beyond one page, and one history beyond one call.
        let mut archives: Vec<Archive> =
            (0..1_100).map(|n| archive(n, if n == 5 { 2_500 } else { 1 + n % 4 })).collect();
        archives[5].present.reason = Reason::Contradiction;
        let deleted = &mut archives[6].present;
        (deleted.memory.state, deleted.change) = (State::Deleted, Change::Deleted);
        // Of an erased memory the engine tells no history.
        let erased = &mut archives[7];
        (erased.present.memory.state, erased.present.change) = (State::Deleted, Change::Erased);
        erased.present.memory.content.text.clear();
        erased.earlier.clear();
        store.store().memories = archives;
        let (first, reports) = exported(&store, true).await;
        assert_eq!(reports, [(500, Some(1_100)), (1_000, Some(1_100)), (1_100, Some(1_100))]);

        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(first.as_bytes()).unwrap();
        let options = ImportOptions {
            format: None,
            scope: Scope { user: Some("other".to_owned()), ..everywhere() },
            tag: Some("tag".to_owned()),
            lenient: false,
            strict: true,
            deferred: false,
            cancel: Arc::default(),
        };
        let copy = Fake::default();
        let input = Input::File(file.path().to_owned());
        let imported = import::run(&copy, input, &options, &mut |_| {}).await.unwrap();
        assert_eq!((imported.added, imported.failed), (1_100, 0));
        copy.store().memories.sort_by(|a, b| a.present.memory.id.cmp(&b.present.memory.id));
        assert_eq!(copy.store().memories, store.store().memories);
        assert_eq!(exported(&copy, true).await.0, first);
    }

    #[tokio::test]
    async fn what_one_call_cannot_carry_is_asked_for_in_parts() {
        let store = Fake::default();
        store.store().memories = (0..40).map(|n| archive(n, 1 + n % 7)).collect();
        let whole = exported(&store, false).await.0;
        for most in [1, 3, 20] {
            store.store().most = Some(most);
            assert_eq!(exported(&store, false).await.0, whole, "{most} in a call");
        }
    }

    #[tokio::test]
    async fn lines_have_their_fields_in_order() {
        let store = Fake::default();
        store.store().memories = vec![archive(0, 2)];
        let inner = |version: u32, rest: &str| {
            format!(
                r#"{{"id":"0197a3c4-0000-7000-8000-000000000000","text":"text 0.{version}\n","user":"u0","kind":"fact","metadata":{{ "n":1.50 }},"created_at":"1970-01-01T00:00:00.001Z","updated_at":"1970-01-01T00:00:00.00{version}Z","version":{version}{rest}}}"#
            )
        };
        let history = format!(
            r#","change":"restored","reason":"same-key","similarity":0.5,"history":[{{"version":1,"change":"added","reason":"near-duplicate","similarity":0.831,"updated_at":"1970-01-01T00:00:00.001Z","memory":{}}}]"#,
            inner(1, "")
        );
        let header = r#"{"cairn":1,"model":{"name":"small","fingerprint":"f1"},"memories":1}"#;
        assert_eq!(exported(&store, false).await.0, format!("{header}\n{}\n", inner(2, &history)));
        let history = format!("{history},\"vectors\":[[0.5,-1.0]]");
        assert_eq!(exported(&store, true).await.0, format!("{header}\n{}\n", inner(2, &history)));
    }

    #[tokio::test]
    async fn an_empty_store_is_a_header() {
        let (text, _) = exported(&Fake::default(), false).await;
        assert_eq!(text, "{\"cairn\":1,\"model\":{\"name\":\"small\",\"fingerprint\":\"f1\"},\"memories\":0}\n");
    }
}
