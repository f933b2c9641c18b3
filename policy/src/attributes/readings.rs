//! Readings of a value: what upstreams make of one path, host, server name, method or header value.
//!
//! A value that is spelled in several ways is brought into one spelling first. Where upstreams read one value in several
//! ways, a match that keeps a request out holds if it holds for any reading, and one that lets a request in if it holds
//! for all of them. There each reading of the value is compared with the pattern read in the same way, and the value
//! as it came with the pattern as written.

pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod method;
pub(crate) mod path;
