//! `identity-authz`: may this workload, proven by its certificate, do this here?
//!
//! Reads AuthorizationPolicy and PeerAuthentication resources and decides each HTTP request, or as a network filter each
//! connection at its first bytes, by the SPIFFE ID of the peer. The policies are read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use std::cell::Cell;
use std::rc::Rc;

use sallyport_policy::{
    CompiledPolicy, ConfigErrors, ConnectionCache, Decision, IdentityAuthz, IdentitySource, Request,
};
use sallyport_runtime::host::{self, Level};
use sallyport_runtime::{
    Action, Bytes, BytesPlugin, CachedDecision, Connections, CurrentStream, DecisionCache, DenialReport, Plugin,
    Reporter, Side, StreamContext,
};

sallyport_runtime::filter!(IdentityAuthzPlugin, bytes);

/// How many kinds of connections are l4_warned apart by marks; what is settled of others is found by who they are.
const MAX_TAGS: usize = 16;

struct IdentityAuthzPlugin {
    configuration: IdentityAuthz,
    connections: Connections,
    reporter: Reporter,
    decisions: DecisionCache,
    /// Whether policies decide by the connection alone.
    connection_scoped: bool,
    /// Whether policies ask for more than one header.
    prefetch_headers: bool,
    /// Whether it was said what policies mean for connections.
    l4_warned: Cell<bool>,
}

impl Plugin for IdentityAuthzPlugin {
    const NAME: &'static str = "identity_authz";

    fn configure(configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = IdentityAuthz::parse(configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        warn(configuration.warnings());
        let policy = configuration.policy();
        let reporter = Reporter::new(Self::NAME, policy.denying_policies()).auditing(policy.auditing_policies());
        let connection_scoped = policy.decides_by_connection();
        let marks = match configuration.identity_source() {
            IdentitySource::PeerCertificate if connection_scoped => 1,
            IdentitySource::PeerCertificate => MAX_TAGS,
            // Nothing is settled of who asks by what a request brings.
            IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert => 0,
        };
        Ok(Self {
            prefetch_headers: policy.asks_for_several_headers(),
            decisions: DecisionCache::new(marks),
            connection_scoped,
            connections: Connections::counted(Self::NAME),
            reporter,
            l4_warned: Cell::new(false),
            configuration,
        })
    }

    fn on_request_headers(&self) -> Action {
        let is_same_as_last = self.decisions.is_same_as_last();
        if is_same_as_last && self.connection_scoped {
            return self.reporter.allow();
        }
        let mut request = CurrentStream::request(self.stream_context()).with_prefetched_headers(self.prefetch_headers);
        let settled = match is_same_as_last {
            true => self.decisions.latest(),
            false => self.settle(&mut request),
        };
        let matches = match settled.as_deref() {
            Some(CachedDecision::AllowAll) => return self.reporter.allow(),
            Some(CachedDecision::Matches(matches)) => Some(matches),
            None => None,
        };
        let reply = |answer: &DenialReport<'_>| self.reporter.deny(answer, self.configuration.reply());
        self.decide(self.configuration.policy(), matches, &mut request, &reply)
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
        self.connections.on_tick();
    }
}

impl BytesPlugin for IdentityAuthzPlugin {
    fn on_first_bytes(&self, from: Side) -> Action {
        // Only now is it known that this is a network filter.
        if !self.l4_warned.replace(true) {
            warn(self.configuration.connection_warnings());
        }
        let mut connection = CurrentStream::first_bytes(self.stream_context(), from);
        let _counted = connection.connection();
        let close = |answer: &DenialReport<'_>| self.reporter.deny_connection(answer);
        self.decide(self.configuration.connection_policy(), None, &mut connection, &close)
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        host::log(Level::Warn, &format!("sallyport {}: {warning}", IdentityAuthzPlugin::NAME));
    }
}

impl IdentityAuthzPlugin {
    fn stream_context(&self) -> StreamContext<'_> {
        StreamContext {
            connections: &self.connections,
            identity: self.configuration.identity_source(),
            direct_remote_address: self.configuration.direct_remote_address(),
        }
    }

    /// What is settled of the connection that a request came by.
    fn settle(&self, request: &mut CurrentStream<'_>) -> Option<Rc<CachedDecision>> {
        let connection = request.connection()?;
        let policy = self.configuration.policy();
        let request: &mut dyn Request = request;
        self.decisions.of(&connection, || match self.connection_scoped {
            true => (policy.decide(request) == Decision::Allow).then_some(CachedDecision::AllowAll),
            false => policy.precompute_connection(request).map(CachedDecision::Matches),
        })
    }

    /// Lets a request or a connection go on, or gives the answer to `turn_away`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(
        &self,
        policy: &CompiledPolicy,
        matches: Option<&ConnectionCache>,
        request: &mut dyn Request,
        turn_away: &dyn Fn(&DenialReport<'_>) -> Action,
    ) -> Action {
        if let Some(rule) = policy.matching_audit_rule(matches, request) {
            self.reporter.audit(rule.policy());
        }
        let (denial, enforced) = match policy.decide_cached(matches, request) {
            Decision::Allow => return self.reporter.allow(),
            Decision::WouldDeny(denial) => (denial, false),
            Decision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(&denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        turn_away(&DenialReport {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details("rbac"),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        })
    }
}
