//! Streams as a policy asks about them: HTTP requests, and connections before or at their first bytes.

pub(crate) mod context;
pub(crate) mod passthrough;
pub(crate) mod request;
