//! A Proxy-Wasm host on wasmtime that behaves like Envoy 1.40, and the test suites that run in it and in a real Envoy.
//!
//! [`wasm_host`] runs a built module natively. One [`wasm_host::Vm`] holds one instance with all its state, so tests
//! run in parallel; properties have Envoy's encodings; every host call is recorded and can be made to fail. [`filter`]
//! builds and compiles the filters for it, [`policy`] reads their configurations from YAML, and [`rows!`] makes a named
//! test of each row of a table. [`suite`] plays cases, which are YAML, against a module in wasmtime and in a real
//! Envoy: a case that passes in one and fails in the other is a bug of [`wasm_host`]. [`rbac_oracle`] compares
//! `identity-authz` with Envoy's own RBAC filter under random policies and requests. [`envoy_version`] knows what differs by
//! the version of Envoy. [`config_file`] runs the files of `envoy-config/` with settings changed, [`hostile_requests`] has
//! the most expensive requests that a client can send, [`kubernetes`] translates the manifests of `envoy-config/kubernetes` to
//! Envoy as Istio and Envoy Gateway do, and [`manifests`] counts what the filters make of a folder of Kubernetes
//! manifests.

pub mod config_file;
pub mod envoy_version;
pub mod filter;
pub mod hostile_requests;
pub mod kubernetes;
pub mod manifests;
pub mod policy;
pub mod rbac_oracle;
mod rows;
pub mod suite;
pub mod wasm_host;
