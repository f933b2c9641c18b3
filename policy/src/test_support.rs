//! Shared parts of this crate's tests: a request, random choices, and writers of the formats that production code reads.

pub(crate) mod client_hello_writer;
pub(crate) mod fake_request;
pub(crate) mod protobuf_writer;
pub(crate) mod random;
pub(crate) mod yaml;
