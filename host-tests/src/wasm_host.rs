//! The Proxy-Wasm host on wasmtime.

mod encoding;
mod guest;
mod imports;
pub mod metadata;
mod module;
mod outcome;
mod profile;
mod state;
mod stream;
mod vm;

pub use module::Module;
pub use outcome::{ConnectionOutcome, LocalResponse, Refused, RequestOutcome};
pub use profile::Profile;
pub use state::{HostCall, InjectedAnswer, InjectedFailure, LogLine};
pub use stream::{Connection, Request};
pub use vm::{Root, Speaker, TunnelEvent, TunnelOutcome, Vm};
