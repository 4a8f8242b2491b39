//! What every verb has at hand: settings, output, the store, and whether someone pressed Ctrl-C. Knows no verb.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::failure::Failure;
use super::output::{Output, note};
use crate::config::Config;
use crate::contract::types::Scope;
use crate::engine::Engine;
use crate::models;
use crate::open::{ModelChoice, Options, VECTORS};

pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
    /// The verb, as other processes are told it when they wait for the store.
    pub(crate) verb: &'static str,
}

/// What a verb does with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Ctrl-C may end it at any moment.
    Read,
    /// Ctrl-C lets the write in flight finish.
    Write,
}

impl Session {
    pub(crate) fn scope(&self) -> Scope {
        self.config.scope()
    }

    /// Opens the store, works with it, and closes it whatever came of the work.
    pub(crate) async fn with_engine<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.with(self.open()?, access, work).await
    }

    /// As [`Session::with_engine`], for an engine that was opened otherwise.
    pub(crate) async fn with<T>(
        &self,
        engine: Engine,
        access: Access,
        work: impl AsyncFnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if access == Access::Write {
            self.interrupt.finish_writes();
        }
        let result = work(&engine).await;
        engine.close().await;
        result
    }

    pub(crate) fn open(&self) -> Result<Engine, Failure> {
        Ok(self.options().open(&self.config.data.value)?)
    }

    /// A store in memory that shares the cache of vectors with the one on disk.
    pub(crate) fn scratch(&self) -> Result<Engine, Failure> {
        let cache_file = Some(self.config.data.value.join(VECTORS));
        Ok(Options { cache_file, ..self.options() }.in_memory()?)
    }

    /// As the settings say.
    pub(crate) fn options(&self) -> Options {
        Options {
            wait: self.config.wait.value,
            holder: format!("cairn {}", self.verb),
            model: self.model(),
            precision: self.config.precision.value,
            models: self.model_folders(),
            cache_memory: self.config.cache_memory_mb.value << 20,
            cache_disk: self.config.cache_disk_mb.value << 20,
            ..Options::default()
        }
    }

    /// Where models are looked for by name.
    pub(crate) fn model_folders(&self) -> Vec<PathBuf> {
        models::folders(std::env::var_os("CAIRN_MODELS"), &self.config.data.value)
    }

    /// A name, unless it is written as a path.
    fn model(&self) -> ModelChoice {
        match &self.config.model.value {
            None => ModelChoice::Default,
            Some(text) if text.contains(std::path::is_separator) || matches!(text.as_str(), "." | "..") => {
                ModelChoice::Path(PathBuf::from(text))
            }
            Some(name) => ModelChoice::Name(name.clone()),
        }
    }
}

/// Ctrl-C: ends the process at once while nothing is written, afterwards only asks. The second time it always ends it.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<State>);

struct State {
    careful: AtomicBool,
    requested: Arc<AtomicBool>,
    noticed: Notify,
}

impl Interrupt {
    /// Listens from now on. Inside a runtime.
    pub(crate) fn listen() -> Self {
        let state =
            Arc::new(State { careful: AtomicBool::new(false), requested: Arc::default(), noticed: Notify::new() });
        let heard = Arc::clone(&state);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if !heard.careful.load(Ordering::SeqCst) || heard.requested.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                heard.noticed.notify_waiters();
                note("finishing the write in flight; Ctrl-C again ends at once");
            }
        });
        Self(state)
    }

    /// From now on Ctrl-C lets the write in flight finish.
    pub(crate) fn finish_writes(&self) {
        self.0.careful.store(true, Ordering::SeqCst);
    }

    pub(crate) fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Becomes true when Ctrl-C was pressed.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.requested)
    }

    /// Returns when Ctrl-C was pressed.
    pub(crate) async fn wait(&self) {
        let noticed = self.0.noticed.notified();
        tokio::pin!(noticed);
        noticed.as_mut().enable();
        if !self.requested() {
            noticed.await;
        }
    }
}
