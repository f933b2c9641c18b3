//! `identity-authz`: may this workload, proven by its certificate, do this here?
//!
//! Reads AuthorizationPolicy and PeerAuthentication resources and decides each HTTP request, or as a network filter each
//! connection at its first bytes, by the SPIFFE ID of the peer. The policies are read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use std::cell::Cell;
use std::rc::Rc;

use sallyport_policy::{CompiledPolicy, ConnectionMatches, Decision, IdentityAuthz, IdentitySource, Refusal, Request};
use sallyport_proxy::host::{self, Level};
use sallyport_proxy::{
    Action, Answer, Bytes, BytesPlugin, Connections, CurrentStream, Plugin, Settled, Settlements, Side, Surroundings,
    Verdicts,
};

sallyport_proxy::filter!(IdentityAuthzPlugin, bytes);

/// How many kinds of connections are told apart by marks; what is settled of others is found by who they are.
const MARKS: usize = 16;

struct IdentityAuthzPlugin {
    configuration: IdentityAuthz,
    connections: Connections,
    verdicts: Verdicts,
    settlements: Settlements,
    /// Whether policies decide by the connection alone.
    by_connection: bool,
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
        let by_connection = policy.decides_by_connection();
        let marks = match configuration.identity_source() {
            IdentitySource::PeerCertificate if by_connection => 1,
            IdentitySource::PeerCertificate => MARKS,
            // Nothing is settled of who asks by what a request brings.
            IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert => 0,
        };
        Ok(Self {
            several_headers: policy.asks_for_several_headers(),
            settlements: Settlements::new(marks),
            by_connection,
            connections: Connections::counted(Self::NAME),
            verdicts,
            told: Cell::new(false),
            configuration,
        })
    }

    fn on_request_headers(&self) -> Action {
        let repeats = self.settlements.repeats();
        if repeats && self.by_connection {
            return self.verdicts.allow();
        }
        let mut request = CurrentStream::request(self.surroundings()).all_headers_at_once(self.several_headers);
        let settled = match repeats {
            true => self.settlements.latest(),
            false => self.settle(&mut request),
        };
        let matches = match settled.as_deref() {
            Some(Settled::LetIn) => return self.verdicts.allow(),
            Some(Settled::Matches(matches)) => Some(matches),
            None => None,
        };
        let reply = |answer: &Answer<'_>| self.verdicts.deny(answer, self.configuration.reply());
        self.decide(self.configuration.policy(), matches, &mut request, &reply)
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
        let mut connection = CurrentStream::first_bytes(self.surroundings(), from);
        let _counted = connection.connection();
        let close = |answer: &Answer<'_>| self.verdicts.deny_connection(answer);
        self.decide(self.configuration.connection_policy(), None, &mut connection, &close)
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

    /// What is settled of the connection that a request came by.
    fn settle(&self, request: &mut CurrentStream<'_>) -> Option<Rc<Settled>> {
        let connection = request.connection()?;
        let policy = self.configuration.policy();
        let request: &mut dyn Request = request;
        self.settlements.of(&connection, || match self.by_connection {
            true => (policy.decide(request) == Decision::Allow).then_some(Settled::LetIn),
            false => policy.connection_matches(request).map(Settled::Matches),
        })
    }

    /// Lets a request or a connection go on, or gives the answer to `turn_away`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(
        &self,
        policy: &CompiledPolicy,
        matches: Option<&ConnectionMatches>,
        request: &mut dyn Request,
        turn_away: &dyn Fn(&Answer<'_>) -> Action,
    ) -> Action {
        if let Some(rule) = policy.audited(matches, request) {
            self.verdicts.audit(rule.policy());
        }
        let (denial, enforced) = match policy.decide_on(matches, request) {
            Decision::Allow => return self.verdicts.allow(),
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
