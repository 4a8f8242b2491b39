//! `cairn warm`: has the cache of vectors filled ahead of time. Texts go the way of any other, into a store in memory that
//! is thrown away, so what is cached is what an add would ask for.
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::import;
use super::output::{Form, Output, note};
use super::session::{Access, Session};
use crate::contract::memory::{AddOptions, ListRequest};
use crate::contract::types::Content;
use crate::engine::Engine;
use crate::transfer::{self, ImportOptions, Input};
use crate::wire::ErrorObject;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn warm memories.jsonl                              before many stores take in the same file
  cairn warm --from-store                                what is there, after the cache was deleted

Nothing is stored. Queries warm the cache by being asked once: cairn search --queries FILE.
The cache is the file vectors.cache in the data directory; cache_disk_mb in cairn.toml is its size.";

/// Memories of one call, and bytes of their texts.
const BATCH: (u32, usize) = (250, 8 << 20);

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Arguments {
    /// Texts to embed, in any form that `import` reads; `-` for stdin
    #[arg(value_name = "FILE|-")]
    file: Option<PathBuf>,
    /// Embeds the texts of the store
    #[arg(long)]
    from_store: bool,
}

#[derive(Serialize)]
struct Document {
    embedded: u64,
    known: u64,
    ms: u64,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    if session.config.cache_disk_mb.value == 0 {
        let hint = format!("set cache_disk_mb above 0; 0 comes from {}", session.config.cache_disk_mb.origin);
        return Err(Failure::usage("there is no cache on disk to fill".to_owned(), hint));
    }
    let begun = Instant::now();
    let mut exit = Exit::Done;
    let metrics = session
        .with_engine(Access::Read, async |engine| {
            let scratch = session.scratch()?;
            scratch.prepare_model();
            let filled = match &arguments.file {
                Some(file) => from_file(file, &scratch, session).await,
                None => from_store(engine, &scratch, session).await,
            };
            let metrics = scratch.model_metrics().unwrap_or_default();
            scratch.close().await;
            if filled? > 0 {
                exit = Exit::Failed;
            }
            Ok(metrics)
        })
        .await?;
    let document = Document {
        embedded: metrics.texts,
        known: metrics.cache.memory_hits + metrics.cache.disk_hits,
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&document)?,
        Form::People => {
            let seconds = begun.elapsed().as_secs_f64();
            let Document { embedded, known, .. } = document;
            session.output.say(&format!("{embedded} vectors computed in {seconds:.1} s, {known} were there"))?;
        }
    }
    Ok(exit)
}

/// How many lines were bad.
async fn from_file(file: &std::path::Path, scratch: &Engine, session: &Session) -> Result<u64, Failure> {
    let options = ImportOptions {
        format: None,
        scope: session.scope(),
        tag: None,
        lenient: true,
        strict: false,
        deferred: false,
        cancel: session.interrupt.flag(),
    };
    let input = if file.as_os_str() == "-" { Input::Stdin } else { Input::File(file.to_owned()) };
    let watch = import::Watch::quiet(session);
    let imported = transfer::import(scratch, input, &options, &mut |progress| watch.see(&progress)).await;
    watch.done();
    Ok(imported?.failed)
}

/// How many memories were not taken.
async fn from_store(engine: &Engine, scratch: &Engine, session: &Session) -> Result<u64, Failure> {
    let scope = session.scope();
    let is_seen = session.output.form == Form::People && std::io::stderr().is_terminal();
    let total = u64::from(engine.stats(scope.clone()).await?.live);
    let bar = if is_seen { ProgressBar::new(total) } else { ProgressBar::hidden() };
    let mut request = ListRequest { limit: BATCH.0, ..ListRequest::new(scope) };
    let mut refused = 0;
    loop {
        let page = engine.list(request.clone()).await?;
        // Links lead to memories that are not in the scratch store.
        let contents = page.memories.into_iter().map(|memory| Content { links: vec![], ..memory.content });
        let mut contents = contents.peekable();
        while let Some(first) = contents.next() {
            let mut bytes = first.text.len() + first.metadata.len();
            let mut batch = vec![first];
            let fits = |bytes: usize, next: &Content| bytes + next.text.len() + next.metadata.len() <= BATCH.1;
            while let Some(next) = contents.next_if(|next| fits(bytes, next)) {
                bytes += next.text.len() + next.metadata.len();
                batch.push(next);
            }
            bar.inc(batch.len() as u64);
            for outcome in scratch.add(batch, AddOptions::default()).await?.items {
                if let Err(error) = outcome {
                    refused += 1;
                    note(&format!("not embedded: {}", ErrorObject::from(&error).sentence()));
                }
            }
        }
        match page.next {
            Some(next) if !session.interrupt.requested() => request.after = Some(next),
            _ => break,
        }
    }
    bar.finish_and_clear();
    Ok(refused)
}
