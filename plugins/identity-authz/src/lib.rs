//! `identity-authz`: may this workload, proven by its certificate, do this here?
//!
//! Reads AuthorizationPolicy and PeerAuthentication resources and decides each HTTP request, or as a network filter each
//! connection at its first bytes, by the SPIFFE ID of the peer. The policies are read, checked and compiled by `sallyport-policy`; this crate asks it and carries the answer out.

use std::cell::Cell;

use sallyport_policy::{CompiledPolicy, Decision, IdentityAuthz, IdentitySource, Refusal, Request};
use sallyport_proxy::host::{self, Level};
use sallyport_proxy::{
    Action, Answer, Bytes, BytesPlugin, ConnectionMark, Connections, FirstBytes, HttpRequest, Plugin, Side,
    Surroundings, Verdicts,
};

sallyport_proxy::filter!(IdentityAuthzPlugin, bytes);

struct IdentityAuthzPlugin {
    configuration: IdentityAuthz,
    connections: Connections,
    verdicts: Verdicts,
    /// On connections that are let in whatever they ask for, if policies can tell.
    let_in: Option<ConnectionMark>,
    /// Whether policies ask for more than one header.
    several_headers: bool,
    /// Whether it was said what policies mean for connections.
    told: Cell<bool>,
}

impl Plugin for IdentityAuthzPlugin {
    const NAME: &'static str = "identity_authz";

    fn configure(configuration: Bytes) -> Result<Self, Refusal> {
        let configuration = IdentityAuthz::parse(configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        warn(configuration.warnings());
        let policy = configuration.policy();
        let verdicts = Verdicts::new(Self::NAME, policy.denying_policies()).auditing(policy.auditing_policies());
        let by_certificate = *configuration.identity_source() == IdentitySource::PeerCertificate;
        let by_connection = by_certificate && policy.decides_by_connection();
        Ok(Self {
            several_headers: policy.asks_for_several_headers(),
            let_in: by_connection.then(ConnectionMark::new).flatten(),
            connections: Connections::counted(Self::NAME),
            verdicts,
            told: Cell::new(false),
            configuration,
        })
    }

    fn on_request_headers(&self) -> Action {
        if self.let_in.as_ref().is_some_and(ConnectionMark::is_set) {
            return self.verdicts.allow();
        }
        let surroundings = self.surroundings();
        let connection = surroundings.connection();
        let first = connection.as_ref().is_some_and(|connection| connection.first);
        let allowed = || self.let_in.iter().filter(|_| first).for_each(ConnectionMark::set);
        let reply = |answer: &Answer<'_>| self.verdicts.deny(answer, self.configuration.reply());
        let peer = connection.map(|connection| connection.peer);
        let mut request = HttpRequest::new(surroundings).by(peer).all_headers_at_once(self.several_headers);
        self.decide(self.configuration.policy(), &mut request, &allowed, &reply)
    }

    fn on_tick(&self) {
        self.verdicts.on_tick();
        self.connections.on_tick();
    }
}

impl BytesPlugin for IdentityAuthzPlugin {
    fn on_first_bytes(&self, from: Side) -> Action {
        // Only now is it known that this is a network filter.
        if !self.told.replace(true) {
            warn(self.configuration.connection_warnings());
        }
        let mut connection = FirstBytes::new(self.surroundings(), from);
        connection.count_connection();
        let close = |answer: &Answer<'_>| self.verdicts.deny_connection(answer);
        self.decide(self.configuration.connection_policy(), &mut connection, &|| {}, &close)
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        host::log(Level::Warn, &format!("sallyport {}: {warning}", IdentityAuthzPlugin::NAME));
    }
}

impl IdentityAuthzPlugin {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            connections: &self.connections,
            identity: self.configuration.identity_source(),
            direct_remote_address: self.configuration.direct_remote_address(),
        }
    }

    /// Lets a request or a connection go on, and tells `allowed` where no policy would have it otherwise, or gives the
    /// answer to `turn_away`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(
        &self,
        policy: &CompiledPolicy,
        request: &mut dyn Request,
        allowed: &dyn Fn(),
        turn_away: &dyn Fn(&Answer<'_>) -> Action,
    ) -> Action {
        if let Some(rule) = policy.audited(request) {
            self.verdicts.audit(rule.policy());
        }
        let (denial, enforced) = match policy.decide(request) {
            Decision::Allow => {
                allowed();
                return self.verdicts.allow();
            }
            Decision::WouldDeny(denial) => (denial, false),
            Decision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(&denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        turn_away(&Answer {
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
