//! What it means to add, find, change and forget a memory. Every decision about memories is here; no IO, no clock and no
//! randomness except through the capabilities of `wit/`.
//!
//! One verb or noun a file. All of it but `component.rs` is compiled and tested natively, on the exact capabilities of
//! `fakes.rs`; the records of the contract are the only vocabulary.

pub mod capability;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;

// Nouns.
mod calendar;
mod check;
mod dates;
mod draft;
mod entry;
mod filter;
mod id;
mod json;
mod moments;
mod record;
mod request;
mod saying;
mod scope;
mod text;
mod tuning;
mod view;

// Verbs.
pub mod add;
pub mod archive;
mod ask;
mod compare;
pub mod context;
pub mod delete;
pub mod get;
pub mod history;
mod hits;
pub mod list;
pub mod maintain;
mod rank;
pub mod scopes;
pub mod search;
mod spread;
pub mod stats;
pub mod update;
pub mod why;

/// `wit/` as Rust types.
#[allow(clippy::all, clippy::pedantic, unsafe_code, unreachable_pub, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "memory-engine",
        generate_all,
        additional_derives: [PartialEq],
    });
}

pub use bindings::cairn::memory::{embedding, index, logging, storage, system, types};
pub use bindings::exports::cairn::memory::memory;

/// An answer, or why there is none.
pub type Result<T> = std::result::Result<T, types::Error>;
