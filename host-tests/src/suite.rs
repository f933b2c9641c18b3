//! Suites: cases as data, played against a built module in wasmtime and against the same file in a real Envoy.
//!
//! `host-tests/suites/<filter>/*.yaml` holds them, one file per topic. [`Suite`] documents the format field by field.

mod case;
mod environment;
pub mod envoy;
mod first_bytes;
pub mod native;
mod observed;
mod refusal;
mod tunnel;

pub use case::{Answer, Caller, Case, Expectation, FirstSpeaker, RequestSpec, Suite, load};
pub use first_bytes::Passthrough;
pub use tunnel::{Tunnel, TunnelEnd};
