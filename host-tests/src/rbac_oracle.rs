//! Envoy's own RBAC filter as a test oracle for `identity-authz`.
//!
//! [`translate()`] turns AuthorizationPolicy resources into configurations of Envoy's RBAC filter, as Istio does.
//! [`PolicySet::random`] and [`Probe::random`] generate policies and requests. [`EnvoyPair`] runs both filters in one
//! Envoy, and [`shrink()`] reduces a disagreement to a minimal one. Intended differences are data: each row of
//! `host-tests/oracle/differences.yaml` gives the answers of both.

mod coverage;
mod differences;
mod envoy_pair;
mod fields;
mod policy_set;
mod probe;
mod readings;
mod shrink;
mod translate;

pub use coverage::Coverage;
pub use differences::{Difference, Istio, Sallyport, differences};
pub use envoy_pair::{Answers, EnvoyPair, Verdict};
pub use policy_set::PolicySet;
pub use probe::{Caller, Peer, Probe, Token};
pub use shrink::{Disagreement, shrink};
pub use translate::{Dialect, Mesh, Protocol, Rules, Translation, translate};
