//! A Proxy-Wasm host on wasmtime that answers as Envoy 1.40 does, and the suites that both of them play.
//!
//! [`host`] runs a built module natively: one [`host::Vm`] holds one instance with all its state, so tests run in
//! parallel; properties come in Envoy's encodings; any host call can be made to fail; crossings are counted.
//! [`filter`] builds and compiles the filters for it. [`suite`] reads cases from YAML and plays them against the module
//! in wasmtime and in a real Envoy. A case that passes in one and fails in the other is a fault of [`host`]. [`oracle`]
//! holds random policies against Envoy's own RBAC filter.

pub mod filter;
pub mod host;
pub mod oracle;
pub mod suite;
