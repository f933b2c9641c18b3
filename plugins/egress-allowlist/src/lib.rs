//! `egress-allowlist`: may this workload reach that outside host?
//!
//! Reads rules, ServiceEntry and CiliumNetworkPolicy resources and decides what leaves: plain HTTP requests and CONNECT
//! by their authority, TLS that passes through by its server name. All that is read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use sallyport_policy::{ConfigErrors, EgressAllowlist, EgressDecision, EgressRequest};
use sallyport_runtime::host::{self, Level};
use sallyport_runtime::{
    Action, Bytes, ConnectionPlugin, Connections, CurrentStream, DenialReport, PassthroughConnection, Plugin, Reporter,
    StreamContext,
};

sallyport_runtime::filter!(EgressAllowlistPlugin, connections);

struct EgressAllowlistPlugin {
    configuration: EgressAllowlist,
    connections: Connections,
    reporter: Reporter,
}

impl Plugin for EgressAllowlistPlugin {
    const NAME: &'static str = "egress_allowlist";

    fn configure(configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = EgressAllowlist::parse(&configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        let reporter = Reporter::new(Self::NAME, configuration.policy().denying_rules());
        Ok(Self { configuration, connections: Connections::uncounted(), reporter })
    }

    fn on_request_headers(&self) -> Action {
        let reply = |answer: &DenialReport<'_>| self.reporter.deny(answer, self.configuration.reply());
        let direct = self.configuration.direct_remote_address();
        self.decide(&mut CurrentStream::request(StreamContext::of_connections(&self.connections, direct)), &reply)
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
    }
}

impl ConnectionPlugin for EgressAllowlistPlugin {
    fn on_new_connection(&self) -> Action {
        let mut connection = PassthroughConnection::new(self.configuration.direct_remote_address());
        self.decide(&mut connection, &|answer| self.reporter.deny_connection(answer))
    }
}

impl EgressAllowlistPlugin {
    /// Lets a request or a connection go on, or gives the answer to `turn_away`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(&self, request: &mut dyn EgressRequest, turn_away: &dyn Fn(&DenialReport<'_>) -> Action) -> Action {
        let policy = self.configuration.policy();
        let (denial, enforced) = match policy.decide(request) {
            EgressDecision::Allow => return self.reporter.allow(),
            EgressDecision::WouldDeny(denial) => (denial, false),
            EgressDecision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(&denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        turn_away(&DenialReport {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details(),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        })
    }
}
