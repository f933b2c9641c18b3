//! A real Envoy on free ports, certificates made on the spot, and a client that sends what it is told.
//!
//! The demo and the suites stand on this. Nothing here knows a policy: [`Authority`] issues X.509-SVIDs good and bad,
//! [`Envoy`] runs one proxy from a bootstrap and ends it when dropped, [`Client`] sends raw bytes over TLS or
//! plaintext and reads the answer, [`wait`] waits for a condition with a limit.

mod certificates;
mod client;
mod configuration;
mod envoy;
mod repository;
pub mod wait;

pub use certificates::{Authority, Identity, Name};
pub use client::{Client, Response};
pub use configuration::{Configuration, read_yaml};
pub use envoy::{Envoy, Options, end};
pub use repository::{build_filters, envoy_binary, filter_path, root};
