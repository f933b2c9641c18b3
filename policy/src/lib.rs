//! Policies in, compiled policy, decision out.
//!
//! This crate answers one question: what happens to this request under these policies. It knows no proxy, does no
//! I/O and reads no clock, so the same code decides in the filters, in the tests and in tools. It never guesses: a
//! configuration is read as a whole or refused with all its diagnostics, and a request about which the proxy does not say
//! what a decision needs is denied.
//!
//! From configuration to decision: [`IdentityAuthz::parse`] reads JSON and compiles the policies that apply;
//! [`CompiledPolicy::decide`] asks a [`Request`] for what the rules need and gives a [`Decision`];
//! [`CompiledPolicy::explain`] describes why a request was denied.
//!
//! ```
//! use sallyport_policy::{Decision, Denial, HeaderValues, AttributeError, IdentityAuthz, Peer, SpiffeId, Request};
//!
//! struct Asked(Peer, &'static str);
//!
//! impl Request for Asked {
//!     fn peer(&mut self) -> Result<&Peer, AttributeError> { Ok(&self.0) }
//!     fn source_ip(&mut self) -> Result<Option<std::net::IpAddr>, AttributeError> { Ok(None) }
//!     fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> { Ok(Some(443)) }
//!     fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> { Ok(Some(b"GET")) }
//!     fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> { Ok(Some(b"orders.example")) }
//!     fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> { Ok(Some(self.1.as_bytes())) }
//!     fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> { Ok(HeaderValues::new()) }
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
//! let web = Peer::Authenticated(SpiffeId::parse(b"spiffe://cluster.local/ns/shop/sa/web").unwrap());
//! assert_eq!(policy.decide(&mut Asked(web.clone(), "/orders/1")), Decision::Allow);
//!
//! let mut asked = Asked(web, "/admin");
//! assert_eq!(policy.decide(&mut asked), Decision::Deny(Denial::NoAllowMatches));
//! assert_eq!(
//!     policy.explain(&Denial::NoAllowMatches, &mut asked),
//!     "no ALLOW policy matches: web-reads wants a path under /orders/, this was GET /admin",
//! );
//! # Ok::<(), sallyport_policy::ConfigErrors>(())
//! ```

mod attributes;
mod authz;
mod baseline;
mod collections;
mod config;
mod egress;
mod identity;
#[cfg(any(test, feature = "linear-reading"))]
mod linear_reading;
mod matcher;
#[cfg(test)]
mod test_support;

pub use attributes::dynamic_metadata::DynamicMetadata;
pub use attributes::request::{HeaderValues, Request};
pub use attributes::request_memo::RequestMemo;
pub use authz::compiled::connection_cache::ConnectionCache;
pub use authz::compiled::explain::NearestRule;
pub use authz::compiled::{CompiledPolicy, RequestNeeds};
pub use authz::custom::{CustomPolicies, MARK_KEY, NO_PROVIDER, RequiredAuthorizers};
pub use authz::decision::Decision;
pub use authz::denial::{CustomDenial, Denial, Evaluation};
pub use authz::identity_authz::IdentityAuthz;
#[cfg(any(test, feature = "linear-reading"))]
pub use authz::identity_authz::linear::LinearIdentityAuthz;
pub use authz::policy_name::{PolicyName, RuleName};
pub use baseline::BaselineDeny;
#[cfg(any(test, feature = "linear-reading"))]
pub use baseline::linear::LinearBaselineDeny;
pub use collections::bytes::bytes_eq;
pub use config::deny_response::DenyResponse;
pub use config::diagnostics::{ConfigError, ConfigErrors};
pub use config::document::canonical::fingerprint;
pub use config::error_code::ErrorCode;
pub use config::load_report::LoadReport;
pub use config::printable::printable;
pub use config::reader::closest_match;
pub use egress::EgressAllowlist;
pub use egress::authority::{Authority, DomainName, Host, InvalidAuthority};
pub use egress::client_hello::ClientHelloError;
pub use egress::compiled::EgressPolicy;
pub use egress::decision::EgressDenial;
pub use egress::dns_names::{DnsName, DnsNames};
#[cfg(any(test, feature = "linear-reading"))]
pub use egress::linear::LinearEgressAllowlist;
pub use egress::outbound::{DestinationNames, DynamicDestination};
pub use egress::request::{EgressProtocol, EgressRequest};
pub use egress::sources::SourceMode;
pub use egress::tunnel::{Tunnel, TunnelFault, TunnelStep};
pub use identity::certificate::certificate_end;
pub use identity::error::{
    AttributeError, EvalError, SpiffeIdError, UnauthenticatedReason, XfccElementError, XfccError,
};
pub use identity::peer::Peer;
pub use identity::settings::{CertificateValidation, DirectRemoteAddress, IdentitySource};
pub use identity::spiffe_id::SpiffeId;
pub use identity::xfcc::forwarded_peer;
#[cfg(any(test, feature = "linear-reading"))]
pub use linear_reading::answer::{LinearAnswer, LinearOutcome};
pub use matcher::regular_expression::{ValueKind, globs_of_regex, looks_like_regex};
