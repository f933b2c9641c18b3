//! `egress-allowlist`: may this workload reach that outside host?
//!
//! Reads rules, ServiceEntry and CiliumNetworkPolicy resources and decides what leaves: plain HTTP requests and CONNECT
//! by their authority, TLS that passes through by its server name. All that is read, checked and compiled by
//! `sallyport-policy`; this crate asks it and carries the answer out.

use sallyport_policy::{EgressAllowlist, EgressDecision, EgressRequest, Refusal};
use sallyport_proxy::host::{self, Level};
use sallyport_proxy::{
    Action, Answer, Bytes, ConnectionPlugin, Connections, CurrentStream, PassingConnection, Plugin, Surroundings,
    Verdicts,
};

sallyport_proxy::filter!(EgressAllowlistPlugin, connections);

struct EgressAllowlistPlugin {
    configuration: EgressAllowlist,
    connections: Connections,
    verdicts: Verdicts,
}

impl Plugin for EgressAllowlistPlugin {
    const NAME: &'static str = "egress_allowlist";

    fn configure(configuration: Bytes) -> Result<Self, Refusal> {
        let configuration = EgressAllowlist::parse(&configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        let verdicts = Verdicts::new(Self::NAME, configuration.policy().denying_rules());
        Ok(Self { configuration, connections: Connections::uncounted(), verdicts })
    }

    fn on_request_headers(&self) -> Action {
        let reply = |answer: &Answer<'_>| self.verdicts.deny(answer, self.configuration.reply());
        self.decide(&mut CurrentStream::request(Surroundings::of_connections(&self.connections)), &reply)
    }

    fn on_tick(&self) {
        self.verdicts.on_tick();
    }
}

impl ConnectionPlugin for EgressAllowlistPlugin {
    fn on_new_connection(&self) -> Action {
        self.decide(&mut PassingConnection::default(), &|answer| self.verdicts.deny_connection(answer))
    }
}

impl EgressAllowlistPlugin {
    /// Lets a request or a connection go on, or gives the answer to `turn_away`.
    ///
    /// One instance serves both kinds, which keeps the module small.
    fn decide(&self, request: &mut dyn EgressRequest, turn_away: &dyn Fn(&Answer<'_>) -> Action) -> Action {
        let policy = self.configuration.policy();
        let (denial, enforced) = match policy.decide(request) {
            EgressDecision::Allow => return self.verdicts.allow(),
            EgressDecision::WouldDeny(denial) => (denial, false),
            EgressDecision::Deny(denial) => (denial, true),
        };
        let reason = policy.explain(&denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        turn_away(&Answer {
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
