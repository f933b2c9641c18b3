//! Policies in, compiled policy, decision out.
//!
//! This crate answers one question: what happens to this request under these policies. It knows no proxy, does no
//! I/O and reads no clock, so the same code decides in the filters, in the tests and in tools. It never guesses: a
//! configuration is read as a whole or refused with all its faults, and a request about which the proxy does not say
//! what a decision needs is denied.
//!
//! The way from configuration to decision: [`IdentityAuthz::parse`] reads JSON and compiles the policies that apply;
//! [`CompiledPolicy::decide`] asks a [`Request`] for what the rules need and gives a [`Decision`];
//! [`CompiledPolicy::explain`] says in words why a request was turned away.
//!
//! ```
//! use sallyport_policy::{Decision, Denial, HeaderValues, HostFailure, IdentityAuthz, Peer, PeerId, Request};
//!
//! struct Asked(Peer, &'static str);
//!
//! impl Request for Asked {
//!     fn peer(&mut self) -> Result<&Peer, HostFailure> { Ok(&self.0) }
//!     fn source_ip(&mut self) -> Result<Option<std::net::IpAddr>, HostFailure> { Ok(None) }
//!     fn destination_port(&mut self) -> Result<Option<u16>, HostFailure> { Ok(Some(443)) }
//!     fn method(&mut self) -> Result<Option<&[u8]>, HostFailure> { Ok(Some(b"GET")) }
//!     fn host(&mut self) -> Result<Option<&[u8]>, HostFailure> { Ok(Some(b"orders.example")) }
//!     fn path(&mut self) -> Result<Option<&[u8]>, HostFailure> { Ok(Some(self.1.as_bytes())) }
//!     fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, HostFailure> { Ok(HeaderValues::new()) }
//! }
//!
//! let configuration = IdentityAuthz::parse(br#"{"resources": [{
//!     "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
//!     "metadata": {"name": "web-reads", "namespace": "shop"},
//!     "spec": {"rules": [{
//!         "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
//!         "to": [{"operation": {"paths": ["/orders/*"]}}]}]}
//! }]}"#)?;
//! let policy = configuration.policy();
//! let web = Peer::Proven(PeerId::parse(b"spiffe://cluster.local/ns/shop/sa/web").unwrap());
//! assert_eq!(policy.decide(&mut Asked(web.clone(), "/orders/1")), Decision::Allow);
//!
//! let mut asked = Asked(web, "/admin");
//! assert_eq!(policy.decide(&mut asked), Decision::Deny(Denial::NoAllowMatches));
//! assert_eq!(
//!     policy.explain(&Denial::NoAllowMatches, &mut asked),
//!     "no ALLOW policy matches: web-reads wants a path under /orders/, this was GET /admin",
//! );
//! # Ok::<(), sallyport_policy::Refusal>(())
//! ```

mod baseline_deny;
mod bytes;
mod claims;
mod compiled;
mod decision;
mod destination;
#[cfg(test)]
mod dice;
mod document;
mod egress_allowlist;
mod fault;
mod field;
mod forwarded_client_cert;
mod identity_authz;
mod index;
mod metadata;
mod mode;
mod mutual_tls;
mod order;
mod pattern;
mod peer;
mod reader;
mod reply;
mod request;
mod resource;
mod table;

pub use baseline_deny::BaselineDeny;
pub use bytes::same_bytes;
pub use compiled::{CompiledPolicy, ConnectionMatches};
pub use decision::{Decision, Denial, RuleName};
pub use destination::{Destination, DomainName, Host, NotADestination};
pub use egress_allowlist::{Access, EgressAllowlist, EgressDecision, EgressDenial, EgressPolicy, EgressRequest};
pub use fault::{Fault, Refusal};
pub use forwarded_client_cert::forwarded_peer;
pub use identity_authz::{DirectRemoteAddress, IdentityAuthz, IdentitySource};
pub use metadata::DynamicMetadata;
pub use peer::{NoIdentity, NotSpiffe, Peer, PeerId};
pub use reply::DenyReply;
pub use request::{HeaderValues, HostFailure, Obstacle, Request};
pub use resource::PolicyName;
