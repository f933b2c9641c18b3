//! Properties of what reads hostile input: configurations, paths, tokens, certificates, headers, destinations, tunnels.
//!
//! A property compares the product's code with a plain reference that is slow and obviously right. `make fuzz` plays
//! each under cargo-fuzz; the tests play the corpus, seeds from the suites and random mutations on any toolchain.
//!
//! A property panics where it does not hold, as cargo-fuzz expects.

mod agreement;
pub mod baseline_deny;
pub mod configuration;
pub mod destinations;
pub mod egress_allowlist;
pub mod forwarded_certificates;
pub mod header_maps;
pub mod identity_authz;
pub mod json;
pub mod metadata;
pub mod paths;
pub mod request;
#[cfg(feature = "suites")]
pub mod seeds;
#[cfg(feature = "suites")]
pub mod targets;
pub mod tokens;
pub mod tunnels;
