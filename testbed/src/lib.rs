//! Test fixtures: a real Envoy on free ports, generated certificates, and a raw client.
//!
//! The demo and the test suites build on this crate. It knows nothing of policies. [`CertificateAuthority`] issues valid and
//! invalid X.509-SVIDs, [`Envoy`] runs a bootstrap and stops when dropped, [`Client`] sends raw bytes over TLS or plaintext
//! and parses the response, [`EgressGateway`] runs `envoy-config/egress.yaml` against local upstreams, [`access_log`] reads
//! Envoy's access log, and [`wait`] polls a condition with a time limit.

pub mod access_log;
mod browser;
mod certificates;
mod client;
mod client_hello;
mod client_messages;
mod configuration;
mod custom_resource;
mod dns_client;
mod dns_server;
mod egress_gateway;
mod envoy;
mod http2;
mod http2_tunnel;
mod network_namespace;
mod postgres;
mod program;
mod recorder;
mod registry;
mod repository;
mod reserved_port;
mod secret_server;
mod smtp_server;
mod tls_server;
mod token;
mod unbound;
pub mod wait;
mod wasm_plugin;
mod web_server;

pub use browser::{PageView, page_source, screenshot};
pub use certificates::{CertificateAuthority, Identity, SubjectAltName, common_tls_context};
pub use client::{Client, Response, Stream, response_head, round_trip};
pub use client_hello::client_hello;
pub use client_messages::{ClientMessage, client_messages, is_quoted};
pub use configuration::{Configuration, read_yaml};
pub use custom_resource::schema_faults;
pub use dns_client::{DnsAnswer, DnsTransport, ask_dns};
pub use dns_server::DnsServer;
pub use egress_gateway::{EgressGateway, EgressOutcome, Outside};
pub use envoy::{Envoy, Options, stop_detached};
pub use http2::{Http2Connection, StreamOutcome, request as http2_request};
pub use http2_tunnel::Http2Tunnel;
pub use network_namespace::NetworkNamespace;
pub use postgres::Postgres;
pub use program::{Printed, run_program};
pub use recorder::Recorder;
pub use registry::Registry;
pub use repository::{
    build_filters, build_guests, envoy_binary, envoy_binary_of, filter_path, guest_path, jq, promtool, pypy, root,
};
pub use reserved_port::ReservedPort;
pub use secret_server::{Secret, SecretServer};
pub use smtp_server::SmtpServer;
pub use tls_server::TlsServer;
pub use token::TokenIssuer;
pub use unbound::Unbound;
pub use wasm_plugin::{string_value, wasm_plugin};
pub use web_server::WebServer;
