//! Suites: cases as data, played against a built module in wasmtime and against the same file in a real Envoy.
//!
//! `host-tests/suites/<filter>/*.yaml` holds them, one file per topic. [`Suite`] documents the format field by field.

mod case;
mod environment;
pub mod envoy;
pub mod native;
mod observed;

pub use case::{Answer, Caller, Case, Expectation, FirstSpeaker, Passthrough, RequestSpec, Suite, load};
