//! Streams as a policy asks about them: HTTP requests, and connections at their first bytes or before them.

pub(crate) mod context;
pub(crate) mod passthrough;
pub(crate) mod request;
