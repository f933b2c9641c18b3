//! Suites: cases as data, played against the built module in wasmtime and against the same file in a real Envoy.
//!
//! `host-tests/suites/<filter>/*.yaml` holds them, one file a topic; [`Suite`] documents the form field by field.

mod case;
mod check;
pub mod envoy;
pub mod native;
mod surroundings;

pub use case::{Answer, Caller, Case, Expectation, FirstSpeaker, Passing, Sent, Suite, load};
