//! Tests of the whole: one binary, one module a subject. What a single room can show is tested in that room.
#![expect(clippy::format_collect, reason = "lines of tests are few, and read better so")]

mod common;
mod doors;
mod models;
mod quality;
mod recover;
mod scenarios;
mod tidy;
mod tiny;
