//! A real Envoy on free ports, certificates made on the spot, and a client that sends what it is told.
//!
//! The demo and the suites stand on this. Nothing here knows a policy: [`Authority`] issues X.509-SVIDs good and bad,
//! [`Envoy`] runs one proxy from a bootstrap and ends it when dropped, [`Client`] sends raw bytes over TLS or
//! plaintext and reads the answer, [`Gateway`] is the egress gateway that people copy with an outside of its own,
//! [`access_log`] reads what Envoy says of a request, [`wait`] waits for a condition with a limit.

pub mod access_log;
mod certificates;
mod client;
mod client_hello;
mod configuration;
mod envoy;
mod gateway;
mod http2;
mod mail_server;
mod outside;
mod plugin;
mod postgres;
mod repository;
mod reserved_port;
mod token;
pub mod wait;

pub use certificates::{Authority, Identity, Name, common_tls_context};
pub use client::{Client, Response, Stream, talk};
pub use client_hello::client_hello;
pub use configuration::{Configuration, read_yaml};
pub use envoy::{Envoy, Options, end};
pub use gateway::{Gateway, Reached};
pub use http2::{Ending, Http2Connection};
pub use mail_server::MailServer;
pub use outside::{DnsServer, TlsServer, resolve};
pub use plugin::{string_value, wasm_plugin};
pub use postgres::Postgres;
pub use repository::{build_filters, build_guests, envoy_binary, filter_path, guest_path, root};
pub use reserved_port::ReservedPort;
pub use token::TokenIssuer;
