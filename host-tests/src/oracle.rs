//! Envoy's own RBAC filter as the judge of `identity-authz`.
//!
//! [`translate()`] turns AuthorizationPolicy into Envoy's RBAC as Istio does. [`PolicySet::random`] and
//! [`Question::random`] make policies and requests, [`Stage`] asks one Envoy that has both filters, and [`shrink()`] makes
//! a disagreement small. What may differ is in `host-tests/oracle/differences.yaml`, each row with the answers of both.

mod coverage;
mod differences;
mod fields;
mod policy_set;
mod question;
mod readings;
mod shrink;
mod stage;
mod translate;

pub use coverage::Coverage;
pub use differences::{Difference, Istio, Sallyport, differences};
pub use policy_set::PolicySet;
pub use question::{Caller, Peer, Question, Token};
pub use shrink::{Disagreement, shrink};
pub use stage::{Answers, Stage, Verdict};
pub use translate::{Mesh, Protocol, Rules, Translation, translate};
