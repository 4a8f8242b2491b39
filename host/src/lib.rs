//! Long-term memory for AI agents that runs where the agent runs.
//!
//! ```no_run
//! use cairn::{AddOptions, Content, Query, Scope};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = cairn::open("memories")?;
//! let ana = Scope::user("ana");
//! memory.add(vec![Content::fact("Ana is vegetarian since May", ana.clone())], AddOptions::default()).await?;
//! for found in memory.search(vec![Query::new("what does she eat?", ana)]).await? {
//!     for hit in found?.hits {
//!         println!("{:.2} {}", hit.score, hit.memory.content.text);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An [`Engine`] has one async function a verb; what goes in and comes out are the records of the contract
//! ([`contract`], documented in `wit/`). The binary `cairn` is a door to the same engine.

pub mod bench;
pub mod cli;
mod config;
pub mod contract;
pub mod embedder;
pub mod engine;
pub mod entry;
pub mod guarded;
pub mod index;
mod models;
pub mod open;
pub mod reembed;
mod room;
mod serving;
pub mod store;
pub mod system;
pub mod times;
pub mod transfer;
mod wire;
pub mod writer;

pub mod component;

pub use contract::memory::{AddOptions, Query};
pub use contract::types::{Content, Error, Memory, Scope};
pub use engine::Engine;
pub use open::{ModelChoice, OpenError, Options, open};
