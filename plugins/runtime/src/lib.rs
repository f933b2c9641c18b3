//! The Proxy-Wasm side that the filters share.
//!
//! A filter implements [`Plugin`] and is exported with [`filter!`](crate::filter), which declares the callbacks that
//! the proxy calls and no others: each callback that a module exports is a crossing into it on every request. All
//! calls to the proxy go through [`host`], return `Result` and take and give bytes; an error on the way to a decision
//! is a denial. Nothing here panics on what a proxy or a client sends.
//!
//! From configuration to decision: the proxy creates a root context and calls `proxy_on_configure`; [`Vm`] makes a
//! [`Plugin`] of the bytes, or logs every fault and refuses. For each request it finds the plugin of the stream's root
//! context and asks it; a [`ConnectionPlugin`] is asked about connections as well, a [`BytesPlugin`] at their first
//! bytes. [`CurrentStream`] and [`PassthroughConnection`] are what `sallyport-policy` asks, [`Reporter`] carries a decision
//! out: reply, filter state, counters, log.

mod abi;
mod cache;
mod counter;
mod header_map;
pub mod host;
mod report;
mod stream;
mod vm;

pub use abi::Bytes;
pub use cache::decisions::{CachedDecision, DecisionCache};
pub use cache::peers::{CachedConnection, Connections};
pub use counter::Counter;
pub use report::{DenialReport, Reporter};
pub use stream::context::StreamContext;
pub use stream::passthrough::PassthroughConnection;
pub use stream::request::{CurrentStream, Side};
pub use vm::{Action, BytesPlugin, ConnectionPlugin, Plugin, Vm, on_initialize, on_memory_allocate, refuse_connection};
