//! Tests of the whole: one binary, one module a subject. What a single room can show is tested in that room.
mod common;
mod doors;
mod recover;
mod scenarios;
mod tidy;
