//! Proxy-Wasm runtime that the filters share.
//!
//! A filter implements [`Plugin`] and is exported with [`filter!`](crate::filter), which declares the callbacks that
//! it uses and no others: each callback that a module exports is called on every request. All calls to the proxy go
//! through the trait [`Host`], return `Result` and pass bytes; an error on the way to a decision is a denial. Nothing
//! here panics on what a proxy or a client sends.
//!
//! From configuration to decision: the proxy creates a root context and calls `proxy_on_configure`; [`Vm`] makes a
//! [`Plugin`] of the bytes, or logs every fault and refuses. For each request it finds the plugin of the stream's root
//! context and calls it; a [`ConnectionPlugin`] decides connections as well, a [`BytesPlugin`] at their first bytes, and
//! a [`BodyPlugin`] what comes after the headers.
//! [`CurrentStream`] and [`PassthroughConnection`] supply what `sallyport-policy` asks for, [`PolicyCache`] keeps what
//! is fixed for all requests of a connection, and [`Reporter`] carries a decision out: reply, filter state, counters,
//! log.

mod abi;
mod cache;
mod client_limit;
mod counter;
mod export;
#[cfg(test)]
mod fake_host;
mod header_map;
mod host;
mod load_log;
mod memory_limit;
mod report;
mod stream;
mod version;
mod vm;

pub use abi::Bytes;
pub use cache::PolicyCache;
pub use cache::peers::{CachedConnection, PeerCache};
pub use client_limit::{ClientLimit, OpenConnection};
pub use counter::Counter;
pub use export::{on_initialize, on_memory_allocate};
pub use host::{Host, HostError, Level, ProxyHost};
pub use load_log::{log_lines, log_loaded};
pub use report::{DenialReport, Reporter};
pub use stream::context::StreamContext;
pub use stream::passthrough::PassthroughConnection;
pub use stream::request::{CurrentStream, Side};
pub use vm::{Action, BodyPlugin, BytesPlugin, ConnectionPlugin, Plugin, Vm};
