//! Readings of a value: the interpretations of a path, host, server name, method or header value by upstreams.
//!
//! Values are normalized first. If upstreams interpret a value in several ways, a match that denies holds if it holds
//! for any reading, and one that allows if it holds for all of them. Each reading of the value is compared with the
//! same reading of the pattern, and the original value with the pattern as written.

pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod method;
pub(crate) mod path;
