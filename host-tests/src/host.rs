//! The wasmtime host.

mod encoding;
mod imports;
mod memory;
pub mod metadata;
mod state;
mod stream;
mod vm;

pub use state::{Crossing, Fault, LogLine};
pub use stream::{Connection, LocalResponse, Request};
pub use vm::{First, Module, Outcome, Passage, Refused, Root, Vm};
