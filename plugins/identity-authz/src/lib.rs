//! `identity-authz`: may this workload, proven by its certificate, do this here?
//!
//! Reads AuthorizationPolicy resources and decides each HTTP request by the SPIFFE ID of the peer's certificate. The
//! policies are read, checked and compiled by `sallyport-policy`; this crate asks it and carries the answer out.

use sallyport_policy::{Decision, Denial, IdentityAuthz, Refusal, Request};
use sallyport_proxy::host::{self, Level};
use sallyport_proxy::{Action, Answer, Connections, HttpRequest, Plugin, Verdicts};

sallyport_proxy::filter!(IdentityAuthzPlugin);

struct IdentityAuthzPlugin {
    configuration: IdentityAuthz,
    connections: Connections,
    verdicts: Verdicts,
}

impl Plugin for IdentityAuthzPlugin {
    const NAME: &'static str = "identity_authz";

    fn configure(configuration: &[u8]) -> Result<Self, Refusal> {
        let configuration = IdentityAuthz::parse(configuration)?;
        host::log(Level::Info, &format!("sallyport {}: {}", Self::NAME, configuration.summary()));
        for warning in configuration.warnings() {
            host::log(Level::Warn, &format!("sallyport {}: {warning}", Self::NAME));
        }
        let policy = configuration.policy();
        let verdicts = Verdicts::new(Self::NAME, policy.denying_policies()).auditing(policy.auditing_policies());
        Ok(Self { configuration, connections: Connections::counted(Self::NAME), verdicts })
    }

    fn on_request_headers(&self) -> Action {
        let mut request = HttpRequest::new(&self.connections, self.configuration.direct_remote_address());
        request.count_connection();
        if let Some(rule) = self.configuration.policy().audited(&mut request) {
            self.verdicts.audit(rule.policy());
        }
        match self.configuration.policy().decide(&mut request) {
            Decision::Allow => self.verdicts.allow(),
            Decision::WouldDeny(denial) => self.turn_away(&denial, false, &mut request),
            Decision::Deny(denial) => self.turn_away(&denial, true, &mut request),
        }
    }

    fn on_tick(&self) {
        self.verdicts.on_tick();
        self.connections.on_tick();
    }
}

impl IdentityAuthzPlugin {
    fn turn_away(&self, denial: &Denial<'_>, enforced: bool, request: &mut HttpRequest<'_>) -> Action {
        let reason = self.configuration.policy().explain(denial, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        let answer = Answer {
            enforced,
            failure: denial.is_failure(),
            details: &denial.details("rbac"),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        };
        self.verdicts.deny(&answer, self.configuration.reply())
    }
}
